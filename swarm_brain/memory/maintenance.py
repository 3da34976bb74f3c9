"""Looking after memories: listing, forgetting, exporting, importing, embedding anew."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any

from langgraph.store.base import BaseStore, Item, Op, PutOp, SearchItem
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from swarm_brain.graph.errors import ConfigError, MemoryUnavailable
from swarm_brain.graph.state import MEMORY_KINDS, MemoryKind, Provenance
from swarm_brain.memory import embeddings
from swarm_brain.memory.episodes import worth_remembering
from swarm_brain.memory.opening import searching
from swarm_brain.memory.space import Namespace, Space
from swarm_brain.memory.store import SqlStore

PAGE = 10_000  # items read together
EMBEDDED = 1_000  # texts embedded together
Id = Annotated[str, Field(max_length=128, pattern=r"^[!-~]+$")]


async def paged(store: BaseStore, namespace: Namespace) -> AsyncIterator[SearchItem]:
    """All items below a namespace."""
    offset = 0
    while page := await store.asearch(namespace, limit=PAGE, offset=offset):
        for item in page:
            yield item
        offset += len(page)


async def listed(store: BaseStore, space: Space) -> list[SearchItem]:
    """All memories of a space: by kind, the latest first, in the same order in every store."""
    found: list[SearchItem] = []
    for kind in MEMORY_KINDS:
        items = [item async for item in paged(store, space.of(kind))]
        found += sorted(items, key=lambda item: (item.value["date"], item.key), reverse=True)
    return found


async def find(store: BaseStore, space: Space, key: str) -> Item | None:
    """The memory with this id, or whose id alone begins with it (eight characters at least)."""
    for kind in MEMORY_KINDS:
        if item := await store.aget(space.of(kind), key):
            return item
    if len(key) < 8:
        return None
    found = [item for item in await listed(store, space) if item.key.startswith(key)]
    return found[0] if len(found) == 1 else None


async def forget(store: BaseStore, space: Space, keys: Sequence[str]) -> int:
    """Delete memories and their vectors; facts that came from nothing else go with them.

    Returns how many are gone. All or nothing where the store writes a batch at once.
    """
    going = set(keys)
    writes: list[Op] = [
        op
        for key in going
        for op in (
            *(PutOp(space.of(kind), key, None) for kind in MEMORY_KINDS),
            PutOp(space.unconsolidated, key, None),
        )
    ]
    count = len(going)
    async for fact in paged(store, space.of("fact")):
        left = [key for key in fact.value["episodes"] if key not in going]
        if fact.key in going or left == fact.value["episodes"]:
            continue
        value = {**fact.value, "episodes": left} if left else None
        writes.append(PutOp(space.of("fact"), fact.key, value, ["text"]))
        count += not left
    await store.abatch(writes)
    if isinstance(store, SqlStore):
        await asyncio.to_thread(store.shred)
    return count


class Line(BaseModel):
    """One line of an export: a memory without its vector, which the reader makes anew."""

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


async def exported(store: BaseStore, space: Space) -> AsyncIterator[str]:
    """JSONL, one memory a line."""
    for item in await listed(store, space):
        known = {name: item.value.get(name) for name in Line.model_fields}
        line = Line.model_validate({**known, "id": item.key})
        yield line.model_dump_json(exclude_none=True)


async def imported(store: BaseStore, space: Space, lines: Iterable[str]) -> int:
    """Read an export; nothing is written unless every line is right. Known ids are replaced.

    Raises ConfigError naming the line.
    """
    memories = _lines(lines)
    embedder = embeddings.chosen()
    name = embedder.name if embedder else None
    writes: list[Op] = []
    for line in memories:
        value = line.model_dump(exclude={"id"}, exclude_none=False)
        kept = _of_kind(line.kind, value) | {"embedder": name}
        writes.append(PutOp(space.of(line.kind), line.id, kept, ["text"]))
    await store.abatch(writes)
    return len(memories)


def _of_kind(kind: MemoryKind, value: dict[str, Any]) -> dict[str, Any]:
    """A value with the fields that its kind has."""
    common = ("kind", "text", "date", "model")
    own = ("episodes",) if kind == "fact" else ("question", "answer", "verdict", "agreement",
                                                "provenance", "thread")  # fmt: skip
    return {name: value[name] for name in (*common, *own)}


def _lines(lines: Iterable[str]) -> list[Line]:
    found: dict[str, Line] = {}
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        line = _line(number, text)
        if line.id in found:
            raise ConfigError(f"line {number}: id: {line.id} stood before; nothing was imported")
        found[line.id] = line
    return list(found.values())


def _line(number: int, text: str) -> Line:
    try:
        line = Line.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(map(str, first["loc"])) or "not JSON"
        raise ConfigError(f"line {number}: {field}: {first['msg']}; nothing was imported") from None
    needed = ("episodes",) if line.kind == "fact" else ("question", "answer", "provenance")
    if missing := [name for name in needed if getattr(line, name) is None]:
        raise ConfigError(f"line {number}: {missing[0]} is missing; nothing was imported")
    if line.kind == "episode" and line.text != line.question:
        raise ConfigError(f"line {number}: text: is not the question; nothing was imported")
    if line.provenance and not worth_remembering(line.provenance):
        raise ConfigError(
            f"line {number}: a {line.provenance} answer is no knowledge; nothing was imported"
        )
    return line


async def stats(store: BaseStore, space: Space) -> dict[str, Any]:
    """How many memories of each kind, by which embedder, and how many are not consolidated yet."""
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
    """Embed every memory with the present embedder; how many there are.

    Raises MemoryUnavailable if it does not embed: the old vectors stay then, but for the page at
    which it failed, whose memories wait for the next time.
    """
    embedder = embeddings.chosen()
    if embedder is None:
        raise MemoryUnavailable("the embedder", "none is installed, or it is off")
    items = await listed(store, space)
    failed = getattr(store, "unembedded", 0)
    for at in range(0, len(items), EMBEDDED):
        page = items[at : at + EMBEDDED]
        embedder.embed([page[0].value["text"]])  # a store would swallow that it fails
        writes: list[Op] = [
            PutOp(item.namespace, item.key, {**item.value, "embedder": embedder.name}, ["text"])
            for item in page
        ]
        await store.abatch(writes)
        if getattr(store, "unembedded", 0) > failed:
            raise MemoryUnavailable("the embedder", "it failed on the way; reindex again")
    return len(items)


def brief(item: Item) -> dict[str, Any]:
    """A memory as data, without what only the machine reads."""
    return {"id": item.key, **{k: v for k, v in item.value.items() if k not in ("run_id",)}}


def one_line(item: Item) -> str:
    """A memory in a line: a fact, or a question."""
    return json.dumps(item.value["text"], ensure_ascii=False).strip('"')
