"""Find JSON values in replies that may have other text around them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

JSON_STARTS = 200  # places of a reply at which a JSON value is tried


def values_in(text: str) -> Iterator[Any]:
    """Yield the complete JSON objects and arrays of a text, from left to right."""
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
