"""LangGraph's BaseStore over a database, with vector search on any Python build.

No loadable extension is needed: vectors are rows beside their items, and each process keeps those
of a namespace in an exact index (see index.py), which it brings up to date before each search.
Every vector carries the name of its embedder; a search sees those of its own embedder alone.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from langgraph.store.base import (
    BaseStore,
    GetOp,
    InvalidNamespaceError,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
)

from swarm_brain.database.transactions import Database, Execute, Row
from swarm_brain.graph.errors import MemoryUnavailable
from swarm_brain.memory.embeddings import Embedder
from swarm_brain.memory.filters import matches

if TYPE_CHECKING:
    from swarm_brain.memory.index import Index, Vectors

FIELD = "text"  # what is embedded, where a value has it
COLUMNS = "namespace, key, value, created_at, updated_at"
LOOKED_UP = 64  # items fetched at once while the nearest are checked


class SqlStore(BaseStore):
    """Items and their vectors. `embedder` None: items alone, and no search by meaning.

    A batch reads first, then writes all of its puts in one transaction: all or none are there.
    A text whose embedding fails is kept without its vector (see `reindex`). `how` says in words how
    vectors are searched.
    """

    def __init__(
        self,
        database: Database,
        embedder: Embedder | None = None,
        how: str = "exact, in this process",
    ) -> None:
        self.database, self.embedder, self.how = database, embedder, how
        self.unembedded = 0  # texts that this object has kept without their vectors
        self._indexes: dict[tuple[str, int], Index] = {}
        self._lock = threading.Lock()

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Run the operations in a thread: the database blocks."""
        return await asyncio.to_thread(self.batch, list(ops))

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Run the operations; a put's result is None."""
        asked = list(ops)
        results = [None if isinstance(op, PutOp) else self._read(op) for op in asked]
        # The last of several puts to one place is what stands there.
        puts = {(op.namespace, op.key): op for op in asked if isinstance(op, PutOp)}
        if puts:
            self._write(list(puts.values()))
        return results

    def shred(self) -> None:
        """Leave nothing behind in the file of what was deleted."""
        self.database.shred()

    def _read(self, op: Op) -> Result:
        match op:
            case GetOp():
                return self._get(op)
            case SearchOp():
                return self._nearest(op) if op.query else self._listed(op)
            case ListNamespacesOp():
                return self._namespaces(op)
            case _:
                raise ValueError(f"unknown operation {type(op).__name__}")

    def _get(self, op: GetOp) -> Item | None:
        sql = f"SELECT {COLUMNS} FROM memory_items WHERE namespace = ? AND key = ?"  # noqa: S608
        with self.database.reading() as execute:
            rows = execute(sql, [_joined(op.namespace), op.key])
        return Item(**_fields(rows[0])) if rows else None

    def _listed(self, op: SearchOp) -> list[SearchItem]:
        """Items below a namespace, the latest first."""
        where, parameters = _below(op.namespace_prefix)
        # The ids first, from an index: +id, or SQLite would read all values in the order of ids.
        ids = f"SELECT id FROM memory_items WHERE {where} ORDER BY +id DESC"  # noqa: S608
        if not op.filter:
            ids += f" LIMIT {int(op.limit)} OFFSET {int(op.offset)}"
        sql = f"SELECT {COLUMNS} FROM memory_items WHERE id IN ({ids}) ORDER BY id DESC"  # noqa: S608
        with self.database.reading() as execute:
            rows = execute(sql, parameters)
        found = [SearchItem(**_fields(row)) for row in rows]
        if not op.filter:
            return found
        kept = [item for item in found if matches(item.value, op.filter)]
        return kept[op.offset : op.offset + op.limit]

    def _nearest(self, op: SearchOp) -> list[SearchItem]:
        """Items below a namespace by the similarity of their text to the query."""
        if self.embedder is None:
            return self._listed(op._replace(query=None))
        vector = self.embedder.embed([op.query or ""])[0]
        with self.database.reading() as execute:
            found = [
                item
                for namespace in _with_vectors(execute, op.namespace_prefix)
                for item in self._best(execute, namespace, vector, op)
            ]
        found.sort(key=lambda item: -(item.score or 0.0))
        return found[op.offset : op.offset + op.limit]

    def _best(
        self, execute: Execute, namespace: str, vector: Vectors, op: SearchOp
    ) -> list[SearchItem]:
        """The nearest of one namespace that still exist and match the filter."""
        index = self._current(execute, namespace, len(vector))
        wanted, found = op.offset + op.limit, list[SearchItem]()
        nearest = index.nearest(vector)
        while len(found) < wanted:
            scores = dict(_taken(nearest, max(wanted, LOOKED_UP) if op.filter else wanted))
            if not scores:
                break
            items = self._fetch(execute, list(scores))
            index.drop([item for item in scores if item not in items])  # deleted elsewhere
            found += [
                SearchItem(**_fields(items[item]), score=score)
                for item, score in scores.items()
                if item in items and matches(json.loads(items[item][2]), op.filter or {})
            ]
        return found[:wanted]

    def _fetch(self, execute: Execute, ids: Sequence[int]) -> dict[int, Row]:
        marks = ", ".join("?" * len(ids))
        rows = execute(f"SELECT id, {COLUMNS} FROM memory_items WHERE id IN ({marks})", ids)  # noqa: S608
        return {row[0]: row[1:] for row in rows}

    def _current(self, execute: Execute, namespace: str, dims: int) -> Index:
        """The namespace's index with everything that was committed until now.

        One name may serve vectors of another size tomorrow; those of before are not compared.
        """
        import numpy as np

        from swarm_brain.memory.index import Index

        assert self.embedder  # noqa: S101
        with self._lock:
            index = self._indexes.setdefault((namespace, dims), Index(dims))
            rows = execute(
                "SELECT item, vector FROM memory_vectors WHERE namespace = ? AND embedder = ? "
                "AND item > ? AND length(vector) = ? ORDER BY item",
                [namespace, self.embedder.name, index.last, dims * np.float16().nbytes],
            )
            if rows:
                kept = np.frombuffer(b"".join(bytes(row[1]) for row in rows), dtype=np.float16)
                index.add([row[0] for row in rows], kept.reshape(-1, dims).astype(np.float32))
            return index

    def _namespaces(self, op: ListNamespacesOp) -> list[tuple[str, ...]]:
        with self.database.reading() as execute:
            rows = execute("SELECT DISTINCT namespace FROM memory_items ORDER BY namespace", [])
        names = [tuple(row[0].split(".")) for row in rows]
        kept = [n for n in names if all(_fits(n, c) for c in op.match_conditions or ())]
        cut = list(dict.fromkeys(name[: op.max_depth] for name in kept))
        return cut[op.offset : op.offset + op.limit]

    def _write(self, puts: Sequence[PutOp]) -> None:
        vectors = self._vectors_of(puts)
        with self.database.writing() as execute:
            for put in puts:
                self._put(execute, put, vectors.get((put.namespace, put.key)))

    def _put(self, execute: Execute, put: PutOp, vector: bytes | None) -> None:
        """Replace one item and its vector; the new row has a new id, so that indexes see it."""
        place, now = [_joined(put.namespace), put.key], datetime.now(UTC).isoformat()
        old = execute(
            "SELECT id, created_at FROM memory_items WHERE namespace = ? AND key = ?", place
        )
        if old:
            execute("DELETE FROM memory_items WHERE id = ?", [old[0][0]])
        if put.value is None:
            return
        value = json.dumps(put.value, ensure_ascii=True)
        created = old[0][1] if old else now
        (row,) = execute(
            f"INSERT INTO memory_items ({COLUMNS}) VALUES (?, ?, ?, ?, ?) RETURNING id",  # noqa: S608
            [*place, value, created, now],
        )
        if vector is not None and self.embedder:
            execute(
                "INSERT INTO memory_vectors VALUES (?, ?, ?, ?)",
                [row[0], place[0], self.embedder.name, vector],
            )

    def _vectors_of(self, puts: Sequence[PutOp]) -> dict[tuple[tuple[str, ...], str], bytes]:
        """The vectors of the values that have a text; none where the embedder fails."""
        texts = {
            (put.namespace, put.key): put.value[FIELD]
            for put in puts
            if put.value and isinstance(put.value.get(FIELD), str) and put.index is not False
        }
        if not texts or self.embedder is None:
            return {}
        import numpy as np

        try:
            vectors = self.embedder.embed(list(texts.values()))
        except MemoryUnavailable:
            self.unembedded += len(texts)
            return {}
        return {
            place: vector.astype(np.float16).tobytes()
            for place, vector in zip(texts, vectors, strict=True)
        }


