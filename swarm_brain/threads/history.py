"""What happened in a thread: its runs, superstep by superstep. Read from checkpoints, as data."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from langgraph.types import StateSnapshot
from typing_extensions import TypedDict

from swarm_brain.graph import propagation
from swarm_brain.graph.brain import Brain
from swarm_brain.graph.errors import BrainError, ThreadError
from swarm_brain.graph.events import Entered, Reached
from swarm_brain.graph.state import BEGIN, RESULT_KEYS, BrainState, Signal, Usage, Waking
from swarm_brain.graph.topology import Topology, load
from swarm_brain.nodes.finish import usage
from swarm_brain.nodes.settings import run_context
from swarm_brain.nodes.signal import PREVENTED
from swarm_brain.version import __version__

BEFORE_ALL = {BEGIN, "__start__"}


class Said(TypedDict):
    """One expert in one superstep; `edges` is None where the topology is no longer what it was."""

    expert: str
    status: str
    salience: float
    verdict: str | None
    edges: list[Reached] | None
    woken_by: list[Waking]
    content: str
    model: str
    tokens: int | None
    cost_usd: float | None
    latency_s: float
    human: str | None
    error: str | None


class Superstep(TypedDict):
    """One wave: its number, its experts, and whose signals of it entered the workspace."""

    step: int
    experts: list[Said]
    entered: list[Entered]


class Run(TypedDict):
    """One question of a thread; `result` is None while it is unfinished."""

    run_id: str
    question: str
    date: str
    topology: str
    steps: list[Superstep]
    result: dict[str, Any] | None
    usage: Usage
    next: list[str]
    paused: list[dict[str, Any]]


def config_of(thread: str | None) -> Any:
    """The LangGraph config of a thread; None where a server keeps none."""
    return {"configurable": {"thread_id": thread}}


async def latest(brain: Brain, thread: str) -> StateSnapshot:
    """A thread's last state that belongs to a run. Raises ThreadError if there is none."""
    async for snapshot in snapshots(brain, thread):
        return snapshot
    raise ThreadError(f"There is no thread {thread}. `swarm-brain threads list` shows them.")


def unfinished(snapshot: StateSnapshot) -> bool:
    """Whether a run stands still in the middle; one that has not begun yet has lost nothing."""
    return bool(set(snapshot.next) - BEFORE_ALL)


def failure(snapshot: StateSnapshot) -> str | None:
    """Why a run cannot go on: it was told to be strict, and an expert has failed."""
    if snapshot.values["settings"]["on_error"] != "raise":
        return None
    signals = snapshot.values.get("signals", [])
    return next((s["error"] for s in signals if s["error"] and s["failure"] not in PREVENTED), None)


def topology_of(snapshot: StateSnapshot) -> Topology:
    """The topology of a saved run. Raises ThreadError if it is no longer what it was."""
    begun = snapshot.values["topology"]
    found = load(begun["name"])
    if found.hash != begun["hash"]:
        raise ThreadError(
            f"The thread was begun with the topology {begun['name']} ({begun['hash'][:8]}), which "
            f"has changed ({found.hash[:8]}) and cannot go on with it. Restore the file, or ask "
            "again."
        )
    return found


async def runs(brain: Brain, thread: str) -> list[Run]:
    """The runs of a thread, the first one first."""
    return [run(snapshot) for snapshot in await _last_states(brain, thread)]


async def run_of(brain: Brain, thread: str, number: int | None) -> tuple[Run, Topology]:
    """A run of a thread, counted from 1, or the last one; and the topology it ran on.

    Raises ThreadError if there is no such run, or its topology has changed.
    """
    states = await _last_states(brain, thread)
    if not 1 <= (number or len(states)) <= len(states):
        raise ThreadError(f"The thread {thread} has {len(states)} runs; there is no run {number}.")
    state = states[(number or len(states)) - 1]
    return run(state), topology_of(state)


