"""Remember answered questions, and recall those near a new one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from langgraph.store.base import BaseStore, Item, Op, PutOp, SearchItem

from swarm_brain.graph.errors import BrainError
from swarm_brain.graph.state import MEMORY_KINDS, Recall
from swarm_brain.memory import embeddings
from swarm_brain.memory.comparable import comparable
from swarm_brain.memory.nearest import nearest
from swarm_brain.memory.space import Space

CANDIDATES = 8  # for each memory to recall: similarity alone does not decide, see comparable.py
QUESTION_CHARS = 400  # of a question before its answer; the rest is usually pasted material
MAX_SOURCES = 3  # episodes that the origin of a fact names
CUT = " [...]"


class Recalled(NamedTuple):
    """Memories near the question, nearest first. `note` explains a failure."""

    items: list[Recall]
    note: str | None = None


async def recall(
    store: BaseStore, space: Space, question: str, limit: int, floor: float | None
) -> Recalled:
    """Return the memories near a question. Never raises: the answer matters more."""
    try:
        embedder = embeddings.chosen()
        if embedder is None:
            return Recalled([], "nothing recalled: no embedder (install the extra `memory`)")
        least = embedder.floor if floor is None else floor
        items: list[SearchItem] = []
        for kind in MEMORY_KINDS:
            items += await nearest(
                store, space.of(kind), question, embedder, limit=limit * CANDIDATES
            )
    except Exception as error:  # noqa: BLE001  the question continues, whatever store fails
        return Recalled([], f"nothing recalled: {_reason(error)}")
    near = [
        item for item in items if (item.score or 0) >= least and _applies(item, space, question)
    ]
    near.sort(key=lambda item: -(item.score or 0))
    return Recalled([_recall(item) for item in near[:limit]])


def _reason(error: Exception) -> str:
    """Return the reason for a failure.

    Foreign errors are named by type, because their text may contain an address.
    """
    return (
        str(error) if isinstance(error, BrainError) else f"the store failed: {type(error).__name__}"
    )


def _applies(item: SearchItem, space: Space, question: str) -> bool:
    """Return whether a memory is of this space and comparable with the question.

    Stores search by prefix, so they may return items of other spaces.
    """
    own = tuple(item.namespace) in {space.of(kind) for kind in MEMORY_KINDS}
    fact = item.value["kind"] == "fact"
    return own and (fact or comparable(question, item.value["question"]))


def _recall(item: SearchItem) -> Recall:
    value = item.value
    return {
        "id": item.key,
        "kind": value["kind"],
        "text": text_of(item),
        "origin": origin(item),
        "date": value["date"],
        "score": round(item.score or 0, 4),
    }


def text_of(item: Item) -> str:
    """Return a memory in words: a fact, or the start of a question with its answer."""
    value = item.value
    if value["kind"] == "fact":
        return str(value["text"])
    question = str(value["question"])
    if len(question) > QUESTION_CHARS:
        question = question[:QUESTION_CHARS] + CUT
    return f"Question: {question}\nAnswer: {value['answer']}"


def origin(item: Item) -> str:
    """Return a memory's origin: its model and thread, or a fact's episodes."""
    value = item.value
    if value["kind"] == "fact":
        sources, more = value["episodes"][:MAX_SOURCES], len(value["episodes"]) - MAX_SOURCES
        others = f" and {more} more" if more > 0 else ""
        return f"{value['model']}, distilled from {', '.join(sources)}{others}"
    return f"{value['model']}, thread {value['thread'] or 'none'}"


async def remember(store: BaseStore, space: Space, episode: Mapping[str, object]) -> str | None:
    """Save an answered question; return the problem, or None.

    Its key is the id of its run, so saving it again has no effect.
    """
    try:
        await store.abatch(putting(space, episode))
    except Exception as error:  # noqa: BLE001  the answer must not be lost for this
        return f"not remembered: {_reason(error)}"
    return None


def putting(space: Space, episode: Mapping[str, object]) -> list[Op]:
    """Return the writes that save an episode in one batch."""
    embedder = embeddings.chosen()
    value = {
        **episode,
        "kind": "episode",
        "text": episode["question"],
        "date": episode.get("date") or datetime.now(UTC).isoformat(timespec="milliseconds"),
        "embedder": embedder.name if embedder else None,
    }
    key = str(episode["run_id"])
    return [
        PutOp(space.of("episode"), key, value, ["text"] if embedder else False),
        PutOp(space.unconsolidated, key, {"episode": key}, False),
    ]


def worth_remembering(provenance: str) -> bool:
    """Return whether an answer is knowledge: only a complete one is."""
    return provenance == "full"