def _joined(namespace: Sequence[str]) -> str:
    """A namespace as one text. Labels with a period would give what belongs to another."""
    if wrong := [label for label in namespace if "." in label]:
        raise InvalidNamespaceError(f"a label of a namespace has no period: {wrong[0]!r}")
    return ".".join(namespace)


def _below(prefix: Sequence[str]) -> tuple[str, list[str]]:
    """The condition for a namespace itself and everything under it, label by label."""
    if not prefix:
        return "1 = 1", []
    name = _joined(prefix)
    # From "name." up to, but without, "name/": "/" is the character after ".".
    return "(namespace = ? OR (namespace >= ? AND namespace < ?))", [name, f"{name}.", f"{name}/"]


def _with_vectors(execute: Execute, prefix: Sequence[str]) -> Iterator[str]:
    """The namespaces below a prefix that have vectors: one look into the index for each, where
    DISTINCT would read as much of it as there are vectors."""
    sql = "SELECT namespace FROM memory_vectors WHERE namespace {} ORDER BY namespace LIMIT 1"
    name = _joined(prefix)
    if prefix:
        yield from (row[0] for row in execute(sql.format("= ?"), [name]))
    end = f"{name}/" if prefix else "\U0010ffff"
    last = f"{name}." if prefix else ""
    while found := execute(sql.format("> ? AND namespace < ?"), [last, end]):
        last = found[0][0]
        yield last


def _fields(row: Row) -> dict[str, Any]:
    namespace, key, value, created, updated = row
    return {
        "namespace": tuple(namespace.split(".")),
        "key": key,
        "value": json.loads(value),
        "created_at": datetime.fromisoformat(created),
        "updated_at": datetime.fromisoformat(updated),
    }


def _fits(namespace: tuple[str, ...], condition: MatchCondition) -> bool:
    path, size = condition.path, len(condition.path)
    if len(namespace) < size:
        return False
    part = namespace[:size] if condition.match_type == "prefix" else namespace[-size:]
    return all(wanted in ("*", label) for label, wanted in zip(part, path, strict=True))


def _taken(nearest: Iterable[tuple[int, float]], most: int) -> list[tuple[int, float]]:
    return [pair for _, pair in zip(range(most), nearest, strict=False)]
