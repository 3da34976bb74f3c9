"""One node function for all experts: prompt, model, parsed signal."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.runnables import RunnableConfig

from swarm_brain import observers
from swarm_brain.calls.client import ask
from swarm_brain.calls.error_map import as_model_error
from swarm_brain.calls.reply_cache import cache
from swarm_brain.calls.request import Call, Reply
from swarm_brain.graph import propagation
from swarm_brain.graph.context import Context
from swarm_brain.graph.errors import ExpertFailed, ModelError, ModelUnavailable
from swarm_brain.graph.state import BrainState, Waking
from swarm_brain.graph.topology import Expert, Topology
from swarm_brain.models import choose
from swarm_brain.models.binding import Binding, Sampling, estimate_tokens
from swarm_brain.models.simulation import reply_to
from swarm_brain.nodes import emit, interrupt, prompt
from swarm_brain.nodes import signal as signals
from swarm_brain.nodes.account import Account, open_account
from swarm_brain.nodes.interrupt import Decision
from swarm_brain.nodes.settings import (
    run_context,
    same_topology,
    sampling_for,
    settings_of,
    spec_for,
    user,
)
from swarm_brain.observers import Answered
from swarm_brain.spending.ledger import close_ledger


@dataclass(frozen=True)
class Turn:
    """One expert's turn in a run: who, in which state, by which model, woken by which edges."""

    topology: Topology
    expert: Expert
    state: BrainState
    context: Context
    binding: Binding
    config: RunnableConfig
    step: int
    woken_by: list[Waking]


async def run_expert(
    topology: Topology, name: str, state: BrainState, config: RunnableConfig
) -> dict[str, Any]:
    """Ask this expert and return its signal as a state update. Never raises for a failed call.

    Raises ExpertFailed before its own call if the run is strict and an expert has failed,
    ThreadError if the run was begun with another topology.
    """
    same_topology(topology, state)
    context, expert = run_context(state), topology.experts[name]
    insist(state, context)
    # Before the first await, so that it is reported before any expert of this step is woken.
    emit.broadcast(topology, state, context, reporter=name)
    woken = propagation.woken_by(topology, name, state, context)
    binding, _ = await asyncio.to_thread(
        choose.bind_chosen, spec_for(expert, context), context.base_url
    )
    turn = Turn(topology, expert, state, context, binding, config, state.get("step", 0) + 1, woken)
    signal = await _said(turn)
    observers.tell(Answered(signal))
    return {"signals": [signal], "step": turn.step, "workspace": signals.candidates(expert, signal)}


def insist(state: BrainState, context: Context) -> None:
    """Raise ExpertFailed if the run is strict and an expert has failed."""
    if context.on_error != "raise":
        return
    for signal in state.get("signals", []):
        if signal["error"] is not None and signal["failure"] not in signals.PREVENTED:
            close_ledger(state["run_id"])
            raise ExpertFailed(signal["source"], signal["error"])


async def _said(turn: Turn) -> dict[str, Any]:
    """The expert's signal, with what an earlier, killed process had asked for it already."""
    account = await open_account(turn.expert.name, turn.step, turn.state, turn.context, turn.config)
    shown, trimmed, problem = await _shown(turn)
    if turn.expert.name in turn.context.without:
        problem = ModelError("left_out", "left out by the setting `without`")
    decision = None if problem else interrupt.decide(turn, prompt.joined(shown), account.ledger)
    report = emit.Report(turn)
    report.woken()
    problem = problem or interrupt.prevented(turn.state, decision)
    if problem:
        reply = _unasked(turn, shown, problem)
    else:
        reply = await _asked(turn, shown, decision, account, report)
    signal = signals.signal_of(
        turn.topology, turn.expert, turn.state, turn.context, turn.binding, reply
    )
    told = {"step": turn.step, "woken_by": turn.woken_by, "trimmed": trimmed}
    human = decision["action"] if decision else None
    signal = signals.with_lost(signal | told | {"human": human}, account.lost)
    return dict(report.answered(signal, account.ledger))  # type: ignore[arg-type]


async def _shown(turn: Turn) -> tuple[Sequence[prompt.Part], str | None, ModelError | None]:
    """What the expert is shown, what was left out of it to fit, and why it cannot be shown."""
    parts = prompt.parts(turn.topology, turn.expert, turn.state, turn.context)
    sampling = sampling_for(turn.expert, turn.context, turn.binding)
    count = turn.binding.count_tokens or estimate_tokens
    try:
        # In a thread: counting and asking for the context's size may be requests of their own.
        shown, trimmed = await asyncio.to_thread(
            prompt.fit, turn.expert, parts, lambda: _room(turn.binding, sampling), count
        )
    except (ModelError, ModelUnavailable) as error:
        return parts, None, as_model_error(error)
    return shown, trimmed, None


def _room(binding: Binding, sampling: Sampling) -> int | None:
    context = binding.context_tokens()
    return None if context is None else context - sampling.max_tokens


def _unasked(turn: Turn, shown: Sequence[prompt.Part], problem: ModelError) -> Reply:
    """The reply of a model that was not asked."""
    reply = Reply(error=problem)
    if signals.simulates(reply, turn.context):
        schema = signals.schema_for(turn.topology, turn.expert, turn.context)
        reply.text = reply_to(prompt.messages(turn.expert, shown), schema)
    return reply


async def _asked(
    turn: Turn,
    shown: Sequence[prompt.Part],
    decision: Decision | None,
    account: Account,
    report: emit.Report,
) -> Reply:
    """The model's reply; a simulated one if it failed and the run says so."""
    call = _call(turn, shown, decision, account)
    if turn.expert.kind == "synthesis" and prompt.answer(
        turn.topology, turn.state.get("signals", [])
    ):
        report.revised(emit.DEFECT_FOUND)
    reply = await ask(turn.binding, call, turn.config, report.revised)
    if signals.simulates(reply, turn.context):
        reply.text = reply_to(call.messages, call.schema)
    return reply


def _call(
    turn: Turn, shown: Sequence[prompt.Part], decision: Decision | None, account: Account
) -> Call:
    topology, expert, context, binding = turn.topology, turn.expert, turn.context, turn.binding
    layout = binding.layout if context.prompt_layout == "auto" else context.prompt_layout
    edited = decision["sees"] if decision and decision["action"] == "edit" else None
    return Call(
        messages=prompt.messages(expert, shown, layout, edited),
        sampling=sampling_for(expert, context, binding),
        timeout=expert.timeout or context.timeout,
        max_attempts=context.max_attempts,
        label=expert.name,
        schema=signals.schema_for(topology, expert, context),
        ledger=account.ledger,
        journal=account.journal,
        answering=expert.name == answering(topology, context),
        wanted_tokens=sampling_for(expert, settings_of(turn.state), binding).max_tokens,
        cache=cache(context.cache),
        payer=user(),
        readable=lambda text: signals.readable(topology, expert, context, text),
    )


def answering(topology: Topology, context: Context) -> str:
    """Who writes the answer of this run."""
    return topology.soloist.name if context.max_steps == 1 else topology.synthesis.name
