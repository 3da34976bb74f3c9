"""The JSON in which a model states facts: its schema, and reading a reply. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from swarm_brain.calls.json_values import values_in
from swarm_brain.models.binding import JsonSchema

FACT_CHARS = 400


def facts_schema() -> JsonSchema:
    """Return the schema of {"facts": [{"text", "episodes": [numbers]}]}."""
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
    """Return the facts of a reply and their episodes' keys; None without a list.

    A fact is dropped unless it names an episode that the model was shown.
    """
    for value in values_in(text):
        facts = value.get("facts") if isinstance(value, dict) else None
        if isinstance(facts, list):
            return [fact for item in facts if (fact := _read_fact(item, keys))]
    return None


def _read_fact(item: object, keys: Sequence[str]) -> tuple[str, list[str]] | None:
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
