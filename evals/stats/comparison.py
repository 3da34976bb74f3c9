"""Comparison of two arms on the same questions: intervals, paired tests, Holm's correction.

The tests differ in what they promise. McNemar's exact p never rejects more often than alpha and
often less; its mid-p and the bootstrap reject about as often as alpha says, which
`tests/evals/stats/test_error_rates.py` measures with arms that are truly alike.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from swarm_brain.evals.stats.bootstrap import (
    RESAMPLES,
    Floats,
    Numbers,
    Seed,
    cluster_numbers,
    numbers,
    paired,
    share,
    studentised,
    within_clusters,
)


@dataclass(frozen=True)
class Interval:
    """An estimate and the interval around it, in the estimate's own unit."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference(Interval):
    """First arm minus second: mean over questions, interval, two-sided p."""

    p: float
    questions: int


@dataclass(frozen=True)
class McNemar:
    """Answers that only one arm got right, with the two-sided exact p and mid-p."""

    first_only: int
    second_only: int
    p: float
    mid_p: float


def wilson(successes: int, n: int, level: float = 0.95) -> Interval:
    """Share of successes with Wilson's interval (1927); ValueError without any trial."""
    share("level", level)
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n} trials: a share needs 0 <= successes <= n")
    found = stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    return Interval(successes / n, float(found.low), float(found.high))


def wilson_clustered(right: Sequence[bool], clusters: Sequence[Hashable]) -> Interval:
    """Share of right answers (n,) with Wilson's interval, in which a question is one trial.

    Answers to one question depend on each other, so repeats narrow nothing: the interval is that of
    the mean over questions, never too narrow. With one answer a question this is `wilson`.
    """
    marks = numbers("right", [float(mark) for mark in right], 0, 1)
    each = paired(marks, np.zeros_like(marks), clusters)
    n, z = each.size, float(stats.norm.ppf(0.975))
    if n < 1:
        raise ValueError("no answer: a share needs one at least")
    found = float(each.mean())
    middle = (found + z * z / (2 * n)) / (1 + z * z / n)
    margin = z * math.sqrt(found * (1 - found) / n + (z / (2 * n)) ** 2) / (1 + z * z / n)
    return Interval(found, max(0.0, middle - margin), min(1.0, middle + margin))


def mcnemar(first_only: int, second_only: int) -> McNemar:
    """McNemar's test of independent questions; p = 1 where the arms never differ.

    Given their sum the discordant answers are fair coin flips if the arms are alike. The mid-p
    counts half of the observed outcome's probability (Fagerland, Lydersen and Laake 2013).
    """
    if first_only < 0 or second_only < 0:
        raise ValueError(f"counts cannot be negative: {first_only}, {second_only}")
    fewer, both = min(first_only, second_only), first_only + second_only
    tail = 2 * float(stats.binom.cdf(fewer, both, 0.5))
    mid = tail - float(stats.binom.pmf(fewer, both, 0.5))
    return McNemar(first_only, second_only, min(1.0, tail), min(1.0, mid))


def mcnemar_clustered(
    first: Numbers, second: Numbers, clusters: Sequence[Hashable] | None = None
) -> McNemar:
    """McNemar's test of right or wrong answers (n,) with repeated questions.

    If the arms are alike, swapping their names within a question changes nothing, however much its
    repeats depend on each other. So each question's surplus of right answers keeps its size and
    takes either sign with probability 1/2; the distribution of the total follows exactly by
    convolution. With one answer a question this is `mcnemar`. A question with more repeats
    weighs more. ValueError where a score is neither 0 nor 1.
    """
    arms = numbers("first", first, 0, 1), numbers("second", second, 0, 1)
    if any(np.any((arm != 0) & (arm != 1)) for arm in arms):
        raise ValueError("McNemar's test needs scores of 0 or 1; use paired_bootstrap for grades")
    if arms[0].shape != arms[1].shape:
        raise ValueError(f"paired arms must be of one length, not {arms[0].size}, {arms[1].size}")
    surplus = arms[0] - arms[1]
    sums = within_clusters(surplus, cluster_numbers(surplus.size, clusters))
    tail, tie = _sign_flip_tail(sums)
    first_only, second_only = np.count_nonzero(surplus > 0), np.count_nonzero(surplus < 0)
    return McNemar(
        int(first_only),
        int(second_only),
        min(1.0, 2 * (tail + tie)),
        min(1.0, 2 * tail + tie),
    )


def _sign_flip_tail(sums: Floats) -> tuple[float, float]:
    """P(T > t) and P(T = t) for T = sum of ±|whole numbers|, t the size of their sum."""
    sizes = np.abs(sums).astype(np.int64)
    sizes = sizes[sizes > 0]
    chances = np.ones(1)
    for size in sizes.tolist():
        wider = np.zeros(chances.size + 2 * size)
        wider[: chances.size] += chances / 2
        wider[2 * size :] += chances / 2
        chances = wider
    seen = int(abs(sums.sum())) + int(sizes.sum())
    return float(chances[seen + 1 :].sum()), float(chances[seen])


def paired_bootstrap(
    first: Numbers,
    second: Numbers,
    clusters: Sequence[Hashable] | None = None,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: Seed = 0,
) -> Difference:
    """Mean paired difference of scores 0..1 (n,); the p inverts the interval.

    Questions are resampled, not answers: rows that share a cluster id are averaged first. The
    bootstrap is studentised, because the percentile bootstrap rejects too often where few questions
    differ (7 % instead of 5 % with 3 of 100), and this one rejects too seldom there. Where every
    question shows the same difference there is nothing to resample: see `_constant`.
    """
    share("level", level)
    each = paired(numbers("first", first, 0, 1), numbers("second", second, 0, 1), clusters)
    if np.ptp(each) < 1e-12:
        return _constant(float(each[0]), each.size, level)
    found = studentised(each, np.ones_like(each), level=level, resamples=resamples, seed=seed)
    low, high = found.estimate - found.margin, found.estimate + found.margin
    return Difference(found.estimate, max(-1.0, low), min(1.0, high), found.p, each.size)


def _constant(value: float, n: int, level: float) -> Difference:
    """Interval of a mean in -1..1 where n questions all showed `value`.

    Had a share q of all questions another difference, n questions would miss it with probability
    (1 - q)^n. The q that leaves (1 - level) / 2 bounds how far the mean can be from the value.
    """
    unseen = 1 - ((1 - level) / 2) ** (1 / n)
    middle = value * (1 - unseen)
    p = min(1.0, 2 * math.exp(-n * math.log1p(abs(value))))
    return Difference(value, max(-1.0, middle - unseen), min(1.0, middle + unseen), p, n)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's (1979) adjusted p values under the same names, in the order given.

    Rejecting where the adjusted p is at most alpha keeps the chance of any false rejection
    under alpha, whatever the tests have in common.
    """
    for name, p in p_values.items():
        if not 0 <= p <= 1:
            raise ValueError(f"p of {name!r} is {p}, not in 0..1")
    adjusted: dict[str, float] = {}
    worst = 0.0
    for rank, name in enumerate(sorted(p_values, key=p_values.__getitem__)):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = worst
    return {name: adjusted[name] for name in p_values}
