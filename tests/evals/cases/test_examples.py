"""Loading datasets in their published forms, and errors that name the fault."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from swarm_brain.evals.cases.examples import Example, content_hash, load, prompt, to_json
from swarm_brain.evals.cases.extract.numbers import read
from swarm_brain.evals.cases.score import score
from swarm_brain.graph.errors import ConfigError

DATASETS = Path(__file__).parents[3] / "evals" / "datasets"
SHIPPED = ("logic", "arithmetic", "philosophy_facts", "philosophy")
LEVELS = [
    "basic comprehension",
    "simple reasoning",
    "pattern recognition",
    "abstract reasoning",
    "counterfactual thinking",
    "meta-cognitive reasoning",
    "existential questions",
    "multi-step problems",
]
GSM8K = (
    '{"question": "Ina picks 14 pears and gives half of them away. How many are left?", '
    '"answer": "She gives 14/2 = <<14/2=7>>7 away.\\nSo 14-7 = <<14-7=7>>7 are left.\\n#### 7"}\n'
    '{"question": "A hall has 40 rows of 30 seats. How many seats are there?", '
    '"answer": "There are 40*30=<<40*30=1200>>1200 seats.\\n#### 1,200"}\n'
)
MMLU_CSV = (
    'Which gas do plants take up to grow?,Oxygen,Carbon dioxide,Helium,"Neon, or argon",B\n'
    '"He asked:\n""Who goes there?""\nWho was asked?",A guard,Nobody,A guest,Somebody,D\n'
)
MMLU_JSONL = (
    '{"question": "What is 2 + 3?", "subject": "elementary_mathematics", '
    '"choices": ["4", "5", "6", "7"], "answer": 1}\n'
)


def written(tmp_path: Path, text: str, name: str = "some.jsonl") -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode())
    return path


def one(tmp_path: Path, row: dict) -> Example:
    return load(written(tmp_path, json.dumps(row)))[0]


# ------------------------------------------------------------------ forms


def test_gsm8k_as_published(tmp_path):
    first, second = load(written(tmp_path, GSM8K, "test.jsonl"))
    assert (first.kind, first.answer, first.group, first.id) == ("numeric", "7", "test", "test-1")
    assert (second.answer, second.id) == ("1,200", "test-2")
    assert score(second, "40 × 30 = 1200\n\nAnswer: 1200").correct is True


def test_mmlu_as_published_in_csv(tmp_path):
    first, second = load(written(tmp_path, MMLU_CSV, "plant_biology_test.csv"))
    assert first.choices == ("Oxygen", "Carbon dioxide", "Helium", "Neon, or argon")
    assert (first.kind, first.answer, first.group) == ("choice", "B", "plant_biology")
    assert "Who goes there?" in second.question
    assert second.answer == "D"


def test_mmlu_as_published_on_the_hub(tmp_path):
    (example,) = load(written(tmp_path, MMLU_JSONL))
    assert (example.answer, example.group) == ("B", "elementary_mathematics")
    assert example.choices == ("4", "5", "6", "7")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [("72", "numeric"), ("$1,200", "numeric"), ("1/3", "numeric"), ("50%", "numeric"),
     ("-3.5", "numeric"), (72, "numeric"), (0.5, "numeric"), ("Paris", "text"),
     ("2024-03-03", "text"), ("3 apples", "text"), (True, "text")],
)  # fmt: skip
def test_answers_that_read_as_numbers_are_numeric(answer, kind, tmp_path):
    assert one(tmp_path, {"question": "What?", "answer": answer}).kind == kind


@pytest.mark.parametrize("answer", [1, "B", "b", "green", "1"])
def test_a_choice_by_index_letter_or_text(answer, tmp_path):
    row = {"question": "Which?", "choices": ["red", "green", "blue"], "answer": answer}
    assert one(tmp_path, row).answer == "B"


def test_choices_as_an_object_and_as_options(tmp_path):
    lettered = {"A": "red", "B": "green"}
    assert one(tmp_path, {"question": "?", "choices": lettered, "answer": "B"}).answer == "B"
    assert one(tmp_path, {"question": "?", "options": [1, 2], "answer": 0}).choices == ("1", "2")


def test_an_open_question_has_a_rubric_and_no_answer(tmp_path):
    row = {"question": "Why?", "rubric": ["Says why."], "level": 3, "level_name": "third"}
    example = one(tmp_path, row)
    assert (example.kind, example.answer, example.rubric) == ("open", None, ("Says why.",))
    assert one(tmp_path, {"question": "Why?", "kind": "open"}).kind == "open"


def test_marks_and_separators_within_a_line_are_no_ends_of_it(tmp_path):
    text = (
        '\ufeff{"question": "One\u2028two?", "answer": "3"}\r\n\r\n{"question": "b", "answer": "4"}'
    )
    first, second = load(written(tmp_path, text))
    assert first.question == "One\u2028two?"
    assert second.id == "some-3"


# ------------------------------------------------------------------ faults


@pytest.mark.parametrize(
    ("text", "line", "fault"),
    [
        ('{"question": "a", "answer": "1"}\n{"answer": "2"}', 2, "'question'"),
        ('{"question": "a"}', 1, "'answer'"),
        ('{"question": " ", "answer": "1"}', 1, "blank"),
        ('{"question": ["a"], "answer": "1"}', 1, "'question' must be text"),
        ('{"question": "a", "answer": ["1"]}', 1, "'answer' must be text"),
        ('{"question": "a", "answer": null}', 1, "'answer'"),
        ('{"question": "\\ud800", "answer": "1"}', 1, "surrogate"),
        ('{"question": "a", "answer": "work ####"}', 1, "####"),
        ('\n{"question": "a", ', 2, "JSON"),
        ('["a", "b"]', 1, "object"),
        ("[" * 100_000, 1, "JSON"),
        ('{"question": "a", "choices": ["x", "y"], "answer": 2}', 1, "choice 2"),
        ('{"question": "a", "choices": ["x", "y"], "answer": -1}', 1, "choice -1"),
        ('{"question": "a", "choices": ["x", "y"], "answer": "C"}', 1, "'C'"),
        ('{"question": "a", "choices": ["x", "y"]}', 1, "'answer'"),
        ('{"question": "a", "choices": ["x"], "answer": 0}', 1, "'choices'"),
        ('{"question": "a", "choices": "xy", "answer": 0}', 1, "'choices'"),
        ('{"question": "a", "choices": ["x", ""], "answer": 0}', 1, "blank"),
        ('{"question": "a", "choices": ["x", "x"], "answer": "x"}', 1, "several"),
        ('{"question": "a", "choices": ["B", "A"], "answer": "A"}', 1, "several"),
        ('{"question": "a", "choices": {"X": "x", "Y": "y"}, "answer": "X"}', 1, "A, B, C"),
        ('{"question": "a", "rubric": "Says why."}', 1, "'rubric'"),
        ('{"question": "a", "answer": "1", "level": "two"}', 1, "'level'"),
        ('{"question": "a", "answer": "1", "id": 5}', 1, "'id'"),
        ('{"id": "q", "question": "a", "answer": "1"}\n{"id": "q", "question": "b", "answer": "2"}',
         2, "twice"),
    ],
)  # fmt: skip
def test_faults_are_named_with_file_and_line(text, line, fault, tmp_path):
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as raised:
        load(path)
    assert f"{path}, line {line}: " in str(raised.value)
    assert fault in str(raised.value)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a,b,c\n", "3 fields"),
        ("question,A,B,C,D,answer\n", "answer"),
        ("What?,a,b,c,d,E\n", "'E'"),
        (",a,b,c,d,A\n", "'question'"),
        ('What?,"a,b,c,d,A\n', "CSV"),
    ],
)
def test_faults_of_a_csv_file(text, fault, tmp_path):
    with pytest.raises(ConfigError, match="line 1") as raised:
        load(written(tmp_path, text, "some.csv"))
    assert fault in str(raised.value)


@pytest.mark.parametrize("text", ["", "\n \n", "\ufeff"])
def test_an_empty_file_is_refused(text, tmp_path):
    with pytest.raises(ConfigError, match="no question"):
        load(written(tmp_path, text))


def test_what_is_not_utf8_or_not_there_is_refused(tmp_path):
    path = tmp_path / "latin.jsonl"
    path.write_bytes('{"question": "a", "answer": "1"}\n{"question": "é"'.encode("latin-1"))
    with pytest.raises(ConfigError, match="line 2: is not UTF-8"):
        load(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "missing.jsonl")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)


# ------------------------------------------------------------------ prompt, hash, round trip


def test_prompt_letters_the_choices_and_names_the_ending():
    asked = Example(id="c", question="Which?", kind="choice", answer="A", choices=("x", "y"))
    assert prompt(asked) == 'Which?\n\nA) x\nB) y\n\nEnd with a last line "Answer: <letter>".'
    assert "<number>" in prompt(Example(id="n", question="?", kind="numeric", answer="1"))
    assert prompt(Example(id="o", question="Why?", kind="open")) == "Why?"


def test_a_prompt_repeated_is_no_answer():
    for name in SHIPPED:
        for example in load(DATASETS / f"{name}.jsonl"):
            assert score(example, prompt(example)).correct is not True, example.id


def test_the_hash_is_of_the_content_and_not_of_the_order():
    examples = load(DATASETS / "philosophy.jsonl")
    assert content_hash(examples) == content_hash(examples[::-1])
    changed = [replace(examples[0], rubric=("Says something.",)), *examples[1:]]
    assert content_hash(changed) != content_hash(examples)
    assert len(content_hash(examples)) == 16


@pytest.mark.parametrize("name", SHIPPED)
def test_what_is_written_is_read_back(name, tmp_path):
    path = DATASETS / f"{name}.jsonl"
    examples = load(path)
    again = load(written(tmp_path, "\n".join(map(to_json, examples)), path.name))
    assert again == examples


# ------------------------------------------------------------------ what is shipped


def test_at_least_120_keyed_questions_are_shipped():
    keyed = [e for name in SHIPPED[:3] for e in load(DATASETS / f"{name}.jsonl")]
    assert len(keyed) >= 120
    assert all(example.answer for example in keyed)
    assert len({example.id for example in keyed}) == len(keyed)
    assert len({example.question for example in keyed}) == len(keyed)


def test_a_key_scores_as_right_in_every_form():
    for name in SHIPPED[:3]:
        for example in load(DATASETS / f"{name}.jsonl"):
            for form in ("Answer: {}", "Verdict: {}", "The answer is **{}**.", "\\boxed{{{}}}"):
                assert score(example, form.format(example.answer)).correct, example.id
            if example.choices:
                text = example.choices[example.letters.index(example.answer)]
                assert score(example, f"Answer: {text}").correct, example.id
                assert score(example, f"Answer: {example.answer}) {text}").correct, example.id


def test_every_wrong_choice_scores_as_wrong():
    for example in load(DATASETS / "philosophy_facts.jsonl"):
        for letter, text in zip(example.letters, example.choices, strict=True):
            for reply in (f"Answer: {letter}", f"Answer: {letter}) {text}", f"Answer: {text}"):
                assert score(example, reply).correct is (letter == example.answer), example.id


def test_facts_have_four_choices_a_source_and_balanced_letters():
    facts = load(DATASETS / "philosophy_facts.jsonl")
    assert len(facts) >= 40
    assert all(len(set(fact.choices)) == 4 and fact.source for fact in facts)
    assert set(Counter(fact.answer for fact in facts).values()) == {len(facts) // 4}


def test_the_right_choice_is_not_told_by_its_length():
    facts = load(DATASETS / "philosophy_facts.jsonl")
    longest = [
        fact.letters[max(range(4), key=lambda at: len(fact.choices[at]))] == fact.answer
        for fact in facts
    ]
    assert sum(longest) / len(facts) < 0.3


def test_the_battery_has_forty_questions_on_eight_levels():
    battery = load(DATASETS / "philosophy.jsonl")
    assert [example.level for example in battery] == [n for n in range(1, 9) for _ in range(5)]
    assert [battery[5 * n].level_name for n in range(8)] == LEVELS
    assert all(example.level_name == LEVELS[example.level - 1] for example in battery)
    assert len({example.question for example in battery}) == 40


def test_every_question_of_the_battery_has_a_rubric_of_three_to_six_points():
    for example in load(DATASETS / "philosophy.jsonl"):
        assert example.kind == "open"
        assert 3 <= len(example.rubric) <= 6, example.id
        assert len(set(example.rubric)) == len(example.rubric)
        assert all(point.endswith(".") for point in example.rubric), example.id


def test_questions_grow_longer_with_the_level():
    battery = load(DATASETS / "philosophy.jsonl")
    words = [sum(len(e.question.split()) for e in battery if e.level == n) for n in (1, 4, 8)]
    assert words == sorted(words)


def test_no_shipped_numeric_key_is_unreadable():
    for example in load(DATASETS / "arithmetic.jsonl"):
        assert (read(example.answer) is not None) == (example.kind == "numeric")
