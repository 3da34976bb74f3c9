"""Reliability, calibration error, and the threshold under which abstaining pays."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm_brain.evals.stats.calibration import abstention, expected_calibration_error, reliability
from swarm_brain.evals.stats.comparison import wilson

rows = st.lists(st.tuples(st.none() | st.floats(0, 1), st.booleans()), min_size=0, max_size=40).map(
    lambda pairs: ([a for a, _ in pairs], [c for _, c in pairs])
)


def test_accuracy_by_agreement():
    result = reliability(
        [1 / 3, 1 / 3, 1.0, 1.0, 1.0, None], [False, True, True, True, False, True]
    )
    assert [bin_.count for bin_ in result] == [0, 2, 0, 0, 3]
    assert result[1].accuracy == wilson(1, 2)
    assert result[1].mean_agreement == pytest.approx(1 / 3)
    assert result[4].accuracy == wilson(2, 3)
    assert (result[0].accuracy, result[0].mean_agreement) == (None, None)
    assert [(bin_.low, bin_.high) for bin_ in result][1] == pytest.approx((0.2, 0.4))


def test_an_edge_belongs_to_the_bin_above_and_1_to_the_last():
    result = reliability([0, 0.2, 0.4, 3 / 5, 0.8, 1], [True] * 6)
    assert [bin_.count for bin_ in result] == [1, 1, 1, 1, 2]
    result = reliability([1 - 0.4, 0.1 + 0.2, 1], [True] * 3, bins=[0, 0.3, 0.6, 1])
    assert [bin_.count for bin_ in result] == [0, 1, 2]


@given(rows, st.integers(1, 12))
@settings(deadline=None)
def test_every_measured_answer_is_in_one_bin(data, bins):
    agreement, correct = data
    result = reliability(agreement, correct, bins)
    assert len(result) == bins
    assert sum(bin_.count for bin_ in result) == sum(value is not None for value in agreement)
    for bin_ in result:
        if bin_.mean_agreement is not None:
            assert bin_.low - 1e-8 <= bin_.mean_agreement <= bin_.high + 1e-8
    error = expected_calibration_error(result)
    assert error is None or 0 <= error <= 1


def test_calibration_error_of_a_worked_example():
    # Half the answers agree by .9 and are right in 3 of 5; half by .3, right in 2 of 5.
    agreement = [0.9] * 5 + [0.3] * 5
    correct = [True] * 3 + [False] * 2 + [True] * 2 + [False] * 3
    result = expected_calibration_error(reliability(agreement, correct))
    assert result == pytest.approx(0.5 * 0.3 + 0.5 * 0.1)
    assert expected_calibration_error(reliability([1.0] * 4, [True] * 4)) == 0
    assert expected_calibration_error(reliability([None], [True])) is None
    assert expected_calibration_error([]) is None


@pytest.mark.parametrize("bins", [0, [0, 1, 1], [0.1, 1], [0, 0.9], [1], [0, 0.5, 0.2, 1]])
def test_bins_are_at_least_one_and_cover_0_to_1(bins):
    with pytest.raises(ValueError, match="bins"):
        reliability([0.5], [True], bins)


def simulated(n, seed, right=(0.2, 0.7, 0.95)):
    rng = np.random.default_rng(seed)
    kind = rng.integers(3, size=n)
    agreement = np.array([1 / 3, 2 / 3, 1.0])[kind]
    return agreement.tolist(), (rng.random(n) < np.array(right)[kind]).tolist()


def test_abstaining_pays_where_agreement_tells_right_from_wrong():
    agreement, correct = simulated(200, 1)
    result = abstention(agreement, correct)
    answered = [right for value, right in zip(agreement, correct, strict=True) if value > 0.4]
    assert result.threshold == pytest.approx(1 / 3)
    assert result.coverage == len(answered) / 200
    assert result.accuracy == wilson(sum(answered), len(answered))
    silent = [right for value, right in zip(agreement, correct, strict=True) if value < 0.4]
    assert result.gain == pytest.approx((len(silent) - 2 * sum(silent)) / 200)
    assert 0 < result.held_out <= result.gain + 1e-12
    assert result.p < 0.05


def test_a_dearer_mistake_raises_the_threshold_until_nothing_is_answered():
    agreement, correct = simulated(300, 2)
    thresholds = [abstention(agreement, correct, cost).threshold for cost in (1, 6, 200)]
    assert thresholds == pytest.approx([1 / 3, 2 / 3, 1])
    silent = abstention(agreement, correct, 200)
    assert (silent.coverage, silent.accuracy) == (0, None)


def test_dear_silence_never_pays():
    agreement, correct = simulated(200, 3)
    assert abstention(agreement, correct, cost_wrong=1, cost_abstain=2) is None
    assert abstention(agreement, correct, cost_wrong=0) is None


def test_nothing_to_choose_from():
    assert abstention([], []) is None
    assert abstention([None, None], [True, False]) is None
    assert abstention([0.5], [False]) is None
    assert abstention([1.0] * 50, [True] * 50) is None


@pytest.mark.parametrize("accuracy", [0.5, 0.6])
def test_choice_alone_seldom_makes_a_rule(accuracy):
    # Agreement says nothing and answering at least breaks even: 5 % of 300 runs, ± 3 × 1.26 %.
    rules = 0
    for seed in range(300):
        agreement, correct = simulated(90, seed, (accuracy,) * 3)
        rules += abstention(agreement, correct, simulations=400, seed=seed) is not None
    assert rules / 300 <= 0.088


@given(rows)
@settings(deadline=None)
def test_a_rule_always_gains_and_a_seed_repeats_it(data):
    result = abstention(*data, simulations=100)
    assert result == abstention(*data, simulations=100)
    if result is not None:
        assert result.gain > 0
        assert result.p <= 0.05
        assert result.threshold in data[0]


@pytest.mark.parametrize(
    ("agreement", "correct", "says"),
    [
        ([0.5], [True, False], "1 agreements belong to 2 answers"),
        ([math.nan], [True], r"agreement\[0\] is nan"),
        ([1.2], [True], "agreement must lie"),
        ([0.5], [0.5], "not a grade"),
    ],
)
def test_odd_input_is_refused(agreement, correct, says):
    with pytest.raises(ValueError, match=says):
        reliability(agreement, correct)
    with pytest.raises(ValueError, match=says):
        abstention(agreement, correct)


@pytest.mark.parametrize("cost", [-1, math.nan, math.inf])
def test_costs_are_finite_and_not_negative(cost):
    with pytest.raises(ValueError, match="costs"):
        abstention([0.5], [True], cost_wrong=cost)
    with pytest.raises(ValueError, match="costs"):
        abstention([0.5], [True], cost_abstain=cost)
