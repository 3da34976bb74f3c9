"""Treat agreement as a forecast: reliability, calibration error, abstaining.

Agreement is what the brain measures between drafts, 0..1, or None with fewer than two real drafts.
Answers without it are left out here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from swarm_brain.evals.stats.bootstrap import RESAMPLES, Floats, Interval, Seed, numbers, share
from swarm_brain.evals.stats.comparison import wilson


@dataclass(frozen=True)
class Bin:
    """Answers with an agreement in low..high; `high` itself only in the last bin."""

    low: float
    high: float
    count: int
    mean_agreement: float | None
    accuracy: Interval | None


@dataclass(frozen=True)
class Abstention:
    """The rule "abstain at an agreement of `threshold` or less", and its worth.

    `coverage` is the share still answered, and `accuracy` theirs (None if nothing is answered).
    `gain` is the utility for each question over always answering, measured on the answers that
    chose the threshold; for `held_out` each answer's threshold is chosen without it. `p` is the
    chance of such a gain if abstaining is worth nothing.
    """

    threshold: float
    coverage: float
    accuracy: Interval | None
    gain: float
    held_out: float
    p: float


def reliability(
    agreement: Sequence[float | None], correct: Sequence[bool], bins: int | Sequence[float] = 5
) -> list[Bin]:
    """Return accuracy by agreement (n,) with Wilson intervals.

    `bins` is the number of equal bins, or their edges from 0 to 1. Empty bins stay, with a count
    of 0.
    """
    edges = np.linspace(0, 1, bins + 1) if isinstance(bins, int) else numbers("bins", bins, 0, 1)
    if edges.size < 2 or edges[0] != 0 or edges[-1] != 1 or np.any(np.diff(edges) <= 0):
        raise ValueError("bins must be at least 1, or edges rising from 0 to 1")
    agreed, right = _measured(agreement, correct)
    # A share such as 3/5 must land at the edge 0.6, although neither is exact.
    place = np.searchsorted(edges[1:-1], agreed + 1e-9, side="right")
    return [
        _bin(float(low), float(high), agreed[place == number], right[place == number])
        for number, (low, high) in enumerate(pairwise(edges))
    ]


def expected_calibration_error(bins: Sequence[Bin]) -> float | None:
    """Return the mean distance of accuracy from agreement; None without answers.

    Bins are weighted by count. The error is above 0 even for a perfect forecast, and grows as bins
    hold fewer answers.
    """
    filled = [
        (bin_.count, abs(bin_.accuracy.estimate - bin_.mean_agreement))
        for bin_ in bins
        if bin_.accuracy is not None and bin_.mean_agreement is not None
    ]
    total = sum(count for count, _ in filled)
    return sum(count * gap for count, gap in filled) / total if total else None


def abstention(
    agreement: Sequence[float | None],
    correct: Sequence[bool],
    cost_wrong: float = 1.0,
    cost_abstain: float = 0.0,
    *,
    alpha: float = 0.05,
    simulations: int = RESAMPLES,
    seed: Seed = 0,
) -> Abstention | None:
    """Return the threshold under which abstaining pays; None if none clearly does.

    A right answer is worth 1, a wrong one -`cost_wrong`, silence -`cost_abstain`. The threshold is
    the agreement (n,) with the greatest utility. Choosing the best of many flatters it, so it is
    returned only if the gain is greater than the choice alone explains (`p` at most `alpha`) and
    stays above 0 where each answer is scored under the threshold that the others choose. Answers
    count as independent: pass one for each question.
    """
    share("alpha", alpha)
    if not (0 <= cost_wrong < math.inf and 0 <= cost_abstain < math.inf):
        raise ValueError(f"costs must be 0 or more, not {cost_wrong} and {cost_abstain}")
    agreed, right = _measured(agreement, correct)
    values = np.unique(agreed)
    silent = agreed[:, None] <= values
    worth = np.where(right, -1.0, cost_wrong) - cost_abstain
    totals = worth @ silent
    if not values.size or totals.max() <= 0:
        return None
    best = int(totals.argmax())
    p = _chance(silent, best, totals[best], cost_wrong, cost_abstain, simulations, seed)
    held_out = _held_out_gain(worth, silent, totals)
    if p > alpha or held_out <= 0:
        return None
    answered = right[~silent[:, best]]
    accuracy = wilson(int(answered.sum()), answered.size) if answered.size else None
    coverage, gain = answered.size / right.size, float(totals[best]) / right.size
    return Abstention(float(values[best]), coverage, accuracy, gain, held_out, p)


def _chance(
    silent: npt.NDArray[np.bool_],
    chosen: int,
    gain: float,
    cost_wrong: float,
    cost_abstain: float,
    simulations: int,
    seed: Seed,
) -> float:
    """Return the chance of such a gain if abstaining were worth nothing.

    Of all such cases, this one (answering breaks even at every agreement) gains most by choosing.
    Gains are compared in standard deviations, so that the many answers under a high threshold do
    not hide the few under a low one.
    """
    scale = np.sqrt(silent.sum(axis=0))
    even = (cost_wrong - cost_abstain) / (1 + cost_wrong)
    draws = np.random.default_rng(seed).random((simulations, len(silent)))
    worth = np.where(draws < even, -1.0, cost_wrong) - cost_abstain
    best = (worth @ silent / scale).max(axis=1)
    seen = gain / scale[chosen] - 1e-9
    return (1 + int(np.count_nonzero(best >= seen))) / (simulations + 1)


def _held_out_gain(worth: Floats, silent: npt.NDArray[np.bool_], totals: Floats) -> float:
    """Return the mean gain of answers (n,), each under a threshold set without it."""
    without = totals - worth[:, None] * silent
    choice = without.argmax(axis=1)
    rows = np.arange(worth.size)
    abstains = silent[rows, choice] & (without[rows, choice] > 0)
    return float(np.where(abstains, worth, 0.0).mean())


def _measured(
    agreement: Sequence[float | None], correct: Sequence[bool]
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return agreement and correctness of the answers that have an agreement."""
    if len(agreement) != len(correct):
        raise ValueError(f"{len(agreement)} agreements belong to {len(correct)} answers")
    known = [
        (value, right) for value, right in zip(agreement, correct, strict=True) if value is not None
    ]
    if not known:
        return np.empty(0), np.empty(0, dtype=np.bool_)
    agreed = numbers("agreement", [value for value, _ in known], 0, 1)
    right = numbers("correct", [float(right) for _, right in known], 0, 1)
    if np.any((right != 0) & (right != 1)):
        raise ValueError("correct must be true or false, not a grade")
    return agreed, right.astype(np.bool_)


def _bin(low: float, high: float, agreed: Floats, right: npt.NDArray[np.bool_]) -> Bin:
    if not agreed.size:
        return Bin(low, high, 0, None, None)
    accuracy = wilson(int(right.sum()), agreed.size)
    return Bin(low, high, agreed.size, float(agreed.mean()), accuracy)
