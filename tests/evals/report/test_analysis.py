"""From answers and judgements to a report's data."""

from __future__ import annotations

from typing import Any

import pytest

from swarm_brain.evals.report.analysis import analyse
from swarm_brain.evals.results import Judgements, Results
from swarm_brain.evals.stats.calibration import Bin
from swarm_brain.evals.stats.judge_bias import JudgedPair
from tests.evals.samples import against, example, open_example

KEYED = [example(f"q{n}", level=1 + n // 10, level_name=f"level {1 + n // 10}",
                 group="odd" if n % 2 else "even") for n in range(20)]  # fmt: skip


def record(arm: str, number: int, correct: bool | None = True, **more: Any) -> dict[str, Any]:
    base = {"arm": arm, "id": f"q{number}", "repetition": 0, "correct": correct, "text": "words",
            "extracted": None if correct is None else "4", "provenance": "full",
            "input_tokens": 60, "output_tokens": 40, "calls": 1, "cost_usd": 0.01,
            "duration_s": 1.0, "agreement": None, "error": None, "samples": [],
            "trace": []}  # fmt: skip
    return {**base, **more}


def arm(name: str, right: int, of: int = 20, **more: Any) -> list[dict[str, Any]]:
    """An arm that is right on the first questions."""
    return [record(name, number, number < right, **more) for number in range(of)]


def data(*arms: list[dict[str, Any]], examples=KEYED, judged=None, allocation: int | None = 100):
    by_name = {records[0]["arm"]: records for records in arms}
    return analyse(Results(examples, by_name, allocation, judged or Judgements()))


# ---- counting


def test_accuracy_leaves_out_simulated_and_unreadable_answers():
    records = arm("swarm", 6, 10)
    records[8] |= {"correct": None, "extracted": None}
    records[9] |= {"provenance": "simulated", "correct": None, "error": "429", "text": ""}
    (row,) = data(records)["arms"]
    assert (row["questions"], row["answered"], row["simulated"]) == (10, 9, 1)
    assert (row["unextracted"], row["errors"]) == (1, 1)
    assert row["accuracy"]["estimate"] == 6 / 8
    assert row["accuracy"]["low"] < 6 / 8 < row["accuracy"]["high"]
    assert (row["input_tokens"], row["tokens_per_question"]) == (540, 100)


def test_nothing_answered_has_no_accuracy():
    simulated = [record("swarm", n, None, provenance="simulated", input_tokens=0) for n in range(3)]
    result = data(simulated, arm("self-moa", 3, 3))
    row = result["arms"][0]
    assert (row["accuracy"], row["answered"], row["spent_ratio"]) == (None, 0, None)
    assert result["comparisons"] == []


def test_a_simulated_answer_that_was_scored_still_counts_for_nothing():
    records = arm("swarm", 0, 4)
    records[0] |= {"provenance": "simulated", "correct": True}
    result = data(records, arm("self-moa", 4, 4))
    assert result["arms"][0]["accuracy"]["estimate"] == 0
    assert against(result, "self-moa")["questions"] == 3
    assert result["questions"][0]["arms"]["swarm"][0]["score"] is None


def test_unknown_usage_stays_unknown():
    records = arm("swarm", 3, 3)
    records[0] |= {"cost_usd": None, "output_tokens": None}
    (row,) = data(records)["arms"]
    assert (row["cost_usd"], row["output_tokens"], row["input_tokens"]) == (None, None, 180)


def test_levels_and_groups():
    result = data(arm("swarm", 10), arm("single", 5))
    assert [level["name"] for level in result["levels"]] == ["level 1", "level 2"]
    assert [level["arms"]["swarm"]["accuracy"] for level in result["levels"]] == [1.0, 0.0]
    assert [level["arms"]["single"]["accuracy"] for level in result["levels"]] == [0.5, 0.0]
    groups = {group["name"]: group["arms"] for group in result["groups"]}
    assert groups["even"]["single"] == {"n": 10, "accuracy": 0.3, "quality": None}


# ---- comparisons


