"""Going on with a saved thread: resuming its run, forking it, giving it up."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from langgraph.types import Command

from swarm_brain.cli.console import err
from swarm_brain.cli.terminal.approval import ask
from swarm_brain.cli.terminal.outcome import Progress
from swarm_brain.cli.terminal.run import Running
from swarm_brain.cli.terminal.session import Session, session
from swarm_brain.graph.context import make_context
from swarm_brain.graph.errors import MemoryUnavailable
from swarm_brain.graph.state import Result
from swarm_brain.memory.space import Space
from swarm_brain.runs.fork import fork
from swarm_brain.runs.live import paused
from swarm_brain.runs.resume import is_paused, resumable
from swarm_brain.spending import reservations
from swarm_brain.threads import history
from swarm_brain.threads.checkpoints import SavedState, config_of, latest
from swarm_brain.version import __version__


async def resumed(
    thread: str, budgets: dict[str, Any], decision: object, as_json: bool, progress: Progress
) -> Result | None:
    """The result of a run that was unfinished; None if it is still paused. Raises BrainError."""
    context = make_context(budgets)
    async with session(err, needed=True) as opened:
        with opened.must().alone(thread):
            state = await latest(opened.must(), thread)
            topology = resumable(thread, state)
            _tell_version(opened, state)
            brain = opened.brain(topology)
            running = Running(opened, brain, topology, thread, as_json, progress)
            command: Command[str] | None = None
            if is_paused(thread, state, decision):
                pauses = paused(state.pauses)["paused"]
                answers = await ask(pauses, decision, err)
                if answers is None:
                    running.report_pause(pauses)
                    return None
                command = Command(resume=answers)
            return await running.to_the_end(running.restart(state, command), context, decision)


def _tell_version(opened: Session, state: SavedState) -> None:
    if (version := state.values["version"]) != __version__:
        opened.note(f"the run was begun by version {version}; this is {__version__}")


async def forked_run(
    thread: str, step: int, edits: dict[str, str], progress: Progress
) -> tuple[Result, Result | None]:
    """Results of the original and of the fork, None if that is paused. Raises BrainError."""
    async with session(err, needed=True) as opened:
        with opened.must().alone(thread):
            original = await latest(opened.must(), thread)
            topology = history.topology_of(original)
            brain = opened.brain(topology)
            config = await fork(brain, topology, thread, step, edits)
            running = Running(opened, brain, topology, thread, True, progress)
            start = running.restart(await latest(opened.must(), thread), None, config)
            result = await running.to_the_end(start, None)
            return history.result(original.values), result


async def forget_calls(opened: Session, thread: str) -> None:
    """Drop what the store keeps about the calls of an unfinished run; nobody will resume it."""
    with suppress(MemoryUnavailable):  # a thread that cannot be read can be deleted
        saved = await opened.must().aget_tuple(config_of(thread))
        run_id = saved and saved.checkpoint["channel_values"].get("run_id")
        if opened.store is not None and run_id:
            await reservations.clear(opened.store, Space().calls(run_id))
