"""The arms that ask the brain: whole, without one expert, or with wrong drafts."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import StateUpdate

from swarm_brain.evals.arms.response import ArmResponse, Setup
from swarm_brain.evals.cases.examples import Example, prompt
from swarm_brain.graph.brain import compile_brain
from swarm_brain.graph.context import Context
from swarm_brain.graph.errors import ConfigError
from swarm_brain.graph.signal import Signal
from swarm_brain.graph.state import BrainState
from swarm_brain.nodes.signal import candidates


async def swarm(
    setup: Setup, example: Example, repetition: int, without: str | None = None
) -> ArmResponse:
    """Ask the brain, or the brain without an expert."""
    context = _context(setup, repetition, without)
    brain = compile_brain(setup.topology)  # no store: nothing is remembered between questions
    start: Any = {"question": prompt(example)}
    return _response(
        await _final_state(brain.astream(start, context=context, stream_mode="values"))
    )


def _context(setup: Setup, repetition: int, without: str | None = None) -> Context:
    """Return the run's settings; with a seed, each repetition has its own."""
    seed = setup.context.seed
    changes = {
        "budget_tokens": setup.limit,
        "seed": None if seed is None else seed + repetition,
        "without": (without,) if without else (),
    }
    return setup.context.model_copy(update=changes)


async def _final_state(stream: AsyncIterator[Any]) -> BrainState:
    """Return all channels of the state at the end of a run."""
    state: dict[str, Any] = {}
    async for part in stream:
        state.update(part)
    return cast("BrainState", state)


def _response(state: BrainState) -> ArmResponse:
    usage, provenance = state["usage"], state["provenance"]
    return ArmResponse(
        text="" if provenance == "simulated" else state["final_output"],
        provenance=provenance,
        input_tokens=usage["input_tokens"],
        output_tokens=usage["output_tokens"],
        calls=usage["calls"],
        cost_usd=usage["cost_usd"],
        agreement=state["agreement"],
        error=state["error"],
        trace=list(state["signals"]),
    )


async def shuffled(setup: Setup, example: Example, repetition: int) -> ArmResponse:
    """Ask the brain, with the drafts replaced by those for another question.

    The usage of those drafts is counted too, so that the placebo costs the same.
    """
    drafts = foreign_drafts(setup, example.id)
    if not drafts:
        return ArmResponse(error="the swarm has no drafts for any other question")
    proposers = [expert.name for expert in setup.topology.of_kind("proposer")]
    brain = compile_brain(setup.topology, checkpointer=InMemorySaver())
    config: RunnableConfig = {"configurable": {"thread_id": uuid.uuid4().hex}}
    start: Any = {"question": prompt(example)}
    context = _context(setup, repetition)
    await brain.ainvoke(start, config, context=context, interrupt_before=proposers)
    before = await brain.aget_state(config)
    updates = []
    for number, name in enumerate(before.next):
        draft = next((d for d in drafts if d["source"] == name), drafts[number % len(drafts)])
        step = before.values.get("step", 0) + 1
        signal: Signal = {**draft, "source": name, "step": step, "trimmed": None}
        shown = candidates(setup.topology.experts[name], signal)
        values = {"signals": [signal], "step": step, "workspace": shown}
        updates.append(StateUpdate(values=values, as_node=name))
    config = await brain.abulk_update_state(before.config, [updates])
    response = _response(await _final_state(brain.astream(None, config, stream_mode="values")))
    if not any(s["status"] == "ok" for s in response.trace if s["source"] not in proposers):
        response.text, response.provenance = "", "simulated"  # drafts alone are no model's answer
    return response


def foreign_drafts(setup: Setup, own: str) -> list[Signal]:
    """Return the drafts for the next question in the dataset that has any.

    The list is empty if no other question has drafts. Raises ConfigError if the swarm was asked no
    other question.
    """
    ids = list(setup.drafts)
    at = ids.index(own) if own in ids else -1
    proposers = {expert.name for expert in setup.topology.of_kind("proposer")}
    for other in [*ids[at + 1 :], *ids[: max(at, 0)]]:
        drafts = [
            signal
            for signal in setup.drafts[other]
            if signal["source"] in proposers and signal["status"] == "ok"
        ]
        if other != own and drafts:
            return drafts
    if any(other != own for other in ids):
        return []
    raise ConfigError("swarm-shuffled takes its drafts from the arm swarm: run both")
