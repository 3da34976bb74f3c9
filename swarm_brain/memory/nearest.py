"""The memories nearest to a text, in whatever store: by its own index, else compared here.

A server's store may have no vector index: that of Aegra has one only where its database has
pgvector and its configuration names a provider of embeddings.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from langgraph.store.base import BaseStore, SearchItem

from swarm_brain.memory.embeddings import Embedder
from swarm_brain.memory.space import Namespace

COMPARED = 1_000  # of a space at most, those that the store gives first: Postgres the latest
KEPT = 20_000  # vectors in this process, so that a question does not embed all memories anew

_vectors: OrderedDict[tuple[str, str], Any] = OrderedDict()
_lock = threading.Lock()


async def nearest(
    store: BaseStore, place: Namespace, text: str, embedder: Embedder, limit: int, offset: int = 0
) -> list[SearchItem]:
    """Items of this embedder near a text, with scores, the nearest first.

    Raises MemoryUnavailable, and whatever the store raises.
    """
    own = {"embedder": embedder.name}
    found = await store.asearch(place, query=text, limit=limit, offset=offset, filter=own)
    if not found or any(item.score is not None for item in found):
        return found
    items = await store.asearch(place, limit=COMPARED, filter=own)
    # In a thread: an embedder may be an endpoint.
    return (await asyncio.to_thread(_scored, items, text, embedder))[offset : offset + limit]


def _scored(items: Sequence[SearchItem], text: str, embedder: Embedder) -> list[SearchItem]:
    import numpy as np

    rows = np.stack(_embedded([str(item.value["text"]) for item in items], embedder))
    for item, score in zip(items, rows @ embedder.embed([text])[0], strict=True):
        item.score = min(1.0, float(score))
    return sorted(items, key=lambda item: -(item.score or 0))


def _embedded(texts: Sequence[str], embedder: Embedder) -> list[Any]:
    """A unit vector for each text; those that are not known yet are embedded together."""
    with _lock:
        known = {text: _vectors.get((embedder.name, text)) for text in texts}
    if new := [text for text, vector in known.items() if vector is None]:
        known.update(zip(new, embedder.embed(new), strict=True))
    with _lock:
        _vectors.update({(embedder.name, text): vector for text, vector in known.items()})
        while len(_vectors) > KEPT:
            _vectors.popitem(last=False)
    return [known[text] for text in texts]
