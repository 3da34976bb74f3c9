"""JSON schemas for answers: check a schema, and check a value against it.

Schemas come from callers and values from a model, so the work is bounded: patterns are matched in
linear time, and references cannot leave the schema.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache, reduce
from typing import NoReturn, Protocol, cast
from urllib.parse import unquote

Schema = Mapping[str, object]

MAX_CHARS = 20_000  # of a schema, which is part of the prompt
MAX_PARTS = 10_000  # of a schema, counting a referenced part each time
# The validator needs exponential time for the first two, and crashes if they refer to themselves.
# The others are references that `_parts` does not follow.
UNSUPPORTED = (
    "unevaluatedProperties", "unevaluatedItems", "$dynamicRef", "$dynamicAnchor", "$recursiveRef",
    "$recursiveAnchor", "$anchor",
)  # fmt: skip
_BY_NAME = (
    "properties", "patternProperties", "$defs", "definitions", "dependentSchemas",
    "dependentRequired", "dependencies",
)  # fmt: skip
_DATA = ("enum", "const", "default", "examples")


class Validator(Protocol):
    """A compiled schema."""

    def is_valid(self, instance: object, /) -> bool: ...


def problem(schema: Schema) -> str | None:
    """Return why an answer cannot be checked against this schema; None if it can."""
    try:
        text = json.dumps(schema, allow_nan=False)
    except (ValueError, TypeError, RecursionError):
        return "it is not JSON, or nested too deeply"
    if len(text) > MAX_CHARS:
        return f"it has {len(text)} characters; {MAX_CHARS} are allowed"
    try:
        json.loads(text, parse_int=_check_int)
        parts = _parts(schema, schema, {})
        if parts > MAX_PARTS:
            return f"including its references it has more than {MAX_PARTS} parts"
        _validator(text)
    except RecursionError:
        return "it is nested too deeply"
    except ValueError as error:
        return str(error).split("\n", 1)[0]
    return None


def _check_int(digits: str) -> None:
    """Raise ValueError for a number that is too large for a saved state."""
    if not -(2**63) <= int(digits) < 2**64:
        raise ValueError("it has a number of more than 64 bits, which is not supported")


def _parts(part: object, whole: Schema, sizes: dict[str, int], by_name: bool = False) -> int:
    """Count the parts of a schema, or of a mapping of names to schemas.

    Raises ValueError for an UNSUPPORTED key.
    """
    if isinstance(part, list):
        return sum(_parts(item, whole, sizes) for item in part)
    if not isinstance(part, dict):
        return 1
    total = 1
    for key, value in part.items():
        if by_name:
            total += _parts(value, whole, sizes)
        elif key in UNSUPPORTED or (key in ("$id", "id") and part is not whole):
            raise ValueError(f"it has {key}, which is not supported")
        elif key == "$ref" and isinstance(value, str):
            total += _referred(value, whole, sizes)
        elif key not in _DATA:
            total += _parts(value, whole, sizes, by_name=key in _BY_NAME)
    return total


def _referred(reference: str, whole: Schema, sizes: dict[str, int]) -> int:
    """Count the parts of a reference's target. A circular reference is followed once."""
    if reference not in sizes:
        sizes[reference] = 1
        sizes[reference] = _parts(_at(reference, whole), whole, sizes)
    return sizes[reference]


def _at(reference: str, whole: Schema) -> object:
    """Return a reference's target, or None. Raises ValueError for external ones."""
    if reference != "#" and not reference.startswith("#/"):
        raise ValueError(f"external references are not followed: {reference}")
    steps = [step.replace("~1", "/").replace("~0", "~") for step in unquote(reference).split("/")]
    try:
        return reduce(_child, steps[1:], cast(object, whole))
    except (KeyError, IndexError, TypeError, ValueError):
        return None  # the validator reports it


def _child(part: object, step: str) -> object:
    if isinstance(part, list):
        return part[int(step)]
    return cast(Schema, part)[step]


def fits(value: object, schema: Schema) -> bool:
    """Return whether a JSON value matches a schema that has no `problem`."""
    try:
        return _validator(json.dumps(schema)).is_valid(value)
    except ValueError:  # too deep, or half a surrogate pair
        return False


@lru_cache(maxsize=64)
def _validator(schema: str) -> Validator:
    # A compiled library, which most runs do not need.
    import jsonschema_rs

    return jsonschema_rs.validator_for(
        json.loads(schema), retriever=_refuse, pattern_options=jsonschema_rs.RegexOptions()
    )


def _refuse(uri: str) -> NoReturn:
    raise ValueError(f"external references are not followed: {uri}")
