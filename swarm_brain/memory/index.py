"""Search the nearest of many unit vectors, exactly and in memory (numpy).

A search reads every vector once: 100,000 of 256 dimensions are 100 MB and take some 10 ms.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
FIRST_ROWS = 1024
FIRST_LOOK = 64  # neighbours sorted at first; eight times as many each time more are needed
GONE = -1  # the id of a dropped row


class Index:
    """Unit vectors by item id. Ids only grow, and dropped rows do not return."""

    def __init__(self, dims: int) -> None:
        self.dims = dims
        self._rows: Vectors = np.empty((FIRST_ROWS, dims), dtype=np.float32)
        self._ids = np.empty(FIRST_ROWS, dtype=np.int64)
        self._count = 0
        self.last = 0
        self._lock = threading.Lock()

    def add(self, ids: Sequence[int], vectors: Vectors) -> None:
        """Append rows of the shape (len(ids), dims); skip known ids, up to `last`."""
        with self._lock:
            numbers = np.asarray(ids, dtype=np.int64)
            new = numbers > self.last
            more = int(new.sum())
            if not more:
                return
            self._make_room(more)
            here = slice(self._count, self._count + more)
            self._rows[here], self._ids[here] = vectors[new], numbers[new]
            self._count += more
            self.last = int(self._ids[self._count - 1])

    def _make_room(self, more: int) -> None:
        """Double the room when it runs out, so that adding stays cheap at any size."""
        needed, size = self._count + more, len(self._ids)
        while size < needed:
            size *= 2
        if size > len(self._ids):
            rows, ids = self._rows, self._ids
            self._rows = np.empty((size, self.dims), dtype=np.float32)
            self._ids = np.empty(size, dtype=np.int64)
            self._rows[: self._count], self._ids[: self._count] = (
                rows[: self._count],
                ids[: self._count],
            )

    def drop(self, ids: Sequence[int]) -> None:
        """Drop these rows and overwrite their vectors."""
        with self._lock:
            gone = np.isin(self._ids[: self._count], ids)
            self._rows[: self._count][gone] = 0
            self._ids[: self._count][gone] = GONE

    def nearest(self, vector: Vectors) -> Iterator[tuple[int, float]]:
        """Yield (id, cosine similarity) of all rows, the most similar first.

        Rows are sorted in growing parts, as far as the caller reads.
        """
        with self._lock:
            scores = self._rows[: self._count] @ vector
            ids = self._ids[: self._count].copy()
        distances = -scores
        distances[ids == GONE] = np.inf
        done, most = 0, FIRST_LOOK
        while done < len(ids):
            most = min(most, len(ids))
            # Include all that are as near as the last one, so that the next part continues here.
            farthest = np.partition(distances, most - 1)[most - 1]
            part = np.flatnonzero(distances <= farthest)
            for at in part[np.argsort(distances[part], kind="stable")][done:]:
                if ids[at] != GONE:
                    yield int(ids[at]), min(1.0, float(scores[at]))
            done, most = len(part), len(part) * 8
