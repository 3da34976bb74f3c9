"""Runs of a server: a question as a stream of events, each owner's threads their own.

The same whether the routes stand alone or are mounted into a LangGraph server: a compiled brain in
this process, with the threads and memories that the command line uses, too. An owner's threads are
kept as `NAME:ID`; those of the local user have no prefix, so that both ways show the same.
"""

from __future__ import annotations

import asyncio
import logging
import re
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field

from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphDrained
from langgraph.runtime import RunControl
from langgraph.store.base import BaseStore
from langgraph.types import Command
from pydantic import JsonValue

from swarm_brain.graph.brain import Brain, compile_brain
from swarm_brain.graph.context import Context
from swarm_brain.graph.errors import MemoryUnavailable, ThreadError
from swarm_brain.graph.events import Event
from swarm_brain.graph.loading import load
from swarm_brain.graph.state import BrainInput
from swarm_brain.graph.topology import Topology
from swarm_brain.memory import background
from swarm_brain.memory.opening import close_store, open_store
from swarm_brain.runs.fork import fork
from swarm_brain.runs.live import Start, events, pumped
from swarm_brain.runs.replay import replay
from swarm_brain.runs.resume import free, is_paused, resumable
from swarm_brain.server.admission import admit
from swarm_brain.server.api_keys import Owner
from swarm_brain.server.problems import Problem
from swarm_brain.threads import history
from swarm_brain.threads.checkpoints import SavedState, latest
from swarm_brain.threads.opening import open_threads
from swarm_brain.threads.saver import Threads

log = logging.getLogger(__name__)

THREAD_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
DRAIN_SECONDS = 5.0  # for the wave that is running when a stop can wait no longer
NOT_SAVED = "This server keeps no threads: their place cannot be used."


@dataclass(frozen=True)
class Question:
    """What is asked, and how. `thread` is a public id, None for a new one; without `save` the run
    leaves no thread."""

    input: BrainInput
    context: Context
    topology: str = "eight"
    thread: str | None = None
    save: bool = True


@dataclass(frozen=True)
class Place:
    """Where a run happens: whose it is, the thread's public id (None: not kept), its own id."""

    owner: Owner
    thread: str | None
    run: uuid.UUID
    control: RunControl = field(default_factory=RunControl)

    @property
    def private(self) -> str | None:
        """The thread's id as it is kept."""
        return None if self.thread is None else private_id(self.owner, self.thread)

    @property
    def config(self) -> RunnableConfig:
        """The LangGraph config of the run."""
        configurable: dict[str, object] = {}
        if self.private is not None:
            configurable["thread_id"] = self.private
        if self.owner.user is not None:
            configurable["langgraph_auth_user"] = self.owner.user
        return {"configurable": configurable, "run_id": self.run}


def private_id(owner: Owner, thread: str) -> str:
    """A thread's id as it is kept. Raises Problem(400) for what is no id."""
    if not THREAD_ID.fullmatch(thread):
        raise Problem(
            400, "A thread's id has 1 to 64 letters, digits, - or _.", param="thread", code="thread"
        )
    return thread if owner.name is None else f"{owner.name}:{thread}"


