"""A run anew from a past step, with some experts' words replaced."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from langgraph.types import StateSnapshot, StateUpdate

from swarm_brain.graph.brain import Brain
from swarm_brain.graph.errors import ThreadError
from swarm_brain.graph.state import Signal
from swarm_brain.graph.topology import Topology
from swarm_brain.nodes import signal as reading
from swarm_brain.nodes.settings import run_context
from swarm_brain.threads.history import snapshots


async def fork(
    brain: Brain, topology: Topology, thread: str, step: int, edits: Mapping[str, str]
) -> Any:
    """The config from which the thread's last run goes on after `step`, with the edited signals.

    The step is written again as a whole, each expert's signal by its own node, so that every edge
    fires as it would have. The fork is a run of its own. Raises ThreadError.
    """
    found = [snapshot async for snapshot in snapshots(brain, thread)]
    last = found[0]
    wave = [s for s in last.values["signals"] if s["step"] == step]
    _check(last, wave, step, edits)
    before = next((s for s in _ancestors(last, found) if _stands_before(s, step)), None)
    if before is None:
        raise ThreadError(f"The state before step {step} is no longer there: it was pruned.")
    updates = []
    for number, signal in enumerate(wave):
        values = _written(topology, before, signal, edits.get(signal["source"]))
        if number == 0:
            values["run_id"] = uuid.uuid4().hex
        updates.append(StateUpdate(values=values, as_node=signal["source"]))
    return await brain.abulk_update_state(before.config, [updates])


def _check(last: StateSnapshot, wave: list[Signal], step: int, edits: Mapping[str, str]) -> None:
    steps = sorted({signal["step"] for signal in last.values["signals"]})
    if last.next:
        raise ThreadError("The thread's last run is unfinished: resume it first.")
    if not wave:
        raise ThreadError(f"There is no step {step}; the last run has {steps[0]} to {steps[-1]}.")
    spoke = [signal["source"] for signal in wave]
    if unknown := sorted(set(edits) - set(spoke)):
        raise ThreadError(f"{', '.join(unknown)} did not speak at step {step}: {', '.join(spoke)}.")


def _ancestors(snapshot: StateSnapshot, found: Sequence[StateSnapshot]) -> Iterator[StateSnapshot]:
    """The states that led to this one, the latest first; a fork's go over into its original's."""
    by_id = {_id(other.config): other for other in found}
    while parent := by_id.get(_id(snapshot.parent_config)):
        yield parent
        snapshot = parent


def _id(config: Any) -> str | None:
    return config["configurable"]["checkpoint_id"] if config else None


def _stands_before(snapshot: StateSnapshot, step: int) -> bool:
    """Whether this is a state in which the experts of `step` were about to speak."""
    return snapshot.values.get("step", 0) == step - 1 and bool(snapshot.next)


def _written(
    topology: Topology, before: StateSnapshot, signal: Signal, text: str | None
) -> dict[str, Any]:
    """What this expert's node writes: the signal as it was, or with other words, read anew."""
    expert, state = topology.experts[signal["source"]], before.values
    told: dict[str, Any] = dict(signal)
    if text is not None:
        fresh: dict[str, Any] = {
            "status": "ok",
            "failure": None,
            "error": None,
            "gates": {},
            "defects": [],
        }
        told |= {**fresh, "content": text, "verdict": None, "human": "written"}
        told |= reading.said(topology, expert, state, run_context(state), text)  # type: ignore[arg-type]
        if told["error"]:
            raise ThreadError(f"{expert.name}: {told['error']}; write what its prompt asks for.")
    return {
        "signals": [told],
        "step": signal["step"],
        "workspace": reading.candidates(expert, told),
    }
