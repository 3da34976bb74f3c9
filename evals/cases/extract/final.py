"""Extract the final answer of a reply. Pure.

The last statement of a final answer counts: an `Answer:` or `Verdict:` line, "the answer is", a
box. A reply that states none, or hedges between two, is an extraction failure: None, which is
neither right nor wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from swarm_brain.evals.cases.examples import Example
from swarm_brain.evals.cases.extract import markup
from swarm_brain.evals.cases.extract.choices import choice, letters, whole
from swarm_brain.evals.cases.extract.statements import (
    NAMES,
    OPPOSITES,
    dates,
    members,
    numbers,
    short_text,
)

Reader = Callable[[str], list[str]]

_STATED = re.compile(
    r"\b(?:answer|verdict|(?:correct|right|best)\s(?:option|choice|one))\b"
    r"(?:\s(?:to|here|for|of)\b[^\n:.]{0,80}?)?\s?"
    r"(?:(?:is|was|equals|(?:would|should|must|has\sto)\sbe)\b(?:\s(?:that|thus|therefore)\b)?\s?:?"
    r"|:|=|-(?=\s)|(?=\(?[A-Z]\)?[ \t]*\.?[ \t]*$))",
    re.IGNORECASE | re.MULTILINE,
)
_HEADING = re.compile(
    r"^[^\w\n]*(?:(?:final|the|my)\s){0,2}(?:answer|verdict)[^\w\n]*$", re.IGNORECASE | re.MULTILINE
)
_CHOSEN = re.compile(
    r"\b(?:I|we)(?:'d|'ll|\swould|\swill)?\s(?:choose|chose|pick|select|go\swith|opt\sfor)\b", re.I
)
_CONDITION = re.compile(r"\b(?:if|had|were|otherwise|unless)\b", re.IGNORECASE)
_REFUSAL = re.compile(
    r"^<[^<>]*>|\b(?:know|cannot|can't|unable|unknown|unclear|undetermined|indeterminate|impossible|neither|"
    r"insufficient|not\senough|no\s(?:answer|solution))\b",
    re.IGNORECASE,
)
_DISSENT = re.compile(r"^[ \t*_`>#-]*dissent\b[^\n]*$", re.IGNORECASE | re.MULTILINE)
_SENTENCES = re.compile(r"(?<=[.!?])\s+(?=[\"'(]?[A-Z\d])|\n+")
_NUMBERING = re.compile(r"^\s*(?:step\s\d{1,3}\W|\d{1,3}[.)]\s)", re.IGNORECASE | re.MULTILINE)
_NOT = re.compile(r"\bnot\b|n't\b", re.IGNORECASE)
_LETTER_LINE = re.compile(r"\n\W*[A-Z]\W*\Z")
_LAST_LABELS = 50
_LAST_SENTENCES = 3  # courtesies may follow the answer
_LONGEST_STATEMENT = 1000  # characters
_SHORT_REPLY = 25  # words
_SHORT_TEXT = 4  # words


def extract(example: Example, text: str) -> str | None:
    """Return the final answer in plain form; None if there is none or several."""
    if example.kind == "open":
        return None
    thought = markup.without_thinking(text)
    reply = _DISSENT.sub("", markup.plain(thought)).strip()
    reader = reader_of(example)
    statements = _stated(reply)
    for statement in statements:
        if values := _unhedged(example, reader(statement)):
            return _only(values)
        if _REFUSAL.search(statement):
            return None
    if statements and reader is short_text:
        return None
    return _unlabelled(example, reply, markup.emphasised(thought))


def reader_of(example: Example) -> Reader:
    """Return the function that reads statements for this kind of question and key."""
    if example.kind == "choice":
        return lambda statement: choice(example, statement)
    if example.kind == "numeric":
        return numbers
    key = (example.answer or "").lower()
    for family in (*OPPOSITES, *NAMES):
        if key in family:
            return lambda statement: members(family, statement)
    return dates if dates(key) == [key] else short_text


def _unhedged(example: Example, values: list[str]) -> list[str]:
    """Split "A or B" into both answers, unless the key itself contains "or"."""
    joined = re.compile(r"\bor\b", re.IGNORECASE)
    if example.kind != "text" or joined.search(example.answer or ""):
        return values
    return [part for value in values for part in joined.split(value)]


def _stated(reply: str) -> list[str]:
    """Return the text after each label of a final answer, the last first."""
    matches = [m for pattern in (_STATED, _CHOSEN, _HEADING) for m in pattern.finditer(reply)]
    matches.sort(key=lambda match: match.end(), reverse=True)
    return [
        _line(reply[match.end() :])
        for match in matches[:_LAST_LABELS]
        if not ("would" in match[0] and _CONDITION.search(_sentence_before(reply, match.start())))
    ]


def _sentence_before(reply: str, at: int) -> str:
    return re.split(r"[.\n]", reply[max(0, at - _LONGEST_STATEMENT) : at])[-1]


def _line(following: str) -> str:
    """Return the rest of the line, or the next line with a word in it."""
    rest, _, below = following.partition("\n")
    if re.search(r"\w", rest):
        return rest.strip()[:_LONGEST_STATEMENT]
    filled = (line.strip() for line in below.split("\n") if re.search(r"\w", line))
    return next(filled, "")[:_LONGEST_STATEMENT]


def _unlabelled(example: Example, reply: str, bold: list[str]) -> str | None:
    """Read a reply without a label: its one line, its last sentences, its bold text."""
    if reader_of(example) is short_text:
        return _in_bold(example, bold) or _only(_one_line(example, reply, _SHORT_TEXT))
    if value := _only(_one_line(example, reply, _SHORT_REPLY)):
        return value
    first, last = _at_the_start(example, reply), _in_last_sentences(example, reply, bold)
    if first is None or last is None or _LETTER_LINE.search(reply):
        return last or first
    return first if first == last else None


def _only(values: list[str]) -> str | None:
    return values[0] if len(values) == 1 else None


def _one_line(example: Example, reply: str, words: int) -> list[str]:
    """Read a reply of one short line; several sentences only match a choice's text."""
    if "\n" in reply or len(reply.split()) > words or _mere_denial(example, reply):
        return []
    if len(_SENTENCES.split(reply)) == 1 or reader_of(example) is short_text:  # J. S. Mill
        return reader_of(example)(reply)
    return whole(example, reply) if example.kind == "choice" else []


