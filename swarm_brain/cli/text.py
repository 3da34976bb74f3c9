"""Text of others on a terminal: what a model or an endpoint said must not command it."""

from __future__ import annotations

import unicodedata

KEPT = "\n\t"


def printable(text: str) -> str:
    """`text` without control characters, escape sequences' ESC among them."""
    return "".join(c for c in text if c in KEPT or unicodedata.category(c) != "Cc")
