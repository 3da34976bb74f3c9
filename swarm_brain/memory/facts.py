"""Facts as a model states them: the form that is asked for, and reading what comes back. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from swarm_brain.calls.json_values import values_in
from swarm_brain.models.binding import JsonSchema

FACT_CHARS = 400


def facts_schema() -> JsonSchema:
    """{"facts": [{"text", "episodes": [numbers]}]}."""
    fact = {
        "type": "object",
        "properties": {
            "text": {"type": "string"},
            "episodes": {"type": "array", "items": {"type": "integer"}},
        },
        "required": ["text", "episodes"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {"facts": {"type": "array", "items": fact}},
        "required": ["facts"],
        "additionalProperties": False,
    }


def read_facts(text: str, keys: Sequence[str]) -> list[tuple[str, list[str]]] | None:
    """The facts that a reply states, with the keys of their episodes; None if it states no list.

    A fact that names no episode it was shown is nobody's, and left out.
    """
    for value in values_in(text):
        listed = value.get("facts") if isinstance(value, dict) else None
        if isinstance(listed, list):
            return [fact for item in listed if (fact := _read_fact(item, keys))]
    return None


def _read_fact(item: Any, keys: Sequence[str]) -> tuple[str, list[str]] | None:
    if not isinstance(item, dict) or not isinstance(item.get("text"), str):
        return None
    numbers = item.get("episodes")
    sources = [
        keys[number - 1]
        for number in (numbers if isinstance(numbers, list) else [])
        if isinstance(number, int) and not isinstance(number, bool) and 0 < number <= len(keys)
    ]
    text = " ".join(item["text"].split())[:FACT_CHARS]
    return (text, list(dict.fromkeys(sources))) if text and sources else None
