"""Memories in LangGraph's PostgresStore, with vector search by pgvector."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

import psycopg
from langgraph.store.base import Op, PutOp, Result, SearchOp
from langgraph.store.postgres import PostgresStore
from langgraph.store.postgres.base import ANNIndexConfig, PostgresIndexConfig
from psycopg.rows import dict_row

from swarm_brain.database.connection import WHERE, Pool, PoolConnection, opened, unavailable
from swarm_brain.database.transactions import Postgres
from swarm_brain.graph.errors import MemoryUnavailable
from swarm_brain.memory.embeddings import Embedder
from swarm_brain.memory.store import FIELD

# An index finds the nearest vectors of all users, which are filtered afterwards. From this version
# on pgvector continues until enough of them are the user's; before it, no index is used.
ITERATIVE = (0, 8)
MAX_INDEXED = 2_000  # dimensions that an HNSW index of pgvector can have
# When two processes open a new database at once, only one may make its tables.
SETUP_LOCK = 7_305_641_211
POLL_SECONDS = 0.05
DENIED = "pgvector is not in this database; its owner can add it with CREATE EXTENSION vector"
BEFORE = "there are memories from before pgvector; move them: memory export, forget --all, import"


class PgvectorStore(PostgresStore):
    """LangGraph's store with the rules of SqlStore.

    Vectors of different embedders are never compared, and a text whose embedding fails is saved
    without a vector.
    """

    def __init__(self, pool: Pool, embedder: Embedder, dims: int, indexed: bool) -> None:
        self.embedder, self.indexed = embedder, indexed

        def embed(texts: Sequence[str]) -> list[list[float]]:
            vectors: list[list[float]] = embedder.embed(texts).tolist()
            if vectors and len(vectors[0]) != dims:
                raise MemoryUnavailable(
                    WHERE,
                    f"its vectors have {dims} dimensions, those of {embedder.name} "
                    f"{len(vectors[0])}: set SWARM_BRAIN_EMBEDDER as it was, or move the memories "
                    "to a new database (memory export, memory import)",
                )
            return vectors

        index = PostgresIndexConfig(
            dims=dims,
            embed=embed,
            fields=[FIELD],
            ann_index_config=ANNIndexConfig(kind="hnsw" if indexed else "flat"),
        )
        super().__init__(pool, index=index)

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Run the operations in one transaction. Raises MemoryUnavailable."""
        ops = [self._own(op) for op in ops]
        try:
            return super().batch(ops)
        except psycopg.Error as error:
            raise unavailable(error) from None
        except MemoryUnavailable:
            if not any(isinstance(op, PutOp) for op in ops):
                raise
            return super().batch([_plain(op) for op in ops])

    def _own(self, op: Op) -> Op:
        if isinstance(op, SearchOp) and op.query:
            return op._replace(filter={**(op.filter or {}), "embedder": self.embedder.name})
        return op


def _plain(op: Op) -> Op:
    return op._replace(index=False) if isinstance(op, PutOp) else op


def why_not(database: Postgres) -> str | None:
    """Return why this database has no vector search; None if it has."""
    with database.reading() as execute:
        installed = execute("SELECT 1 FROM pg_extension WHERE extname = 'vector'", ())
        if not execute("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'", ()):
            return "pgvector is not installed"
        if execute("SELECT 1 FROM memory_items LIMIT 1", ()):
            return BEFORE if installed else DENIED
    if installed:
        return None
    try:
        with database.writing() as execute:
            execute("CREATE EXTENSION IF NOT EXISTS vector", ())
    except MemoryUnavailable:
        return DENIED
    return None


def open_pgvector(url: str, embedder: Embedder) -> PgvectorStore:
    """Open the store and create missing tables. Raises MemoryUnavailable."""
    pool = opened(url, _search_on, prepare_threshold=0, row_factory=dict_row)
    try:
        with pool.connection() as connection, _alone(connection):
            dims = _dims(connection) or embedder.embed(["dimensions"]).shape[1]
            indexed = _version(connection) >= ITERATIVE and dims <= MAX_INDEXED
            store = PgvectorStore(pool, embedder, dims, indexed)
            store.setup()
    except psycopg.Error as error:
        pool.close()
        raise unavailable(error) from None
    except BaseException:
        pool.close()
        raise
    return store


def _search_on(connection: PoolConnection) -> None:
    """Turn on iterative search (see ITERATIVE) if this pgvector supports it."""
    with suppress(psycopg.errors.UndefinedObject, psycopg.errors.InvalidName):
        connection.execute("SET hnsw.iterative_scan = strict_order")


@contextmanager
def _alone(connection: PoolConnection) -> Iterator[None]:
    """Let one process in at a time, by polling (see threads/postgres.py)."""
    while not _one(connection, f"SELECT pg_try_advisory_lock({SETUP_LOCK}) AS value"):
        time.sleep(POLL_SECONDS)
    try:
        yield
    finally:
        connection.execute(f"SELECT pg_advisory_unlock({SETUP_LOCK})")


def _dims(connection: PoolConnection) -> int | None:
    """Return the dimensions of the saved vectors; None before there are any."""
    sql = """SELECT atttypmod AS value FROM pg_attribute
               WHERE attrelid = to_regclass('store_vectors') AND attname = 'embedding'"""
    dims = _one(connection, sql)
    return dims if isinstance(dims, int) else None


def _version(connection: PoolConnection) -> tuple[int, ...]:
    version = _one(
        connection, "SELECT extversion AS value FROM pg_extension WHERE extname='vector'"
    )
    return tuple(int(part) for part in str(version).split(".")[:2])


def _one(connection: PoolConnection, sql: str) -> object:
    row = connection.execute(sql).fetchone()
    return row["value"] if row else None
