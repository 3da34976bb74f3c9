"""`ask`: run one question, show the experts at work, print the answer."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from langgraph.types import Command
from rich.console import Console
from rich.text import Text

from swarm_brain.cli.terminal import approval
from swarm_brain.cli.terminal.live import Board
from swarm_brain.cli.terminal.outcome import Progress
from swarm_brain.cli.terminal.session import Session, new_thread, session
from swarm_brain.cli.terminal.text import printable, resuming
from swarm_brain.graph.brain import Brain
from swarm_brain.graph.context import make_context
from swarm_brain.graph.errors import ThreadError
from swarm_brain.graph.loading import load
from swarm_brain.graph.state import RESULT_KEYS
from swarm_brain.graph.topology import Topology
from swarm_brain.nodes import begin
from swarm_brain.progress import prepare_run
from swarm_brain.runs.resume import free
from swarm_brain.threads.checkpoints import config_of

if TYPE_CHECKING:
    from swarm_brain.remote import RemoteBrain


@dataclass
class Ask:
    """What the user asked for. `progress` is kept at the run's latest state, for whoever must say

    what a run took that was interrupted or failed.
    """

    question: str
    topology: str
    settings: dict[str, Any]
    as_json: bool = False
    thread: str | None = None
    save: bool = True
    progress: Progress = field(default_factory=dict)


async def answer(asked: Ask, err: Console) -> dict[str, Any] | None:
    """The result of one question; progress goes to `err`, the answer to standard output.

    None if the run is paused and nobody is there to decide. Raises BrainError.
    """
    async with session(err, save=asked.save) as opened:
        return await ask_in(opened, asked)


async def ask_in(opened: Session, asked: Ask, brain: Brain | None = None) -> dict[str, Any] | None:
    """Ask in a session that is open already, and of a brain that is there already."""
    context = make_context(asked.settings)
    topology = load(asked.topology)
    brain = brain or opened.brain(topology)
    context = await asyncio.to_thread(prepare_run, context, topology, opened.err)
    thread = asked.thread or new_thread()
    with opened.threads.alone(thread) if opened.threads else nullcontext():
        if asked.thread:
            await free(brain, thread, f"`{resuming(thread)}`")
        running = Running(opened, brain, topology, thread, asked.as_json, asked.progress)
        return await running.to_the_end({"question": asked.question}, context)


@dataclass
class Running:
    """A run in progress, in its thread, shown on a board."""

    opened: Session
    brain: Brain | RemoteBrain
    topology: Topology
    thread: str | None
    as_json: bool
    progress: Progress

    @property
    def kept(self) -> bool:
        """Whether the run can be gone on with when this process has ended."""
        return self.opened.threads is not None

    @property
    def going_on(self) -> str:
        """How that is done."""
        return f"Go on with `{resuming(self.thread or '')}`."

    async def to_the_end(
        self, start: Any, context: Any, config: Any = None, decision: Any = None
    ) -> dict[str, Any] | None:
        """Run, ask the user wherever the run pauses, print the answer; None if it stays paused."""
        board = Board(self.opened.err, self.topology, live=self._live)
        config = config or config_of(self.thread)
        if self.kept:  # whoever is interrupted wants to go on
            self.progress |= {"thread_id": self.thread, "going_on": self.going_on}
        while True:
            pauses = await self._stream(start, context, config, board)
            if not pauses:
                break
            answers = await approval.ask(pauses, decision, self.opened.err)
            if answers is None:
                self.say_paused(pauses)
                return None
            start, config = Command(resume=answers), config_of(self.thread)
        return self._finished(board)

    @property
    def _live(self) -> bool:
        return self.opened.err.is_terminal and not self.as_json

    async def _stream(self, start: Any, context: Any, config: Any, board: Board) -> list[Any]:
        """Stream the run into the board and its state into `progress`; the pauses it stopped at."""
        modes: Any = ["custom", "messages", "values"]
        pauses: list[Any] = []
        with board:
            part: Any
            # "sync": a wave's checkpoint is on disk before the next wave is paid for.
            saved: Any = {"durability": "sync"} if self.kept else {}
            stream = self.brain.astream(start, config, context=context, stream_mode=modes, **saved)
            async for mode, part in stream:
                if mode == "custom":
                    board.event(part)
                    if part["event"] == "answered":  # what a server's values do not tell
                        self.progress.setdefault("answered", []).append(part)
                elif mode == "messages":
                    board.token(part[1].get("langgraph_node", ""), part[0])
                else:
                    pauses = list(part.get("__interrupt__") or pauses)
                    self.progress.update(part)
        return pauses

    def _finished(self, board: Board) -> dict[str, Any]:
        if "final_output" not in self.progress:
            raise ThreadError(f"The run of the thread {self.thread} has nothing left to do.")
        result = {key: self.progress[key] for key in RESULT_KEYS}
        if not self.kept:
            result["thread_id"] = None  # it ends with this process
        if not self.as_json:
            board.experts(result)
            print_answer(result["final_output"])
            board.summary(result)
        return result

    def say_paused(self, pauses: list[Any]) -> None:
        """Say that the run waits, and how it goes on. Raises ThreadError if it cannot wait."""
        names = ", ".join(found.value["expert"] for found in pauses)
        if not self.kept:
            raise ThreadError(f"Nobody decides before {names}, and the run is not kept: it ends.")
        self.progress["paused"] = [{"id": found.id, **found.value} for found in pauses]
        self.opened.note(f"paused before {names}; nothing is spent meanwhile. {self.going_on}")


def worst_case(question: str, topology: str, settings: dict[str, Any], as_json: bool) -> str:
    """What the question would take at worst, in words or as JSON; asks no model.

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
        f"at worst, without retries: {revised} calls, {planned.worst.tokens:,} tokens, {cost} "
        f"({planned.model}, effort {planned.plan.effort})"
    )


def print_answer(text: str) -> None:
    """The answer alone, on standard output; broken at words on a terminal, as it is in a pipe."""
    if sys.stdout.isatty():
        Console(highlight=False).print(Text(f"\n{printable(text).rstrip()}"))
    else:
        sys.stdout.write(text.rstrip() + "\n")
        sys.stdout.flush()