def test_holm_goes_over_the_arms_without_the_reference():
    result = data(
        arm("swarm", 16), arm("single", 2), arm("self-moa", 8), arm("self-consistency", 10)
    )
    moa, votes = against(result, "self-moa"), against(result, "self-consistency")
    low, high = sorted((moa["p"], votes["p"]))
    assert moa["p"] == low < high == votes["p"]
    assert moa["p_holm"] == pytest.approx(2 * low)
    assert votes["p_holm"] == pytest.approx(max(2 * low, high))
    single = against(result, "single")
    assert single["p"] < low
    assert single["p_holm"] is None
    assert (single["valid"], single["why_invalid"]) == (
        False, "single is a reference, not run at equal tokens")  # fmt: skip


def test_differences_are_the_swarms_less_the_others():
    result = data(arm("swarm", 5), arm("self-moa", 15))
    row = against(result, "self-moa")
    assert row["difference"]["estimate"] == -0.5
    assert row["difference"]["high"] < 0
    assert (row["first"], row["questions"]) == ("swarm", 20)
    assert (row["mcnemar"]["first_only"], row["mcnemar"]["second_only"]) == (0, 10)
    assert 5 < row["needed_sample_size"] < 40


def test_equal_arms_need_no_size_and_differ_in_nothing():
    row = against(data(arm("swarm", 10), arm("self-moa", 10)), "self-moa")
    assert (row["difference"]["estimate"], row["p"], row["needed_sample_size"]) == (0, 1.0, None)


@pytest.mark.parametrize(
    ("tokens", "valid"), [(60 + 19, False), (60 + 20, True), (60 + 45, True), (60 + 46, False)]
)
def test_comparisons_at_unequal_tokens_are_invalid_and_say_why(tokens: int, valid: bool):
    result = data(arm("swarm", 10), arm("self-moa", 5, output_tokens=tokens - 60))
    row = against(result, "self-moa")
    assert row["valid"] is valid
    assert (row["why_invalid"] is None) is valid
    assert valid or f"self-moa spent {tokens / 100:.1%}" in row["why_invalid"]
    assert result["arms"][1]["spent_ratio"] == tokens / 100


def test_without_an_allocation_no_comparison_is_valid():
    row = against(data(arm("swarm", 10), arm("self-moa", 5), allocation=None), "self-moa")
    assert (row["valid"], row["why_invalid"]) == (
        False, "there is no allocation to compare the spending with")  # fmt: skip


def test_only_pairs_that_both_answered_are_compared():
    swarm, other = arm("swarm", 20), arm("self-moa", 0)
    swarm[0] |= {"correct": None}
    other[1] |= {"provenance": "simulated", "correct": None}
    assert against(data(swarm, other[:-1]), "self-moa")["questions"] == 17


def test_repetitions_are_one_question():
    swarm = [record("swarm", n, n < 8, repetition=r) for n in range(10) for r in range(5)]
    other = [record("self-moa", n, n < 6, repetition=r) for n in range(10) for r in range(5)]
    row = against(data(swarm, other), "self-moa")
    assert row["questions"] == 10
    assert row["p"] > 0.1, "ten agreeing repetitions of two questions are two, not ten"


def test_without_the_swarm_nothing_is_compared():
    result = data(arm("self-moa", 10), arm("single", 5))
    assert (result["comparisons"], result["returns"], result["calibration"]) == ([], [], None)


# ---- what experts are worth, and what agreement is


def test_return_on_tokens_is_of_the_arms_without_an_expert():
    swarm = arm("swarm", 15, output_tokens=40)
    minus = [record("swarm-minus:creative", n, n < 10, output_tokens=10 + n % 3) for n in range(20)]
    (row,) = data(swarm, minus)["returns"]
    assert row["expert"] == "creative"
    assert row["quality"]["estimate"] == 0.25
    assert row["tokens"]["estimate"] == pytest.approx(40 - 10.95, abs=0.1)
    assert row["per_1000"]["estimate"] == pytest.approx(0.25 / row["tokens"]["estimate"] * 1000)
    assert row["reason"] is None


