"""The arms that are the brain: whole, without one expert, and with another question's drafts."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, cast

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import StateUpdate

from swarm_brain.evals.arms.response import Answer, Setup
from swarm_brain.evals.cases.examples import Example, prompt
from swarm_brain.graph.brain import Brain, compile_brain
from swarm_brain.graph.context import Context
from swarm_brain.graph.errors import ConfigError
from swarm_brain.graph.state import Signal
from swarm_brain.nodes.signal import candidates


async def swarm(setup: Setup, example: Example, turn: int, without: str | None = None) -> Answer:
    context = _context(setup, turn, without)
    brain = compile_brain(setup.topology)  # no store: nothing is remembered between questions
    state = await _ended(brain, {"question": prompt(example)}, {}, context)
    return _from(state)


def _context(setup: Setup, turn: int, without: str | None = None) -> Context:
    """The run's settings; repetitions differ in their seed, if there is one."""
    seed = setup.context.seed
    changes: dict[str, Any] = {
        "budget_tokens": setup.limit,
        "seed": None if seed is None else seed + turn,
        "without": (without,) if without else (),
    }
    return setup.context.model_copy(update=changes)


async def _ended(brain: Brain, start: Any, config: Any, context: Context | None) -> dict[str, Any]:
    """The state at the end of a run, all channels of it."""
    state: dict[str, Any] = {}
    async for part in brain.astream(start, config, context=context, stream_mode="values"):
        state.update(part)
    return state


def _from(state: Mapping[str, Any]) -> Answer:
    usage = state["usage"]
    return Answer(
        text="" if state["provenance"] == "simulated" else state["final_output"],
        provenance=state["provenance"],
        input_tokens=usage["input_tokens"],
        output_tokens=usage["output_tokens"],
        calls=usage["calls"],
        cost_usd=usage["cost_usd"],
        agreement=state["agreement"],
        error=state["error"],
        trace=[dict(signal) for signal in state["signals"]],
    )


async def shuffled(setup: Setup, example: Example, turn: int) -> Answer:
    """The brain, whose proposers' drafts are replaced by those for another question.

    What those drafts took is counted here too: the placebo has the same costs.
    """
    foreign = foreign_drafts(setup, example.id)
    if not foreign:
        return Answer(error="no other question has drafts of the swarm")
    proposers = [expert.name for expert in setup.topology.of_kind("proposer")]
    brain = compile_brain(setup.topology, checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": uuid.uuid4().hex}}
    context = _context(setup, turn)
    start: Any = {"question": prompt(example)}
    await brain.ainvoke(start, config, context=context, interrupt_before=proposers)
    before = await brain.aget_state(config)
    updates = []
    for number, name in enumerate(before.next):
        draft = next((d for d in foreign if d["source"] == name), foreign[number % len(foreign)])
        step = before.values.get("step", 0) + 1
        signal = {**draft, "source": name, "step": step, "trimmed": None}
        shown = candidates(setup.topology.experts[name], cast(Signal, signal))
        values = {"signals": [signal], "step": step, "workspace": shown}
        updates.append(StateUpdate(values=values, as_node=name))
    config = await brain.abulk_update_state(before.config, [updates])
    given = _from(await _ended(brain, None, config, None))
    if not any(s["status"] == "ok" for s in given.trace if s["source"] not in proposers):
        given.text, given.provenance = "", "simulated"  # the drafts alone are no model's answer
    return given


def foreign_drafts(setup: Setup, own: str) -> list[dict[str, Any]]:
    """The drafts for the next question in the dataset's order that has any; none if none has.

    Raises ConfigError if the swarm was asked no other question.
    """
    ids = list(setup.drafts)
    at = ids.index(own) if own in ids else -1
    proposers = {expert.name for expert in setup.topology.of_kind("proposer")}
    for other in [*ids[at + 1 :], *ids[: max(at, 0)]]:
        drafts = [s for s in setup.drafts[other] if s["source"] in proposers]
        if other != own and any(draft["status"] == "ok" for draft in drafts):
            return [draft for draft in drafts if draft["status"] == "ok"]
    if any(other != own for other in ids):
        return []
    raise ConfigError("swarm-shuffled takes its drafts from the arm swarm: run both")