async def _last_states(brain: Brain, thread: str) -> list[StateSnapshot]:
    """The last state of each run of a thread, the first run's first."""
    found: dict[str, StateSnapshot] = {}
    async for snapshot in snapshots(brain, thread):
        found.setdefault(snapshot.values["run_id"], snapshot)
    return list(reversed(found.values()))


async def snapshots(brain: Brain, thread: str) -> AsyncIterator[StateSnapshot]:
    """The states of a thread that belong to a run, the latest first.

    Until a run has begun, the thread's state is still that of the run before it.
    """
    async for snapshot in brain.aget_state_history(config_of(thread)):
        if snapshot.values.get("run_id") and not set(snapshot.next) & BEFORE_ALL:
            yield snapshot


def run(snapshot: StateSnapshot) -> Run:
    """A run as its last state shows it. What finished siblings wrote before a crash is in it.

    Raises ThreadError if another version has saved it in another form.
    """
    try:
        return _run(snapshot)
    except KeyError as missing:
        version = snapshot.values.get("version")
        raise ThreadError(
            f"The thread was saved by version {version} of swarm-brain; this one, {__version__}, "
            f"does not find {missing} in it."
        ) from None


def _run(snapshot: StateSnapshot) -> Run:
    state, signals = snapshot.values, list(snapshot.values.get("signals") or [])
    told = {(signal["source"], signal["step"]) for signal in signals}
    for task in snapshot.tasks:
        written = (task.result or {}).get("signals") or [] if isinstance(task.result, dict) else []
        signals += [s for s in written if (s["source"], s["step"]) not in told]
    finished = not snapshot.next
    return {
        "run_id": state["run_id"],
        "question": state["query"],
        "date": snapshot.created_at or "",
        "topology": state["topology"]["name"],
        "steps": supersteps(state, signals),
        "result": result(state) if finished else None,
        "usage": usage(signals),
        "next": list(snapshot.next),
        "paused": [
            {"id": pause.id, **pause.value} for task in snapshot.tasks for pause in task.interrupts
        ],
    }


def supersteps(state: BrainState | dict[str, Any], signals: Sequence[Signal]) -> list[Superstep]:
    """Signals by their steps."""
    edges = _edges(state, signals)
    broadcasts = state["workspace"]["broadcasts"]
    return [
        {
            "step": step,
            "experts": [_said(s, edges) for s in signals if s["step"] == step],
            "entered": [
                {"source": entry["source"], "salience": entry["salience"]}
                for entry in broadcasts
                if entry["step"] == step
            ],
        }
        for step in sorted({signal["step"] for signal in signals})
    ]


Edges = Mapping[tuple[str, int], list[Reached]]


def _edges(state: BrainState | dict[str, Any], signals: Sequence[Signal]) -> Edges:
    """What became of each expert's edges, as it was told while the run went."""
    try:
        topology, context = load(state["topology"]["name"]), run_context(state)  # type: ignore[arg-type]
    except BrainError:  # its file is gone
        return {}
    if topology.hash != state["topology"]["hash"]:
        return {}
    return {
        (signal["source"], signal["step"]): propagation.edges(
            topology,
            signal,
            [other for other in signals if other["step"] <= signal["step"]],
            state["effort"],
            context,
        )
        for signal in signals
    }


def _said(signal: Signal, edges: Edges) -> Said:
    known = signal["input_tokens"] is not None and signal["output_tokens"] is not None
    return {
        "expert": signal["source"],
        "status": signal["status"],
        "salience": signal["salience"],
        "verdict": signal["verdict"],
        "edges": edges.get((signal["source"], signal["step"])),
        "woken_by": signal["woken_by"],
        "content": signal["content"],
        "model": signal["model"],
        "tokens": (signal["input_tokens"] or 0) + (signal["output_tokens"] or 0) if known else None,
        "cost_usd": signal["cost_usd"],
        "latency_s": signal["latency_s"],
        "human": signal["human"],
        "error": signal["error"],
    }


def result(state: BrainState | dict[str, Any]) -> dict[str, Any]:
    """What `ask --json` prints, from a finished run's state."""
    return {key: state[key] for key in RESULT_KEYS}  # type: ignore[literal-required]
