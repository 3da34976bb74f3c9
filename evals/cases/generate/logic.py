"""Generate syllogisms and propositional arguments with computed validity.

Each generator takes a random source and a difficulty from 1 to 4, and draws until the argument is
valid or invalid, as asked.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

CategoricalForm = Literal["A", "E", "I", "O"]
Assignment = tuple[bool, ...]  # one row of a truth table

FORMS: dict[CategoricalForm, str] = {
    "A": "All {0} are {1}.",
    "E": "No {0} are {1}.",
    "I": "Some {0} are {1}.",
    "O": "Some {0} are not {1}.",
}
NOUNS = (
    "bakers", "cyclists", "gardeners", "painters", "sailors", "teachers", "chess players",
    "early risers", "lawyers", "musicians", "swimmers", "parents", "collectors", "travellers",
)  # fmt: skip
NONSENSE = (
    "blickets", "dronps", "fandels", "gostaks", "kriffs", "lumbles", "morvics", "nubbins",
    "plimps", "quorls", "snargs", "tivvets", "vandoos", "wugs", "yerkles", "zophs",
)  # fmt: skip
STATEMENTS = (
    ("the lamp is lit", "the lamp is not lit"),
    ("the door is open", "the door is not open"),
    ("the kettle is warm", "the kettle is not warm"),
    ("the dog is asleep", "the dog is not asleep"),
    ("the letter has arrived", "the letter has not arrived"),
    ("the clock is slow", "the clock is not slow"),
    ("the shop is closed", "the shop is not closed"),
    ("the road is wet", "the road is not wet"),
    ("the piano is in tune", "the piano is not in tune"),
    ("the train is late", "the train is not late"),
)
NO_IMPORT = (
    'Read "some" as "at least one". Do not assume that any of these groups has members: "All X are '
    'Y" and "No X are Y" count as true if there are no X.'
)
IMPORT = 'Read "some" as "at least one", and assume that each group named has at least one member.'
CLASSICAL = (
    'Read "or" as "one or the other or both". "If X, then Y" and "X only if Y" say the same: they '
    "are false if X is true and Y is false, and true otherwise."
)
TASK = (
    "Must the conclusion be true whenever all the premises are? Answer valid if it must, and "
    "invalid if it need not."
)


@dataclass(frozen=True)
class Categorical:
    """A statement about two of several terms, which are given as numbers."""

    form: CategoricalForm
    subject: int
    predicate: int
    terms: int

    def holds(self, model: int) -> bool:
        """Return whether it is true if exactly these regions (bits) have members."""
        subject = model & _within(self.subject, self.terms)
        both = subject & _within(self.predicate, self.terms)
        only = subject & ~both
        return {"A": not only, "E": not both, "I": bool(both), "O": bool(only)}[self.form]

    def text(self, names: Sequence[str]) -> str:
        """Return the sentence."""
        return FORMS[self.form].format(names[self.subject], names[self.predicate])


@dataclass(frozen=True)
class Compound:
    """A propositional sentence: its words, and its truth under an assignment."""

    text: str
    truth: Callable[[Assignment], bool]
    variables: frozenset[int]


@cache
def _within(term: int, terms: int) -> int:
    """Return the regions within a term.

    Bit t of a region's number states that the region lies within term t.
    """
    return sum(1 << region for region in range(2**terms) if region >> term & 1)


def categorical_validity(
    premises: Sequence[Categorical], conclusion: Categorical, *, existential_import: bool
) -> bool | None:
    """Return whether the conclusion holds in every model of the premises.

    None if the premises have no model. A model states which regions have members; all are tried.
    """
    terms = conclusion.terms
    groups = [_within(term, terms) for term in range(terms)] if existential_import else []

    def models() -> Iterator[int]:
        for model in range(1, 2 ** (2**terms)):
            inhabited = all(model & group for group in groups)
            if inhabited and all(premise.holds(model) for premise in premises):
                yield model

    if next(models(), None) is None:
        return None
    return all(conclusion.holds(model) for model in models())


def syllogism(rng: random.Random, difficulty: int, *, valid: bool) -> tuple[str, str]:
    """Return a question about a syllogism, and its key.

    Difficulty 1 has ordinary nouns; 2 nonsense words, and every group has members; 3 nonsense
    words and a premise about a fourth group; 4 three premises in a chain.
    """
    existential = difficulty == 2 or (difficulty == 4 and rng.random() < 0.5)
    names = rng.sample(NOUNS if difficulty == 1 else NONSENSE, 4)
    while True:
        premises, conclusion = _categorical(rng, difficulty)
        if categorical_validity(premises, conclusion, existential_import=existential) is valid:
            break
    rng.shuffle(premises)
    lines = [premise.text(names) for premise in premises]
    return _argument(IMPORT if existential else NO_IMPORT, lines, conclusion.text(names), valid)


def _categorical(rng: random.Random, difficulty: int) -> tuple[list[Categorical], Categorical]:
    terms = 3 if difficulty < 3 else 4
    last = 3 if difficulty == 4 else 2
    premises = [_link(rng, term, term + 1, terms) for term in range(last)]
    if difficulty == 3:
        premises.append(_link(rng, rng.randrange(3), 3, terms))
    return premises, _link(rng, 0, last, terms)


def _link(rng: random.Random, first: int, second: int, terms: int) -> Categorical:
    subject, predicate = rng.sample((first, second), 2)
    forms: tuple[CategoricalForm, ...] = ("A", "A", "E", "I", "O")
    return Categorical(rng.choice(forms), subject, predicate, terms)


def propositional_validity(
    premises: Sequence[Compound], conclusion: Compound, variables: int
) -> bool | None:
    """Return whether the conclusion follows; None if the premises contradict."""
    table = itertools.product((True, False), repeat=variables)
    rows = [row for row in table if all(premise.truth(row) for premise in premises)]
    return all(conclusion.truth(row) for row in rows) if rows else None


def propositional(rng: random.Random, difficulty: int, *, valid: bool) -> tuple[str, str]:
    """Return a question about an argument of `difficulty` + 1 premises, and its key."""
    variables = difficulty + 1
    names = rng.sample(STATEMENTS, variables)
    while True:
        premises = [_compound(rng, names, difficulty) for _ in range(variables - 1)]
        premises.append(rng.choice((_literal, _disjunction, _conditional))(rng, names))
        conclusion = rng.choice((_literal, _literal, _disjunction, _conditional))(rng, names)
        if _fit(premises, conclusion, variables, valid=valid):
            break
    rng.shuffle(premises)
    return _argument(CLASSICAL, [p.text for p in premises], conclusion.text, valid)


def _fit(premises: list[Compound], conclusion: Compound, variables: int, *, valid: bool) -> bool:
    """Return whether the argument has the wanted validity and needs all its parts.

    A valid one needs every premise; in an invalid one the conclusion may still be true.
    """
    if propositional_validity(premises, conclusion, variables) is not valid:
        return False
    if frozenset().union(*(premise.variables for premise in premises)) != set(range(variables)):
        return False
    if valid:
        without = itertools.combinations(premises, len(premises) - 1)
        return not any(propositional_validity(rest, conclusion, variables) for rest in without)
    opposite = Compound("", lambda row: not conclusion.truth(row), conclusion.variables)
    return not propositional_validity(premises, opposite, variables)


def _phrase(names: Sequence[tuple[str, str]], variable: int, value: bool) -> str:
    return names[variable][0 if value else 1]


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


def _literal(rng: random.Random, names: Sequence[tuple[str, str]]) -> Compound:
    variable, value = rng.randrange(len(names)), rng.random() < 0.5
    text = _sentence(_phrase(names, variable, value))
    return Compound(text, lambda row: row[variable] is value, frozenset({variable}))


def _two(
    rng: random.Random, names: Sequence[tuple[str, str]]
) -> tuple[tuple[int, int], tuple[bool, bool], tuple[str, str]]:
    first, second = rng.sample(range(len(names)), 2)
    one, other = rng.random() < 0.6, rng.random() < 0.6
    return (
        (first, second),
        (one, other),
        (_phrase(names, first, one), _phrase(names, second, other)),
    )


def _conditional(rng: random.Random, names: Sequence[tuple[str, str]]) -> Compound:
    (first, second), (one, other), (x, y) = _two(rng, names)
    words = rng.choice(("If {}, then {}.", "{} only if {}.")).format(x, y)
    return Compound(
        f"{words[0].upper()}{words[1:]}",
        lambda row: row[first] is not one or row[second] is other,
        frozenset({first, second}),
    )


def _disjunction(rng: random.Random, names: Sequence[tuple[str, str]]) -> Compound:
    (first, second), (one, other), (x, y) = _two(rng, names)
    return Compound(
        _sentence(f"{x}, or {y}"),
        lambda row: row[first] is one or row[second] is other,
        frozenset({first, second}),
    )


def _not_both(rng: random.Random, names: Sequence[tuple[str, str]]) -> Compound:
    (first, second), (one, other), (x, y) = _two(rng, names)
    return Compound(
        f"It is not the case both that {x} and that {y}.",
        lambda row: row[first] is not one or row[second] is not other,
        frozenset({first, second}),
    )


def _equivalence(rng: random.Random, names: Sequence[tuple[str, str]]) -> Compound:
    (first, second), (one, other), (x, y) = _two(rng, names)
    return Compound(
        _sentence(f"{x} if and only if {y}"),
        lambda row: (row[first] is one) == (row[second] is other),
        frozenset({first, second}),
    )


def _compound(rng: random.Random, names: Sequence[tuple[str, str]], difficulty: int) -> Compound:
    kinds = [_conditional, _conditional, _disjunction, _not_both]
    return rng.choice(kinds + [_equivalence] * (difficulty > 2))(rng, names)


def _argument(rule: str, premises: list[str], conclusion: str, valid: bool) -> tuple[str, str]:
    listed = "\n".join(f"{number}. {text}" for number, text in enumerate(premises, 1))
    question = f"{rule}\n\nPremises:\n{listed}\nConclusion: {conclusion}\n\n{TASK}"
    return question, "valid" if valid else "invalid"
