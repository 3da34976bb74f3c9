"""Saved runs as data, step by step and expert by expert."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

from typing_extensions import TypedDict

from swarm_brain.graph.errors import ThreadError
from swarm_brain.graph.events import Answered, Entered, Event, Pause, Reached, Woken
from swarm_brain.graph.signal import SignalStatus, Waking
from swarm_brain.graph.state import Result, Usage
from swarm_brain.graph.topology import Topology
from swarm_brain.nodes.finish import usage
from swarm_brain.runs.replay import replay
from swarm_brain.threads.checkpoints import SavedState, Saver, last_states, latest
from swarm_brain.threads.history import topology_of


class ExpertStep(TypedDict):
    """One expert's part in one step; `edges` is None after a topology change."""

    expert: str
    status: SignalStatus
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
    """The experts that ran at once, and the sources of the step's broadcasts."""

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


class RunWithEvents(Run):
    """A run with the events that it reported."""

    events: list[Event]


def saved_run(state: SavedState, thread: str) -> RunWithEvents:
    """Return a run in its last state; `thread` is its thread's public id.

    Raises ThreadError if the run has another version's format.
    """
    events, values = replay(state, thread), state.values
    last = events[-1]
    return {
        "run_id": values["run_id"],
        "question": values["query"],
        "date": state.date,
        "topology": values["topology"]["name"],
        "steps": _steps(events),
        "result": last["result"] if last["event"] == "finished" else None,
        "usage": usage(state.signals),
        "next": list(state.next),
        "paused": last["paused"] if last["event"] == "paused" else [],
        "events": events,
    }


async def saved_runs(saver: Saver, thread: str) -> list[Run]:
    """Return the runs of a thread without their events, first one first."""
    states = await last_states(saver, thread)
    return await asyncio.to_thread(lambda: [_without_events(state, thread) for state in states])


def _without_events(state: SavedState, thread: str) -> Run:
    saved = saved_run(state, thread)
    return cast(Run, {key: value for key, value in saved.items() if key != "events"})


async def run_of(saver: Saver, thread: str, number: int | None) -> tuple[Run, Topology]:
    """Return a run of a thread and its topology, by number from 1 or the last.

    Raises ThreadError if there is no such run, or its topology has changed.
    """
    if number is None:
        state = await latest(saver, thread)
        return saved_run(state, thread), topology_of(state)
    states = await last_states(saver, thread)
    if not 1 <= number <= len(states):
        raise ThreadError(f"The thread {thread} has {len(states)} runs; there is no run {number}.")
    return saved_run(states[number - 1], thread), topology_of(states[number - 1])


def _steps(events: Sequence[Event]) -> list[Step]:
    steps: dict[int, Step] = {}
    woken: dict[tuple[str, int], Woken] = {}
    for event in events:
        if event["event"] == "woken":
            woken[event["expert"], event["step"]] = event
        elif event["event"] == "answered":
            step = steps.setdefault(
                event["step"], {"step": event["step"], "experts": [], "entered": []}
            )
            step["experts"].append(_expert_step(woken[event["expert"], event["step"]], event))
        elif event["event"] == "broadcast":
            steps[event["step"]]["entered"] = event["entered"]
    for step in steps.values():  # events are in the order of the replies
        step["experts"].sort(key=lambda expert: expert["expert"])
    return list(steps.values())


def _expert_step(woken: Woken, answered: Answered) -> ExpertStep:
    inputs, outputs = answered["input_tokens"], answered["output_tokens"]
    tokens = None if inputs is None or outputs is None else inputs + outputs
    known = {**answered, "woken_by": woken["woken_by"], "tokens": tokens}
    return cast(ExpertStep, {key: known[key] for key in ExpertStep.__annotations__})
