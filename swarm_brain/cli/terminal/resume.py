"""Going on with a saved thread: resuming its run, forking it, giving it up."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from langgraph.types import Command

from swarm_brain.cli.console import err
from swarm_brain.cli.terminal.approval import ask
from swarm_brain.cli.terminal.run import Running
from swarm_brain.cli.terminal.session import Session, session
from swarm_brain.graph.context import make_context
from swarm_brain.graph.errors import MemoryUnavailable, ThreadError
from swarm_brain.memory.space import Space
from swarm_brain.runs.fork import fork
from swarm_brain.runs.resume import resumable
from swarm_brain.spending import reservations
from swarm_brain.threads import history
from swarm_brain.threads.checkpoints import SavedState, config_of, latest
from swarm_brain.version import __version__


async def resumed(
    thread: str, budgets: dict[str, Any], decision: Any, as_json: bool, progress: dict[str, Any]
) -> dict[str, Any] | None:
    """The result of a run that was unfinished; None if it is still paused. Raises BrainError."""
    context = make_context(budgets)
    async with session(err, needed=True) as opened:
        with opened.must().alone(thread):
            state = await latest(opened.must(), thread)
            topology = resumable(thread, state)
            _tell_version(opened, state)
            brain = opened.brain(topology)
            running = Running(opened, brain, topology, thread, as_json, progress)
            start: Any = None
            if pauses := list(state.pauses):
                answers = await ask(pauses, decision, err)
                if answers is None:
                    running.say_paused(pauses)
                    return None
                start = Command(resume=answers)
            elif decision:
                raise ThreadError(f"The thread {thread} is not paused: nothing is to be decided.")
            return await running.to_the_end(start, context, decision=decision)


def _tell_version(opened: Session, state: SavedState) -> None:
    if (version := state.values["version"]) != __version__:
        opened.note(f"the run was begun by version {version}; this is {__version__}")


async def forked_run(
    thread: str, step: int, edits: dict[str, str], progress: dict[str, Any]
) -> dict[str, Any]:
    """Results of the `original` and the `fork`, None if that is paused. Raises BrainError."""
    async with session(err, needed=True) as opened:
        with opened.must().alone(thread):
            state = await latest(opened.must(), thread)
            topology = history.topology_of(state)
            brain = opened.brain(topology)
            config = await fork(brain, topology, thread, step, edits)
            running = Running(opened, brain, topology, thread, True, progress)
            result = await running.to_the_end(None, None, config)
            return {"original": history.result(state.values), "fork": result}


async def forget_calls(opened: Session, thread: str) -> None:
    """Drop what the store keeps about the calls of an unfinished run; nobody will resume it."""
    with suppress(MemoryUnavailable):  # a thread that cannot be read can be deleted
        saved = await opened.must().aget_tuple(config_of(thread))
        run_id = saved and saved.checkpoint["channel_values"].get("run_id")
        if opened.store is not None and run_id:
            await reservations.forget(opened.store, Space().calls(run_id))
