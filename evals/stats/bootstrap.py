"""Resampling of questions: paired differences, and the studentised bootstrap of their means.

Everything here works on one number a question. Repeats of a question are averaged first, because
answers to the same question are not independent and counting each as a question of its own makes
intervals too narrow.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Numbers = Sequence[float] | Sequence[bool] | npt.NDArray[np.float64] | npt.NDArray[np.bool_]
Seed = int | np.random.Generator

RESAMPLES = 2_000


class Studentised(NamedTuple):
    """A ratio of means: `estimate` ± `margin`, and p for a true ratio of 0."""

    estimate: float
    margin: float
    p: float


def numbers(name: str, values: Numbers, low: float = -math.inf, high: float = math.inf) -> Floats:
    """Values as an array (n,); ValueError if empty, not finite or out of range."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} must be a flat, non-empty sequence; its shape is {array.shape}")
    if not np.isfinite(array).all():
        where = int(np.flatnonzero(~np.isfinite(array))[0])
        raise ValueError(f"{name}[{where}] is {array[where]}: leave ungraded questions out")
    if array.min() < low or array.max() > high:
        raise ValueError(f"{name} must lie in {low:g}..{high:g}, not {array.min()}..{array.max()}")
    return array


def share(name: str, value: float) -> None:
    """Refuse a level, a power or an alpha that is not strictly between 0 and 1."""
    if not 0 < value < 1:
        raise ValueError(f"{name} must lie between 0 and 1, not {value}")


def cluster_numbers(length: int, clusters: Sequence[Hashable] | None) -> npt.NDArray[np.int64]:
    """Cluster of each row (n,) as 0, 1, …: one an id, or one a row without ids."""
    if clusters is None:
        return np.arange(length, dtype=np.int64)
    if len(clusters) != length:
        raise ValueError(f"{length} rows need {length} cluster ids, not {len(clusters)}")
    order = {name: number for number, name in enumerate(dict.fromkeys(clusters))}
    return np.array([order[name] for name in clusters], dtype=np.int64)


def paired(first: Floats, second: Floats, clusters: Sequence[Hashable] | None = None) -> Floats:
    """Mean of `first - second` of each cluster, in the order of first arrival."""
    if first.shape != second.shape:
        raise ValueError(f"paired arms must be of one length, not {first.size} and {second.size}")
    cluster = cluster_numbers(first.size, clusters)
    return within_clusters(first - second, cluster) / np.bincount(cluster)


def within_clusters(values: Floats, cluster: npt.NDArray[np.int64]) -> Floats:
    """Sum of the values (n,) of each cluster 0, 1, …"""
    return np.bincount(cluster, weights=values).astype(np.float64)


def studentised(
    top: Floats,
    bottom: Floats,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: Seed = 0,
) -> Studentised:
    """Symmetric bootstrap-t of mean(top) / mean(bottom), (n,); margin may be inf.

    Each resample's distance from the estimate is divided by that resample's own standard error,
    and the margin is the `level` quantile of its size (Hall 1988). The p value inverts the
    interval: p <= 1 - level exactly where the interval leaves 0 out. Resamples without spread
    count as infinitely far, so few differing questions make the margin wide. Rows that do not
    differ at all have a margin of 0, which says nothing: look before calling.
    """
    share("level", level)
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, not {resamples}")
    estimate, error = _ratio(top, bottom)
    if not error > 0:
        return Studentised(estimate, 0.0, 1.0 if estimate == 0 else 0.0)
    distances = _distances(top, bottom, estimate, resamples, np.random.default_rng(seed))
    seen = abs(estimate) / error
    distances[np.isclose(distances, seen, rtol=1e-9, atol=0)] = seen
    rank = math.ceil(level * (resamples + 1) - 1e-9)
    reach = math.inf if rank > resamples else float(np.partition(distances, rank - 1)[rank - 1])
    p = (1 + int(np.count_nonzero(distances >= seen))) / (resamples + 1)
    return Studentised(estimate, reach * error, p)


def _ratio(top: Floats, bottom: Floats) -> tuple[float, float]:
    """Ratio of means and its linearised standard error (0 with fewer than two rows)."""
    estimate = float(top.mean() / bottom.mean())
    residual = top - estimate * bottom
    if top.size < 2 or np.allclose(residual, 0, rtol=0, atol=1e-12 * (1 + np.abs(top).max())):
        return estimate, 0.0
    spread = math.sqrt(float(residual @ residual) / (top.size - 1) / top.size)
    return estimate, spread / abs(float(bottom.mean()))


def _distances(
    top: Floats, bottom: Floats, estimate: float, resamples: int, rng: np.random.Generator
) -> Floats:
    """|ratio* - ratio| / error* of each resample (resamples,), inf where error* is 0."""
    rows, times = np.unique(np.column_stack([top, bottom]), axis=0, return_counts=True)
    residual, weight = rows[:, 0] - estimate * rows[:, 1], rows[:, 1]
    moments = np.column_stack([residual, weight, residual**2, residual * weight, weight**2])
    sums = _resampled_counts(times, resamples, rng) @ moments
    n = top.size
    # The linearised error needs the ratio of the resample, which is measured from the estimate.
    with np.errstate(divide="ignore", invalid="ignore"):
        away = sums[:, 0] / sums[:, 1]
        square = sums[:, 2] - 2 * away * sums[:, 3] + away**2 * sums[:, 4]
        square[square < 1e-12 * float(times @ moments[:, 2])] = 0.0
        error = np.sqrt(square * n / (n - 1)) / np.abs(sums[:, 1])
        distance: Floats = np.abs(away) / error
    return np.where((error > 0) & np.isfinite(distance), distance, np.inf)


def _resampled_counts(
    times: npt.NDArray[np.intp], resamples: int, rng: np.random.Generator
) -> Floats:
    """Times that each kind of row is drawn in each resample (resamples, kinds)."""
    n, kinds = int(times.sum()), times.size
    # Both ways draw from one distribution; a multinomial draw is dear for each kind of row.
    if kinds * 5 < n:
        return rng.multinomial(n, times / n, size=resamples).astype(np.float64)
    drawn = np.repeat(np.arange(kinds), times)[rng.integers(n, size=(resamples, n))]
    drawn += kinds * np.arange(resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=resamples * kinds)
    return counts.reshape(resamples, kinds).astype(np.float64)
