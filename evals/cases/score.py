"""Score a reply against the key of its question. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from swarm_brain.evals.cases.examples import Example
from swarm_brain.evals.cases.extract.choices import normal
from swarm_brain.evals.cases.extract.final import extract, reader_of
from swarm_brain.evals.cases.extract.numbers import read, same
from swarm_brain.evals.cases.extract.statements import short_text


@dataclass(frozen=True)
class Score:
    """The extracted answer, and whether it matches the key; None if unknown."""

    extracted: str | None
    correct: bool | None


def score(example: Example, text: str) -> Score:
    """Score a reply; an open question has no score."""
    extracted = extract(example, text)
    if extracted is None or example.answer is None:
        return Score(None, None)
    if example.kind == "numeric":
        stated, key = read(extracted), read(example.answer)
        return Score(extracted, stated is not None and key is not None and same(stated, key))
    if example.kind == "text" and reader_of(example) is short_text:
        return Score(extracted, normal(example.answer) in _prefixes(extracted))
    return Score(extracted, extracted.casefold() == example.answer.casefold())


def _prefixes(answer: str) -> set[str]:
    """Return the answer, and its beginnings before each mark that may add something."""
    ends = [match.start() for match in re.finditer(r"[,(:]|\.\s|\s-\s", answer)]
    return {normal(answer), *(normal(answer[:end]) for end in ends)}
