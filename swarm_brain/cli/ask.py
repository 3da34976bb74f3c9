"""`ask`: run one question, show the experts at work, print the answer."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from graph.brain import Brain, compile_brain
from graph.brain import graph as shipped
from graph.context import Context, make_context
from graph.errors import ModelUnavailable
from graph.state import RESULT_KEYS
from graph.topology import Topology, load
from nodes import begin
from nodes.finish import usage
from swarm_brain import __version__, models
from swarm_brain.cli.live import Board
from swarm_brain.cli.text import printable
from swarm_brain.cli.weights import fetch
from swarm_brain.models import EMBEDDED_DEFAULT


async def answer(
    question: str,
    topology: str,
    settings: dict[str, Any],
    err: Console,
    as_json: bool,
    progress: dict[str, Any],
) -> dict[str, Any]:
    """The result of one question; progress goes to `err`, the answer to standard output.

    `progress` is kept at the run's latest state, for whoever must say what a run took that was
    interrupted or failed. Raises BrainError.
    """
    context = make_context(settings)
    loaded = load(topology)
    brain = shipped if topology == "eight" else compile_brain(loaded)
    context = await asyncio.to_thread(_with_weights, context, loaded, err)
    board = Board(err, loaded, live=err.is_terminal and not as_json)
    await _run(brain, question, context, board, progress)
    result = {key: progress[key] for key in RESULT_KEYS}
    if not as_json:
        board.experts(result)
        print_answer(result["final_output"])
        board.summary(result)
    return result


async def _run(
    brain: Brain, question: str, context: Context, board: Board, progress: dict[str, Any]
) -> None:
    """Stream the run into the board and its state into `progress`."""
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
                progress.update(part)


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


def failed_result(error: str, progress: dict[str, Any]) -> dict[str, Any]:
    """The JSON of a run that ended with an error: every key, and what was spent until then."""
    return {
        **dict.fromkeys(RESULT_KEYS),
        "stop_reason": "failed",
        "dissent": [],
        "recalled": [],
        "experts": [],
        "revised": False,
        "steps": 0,
        "usage": usage(progress.get("signals", [])),
        "error": error,
        "version": __version__,
    }
