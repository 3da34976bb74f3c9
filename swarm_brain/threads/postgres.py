"""Threads in Postgres (extra `postgres`)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import psycopg
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg.rows import dict_row
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
from swarm_brain.threads.saver import BUSY, LATEST_FIRST, Compressed, Forgiving, Threads

# Two processes that open a new database at once must not both make its tables.
SETUP_LOCK = 7_305_641_210
POLL_SECONDS = 0.05

_OLD = """SELECT thread_id, checkpoint_ns, checkpoint_id FROM (
            SELECT thread_id, checkpoint_ns, checkpoint_id, ROW_NUMBER() OVER (
              PARTITION BY thread_id, checkpoint_ns ORDER BY checkpoint_id DESC) AS place
            FROM checkpoints) AS numbered WHERE place > %s"""
_KEY = "(thread_id, checkpoint_ns, checkpoint_id)"
# Values that no kept checkpoint names any more.
_GARBAGE = """DELETE FROM checkpoint_blobs AS b WHERE NOT EXISTS (
                SELECT 1 FROM checkpoints AS c WHERE c.thread_id = b.thread_id
                AND c.checkpoint_ns = b.checkpoint_ns
                AND c.checkpoint -> 'channel_versions' ->> b.channel = b.version)"""


class _Pool(AsyncConnectionPool[Any]):
    """A pool that gives up once the server is gone: all that a run saves would wait in a row."""

    _again_at = 0.0

    async def getconn(self, timeout: float | None = None) -> Any:  # noqa: ASYNC109  the pool's own
        """A connection. Raises PoolTimeout."""
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


class _PostgresSaver(Forgiving, AsyncPostgresSaver):
    failures = (psycopg.Error, OSError)


@dataclass(frozen=True)
class _Postgres:
    saver: _PostgresSaver
    pool: AsyncConnectionPool[Any]
    url: str

    @property
    def problems(self) -> dict[str, str]:
        return self.saver.problems

    async def ids(self) -> list[str]:
        async with self.pool.connection() as connection:
            return [
                row["thread_id"]
                for row in await (await connection.execute(LATEST_FIRST)).fetchall()
            ]

    async def prune(self, keep_last: int) -> int:
        async with self.pool.connection() as connection, connection.transaction():
            await connection.execute(
                f"DELETE FROM checkpoint_writes WHERE {_KEY} IN ({_OLD})",  # noqa: S608
                [keep_last],
            )
            deleted = await connection.execute(
                f"DELETE FROM checkpoints WHERE {_KEY} IN ({_OLD})",  # noqa: S608
                [keep_last],
            )
            await connection.execute(_GARBAGE)
        return int(deleted.rowcount)

    async def shred(self) -> None:
        """Nothing to do here: space is given back by the database's own VACUUM."""

    @contextmanager
    def alone(self, thread: str) -> Iterator[None]:
        """Held by a connection of its own, so that it ends with the process."""
        number = int.from_bytes(sha256(thread.encode()).digest()[:8], "big", signed=True)
        connection = psycopg.connect(self.url, autocommit=True, connect_timeout=CONNECT_SECONDS)
        try:  # not `with connection`, which ends with an error where the server has gone meanwhile
            got = connection.execute("SELECT pg_try_advisory_lock(%s)", [number]).fetchone()
            if not (got and got[0]):
                raise ThreadError(BUSY.format(thread))
            yield
        finally:
            connection.close()


async def _set_up(saver: _PostgresSaver, pool: AsyncConnectionPool[Any]) -> None:
    """Make the tables, one process at a time.

    By trying, not by waiting in the database: whoever waits there holds a snapshot, and the other's
    CREATE INDEX CONCURRENTLY would wait for that.
    """
    async with pool.connection() as connection:
        while not await _locked(connection):  # noqa: ASYNC110  the event is another process's
            await asyncio.sleep(POLL_SECONDS)
        try:
            await saver.setup()
        finally:
            await connection.execute("SELECT pg_advisory_unlock(%s)", [SETUP_LOCK])


async def _locked(connection: Any) -> bool:
    cursor = await connection.execute("SELECT pg_try_advisory_lock(%s) AS got", [SETUP_LOCK])
    return bool((await cursor.fetchone())["got"])


@asynccontextmanager
async def open_postgres(url: str) -> AsyncIterator[Threads]:
    """Threads in this database. Raises ConfigError, or MemoryUnavailable whenever it fails."""
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
        saver = _PostgresSaver(pool, serde=Compressed())
        await _set_up(saver, pool)
        yield _Postgres(saver, pool, url)
    except psycopg.Error as error:
        raise unavailable(error) from None
    finally:
        await pool.close()
