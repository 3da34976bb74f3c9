"""Order the items of a layered layout's columns, and set heights. Pure.

It is the part of Sugiyama's method that a topology needs: order by barycentre, then assign
coordinates.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from itertools import pairwise
from typing import TypeVar

Item = TypeVar("Item", bound=Hashable)
Ties = Mapping[Item, Mapping[Item, float]]  # neighbours in another column, and how much they pull
SWEEPS = 25  # odd, so that the last one goes forward


def ordered(columns: Sequence[Sequence[Item]], left: Ties[Item]) -> list[list[Item]]:
    """Return the columns, each ordered for few crossings.

    `left` maps an item to its neighbours in the previous column.
    """
    right = turned(left)
    best = current = [list(column) for column in columns]
    for sweep in range(SWEEPS):
        forward = sweep % 2 == 0
        current = _swept(current, left if forward else right, forward)
        if crossings(current, left) < crossings(best, left):
            best = current
    return best


def turned(ties: Ties[Item]) -> dict[Item, dict[Item, float]]:
    """Return the ties in the opposite direction."""
    other: dict[Item, dict[Item, float]] = {}
    for item, neighbours in ties.items():
        for neighbour, pull in neighbours.items():
            other.setdefault(neighbour, {})[item] = pull
    return other


def _swept(columns: list[list[Item]], ties: Ties[Item], forward: bool) -> list[list[Item]]:
    """Return the columns after one pass of sorting by neighbours' positions."""
    done = [list(column) for column in columns]
    numbers = range(1, len(done)) if forward else range(len(done) - 2, -1, -1)
    for number in numbers:
        places = {item: i for i, item in enumerate(done[number - 1 if forward else number + 1])}
        own = {item: float(i) for i, item in enumerate(done[number])}
        done[number].sort(key=lambda item: _mean(ties.get(item, {}), places, own[item]))
    return done


def _mean(ties: Mapping[Item, float], places: Mapping[Item, float], otherwise: float) -> float:
    """Return the mean position of the neighbours, weighted by their pull."""
    total = sum(ties.values())
    return sum(places[item] * pull for item, pull in ties.items()) / total if total else otherwise


def crossings(columns: Sequence[Sequence[Item]], left: Ties[Item]) -> float:
    """Return the number of crossings between neighbouring columns, weighted by pull."""
    total = 0.0
    for before, column in pairwise(columns):
        places = {item: i for i, item in enumerate(before)}
        ends = [
            (places[neighbour], i, pull)
            for i, item in enumerate(column)
            for neighbour, pull in left.get(item, {}).items()
        ]
        for n, (one, at, pull) in enumerate(ends):
            total += sum(
                pull * other_pull
                for other, other_at, other_pull in ends[n + 1 :]
                if (one - other) * (at - other_at) < 0
            )
    return total


def placed(
    columns: Sequence[Sequence[Item]],
    left: Ties[Item],
    heights: Mapping[Item, float],
    gap: float,
) -> dict[Item, float]:
    """Return each item's middle, near its neighbours' but in the column's order."""
    right = turned(left)
    middles: dict[Item, float] = {}
    for column in columns:
        middles |= _stacked(column, dict.fromkeys(column, 0.0), heights, gap)
    for sweep in range(SWEEPS):
        rounds = columns if sweep % 2 == 0 else columns[::-1]
        for column in rounds:
            ideal = {
                item: _mean({**left.get(item, {}), **right.get(item, {})}, middles, middles[item])
                for item in column
            }
            middles |= _stacked(column, ideal, heights, gap)
    return middles


def _stacked(
    column: Sequence[Item],
    ideal: Mapping[Item, float],
    heights: Mapping[Item, float],
    gap: float,
) -> dict[Item, float]:
    """Fit the middles by least squares without overlaps."""
    offsets, offset = [], 0.0
    for before, item in zip([None, *column], column, strict=False):
        offset += (heights[before] + heights[item]) / 2 + gap if before is not None else 0.0
        offsets.append(offset)
    blocks: list[tuple[float, int]] = []  # (sum of ideal middles, number of items)
    for item, offset in zip(column, offsets, strict=True):
        total, count = ideal[item] - offset, 1
        while blocks and blocks[-1][0] / blocks[-1][1] > total / count:
            before_total, before_count = blocks.pop()
            total, count = total + before_total, count + before_count
        blocks.append((total, count))
    starts = [total / count for total, count in blocks for _ in range(count)]
    return {item: start + o for item, start, o in zip(column, starts, offsets, strict=True)}
