"""Read runs from checkpoints, decoding only those that are needed.

A thread's checkpoints form a tree. A question begins with a checkpoint of the source `input`, a
fork with one of the source `update`, and all others continue their parent; so the last checkpoint
of each run is known from the index alone, and only that one is decoded.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple, Protocol, cast, runtime_checkable

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, Checkpoint, CheckpointTuple
from langgraph.constants import START
from langgraph.types import Interrupt

from swarm_brain.graph.brain import Brain
from swarm_brain.graph.errors import MemoryUnavailable, ThreadError
from swarm_brain.graph.events import Pause
from swarm_brain.graph.signal import Signal
from swarm_brain.graph.state import BEGIN, BrainState

Saver = BaseCheckpointSaver[str]
INTERRUPT = "__interrupt__"
NOT_BEGUN = {START, BEGIN}  # until `begin` has run, the state is still that of the run before
TRIGGER = "branch:to:"  # LangGraph's name of the channel that wakes a node, before the node's own


class IndexEntry(NamedTuple):
    """One checkpoint in a thread's index, with LangGraph's metadata."""

    id: str
    parent: str | None
    source: str
    step: int


@dataclass(frozen=True)
class SavedState:
    """The state of a run at one checkpoint.

    `next` names the nodes that have not run yet, `pauses` their pending decisions. `signals`
    includes those that an unfinished step had written when the process ended.
    """

    config: RunnableConfig
    parent: RunnableConfig | None
    values: BrainState
    date: str
    next: tuple[str, ...]
    pauses: tuple[Interrupt, ...]
    signals: tuple[Signal, ...]

    @property
    def paused(self) -> list[Pause]:
        """The pending decisions, as data."""
        return [cast(Pause, {"id": pause.id, **pause.value}) for pause in self.pauses]

    @property
    def started(self) -> bool:
        """Whether `begin` has read the question; before, the values are an older run's."""
        return "run_id" in self.values and not NOT_BEGUN & set(self.next)


@runtime_checkable
class _Indexed(Protocol):
    """A checkpointer that can list its checkpoints without decoding them."""

    async def index(self, threads: Sequence[str]) -> list[tuple[str, IndexEntry]]: ...


def config_of(thread: str | None) -> RunnableConfig:
    """Return the LangGraph config of a thread; None if threads are not saved."""
    return {"configurable": {"thread_id": thread}}


def saver_of(brain: Brain) -> Saver:
    """Return the checkpointer of a compiled brain."""
    assert isinstance(brain.checkpointer, BaseCheckpointSaver)  # noqa: S101  our callers set one
    return brain.checkpointer


async def latest(saver: Saver, thread: str) -> SavedState:
    """Return a thread's last state that belongs to a run. Raises ThreadError."""
    state = await _read(saver, config_of(thread))
    while state and not state.started:
        state = await _read(saver, state.parent)
    if state is None:
        raise ThreadError(f"There is no thread {thread}. `swarm-brain threads list` shows them.")
    return state


async def last_states(saver: Saver, thread: str) -> list[SavedState]:
    """Return the last state of each run of a thread, the first run's first."""
    entries = (await _index(saver, [thread])).get(thread, [])
    runs: dict[str, SavedState] = {}
    for end in reversed(_ends(entries)):
        state = await _read(saver, {"configurable": {"thread_id": thread, **_at(end.id)}})
        if state and state.started:
            runs.setdefault(state.values["run_id"], state)
    return list(reversed(runs.values()))


async def count_runs(saver: Saver, threads: Sequence[str]) -> dict[str, int]:
    """Return the number of runs of each thread, decoding only forked ones."""
    index, counts = await _index(saver, threads), {}
    ends_of = await asyncio.to_thread(lambda: {name: _ends(index[name]) for name in index})
    for thread in threads:
        ends = ends_of.get(thread, [])
        counts[thread] = len(ends)
        if not all(end.certain for end in ends):
            with suppress(MemoryUnavailable):  # one damaged thread must not hide the others
                counts[thread] = len(await last_states(saver, thread))
    return counts


async def ancestors(saver: Saver, state: SavedState) -> AsyncIterator[SavedState]:
    """Yield the earlier states of a run, latest first, into a fork's original."""
    while (parent := await _read(saver, state.parent)) and parent.started:
        yield parent
        state = parent


async def _read(saver: Saver, config: RunnableConfig | None) -> SavedState | None:
    saved = await saver.aget_tuple(config) if config else None
    return saved_state(saved) if saved else None


