"""Find the memories nearest to a text, in any store.

A server's store may have no vector index. Aegra's has one only if its database has pgvector and its
configuration names a provider of embeddings.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from langgraph.store.base import BaseStore, SearchItem

from swarm_brain.memory.embeddings import Embedder
from swarm_brain.memory.space import Namespace

if TYPE_CHECKING:
    from swarm_brain.memory.index import Vectors

MAX_COMPARED = 1_000  # memories of a space, those that the store gives first: Postgres the latest
MAX_CACHED = 20_000  # vectors, so that a question does not embed all memories again

_vectors: OrderedDict[tuple[str, str], Vectors] = OrderedDict()
_lock = threading.Lock()


async def nearest(
    store: BaseStore, place: Namespace, text: str, embedder: Embedder, limit: int, offset: int = 0
) -> list[SearchItem]:
    """Return items of this embedder near a text with scores, nearest first.

    Raises MemoryUnavailable, and whatever the store raises.
    """
    own = {"embedder": embedder.name}
    items = await store.asearch(place, query=text, limit=limit, offset=offset, filter=own)
    if not items or any(item.score is not None for item in items):
        return items
    items = await store.asearch(place, limit=MAX_COMPARED, filter=own)
    # In a thread, because an embedder may be an endpoint.
    return (await asyncio.to_thread(_scored, items, text, embedder))[offset : offset + limit]


def _scored(items: Sequence[SearchItem], text: str, embedder: Embedder) -> list[SearchItem]:
    import numpy as np  # the extra `memory`

    rows = np.stack(_embedded([str(item.value["text"]) for item in items], embedder))
    for item, score in zip(items, rows @ embedder.embed([text])[0], strict=True):
        item.score = min(1.0, float(score))
    return sorted(items, key=lambda item: -(item.score or 0))


def _embedded(texts: Sequence[str], embedder: Embedder) -> list[Vectors]:
    """Return a unit vector for each text, embedding the uncached ones in one call."""
    with _lock:
        cached = {text: _vectors.get((embedder.name, text)) for text in texts}
    vectors = {text: vector for text, vector in cached.items() if vector is not None}
    if new := [text for text in cached if text not in vectors]:
        vectors.update(zip(new, embedder.embed(new), strict=True))
    with _lock:
        _vectors.update({(embedder.name, text): vector for text, vector in vectors.items()})
        while len(_vectors) > MAX_CACHED:
            _vectors.popitem(last=False)
    return [vectors[text] for text in texts]
