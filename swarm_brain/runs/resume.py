"""Decide whether a saved run can continue, and how."""

from __future__ import annotations

from swarm_brain.graph.brain import Brain
from swarm_brain.graph.errors import ThreadError
from swarm_brain.graph.topology import Topology
from swarm_brain.threads import checkpoints, history
from swarm_brain.threads.checkpoints import SavedState


def resumable(thread: str, state: SavedState) -> Topology:
    """Return the topology to continue the run with. Raises ThreadError."""
    if not state.next:
        raise ThreadError(f"The thread {thread} has no unfinished run.")
    if reason := history.failure(state):
        raise ThreadError(
            f"The run was strict and has failed: {reason}. It cannot continue; ask again, in this "
            "thread or another."
        )
    return history.topology_of(state)


def is_paused(thread: str, state: SavedState, decision: object) -> bool:
    """Return whether the run waits for a decision.

    Raises ThreadError if a decision is passed to a run that does not wait for one.
    """
    if decision is not None and not state.pauses:
        raise ThreadError(f"The thread {thread} is not paused: there is nothing to decide.")
    return bool(state.pauses)


def decided(state: SavedState, pause: str | None) -> list[str]:
    """Return the ids of the pauses to decide: this one, or all of them.

    Raises ThreadError if the run does not wait there.
    """
    waiting = [other.id for other in state.pauses]
    if pause is not None and pause not in waiting:
        raise ThreadError(f"The run has no pending pause {pause}.")
    return waiting if pause is None else [pause]


async def free(brain: Brain, thread: str, how: str, called: str | None = None) -> None:
    """Raise ThreadError if a run of this thread is unfinished; `how` finishes it.

    `called` is the owner's name for the thread, if it is saved under another one.
    """
    try:
        state = await checkpoints.latest(checkpoints.saver_of(brain), thread)
    except ThreadError:
        return
    if state.next and not history.failure(state):
        raise ThreadError(
            f"The thread {called or thread} has an unfinished run. Finish it with {how}, or ask in "
            "another thread."
        )
