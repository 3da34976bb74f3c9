"""Checkpointers that keep threads in a file or in Postgres, small, and without failing a run.

A run whose checkpoints can no longer be written goes on without them: its answer matters more than
that it might have been resumed. `problem` says what happened.
"""

from __future__ import annotations

import asyncio
import sqlite3
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import aiosqlite
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from swarm_brain.config import data_folder, variable
from swarm_brain.graph.errors import MemoryUnavailable, ThreadError
from swarm_brain.memory.opening import check_postgres

FILE = "threads.sqlite"
BUSY_SECONDS = 10.0
LEAST_COMPRESSED = 512  # bytes; below that it is not worth it
BUSY = "The thread {} is running in another process."
LATEST_FIRST = """SELECT thread_id FROM checkpoints
                    GROUP BY thread_id ORDER BY MAX(checkpoint_id) DESC"""
SQUEEZED = ".z"  # behind the type of what is compressed


class Compressed(JsonPlusSerializer):
    """LangGraph's own serialisation, compressed: checkpoints are mostly words, said repeatedly."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """Type and bytes of a value."""
        kind, data = super().dumps_typed(obj)
        if len(data) < LEAST_COMPRESSED:
            return kind, data
        return kind + SQUEEZED, zlib.compress(data)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """The value again. Raises MemoryUnavailable if it is damaged."""
        kind, content = data
        try:
            if kind.endswith(SQUEEZED):
                kind, content = kind.removesuffix(SQUEEZED), zlib.decompress(content)
            return super().loads_typed((kind, content))
        except (zlib.error, ValueError) as error:
            raise MemoryUnavailable("a saved thread", error) from None


class Threads(Protocol):
    """Where threads are kept. `saver` is what a graph is compiled with."""

    @property
    def saver(self) -> BaseCheckpointSaver[Any]:
        """LangGraph's checkpointer."""

    @property
    def problems(self) -> dict[str, str]:
        """Of each thread whose checkpoints are no longer written: why. Taken out, it is tried
        again."""

    async def ids(self) -> list[str]:
        """All threads, the latest first."""

    async def prune(self, keep_last: int) -> int:
        """Delete all but the last checkpoints of each thread; how many were deleted."""

    async def shred(self) -> None:
        """Leave nothing behind of what was deleted, as far as that is ours to do."""

    def alone(self, thread: str) -> Any:
        """A context manager: no other process runs this thread meanwhile, or ThreadError."""


class Forgiving:
    """A saver that stops saving a thread at its first failure, and says so.

    What cannot be read or deleted raises MemoryUnavailable: nobody can go on without that.
    """

    failures: tuple[type[Exception], ...] = (OSError,)
    where = "the saved threads"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.problems: dict[str, str] = {}  # LangGraph copies savers; copies share it

    async def aput(self, config: RunnableConfig, checkpoint: Any, *rest: Any) -> RunnableConfig:
        """Save a checkpoint, if that still works."""
        if (thread := config["configurable"]["thread_id"]) not in self.problems:
            try:
                saved: RunnableConfig = await super().aput(config, checkpoint, *rest)  # type: ignore[misc]
            except self.failures as error:
                self.problems[thread] = " ".join(str(error).split()) or type(error).__name__
            else:
                return saved
        return {"configurable": {**config["configurable"], "checkpoint_id": checkpoint["id"]}}

    async def aput_writes(self, config: RunnableConfig, *args: Any, **kwargs: Any) -> None:
        """Save what one node wrote, if that still works."""
        if (thread := config["configurable"]["thread_id"]) not in self.problems:
            try:
                await super().aput_writes(config, *args, **kwargs)  # type: ignore[misc]
            except self.failures as error:
                self.problems[thread] = " ".join(str(error).split()) or type(error).__name__

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """A saved checkpoint."""
        with self._translated():
            found: CheckpointTuple | None = await super().aget_tuple(config)  # type: ignore[misc]
            return found

    async def alist(self, *args: Any, **kwargs: Any) -> AsyncIterator[CheckpointTuple]:
        """Saved checkpoints, the latest first."""
        with self._translated():
            async for found in super().alist(*args, **kwargs):  # type: ignore[misc]
                yield found

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete a thread's checkpoints."""
        with self._translated():
            await super().adelete_thread(thread_id)  # type: ignore[misc]

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except self.failures as error:
            raise MemoryUnavailable(self.where, error) from None


