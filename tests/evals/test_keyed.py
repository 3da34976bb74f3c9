"""Computed keys agree with keys found another way, from the words of the shipped questions."""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest

from swarm_brain.evals.cases.examples import load
from swarm_brain.evals.cases.generate import arithmetic, logic
from swarm_brain.evals.cases.generate.logic import FORMS, Categorical, categorical_validity
from swarm_brain.evals.keyed import SHIPPED, dump, generate, main

DATASETS = Path(__file__).parents[2] / "evals" / "datasets"
EXAMPLES = {name: load(DATASETS / f"{name}.jsonl") for name in SHIPPED}


def group(name: str):
    return [e for examples in EXAMPLES.values() for e in examples if e.group == name]


def by_id(name: str):
    return pytest.mark.parametrize("example", group(name), ids=lambda example: example.id)


# ------------------------------------------------------------------ the files


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_files_are_what_the_generator_writes(name, tmp_path):
    counts = ",".join(f"{group}={count}" for group, count in SHIPPED[name].items())
    main(["--seed", "1", "--counts", counts, "--out", str(tmp_path / "new.jsonl")])
    assert (tmp_path / "new.jsonl").read_bytes() == (DATASETS / f"{name}.jsonl").read_bytes()


def test_counts_and_balance():
    assert len(EXAMPLES["logic"]) >= 60
    assert len(EXAMPLES["arithmetic"]) >= 40
    for name in ("syllogism", "propositional"):
        keys = Counter((example.difficulty, example.answer) for example in group(name))
        assert set(keys.values()) == {5}
        assert set(keys) == set(itertools.product((1, 2, 3, 4), ("valid", "invalid")))
    everything = [*EXAMPLES["logic"], *EXAMPLES["arithmetic"]]
    assert len({e.question for e in everything}) == len({e.id for e in everything}) == 152


def test_another_seed_writes_other_questions():
    one, other = (generate(seed, {"integer": 8, "syllogism": 8}) for seed in (1, 2))
    assert {e.question for e in one} & {e.question for e in other} == set()
    assert dump(one) == dump(generate(1, {"integer": 8, "syllogism": 8}))


@pytest.mark.parametrize("counts", ["poems=3", "integer", "integer=x", "integer=-1", ""])
def test_wrong_counts_are_refused(counts, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["--counts", counts, "--out", str(tmp_path / "new.jsonl")])
    assert "GROUP=NUMBER" in capsys.readouterr().err


def test_difficulty_makes_questions_longer():
    for make in (arithmetic.integer, arithmetic.story):
        lengths = [
            sum(len(make(random.Random(n), difficulty)[0]) for n in range(40))
            for difficulty in (1, 2, 3, 4)
        ]
        assert lengths == sorted(lengths)


# ------------------------------------------------------------------ syllogisms

SENTENCE = re.compile(r"(All|No|Some) ([a-z ]+?) are (not )?([a-z ]+)\.")
LETTER = {("All", ""): "A", ("No", ""): "E", ("Some", ""): "I", ("Some", "not "): "O"}


def statements(question: str) -> list[str]:
    """The premises, then the conclusion."""
    return re.findall(r"^(?:\d\. |Conclusion: )(.*)$", question, re.MULTILINE)


def may_fail(question: str) -> bool:
    """Whether premises and denied conclusion fit together, by the largest model.

    A member of every kind that the universal statements leave is added; then each existential
    statement has its witness, or could have none.
    """
    read = [SENTENCE.fullmatch(text).groups(default="") for text in statements(question)]
    *premises, (form, subject, predicate) = [
        (LETTER[quantifier, negation], subject, predicate)
        for quantifier, subject, negation, predicate in read
    ]
    facts = [*premises, ({"A": "O", "O": "A", "E": "I", "I": "E"}[form], subject, predicate)]
    nouns = sorted({noun for _, *pair in facts for noun in pair})
    kinds = [
        {noun for noun, within in zip(nouns, row, strict=True) if within}
        for row in itertools.product((True, False), repeat=len(nouns))
    ]
    for form, subject, predicate in facts:
        if form in "AE":
            kinds = [k for k in kinds if subject not in k or (predicate in k) == (form == "A")]
    witnessed = all(
        any(subject in k and (predicate in k) == (form == "I") for k in kinds)
        for form, subject, predicate in facts
        if form in "IO"
    )
    if "assume that each group" in question:
        return witnessed and all(any(noun in kind for kind in kinds) for noun in nouns)
    return witnessed


@by_id("syllogism")
def test_a_syllogism_is_keyed_by_its_words(example):
    assert example.answer == ("invalid" if may_fail(example.question) else "valid")


def test_existential_import_is_stated_one_way_or_the_other():
    for example in group("syllogism"):
        assumed = "assume that each group named has at least one member" in example.question
        denied = "Do not assume that any of these groups has members" in example.question
        assert assumed != denied


@pytest.mark.parametrize(("existential_import", "valid"), [(False, 15), (True, 24)])
def test_as_many_syllogisms_are_valid_as_the_tradition_says(existential_import, valid):
    figures = [((1, 2), (0, 1)), ((2, 1), (0, 1)), ((1, 2), (1, 0)), ((2, 1), (1, 0))]
    moods = itertools.product(FORMS, repeat=3)
    found = [
        categorical_validity(
            [Categorical(first, *major, 3), Categorical(second, *minor, 3)],
            Categorical(third, 0, 2, 3),
            existential_import=existential_import,
        )
        for (first, second, third), (major, minor) in itertools.product(moods, figures)
    ]
    assert len(found) == 256
    assert found.count(True) == valid


# ------------------------------------------------------------------ propositional arguments


def literal(words: str) -> tuple[str, bool]:
    words = words.strip().removesuffix(".").lower()
    return words.replace(" not ", " "), " not " not in words


