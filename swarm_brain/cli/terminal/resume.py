"""Resume the run of a saved thread, fork it, or drop it."""

from __future__ import annotations

from contextlib import suppress

from langgraph.types import Command

from swarm_brain.cli.console import err
from swarm_brain.cli.options import Settings
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
    thread: str, budgets: Settings, decision: object, as_json: bool, progress: Progress
) -> Result | None:
    """Finish an unfinished run. Return None if it is still paused. Raises BrainError."""
    context = make_context(budgets)
    async with session(err, needed=True) as opened:
        with opened.require_threads().alone(thread):
            state = await latest(opened.require_threads(), thread)
            topology = resumable(thread, state)
            _report_version(opened, state)
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


def _report_version(opened: Session, state: SavedState) -> None:
    if (version := state.values["version"]) != __version__:
        opened.note(f"the run was started by version {version}; this is version {__version__}")


async def forked_run(
    thread: str, step: int, edits: dict[str, str], progress: Progress
) -> tuple[Result, Result | None]:
    """Return the results of the original and of its fork, None if the fork is paused."""
    async with session(err, needed=True) as opened:
        with opened.require_threads().alone(thread):
            original = await latest(opened.require_threads(), thread)
            topology = history.topology_of(original)
            brain = opened.brain(topology)
            config = await fork(brain, topology, thread, step, edits)
            running = Running(opened, brain, topology, thread, True, progress)
            start = running.restart(await latest(opened.require_threads(), thread), None, config)
            result = await running.to_the_end(start, None)
            return history.result(original.values), result


async def forget_calls(opened: Session, thread: str) -> None:
    """Delete the store's entries about the calls of an abandoned run."""
    with suppress(MemoryUnavailable):  # a thread that cannot be read can be deleted
        saved = await opened.require_threads().aget_tuple(config_of(thread))
        run_id = saved and saved.checkpoint["channel_values"].get("run_id")
        if opened.store is not None and run_id:
            await reservations.clear(opened.store, Space().calls(run_id))
