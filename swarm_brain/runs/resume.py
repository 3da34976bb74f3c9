"""Whether and with what a saved run goes on. For the command line and for servers."""

from __future__ import annotations

from collections.abc import Callable

from langgraph.types import StateSnapshot

from swarm_brain.graph.brain import Brain
from swarm_brain.graph.errors import ConfigError, ThreadError
from swarm_brain.graph.topology import Topology, load
from swarm_brain.threads import history


async def brain_of(thread: str, shipped: Brain, compiled: Callable[[Topology], Brain]) -> Brain:
    """The brain of the thread's last run: only it knows which of its experts are to run next.

    The shipped one where there is no run, or its topology cannot be had any more.
    """
    try:
        topology = history.topology_of(await history.latest(shipped, thread))
    except (ConfigError, ThreadError):
        return shipped
    return shipped if topology.hash == load().hash else compiled(topology)


def resumable(thread: str, snapshot: StateSnapshot) -> Topology:
    """The topology with which the run goes on. Raises ThreadError if it cannot."""
    if not history.unfinished(snapshot):
        raise ThreadError(f"The thread {thread} has no unfinished run.")
    if why := history.failure(snapshot):
        raise ThreadError(
            f"The run was strict and has failed: {why}. It cannot go on; ask again, in this "
            "thread or another."
        )
    return history.topology_of(snapshot)


async def free(brain: Brain, thread: str, how: str, called: str | None = None) -> None:
    """Raise ThreadError if a run of this thread stands unfinished; `how` says what ends it.

    `called` is what its owner calls it, where it is kept under another name.
    """
    try:
        snapshot = await history.latest(brain, thread)
    except ThreadError:
        return
    if history.unfinished(snapshot) and not history.failure(snapshot):
        raise ThreadError(
            f"The thread {called or thread} has an unfinished run. Finish it with {how}, or ask in "
            "another thread."
        )
