"""Build HTML in which all text is escaped, unless it was built here.

Answers are untrusted model output. They reach the page only as children of `el`, which escapes
everything but `Html`; no other code in this package joins text into markup.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

Attribute = str | int | float | bool | None

_UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\u202a-\u202e\u2066-\u2069]"
)
_DRAWN = frozenset({"line", "circle"})
_VOID = frozenset({"br", "wbr"})


class Html(str):
    """Finished markup."""

    __slots__ = ()


Child = str | Html | Iterable[str | Html] | None


def clean(text: str) -> str:
    """Replace characters that a page cannot hold or that hide text.

    Control characters become their symbols. Characters that change the text's direction are named,
    because they would make the page show other words than the answer has.
    """
    return _UNSEEN.sub(_seen, text.replace("\r\n", "\n").replace("\r", "\n"))


def _seen(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < 0x20:
        return chr(0x2400 + code)
    return f"[U+{code:04X}]" if 0x2000 <= code < 0x3000 else "\ufffd"


def el(name: str, *children: Child, **attributes: Attribute) -> Html:
    """Build an element, skipping None and False; `class_` becomes `class`."""
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Html(f"<{name}{written}>")
    if name in _DRAWN:
        return Html(f"<{name}{written}/>")
    return Html(f"<{name}{written}>{join(*children)}</{name}>")


def join(*children: Child) -> Html:
    """Join children, escaping text."""
    return Html("".join(_child(child) for child in children))


def _child(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Html):
        return child
    if isinstance(child, str):
        return html.escape(clean(child))
    return "".join(_child(inner) for inner in child)


def _attribute(key: str, value: Attribute) -> str:
    name = key.rstrip("_").replace("_", "-")
    if value is None or value is False:
        return ""
    return f" {name}" if value is True else f' {name}="{html.escape(clean(str(value)))}"'
