"""JSON in replies: models put words before it, fences around it, and sometimes stop in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

JSON_STARTS = 200  # places at which a JSON value is looked for in a reply


def values_in(text: str) -> Iterator[Any]:
    """The complete JSON objects and arrays in a text, outermost first, left to right."""
    decoder = json.JSONDecoder()
    position = 0
    for _ in range(JSON_STARTS):
        starts = [at for at in (text.find("{", position), text.find("[", position)) if at >= 0]
        if not starts:
            return
        try:
            value, position = decoder.raw_decode(text, min(starts))
        except (ValueError, RecursionError):
            position = min(starts) + 1
            continue
        yield value
