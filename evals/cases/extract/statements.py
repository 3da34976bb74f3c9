"""Read one statement of a final answer: number, word, date or text. Pure."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence

from swarm_brain.evals.cases.extract.choices import head
from swarm_brain.evals.cases.extract.numbers import find

MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september",
    "october", "november", "december",
)  # fmt: skip
OPPOSITES = (("valid", "invalid"), ("yes", "no"), ("true", "false"))
NAMES = (
    ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
    MONTHS,
)

_EQUALS = re.compile(r"[=≈](?!.*[=≈])")
_DENIED = re.compile(r"\b(?:and\s|but\s)?not\s[$€£]?-?\d[\d.,]*", re.IGNORECASE)
_QUALIFIER = re.compile(
    r"\b(?:in|after|for|per|at|over|within|on|from|each)\s(?:the\s|all\s)?\W?$", re.IGNORECASE
)
_JOINED = re.compile(r"\b(?:or|and|to)\b", re.IGNORECASE)
_LEAD_IN = re.compile(
    r"^(?:it|this|that|he|she|they)(?:'s|\s(?:is|was|are|were|must\sbe|would\sbe))\s", re.IGNORECASE
)
_MONTH = "(?P<month>" + "|".join(f"{m[:3]}(?:{m[3:]})?" for m in MONTHS) + r"|sept)\.?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_DATES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(?<!\d)(?P<year>\d{4})[-/.](?P<number>\d{1,2})[-/.](?P<day>\d{1,2})(?!\d)",
        rf"\b{_MONTH}\s{_DAY}(?:,\s?|\s)(?P<year>\d{{4}})\b",
        rf"\b(?P<year>\d{{4}}),?\s{_MONTH}\s{_DAY}(?!\d)",
        rf"(?<!\d){_DAY}\s(?:of\s)?{_MONTH},?\s(?P<year>\d{{4}})\b",
        r"(?<!\d)(?P<day>\d{1,2})([./])(?P<number>\d{1,2})\2(?P<year>\d{4})(?!\d)",
    )
)


def numbers(statement: str) -> list[str]:
    """Return the numbers that a statement gives as its answer, in plain digits.

    The answer of an equation follows its last equals sign. "72 clips in 3 days" gives its first
    number.
    """
    statement = _DENIED.sub(" ", statement)
    if re.match(r"\W*not\b", statement, re.IGNORECASE):
        return []
    for part in (head(statement), statement):
        equals = None if re.search(r"\bor\b", part) else _EQUALS.search(part)
        part = part[equals.end() :] if equals else part
        if pairs := find(part):
            values = list(dict.fromkeys(str(number) for _, number in pairs))
            return values[:1] if len(pairs) > 1 and _qualified(part, pairs[0][0], pairs) else values
    return []


def _qualified(part: str, start: int, pairs: Sequence[tuple[int, object]]) -> bool:
    between = part[start : pairs[1][0]]
    leads = not re.search(r"[A-Za-z]", part[:start])
    return leads and bool(_QUALIFIER.search(between)) and not _JOINED.search(between)


def members(family: tuple[str, ...], statement: str) -> list[str]:
    """Return the words of a family that occur in a statement; "not valid" is invalid."""
    text = statement.lower()
    short = text.strip(" .!()")
    abbreviated = [name for name in family if len(short) >= 3 and name.startswith(short)]
    if family in NAMES and abbreviated:
        return abbreviated
    text = _affirmative(family, text.rpartition("=")[2])
    ending = r"(?=\W*$|\s?[,.;:!)\-]|\s(?:and|or)\b)" if "no" in family else r"(?![\w-])"
    pattern = rf"(?<![\w-])(?:{'|'.join(family)}){ending}"
    return next(
        (
            list(dict.fromkeys(words))
            for part in (head(text), text)
            if (words := re.findall(pattern, part))
        ),
        [],
    )


def _affirmative(family: tuple[str, ...], text: str) -> str:
    """Turn "not valid" into "invalid", and remove a weekday that is ruled out."""
    if "no" in family:
        return text
    if family in NAMES:
        return re.sub(rf"\b(?:not|nor|than)\s(?:an?\s)?(?:{'|'.join(family)})\b", " ", text)
    other = {family[0]: family[1], family[1]: family[0]}
    return re.sub(
        rf"(?:\bnot|n't|\bnever|\bcannot|\bfails?\sto|\bwrong\sto|\bfar\sfrom|\bhardly)\s(?:(?!only\b|{family[0]}\b|{family[1]}\b)\w+\s){{0,4}}"
        rf"({family[0]}|{family[1]})\b",
        lambda match: f" {other[match[1]]}",
        text,
    )


def dates(statement: str) -> list[str]:
    """Return the dates of a statement in ISO form; skip the ambiguous 03/04/2024."""
    values = [
        date
        for pattern in _DATES
        for match in pattern.finditer(_without_reason(statement))
        if (date := _iso(match)) is not None
    ]
    return list(dict.fromkeys(values))


def _without_reason(statement: str) -> str:
    """Cut the statement at its first bracket, which may hold other dates."""
    return statement.partition(" (")[0]


def _iso(match: re.Match[str]) -> str | None:
    part = match.groupdict()
    day, year = int(part["day"]), int(part["year"])
    if part.get("month"):
        month = 1 + [name[:3] for name in MONTHS].index(part["month"][:3].lower())
    else:
        month = int(part["number"])
        if len(match[0]) > match[0].find(part["year"]) > 0:  # the year stands last
            if day <= 12 and month <= 12 and day != month:
                return None
            day, month = max(day, month), min(day, month)
    try:
        return datetime.date(year, month, day).isoformat()
    except ValueError:
        return None


def short_text(statement: str) -> list[str]:
    """Return the statement without its reasons and without a leading "It is"."""
    text = re.split(r"\b(?:because|since)\b|;", statement, maxsplit=1)[0].strip(" \t\"'.,!()")
    text = _LEAD_IN.sub("", text).strip(" \t\"'.,!()")
    return [text] if re.search(r"\w", text) and not re.fullmatch(r"<[^<>]*>", text) else []