@dataclass
class Runs:
    """All runs of this process. `threads` or `store` are None where nothing can be kept."""

    threads: Threads | None = None
    store: BaseStore | None = None
    draining: bool = False
    _places: dict[uuid.UUID, tuple[Place, asyncio.Task[None] | None]] = field(default_factory=dict)
    _brains: dict[tuple[str, bool], Brain] = field(default_factory=dict)

    def ask(self, owner: Owner, question: Question) -> AsyncGenerator[Event]:
        """Run a question. What is wrong with it is raised before the second event.

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
        with_past: bool = False,
    ) -> AsyncGenerator[Event]:
        """Continue an unfinished run; `decision` answers its pauses. Raises as `ask` does.

        `with_past` reports first what the run has done so far.
        """
        return pumped(self._resume(owner, thread, budgets, decision, with_past))

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
        async with self._place(owner, thread) as place:
            brain = self._brain(load(question.topology), saved=saved)
            if question.thread:
                await free(brain, place.private or "", "its `resume`", called=question.thread)
            start = Start(question.input, place.config, thread, str(place.run))
            async for event in self._events(place, brain, start, question.context):
                yield event

    async def _resume(
        self, owner: Owner, thread: str, budgets: Context, decision: JsonValue, with_past: bool
    ) -> AsyncGenerator[Event]:
        async with self._place(owner, thread) as place:
            state = await self.latest(owner, thread)
            brain = self._brain(resumable(thread, state))
            command: Command[str] | None = None
            if is_paused(thread, state, decision):
                if decision is None:
                    raise ThreadError(f"The thread {thread} waits for a decision: give one.")
                command = Command(resume={pause.id: decision for pause in state.pauses})
            past = await asyncio.to_thread(replay, state, thread) if with_past else ()
            start = Start(command, place.config, thread, str(place.run), past)
            async for event in self._events(place, brain, start, budgets):
                yield event

    async def _fork(
        self, owner: Owner, thread: str, step: int, edits: Mapping[str, str], with_past: bool
    ) -> AsyncGenerator[Event]:
        async with self._place(owner, thread) as place:
            topology = history.topology_of(await self.latest(owner, thread))
            brain = self._brain(topology)
            forked = await fork(brain, topology, place.private or "", step, edits)
            ids = {**forked["configurable"], **place.config["configurable"]}
            config: RunnableConfig = {**place.config, "configurable": ids}
            past: Sequence[Event] = ()
            if with_past:
                state = await self.latest(owner, thread)
                past = await asyncio.to_thread(replay, state, thread)
            start = Start(None, config, thread, str(place.run), past)
            async for event in self._events(place, brain, start, None):
                yield event

    async def _events(
        self, place: Place, brain: Brain, start: Start, context: Context | None
    ) -> AsyncGenerator[Event]:
        """Yield a run's events; its result says if the thread could not be saved."""
        async with aclosing(events(brain, start, context, place.control)) as run:
            async for event in run:
                if event["event"] == "finished":
                    event["result"]["notes"] = [*event["result"]["notes"], *self._unsaved(place)]
                yield event

    def _unsaved(self, place: Place) -> list[str]:
        """That the thread could not be saved, if that is so."""
        if place.private is None or not (why := self.kept.problems.get(place.private)):
            return []
        return [f"the thread is not saved to its end and cannot be resumed: {why}"]

    def cancel(self, owner: Owner, run: uuid.UUID) -> None:
        """End a run of this owner; its thread can be resumed. Raises Problem(404)."""
        place, task = self._places.get(run, (None, None))
        if place is None or place.owner.name != owner.name:
            raise Problem(404, f"There is no run {run} here.", code="run_not_found")
        if task is not None:
            task.cancel()

    async def drain(self, grace: float) -> None:
        """Take no more questions; let runs end, for `grace` seconds; then stop them at the end of
        their wave, where they can be resumed."""
        self.draining = True
        await self._emptied(grace)
        for place, _ in list(self._places.values()):
            place.control.request_drain("the server is stopping")
        await self._emptied(DRAIN_SECONDS)
        for _, task in list(self._places.values()):
            if task is not None:
                task.cancel()
        await background.settled()

    async def _emptied(self, seconds: float) -> None:
        tasks = [task for _, task in self._places.values() if task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)

    async def latest(self, owner: Owner, thread: str) -> SavedState:
        """Return a thread's last state. Raises Problem(404)."""
        try:
            return await latest(self.kept, private_id(owner, thread))
        except ThreadError:
            raise no_thread(thread) from None

    @property
    def kept(self) -> Threads:
        """The threads. Raises Problem(503) if there is no place for them."""
        if self.threads is None:
            raise Problem(503, NOT_SAVED, type="server_error", code="threads_unavailable")
        return self.threads

    def _brain(self, topology: Topology, saved: bool = True) -> Brain:
        """The compiled brain of a topology; compiling takes milliseconds, so it is done once."""
        if (key := (topology.hash, saved)) not in self._brains:
            saver = self.threads if saved else None
            self._brains[key] = compile_brain(topology, checkpointer=saver, store=self.store)
        return self._brains[key]

    @asynccontextmanager
    async def _place(self, owner: Owner, thread: str | None) -> AsyncIterator[Place]:
        """A place for a run: admitted, alone in its thread, known to whoever ends this process."""
        if self.draining:
            raise stopping()
        place = Place(owner, thread, uuid.uuid4())
        async with admit(owner), self.alone(place.private):
            if self.draining:  # begun while this one waited for its place
                raise stopping()
            if place.private is not None:
                self.kept.problems.pop(place.private, None)
            self._places[place.run] = place, asyncio.current_task()
            try:
                yield place
            except GraphDrained:
                raise stopping(thread) from None
            finally:
                del self._places[place.run]

    @asynccontextmanager
    async def alone(self, private: str | None) -> AsyncIterator[None]:
        """No other run in this thread, in this process or another. In threads: it may block."""
        if private is None:
            yield
            return
        lock = self.kept.alone(private)
        try:
            await asyncio.to_thread(lock.__enter__)
        except ThreadError:  # which names it as it is kept
            raise ThreadError("Another run is under way in this thread.") from None
        try:
            yield
        finally:
            await asyncio.shield(asyncio.to_thread(lock.__exit__, None, None, None))


def stopping(thread: str | None = None) -> Problem:
    """The server is on its way out."""
    told = "The server is stopping." + (f" The thread {thread} can be resumed." if thread else "")
    return Problem(503, told, type="server_error", code="draining", headers={"Retry-After": "5"})


def no_thread(thread: str) -> Problem:
    return Problem(404, f"There is no thread {thread}.", param="thread", code="thread_not_found")


@asynccontextmanager
async def opened() -> AsyncIterator[Runs]:
    """Runs with the user's threads and memories; without what cannot be opened, which is logged."""
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