def test_an_expert_that_costs_nothing_has_no_price():
    (row,) = data(arm("swarm", 15), arm("swarm-minus:creative", 10))["returns"]
    assert row["per_1000"] is None
    assert "does not differ clearly from 0" in row["reason"]
    (none,) = data(arm("swarm", 1, 1), arm("swarm-minus:creative", 1, 1))["returns"]
    assert none["reason"] == "too few answers"


def test_calibration_is_accuracy_by_agreement():
    records = [record("swarm", n, n % 10 < 9, agreement=0.95) for n in range(10)]
    records += [record("swarm", n, n % 10 < 2, agreement=0.1) for n in range(10, 20)]
    result = data(records)["calibration"]
    counted = [one["count"] for one in result["bins"]]
    assert (counted[0], counted[-1], sum(counted)) == (10, 10, 20)
    assert result["bins"][-1]["accuracy"]["estimate"] == 0.9
    assert result["ece"] == pytest.approx(0.5 * 0.05 + 0.5 * 0.1)
    assert data(arm("swarm", 5))["calibration"] is None


# ---- the judge


OPEN = [open_example(f"q{n}") for n in range(4)]


def essays(name: str) -> list[dict[str, Any]]:
    return [record(name, number, None) for number in range(4)]


def test_the_judge_decides_only_where_both_orders_agree():
    verdicts = [("first", "second"), ("first", "first"), ("second", "first"), ("tie", "unparsed")]
    pairs = {
        ("self-moa", f"q{n}"): JudgedPair(*verdict, 100, 100) for n, verdict in enumerate(verdicts)
    }
    result = data(essays("swarm"), essays("self-moa"), examples=OPEN, judged=Judgements({}, pairs))
    row = against(result, "self-moa", "pairwise")
    assert row["wins"] == {"a": 1, "b": 1, "tie": 1, "unparsed": 1}
    assert row["difference"]["estimate"] == 0
    assert result["judging"]["pairs"] == 4
    assert all(one["unextracted"] == 0 for one in result["arms"]), "open answers need no key"


def test_rubric_points_are_quality_and_unclear_ones_are_left_out():
    met = {("swarm", "q0", 0): [True, True], ("swarm", "q1", 0): [True, False],
           ("swarm", "q2", 0): [None, True]}  # fmt: skip
    met |= {("self-moa", f"q{n}", 0): [False, False] for n in range(4)}
    result = data(essays("swarm"), essays("self-moa"), examples=OPEN, judged=Judgements(met))
    assert result["arms"][0]["quality"]["estimate"] == 0.75
    row = against(result, "self-moa", "quality")
    assert (row["questions"], row["difference"]["estimate"]) == (2, 0.75)
    shown = [question["arms"]["swarm"][0] for question in result["questions"]]
    assert [one["score"] for one in shown] == [1.0, 0.5, None, None]
    assert shown[3]["rubric"] is None


# ---- repetitions belong together


def test_the_arms_figures_count_a_question_once():
    once = arm("swarm", 10, agreement=0.9)
    again = [{**row, "repetition": 1} for row in once]
    rows = [
        analyse(Results(KEYED, {"swarm": records}, 100, Judgements()))
        for records in (once, once + again)
    ]
    assert rows[0]["arms"][0]["accuracy"] == rows[1]["arms"][0]["accuracy"]
    counts = [sum(Bin(**one).count for one in row["calibration"]["bins"]) for row in rows]
    assert counts == [20, 20]


def test_repeated_grades_count_a_question_once():
    once = essays("swarm")
    again = [{**row, "repetition": 1} for row in once]
    met = {
        ("swarm", row["id"], turn): [number % 2 == 0, True]
        for number, row in enumerate(once) for turn in (0, 1)
    }  # fmt: skip
    first, both = (
        analyse(Results([], {"swarm": records}, 100, Judgements(met)))
        for records in (once, once + again)
    )
    assert first["arms"][0]["quality"] == both["arms"][0]["quality"]
