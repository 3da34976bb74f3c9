"""A session: saved threads, memories, and brains that use both."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.base import BaseStore
from rich.console import Console

from swarm_brain.cli.terminal.text import printable
from swarm_brain.graph.brain import Brain, compile_brain
from swarm_brain.graph.errors import MemoryUnavailable
from swarm_brain.graph.topology import Topology
from swarm_brain.memory import background
from swarm_brain.memory.opening import close_store, open_store
from swarm_brain.threads.opening import open_threads
from swarm_brain.threads.saver import Threads


@dataclass
class Session:
    """Open threads and memories; each is None if unused or unavailable."""

    err: Console
    threads: Threads | None = None
    store: BaseStore | None = None

    def brain(self, topology: Topology) -> Brain:
        """Return a brain that saves its threads, on disk if the session has them."""
        saver = self.threads or InMemorySaver()
        return compile_brain(topology, checkpointer=saver, store=self.store)

    def require_threads(self) -> Threads:
        """Return the saved threads of a session that was opened with `needed=True`."""
        assert self.threads  # noqa: S101  else opening it has failed
        return self.threads

    def note(self, text: str) -> None:
        """Print a remark that the user should see."""
        self.err.print(printable(text), style="yellow", markup=False, soft_wrap=True)


@asynccontextmanager
async def session(
    err: Console, *, save: bool = True, needed: bool = False
) -> AsyncIterator[Session]:
    """Open threads and memories. Whatever cannot be opened is reported and skipped.

    Without `needed` threads it raises MemoryUnavailable instead. At the end it waits for running
    consolidations.
    """
    opened = Session(err)
    async with AsyncExitStack() as stack:
        if save:
            try:
                opened.threads = await stack.enter_async_context(open_threads())
                opened.store = await asyncio.to_thread(open_store)
                stack.callback(close_store, opened.store)
            except MemoryUnavailable as error:
                if needed and not opened.threads:
                    raise
                if opened.threads:
                    effect = "memories cannot be used", "the answer will not be remembered"
                else:
                    effect = "threads and memories cannot be used", "the answer will not be saved"
                opened.note(f"{effect[0]}: {error}; {effect[1]}")
        yield opened
        await background.settled()
        for problem in opened.threads.problems.values() if opened.threads else ():
            opened.note(f"the thread was not saved completely and cannot be resumed: {problem}")


def new_thread() -> str:
    """Return a new thread id."""
    return uuid.uuid4().hex[:12]
