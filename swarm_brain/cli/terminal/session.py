"""What a command works with: saved threads, memories, and brains that use both."""

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
    """`threads` or `store` are None where nothing is kept, or nothing can be."""

    err: Console
    threads: Threads | None = None
    store: BaseStore | None = None

    def brain(self, topology: Topology) -> Brain:
        """A brain that saves its threads; without a place for them only as long as it lives."""
        saver = self.threads or InMemorySaver()
        return compile_brain(topology, checkpointer=saver, store=self.store)

    def must(self) -> Threads:
        """The saved threads, for commands that are about them."""
        assert self.threads  # noqa: S101  `session(needed=True)` opened them
        return self.threads

    def note(self, text: str) -> None:
        """Tell what does not work as it should, on standard error."""
        self.err.print(printable(text), style="yellow", markup=False, soft_wrap=True)


@asynccontextmanager
async def session(
    err: Console, *, save: bool = True, needed: bool = False
) -> AsyncIterator[Session]:
    """Open what is kept. What cannot be opened is told, and done without; `needed` threads raise.

    At the end, consolidations that were begun are waited for.
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
                what = (
                    ("memories", "remembered")
                    if opened.threads
                    else ("threads and memories", "kept")
                )
                opened.note(f"{what[0]} cannot be used: {error}; the answer will not be {what[1]}")
        yield opened
        await background.settled()
        for problem in opened.threads.problems.values() if opened.threads else ():
            opened.note(f"the thread is not saved to its end and cannot be resumed: {problem}")


def new_thread() -> str:
    """A thread id that nobody has used."""
    return uuid.uuid4().hex[:12]
