"""Threads in Postgres (extra `postgres`)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from hashlib import sha256

import psycopg
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from swarm_brain.database.connection import (
    BUSY_SECONDS,
    CONNECT_SECONDS,
    CONNECTIONS,
    PATIENCE_SECONDS,
    SILENT,
    SILENT_SECONDS,
    reach,
    unavailable,
)
from swarm_brain.graph.errors import MemoryUnavailable, ThreadError
from swarm_brain.threads.checkpoints import IndexEntry
from swarm_brain.threads.saver import BUSY, LATEST_FIRST, CompressedSerializer, Threads

# Two processes that open a new database at once must not both make its tables.
SETUP_LOCK = 7_305_641_210
POLL_SECONDS = 0.05

_INDEX = """SELECT thread_id, checkpoint_id, parent_checkpoint_id, metadata ->> 'source' AS source,
              CAST(metadata ->> 'step' AS INTEGER) AS step
            FROM checkpoints WHERE checkpoint_ns = '' AND thread_id = ANY(%s)
            ORDER BY checkpoint_id"""
_OLD = """SELECT thread_id, checkpoint_ns, checkpoint_id FROM (
            SELECT thread_id, checkpoint_ns, checkpoint_id, ROW_NUMBER() OVER (
              PARTITION BY thread_id, checkpoint_ns ORDER BY checkpoint_id DESC) AS place
            FROM checkpoints) AS numbered WHERE place > %s"""
_KEY = "(thread_id, checkpoint_ns, checkpoint_id)"
# Values that no remaining checkpoint refers to.
_GARBAGE = """DELETE FROM checkpoint_blobs AS b WHERE NOT EXISTS (
                SELECT 1 FROM checkpoints AS c WHERE c.thread_id = b.thread_id
                AND c.checkpoint_ns = b.checkpoint_ns
                AND c.checkpoint -> 'channel_versions' ->> b.channel = b.version)"""


class _Pool(AsyncConnectionPool[AsyncConnection[DictRow]]):
    """A pool that fails at once while the server is unreachable."""

    _again_at = 0.0

    async def getconn(
        self,
        timeout: float | None = None,  # noqa: ASYNC109  the pool's own
    ) -> AsyncConnection[DictRow]:
        """Return a connection. Raises PoolTimeout."""
        if time.monotonic() < self._again_at:
            raise PoolTimeout(SILENT)
        try:
            return await super().getconn(PATIENCE_SECONDS)
        except PoolTimeout:
            await self._must_be_there()
            return await super().getconn(timeout)  # it is only busy

    async def _must_be_there(self) -> None:
        try:
            await asyncio.to_thread(reach, str(self.conninfo))
        except MemoryUnavailable:
            self._again_at = time.monotonic() + SILENT_SECONDS
            raise PoolTimeout(SILENT) from None


class PostgresThreads(Threads, AsyncPostgresSaver):
    """LangGraph's Postgres checkpointer with the methods of `Threads`."""

    failures = (psycopg.Error, OSError)
    where = "the saved threads"

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection[DictRow]], url: str) -> None:
        AsyncPostgresSaver.__init__(self, pool, serde=CompressedSerializer())
        self.pool, self.url, self.problems = pool, url, {}

    async def ids(self) -> list[str]:
        return [row["thread_id"] for row in await self._rows(LATEST_FIRST)]

    async def index(self, threads: Sequence[str]) -> list[tuple[str, IndexEntry]]:
        rows = await self._rows(_INDEX, [list(threads)])
        return [(thread, IndexEntry(*entry)) for thread, *entry in (row.values() for row in rows)]

    async def _rows(self, sql: str, parameters: Sequence[object] = ()) -> list[DictRow]:
        with self._translated():
            async with self.pool.connection() as connection:
                return await (await connection.execute(sql, parameters)).fetchall()

    async def keep_last(self, number: int) -> int:
        with self._translated():
            async with self.pool.connection() as connection, connection.transaction():
                await connection.execute(
                    f"DELETE FROM checkpoint_writes WHERE {_KEY} IN ({_OLD})",  # noqa: S608
                    [number],
                )
                deleted = await connection.execute(
                    f"DELETE FROM checkpoints WHERE {_KEY} IN ({_OLD})",  # noqa: S608
                    [number],
                )
                await connection.execute(_GARBAGE)
        return deleted.rowcount

    async def shred(self) -> None:
        """Do nothing: the database's own VACUUM reuses the space."""

    @contextmanager
    def alone(self, thread: str) -> Iterator[None]:
        """Lock the thread on a separate connection, which ends with the process."""
        number = int.from_bytes(sha256(thread.encode()).digest()[:8], "big", signed=True)
        connection = psycopg.connect(self.url, autocommit=True, connect_timeout=CONNECT_SECONDS)
        try:  # not `with connection`, which ends with an error where the server has gone meanwhile
            got = connection.execute("SELECT pg_try_advisory_lock(%s)", [number]).fetchone()
            if not (got and got[0]):
                raise ThreadError(BUSY.format(thread))
            yield
        finally:
            connection.close()


async def _set_up(threads: PostgresThreads) -> None:
    """Create the tables, one process at a time.

    Poll for the lock instead of waiting in the database: a waiting statement holds a snapshot, and
    the other process's CREATE INDEX CONCURRENTLY would wait for that snapshot in turn.
    """
    async with threads.pool.connection() as connection:
        while not await _locked(connection):  # noqa: ASYNC110  the event is another process's
            await asyncio.sleep(POLL_SECONDS)
        try:
            await threads.setup()
        finally:
            await connection.execute("SELECT pg_advisory_unlock(%s)", [SETUP_LOCK])


async def _locked(connection: AsyncConnection[DictRow]) -> bool:
    cursor = await connection.execute("SELECT pg_try_advisory_lock(%s) AS got", [SETUP_LOCK])
    row = await cursor.fetchone()
    return bool(row and row["got"])


@asynccontextmanager
async def open_postgres(url: str) -> AsyncIterator[PostgresThreads]:
    """Open the threads in this database. Raises ConfigError or MemoryUnavailable."""
    await asyncio.to_thread(reach, url)
    pool = _Pool(
        url,
        min_size=1,
        max_size=CONNECTIONS,
        timeout=BUSY_SECONDS,
        check=AsyncConnectionPool.check_connection,
        open=False,
        kwargs={
            "autocommit": True,
            "prepare_threshold": 0,
            "row_factory": dict_row,
            "connect_timeout": CONNECT_SECONDS,
        },
    )
    try:
        await pool.open(wait=True, timeout=BUSY_SECONDS)
        threads = PostgresThreads(pool, url)
        await _set_up(threads)
        yield threads
    except psycopg.Error as error:
        raise unavailable(error) from None
    finally:
        await pool.close()
