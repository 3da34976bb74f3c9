"""One node function for all experts: prompt, model, parsed signal."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from langchain_core.runnables import RunnableConfig

from swarm_brain import observers
from swarm_brain.calls.client import ask
from swarm_brain.calls.error_map import as_model_error
from swarm_brain.calls.reply_cache import cache
from swarm_brain.calls.request import Call, Reply
from swarm_brain.graph.errors import ExpertFailed, ModelError, ModelUnavailable
from swarm_brain.graph.signal import Signal
from swarm_brain.graph.state import BrainState, ExpertUpdate
from swarm_brain.graph.topology import Topology
from swarm_brain.models import choose
from swarm_brain.models.binding import estimate_tokens
from swarm_brain.models.simulation import reply_to
from swarm_brain.nodes import access, emit, interrupt, prompt
from swarm_brain.nodes.account import Account, open_account
from swarm_brain.nodes.interrupt import Decision
from swarm_brain.nodes.signal import (
    PREVENTED,
    candidates,
    readable,
    schema_for,
    signal_of,
    simulates,
    with_lost,
)
from swarm_brain.nodes.turn import ModelTurn, Turn, sampling_for, spec_for, turn_of
from swarm_brain.observers import ExpertEnded
from swarm_brain.spending.ledger import close_ledger


async def run_expert(
    topology: Topology, name: str, state: BrainState, config: RunnableConfig
) -> ExpertUpdate:
    """Ask this expert and return its signal as a state update.

    A failed call is recorded in the signal and does not raise. Raises ExpertFailed before its own
    call if the run is strict and an expert has failed, and ThreadError if the run started with
    another topology.
    """
    run = turn_of(topology, state, config)
    insist(run)
    # Before the first await, so that it is reported before any expert of this step is woken.
    emit.broadcast(run, reporter=name)
    turn = await _with_model(run, name)
    signal = await _signal(turn)
    observers.report(ExpertEnded(signal))
    return {"signals": [signal], "step": turn.step, "workspace": candidates(turn.expert, signal)}


def insist(turn: Turn) -> None:
    """Raise ExpertFailed if the run is strict and an expert has failed."""
    if turn.context.on_error != "raise":
        return
    for signal in turn.signals:
        if signal["error"] is not None and signal["failure"] not in PREVENTED:
            close_ledger(turn.state["run_id"])
            raise ExpertFailed(signal["source"], signal["error"])


async def _with_model(turn: Turn, name: str) -> ModelTurn:
    """Return the turn of this expert, with the model that it asks."""
    expert, context = turn.topology.experts[name], turn.context
    binding, _ = await asyncio.to_thread(
        choose.bind_chosen, spec_for(expert, context), context.base_url
    )
    return ModelTurn(
        topology=turn.topology,
        state=turn.state,
        settings=turn.settings,
        context=context,
        config=turn.config,
        expert=expert,
        binding=binding,
    )


async def _signal(turn: ModelTurn) -> Signal:
    """Return the expert's signal, with the cost of calls by a killed process."""
    account = await open_account(turn)
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
    signal = signal_of(turn, reply)
    signal["trimmed"] = trimmed
    signal["human"] = decision["action"] if decision else None
    return report.answered(with_lost(signal, account.lost), account.ledger)


async def _shown(turn: ModelTurn) -> tuple[Sequence[prompt.Part], str | None, ModelError | None]:
    """Return the prompt's parts, a note on cuts, and a problem if it is not sendable."""
    parts, binding = prompt.parts(turn), turn.binding
    count = binding.count_tokens or estimate_tokens
    try:
        # In a thread: counting tokens and asking for the context's size may need requests.
        shown, trimmed = await asyncio.to_thread(
            prompt.fit, turn.expert, parts, lambda: _room(turn), count
        )
    except (ModelError, ModelUnavailable) as error:
        return parts, None, as_model_error(error)
    return shown, trimmed, None


def _room(turn: ModelTurn) -> int | None:
    """Return the tokens that the model's context has for the prompt; None if unknown."""
    size = turn.binding.context_tokens()
    return None if size is None else size - turn.sampling.max_tokens


def _unasked(turn: ModelTurn, shown: Sequence[prompt.Part], problem: ModelError) -> Reply:
    """Return the reply that stands for a call that was not made."""
    reply = Reply(error=problem)
    if simulates(reply, turn.context):
        reply.text = reply_to(prompt.messages(turn.expert, shown), schema_for(turn))
    return reply


async def _asked(
    turn: ModelTurn,
    shown: Sequence[prompt.Part],
    decision: Decision | None,
    account: Account,
    report: emit.Report,
) -> Reply:
    """Return the model's reply, or a simulated one if the settings say so on failure."""
    call = _call(turn, shown, decision, account)
    if turn.answers and prompt.answer(turn.topology, turn.signals):
        report.revised(emit.DEFECT_FOUND)
    reply = await ask(turn.binding, call, turn.config, report.revised)
    if simulates(reply, turn.context):
        reply.text = reply_to(call.messages, call.schema)
    return reply


def _call(
    turn: ModelTurn, shown: Sequence[prompt.Part], decision: Decision | None, account: Account
) -> Call:
    expert, context, binding = turn.expert, turn.context, turn.binding
    layout = binding.layout if context.prompt_layout == "auto" else context.prompt_layout
    edited = decision["sees"] if decision and decision["action"] == "edit" else None
    return Call(
        messages=prompt.messages(expert, shown, layout, edited),
        sampling=turn.sampling,
        timeout=expert.timeout or context.timeout,
        max_attempts=context.max_attempts,
        label=expert.name,
        run=turn.state["run_id"],
        schema=schema_for(turn),
        ledger=account.ledger,
        reservations=account.reservations,
        answering=turn.answers,
        wanted_tokens=sampling_for(turn.topology, expert, turn.settings, binding).max_tokens,
        cache=cache(context.cache),
        payer=access.user(),
        readable=lambda text: readable(turn, text),
    )
