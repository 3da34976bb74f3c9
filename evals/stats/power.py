"""Compute the questions that a comparison needs, and its chance to succeed.

The numbers describe a repetition with new questions at the effect passed in. With an observed
effect they size the next experiment; they say nothing about the one already run.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy import stats

from swarm_brain.evals.stats.bootstrap import share

# Beyond this many questions the normal approximation is used alone: they agree within a percent.
EXACT_UP_TO = 50_000


def power(
    n: int, first_only: float, second_only: float, alpha: float = 0.05, *, mid: bool = False
) -> float:
    """Return the exact chance that McNemar's test of n questions rejects.

    `first_only` and `second_only` are the shares of all questions that only one arm gets right.
    Sums over the number of discordant questions, each with its own critical count. With `mid`
    the test is the mid-p one, which rejects wherever the exact one does, and more.
    """
    _check(first_only, second_only, alpha)
    if n < 1:
        raise ValueError(f"n must be at least 1, not {n}")
    discordant = first_only + second_only
    if discordant < 1e-12:
        return 0.0
    ends = stats.binom.ppf([1e-12, 1 - 1e-12], n, discordant).astype(int)
    counts = np.arange(ends[0], ends[1] + 1)
    critical = stats.binom.ppf(alpha / 2, counts, 0.5)
    critical -= stats.binom.cdf(critical, counts, 0.5) > alpha / 2
    if mid:
        tails = [stats.binom.cdf(critical + step, counts, 0.5) for step in (0, 1)]
        critical += tails[0] + tails[1] <= alpha
    lean = min(1.0, first_only / discordant)
    rejects = stats.binom.cdf(critical, counts, lean)
    rejects += stats.binom.sf(counts - critical - 1, counts, lean)
    return min(1.0, float(stats.binom.pmf(counts, n, discordant) @ rejects))


def needed_sample_size(
    first_only: float, second_only: float, target: float = 0.8, alpha: float = 0.05
) -> int | None:
    """Return the questions that McNemar's exact test needs; None without an effect.

    Takes shares of all questions, as `power` does. Above `EXACT_UP_TO` questions the answer is
    Connor's (1987) normal approximation.
    """
    _check(first_only, second_only, alpha)
    share("target", target)
    effect, discordant = abs(first_only - second_only), first_only + second_only
    if effect < 1e-12:
        return None
    chance = stats.norm.isf(alpha / 2) * math.sqrt(discordant)
    seen = stats.norm.ppf(target) * math.sqrt(max(0.0, discordant - effect**2))
    guess = math.ceil(((chance + seen) / effect) ** 2)
    return _smallest(lambda n: power(n, first_only, second_only, alpha) >= target, guess, 1)


def power_graded(n: int, mean: float, sd: float, alpha: float = 0.05) -> float:
    """Return the chance that a paired t test of n questions rejects.

    Takes the mean and the standard deviation of the differences. Exact for normal differences
    (noncentral t), close for grades in 0..1 of dozens of questions.
    """
    _check_graded(mean, sd, alpha)
    if n < 2:
        raise ValueError(f"a t test needs at least 2 questions, not {n}")
    if sd == 0:
        return 0.0 if mean == 0 else 1.0
    critical, shift = stats.t.isf(alpha / 2, n - 1), abs(mean) / sd * math.sqrt(n)
    below, above = stats.nct.cdf(-critical, n - 1, shift), stats.nct.sf(critical, n - 1, shift)
    # Far from the shift the lower tail is too small to compute and comes back as nan.
    return min(1.0, float(np.nan_to_num(below)) + float(above))


def needed_sample_size_graded(
    mean: float, sd: float, target: float = 0.8, alpha: float = 0.05
) -> int | None:
    """Return the questions that a paired t test needs; None if the mean is 0."""
    _check_graded(mean, sd, alpha)
    share("target", target)
    if mean == 0:
        return None
    z = stats.norm.isf(alpha / 2) + stats.norm.ppf(target)
    guess = math.ceil((max(0.0, z) * sd / mean) ** 2)
    return _smallest(lambda n: power_graded(n, mean, sd, alpha) >= target, guess, 2)


def _smallest(reaches: Callable[[int], bool], guess: int, least: int) -> int:
    """Find the smallest n that reaches the power, by bisection."""
    if guess > EXACT_UP_TO:
        return guess
    low, high = least - 1, max(least, guess)
    while not reaches(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(middle) else (middle, high)
    return high


def _check(first_only: float, second_only: float, alpha: float) -> None:
    share("alpha", alpha)
    if not (first_only >= 0 and second_only >= 0 and first_only + second_only <= 1 + 1e-9):
        raise ValueError(
            f"{first_only} and {second_only} must be shares of all questions, summing to at most 1"
            " (divide the counts by the number of questions)"
        )


def _check_graded(mean: float, sd: float, alpha: float) -> None:
    share("alpha", alpha)
    if not (math.isfinite(mean) and math.isfinite(sd) and sd >= 0):
        raise ValueError(f"mean {mean} and sd {sd} must be finite, and sd not negative")
