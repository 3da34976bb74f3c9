"""Strip LaTeX, Markdown and typography from a reply, line by line. Pure."""

from __future__ import annotations

import re

_THINKING = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL | re.IGNORECASE)
_CHARACTERS = str.maketrans(
    {
        **dict.fromkeys("−–‑‒﹣－", "-"),
        **dict.fromkeys("\u00a0\u2007\u2009\u202f\u2002\u2003", " "),
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff", ""),
        **dict.fromkeys("‘’", "'"),
        **dict.fromkeys("“”„«»", '"'),
        "：": ":",
        "（": "(",
        "）": ")",
        "％": "%",
        "⁄": "/",
        "≈": "=",
        "￥": "¥",
    }
)
_FRACTIONS = {"½": "1/2", "⅓": "1/3", "⅔": "2/3", "¼": "1/4", "¾": "3/4", "⅕": "1/5", "⅛": "1/8"}
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_RAISED_RUN = re.compile(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]{1,9}")

_WRAPPERS = (
    r"text|textbf|textit|textrm|mathrm|mathbf|mathit|mathsf|operatorname|mbox|underline|emph"
)
_LATEX = (
    (re.compile(r"(?<=\d)\\[dtc]?frac"), r" \\frac"),
    (re.compile(r"\\[dtc]?frac\s?(\d)(\d)"), r"\1/\2"),
    (re.compile(r"\\(?:left|right|displaystyle|bigl?|bigr?)(?![a-z])"), ""),
    (re.compile(rf"\\(?:{_WRAPPERS})\s?\{{([^{{}}]*)\}}"), r"\1"),
    (re.compile(r"\\[dtc]?frac\s?\{([^{}]*)\}\s?\{([^{}]*)\}"), r"\1/\2"),
    (re.compile(r"\\sqrt\s?(?:\[\d+\])?\{([^{}]*)\}"), r"sqrt(\1)"),
    (re.compile(r"\^\s?\{([^{}]*)\}"), r"^\1"),
    (re.compile(r"_\s?\{([^{}]*)\}"), r"_\1"),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"(?<=\d)\\[,;:!> ](?=\d{3})"), " "),
    (re.compile(r"\\[,;:!> ]"), " "),
    (re.compile(r"\\(?:times|cdot)(?![a-z])"), "×"),
    (re.compile(r"\\(?:approx|simeq)(?![a-z])"), "="),
    (re.compile(r"\\pi(?![a-z])"), "π"),
    (re.compile(r"\^\s?\\circ(?![a-z])|\\degree(?![a-z])"), "°"),
    (re.compile(r"\\q?quad(?![a-z])|\\\\"), " "),
    (re.compile(r"\\([%&#_{])"), r"\1"),
    (re.compile(r"\\[()\[\]]"), " "),
)
# Two boxes with a word between them state two answers, not the second one.
_BOXES = re.compile(
    r"(?:\\f?boxed\s?\{[^{}]*\}(?:\s*(?:,|/|\$|or|and)\s*){1,4})+\\f?boxed\s?\{[^{}]*\}"
)
_BOX = re.compile(r"\\f?boxed\s?\{([^{}]*)\}")
_MATHS = re.compile(r"\$\$?(?=[^$\n]*\$)([^$\n]*)\$\$?")
_BOLD = re.compile(r"(?<![\w*])(\*\*|__)(?=\S)([^*\n]{1,200}?)\1(?!\d)")
_EMPHASIS = re.compile(r"(?<![\w*])([*_])(?=\S)([^*_\n]{1,200}?)(?<=\S)\1(?![\w*])")
_LEFT_OVER = re.compile(r"(?<!\d)\*\*|\*\*(?!\d)")
_LINE_START = re.compile(r"^[ \t]*(?:>[ \t]?|#{1,6}[ \t]+|[-*+•][ \t]+)+", re.MULTILINE)
_KEY_LINE = re.compile(r"^####\s*([-$(]?[\dA-Z][^\s]{0,30}(?: [^\s\d]{1,12})?)\s*$", re.MULTILINE)

BOXED = "Answer: "  # a box and a line of GSM8K's form state the answer as this label does


def without_thinking(text: str) -> str:
    """Remove `<think>` blocks; an unclosed one extends to the end of the text."""
    return _THINKING.sub("", text)


def emphasised(text: str) -> list[str]:
    """Return the plain texts in bold, in order."""
    return [plain(match[2]) for match in _BOLD.finditer(_characters(text))]


def plain(text: str) -> str:
    """Return the text without markup; a single letter in bold or maths becomes `(B)`."""
    text = _boxes(_latex(_characters(text)))
    text = _KEY_LINE.sub(rf"{BOXED}\1", text)
    text = _LINE_START.sub("", text)
    for _ in range(2):  # bold in italics
        text = _BOLD.sub(lambda match: _marked(match[2]), text)
        text = _EMPHASIS.sub(lambda match: _marked(match[2]), text)
    text = _MATHS.sub(lambda match: _marked(match[1]), text)
    return _LEFT_OVER.sub("", text).replace("$$", " ").replace("`", "")


def _marked(inner: str) -> str:
    """Return text without its marks, with brackets around a single letter."""
    bare = inner.strip()
    return f"({bare})" if len(bare) == 1 and bare.isupper() else inner


def _characters(text: str) -> str:
    text = text.replace("\r\n", "\n").translate(_CHARACTERS)
    for sign, digits in _FRACTIONS.items():
        text = re.sub(rf"(?<=\d){sign}", f" {digits}", text).replace(sign, digits)
    return _RAISED_RUN.sub(lambda match: "^" + match[0].translate(_RAISED), text)


def _latex(text: str) -> str:
    if "\\" not in text and "{" not in text:
        return text
    for _ in range(3):  # \frac{\text{...}}{...}
        for pattern, replacement in _LATEX:
            text = pattern.sub(replacement, text)
    return text.replace("\\$", "$")


def _boxes(text: str) -> str:
    """Turn each box into a labelled statement on its own line."""
    joined = _BOXES.sub(lambda match: _statement(_BOX.sub(r" \1 ", match[0])), text)
    return _BOX.sub(lambda match: _statement(match[1]), joined)


def _statement(inner: str) -> str:
    return f"\n{BOXED}{inner.strip().strip('$')}\n"