def negated(literal: tuple[str, bool]) -> tuple[str, bool]:
    return literal[0], not literal[1]


def clauses(text: str) -> list[frozenset]:
    """A sentence in conjunctive normal form."""
    if both := re.fullmatch(r"It is not the case both that (.*) and that (.*)", text):
        return [frozenset(negated(literal(part)) for part in both.groups())]
    if equal := re.fullmatch(r"(.*) if and only if (.*)", text):
        x, y = map(literal, equal.groups())
        return [frozenset({negated(x), y}), frozenset({x, negated(y)})]
    implies = re.fullmatch(r"If (.*), then (.*)", text) or re.fullmatch(r"(.*) only if (.*)", text)
    if implies:
        x, y = map(literal, implies.groups())
        return [frozenset({negated(x), y})]
    return [frozenset(map(literal, text.split(", or ")))]


def refuted(premises: list[frozenset]) -> bool:
    """Whether resolution derives the empty clause."""
    known = set(premises)
    while True:
        new = {
            (one - {part}) | (other - {negated(part)})
            for one, other in itertools.permutations(known, 2)
            for part in one
            if negated(part) in other
        }
        new = {c for c in new if not any(negated(part) in c for part in c)}
        if frozenset() in new:
            return True
        if new <= known:
            return False
        known |= new


@by_id("propositional")
def test_an_argument_is_keyed_by_its_words(example):
    *premises, conclusion = [clauses(text) for text in statements(example.question)]
    facts = [clause for clauses in premises for clause in clauses]
    denial = [frozenset({negated(part)}) for part in conclusion[0]]
    assert len(conclusion) == 1
    assert not refuted(facts)
    assert example.answer == ("valid" if refuted(facts + denial) else "invalid")


def test_an_invalid_conclusion_may_yet_be_true():
    for example in group("propositional"):
        *premises, conclusion = [clauses(text) for text in statements(example.question)]
        assert not refuted([c for clauses in [*premises, conclusion] for c in clauses])


def test_rules_of_reading_are_stated():
    assert all(logic.CLASSICAL in example.question for example in group("propositional"))


# ------------------------------------------------------------------ arithmetic


@by_id("integer")
def test_an_expression_is_keyed_by_its_words(example):
    expression = re.fullmatch(r"What is (.*)\?", example.question)[1]
    python = expression.translate(str.maketrans("×÷−", "*/-"))
    assert eval(re.sub(r"(\d+)", r"Fraction(\1)", python)) == Fraction(example.answer)
    assert example.difficulty + 1 == sum(expression.count(sign) for sign in "+−×÷")


UNDO = (
    (r"buys (\d+) packets of (\d+) ", lambda value, packets, each: value - packets * each),
    (r"finds (\d+) more ", lambda value, number: value - number),
    (r"sells (\d+) ", lambda value, number: value + number),
    (r"loses (\d+) of ", lambda value, number: value + number),
    (r"divides all .* evenly among (\d+) people", lambda value, people: value * people),
    (r"gives \w+ as many ", lambda value: Fraction(value, 2)),
    (r"gives \w+ twice as many ", lambda value: Fraction(value, 3)),
)


@by_id("story")
def test_a_story_told_backwards_ends_where_it_began(example):
    first, *steps, _ = example.question.split(". ")
    value = Fraction(example.answer)
    for sentence in reversed(steps):
        undo = [(found, how) for form, how in UNDO if (found := re.search(form, sentence))]
        assert len(undo) == 1, sentence
        value = undo[0][1](value, *map(int, undo[0][0].groups()))
        assert value.denominator == 1
        assert value > 0
    assert value == int(re.search(r"has (\d+) ", first)[1])


# ------------------------------------------------------------------ dates

MONTHS = "January February March April May June July August September October November December"
WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday"
DATE = rf"(\d+) ({MONTHS.replace(' ', '|')}) (\d+)"


def day_number(day: int, month: int, year: int) -> int:
    """The Julian day number, by the formula of Fliegel and Van Flandern (1968)."""
    shift = (14 - month) // 12
    years, months = year + 4800 - shift, month + 12 * shift - 3
    return (
        day + (153 * months + 2) // 5 + 365 * years + years // 4 - years // 100 + years // 400
    ) - 32045


def days_in(question: str) -> list[int]:
    names = MONTHS.split()
    return [
        day_number(int(day), 1 + names.index(month), int(year))
        for day, month, year in re.findall(DATE, question)
    ]


def weekday(number: int) -> str:
    return WEEKDAYS.split()[number % 7]


@by_id("dates")
def test_a_date_is_keyed_by_its_words(example):
    question, days = example.question, days_in(example.question)
    stated = re.search(rf"is a ({WEEKDAYS.replace(' ', '|')})", question)
    assert stated is None or stated[1] == weekday(days[0])
    if "leap years" in question:
        first, last = map(int, re.findall(r"\d{4}", question))
        years = [year for year in range(first, last + 1) if year % 4 == 0]
        key = str(sum(year % 400 == 0 or year % 100 != 0 for year in years))
    elif "How many days after" in question:
        key = str(days[1] - days[0])
    elif later := re.search(r"comes (\d+) days later", question):
        key = weekday(days[0] + int(later[1]))
    elif later := re.search(r"is (\d+) days after", question):
        year, month, day = map(int, example.answer.split("-"))
        assert day_number(day, month, year) == days[0] + int(later[1])
        key = f"{year}-{month:02}-{day:02}"
    else:
        key = weekday(days[1])
    assert example.answer == key


def test_every_kind_of_date_question_is_asked():
    starts = Counter(example.question.split()[0] for example in group("dates"))
    assert {"How", "Which", "In"} <= set(starts)
    assert len(starts) >= 4
