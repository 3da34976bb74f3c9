"""Detect differences that embeddings miss: numbers, and a "not". Pure.

Averaged word vectors place "What is 2+2?" beside "What is 3+5?", and a question beside its
negation. An answer to one must not be recalled for the other.
"""

from __future__ import annotations

import re

_NUMBER = re.compile(r"\d+(?:[.,:/]\d+)*")
_WORD = re.compile(r"[a-z]+(?:['’]t)?")
_NEGATIONS = frozenset(["no", "not", "never", "none", "nor", "neither", "nobody", "nothing",
                        "without", "cannot", "except"])  # fmt: skip
_SMALL = ("zero", "", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
          "eleven", "twelve")  # fmt: skip
_NAMED = {name: str(value) for value, name in enumerate(_SMALL) if name}  # "one" rarely counts


def numbers(text: str) -> frozenset[str]:
    """Return the numbers in a text, small ones in words included."""
    words = _WORD.findall(text.lower())
    return frozenset(_NUMBER.findall(text)) | {_NAMED[word] for word in words if word in _NAMED}


def negated(text: str) -> bool:
    """Return whether a text has an odd number of negations."""
    words = _WORD.findall(text.lower().replace("’", "'"))
    negations = [word for word in words if word in _NEGATIONS or word.endswith("n't")]
    return len(negations) % 2 == 1


def comparable(one: str, other: str) -> bool:
    """Return whether two texts have equal numbers and equal negation."""
    return numbers(one) == numbers(other) and negated(one) == negated(other)
