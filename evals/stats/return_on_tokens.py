"""Check for equal spending, and compute an expert's quality per 1,000 tokens."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from swarm_brain.evals.stats.bootstrap import (
    RESAMPLES,
    Difference,
    Floats,
    Interval,
    Numbers,
    Seed,
    numbers,
    paired,
    paired_bootstrap,
    studentised,
)

LEAST_SPENT, MOST_SPENT = 0.80, 1.05


@dataclass(frozen=True)
class TokenReturn:
    """An expert's return, from the brain with it and the brain without it.

    `per_1000` is the change in quality (points of a score in 0..1) per 1,000 tokens, or None,
    and then `reason` says why. `quality` is the change and `tokens` the cost for each question.
    """

    per_1000: Interval | None
    quality: Difference
    tokens: Interval
    reason: str | None


def why_invalid(
    spent_ratio_a: float,
    spent_ratio_b: float,
    names: tuple[str, str] = ("the first arm", "the second arm"),
    low: float = LEAST_SPENT,
    high: float = MOST_SPENT,
) -> str | None:
    """Return which arm left its allocation's range; None if both spent within it."""
    faults = []
    for name, ratio in zip(names, (spent_ratio_a, spent_ratio_b), strict=True):
        if not (math.isfinite(ratio) and ratio >= 0):
            raise ValueError(f"{name}: spent / allocated is {ratio}, not a share")
        # Shares come from a division: 0.8 of the allocation must not fail by rounding.
        if not low - 1e-9 <= ratio <= high + 1e-9:
            faults.append(f"{name} spent {ratio:.1%} of its tokens")
    if not faults:
        return None
    return f"Not at equal tokens: {' and '.join(faults)}; {low:.0%} to {high:.0%} is allowed."


def return_on_tokens(
    quality_full: Numbers,
    tokens_full: Numbers,
    quality_minus: Numbers,
    tokens_minus: Numbers,
    clusters: Sequence[Hashable] | None = None,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: Seed = 0,
) -> TokenReturn:
    """Return the change in quality per 1,000 tokens that an expert adds.

    This is the ratio of the mean paired differences (brain - brain without the expert) of quality
    and of tokens, with a studentised bootstrap interval over questions. There is no rate where the
    interval of the tokens reaches 0: a ratio whose divisor may be 0 has no finite interval.
    """
    quality = paired_bootstrap(
        quality_full, quality_minus, clusters, level=level, resamples=resamples, seed=seed
    )
    scores = numbers("quality_full", quality_full), numbers("quality_minus", quality_minus)
    spent = numbers("tokens_full", tokens_full, 0), numbers("tokens_minus", tokens_minus, 0)
    gain, cost = paired(*scores, clusters), paired(*spent, clusters)
    if gain.size != cost.size:
        raise ValueError(f"{gain.size} questions have a quality, {cost.size} have tokens")
    tokens = _within(_bootstrap(cost, np.ones_like(cost), level, resamples, seed), cost)
    reason = _no_rate(gain, quality, tokens)
    if reason is not None:
        return TokenReturn(None, quality, tokens, reason)
    if np.ptp(gain) < 1e-12:
        # The same change on every question: `quality` has an interval then, the ratio has none.
        return TokenReturn(_scaled(quality, 1000 / tokens.estimate), quality, tokens, None)
    rate = _bootstrap(gain, cost, level, resamples, seed)
    if not math.isfinite(rate.low):
        return TokenReturn(None, quality, tokens, "Too few questions changed for an interval.")
    return TokenReturn(_scaled(rate, 1000), quality, tokens, None)


def _bootstrap(top: Floats, bottom: Floats, level: float, resamples: int, seed: Seed) -> Interval:
    ratio = studentised(top, bottom, level=level, resamples=resamples, seed=seed)
    return Interval(ratio.estimate, ratio.estimate - ratio.margin, ratio.estimate + ratio.margin)


def _within(interval: Interval, seen: Floats) -> Interval:
    """Return the interval of a mean, no wider than its values (n,)."""
    low, high = max(interval.low, float(seen.min())), min(interval.high, float(seen.max()))
    return Interval(interval.estimate, low, high)


def _no_rate(gain: Floats, quality: Difference, tokens: Interval) -> str | None:
    """Return why there is no rate per token; None if there is one."""
    if gain.size < 2:
        return "One question has no spread."
    change = f"quality changed by {quality.estimate:+.3f} a question"
    cost = f"{tokens.estimate:+.0f} tokens a question ({tokens.low:.0f} to {tokens.high:.0f})"
    if tokens.high < 0:
        return f"The expert saved tokens, {cost}, so there is no price to divide by; {change}."
    if tokens.low <= 0:
        return f"The expert's cost does not differ clearly from 0, {cost}; {change}."
    return None


def _scaled(interval: Interval, factor: float) -> Interval:
    return Interval(interval.estimate * factor, interval.low * factor, interval.high * factor)
