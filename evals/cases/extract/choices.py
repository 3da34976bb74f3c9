"""Read which choices one statement of a final answer names. Pure.

Every reader here and in `statements` returns the distinct answers that the statement gives: none
if it gives no answer, several if it hedges.
"""

from __future__ import annotations

import re
import unicodedata

from swarm_brain.evals.cases.examples import Example
from swarm_brain.evals.cases.extract.markup import plain
from swarm_brain.evals.cases.extract.numbers import read

_EXPLANATION = re.compile(
    r"\b(?:because|since|as|for|given|while|whereas|although|though|but|so|therefore|where)\b"
    r"|,\s(?:which|i\.e\.|that\sis|namely)(?!\w)|;|\.(?=\s|$)|\s-\s(?!\d)|\s\((?!\(?[A-Z]\))",
    re.IGNORECASE,
)
_INITIALS = re.compile(r"\b[A-Z]\.\s?(?=[A-Z]\.)")  # of A. J. Ayer
_NAMED = re.compile(r"\b(?:option|choice|letter)\s\(?([A-Z])\)?(?![\w'-])|\(([A-Z])\)", re.I)
_LISTED = (
    r"\(?\b(?:{0})\b\)?(?:(?:,\s?(?:and\s|or\s|nor\s)?|\s(?:and|or|nor)\s)\(?\b(?:{0})\b\)?){{0,9}}"
)
_FAULT = (
    r"(?:wrong|incorrect|false|not|out|excluded|eliminated|ruled|rejected|implausible|irrelevant|"
    r"tempting|mistaken|inconsistent|untenable|unlikely)\b"
)
_FAILS = (
    rf"\s(?:(?:is|are|was|were|seems?|looks?)\s(?:\w+ly\s|both\s|all\s|also\s|just\s|too\s)*{_FAULT}"
    r"|(?:isn't|aren't|cannot|can't|doesn't|don't|fails?)\b)"
)
_RULED_OUT = (
    r"\b(?:not|nor|neither|rul\w+\sout|eliminat\w+|exclud\w+|reject\w*|rather\sthan|instead\sof|"
    r"except|unlike|(?:can't|cannot|couldn't)\sbe|isn't|wasn't)\s"
)
_AFTER_LETTER = re.compile(
    r"\s(?:because|since|as|is|are|was|would|seems|for|which|that|fits|best|follows|and|or|nor|"
    r"not|rather|instead)\b"
)


def normal(text: str) -> str:
    """Normalize an answer: drop case, accents, articles and punctuation."""
    decomposed = unicodedata.normalize("NFKD", plain(text).casefold())
    words = re.findall(
        r"[^\W_]+", "".join(sign for sign in decomposed if not unicodedata.combining(sign))
    )
    return " ".join(words[1:] if len(words) > 1 and words[0] in ("a", "an", "the") else words)


def head(statement: str) -> str:
    """Return the statement without the explanation that follows it."""
    return _EXPLANATION.split(statement, maxsplit=1)[0]


def choice(example: Example, statement: str) -> list[str]:
    """Return the letters that a statement chooses, by letter or by choice text."""
    chosen = whole(example, statement) or letters(example, statement)
    return chosen or _by_text(example, statement) or _by_number(example, statement)


def letters(example: Example, statement: str) -> list[str]:
    """Return the letters in a statement, apart from articles, pronouns and initials."""
    statement = _INITIALS.sub("", statement)
    for part in (head(statement), statement):
        if named := _mentioned(example, part):
            return named
    return []


def whole(example: Example, statement: str) -> list[str]:
    """Return the letters of a statement that is only a choice's text (and letter)."""
    texts = {x: normal(t) for x, t in zip(example.letters, example.choices, strict=True)}
    owners = [letter for letter, text in texts.items() if text == normal(statement)]
    if owners and len(normal(statement)) > 1:
        return owners
    before = re.match(rf"\W*(?P<letter>[{example.letters}])[).:,\s-]+(?P<text>\S.*)$", statement)
    behind = re.match(rf"(?P<text>.*\S)\s\((?P<letter>[{example.letters}])\)\W*$", statement)
    lettered = before or behind
    if not lettered:
        return []
    letter, rest = lettered["letter"], normal(lettered["text"])
    if texts[letter] == rest:
        return [letter]
    # "B) Hume" where Hume is C: the letter says one thing and the text another
    others = [other for other, text in texts.items() if text == rest]
    return [letter, *others] if others else []


def _mentioned(example: Example, part: str) -> list[str]:
    bare = part.strip(" \t.,:;!()[]\"'")
    if len(bare) == 1 and bare.upper() in example.letters:
        return [bare.upper()]
    part = _NAMED.sub(lambda match: f"({(match[1] or match[2]).upper()})", part)
    listed = _LISTED.format("|".join(example.letters))
    part = re.sub(f"{listed}{_FAILS}", " ", part)
    part = re.sub(f"(?i:{_RULED_OUT}){listed}", " ", part)
    bare_letter = rf"(?<![\w'.&-])[{example.letters}](?![\w'&]|-\w)"
    mentioned = [
        match[0].strip("()")
        for match in re.finditer(rf"\([{example.letters}]\)|{bare_letter}", part)
        if not _is_word(match[0], part[match.end() :])
    ]
    return list(dict.fromkeys(mentioned))


def _is_word(letter: str, following: str) -> bool:
    """Return whether a bare A or I is a word, judging by what follows it."""
    followed = re.match(r"\s[\"']?\w", following)
    return letter in "AI" and bool(followed) and not _AFTER_LETTER.match(following)


def _by_text(example: Example, statement: str) -> list[str]:
    """Return the choices whose text occurs, but not inside another choice's text."""
    texts = {x: normal(t) for x, t in zip(example.letters, example.choices, strict=True)}
    for part in (head(statement), statement):
        words = normal(part)
        named = []
        for letter in sorted(texts, key=lambda x: -len(texts[x])):
            pattern = rf"(?<!\bnot )\b{re.escape(texts[letter])}\b"
            if texts[letter] and re.search(pattern, words):
                named.append(letter)
                words = re.sub(pattern, "#", words)
        if named:
            return sorted(named)
    return []


def _by_number(example: Example, statement: str) -> list[str]:
    """Return the choice of equal value in another form: $1,000 for `1000 dollars`."""
    number = read(re.sub(r"\s[a-z]+\W*$", "", head(statement)))
    stated = {x: read(t) for x, t in zip(example.letters, example.choices, strict=True)}
    return [x for x, value in stated.items() if number is not None and value == number]