def _mere_denial(example: Example, sentence: str) -> bool:
    return example.kind == "numeric" and bool(_NOT.search(sentence))


def _in_last_sentences(example: Example, reply: str, bold: list[str]) -> str | None:
    reader = _sentencereader_of(example)
    for sentence in reversed(_SENTENCES.split(_NUMBERING.sub("", reply))[-_LAST_SENTENCES:]):
        values = reader(sentence[-_LONGEST_STATEMENT:])
        if values and not _mere_denial(example, sentence):
            return _only(values) or _in_bold(example, [s for s in bold if s in sentence])
    return _in_bold(example, bold)


def _sentencereader_of(example: Example) -> Reader:
    """Return a stricter reader for sentences, where a text may only be mentioned."""
    if example.kind == "choice":
        return lambda sentence: letters(example, sentence)
    return reader_of(example)


def _in_bold(example: Example, bold: list[str]) -> str | None:
    """Return the one answer in bold, ignoring headings and list numbers."""
    spans = [span for span in bold if not re.match(r"\d{1,3}[.)]\s|.*:\s*$|[Ss]tep\b", span)]
    values = {value for span in spans for value in reader_of(example)(span)}
    return values.pop() if len(values) == 1 else None


def _at_the_start(example: Example, reply: str) -> str | None:
    """Return the letter at the start of a reply, such as "B) Kant"."""
    first = reply.partition("\n")[0]
    if example.kind != "choice" or not re.match(r"\(?[A-Z]\)?(?:[.):,]|\s*$)", first):
        return None
    return _only(choice(example, first))
