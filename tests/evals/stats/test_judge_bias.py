"""Judge diagnostics: the winner of a pair, and judges that prefer a place or a length."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm_brain.evals.stats.judge_bias import JudgedPair, decide, judge_bias

verdicts = st.sampled_from(["first", "second", "tie", "unparsed"])
pairs = st.lists(
    st.builds(JudgedPair, verdicts, verdicts, st.integers(0, 900), st.integers(0, 900)),
    max_size=30,
)


@pytest.mark.parametrize(
    ("order_ab", "order_ba", "winner"),
    [
        ("first", "second", "a"),
        ("second", "first", "b"),
        ("first", "first", "tie"),
        ("second", "second", "tie"),
        ("tie", "tie", "tie"),
        ("first", "tie", "tie"),
        ("tie", "first", "tie"),
        ("unparsed", "second", "unparsed"),
        ("first", "unparsed", "unparsed"),
        ("unparsed", "unparsed", "unparsed"),
    ],
)
def test_a_win_needs_both_orders(order_ab, order_ba, winner):
    assert decide(order_ab, order_ba) == winner


@given(verdicts, verdicts)
@settings(deadline=None)
def test_the_winner_does_not_depend_on_which_answer_is_called_a(order_ab, order_ba):
    swapped = {"a": "b", "b": "a"}
    winner = decide(order_ab, order_ba)
    assert decide(order_ba, order_ab) == swapped.get(winner, winner)


@given(pairs)
@settings(deadline=None)
def test_counts_add_up_and_renaming_the_answers_changes_no_diagnosis(rows):
    result = judge_bias(rows)
    assert sum(result.winners.values()) == result.pairs == len(rows)
    renamed = judge_bias(
        [JudgedPair(row.order_ba, row.order_ab, row.length_b, row.length_a) for row in rows]
    )
    assert renamed.first == result.first
    assert renamed.longer == result.longer
    assert renamed.consistent == result.consistent
    assert renamed.length_correlation == pytest.approx(result.length_correlation)


def test_each_figure_on_a_small_table():
    rows = [
        JudgedPair("first", "second", 300, 100),  # a, the longer
        JudgedPair("second", "first", 100, 200),  # b, the longer
        JudgedPair("first", "second", 100, 400),  # a, the shorter
        JudgedPair("first", "first", 100, 150),  # by place
        JudgedPair("tie", "tie", 100, 100),
        JudgedPair("first", "tie", 120, 100),  # half by place
        JudgedPair("unparsed", "first", 900, 100),
    ]
    result = judge_bias(rows)
    assert result.winners == {"a": 2, "b": 1, "tie": 3, "unparsed": 1}
    assert result.consistent.estimate == pytest.approx(4 / 6)
    # Of the readable pairs' nine verdicts with a winner, six name the first place.
    assert (result.first.wins, result.first.cases) == (6, 9)
    assert result.first.p == pytest.approx(0.5)  # two pairs lean to the first place, none away
    assert (result.longer.wins, result.longer.cases) == (2, 3)
    assert result.longer.p == 1
    assert result.warnings == ["The judge's verdict could not be read in 1 of 7 pairs."]


@pytest.mark.parametrize(("verdict", "place"), [("first", "first"), ("second", "second")])
def test_a_judge_of_places_is_exposed_and_wins_nothing(verdict, place):
    result = judge_bias([JudgedPair(verdict, verdict, 100 + n, 200) for n in range(20)])
    assert result.winners["tie"] == 20
    assert result.consistent.estimate == 0
    assert result.first.share.estimate == (1 if place == "first" else 0)
    assert result.length_correlation is None
    assert result.warnings[0] == (
        f"The judge prefers the answer shown {place}: it won 40 of 40 decided verdicts"
        " (p = 1.9e-06)."
    )
    assert result.warnings[1].startswith("Only 0% of the verdicts stayed the same")


@pytest.mark.parametrize(("sign", "word"), [(1, "longer"), (-1, "shorter")])
def test_a_judge_of_length_is_exposed_although_it_is_consistent(sign, word):
    gaps = [(-1) ** n * (10 + n) for n in range(24)]
    result = judge_bias(
        [
            JudgedPair("first", "second", 500 + gap, 500)
            if gap * sign > 0
            else JudgedPair("second", "first", 500 + gap, 500)
            for gap in gaps
        ]
    )
    assert result.consistent.estimate == 1
    assert result.first.share.estimate == 0.5
    assert result.first.p == 1
    assert result.length_correlation * sign > 0.8
    assert [line.split(" (")[0] for line in result.warnings] == [
        f"The judge prefers {word} answers"
    ]


def test_an_honest_judge_of_a_clearly_better_arm_is_not_warned_about():
    rows = [JudgedPair("first", "second", 500 + n % 7, 500 + n % 5) for n in range(40)]
    result = judge_bias(rows)
    assert result.winners["a"] == 40
    assert result.warnings == []


def test_nothing_judged_and_nothing_readable():
    assert judge_bias([]).warnings == []
    assert judge_bias([]).consistent is None
    result = judge_bias([JudgedPair("unparsed", "first", 10, 20)] * 5)
    assert (result.first, result.longer, result.length_p) == (None, None, None)
    assert result.warnings == ["The judge's verdict could not be read in 5 of 5 pairs."]


def test_all_ties_say_nothing_about_places():
    result = judge_bias([JudgedPair("tie", "tie", 10, 20)] * 5)
    assert result.consistent.estimate == 1
    assert result.first is None
    assert result.warnings == []


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (JudgedPair("A", "second", 1, 1), "unknown verdict 'A'"),
        (JudgedPair("first", "second", math.nan, 1), "lengths nan and 1"),
        (JudgedPair("first", "second", 1, -1), "lengths 1 and -1"),
    ],
)
def test_odd_rows_are_refused_by_number(row, says):
    with pytest.raises(ValueError, match=f"pair 1: {says}"):
        judge_bias([JudgedPair("tie", "tie", 1, 1), row])


def test_alpha_is_a_share():
    with pytest.raises(ValueError, match="alpha"):
        judge_bias([], alpha=0)
