"""Intervals and paired tests against published values, other formulas and odd inputs."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from evals.resampling import paired, studentised
from evals.statistics import (
    Interval,
    holm,
    mcnemar,
    mcnemar_clustered,
    paired_bootstrap,
    wilson,
)

counts = st.integers(0, 60)
answers = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40)
grades = st.lists(
    st.tuples(st.floats(0, 1, width=16), st.floats(0, 1, width=16)), min_size=1, max_size=30
)


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
        found = wilson(successes, n)
        assert found.estimate == successes / n
        assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


@given(n=st.integers(1, 500), data=st.data())
def test_wilson_holds_its_estimate_and_mirrors(n, data):
    successes = data.draw(st.integers(0, n))
    found, mirror = wilson(successes, n), wilson(n - successes, n)
    assert 0 <= found.low <= found.estimate + 1e-12
    assert found.estimate - 1e-12 <= found.high <= 1
    assert found.low == pytest.approx(1 - mirror.high, abs=1e-9)


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 4), (5, 4)])
def test_wilson_refuses_what_is_no_share(successes, n):
    with pytest.raises(ValueError, match=f"{successes} successes of {n}"):
        wilson(successes, n)


@pytest.mark.parametrize("level", [0, 1, 95, math.nan])
def test_levels_are_shares(level):
    with pytest.raises(ValueError, match="level"):
        wilson(1, 2, level)
    with pytest.raises(ValueError, match="level"):
        paired_bootstrap([1, 0], [0, 0], level=level)


# McNemar


def test_mcnemar_gives_the_p_values_of_fagerland_lydersen_and_laake():
    # Their airway example has 1 and 7 discordant pairs: exact .0703, mid-p .0391.
    found = mcnemar(1, 7)
    assert (found.p, found.mid_p) == pytest.approx((0.0703, 0.0391), abs=5e-5)


def test_mcnemar_where_the_arms_never_differ():
    assert (mcnemar(0, 0).p, mcnemar(0, 0).mid_p) == (1, 1)


@given(b=counts, c=counts)
def test_mcnemar_is_the_binomial_test_and_knows_no_sides(b, c):
    found, turned = mcnemar(b, c), mcnemar(c, b)
    assert (found.p, found.mid_p) == (turned.p, turned.mid_p)
    assert 0 < found.mid_p <= found.p <= 1
    if b + c:
        assert found.p == pytest.approx(stats.binomtest(b, b + c).pvalue)


@given(b=counts, c=counts)
def test_mcnemar_doubts_less_as_the_arms_part(b, c):
    low, high = min(b, c), max(b, c)
    assert mcnemar(low, high + 1).mid_p <= mcnemar(low, high).mid_p + 1e-12
    assert mcnemar(low, high + 1).p <= mcnemar(low, high).p + 1e-12


def test_mcnemar_refuses_negative_counts():
    with pytest.raises(ValueError, match="negative"):
        mcnemar(-1, 3)


@given(rows=answers)
def test_clustered_mcnemar_without_repeats_is_mcnemar(rows):
    first, second = zip(*rows, strict=True)
    found = mcnemar_clustered(first, second)
    plain = mcnemar(sum(a > b for a, b in rows), sum(b > a for a, b in rows))
    assert (found.first_only, found.second_only) == (plain.first_only, plain.second_only)
    assert (found.p, found.mid_p) == pytest.approx((plain.p, plain.mid_p))


def test_clustered_mcnemar_counts_every_flip_of_three_questions():
    # Surpluses +3, +1, -2 sum to 2. Of the 8 signings, |sum| is 6, 4, 2, 0 two times each.
    first, second = [1, 1, 1, 1, 0, 0, 1], [0, 0, 0, 0, 1, 1, 1]
    found = mcnemar_clustered(first, second, ["a", "a", "a", "b", "c", "c", "c"])
    assert (found.first_only, found.second_only) == (4, 2)
    assert found.p == pytest.approx(6 / 8)
    assert found.mid_p == pytest.approx(5 / 8)


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


# Bootstrap


def test_the_bootstrap_comes_close_to_the_t_interval_of_many_graded_questions():
    rng = np.random.default_rng(3)
    first, second = rng.beta(4, 3, 400), rng.beta(3, 3, 400)
    found = paired_bootstrap(first, second, resamples=4000)
    known = stats.ttest_rel(first, second).confidence_interval()
    assert found.estimate == pytest.approx(float(np.mean(first - second)))
    assert (found.low, found.high) == pytest.approx((known.low, known.high), abs=0.004)
    assert found.questions == 400


def test_few_and_many_kinds_of_rows_are_resampled_alike():
    rng = np.random.default_rng(5)
    first, second = rng.random(80) < 0.8, rng.random(80) < 0.5
    # A grain of noise makes every row a kind of its own.
    grain = first * 0.999 + rng.random(80) * 1e-5
    coarse = paired_bootstrap(first, second, resamples=20_000)
    fine = paired_bootstrap(grain, second, resamples=20_000)
    assert (coarse.low, coarse.high) == pytest.approx((fine.low, fine.high), abs=0.006)
    assert coarse.p == pytest.approx(fine.p, abs=0.01)


@given(rows=grades)
@settings(deadline=None)
def test_the_bootstrap_is_antisymmetric_and_stays_in_range(rows):
    first, second = zip(*rows, strict=True)
    found = paired_bootstrap(first, second, resamples=200)
    turned = paired_bootstrap(second, first, resamples=200)
    assert found.estimate == pytest.approx(-turned.estimate, abs=1e-12)
    assert -1 <= found.low <= found.estimate + 1e-12
    assert found.estimate - 1e-12 <= found.high <= 1
    assert 0 < found.p <= 1


@given(rows=answers, seed=st.integers(0, 99))
@settings(deadline=None)
def test_p_and_interval_agree_about_zero(rows, seed):
    first, second = zip(*rows, strict=True)
    found = paired_bootstrap(first, second, resamples=199, seed=seed)
    if min(abs(found.low), abs(found.high)) > 1e-9:
        assert (found.p <= 0.05 + 1e-9) == (found.low > 0 or found.high < 0)


def test_a_seed_repeats_the_bootstrap_and_a_generator_goes_on():
    first, second = [1, 1, 0, 1, 1, 0, 1], [0, 1, 0, 0, 1, 1, 0]
    assert paired_bootstrap(first, second, seed=4) == paired_bootstrap(first, second, seed=4)
    rng = np.random.default_rng(4)
    assert paired_bootstrap(first, second, seed=rng) == paired_bootstrap(first, second, seed=4)
    state = rng.bit_generator.state
    paired_bootstrap(first, second, seed=rng)
    assert rng.bit_generator.state != state


def test_copies_of_an_answer_do_not_narrow_the_interval():
    first, second = [1, 1, 0, 1, 1, 0, 1, 1], [0, 1, 0, 0, 1, 1, 0, 0]
    once = paired_bootstrap(first, second)
    clustered = paired_bootstrap(first * 5, second * 5, list(range(8)) * 5)
    careless = paired_bootstrap(first * 5, second * 5)
    assert clustered == once
    assert careless.high - careless.low < 0.6 * (once.high - once.low)


def test_questions_weigh_the_same_however_often_they_were_asked():
    found = paired_bootstrap([1, 1, 1, 0], [0, 0, 0, 1], ["a", "a", "a", "b"])
    assert found.estimate == 0
    assert found.questions == 2


def test_a_mean_of_equal_differences_keeps_a_doubt():
    same = paired_bootstrap([1] * 100, [1] * 100)
    assert (same.estimate, same.p) == (0, 1)
    assert same.high == -same.low == pytest.approx(1 - 0.025 ** (1 / 100))
    better = paired_bootstrap([1] * 6, [0] * 6)
    assert better.p == pytest.approx(stats.binomtest(6, 6).pvalue)
    assert better.low > 0
    alone = paired_bootstrap([1], [0])
    assert alone.p == 1
    assert alone.low < 0 < alone.high == 1


def test_three_differing_questions_are_no_evidence():
    found = paired_bootstrap([1] * 3 + [0] * 97, [0] * 100)
    assert found.p > 0.05
    assert found.low <= 0


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        ([1, math.nan], [0, 0], r"first\[1\] is nan"),
        ([1, 0], [0, math.inf], r"second\[1\] is inf"),
        ([1, 2], [0, 0], r"first must lie in 0\.\.1"),
        ([1, 0, 1], [0, 0], "one length"),
        ([], [], "non-empty"),
        ([[1, 0]], [[0, 0]], "flat"),
    ],
)
def test_the_bootstrap_refuses(first, second, says):
    with pytest.raises(ValueError, match=says):
        paired_bootstrap(first, second)


def test_the_bootstrap_refuses_no_resamples():
    with pytest.raises(ValueError, match="resamples"):
        paired_bootstrap([1, 0], [0, 0], resamples=0)


def test_too_few_resamples_for_the_level_leave_it_open():
    found = paired_bootstrap([1] * 20 + [0], [0] * 21, resamples=9)
    assert (found.low, found.high) == (-1, 1)


def test_a_comparison_of_200_questions_takes_milliseconds():
    rng = np.random.default_rng(0)
    arms = [(rng.random((2, 200)) < 0.7), rng.random((2, 200))]
    for first, second in arms:
        seconds = []
        for _ in range(5):
            started = time.perf_counter()
            paired_bootstrap(first, second)
            seconds.append(time.perf_counter() - started)
        assert min(seconds) < 0.05


def test_a_ratio_with_a_constant_divisor_is_a_scaled_mean():
    rng = np.random.default_rng(8)
    top = rng.normal(1, 1, 50)
    ones, tens = np.ones(50), np.full(50, 10.0)
    mean, tenth = studentised(top, ones, seed=1), studentised(top, tens, seed=1)
    assert (tenth.estimate, tenth.margin) == pytest.approx((mean.estimate / 10, mean.margin / 10))
    assert tenth.p == mean.p


def test_pairs_come_in_the_order_of_their_questions():
    first, second = np.array([1.0, 0, 1, 1]), np.array([0.0, 0, 1, 0])
    assert paired(first, second, ["q9", "q1", "q9", "q1"]).tolist() == [0.5, 0.5]
    assert paired(first, second, [("a", 1), 7, ("a", 1), None]).tolist() == [0.5, 0, 1]


# Holm


def test_holm_on_a_worked_example():
    # 4 × .005, then 3 × .01, then 2 × .03, and .04 may not undercut .06.
    adjusted = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert list(adjusted) == ["a", "b", "c", "d"]
    assert adjusted == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})
    assert holm({}) == {}


@given(st.dictionaries(st.text(max_size=3), st.floats(0, 1), max_size=8))
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
