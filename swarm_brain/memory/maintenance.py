"""List, forget, export, import and re-embed memories."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from typing import Annotated

from langgraph.store.base import BaseStore, Item, Op, PutOp, SearchItem
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from swarm_brain.graph.errors import ConfigError, MemoryUnavailable
from swarm_brain.graph.state import MEMORY_KINDS, MemoryKind, Provenance
from swarm_brain.memory import embeddings
from swarm_brain.memory.episodes import worth_remembering
from swarm_brain.memory.opening import searching
from swarm_brain.memory.space import Namespace, Space
from swarm_brain.memory.store import SqlStore

PAGE = 10_000  # items read at once
EMBED_BATCH = 1_000  # texts embedded at once
MIN_PREFIX = 8  # characters of an id that may stand for the whole
Id = Annotated[str, Field(max_length=128, pattern=r"^[!-~]+$")]


async def paged(store: BaseStore, namespace: Namespace) -> AsyncIterator[SearchItem]:
    """Yield all items below a namespace."""
    offset = 0
    while page := await store.asearch(namespace, limit=PAGE, offset=offset):
        for item in page:
            yield item
        offset += len(page)


async def listed(store: BaseStore, space: Space) -> list[SearchItem]:
    """Return all memories of a space by kind, latest first, in any store."""
    memories: list[SearchItem] = []
    for kind in MEMORY_KINDS:
        items = [item async for item in paged(store, space.of(kind))]
        memories += sorted(items, key=lambda item: (item.value["date"], item.key), reverse=True)
    return memories


async def find(store: BaseStore, space: Space, key: str) -> Item | None:
    """Return the memory with this id, or with this unique beginning of an id."""
    for kind in MEMORY_KINDS:
        if item := await store.aget(space.of(kind), key):
            return item
    if len(key) < MIN_PREFIX:
        return None
    matching = [item for item in await listed(store, space) if item.key.startswith(key)]
    return matching[0] if len(matching) == 1 else None


async def forget(store: BaseStore, space: Space, keys: Sequence[str]) -> int:
    """Delete memories, their vectors, and facts without another source.

    Return how many were deleted. Stores that write a batch at once delete all or nothing.
    """
    gone = set(keys)
    writes: list[Op] = [
        op
        for key in gone
        for op in (
            *(PutOp(space.of(kind), key, None) for kind in MEMORY_KINDS),
            PutOp(space.unconsolidated, key, None),
        )
    ]
    count = len(gone)
    async for fact in paged(store, space.of("fact")):
        left = [key for key in fact.value["episodes"] if key not in gone]
        if fact.key in gone or left == fact.value["episodes"]:
            continue
        value = {**fact.value, "episodes": left} if left else None
        writes.append(PutOp(space.of("fact"), fact.key, value, ["text"]))
        count += not left
    await store.abatch(writes)
    if isinstance(store, SqlStore):
        await asyncio.to_thread(store.shred)
    return count


class Line(BaseModel):
    """One line of an export: a memory without its vector."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    id: Id
    kind: MemoryKind
    text: str = Field(min_length=1)
    date: str
    model: str
    question: str | None = None
    answer: str | None = None
    verdict: str | None = None
    agreement: float | None = Field(None, ge=-1, le=1)
    provenance: Provenance | None = None
    thread: str | None = None
    episodes: list[Id] | None = Field(None, min_length=1)

    @field_validator("date")
    @classmethod
    def _is_a_date(cls, date: str) -> str:
        datetime.fromisoformat(date)
        return date


FACT_FIELDS = {"kind", "text", "date", "model", "episodes"}
EPISODE_FIELDS = set(Line.model_fields) - {"id", "episodes"}


async def exported(store: BaseStore, space: Space) -> AsyncIterator[str]:
    """Yield JSONL, one memory a line."""
    for item in await listed(store, space):
        fields = {name: item.value.get(name) for name in Line.model_fields}
        line = Line.model_validate({**fields, "id": item.key})
        yield line.model_dump_json(exclude_none=True)


