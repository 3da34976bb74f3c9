"""The form of an answer, as a JSON schema: whether a schema is one, whether a value fits it.

Patterns are matched in linear time and no reference leads out of the schema, because schemas come
from whoever asks and values from a model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

LONGEST = 20_000  # characters of a schema; it stands in the prompt


def problem(schema: Mapping[str, Any]) -> str | None:
    """Why this is no schema that an answer can be held to; None if it is one."""
    try:
        text = json.dumps(schema, allow_nan=False)
    except (ValueError, TypeError, RecursionError):
        return "it is not JSON, or too deep"
    if len(text) > LONGEST:
        return f"it has {len(text)} characters; {LONGEST} are allowed"
    try:
        _validator(text)
    except ValueError as error:
        return str(error).split("\n", 1)[0]
    return None


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
