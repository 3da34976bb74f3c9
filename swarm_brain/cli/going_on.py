"""Going on with a saved thread: resuming its run, forking it, giving it up."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from langgraph.types import Command, StateSnapshot

from graph.context import make_context
from graph.errors import ConfigError, MemoryUnavailable, ThreadError
from graph.topology import Topology, load
from swarm_brain import __version__
from swarm_brain.cli.app import err
from swarm_brain.cli.ask import Running
from swarm_brain.cli.pause import ask
from swarm_brain.cli.session import Session, session
from swarm_brain.memory.space import Space
from swarm_brain.models import journal
from swarm_brain.threads import history
from swarm_brain.threads.forking import fork


async def brain_of(opened: Session, thread: str, shipped: Any) -> Any:
    """The brain of the thread's last run: only it knows which of its experts are to run next.

    The shipped one where there is no run, or its topology cannot be had any more.
    """
    try:
        topology = history.topology_of(await history.latest(shipped, thread))
    except (ConfigError, ThreadError):
        return shipped
    return shipped if topology.hash == load().hash else opened.brain(topology)


async def resumed(
    thread: str, budgets: dict[str, Any], decision: Any, as_json: bool, progress: dict[str, Any]
) -> dict[str, Any] | None:
    """The result of a run that was unfinished; None if it is still paused. Raises BrainError."""
    context = make_context(budgets)
    async with session(err, needed=True) as opened:
        with opened.must().alone(thread):
            brain = await brain_of(opened, thread, opened.brain(load()))
            snapshot = await history.latest(brain, thread)
            topology = _resumable(opened, thread, snapshot)
            running = Running(opened, brain, topology, thread, as_json, progress)
            start: Any = None
            pauses = [pause for task in snapshot.tasks for pause in task.interrupts]
            if pauses:
                answers = await ask(pauses, decision, err)
                if answers is None:
                    running.say_paused(pauses)
                    return None
                start = Command(resume=answers)
            elif decision:
                raise ThreadError(f"The thread {thread} is not paused: nothing is to be decided.")
            return await running.to_the_end(start, context, decision=decision)


def _resumable(opened: Session, thread: str, snapshot: StateSnapshot) -> Topology:
    """The topology with which the run goes on. Raises ThreadError if it cannot."""
    if not history.unfinished(snapshot):
        raise ThreadError(f"The thread {thread} has no unfinished run.")
    if why := history.failure(snapshot):
        raise ThreadError(
            f"The run was strict and has failed: {why}. It cannot go on; ask again, in this "
            "thread or another."
        )
    if (version := snapshot.values["version"]) != __version__:
        opened.note(f"the run was begun by version {version}; this is {__version__}")
    return history.topology_of(snapshot)


async def forked_run(
    thread: str, step: int, edits: dict[str, str], progress: dict[str, Any]
) -> dict[str, Any]:
    """Results of the `original` and the `fork`, None if that is paused. Raises BrainError."""
    async with session(err, needed=True) as opened:
        with opened.must().alone(thread):
            snapshot = await history.latest(opened.brain(load()), thread)
            topology = history.topology_of(snapshot)
            brain = opened.brain(topology)
            config = await fork(brain, topology, thread, step, edits)
            running = Running(opened, brain, topology, thread, True, progress)
            result = await running.to_the_end(None, None, config)
            return {"original": history.result(snapshot.values), "fork": result}


async def forget_calls(opened: Session, thread: str) -> None:
    """Drop what the store keeps about the calls of an unfinished run; nobody will resume it."""
    with suppress(MemoryUnavailable):  # a thread that cannot be read can be deleted
        saved = await opened.must().saver.aget_tuple(history.config_of(thread))
        run_id = saved and saved.checkpoint["channel_values"].get("run_id")
        if opened.store is not None and run_id:
            await journal.forget(opened.store, Space().calls(run_id))
