"""Measured agreement as a forecast: reliability, calibration error, and when to abstain.

Agreement is what `graph` measures between drafts, 0..1, or None with fewer than two real drafts.
Answers without it carry no forecast and are left out of everything here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from evals.resampling import RESAMPLES, Floats, Seed, numbers
from evals.statistics import Difference, Interval, bootstrap_mean, wilson


@dataclass(frozen=True)
class Bin:
    """Answers whose agreement is in low..high (high itself belongs only to the last bin)."""

    low: float
    high: float
    count: int
    mean_agreement: float | None
    accuracy: Interval | None


@dataclass(frozen=True)
class Abstention:
    """Rule "abstain at an agreement of `threshold` or less", and what it was worth here.

    `coverage` is the share still answered, `accuracy` theirs (None if nothing is answered).
    `gain` is the utility a question over always answering, seen in the very answers that chose the
    threshold; `held_out` the same with each answer's threshold chosen without it.
    """

    threshold: float
    coverage: float
    accuracy: Interval | None
    gain: float
    held_out: Difference


def reliability(
    agreement: Sequence[float | None], correct: Sequence[bool], bins: int | Sequence[float] = 5
) -> list[Bin]:
    """Accuracy by agreement (n,) with Wilson intervals; `bins` is their number or their edges.

    Empty bins are kept, with a count of 0 and nothing else.
    """
    edges = np.linspace(0, 1, bins + 1) if isinstance(bins, int) else numbers("bins", bins, 0, 1)
    if edges.size < 2 or edges[0] != 0 or edges[-1] != 1 or np.any(np.diff(edges) <= 0):
        raise ValueError("bins must be at least 1, or edges rising from 0 to 1")
    agreed, right = _measured(agreement, correct)
    # A share such as 3/5 must land where the edge 0.6 is, although neither is exact.
    place = np.searchsorted(edges[1:-1], agreed + 1e-9, side="right")
    return [
        _bin(float(low), float(high), agreed[place == number], right[place == number])
        for number, (low, high) in enumerate(pairwise(edges))
    ]


def expected_calibration_error(bins: Sequence[Bin]) -> float | None:
    """Mean distance of accuracy from agreement, weighted by count; None without answers.

    Of a perfect forecast it is above 0 too, the more so the fewer answers a bin holds.
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
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: Seed = 0,
) -> Abstention | None:
    """Threshold under which abstaining pays; None if none pays beyond doubt.

    A right answer is worth 1, a wrong one -`cost_wrong`, silence -`cost_abstain`. Among the
    agreements seen the one of greatest utility is chosen. Choosing flatters, so each answer is also
    scored under the threshold that the others choose (leave-one-out), and the rule is given only
    if the interval of that gain lies above 0.
    """
    if not (math.isfinite(cost_wrong) and math.isfinite(cost_abstain)):
        raise ValueError(f"costs must be finite, not {cost_wrong} and {cost_abstain}")
    agreed, right = _measured(agreement, correct)
    if agreed.size < 2:
        return None
    worth = -cost_abstain - np.where(right, 1.0, -cost_wrong)
    values = np.unique(agreed)
    silent = agreed[:, None] <= values
    totals = worth @ silent
    if totals.max() <= 0:
        return None
    held_out = bootstrap_mean(
        _leave_one_out(worth, silent, totals),
        bound=float(np.abs([cost_abstain + 1, cost_wrong - cost_abstain]).max()),
        level=level,
        resamples=resamples,
        seed=seed,
    )
    best = int(totals.argmax())
    return _rule(float(values[best]), silent[:, best], right, worth, held_out)


def _rule(
    threshold: float,
    silent: npt.NDArray[np.bool_],
    right: npt.NDArray[np.bool_],
    worth: Floats,
    held_out: Difference,
) -> Abstention | None:
    """The rule that is silent on these answers, unless its held-out gain may be nothing."""
    if held_out.low <= 0:
        return None
    kept = right[~silent]
    return Abstention(
        threshold,
        coverage=kept.size / right.size,
        accuracy=wilson(int(kept.sum()), kept.size) if kept.size else None,
        gain=float(worth @ silent) / right.size,
        held_out=held_out,
    )


def _leave_one_out(worth: Floats, silent: npt.NDArray[np.bool_], totals: Floats) -> Floats:
    """Gain of each answer (n,) under the threshold that all the others choose."""
    without = totals - worth[:, None] * silent
    choice = without.argmax(axis=1)
    rows = np.arange(worth.size)
    abstains = silent[rows, choice] & (without[rows, choice] > 0)
    return np.where(abstains, worth, 0.0)


def _measured(
    agreement: Sequence[float | None], correct: Sequence[bool]
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Agreement and correctness of the answers that have an agreement, possibly none."""
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
