"""The runs of a server: each question is a stream of events.

Stand-alone and mounted routes work alike: a compiled brain runs in this process, with the threads
and memories of the command line. An owner's threads are saved as `NAME:ID`. The local user's have
no prefix, so the command line and the server share them.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field

from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphDrained
from langgraph.store.base import BaseStore
from langgraph.types import Command
from pydantic import JsonValue

from swarm_brain.graph.brain import Brain, compile_brain
from swarm_brain.graph.context import Context
from swarm_brain.graph.errors import MemoryUnavailable, ThreadError
from swarm_brain.graph.events import Event
from swarm_brain.graph.loading import load
from swarm_brain.graph.topology import Topology
from swarm_brain.memory import background
from swarm_brain.memory.opening import close_store, open_store
from swarm_brain.runs.fork import fork
from swarm_brain.runs.live import Start, events, pumped
from swarm_brain.runs.replay import replay
from swarm_brain.runs.resume import decided, free, is_paused, resumable
from swarm_brain.server.admission import admit
from swarm_brain.server.api_keys import Owner
from swarm_brain.server.problems import Problem
from swarm_brain.server.question import Question, ServedRun, no_thread, private_id, stopping
from swarm_brain.threads import history
from swarm_brain.threads.checkpoints import SavedState, latest
from swarm_brain.threads.opening import open_threads
from swarm_brain.threads.saver import Threads

log = logging.getLogger(__name__)

DRAIN_SECONDS = 5.0  # for the step that runs when a stop can wait no longer
NOT_SAVED = "This server saves no threads: their database cannot be used."


@dataclass
class Runs:
    """All runs of this process; `threads` and `store` are None if unavailable."""

    threads: Threads | None = None
    store: BaseStore | None = None
    draining: bool = False
    _running: dict[uuid.UUID, tuple[ServedRun, asyncio.Task[object] | None]] = field(
        default_factory=dict
    )
    _brains: dict[tuple[str, bool], Brain] = field(default_factory=dict)

    def ask(self, owner: Owner, question: Question) -> AsyncGenerator[Event]:
        """Run a question. Errors in it are raised before the second event.

        Raises Problem or BrainError.
        """
        return pumped(self._ask(owner, question))

    def resume(
        self,
        owner: Owner,
        thread: str,
        budgets: Context,
        decision: JsonValue = None,
        *,
        pause: str | None = None,
        with_past: bool = False,
    ) -> AsyncGenerator[Event]:
        """Continue an unfinished run; `decision` answers its pauses.

        `pause` limits the decision to one pause. `with_past` first reports the run's earlier
        events. Raises as `ask` does.
        """
        return pumped(self._resume(owner, thread, budgets, decision, pause, with_past))

    def fork(
        self,
        owner: Owner,
        thread: str,
        step: int,
        edits: Mapping[str, str],
        *,
        with_past: bool = False,
    ) -> AsyncGenerator[Event]:
        """Continue from a past step with other words. Raises as `ask` does."""
        return pumped(self._fork(owner, thread, step, edits, with_past))

    async def _ask(self, owner: Owner, question: Question) -> AsyncGenerator[Event]:
        saved = question.save and self.threads is not None
        if question.thread and not saved:
            raise Problem(503 if question.save else 400, NOT_SAVED, param="thread", code="thread")
        thread = (question.thread or uuid.uuid4().hex[:12]) if saved else None
        async with self._admitted(owner, thread) as run:
            brain = self._brain(load(question.topology), saved=saved)
            if question.thread:
                await free(brain, run.private or "", "its `resume`", called=question.thread)
            start = Start(question.input, run.config, thread, str(run.id))
            async for event in self._events(run, brain, start, question.context):
                yield event

    async def _resume(
        self,
        owner: Owner,
        thread: str,
        budgets: Context,
        decision: JsonValue,
        pause: str | None,
        with_past: bool,
    ) -> AsyncGenerator[Event]:
        async with self._admitted(owner, thread) as run:
            state = await self.latest(owner, thread)
            brain = self._brain(resumable(thread, state))
            command: Command[str] | None = None
            if is_paused(thread, state, decision):
                if decision is None:
                    raise ThreadError(f"The thread {thread} waits for a decision: give one.")
                command = Command(resume=dict.fromkeys(decided(state, pause), decision))
            past = await asyncio.to_thread(replay, state, thread) if with_past else ()
            start = Start(command, run.config, thread, str(run.id), past)
            async for event in self._events(run, brain, start, budgets):
                yield event

    async def _fork(
        self, owner: Owner, thread: str, step: int, edits: Mapping[str, str], with_past: bool
    ) -> AsyncGenerator[Event]:
        async with self._admitted(owner, thread) as run:
            topology = history.topology_of(await self.latest(owner, thread))
            brain = self._brain(topology)
            forked = await fork(brain, topology, run.private or "", step, edits)
            ids = {**forked["configurable"], **run.config["configurable"]}
            config: RunnableConfig = {**run.config, "configurable": ids}
            past: Sequence[Event] = ()
            if with_past:
                state = await self.latest(owner, thread)
                past = await asyncio.to_thread(replay, state, thread)
            start = Start(None, config, thread, str(run.id), past)
            async for event in self._events(run, brain, start, None):
                yield event

    async def _events(
        self, run: ServedRun, brain: Brain, start: Start, context: Context | None
    ) -> AsyncGenerator[Event]:
        """Yield a run's events; the result has a note if the thread was not saved."""
        async with aclosing(events(brain, start, context, run.control)) as reported:
            async for event in reported:
                if event["event"] == "finished":
                    event["result"]["notes"] = [*event["result"]["notes"], *self._unsaved(run)]
                yield event

    def _unsaved(self, run: ServedRun) -> list[str]:
        """Return a note if the thread could not be saved completely."""
        if run.private is None or not (problem := self.saved.problems.get(run.private)):
            return []
        return [f"the thread is not saved to its end and cannot be resumed: {problem}"]

    def cancel(self, owner: Owner, id: uuid.UUID) -> None:
        """End a run of this owner; its thread can be resumed. Raises Problem(404)."""
        run, task = self._running.get(id, (None, None))
        if run is None or run.owner.name != owner.name:
            raise Problem(404, f"There is no run {id} here.", code="run_not_found")
        if task is not None:
            task.cancel()

    async def drain(self, grace: float) -> None:
        """Admit no more runs, and give the others `grace` seconds to end.

        Then stop them after their current step, so that they can be resumed.
        """
        self.draining = True
        await self._emptied(grace)
        for run, _ in list(self._running.values()):
            run.control.request_drain("the server is stopping")
        await self._emptied(DRAIN_SECONDS)
        for _, task in list(self._running.values()):
            if task is not None:
                task.cancel()
        await background.settled()

    async def _emptied(self, seconds: float) -> None:
        tasks = [task for _, task in self._running.values() if task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)

    async def latest(self, owner: Owner, thread: str) -> SavedState:
        """Return a thread's last state. Raises Problem(404)."""
        try:
            return await latest(self.saved, private_id(owner, thread))
        except ThreadError:
            raise no_thread(thread) from None

    @property
    def saved(self) -> Threads:
        """The open threads. Raises Problem(503) if they are unavailable."""
        if self.threads is None:
            raise Problem(503, NOT_SAVED, type="server_error", code="threads_unavailable")
        return self.threads

    def _brain(self, topology: Topology, saved: bool = True) -> Brain:
        """Return the brain of a topology, compiled once to save milliseconds."""
        if (key := (topology.hash, saved)) not in self._brains:
            saver = self.threads if saved else None
            self._brains[key] = compile_brain(topology, checkpointer=saver, store=self.store)
        return self._brains[key]

    @asynccontextmanager
    async def _admitted(self, owner: Owner, thread: str | None) -> AsyncIterator[ServedRun]:
        """Hold a run's slot, lock its thread, and register it for `cancel` and `drain`."""
        if self.draining:
            raise stopping()
        run = ServedRun(owner, thread, uuid.uuid4())
        async with admit(owner), self.alone(run.private):
            if self.draining:  # since this run waited for its place
                raise stopping()
            if run.private is not None:
                self.saved.problems.pop(run.private, None)
            self._running[run.id] = run, asyncio.current_task()
            try:
                yield run
            except GraphDrained:
                raise stopping(thread) from None
            finally:
                del self._running[run.id]

    @asynccontextmanager
    async def alone(self, private: str | None) -> AsyncIterator[None]:
        """Lock a thread against other runs, in this process or another."""
        if private is None:
            yield
            return
        lock = self.saved.alone(private)
        try:
            await asyncio.to_thread(lock.__enter__)  # it may block
        except ThreadError:  # its message has the private id
            raise ThreadError("Another run is under way in this thread.") from None
        try:
            yield
        finally:
            await asyncio.shield(asyncio.to_thread(lock.__exit__, None, None, None))


@asynccontextmanager
async def opened() -> AsyncIterator[Runs]:
    """Open threads and memories. Whatever cannot be opened is logged and skipped."""
    runs = Runs()
    async with AsyncExitStack() as stack:
        try:
            runs.threads = await stack.enter_async_context(open_threads())
            runs.store = await asyncio.to_thread(open_store)
            stack.callback(close_store, runs.store)
        except MemoryUnavailable as error:
            lost = "memories" if runs.threads else "threads and memories"
            log.warning("%s cannot be used: %s", lost, error)
        yield runs
