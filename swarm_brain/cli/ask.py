"""`ask`: run one question, show the experts at work, print the answer."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from graph.brain import Brain, compile_brain
from graph.brain import graph as shipped
from graph.context import Context, make_context
from graph.errors import ModelUnavailable
from graph.state import BrainOutput
from graph.topology import Topology, load
from swarm_brain import __version__, models
from swarm_brain.cli.live import Board
from swarm_brain.cli.weights import fetch
from swarm_brain.models import EMBEDDED_DEFAULT

KEYS = tuple(key for key in BrainOutput.__annotations__ if key != "messages")


async def answer(
    question: str, topology: str, settings: dict[str, Any], err: Console, as_json: bool
) -> dict[str, Any]:
    """The result of one question; progress goes to `err`, the answer to standard output.

    Raises BrainError.
    """
    context = make_context(settings)
    loaded = load(topology)
    brain = shipped if topology == "eight" else compile_brain(loaded)
    context = await asyncio.to_thread(_with_weights, context, loaded, err)
    board = Board(err, loaded, live=err.is_terminal and not as_json)
    result = await _run(brain, question, context, board)
    if not as_json:
        board.conclude(result)
        if result["final_output"]:
            print_answer(result["final_output"])
    return result


async def _run(brain: Brain, question: str, context: Context, board: Board) -> dict[str, Any]:
    """Stream the run into the board; the graph's output."""
    result: dict[str, Any] = {}
    modes: Any = ["custom", "messages", "values"]
    with board:
        part: Any
        stream = brain.astream({"question": question}, context=context, stream_mode=modes)
        async for mode, part in stream:
            if mode == "custom":
                board.event(part)
            elif mode == "messages":
                board.token(part[1].get("langgraph_node", ""), part[0])
            else:
                result = dict(part)
    result.pop("messages", None)
    return result


def _with_weights(context: Context, topology: Topology, err: Console) -> Context:
    """Fetch the embedded weights this run needs; say which model answers, and why.

    Where `auto` wants weights that cannot be had, the simulation answers and says so.
    """
    choice = models.choose(context.model)
    own = [e.model for e in topology.experts.values() if e.model]
    try:
        for spec in {choice.spec, *own, *context.expert_models.values()}:
            if spec.startswith("embedded:"):
                fetch(spec, err)
    except ModelUnavailable as error:
        if context.model != "auto" or choice.spec != EMBEDDED_DEFAULT:
            raise
        choice = models.Choice("simulation:", str(error))
    err.print(f"model {choice.spec} ({choice.reason})", style="dim", markup=False, soft_wrap=True)
    return context.model_copy(update={"model": choice.spec})


def print_answer(text: str) -> None:
    """The answer alone, on standard output; broken at words on a terminal, as it is in a pipe."""
    if sys.stdout.isatty():
        Console(highlight=False).print(Text(f"\n{text.rstrip()}"))
    else:
        sys.stdout.write(text.rstrip() + "\n")
        sys.stdout.flush()


def empty_result(error: str) -> dict[str, Any]:
    """The JSON of a run that never began: every key, nothing known, and the error."""
    empty = dict.fromkeys(KEYS)
    usage = dict.fromkeys(("input_tokens", "output_tokens", "cached_tokens", "cost_usd"))
    return {
        **empty,
        "stop_reason": "failed",
        "dissent": [],
        "recalled": [],
        "experts": [],
        "revised": False,
        "steps": 0,
        "usage": {"calls": 0, **usage},
        "error": error,
        "version": __version__,
    }
