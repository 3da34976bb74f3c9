"""The common parts of all stores of threads: compression and error handling."""

from __future__ import annotations

import zlib
from abc import abstractmethod
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from swarm_brain.graph.errors import MemoryUnavailable
from swarm_brain.threads.checkpoints import IndexEntry

BUSY = "The thread {} is running in another process."
LATEST_FIRST = """SELECT thread_id FROM checkpoints
                    GROUP BY thread_id ORDER BY MAX(checkpoint_id) DESC"""

MIN_COMPRESSED = 512  # bytes; shorter values are stored as they are
COMPRESSED = ".z"  # follows the type of a compressed value


class CompressedSerializer(JsonPlusSerializer):
    """LangGraph's serializer with zlib, since checkpoints repeat many words."""

    def dumps_typed(self, obj: object) -> tuple[str, bytes]:
        """Return the type and the bytes of a value."""
        kind, data = super().dumps_typed(obj)
        if len(data) < MIN_COMPRESSED:
            return kind, data
        return kind + COMPRESSED, zlib.compress(data)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:  # any value that a channel holds
        """Return the value of serialised bytes. Raises MemoryUnavailable if damaged."""
        kind, content = data
        try:
            if kind.endswith(COMPRESSED):
                kind, content = kind.removesuffix(COMPRESSED), zlib.decompress(content)
            return super().loads_typed((kind, content))
        except (zlib.error, ValueError) as error:
            raise MemoryUnavailable("a saved thread", error) from None


class Threads(BaseCheckpointSaver[str]):
    """A checkpointer that gives up saving a thread instead of failing its run.

    The answer of a run matters more than the chance to resume it, so `problems` records the
    failure by thread; remove the entry to save that thread again. Reading and deleting raise
    MemoryUnavailable. Subclasses inherit from one of LangGraph's checkpointers as well.
    """

    failures: tuple[type[Exception], ...] = (OSError,)
    where: str
    problems: dict[str, str]  # LangGraph copies checkpointers; the copies share it

    @abstractmethod
    async def ids(self) -> list[str]:
        """Return the ids of all threads, the latest first."""

    @abstractmethod
    async def index(self, threads: Sequence[str]) -> list[tuple[str, IndexEntry]]:
        """Return (thread, entry) for every checkpoint, without decoding any."""

    @abstractmethod
    async def keep_last(self, number: int) -> int:
        """Delete all but the last checkpoints of each thread; return the count."""

    @abstractmethod
    async def shred(self) -> None:
        """Overwrite deleted data, as far as the database allows it."""

    @abstractmethod
    def alone(self, thread: str) -> AbstractContextManager[None]:
        """Lock this thread against other processes. Raises ThreadError if it is locked."""

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Save a checkpoint, unless an earlier save of this thread has failed."""
        if (thread := config["configurable"]["thread_id"]) not in self.problems:
            try:
                return await super().aput(config, checkpoint, metadata, new_versions)
            except self.failures as error:
                self._give_up(thread, error)
        return {"configurable": {**config["configurable"], "checkpoint_id": checkpoint["id"]}}

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],  # as LangGraph states it: any value of a channel
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Save one node's writes, unless an earlier save of this thread has failed."""
        if (thread := config["configurable"]["thread_id"]) not in self.problems:
            try:
                await super().aput_writes(config, writes, task_id, task_path)
            except self.failures as error:
                self._give_up(thread, error)

    def _give_up(self, thread: str, error: Exception) -> None:
        self.problems[thread] = " ".join(str(error).split()) or type(error).__name__

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return the checkpoint named in the config, or the thread's latest."""
        with self._translated():
            return await super().aget_tuple(config)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Yield saved checkpoints, the latest first."""
        with self._translated():
            async for saved in super().alist(config, filter=filter, before=before, limit=limit):
                yield saved

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete a thread's checkpoints."""
        with self._translated():
            await super().adelete_thread(thread_id)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except self.failures as error:
            raise MemoryUnavailable(self.where, error) from None
