"""The paired bootstrap: against the t interval, its symmetries, repeats, and odd inputs."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from swarm_brain.evals.stats.bootstrap import paired, paired_bootstrap, studentised

answers = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40)
grades = st.lists(
    st.tuples(st.floats(0, 1, width=16), st.floats(0, 1, width=16)), min_size=1, max_size=30
)


def test_the_bootstrap_comes_close_to_the_t_interval_of_many_graded_questions():
    rng = np.random.default_rng(3)
    first, second = rng.beta(4, 3, 400), rng.beta(3, 3, 400)
    result = paired_bootstrap(first, second, resamples=4000)
    known = stats.ttest_rel(first, second).confidence_interval()
    assert result.estimate == pytest.approx(float(np.mean(first - second)))
    assert (result.low, result.high) == pytest.approx((known.low, known.high), abs=0.004)
    assert result.questions == 400


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
    result = paired_bootstrap(first, second, resamples=200)
    turned = paired_bootstrap(second, first, resamples=200)
    assert result.estimate == pytest.approx(-turned.estimate, abs=1e-12)
    assert -1 <= result.low <= result.estimate + 1e-12
    assert result.estimate - 1e-12 <= result.high <= 1
    assert 0 < result.p <= 1


@given(rows=answers, seed=st.integers(0, 99))
@settings(deadline=None)
def test_p_and_interval_agree_about_zero(rows, seed):
    first, second = zip(*rows, strict=True)
    result = paired_bootstrap(first, second, resamples=199, seed=seed)
    if min(abs(result.low), abs(result.high)) > 1e-9:
        assert (result.p <= 0.05 + 1e-9) == (result.low > 0 or result.high < 0)


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
    result = paired_bootstrap([1, 1, 1, 0], [0, 0, 0, 1], ["a", "a", "a", "b"])
    assert result.estimate == 0
    assert result.questions == 2


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
    result = paired_bootstrap([1] * 3 + [0] * 97, [0] * 100)
    assert result.p > 0.05
    assert result.low <= 0


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


@pytest.mark.parametrize("level", [0, 1, 95, math.nan])
def test_the_bootstrap_refuses_a_level_that_is_no_share(level):
    with pytest.raises(ValueError, match="level"):
        paired_bootstrap([1, 0], [0, 0], level=level)


def test_too_few_resamples_for_the_level_leave_it_open():
    result = paired_bootstrap([1] * 20 + [0], [0] * 21, resamples=9)
    assert (result.low, result.high) == (-1, 1)


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
