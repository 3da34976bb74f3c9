"""What a reply says, read as far as it goes and never beyond. Pure.

None means: cannot be read. A value that is not there is never invented.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

from graph.state import Defect
from graph.topology import Expert

# A number that something follows: in a reply cut short, the last digits may be missing.
_PAIR = re.compile(
    r'"(?P<name>\w+)"\s*:\s*"?(?P<value>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"?\s*(?=[,}\n])'
)
_VERDICT = re.compile(r"^[\s*_#>`-]*verdict[\s*_`]*:[\s*_`]*(?P<verdict>.*?)[\s*_`]*$", re.I | re.M)
_DISSENT = re.compile(r"^[\s*_#>`-]*dissent[\s*_`]*:[\s*_`]*(?P<view>.+?)[\s*_`]*$", re.I | re.M)
_NO_VERDICT = frozenset({"", "-", "none", "n/a", "na", "open", "not applicable", "null"})
_LATEX = re.compile(r"\\(?:boxed|text|mathrm|mathbf)\s*\{([^{}]*)\}")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")


def gates_schema(experts: Iterable[Expert]) -> dict[str, Any]:
    """One object with one required number in 0..1 for each of these experts."""
    names = [expert.name for expert in experts]
    number = {"type": "number", "minimum": 0, "maximum": 1}
    return {
        "type": "object",
        "properties": dict.fromkeys(names, number),
        "required": names,
        "additionalProperties": False,
    }


def defects_schema() -> dict[str, Any]:
    """A list of {quote, problem} in an object, because strict endpoints want one at the root."""
    text = {"type": "string"}
    defect = {
        "type": "object",
        "properties": {"quote": text, "problem": text},
        "required": ["quote", "problem"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {"defects": {"type": "array", "items": defect}},
        "required": ["defects"],
        "additionalProperties": False,
    }


def read_gates(text: str, names: Iterable[str]) -> dict[str, float] | None:
    """The gate of each named expert that the reply states, clamped to 0..1."""
    stated: dict[str, Any] = {}
    for value in _values(text):
        if isinstance(value, dict):
            stated.update(_flat(value))
    if not stated:
        stated = {found["name"]: found["value"] for found in _PAIR.finditer(text)}
    gates = {name: number for name in names if (number := _number(stated.get(name))) is not None}
    return gates or None


def _flat(value: dict[str, Any]) -> dict[str, Any]:
    """An object's pairs, those of objects in it included: some models wrap what they are asked."""
    nested = {k: v for part in value.values() if isinstance(part, dict) for k, v in part.items()}
    return {**nested, **value}


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return None if math.isnan(number) else min(1.0, max(0.0, number))


def read_defects(text: str) -> list[Defect] | None:
    """The defects that the reply states; an empty list only if it states that there are none."""
    found: list[Defect] = []
    readable = False
    for value in _values(text):
        readable = True
        found += _defects(value)
    cut_short = text.lstrip("`json \n").startswith(('{"defects"', "["))
    return found if readable or (found and cut_short) else None


def _defects(value: Any) -> Iterator[Defect]:
    """Every {quote, problem} in a JSON value, however it is wrapped."""
    if isinstance(value, list):
        for item in value:
            yield from _defects(item)
    elif isinstance(value, dict):
        quote, problem = value.get("quote"), value.get("problem")
        if isinstance(quote, str) and isinstance(problem, str):
            if quote.strip() and problem.strip():
                yield {"quote": quote.strip(), "problem": problem.strip()}
            return
        for part in value.values():
            yield from _defects(part)


def _values(text: str) -> Iterator[Any]:
    """The complete JSON objects and arrays in a text, outermost first, left to right."""
    decoder = json.JSONDecoder()
    position = 0
    while position < len(text):
        starts = [at for at in (text.find("{", position), text.find("[", position)) if at >= 0]
        if not starts:
            return
        try:
            value, position = decoder.raw_decode(text, min(starts))
        except (ValueError, RecursionError):
            position = min(starts) + 1
            continue
        yield value


def read_verdict(text: str) -> str | None:
    """What the last `Verdict:` line says; None if there is none or it says so."""
    lines = [found["verdict"].strip() for found in _VERDICT.finditer(text)]
    return lines[-1] if lines and normal_verdict(lines[-1]) not in _NO_VERDICT else None


def read_dissent(text: str) -> list[str]:
    """The views that synthesis kept without adopting them."""
    views = [found["view"].strip() for found in _DISSENT.finditer(text)]
    return [view for view in views if normal_verdict(view) not in _NO_VERDICT]


def normal_verdict(verdict: str) -> str:
    """A verdict such that equal answers compare equal: case, articles, marks, number forms."""
    text = _LATEX.sub(r"\1", verdict).replace("$", "").casefold()
    text = _THOUSANDS.sub("", text)
    text = re.sub(r"^(the|a|an) ", "", " ".join(text.split()).strip(" .!\"'`*()"))
    number = _number_form(text)
    return number if number is not None else text


def _number_form(text: str) -> str | None:
    try:
        return f"{float(text):g}" if "_" not in text else None
    except ValueError:
        return None
