"""The form of an answer, as a JSON schema: whether a schema is one, whether a value fits it.

Patterns are matched in linear time, no reference leads out of the schema and the work of a check is
bounded, because schemas come from whoever asks and values from a model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache, reduce
from typing import Any
from urllib.parse import unquote

LONGEST = 20_000  # characters of a schema; it stands in the prompt
MOST_PARTS = 10_000  # of a schema, those that are referred to counted each time
# The validator takes exponential time for the first two, and a schema in which they refer to
# themselves ends its process; the others are references that `_parts` does not follow.
REFUSED = (
    "unevaluatedProperties", "unevaluatedItems", "$dynamicRef", "$dynamicAnchor", "$recursiveRef",
    "$recursiveAnchor", "$anchor",
)  # fmt: skip
_NAMED = (
    "properties", "patternProperties", "$defs", "definitions", "dependentSchemas",
    "dependentRequired", "dependencies",
)  # fmt: skip
_DATA = ("enum", "const", "default", "examples")


def problem(schema: Mapping[str, Any]) -> str | None:
    """Why this is no schema that an answer can be held to; None if it is one."""
    try:
        text = json.dumps(schema, allow_nan=False)
    except (ValueError, TypeError, RecursionError):
        return "it is not JSON, or too deep"
    if len(text) > LONGEST:
        return f"it has {len(text)} characters; {LONGEST} are allowed"
    try:
        json.loads(text, parse_int=_kept)
        parts = _parts(schema, schema, {})
        if parts > MOST_PARTS:
            return f"with its references it has more than {MOST_PARTS} parts"
        _validator(text)
    except RecursionError:
        return "it is too deep"
    except ValueError as error:
        return str(error).split("\n", 1)[0]
    return None


def _kept(digits: str) -> None:
    """Raise ValueError for a number that no saved state can hold."""
    if not -(2**63) <= int(digits) < 2**64:
        raise ValueError("numbers of more than 64 bits are not supported in it")


def _parts(part: Any, whole: Mapping[str, Any], sizes: dict[str, int], named: bool = False) -> int:
    """Parts of a schema, or of a mapping by names. Raises ValueError for what is REFUSED."""
    if isinstance(part, list):
        return sum(_parts(item, whole, sizes) for item in part)
    if not isinstance(part, dict):
        return 1
    total = 1
    for key, value in part.items():
        if named:
            total += _parts(value, whole, sizes)
        elif key in REFUSED or (key in ("$id", "id") and part is not whole):
            raise ValueError(f"{key} is not supported in it")
        elif key == "$ref" and isinstance(value, str):
            total += _referred(value, whole, sizes)
        elif key not in _DATA:
            total += _parts(value, whole, sizes, named=key in _NAMED)
    return total


def _referred(reference: str, whole: Mapping[str, Any], sizes: dict[str, int]) -> int:
    """Parts of what is referred to; one that leads back into itself is not followed again."""
    if reference not in sizes:
        sizes[reference] = 1
        sizes[reference] = _parts(_at(reference, whole), whole, sizes)
    return sizes[reference]


def _at(reference: str, whole: Mapping[str, Any]) -> Any:
    """What a reference leads to, None if nothing. Raises ValueError if it is no `#/...`."""
    if reference != "#" and not reference.startswith("#/"):
        raise ValueError(f"references to elsewhere are not followed: {reference}")
    steps = [step.replace("~1", "/").replace("~0", "~") for step in unquote(reference).split("/")]
    try:
        return reduce(lambda at, s: at[int(s)] if isinstance(at, list) else at[s], steps[1:], whole)
    except (KeyError, IndexError, TypeError, ValueError):
        return None  # the validator says so


def fits(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether a JSON value fits a schema in which there is no `problem`."""
    try:
        return bool(_validator(json.dumps(schema)).is_valid(value))
    except ValueError:  # too deep, or half a surrogate pair: nothing that a schema describes
        return False


@lru_cache(maxsize=64)
def _validator(schema: str) -> Any:
    import jsonschema_rs

    return jsonschema_rs.validator_for(
        json.loads(schema), retriever=_nowhere, pattern_options=jsonschema_rs.RegexOptions()
    )


def _nowhere(uri: str) -> Any:
    raise ValueError(f"references to elsewhere are not followed: {uri}")
