"""Threads in a SQLite file of the data folder."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from hashlib import sha256
from pathlib import Path

import aiosqlite
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from swarm_brain.graph.errors import MemoryUnavailable, ThreadError
from swarm_brain.threads.checkpoints import IndexEntry
from swarm_brain.threads.saver import BUSY, LATEST_FIRST, CompressedSerializer, Threads

BUSY_SECONDS = 10.0
_INDEX = """SELECT thread_id, checkpoint_id, parent_checkpoint_id,
              json_extract(CAST(metadata AS TEXT), '$.source'),
              json_extract(CAST(metadata AS TEXT), '$.step')
            FROM checkpoints WHERE checkpoint_ns = ''
            AND thread_id IN (SELECT value FROM json_each(?)) ORDER BY checkpoint_id"""
_KEY = "(thread_id, checkpoint_ns, checkpoint_id)"
_OLD = """SELECT thread_id, checkpoint_ns, checkpoint_id FROM (
            SELECT *, ROW_NUMBER() OVER (PARTITION BY thread_id, checkpoint_ns
              ORDER BY checkpoint_id DESC) AS place FROM checkpoints)
          WHERE place > ?"""


class SqliteThreads(Threads, AsyncSqliteSaver):
    """LangGraph's SQLite checkpointer with the methods of `Threads`."""

    failures = (sqlite3.Error, OSError)

    def __init__(self, connection: aiosqlite.Connection, path: Path) -> None:
        AsyncSqliteSaver.__init__(self, connection, serde=CompressedSerializer())
        self.path, self.where, self.problems = path, str(path), {}

    async def ids(self) -> list[str]:
        async with self.lock:
            with self._translated():
                rows = await self.conn.execute_fetchall(LATEST_FIRST)
        return [row[0] for row in rows]

    async def index(self, threads: Sequence[str]) -> list[tuple[str, IndexEntry]]:
        async with self.lock:
            with self._translated():
                rows = await self.conn.execute_fetchall(_INDEX, [json.dumps(list(threads))])
        return [(thread, IndexEntry(*entry)) for thread, *entry in rows]

    async def keep_last(self, number: int) -> int:
        async with self.lock:
            with self._translated():
                await self.conn.execute(
                    f"DELETE FROM writes WHERE {_KEY} IN ({_OLD})",  # noqa: S608
                    [number],
                )
                deleted = await self.conn.execute(
                    f"DELETE FROM checkpoints WHERE {_KEY} IN ({_OLD})",  # noqa: S608
                    [number],
                )
                await self.conn.commit()
                await self.conn.execute("VACUUM")
        await self.shred()
        return deleted.rowcount

    async def shred(self) -> None:
        async with self.lock:
            with self._translated():
                await self.conn.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")

    @contextmanager
    def alone(self, thread: str) -> Iterator[None]:
        from filelock import FileLock, Timeout  # only needed by commands that run a thread

        folder = self.path.parent / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{sha256(thread.encode()).hexdigest()[:32]}.lock"
        lock = FileLock(folder / name, thread_local=False)  # may be released in another thread
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise ThreadError(BUSY.format(thread)) from None
        try:
            yield
        finally:
            lock.release()


@asynccontextmanager
async def open_sqlite(path: Path) -> AsyncIterator[SqliteThreads]:
    """Open the threads in this file. Raises MemoryUnavailable if not writable."""
    try:
        await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
        connection = await aiosqlite.connect(path, timeout=BUSY_SECONDS)
    except (sqlite3.Error, OSError) as error:
        raise MemoryUnavailable(str(path), error) from None
    try:
        threads = SqliteThreads(connection, path)
        try:
            await threads.setup()
            await connection.execute("PRAGMA secure_delete=ON")
            await connection.execute("PRAGMA synchronous=NORMAL")  # as in database/transactions.py
            await connection.execute("BEGIN IMMEDIATE")  # fails here if the file is read-only
            await connection.rollback()
        except (sqlite3.Error, OSError) as error:
            raise MemoryUnavailable(str(path), error) from None
        yield threads
    finally:
        await connection.close()
