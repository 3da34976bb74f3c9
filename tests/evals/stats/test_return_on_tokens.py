"""Equal tokens, and quality per 1,000 tokens: rates, and the reasons why there is none."""

from __future__ import annotations

import math

import numpy as np
import pytest

from swarm_brain.evals.stats.bootstrap import paired_bootstrap
from swarm_brain.evals.stats.return_on_tokens import return_on_tokens, why_invalid


@pytest.mark.parametrize(
    ("a", "b", "valid"),
    [
        (0.80, 1.05, True),
        (1.0, 1.0, True),
        (8 * 0.1, 1.05, True),
        (0.79, 1.0, False),
        (1.0, 1.06, False),
        (0.0, 2.0, False),
    ],
)
def test_both_arms_must_spend_what_they_were_given(a, b, valid):
    assert (why_invalid(a, b) is None) is valid
    assert (why_invalid(b, a) is None) is valid
    assert (why_invalid(a, b) is None) is valid


def test_the_sentence_names_the_arm_at_fault():
    assert why_invalid(0.5, 1.0, ("swarm", "single-long")) == (
        "Not at equal tokens: swarm spent 50.0% of its tokens; 80% to 105% is allowed."
    )
    assert "swarm spent 50.0% of its tokens and voting spent 120.0%" in why_invalid(
        0.5, 1.2, ("swarm", "voting")
    )


@pytest.mark.parametrize("ratio", [math.nan, -0.1, math.inf])
def test_a_spent_ratio_is_a_share(ratio):
    with pytest.raises(ValueError, match="the second arm"):
        why_invalid(1.0, ratio)


def simulated(questions, gain, tokens, seed=0):
    rng = np.random.default_rng(seed)
    without = rng.random(questions) * 0.5
    full = without + gain + rng.normal(0, 0.05, questions).clip(-0.2, 0.2)
    spent = rng.integers(2000, 4000, questions)
    return full.clip(0, 1), spent + rng.normal(tokens, 100, questions), without, spent


def test_the_rate_is_the_ratio_of_the_mean_differences():
    rows = simulated(80, gain=0.2, tokens=500)
    result = return_on_tokens(*rows)
    expected = 1000 * np.mean(rows[0] - rows[2]) / np.mean(rows[1] - rows[3])
    assert result.reason is None
    assert result.per_1000.estimate == pytest.approx(float(expected))
    assert result.per_1000.low < result.per_1000.estimate < result.per_1000.high
    assert result.quality == paired_bootstrap(rows[0], rows[2])
    assert result.tokens.low < 500 < result.tokens.high


def test_the_interval_holds_the_planted_rate_19_times_in_20():
    # 0.1 point for 500 tokens. 400 runs, so the share is known to ± 3 × 1.1 %.
    held = 0
    for seed in range(400):
        result = return_on_tokens(*simulated(50, 0.1, 500, seed), resamples=400, seed=seed)
        held += result.per_1000.low <= 0.2 <= result.per_1000.high
    assert 0.917 <= held / 400 <= 0.983


def test_no_rate_where_the_cost_may_be_nothing():
    full, _, without, spent = simulated(40, 0.2, 0)
    noise = np.random.default_rng(1).normal(0, 300, 40)
    result = return_on_tokens(full, (spent + noise).clip(0), without, spent)
    assert result.per_1000 is None
    assert "does not differ clearly from 0" in result.reason
    assert f"quality changed by {result.quality.estimate:+.3f}" in result.reason


def test_no_rate_where_the_very_same_tokens_were_spent():
    full, _, without, spent = simulated(40, 0.2, 0)
    assert "does not differ clearly from 0" in return_on_tokens(full, spent, without, spent).reason


def test_no_rate_where_the_expert_saves_tokens():
    result = return_on_tokens(*simulated(40, 0.2, -500))
    assert result.per_1000 is None
    assert result.reason.startswith("The expert saved tokens")
    assert result.tokens.high < 0


def test_an_expert_that_changes_nothing_has_a_return_around_zero():
    result = return_on_tokens([1] * 50, [1500] * 50, [1] * 50, [1000] * 50)
    assert result.per_1000.estimate == 0
    assert result.per_1000.high == pytest.approx(2 * (1 - 0.025 ** (1 / 50)))
    assert result.per_1000.low == -result.per_1000.high


def test_one_question_and_too_few_changes_give_no_rate():
    assert "One question" in return_on_tokens([1], [1500], [0], [1000]).reason
    quality = [1] + [0] * 39
    tokens = [1500 + number for number in range(40)]
    result = return_on_tokens(quality, tokens, [0] * 40, [1000] * 40)
    assert "Too few questions changed" in result.reason


def test_the_cost_is_finite_where_few_questions_differ_in_it():
    rng = np.random.default_rng(2)
    first, second = rng.random((2, 40))
    result = return_on_tokens(first, [1500] * 39 + [1700], second, [1000] * 40)
    assert (result.tokens.low, result.tokens.high) == (500, 700)
    assert result.reason is None


def test_repeats_are_averaged_by_question():
    rows = simulated(30, 0.2, 500)
    ids = list(range(30)) * 4
    assert return_on_tokens(*[np.tile(row, 4) for row in rows], ids) == return_on_tokens(*rows)


def test_the_arms_must_be_of_one_length_and_graded():
    with pytest.raises(ValueError, match="one length"):
        return_on_tokens([1, 0], [10, 20, 30], [1, 0], [5, 5])
    with pytest.raises(ValueError, match="2 questions have a quality, 3 have tokens"):
        return_on_tokens([1, 0], [10, 20, 30], [1, 0], [5, 5, 5])
    with pytest.raises(ValueError, match=r"first\[0\] is nan"):
        return_on_tokens([math.nan, 0], [10, 20], [1, 0], [5, 5])
    with pytest.raises(ValueError, match="tokens_minus must lie"):
        return_on_tokens([1, 0], [10, 20], [1, 0], [-5, 5])