async def _index(saver: Saver, threads: Sequence[str]) -> dict[str, list[IndexEntry]]:
    """Return the entries of each thread that has checkpoints, the oldest first."""
    entries: dict[str, list[IndexEntry]] = {}
    if isinstance(saver, _Indexed):
        for thread, entry in await saver.index(threads):
            entries.setdefault(thread, []).append(entry)
        return entries
    for thread in threads:  # a checkpointer of LangGraph's own
        config: RunnableConfig = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
        entries[thread] = [_entry(saved) async for saved in saver.alist(config)][::-1]
    return entries


def _entry(saved: CheckpointTuple) -> IndexEntry:
    config, metadata = saved.parent_config, saved.metadata
    parent = config["configurable"]["checkpoint_id"] if config else None
    return IndexEntry(saved.checkpoint["id"], parent, metadata["source"], metadata["step"])


def _at(checkpoint_id: str) -> dict[str, str]:
    return {"checkpoint_ns": "", "checkpoint_id": checkpoint_id}


class _End(NamedTuple):
    """The last checkpoint of a possible run; `certain` if it need not be decoded."""

    id: str
    certain: bool


def _ends(entries: Sequence[IndexEntry]) -> list[_End]:
    """Return the last checkpoint of each run, the oldest first. Pure.

    A run grows by steps of one from its parent. A gap means that a state was edited or that only
    the end of a run was saved; then a new run may begin.
    """
    steps = {entry.id: entry.step for entry in entries}
    first_of: dict[str, IndexEntry] = {}  # by checkpoint: the one that its run begins with
    members: dict[IndexEntry, list[str]] = {}
    for entry in entries:
        continues = entry.source == "loop" and steps.get(entry.parent or "") == entry.step - 1
        first = first_of[entry.parent or ""] if continues else entry
        first_of[entry.id] = first
        members.setdefault(first, []).append(entry.id)
    ends = []
    for first, ids in members.items():
        begins = first.source == "input" or first.parent not in steps  # a pruned thread's first
        if len(ids) >= len(NOT_BEGUN) + 1 or first.source != "input":
            ends.append(_End(ids[-1], begins and len(ids) > len(NOT_BEGUN)))
    return sorted(ends)


def saved_state(saved: CheckpointTuple) -> SavedState:
    """Return the state that a checkpoint holds."""
    values = saved.checkpoint["channel_values"]
    state = {name: values[name] for name in BrainState.__annotations__ if name in values}
    return SavedState(
        saved.config,
        saved.parent_config,
        cast("BrainState", state),
        saved.checkpoint["ts"],
        _next(saved.checkpoint),
        _pauses(saved),
        _signals(values.get("signals") or [], cast("list[Signal]", _written(saved, "signals"))),
    )


def _next(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return the nodes to run next by LangGraph's rule: an unseen trigger."""
    values, seen, ready = checkpoint["channel_values"], checkpoint["versions_seen"], []
    for channel, version in checkpoint["channel_versions"].items():
        node = channel if channel == START else channel.removeprefix(TRIGGER)
        if channel not in values or (node == channel and node != START):
            continue
        waits = isinstance(values[channel], tuple | list) and not values[channel][1]
        known = seen.get(node, {}).get(channel)
        if not waits and (known is None or version > known):  # type: ignore[operator]  # one type in a thread
            ready.append(node)
    return tuple(sorted(ready))


def _pauses(saved: CheckpointTuple) -> tuple[Interrupt, ...]:
    """Return the open pauses of the unfinished step."""
    writes = saved.pending_writes or []
    ended = {task for task, name, _ in writes if name == "signals"}
    waiting = [pauses for task, name, pauses in writes if name == INTERRUPT and task not in ended]
    return tuple(cast("Interrupt", pause) for pauses in waiting for pause in pauses)


def _written(saved: CheckpointTuple, channel: str) -> list[object]:
    """Return the values that the unfinished step has written to a list channel."""
    writes = saved.pending_writes or []
    return [item for _, name, items in writes if name == channel for item in items or ()]


def _signals(saved: Sequence[Signal], written: Sequence[Signal]) -> tuple[Signal, ...]:
    """Return the state's signals, then the unfinished step's by expert."""
    known = {(signal["source"], signal["step"]) for signal in saved}
    new = [signal for signal in written if (signal["source"], signal["step"]) not in known]
    return (*saved, *sorted(new, key=lambda signal: signal["source"]))