class _SqliteSaver(Forgiving, AsyncSqliteSaver):
    failures = (sqlite3.Error, OSError)


@dataclass(frozen=True)
class _Sqlite:
    saver: _SqliteSaver
    path: Path

    @property
    def problems(self) -> dict[str, str]:
        return self.saver.problems

    async def ids(self) -> list[str]:
        async with self.saver.lock:
            with self._translated():
                rows = await self.saver.conn.execute_fetchall(LATEST_FIRST)
        return [row[0] for row in rows]

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise MemoryUnavailable(str(self.path), error) from None

    async def prune(self, keep_last: int) -> int:
        old = f"""SELECT thread_id, checkpoint_ns, checkpoint_id FROM (
                    SELECT *, ROW_NUMBER() OVER (PARTITION BY thread_id, checkpoint_ns
                      ORDER BY checkpoint_id DESC) AS place FROM checkpoints)
                  WHERE place > {int(keep_last)}"""  # noqa: S608
        key = "(thread_id, checkpoint_ns, checkpoint_id)"
        connection = self.saver.conn
        async with self.saver.lock:
            with self._translated():
                await connection.execute(f"DELETE FROM writes WHERE {key} IN ({old})")  # noqa: S608
                deleted = await connection.execute(
                    f"DELETE FROM checkpoints WHERE {key} IN ({old})"  # noqa: S608
                )
                await connection.commit()
                await connection.execute("VACUUM")
        await self.shred()
        return deleted.rowcount

    async def shred(self) -> None:
        async with self.saver.lock:
            with self._translated():
                await self.saver.conn.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")

    @contextmanager
    def alone(self, thread: str) -> Iterator[None]:
        from filelock import FileLock, Timeout

        folder = self.path.parent / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{sha256(thread.encode()).hexdigest()[:32]}.lock"
        lock = FileLock(folder / name, thread_local=False)  # a server may let go elsewhere
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise ThreadError(BUSY.format(thread)) from None
        try:
            yield
        finally:
            lock.release()


@asynccontextmanager
async def open_threads() -> AsyncIterator[Threads]:
    """The user's threads: SQLite in the data folder, or the Postgres of SWARM_BRAIN_DATABASE_URL.

    Raises MemoryUnavailable if they cannot be written.
    """
    if url := variable("SWARM_BRAIN_DATABASE_URL"):
        check_postgres()
        from swarm_brain.threads.postgres import open_postgres

        async with open_postgres(url) as threads:
            yield threads
        return
    path = data_folder() / FILE
    async with _open_sqlite(path) as threads:
        yield threads


@asynccontextmanager
async def _open_sqlite(path: Path) -> AsyncIterator[Threads]:
    try:
        await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
        connection = await aiosqlite.connect(path, timeout=BUSY_SECONDS)
    except (sqlite3.Error, OSError) as error:
        raise MemoryUnavailable(str(path), error) from None
    try:
        saver = _SqliteSaver(connection, serde=Compressed())
        saver.where = str(path)
        try:
            await saver.setup()
            await connection.execute("PRAGMA secure_delete=ON")
            await connection.execute("PRAGMA synchronous=NORMAL")  # as in database/transactions.py
            await connection.execute("BEGIN IMMEDIATE")  # a file that is only read fails here
            await connection.rollback()
        except (sqlite3.Error, OSError) as error:
            raise MemoryUnavailable(str(path), error) from None
        yield _Sqlite(saver, path)
    finally:
        await connection.close()
