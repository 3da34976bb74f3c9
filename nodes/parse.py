"""What a reply says, read as far as it goes and never beyond. Pure.

None means: cannot be read. A value that is not there is never invented.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from swarm_brain.calls.json_values import values_in
from swarm_brain.graph.answer_schema import fits
from swarm_brain.graph.signal import Defect
from swarm_brain.graph.topology import Expert

# A number is complete only if white space, the next key or the end of the object follows: in a
# reply cut short the last digits may be missing, and in `0,85` the comma ends nothing.
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


def read_gates(text: str, names: Sequence[str]) -> dict[str, float] | None:
    """The gate of each named expert that the reply states, clamped to 0..1."""
    stated: dict[str, Any] = {}
    for value in values_in(text):
        if isinstance(value, dict):
            stated.update(_flat(value))
    if not any(name in stated for name in names):
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
    except OverflowError:
        return 1.0 if isinstance(value, int) and value > 0 else 0.0
    return None if math.isnan(number) else min(1.0, max(0.0, number))


def read_defects(text: str) -> list[Defect] | None:
    """The defects that the reply states; an empty list only if it states that there are none."""
    found: list[Defect] = []
    readable = False
    for value in values_in(text):
        for listed in _lists(value, alone=text.strip().strip("`").removeprefix("json").strip()):
            defects = [defect for item in listed for defect in _defect(item)]
            found += [d for d in defects if d["quote"] and d["problem"]]
            readable = readable or bool(defects) or not listed
    return found if readable else None


def _lists(value: Any, alone: str) -> Iterator[list[Any]]:
    """The lists of defects in a JSON value: under that key, or a list that is the whole reply."""
    if isinstance(value, list) and (value or alone == "[]"):
        yield value
    pending = [value] if isinstance(value, dict) else []
    while pending:
        part = pending.pop()
        if isinstance(part.get("defects"), list):
            yield part["defects"]
        elif "quote" in part:
            yield [part]
        else:
            pending += [inner for inner in part.values() if isinstance(inner, dict)]


def _defect(item: Any) -> Iterator[Defect]:
    """The defect that an item of the list is, if it is one, or those that a list in it holds."""
    for part in item if isinstance(item, list) else [item]:
        if isinstance(part, dict):
            quote, problem = part.get("quote"), part.get("problem")
            if isinstance(quote, str) and isinstance(problem, str):
                yield {"quote": quote.strip(), "problem": problem.strip()}


def read_formed(text: str, schema: Mapping[str, Any]) -> str | None:
    """The JSON in a reply that fits a JSON schema: the whole reply, else the first value in it."""
    try:
        if fits(json.loads(text, parse_constant=_no_json), schema):
            return text.strip()
    except (ValueError, RecursionError):
        pass
    found = (value for value in values_in(text) if fits(value, schema))
    return next((json.dumps(value, ensure_ascii=False) for value in found), None)


def _no_json(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _labelled(text: str, label: str) -> list[str]:
    """What stands behind `label:` on lines that begin with it, whatever Markdown is around it.

    If nothing does, the next line is taken.
    """
    found = []
    for line, following in itertools.pairwise([*text.splitlines(), ""]):
        said, value = _split(line)
        if said == label:
            beneath = "" if _split(following)[0] in _LABELS else following
            found.append(value or beneath.strip(_AROUND_VALUE))
    return found


def _split(line: str) -> tuple[str, str]:
    """The label of a line in lower case, and its value; no label if there is no colon."""
    head, colon, tail = line.partition(":")
    return (head.strip(_BEFORE_LABEL).casefold(), tail.strip(_AROUND_VALUE)) if colon else ("", "")


def read_verdict(text: str) -> str | None:
    """What the last `Verdict:` line says; None if there is none or it says so."""
    lines = _labelled(text, "verdict")
    return lines[-1] if lines and normal_verdict(lines[-1]) not in _NO_VERDICT else None


def read_dissent(text: str) -> list[str]:
    """The views that synthesis kept without adopting them."""
    return [view for view in _labelled(text, "dissent") if normal_verdict(view) not in _NO_VERDICT]


def normal_verdict(verdict: str) -> str:
    """A verdict such that equal answers compare equal: case, articles, marks, number forms."""
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
