"""How well the effort estimate tells look-ups from questions that deserve eight experts."""

from __future__ import annotations

import json
import time
from collections import Counter

import pytest

from swarm_brain.evals.effort import DATASET, measure
from swarm_brain.graph.effort import estimate

LOW = [
    "What does ephemeral mean?",
    "What is the capital of Mongolia?",
    "What's the chemical symbol for gold?",
    "Define photosynthesis.",
    "Who wrote Don Quixote?",
    "When did the Berlin Wall fall?",
    "How many legs does a spider have?",
    "What does HTTP stand for?",
    "Translate 'good morning' into French.",
    "17 * 23",
    "Is Paris in France?",
    "Hi! Could you please tell me what the word laconic means?",
    "what is the definition of entropy",
]
HIGH = [
    "What is the nature of consciousness?",
    "What is the nature of time?",
    "Why is the sky blue?",
    "Hi! Could you please tell me why leaves fall?",
    "What is inflation, and how does it differ from deflation?",
    "Who invented the telephone, when was it, and what changed because of it?",
    "Compare TCP with UDP.",
    "First find the roots of the equation, then explain which of them is stable.",
    "Should I rent or buy a house?",
    "A train leaves at 9 and drives 60 km/h, another at 10 with 80 km/h. When do they meet?",
    "What is the meaning of life?",
    "How would you design a fair election?",
    "Explain step by step how a compiler works.",
]


def test_accuracy_on_the_labelled_questions():
    accuracy, wrong = measure()
    print(f"effort accuracy {accuracy:.3f}", *wrong, sep="\n")
    assert accuracy >= 0.9


def test_the_labelled_questions_are_sixty_and_balanced():
    rows = [json.loads(line) for line in DATASET.read_text(encoding="utf-8").splitlines()]
    assert len({row["question"] for row in rows}) == len(rows) >= 60
    counts = Counter(row["effort"] for row in rows)
    assert set(counts) == {"low", "high"}
    assert min(counts.values()) >= 20


@pytest.mark.parametrize("question", LOW)
def test_look_ups_are_low(question):
    assert estimate(question) == "low"


@pytest.mark.parametrize("question", HIGH)
def test_open_multi_part_and_multi_step_questions_are_high(question):
    assert estimate(question) == "high"


@pytest.mark.parametrize("question", LOW)
def test_case_and_space_change_nothing(question):
    assert estimate(f"\n  {question.upper()}  ") == estimate(f"{question.lower()} ") == "low"


@pytest.mark.parametrize(
    "piece", ["would-", "word ", "please ", ".", "?\n", "if, ", '"', "1,", " ", "what and how "]
)
def test_a_huge_question_is_judged_fast(piece):
    question = "What is " + piece * (60_000 // len(piece))
    started = time.perf_counter()
    estimate(question)
    assert time.perf_counter() - started < 1.0
