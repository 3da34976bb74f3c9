"""Continue a run from a past step, with the words of some experts replaced."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence

from langchain_core.runnables import RunnableConfig
from langgraph.types import StateUpdate

from swarm_brain.graph.brain import Brain
from swarm_brain.graph.errors import ThreadError
from swarm_brain.graph.signal import Signal
from swarm_brain.graph.topology import Topology
from swarm_brain.nodes.signal import candidates, rewritten
from swarm_brain.nodes.turn import past_turn
from swarm_brain.threads.checkpoints import SavedState, ancestors, latest, saver_of


async def fork(
    brain: Brain, topology: Topology, thread: str, step: int, edits: Mapping[str, str]
) -> RunnableConfig:
    """Write `step` of the thread's last run again, edited; return its config.

    The whole step is written, each expert's signal by its own node, so that edges fire as they
    would in a run. The fork is a new run. Raises ThreadError.
    """
    saver = saver_of(brain)
    last = await latest(saver, thread)
    signals = [signal for signal in last.values["signals"] if signal["step"] == step]
    _check(last, signals, step, edits)
    async for before in ancestors(saver, last):
        if before.values.get("step", 0) == step - 1 and before.next:
            break
    else:
        raise ThreadError(f"The state before step {step} was deleted by `threads prune`.")
    updates = []
    for number, signal in enumerate(signals):
        values = _written(topology, before, signal, edits.get(signal["source"]))
        if number == 0:
            values["run_id"] = uuid.uuid4().hex
        updates.append(StateUpdate(values=values, as_node=signal["source"]))
    return await brain.abulk_update_state(before.config, [updates])


def _check(
    last: SavedState, signals: Sequence[Signal], step: int, edits: Mapping[str, str]
) -> None:
    steps = sorted({signal["step"] for signal in last.values["signals"]})
    if last.next:
        raise ThreadError("The thread's last run is unfinished: resume it first.")
    if not signals:
        raise ThreadError(f"There is no step {step}; the last run has {steps[0]} to {steps[-1]}.")
    spoke = [signal["source"] for signal in signals]
    if unknown := sorted(set(edits) - set(spoke)):
        raise ThreadError(f"{', '.join(unknown)} did not speak at step {step}: {', '.join(spoke)}.")


def _written(
    topology: Topology, before: SavedState, signal: Signal, text: str | None
) -> dict[str, object]:
    """Return this expert's state update: its old signal, or one from new text."""
    expert, state = topology.experts[signal["source"]], before.values
    if text is not None:
        signal = rewritten(past_turn(topology, state, expert.name), signal, text)
        if signal["error"]:
            raise ThreadError(f"{expert.name}: {signal['error']}; write what its prompt asks for.")
    return {
        "signals": [signal],
        "step": signal["step"],
        "workspace": candidates(expert, signal),
    }
