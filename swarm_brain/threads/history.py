"""Saved runs as data: what happened in each step, and one line of each thread for a list."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import cast

from typing_extensions import TypedDict

from swarm_brain.graph import propagation
from swarm_brain.graph.errors import BrainError, ThreadError
from swarm_brain.graph.events import Entered, Pause, Reached
from swarm_brain.graph.loading import load
from swarm_brain.graph.signal import Signal, Waking
from swarm_brain.graph.state import RESULT_KEYS, BrainState, Result, Usage
from swarm_brain.graph.topology import Topology
from swarm_brain.nodes.finish import usage
from swarm_brain.nodes.signal import PREVENTED
from swarm_brain.nodes.turn import run_context
from swarm_brain.threads.checkpoints import SavedState, Saver, last_states, latest
from swarm_brain.version import __version__


class ExpertStep(TypedDict):
    """What one expert did in one step; `edges` is None if the topology has changed since."""

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


class Step(TypedDict):
    """The experts that ran at once, and whose signals entered the workspace."""

    step: int
    experts: list[ExpertStep]
    entered: list[Entered]


class Run(TypedDict):
    """One question of a thread; `result` is None while it is unfinished."""

    run_id: str
    question: str
    date: str
    topology: str
    steps: list[Step]
    result: Result | None
    usage: Usage
    next: list[str]
    paused: list[Pause]


Edges = Mapping[tuple[str, int], list[Reached]]  # by expert and step


class Summary(TypedDict):
    """A thread in one line, as its last run shows it; `provenance` is None until it has ended."""

    question: str
    date: str
    provenance: str | None
    cost_usd: float | None
    unfinished: bool
    paused: bool


def failure(state: SavedState) -> str | None:
    """Return why a strict run cannot continue: the error of the expert that failed."""
    if state.values["settings"]["on_error"] != "raise":
        return None
    signals = state.values.get("signals", [])
    return next((s["error"] for s in signals if s["error"] and s["failure"] not in PREVENTED), None)


def topology_of(state: SavedState) -> Topology:
    """Return the topology of a saved run. Raises ThreadError if it has changed since."""
    saved = state.values["topology"]
    topology = load(saved["name"])
    if topology.hash != saved["hash"]:
        raise ThreadError(
            f"The thread was begun with the topology {saved['name']} ({saved['hash'][:8]}), which "
            f"has changed ({topology.hash[:8]}) and cannot go on with it. Restore the file, or ask "
            "again."
        )
    return topology


async def runs(saver: Saver, thread: str) -> list[Run]:
    """Return the runs of a thread, the first one first."""
    states = await last_states(saver, thread)
    return await asyncio.to_thread(lambda: [run(state) for state in states])


async def run_of(saver: Saver, thread: str, number: int | None) -> tuple[Run, Topology]:
    """Return a run of a thread, counted from 1, or the last one; and the topology it ran on.

    Raises ThreadError if there is no such run, or its topology has changed.
    """
    if number is None:
        state = await latest(saver, thread)
        return run(state), topology_of(state)
    states = await last_states(saver, thread)
    if not 1 <= number <= len(states):
        raise ThreadError(f"The thread {thread} has {len(states)} runs; there is no run {number}.")
    return run(states[number - 1]), topology_of(states[number - 1])


async def summary(saver: Saver, thread: str) -> Summary:
    """Return a thread in one line. Raises ThreadError if it has no run that can be read."""
    last = run(await latest(saver, thread), {})
    return {
        "question": last["question"],
        "date": last["date"],
        "provenance": last["result"]["provenance"] if last["result"] else None,
        "cost_usd": last["usage"]["cost_usd"],
        "unfinished": bool(last["next"]),
        "paused": bool(last["paused"]),
    }


def run(state: SavedState, edges: Edges | None = None) -> Run:
    """Return a run as its last state shows it; the edges are computed unless they are given.

    Raises ThreadError if another version has saved it in another form.
    """
    values = state.values
    with of_this_version(state):
        return {
            "run_id": values["run_id"],
            "question": values["query"],
            "date": state.date,
            "topology": values["topology"]["name"],
            "steps": _steps(state, edges),
            "result": None if state.next else result(values),
            "usage": usage(state.signals),
            "next": list(state.next),
            "paused": state.paused,
        }


@contextmanager
def of_this_version(state: SavedState) -> Iterator[None]:
    """Report a missing key as what it is: a thread that another version saved differently."""
    try:
        yield
    except KeyError as missing:
        version = state.values.get("version")
        raise ThreadError(
            f"The thread was saved by version {version} of swarm-brain; this one, {__version__}, "
            f"does not find {missing} in it."
        ) from None


def _steps(state: SavedState, edges: Edges | None) -> list[Step]:
    signals, broadcasts = state.signals, state.values["workspace"]["broadcasts"]
    if edges is None:
        edges = _edges(state.values, signals)
    return [
        {
            "step": step,
            "experts": [_expert_step(s, edges) for s in signals if s["step"] == step],
            "entered": [
                {"source": entry["source"], "salience": entry["salience"]}
                for entry in broadcasts
                if entry["step"] == step
            ],
        }
        for step in sorted({signal["step"] for signal in signals})
    ]


def _edges(state: BrainState, signals: Sequence[Signal]) -> Edges:
    """Return what became of each expert's edges, as it was reported live."""
    try:
        topology, context = load(state["topology"]["name"]), run_context(state)
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


def _expert_step(signal: Signal, edges: Edges) -> ExpertStep:
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


def result(values: BrainState) -> Result:
    """Return what `ask --json` prints, from a finished run's state."""
    saved = dict(values)
    return cast(Result, {key: saved[key] for key in RESULT_KEYS})
