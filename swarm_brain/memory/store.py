"""LangGraph's BaseStore over a database, with vector search on any Python build.

No loadable extension is needed. Vectors are rows beside their items; each process holds those of a
namespace in an exact index (index.py) and updates it before each search. Every vector carries the
name of its embedder, and a search sees only vectors of its own embedder.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

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

FIELD = "text"  # the field of a value that is embedded
COLUMNS = "namespace, key, value, created_at, updated_at"
PAGE = 64  # items fetched at once while the nearest are checked


class SqlStore(BaseStore):
    """Items and their vectors. Without an embedder there is no search by meaning.

    A batch reads first and then writes all of its puts in one transaction. A text whose embedding
    fails is saved without a vector (see `reindex`). `how` describes how vectors are searched.
    """

    def __init__(
        self,
        database: Database,
        embedder: Embedder | None = None,
        how: str = "exact, in this process",
    ) -> None:
        self.database, self.embedder, self.how = database, embedder, how
        self.unembedded = 0  # texts that this object has saved without a vector
        self._indexes: dict[tuple[str, int], Index] = {}
        self._lock = threading.Lock()

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Run the operations in a thread, because the database blocks."""
        return await asyncio.to_thread(self.batch, list(ops))

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Run the operations. The result of a put is None."""
        ops = list(ops)
        results = [None if isinstance(op, PutOp) else self._read(op) for op in ops]
        # Of several puts to one place the last one counts.
        puts = {(op.namespace, op.key): op for op in ops if isinstance(op, PutOp)}
        if puts:
            self._write(list(puts.values()))
        return results

    def shred(self) -> None:
        """Overwrite deleted data in the file."""
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
        return _item(rows[0]) if rows else None

    def _listed(self, op: SearchOp) -> list[SearchItem]:
        """Return items below a namespace, the latest first."""
        where, parameters = _below(op.namespace_prefix)
        # Read the ids first, from an index. Without the + SQLite would read all values by id.
        ids = f"SELECT id FROM memory_items WHERE {where} ORDER BY +id DESC"  # noqa: S608
        if not op.filter:
            ids += f" LIMIT {int(op.limit)} OFFSET {int(op.offset)}"
        sql = f"SELECT {COLUMNS} FROM memory_items WHERE id IN ({ids}) ORDER BY id DESC"  # noqa: S608
        with self.database.reading() as execute:
            rows = execute(sql, parameters)
        items = [_item(row) for row in rows]
        if not op.filter:
            return items
        matching = [item for item in items if matches(item.value, op.filter)]
        return matching[op.offset : op.offset + op.limit]

    def _nearest(self, op: SearchOp) -> list[SearchItem]:
        """Return items below a namespace by the similarity of their text to the query."""
        if self.embedder is None:
            return self._listed(op._replace(query=None))
        vector = self.embedder.embed([op.query or ""])[0]
        with self.database.reading() as execute:
            items = [
                item
                for namespace in _with_vectors(execute, op.namespace_prefix)
                for item in self._best(execute, namespace, vector, op)
            ]
        items.sort(key=lambda item: -(item.score or 0.0))
        return items[op.offset : op.offset + op.limit]

    def _best(
        self, execute: Execute, namespace: str, vector: Vectors, op: SearchOp
    ) -> list[SearchItem]:
        """Return a namespace's nearest items that still exist and match the filter."""
        index = self._current(execute, namespace, len(vector))
        needed, best = op.offset + op.limit, list[SearchItem]()
        nearest = index.nearest(vector)
        while len(best) < needed:
            scores = dict(_taken(nearest, max(needed, PAGE) if op.filter else needed))
            if not scores:
                break
            items = self._fetch(execute, list(scores))
            index.drop([item for item in scores if item not in items])  # deleted by others
            best += [
                _item(items[item], score)
                for item, score in scores.items()
                if item in items and matches(json.loads(items[item][2]), op.filter or {})
            ]
        return best[:needed]

    def _fetch(self, execute: Execute, ids: Sequence[int]) -> dict[int, Row]:
        marks = ", ".join("?" * len(ids))
        rows = execute(f"SELECT id, {COLUMNS} FROM memory_items WHERE id IN ({marks})", ids)  # noqa: S608
        return {row[0]: row[1:] for row in rows}

    def _current(self, execute: Execute, namespace: str, dims: int) -> Index:
        """Return the namespace's index with all committed vectors.

        An embedder may change the size of its vectors; only those of the present size are used.
        """
        import numpy as np  # the extra `memory`

        from swarm_brain.memory.index import Index  # imports numpy

        assert self.embedder  # noqa: S101  `_nearest` has checked it
        with self._lock:
            index = self._indexes.setdefault((namespace, dims), Index(dims))
            rows = execute(
                "SELECT item, vector FROM memory_vectors WHERE namespace = ? AND embedder = ? "
                "AND item > ? AND length(vector) = ? ORDER BY item",
                [namespace, self.embedder.name, index.last, dims * np.float16().nbytes],
            )
            if rows:
                stored = np.frombuffer(b"".join(bytes(row[1]) for row in rows), dtype=np.float16)
                index.add([row[0] for row in rows], stored.reshape(-1, dims).astype(np.float32))
            return index

    def _namespaces(self, op: ListNamespacesOp) -> list[tuple[str, ...]]:
        with self.database.reading() as execute:
            rows = execute("SELECT DISTINCT namespace FROM memory_items ORDER BY namespace", [])
        names = [tuple(row[0].split(".")) for row in rows]
        matching = [n for n in names if all(_fits(n, c) for c in op.match_conditions or ())]
        cut = list(dict.fromkeys(name[: op.max_depth] for name in matching))
        return cut[op.offset : op.offset + op.limit]

    def _write(self, puts: Sequence[PutOp]) -> None:
        vectors = self._vectors_of(puts)
        with self.database.writing() as execute:
            for put in puts:
                self._put(execute, put, vectors.get((put.namespace, put.key)))

    def _put(self, execute: Execute, put: PutOp, vector: bytes | None) -> None:
        """Replace one item and its vector. A new row id makes indexes notice."""
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
        """Return the vectors of values with a text; none if embedding fails."""
        texts = {
            (put.namespace, put.key): put.value[FIELD]
            for put in puts
            if put.value and isinstance(put.value.get(FIELD), str) and put.index is not False
        }
        if not texts or self.embedder is None:
            return {}
        import numpy as np  # the extra `memory`

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
    """Return a namespace as one text. Raises for a label with a period."""
    if wrong := [label for label in namespace if "." in label]:
        raise InvalidNamespaceError(f"a namespace label must not contain a period: {wrong[0]!r}")
    return ".".join(namespace)


