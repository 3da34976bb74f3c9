"""Compare two arms on the same questions: intervals, paired tests, Holm.

The tests differ in what they promise. McNemar's exact p never rejects more often than alpha, and
often less; its mid-p and the bootstrap reject about as often as alpha says.
`tests/evals/stats/test_error_rates.py` measures this with arms that are alike.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from swarm_brain.evals.stats.bootstrap import (
    Floats,
    Interval,
    Numbers,
    cluster_numbers,
    numbers,
    paired,
    share,
    within_clusters,
)


@dataclass(frozen=True)
class McNemar:
    """Answers that only one arm got right, with the two-sided exact p and mid-p."""

    first_only: int
    second_only: int
    p: float
    mid_p: float


def wilson(successes: int, n: int, level: float = 0.95) -> Interval:
    """Return a share of successes with Wilson's interval (1927).

    Raises ValueError without any trial.
    """
    share("level", level)
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n} trials: a share needs 0 <= successes <= n")
    limits = stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    return Interval(successes / n, float(limits.low), float(limits.high))


def wilson_clustered(right: Sequence[bool], clusters: Sequence[Hashable]) -> Interval:
    """Return the share of right answers (n,) with Wilson's interval.

    A question is one trial: answers to one question depend on each other, so repeats do not narrow
    the interval. With one answer a question this is `wilson`.
    """
    marks = numbers("right", [float(mark) for mark in right], 0, 1)
    each = paired(marks, np.zeros_like(marks), clusters)
    n, z = each.size, float(stats.norm.ppf(0.975))
    if n < 1:
        raise ValueError("a share needs at least one answer")
    mean = float(each.mean())
    middle = (mean + z * z / (2 * n)) / (1 + z * z / n)
    margin = z * math.sqrt(mean * (1 - mean) / n + (z / (2 * n)) ** 2) / (1 + z * z / n)
    return Interval(mean, max(0.0, middle - margin), min(1.0, middle + margin))


def mcnemar(first_only: int, second_only: int) -> McNemar:
    """Run McNemar's test of independent questions; p = 1 where the arms never differ.

    If the arms are alike, the discordant answers are fair coin flips. The mid-p
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
    """Run McNemar's test of right or wrong answers (n,) with repeated questions.

    If the arms are alike, swapping their names within a question changes nothing, however much its
    repeats depend on each other. So each question's surplus of right answers keeps its size and
    takes either sign with probability 1/2; the distribution of the total follows exactly by
    convolution. With one answer a question this is `mcnemar`. A question with more repeats
    weighs more. Raises ValueError for a score that is neither 0 nor 1.
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
    """Return P(T > t) and P(T = t) for T = sum of ±|x|, where t = |sum of x|."""
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


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return Holm's (1979) adjusted p values under the same names, in the same order.

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