async def imported(store: BaseStore, space: Space, lines: Iterable[str]) -> int:
    """Import an export and return how many memories it has. Known ids are replaced.

    Nothing is written unless every line is valid. Raises ConfigError naming the line.
    """
    memories = _lines(lines)
    embedder = embeddings.chosen()
    name = embedder.name if embedder else None
    writes: list[Op] = []
    for line in memories:
        fields = FACT_FIELDS if line.kind == "fact" else EPISODE_FIELDS
        value = line.model_dump(include=fields) | {"embedder": name}
        writes.append(PutOp(space.of(line.kind), line.id, value, ["text"]))
    await store.abatch(writes)
    return len(memories)


def _lines(lines: Iterable[str]) -> list[Line]:
    memories: dict[str, Line] = {}
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        line = _line(number, text)
        if line.id in memories:
            raise ConfigError(f"line {number}: id: {line.id} is repeated; nothing was imported")
        memories[line.id] = line
    return list(memories.values())


def _line(number: int, text: str) -> Line:
    try:
        line = Line.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"])) or "not JSON"
        raise ConfigError(f"line {number}: {field}: {first['msg']}; nothing was imported") from None
    required = ("episodes",) if line.kind == "fact" else ("question", "answer", "provenance")
    if missing := [name for name in required if getattr(line, name) is None]:
        raise ConfigError(f"line {number}: {missing[0]} is missing; nothing was imported")
    if line.kind == "episode" and line.text != line.question:
        raise ConfigError(f"line {number}: text: differs from the question; nothing was imported")
    if line.provenance and not worth_remembering(line.provenance):
        raise ConfigError(
            f"line {number}: a {line.provenance} answer is not knowledge; nothing was imported"
        )
    return line


async def stats(store: BaseStore, space: Space) -> dict[str, object]:
    """Count the memories: by kind, by embedder, unconsolidated."""
    items = await listed(store, space)
    waiting = [item.key async for item in paged(store, space.unconsolidated)]
    current = embeddings.chosen()
    return {
        "space": space.name,
        **{f"{kind}s": sum(i.value["kind"] == kind for i in items) for kind in MEMORY_KINDS},
        "unconsolidated": len(waiting),
        "embedder": current.name if current else None,
        "search": searching(store),
        "by_embedder": dict(Counter(str(item.value["embedder"]) for item in items)),
    }


async def reindex(store: BaseStore, space: Space) -> int:
    """Embed every memory with the current embedder; return their number.

    Raises MemoryUnavailable if embedding fails. The batch that failed is then without vectors
    until the next attempt. Earlier batches have new vectors, later ones keep their old ones.
    """
    embedder = embeddings.chosen()
    if embedder is None:
        raise MemoryUnavailable("the embedder", "none is installed, or it is off")
    items = await listed(store, space)
    failed = getattr(store, "unembedded", 0)
    for at in range(0, len(items), EMBED_BATCH):
        page = items[at : at + EMBED_BATCH]
        embedder.embed([page[0].value["text"]])  # fails here, where a store would go on
        writes: list[Op] = [
            PutOp(item.namespace, item.key, {**item.value, "embedder": embedder.name}, ["text"])
            for item in page
        ]
        await store.abatch(writes)
        if getattr(store, "unembedded", 0) > failed:
            raise MemoryUnavailable("the embedder", "it failed before the end; reindex again")
    return len(items)


def brief(item: Item) -> dict[str, object]:
    """Return a memory as data, without the id of its run (its own id)."""
    return {"id": item.key, **{k: v for k, v in item.value.items() if k != "run_id"}}


def one_line(item: Item) -> str:
    """Return a memory in a line: a fact, or a question."""
    return json.dumps(item.value["text"], ensure_ascii=False).strip('"')
