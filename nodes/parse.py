"""Read replies. Pure.

The readers are lenient about the form of a reply, but never invent a value. None means unreadable.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal

from swarm_brain.calls.json_values import values_in
from swarm_brain.graph.answer_schema import Schema, fits
from swarm_brain.graph.signal import Defect
from swarm_brain.graph.topology import Expert
from swarm_brain.models.binding import JsonSchema

# A number is complete only before white space, the next key or the end of the object: a reply that
# was cut short may lack the last digits, and the comma of `0,85` is no separator.
_PAIR = re.compile(
    r'"(?P<name>\w{1,99})"\s{0,9}:\s{0,9}"?(?P<value>-?\d{1,20}(?:\.\d{1,20})?)"?'
    r'(?=\s|,\s{0,99}["}]|\})'
)
_NO_VERDICT = frozenset({"", "-", "none", "n/a", "na", "open", "not applicable", "null"})
_LATEX = re.compile(r"\\(?:boxed|text|mathrm|mathbf)\s?\{([^{}]*)\}")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")
_NUMBER = re.compile(r"[+-]?(\d{1,40}(\.\d{0,40})?|\.\d{1,40})(e[+-]?\d{1,2})?")
_BEFORE_LABEL = " \t*_`>#-"
_AROUND_VALUE = " \t*_`"
_LABELS = ("verdict", "dissent")


def gates_schema(experts: Iterable[Expert]) -> JsonSchema:
    """Return the schema of an object with a number from 0 to 1 for each expert."""
    names = [expert.name for expert in experts]
    number = {"type": "number", "minimum": 0, "maximum": 1}
    return {
        "type": "object",
        "properties": dict.fromkeys(names, number),
        "required": names,
        "additionalProperties": False,
    }


def defects_schema() -> JsonSchema:
    """Return the schema of {"defects": [...]}; strict endpoints require an object."""
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


def read_gates(text: str, names: Sequence[str]) -> dict[str, float] | None:
    """Return the gates that the reply states for the named experts, clamped to 0..1."""
    stated: dict[str, object] = {}
    for value in values_in(text):
        if isinstance(value, dict):
            stated.update(_flat(value))
    if not any(name in stated for name in names):
        stated = {pair["name"]: pair["value"] for pair in _PAIR.finditer(text)}
    gates = {name: number for name in names if (number := _number(stated.get(name))) is not None}
    return gates or None


def _flat(value: dict[str, object]) -> dict[str, object]:
    """Return an object's pairs and those of nested objects: some models wrap replies."""
    nested = {k: v for part in value.values() if isinstance(part, dict) for k, v in part.items()}
    return {**nested, **value}


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    except OverflowError:
        return 1.0 if isinstance(value, int) and value > 0 else 0.0
    return None if math.isnan(number) else min(1.0, max(0.0, number))


def read_defects(text: str) -> list[Defect] | None:
    """Return the defects in the reply; an empty list if it reports none."""
    defects: list[Defect] = []
    readable = False
    for value in values_in(text):
        for listed in _lists(value, alone=text.strip().strip("`").removeprefix("json").strip()):
            stated = [defect for item in listed for defect in _defect(item)]
            defects += [defect for defect in stated if defect["quote"] and defect["problem"]]
            readable = readable or bool(stated) or not listed
    return defects if readable else None


def _lists(value: object, alone: str) -> Iterator[list[object]]:
    """Yield the lists of defects in a JSON value: under `defects`, or the value."""
    if isinstance(value, list) and (value or alone == "[]"):
        yield value
    pending = [value] if isinstance(value, dict) else []
    while pending:
        part = pending.pop()
        if isinstance(listed := part.get("defects"), list):
            yield listed
        elif "quote" in part:
            yield [part]
        else:
            pending += [inner for inner in part.values() if isinstance(inner, dict)]


def _defect(item: object) -> Iterator[Defect]:
    """Yield the defect in an item of the list, or those of a list in it."""
    for part in item if isinstance(item, list) else [item]:
        if isinstance(part, dict):
            quote, problem = part.get("quote"), part.get("problem")
            if isinstance(quote, str) and isinstance(problem, str):
                yield {"quote": quote.strip(), "problem": problem.strip()}


def read_formed(text: str, schema: Schema) -> str | None:
    """Return the JSON that matches a schema: the whole reply, else its first value."""
    try:
        if fits(json.loads(text, parse_constant=_no_json), schema):
            return text.strip()
    except (ValueError, RecursionError):
        pass
    matching = (value for value in values_in(text) if fits(value, schema))
    return next((json.dumps(value, ensure_ascii=False) for value in matching), None)


def _no_json(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _labelled(text: str, label: str) -> list[str]:
    """Return the values of lines that start with `label:`, ignoring Markdown.

    If a line has no value, return the next line.
    """
    values = []
    for line, following in itertools.pairwise([*text.splitlines(), ""]):
        name, value = _split(line)
        if name == label:
            below = "" if _split(following)[0] in _LABELS else following
            values.append(value or below.strip(_AROUND_VALUE))
    return values


def _split(line: str) -> tuple[str, str]:
    """Return a line's label in lower case and its value; both empty without a colon."""
    head, colon, tail = line.partition(":")
    return (head.strip(_BEFORE_LABEL).casefold(), tail.strip(_AROUND_VALUE)) if colon else ("", "")


def read_verdict(text: str) -> str | None:
    """Return the value of the last `Verdict:` line; None if there is no value."""
    lines = _labelled(text, "verdict")
    return lines[-1] if lines and normal_verdict(lines[-1]) not in _NO_VERDICT else None


def read_dissent(text: str) -> list[str]:
    """Return the values of the `Dissent:` lines."""
    return [view for view in _labelled(text, "dissent") if normal_verdict(view) not in _NO_VERDICT]


def normal_verdict(verdict: str) -> str:
    """Normalise case, articles, marks and numbers, to compare verdicts."""
    text = verdict
    for _ in range(3):  # \\boxed{\\text{...}}
        text = _LATEX.sub(r"\1", text)
    text = _THOUSANDS.sub("", text.replace("$", "").casefold())
    text = re.sub(r"^(the|a|an) ", "", " ".join(text.split()).strip(" .!\"'`*()"))
    if not _NUMBER.fullmatch(text):
        return text
    plain = format(Decimal(text), "f").removeprefix("+")
    plain = plain.rstrip("0").rstrip(".") if "." in plain else plain
    return plain.removeprefix("-") if not plain.strip("-0.") else plain
