"""Intervals and paired tests against published values, other formulas and odd inputs."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from swarm_brain.evals.stats.bootstrap import Interval
from swarm_brain.evals.stats.comparison import (
    holm,
    mcnemar,
    mcnemar_clustered,
    wilson,
    wilson_clustered,
)

counts = st.integers(0, 60)
answers = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40)


# Shares


def test_wilson_gives_the_interval_of_newcombes_table():
    # Newcombe 1998, table I, method 3: 81/263, 15/148, 0/20, 1/29.
    published = {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0.0000, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }
    for (successes, n), (low, high) in published.items():
        result = wilson(successes, n)
        assert result.estimate == successes / n
        assert (result.low, result.high) == pytest.approx((low, high), abs=5e-5)


@given(n=st.integers(1, 500), data=st.data())
@settings(deadline=None)
def test_wilson_holds_its_estimate_and_mirrors(n, data):
    successes = data.draw(st.integers(0, n))
    result, mirror = wilson(successes, n), wilson(n - successes, n)
    assert 0 <= result.low <= result.estimate + 1e-12
    assert result.estimate - 1e-12 <= result.high <= 1
    assert result.low == pytest.approx(1 - mirror.high, abs=1e-9)


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 4), (5, 4)])
def test_wilson_refuses_what_is_no_share(successes, n):
    with pytest.raises(ValueError, match=f"{successes} successes of {n}"):
        wilson(successes, n)


@pytest.mark.parametrize("level", [0, 1, 95, math.nan])
def test_levels_are_shares(level):
    with pytest.raises(ValueError, match="level"):
        wilson(1, 2, level)


def test_repeating_a_question_narrows_no_interval():
    once = wilson_clustered([True, True, False], "abc")
    thrice = wilson_clustered([True, True, False] * 3, "abc" * 3)
    known = wilson(2, 3)
    assert (once.estimate, once.low, once.high) == pytest.approx(
        (known.estimate, known.low, known.high)
    )
    assert thrice == once


@pytest.mark.parametrize("right", [True, False])
def test_an_interval_stays_within_0_and_1(right: bool):
    result = wilson_clustered([right] * 4, "aabb")
    assert 0 <= result.low <= result.estimate <= result.high <= 1
    assert result.high - result.low > 0.5


# McNemar


def test_mcnemar_gives_the_p_values_of_fagerland_lydersen_and_laake():
    # Their airway example has 1 and 7 discordant pairs: exact .0703, mid-p .0391.
    result = mcnemar(1, 7)
    assert (result.p, result.mid_p) == pytest.approx((0.0703, 0.0391), abs=5e-5)


def test_mcnemar_where_the_arms_never_differ():
    assert (mcnemar(0, 0).p, mcnemar(0, 0).mid_p) == (1, 1)


@given(b=counts, c=counts)
@settings(deadline=None)
def test_mcnemar_is_the_binomial_test_and_knows_no_sides(b, c):
    result, turned = mcnemar(b, c), mcnemar(c, b)
    assert (result.p, result.mid_p) == (turned.p, turned.mid_p)
    assert 0 < result.mid_p <= result.p <= 1
    if b + c:
        assert result.p == pytest.approx(stats.binomtest(b, b + c).pvalue)


@given(b=counts, c=counts)
@settings(deadline=None)
def test_mcnemar_doubts_less_as_the_arms_part(b, c):
    low, high = min(b, c), max(b, c)
    assert mcnemar(low, high + 1).mid_p <= mcnemar(low, high).mid_p + 1e-12
    assert mcnemar(low, high + 1).p <= mcnemar(low, high).p + 1e-12


def test_mcnemar_refuses_negative_counts():
    with pytest.raises(ValueError, match="negative"):
        mcnemar(-1, 3)


@given(rows=answers)
@settings(deadline=None)
def test_clustered_mcnemar_without_repeats_is_mcnemar(rows):
    first, second = zip(*rows, strict=True)
    result = mcnemar_clustered(first, second)
    plain = mcnemar(sum(a > b for a, b in rows), sum(b > a for a, b in rows))
    assert (result.first_only, result.second_only) == (plain.first_only, plain.second_only)
    assert (result.p, result.mid_p) == pytest.approx((plain.p, plain.mid_p))


def test_clustered_mcnemar_counts_every_flip_of_three_questions():
    # Surpluses +3, +1, -2 sum to 2. Of the 8 signings, |sum| is 6, 4, 2, 0 two times each.
    first, second = [1, 1, 1, 1, 0, 0, 1], [0, 0, 0, 0, 1, 1, 1]
    result = mcnemar_clustered(first, second, ["a", "a", "a", "b", "c", "c", "c"])
    assert (result.first_only, result.second_only) == (4, 2)
    assert result.p == pytest.approx(6 / 8)
    assert result.mid_p == pytest.approx(5 / 8)


def test_repeats_that_only_copy_an_answer_add_no_evidence():
    first, second = [1, 1, 1, 0, 1], [0, 0, 0, 1, 1]
    once = mcnemar_clustered(first, second)
    tenfold = mcnemar_clustered(first * 10, second * 10, list(range(5)) * 10)
    assert (tenfold.p, tenfold.mid_p) == pytest.approx((once.p, once.mid_p))


@pytest.mark.parametrize(
    ("first", "second", "clusters", "says"),
    [
        ([1, 0.5], [0, 0], None, "0 or 1"),
        ([1, 0], [0], None, "one length"),
        ([1, 0], [0, 0], ["a"], "2 cluster ids"),
        ([], [], None, "non-empty"),
    ],
)
def test_clustered_mcnemar_refuses(first, second, clusters, says):
    with pytest.raises(ValueError, match=says):
        mcnemar_clustered(first, second, clusters)


# Holm


def test_holm_on_a_worked_example():
    # 4 × .005, then 3 × .01, then 2 × .03, and .04 may not undercut .06.
    adjusted = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert list(adjusted) == ["a", "b", "c", "d"]
    assert adjusted == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})
    assert holm({}) == {}


@given(st.dictionaries(st.text(max_size=3), st.floats(0, 1), max_size=8))
@settings(deadline=None)
def test_holm_lies_between_the_raw_p_and_bonferronis(p_values):
    adjusted = holm(p_values)
    for name, p in p_values.items():
        assert p <= adjusted[name] <= min(1, p * len(p_values)) + 1e-12
    by_rank = sorted(p_values, key=p_values.__getitem__)
    assert [adjusted[name] for name in by_rank] == sorted(adjusted.values())


@pytest.mark.parametrize("p", [math.nan, -0.1, 1.1])
def test_holm_refuses_what_is_no_p(p):
    with pytest.raises(ValueError, match="'odd'"):
        holm({"fine": 0.5, "odd": p})


def test_intervals_compare_by_value():
    assert wilson(3, 9) == Interval(3 / 9, wilson(3, 9).low, wilson(3, 9).high)