def _below(prefix: Sequence[str]) -> tuple[str, list[str]]:
    """Return the SQL condition for a namespace and everything below it."""
    if not prefix:
        return "1 = 1", []
    name = _joined(prefix)
    # From "name." up to "name/", exclusive: "/" is the character after ".".
    return "(namespace = ? OR (namespace >= ? AND namespace < ?))", [name, f"{name}.", f"{name}/"]


def _with_vectors(execute: Execute, prefix: Sequence[str]) -> Iterator[str]:
    """Yield the namespaces below a prefix that have vectors.

    Each costs one index look-up. DISTINCT would read an entry for every vector.
    """
    sql = "SELECT namespace FROM memory_vectors WHERE namespace {} ORDER BY namespace LIMIT 1"
    name = _joined(prefix)
    if prefix:
        yield from (row[0] for row in execute(sql.format("= ?"), [name]))
    end = f"{name}/" if prefix else "\U0010ffff"
    last = f"{name}." if prefix else ""
    while rows := execute(sql.format("> ? AND namespace < ?"), [last, end]):
        last = rows[0][0]
        yield last


def _item(row: Row, score: float | None = None) -> SearchItem:
    namespace, key, value, created, updated = row
    return SearchItem(
        tuple(namespace.split(".")),
        key,
        json.loads(value),
        datetime.fromisoformat(created),
        datetime.fromisoformat(updated),
        score,
    )


def _fits(namespace: tuple[str, ...], condition: MatchCondition) -> bool:
    path, size = condition.path, len(condition.path)
    if len(namespace) < size:
        return False
    part = namespace[:size] if condition.match_type == "prefix" else namespace[-size:]
    return all(pattern in ("*", label) for label, pattern in zip(part, path, strict=True))


def _taken(nearest: Iterable[tuple[int, float]], most: int) -> list[tuple[int, float]]:
    return [pair for _, pair in zip(range(most), nearest, strict=False)]
