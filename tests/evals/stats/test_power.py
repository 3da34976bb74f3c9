"""Power and sample size against published tables, simulation-free sums and odd inputs."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm_brain.evals.stats.comparison import mcnemar
from swarm_brain.evals.stats.power import (
    EXACT_UP_TO,
    needed_sample_size,
    needed_sample_size_graded,
    power,
    power_graded,
)

shares = st.floats(0.0, 0.45)


@pytest.mark.parametrize("mid", [False, True])
def test_power_is_the_sum_over_every_table(mid):
    n, first, second = 12, 0.5, 0.1
    expected = 0.0
    for b, c in itertools.product(range(n + 1), repeat=2):
        rest = n - b - c
        test = mcnemar(b, c)
        if rest < 0 or (test.mid_p if mid else test.p) > 0.05:
            continue
        ways = math.factorial(n) / math.prod(math.factorial(k) for k in (b, c, rest))
        expected += ways * first**b * second**c * (1 - first - second) ** rest
    assert power(n, first, second, mid=mid) == pytest.approx(expected)


def test_power_without_an_effect_is_the_size_of_the_test():
    assert 0.02 < power(200, 0.2, 0.2) <= 0.05
    assert power(200, 0.2, 0.2) < power(200, 0.2, 0.2, mid=True) < 0.055
    assert power(200, 0, 0) == 0


@given(n=st.integers(1, 300), first=shares, second=shares)
@settings(deadline=None)
def test_power_knows_no_sides_and_mid_p_never_has_less(n, first, second):
    plain = power(n, first, second)
    assert plain == pytest.approx(power(n, second, first))
    assert 0 <= plain <= power(n, first, second, mid=True) + 1e-12 <= 1 + 1e-9


def test_needed_questions_are_close_to_connors_formula():
    # Connor 1987 for .2 against .1 discordant: (1.96 √.3 + .8416 √(.3 - .01))² / .01 = 233.
    # The exact test is conservative and asks for a little more.
    needed = needed_sample_size(0.2, 0.1)
    assert 233 <= needed <= 255


@given(first=st.floats(0.01, 0.45), second=st.floats(0.01, 0.45))
@settings(deadline=None, max_examples=50)
def test_the_needed_questions_have_the_power_and_fewer_have_not(first, second):
    needed = needed_sample_size(first, second)
    if needed is None or needed > 5_000:
        return
    assert needed == needed_sample_size(second, first)
    assert power(needed, first, second) >= 0.8
    assert needed == 1 or power(needed - 1, first, second) < 0.8


def test_more_power_a_smaller_alpha_and_a_smaller_effect_need_more():
    needed = needed_sample_size(0.2, 0.1)
    assert needed_sample_size(0.2, 0.1, 0.9) > needed
    assert needed_sample_size(0.2, 0.1, alpha=0.01) > needed
    assert needed_sample_size(0.2, 0.15) > needed


def test_no_effect_has_no_sample_size():
    assert needed_sample_size(0.1, 0.1) is None
    assert needed_sample_size(0, 0) is None
    assert needed_sample_size_graded(0, 0.3) is None


def test_a_tiny_effect_is_answered_at_once():
    assert needed_sample_size(0.1001, 0.1) > EXACT_UP_TO
    assert needed_sample_size_graded(1e-5, 0.3) > EXACT_UP_TO


def test_a_clear_effect_needs_as_many_as_the_test_can_reject():
    assert needed_sample_size(1, 0) == 6  # 2 × .5^6 is the first p under .05
    assert needed_sample_size_graded(0.4, 0) == 2


def test_exact_and_approximate_sizes_meet():
    first, second = 0.105, 0.1
    needed = needed_sample_size(first, second)
    z = 1.959964 * math.sqrt(0.205) + 0.841621 * math.sqrt(0.205 - 0.005**2)
    assert EXACT_UP_TO < needed == math.ceil((z / 0.005) ** 2)
    assert power(needed, first, second) == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize(("effect", "pairs"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_graded_sizes_are_cohens(effect, pairs):
    # Cohen's small, medium and large effects in a paired t test, as G*Power prints them.
    assert needed_sample_size_graded(effect, 1.0) == pairs
    assert power_graded(pairs, effect, 1.0) >= 0.8 > power_graded(pairs - 1, effect, 1.0)


@pytest.mark.parametrize("shift", [1e-3, 0.5, 5, 1e3, 1e6])
def test_graded_power_is_a_probability_however_far_the_shift(shift):
    for n in (2, 3, 30, 1000):
        assert 0.049 < power_graded(n, shift, 1.0) <= 1
        assert power_graded(n, -shift, 1.0) == power_graded(n, shift, 1.0)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: power(0, 0.2, 0.1), "n must be"),
        (lambda: power(10, 12, 5), "shares of all questions"),
        (lambda: power(10, -0.1, 0.1), "shares"),
        (lambda: power(10, math.nan, 0.1), "shares"),
        (lambda: power(10, 0.2, 0.1, alpha=0), "alpha"),
        (lambda: needed_sample_size(0.7, 0.7), "at most 1"),
        (lambda: needed_sample_size(0.2, 0.1, 1.0), "target"),
        (lambda: needed_sample_size_graded(math.nan, 0.1), "finite"),
        (lambda: needed_sample_size_graded(0.1, -1), "negative"),
        (lambda: power_graded(1, 0.1, 0.1), "at least 2"),
    ],
)
def test_refusals_say_what_is_wrong(call, says):
    with pytest.raises(ValueError, match=says):
        call()
