"""Memories where the database itself searches vectors: LangGraph's PostgresStore over pgvector."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from langgraph.store.base import Op, PutOp, Result, SearchOp
from langgraph.store.postgres import PostgresStore
from psycopg.rows import dict_row

from swarm_brain.database.connection import WHERE, Pool, opened, unavailable
from swarm_brain.graph.errors import MemoryUnavailable
from swarm_brain.memory.embeddings import Embedder
from swarm_brain.memory.store import FIELD
from swarm_brain.memory.tables import Postgres

# An index looks at the nearest of all users and filters afterwards: only from 0.8 on does pgvector
# look further until it has enough of the one who asks. Before, every vector of a user is compared.
ITERATIVE = (0, 8)
MOST_INDEXED = 2_000  # dimensions that an HNSW index of pgvector takes
# Two processes that open a new database at once must not both make its tables.
SETUP_LOCK = 7_305_641_211
POLL_SECONDS = 0.05
DENIED = "pgvector is not in this database; whoever may has to say CREATE EXTENSION vector"
BEFORE = "there are memories from before pgvector; memory export, forget --all and import move them"


class PgvectorStore(PostgresStore):
    """LangGraph's store with the rules of SqlStore: one embedder's vectors never meet another's,

    and a text whose embedding fails is kept without its vector.
    """

    def __init__(self, pool: Pool, embedder: Embedder, dims: int, indexed: bool) -> None:
        self.embedder, self.indexed = embedder, indexed

        def embed(texts: Sequence[str]) -> list[list[float]]:
            vectors: list[list[float]] = embedder.embed(texts).tolist()
            if vectors and len(vectors[0]) != dims:
                raise MemoryUnavailable(
                    WHERE,
                    f"its vectors have {dims} dimensions, those of {embedder.name} "
                    f"{len(vectors[0])}: set SWARM_BRAIN_EMBEDDER as it was, or carry the memories "
                    "to a new database (memory export, memory import)",
                )
            return vectors

        kind: Any = {"kind": "hnsw" if indexed else "flat"}
        index: Any = {"dims": dims, "embed": embed, "fields": [FIELD], "ann_index_config": kind}
        super().__init__(pool, index=index)

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Run the operations in one transaction. Raises MemoryUnavailable."""
        asked = [self._own(op) for op in ops]
        try:
            return super().batch(asked)
        except psycopg.Error as error:
            raise unavailable(error) from None
        except MemoryUnavailable:
            if not any(isinstance(op, PutOp) for op in asked):
                raise
            return super().batch([_plain(op) for op in asked])

    def _own(self, op: Op) -> Op:
        if isinstance(op, SearchOp) and op.query:
            return op._replace(filter={**(op.filter or {}), "embedder": self.embedder.name})
        return op


def _plain(op: Op) -> Op:
    return op._replace(index=False) if isinstance(op, PutOp) else op


def why_not(database: Postgres) -> str | None:
    """Why vectors cannot be searched in this database; None if they can."""
    with database.reading() as execute:
        there = execute("SELECT 1 FROM pg_extension WHERE extname = 'vector'", ())
        if not execute("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'", ()):
            return "pgvector is not installed"
        if execute("SELECT 1 FROM memory_items LIMIT 1", ()):
            return BEFORE if there else DENIED
    if there:
        return None
    try:
        with database.writing() as execute:
            execute("CREATE EXTENSION IF NOT EXISTS vector", ())
    except MemoryUnavailable:
        return DENIED
    return None


def open_pgvector(url: str, embedder: Embedder) -> PgvectorStore:
    """The store; its tables are made where they are missing. Raises MemoryUnavailable."""
    pool = opened(url, _look_further, prepare_threshold=0, row_factory=dict_row)
    try:
        with pool.connection() as connection, _alone(connection):
            dims = _dims(connection) or embedder.embed(["dimensions"]).shape[1]
            indexed = _version(connection) >= ITERATIVE and dims <= MOST_INDEXED
            store = PgvectorStore(pool, embedder, dims, indexed)
            store.setup()
    except psycopg.Error as error:
        pool.close()
        raise unavailable(error) from None
    except BaseException:
        pool.close()
        raise
    return store


def _look_further(connection: Any) -> None:
    """See ITERATIVE; an older pgvector does not know the setting and leaves it unread."""
    with suppress(psycopg.errors.UndefinedObject, psycopg.errors.InvalidName):
        connection.execute("SET hnsw.iterative_scan = strict_order")


@contextmanager
def _alone(connection: Any) -> Iterator[None]:
    """One process at a time, by trying: see threads/postgres.py."""
    while not _one(connection, f"SELECT pg_try_advisory_lock({SETUP_LOCK}) AS found"):
        time.sleep(POLL_SECONDS)
    try:
        yield
    finally:
        connection.execute(f"SELECT pg_advisory_unlock({SETUP_LOCK})")


def _dims(connection: Any) -> int | None:
    """The dimensions of the vectors that are there."""
    sql = """SELECT atttypmod AS found FROM pg_attribute
               WHERE attrelid = to_regclass('store_vectors') AND attname = 'embedding'"""
    found: int | None = _one(connection, sql)
    return found


def _version(connection: Any) -> tuple[int, ...]:
    found = _one(connection, "SELECT extversion AS found FROM pg_extension WHERE extname='vector'")
    return tuple(int(part) for part in str(found).split(".")[:2])


def _one(connection: Any, sql: str) -> Any:
    row = connection.execute(sql).fetchone()
    return row["found"] if row else None
