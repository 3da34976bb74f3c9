"""Remembering answered questions, and recalling what is near a new one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from langgraph.store.base import BaseStore, Op, PutOp, SearchItem

from swarm_brain.graph.errors import BrainError
from swarm_brain.graph.state import MEMORY_KINDS, Recall
from swarm_brain.memory import embeddings
from swarm_brain.memory.comparable import comparable
from swarm_brain.memory.nearest import nearest
from swarm_brain.memory.space import Space

LOOKED_AT = 8  # times as many as wanted: similarity alone does not decide, see alike.py
QUESTION_CHARS = 400  # of a question, before its answer; the rest of it is a long one's material
SOURCES_NAMED = 3
CUT = " [...]"


class Recalled(NamedTuple):
    """Memories near the question, the nearest first; `note` says why there are none, if it can."""

    items: list[Recall]
    note: str | None = None


async def recall(
    store: BaseStore, space: Space, question: str, limit: int, floor: float | None
) -> Recalled:
    """What is remembered about a question. Never raises: an answer must not fail for want of it."""
    try:
        embedder = embeddings.chosen()
        if embedder is None:
            return Recalled([], "nothing recalled: no embedder (install the extra `memory`)")
        least = embedder.floor if floor is None else floor
        found: list[SearchItem] = []
        for kind in MEMORY_KINDS:
            found += await nearest(
                store, space.of(kind), question, embedder, limit=limit * LOOKED_AT
            )
    except Exception as error:  # noqa: BLE001  whatever store it is, the question goes on
        return Recalled([], f"nothing recalled: {_told(error)}")
    near = [item for item in found if (item.score or 0) >= least and _meant(item, space, question)]
    near.sort(key=lambda item: -(item.score or 0))
    return Recalled([_recall(item) for item in near[:limit]])


def _told(error: Exception) -> str:
    """What went wrong; foreign errors by their type, because their words may hold an address."""
    return (
        str(error) if isinstance(error, BrainError) else f"the store failed: {type(error).__name__}"
    )


def _meant(item: SearchItem, space: Space, question: str) -> bool:
    """Whether it is of this space (stores search by prefix) and similarity says anything of it."""
    own = tuple(item.namespace) in {space.of(kind) for kind in MEMORY_KINDS}
    fact = item.value["kind"] == "fact"
    return own and (fact or comparable(question, item.value["question"]))


def _recall(item: SearchItem) -> Recall:
    value = item.value
    return {
        "id": item.key,
        "kind": value["kind"],
        "text": said(value),
        "origin": origin(value),
        "date": value["date"],
        "score": round(item.score or 0, 4),
    }


def said(value: Mapping[str, Any]) -> str:
    """A memory in words: a fact, or a question (of a long one the beginning) with its answer."""
    if value["kind"] == "fact":
        return str(value["text"])
    question = str(value["question"])
    asked = question if len(question) <= QUESTION_CHARS else question[:QUESTION_CHARS] + CUT
    return f"Question: {asked}\nAnswer: {value['answer']}"


def origin(value: Mapping[str, Any]) -> str:
    """Where a memory comes from: thread and model; of a fact the episodes it was distilled from."""
    if value["kind"] == "fact":
        named, more = value["episodes"][:SOURCES_NAMED], len(value["episodes"]) - SOURCES_NAMED
        others = f" and {more} more" if more > 0 else ""
        return f"{value['model']}, distilled from {', '.join(named)}{others}"
    return f"{value['model']}, thread {value['thread'] or 'none'}"


async def remember(store: BaseStore, space: Space, episode: Mapping[str, Any]) -> str | None:
    """Keep an answered question; what went wrong, or None. Under its run's id, so never twice."""
    try:
        await store.abatch(putting(space, episode))
    except Exception as error:  # noqa: BLE001  the answer is there; it must not be lost for this
        return f"not remembered: {_told(error)}"
    return None


def putting(space: Space, episode: Mapping[str, Any]) -> list[Op]:
    """The writes that keep an episode, to be done together."""
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
    """Whether an answer may be taken for knowledge later: only one that lacks nothing."""
    return provenance == "full"
