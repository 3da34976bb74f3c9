"""Run one question, show the experts at work, print the answer."""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from collections.abc import Sequence
from contextlib import aclosing, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from langchain_core.runnables import RunnableConfig
from langgraph.types import Command
from rich.console import Console
from rich.text import Text

from swarm_brain.cli.options import Settings
from swarm_brain.cli.terminal import approval
from swarm_brain.cli.terminal.live import Board
from swarm_brain.cli.terminal.outcome import Progress
from swarm_brain.cli.terminal.session import Session, new_thread, session
from swarm_brain.cli.terminal.text import printable, resuming
from swarm_brain.graph.brain import Brain
from swarm_brain.graph.context import Context, make_context
from swarm_brain.graph.errors import ThreadError
from swarm_brain.graph.events import Finished, Pause, Paused
from swarm_brain.graph.loading import load
from swarm_brain.graph.state import BrainInput, Result
from swarm_brain.graph.topology import Topology
from swarm_brain.nodes import begin
from swarm_brain.progress import prepare_run
from swarm_brain.runs.live import Start, events
from swarm_brain.runs.replay import replay
from swarm_brain.runs.resume import free
from swarm_brain.threads.checkpoints import SavedState, config_of

if TYPE_CHECKING:
    from swarm_brain.remote import RemoteBrain


@dataclass
class Ask:
    """The user's request. `progress` describes the run if it fails or is stopped."""

    question: str
    topology: str
    settings: Settings
    as_json: bool = False
    thread: str | None = None
    save: bool = True
    progress: Progress = field(default_factory=Progress)


async def answer(request: Ask, err: Console) -> Result | None:
    """Ask one question: progress goes to `err`, the answer to standard output.

    Return None if the run is paused and no user is at the terminal. Raises BrainError.
    """
    async with session(err, save=request.save) as opened:
        return await ask_in(opened, request)


async def ask_in(opened: Session, request: Ask, brain: Brain | None = None) -> Result | None:
    """Ask one question in an open session, of an existing brain if there is one."""
    context = make_context(request.settings)
    topology = load(request.topology)
    brain = brain or opened.brain(topology)
    context = await asyncio.to_thread(prepare_run, context, topology, opened.err)
    thread = request.thread or new_thread()
    with opened.threads.alone(thread) if opened.threads else nullcontext():
        if request.thread:
            await free(brain, thread, f"`{resuming(thread)}`")
        running = Running(opened, brain, topology, thread, request.as_json, request.progress)
        return await running.to_the_end(running.start(request.question), context)


@dataclass
class Running:
    """A run in progress, in its thread, shown on a board."""

    session: Session
    brain: Brain | RemoteBrain
    topology: Topology
    thread: str | None
    as_json: bool
    progress: Progress

    @property
    def saved(self) -> bool:
        """Whether the run can be continued after this process has ended."""
        return self.session.threads is not None

    @property
    def hint(self) -> str:
        """How to continue it."""
        return f"Continue with `{resuming(self.thread or '')}`."

    def start(self, question: str) -> Start:
        """Return the start of a question in this thread."""
        return self._start({"question": question}, config_of(self.thread))

    def restart(
        self, state: SavedState, command: Command[str] | None, config: RunnableConfig | None = None
    ) -> Start:
        """Return the start that continues a saved run, after its past events."""
        past = replay(state, self.thread)
        return replace(self._start(command, config or config_of(self.thread)), past=past)

    def _start(
        self, graph_input: BrainInput | Command[str] | None, config: RunnableConfig
    ) -> Start:
        return Start(graph_input, config, self.thread if self.saved else None, uuid.uuid4().hex)

    async def to_the_end(
        self, start: Start, context: Context | dict[str, object] | None, decision: object = None
    ) -> Result | None:
        """Run, ask the user at pauses, print the answer; None if it stays paused."""
        board = Board(self.session.err, self.topology, live=self._live)
        if self.saved:  # an interrupted user wants to continue
            self.progress |= {"thread_id": self.thread, "hint": self.hint}
        while True:
            last = await self._watch(start, context, board)
            if last["event"] == "finished":
                return self._show(board, last["result"])
            answers = await approval.ask(last["paused"], decision, self.session.err)
            if answers is None:
                self.report_pause(last["paused"])
                return None
            start = self._start(Command(resume=answers), config_of(self.thread))

    @property
    def _live(self) -> bool:
        return self.session.err.is_terminal and not self.as_json

    async def _watch(
        self, start: Start, context: Context | dict[str, object] | None, board: Board
    ) -> Paused | Finished:
        """Show a run on the board until it pauses or ends, recording `progress`."""
        with board:
            async with aclosing(events(self.brain, start, context)) as run:
                async for event in run:
                    board.show(event)
                    if event["event"] == "answered":
                        self.progress.setdefault("answered", []).append(event)
                    elif event["event"] == "paused" or event["event"] == "finished":
                        return event
        raise RuntimeError("a run has ended without an event that says so")

    def _show(self, board: Board, result: Result) -> Result:
        if not self.as_json:
            board.experts(result)
            print_answer(result["final_output"])
            board.summary(result)
        return result

    def report_pause(self, pauses: Sequence[Pause]) -> None:
        """Print that the run waits, and how to continue it. Raises ThreadError."""
        names = ", ".join(pause["expert"] for pause in pauses)
        if not self.saved:
            raise ThreadError(
                f"Paused before {names}, but no terminal is attached and the run is not saved, so "
                "it was stopped."
            )
        self.progress["paused"] = list(pauses)
        self.session.note(f"paused before {names}; it costs nothing while it waits. {self.hint}")


def worst_case(question: str, topology: str, settings: Settings, as_json: bool) -> str:
    """Return the most a question can use, in words or as JSON. Asks no model.

    Raises BrainError.
    """
    context, loaded = make_context(settings), load(topology)
    planned = begin.prospect(loaded, question, context)
    revised = planned.calls + (context.max_revisions if planned.critic else 0)
    facts = {
        "effort": planned.plan.effort,
        "calls": revised,
        "tokens": planned.worst.tokens,
        "cost_usd": planned.worst.usd,
        "model": planned.model,
    }
    if as_json:
        return json.dumps(facts)
    usd = planned.worst.usd
    cost = "cost unknown" if usd is None else f"${usd:.6g}"
    return (
        f"at most, without retries: {revised} calls, {planned.worst.tokens:,} tokens, {cost} "
        f"({planned.model}, effort {planned.plan.effort})"
    )


def print_answer(text: str) -> None:
    """Print the answer, wrapped on a terminal and unchanged in a pipe."""
    if sys.stdout.isatty():
        Console(highlight=False).print(Text(f"\n{printable(text).rstrip()}"))
    else:
        sys.stdout.write(text.rstrip() + "\n")
        sys.stdout.flush()
