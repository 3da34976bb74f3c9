"""One node function for all experts: prompt, model, parsed signal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.config import get_stream_writer
from langgraph.runtime import get_runtime

from graph import propagation
from graph.context import Context, make_context
from graph.errors import ExpertFailed, FailureKind, ModelError, ModelUnavailable
from graph.state import BrainState, Signal
from graph.topology import Expert, Topology
from nodes import prompting, reading
from swarm_brain import models
from swarm_brain.models.asking import Call, Reply
from swarm_brain.models.binding import Binding, JsonSchema, Sampling, estimate_tokens
from swarm_brain.models.cache import cache
from swarm_brain.models.call import ask
from swarm_brain.models.faults import as_model_error
from swarm_brain.models.ledger import Amount, Budget, Ledger, close_ledger, open_ledger
from swarm_brain.models.simulation import reply_to

LIMITS: tuple[FailureKind, ...] = ("budget", "deadline")
NOT_SHOWN = "bound to simulation: in a run on a real model, so no other expert is shown it"


def current_context() -> Context:
    """The Context of the run in progress; all defaults if the caller gave none."""
    return make_context(get_runtime(Context).context)


def run_context(state: BrainState) -> Context:
    """The Context of the run in progress, within the limits that `begin` decided."""
    limits = state["limits"]
    return current_context().model_copy(
        update={"max_steps": limits["max_steps"], "max_tokens": limits["max_tokens"]}
    )


def account(state: BrainState, context: Context) -> Ledger:
    """The run's ledger; rebuilt from its signals in a process that does not know it."""
    limits = state["limits"]
    budget = Budget(
        context.budget_tokens, context.budget_usd, context.budget_seconds, limits["started"]
    )
    spent = (Amount(s["charged_tokens"], s["charged_usd"]) for s in state.get("signals", []))
    aside = Amount(limits["answer_tokens"], limits["answer_usd"])
    return open_ledger(state["run_id"], budget, sum(spent, Amount()), aside)


def spec_for(expert: Expert, context: Context) -> str:
    """Whose model this expert speaks with: the run's word, else the topology's, else the run's."""
    return context.expert_models.get(expert.name) or expert.model or context.model


def sampling_for(expert: Expert, context: Context, binding: Binding) -> Sampling:
    """The expert's own limits where the topology states them, else the run's."""

    def own(mine: float | None, run: float) -> float:
        return run if mine is None else mine

    limits = (expert.max_tokens, context.max_tokens)
    return Sampling(
        temperature=own(expert.temperature, context.temperature),
        top_p=own(expert.top_p, context.top_p),
        max_tokens=min((n for n in limits if n is not None), default=binding.max_tokens),
        seed=context.seed,
    )


async def run_expert(
    topology: Topology, name: str, state: BrainState, config: RunnableConfig
) -> dict[str, Any]:
    """Ask this expert and return its signal as a state update. Never raises for a failed call.

    Raises ExpertFailed before its own call if the run is strict and an expert has failed.
    """
    context, expert = run_context(state), topology.experts[name]
    insist(state, context)
    step = state.get("step", 0) + 1
    woken = propagation.woken_by(topology, name, state, context)
    emit = _emitter(name, step)
    emit("woken", woken_by=woken)
    binding, _ = await asyncio.to_thread(
        models.bind_chosen, spec_for(expert, context), context.base_url
    )
    reply, trimmed = await _reply(topology, expert, state, context, binding, config, emit)
    signal = _signal(topology, expert, state, context, binding, reply)
    signal |= {"step": step, "woken_by": woken, "trimmed": trimmed}
    emit(
        "answered",
        status=signal["status"],
        error=signal["error"],
        salience=signal["salience"],
        tokens=signal["output_tokens"],
        latency_s=signal["latency_s"],
    )
    return {"signals": [signal], "step": step, "workspace": _candidates(expert, signal)}


def insist(state: BrainState, context: Context) -> None:
    """Raise ExpertFailed if the run is strict and an expert has failed."""
    if context.on_error != "raise":
        return
    for signal in state.get("signals", []):
        if signal["error"] is not None and signal["failure"] not in LIMITS:
            close_ledger(state["run_id"])
            raise ExpertFailed(signal["source"], signal["error"])


def _emitter(name: str, step: int) -> Callable[..., None]:
    """Events for LangGraph's stream mode `custom`, each with its expert and step."""
    write = get_stream_writer()

    def emit(event: str, **details: Any) -> None:
        write({"event": event, "expert": name, "step": step, **details})

    return emit


async def _reply(
    topology: Topology,
    expert: Expert,
    state: BrainState,
    context: Context,
    binding: Binding,
    config: RunnableConfig,
    emit: Callable[..., None],
) -> tuple[Reply, str | None]:
    """The model's reply and what was left out of its prompt to fit the model's context."""
    sampling = sampling_for(expert, context, binding)
    count = binding.count_tokens or estimate_tokens
    shown = prompting.parts(topology, expert, state, context)
    layout = binding.layout if context.prompt_layout == "auto" else context.prompt_layout
    try:
        # In a thread: counting and asking for the context's size may be requests of their own.
        shown, trimmed = await asyncio.to_thread(
            prompting.fit, expert, shown, lambda: _room(binding, sampling), count
        )
    except (ModelError, ModelUnavailable) as error:
        return Reply(error=as_model_error(error)), None
    call = Call(
        messages=prompting.messages(expert, shown, layout),
        sampling=sampling,
        timeout=expert.timeout or context.timeout,
        max_attempts=context.max_attempts,
        label=expert.name,
        schema=schema_for(topology, expert),
        ledger=account(state, context),
        answering=expert.name == answering(topology, context),
        wanted_tokens=sampling_for(expert, current_context(), binding).max_tokens,
        cache=cache(context.cache),
        readable=lambda text: _readable(topology, expert, text),
    )
    if expert.kind == "synthesis" and prompting.answer(topology, state.get("signals", [])):
        emit("revised", reason="the critic found a defect")
    reply = await ask(binding, call, config, lambda why: emit("revised", reason=why))
    if _simulates(reply, context):
        reply.text = reply_to(call.messages, call.schema)
    return reply, trimmed


def answering(topology: Topology, context: Context) -> str:
    """Who writes the answer of this run."""
    return topology.soloist.name if context.max_steps == 1 else topology.synthesis.name


def _simulates(reply: Reply, context: Context) -> bool:
    """A failed call is simulated if the run says so; one that a limit prevented is left out."""
    failed = reply.error is not None and reply.error.kind not in LIMITS
    return failed and context.on_error == "simulate"


def _room(binding: Binding, sampling: Sampling) -> int | None:
    context = binding.context_tokens()
    return None if context is None else context - sampling.max_tokens


def schema_for(topology: Topology, expert: Expert) -> JsonSchema | None:
    """The JSON schema an expert of this kind replies in, None for plain text."""
    if expert.kind == "gate":
        return reading.gates_schema(topology.gated)
    return reading.defects_schema() if expert.kind == "critic" else None


def _signal(
    topology: Topology,
    expert: Expert,
    state: BrainState,
    context: Context,
    binding: Binding,
    reply: Reply,
) -> dict[str, Any]:
    """What was said, as a signal without its step, edges and trimming."""
    signal = _taken(expert, binding, reply)
    if reply.error is not None:
        status = "simulated" if _simulates(reply, context) else "failed"
        return signal | {
            "status": status,
            "failure": reply.error.kind,
            "error": str(reply.error),
        }
    if binding.simulated:
        signal |= {"status": "simulated", "error": None if state["all_simulated"] else NOT_SHOWN}
        if not state["all_simulated"]:
            return signal
    return signal | _said(topology, expert, state, context, reply.text)


def _taken(expert: Expert, binding: Binding, reply: Reply) -> dict[str, Any]:
    """What was said and what it took, before it is read."""
    return {
        "source": expert.name,
        "content": reply.text,
        "verdict": None,
        "salience": 0.0,
        "status": "ok",
        "gates": {},
        "defects": [],
        "model": binding.spec,
        "attempts": reply.attempts,
        "errors": reply.errors,
        "input_tokens": reply.input_tokens,
        "output_tokens": reply.output_tokens,
        "cached_tokens": reply.cached_tokens,
        "estimated": reply.estimated,
        "latency_s": reply.latency_s,
        "cost_usd": reply.cost_usd,
        "lowered": reply.lowered,
        "cached": reply.from_cache,
        "charged_tokens": reply.charged.tokens,
        "charged_usd": reply.charged.usd,
        "failure": None,
        "error": None,
    }


def _said(
    topology: Topology, expert: Expert, state: BrainState, context: Context, text: str
) -> dict[str, Any]:
    """What the words mean for the graph, by the expert's kind."""
    match expert.kind:
        case "gate":
            gates = reading.read_gates(text, [other.name for other in topology.gated])
            if gates is None and topology.gated:
                return _unreadable("no gate of a listed expert is stated in it")
            return {"gates": gates or {}, "salience": propagation.NEUTRAL}
        case "critic":
            defects = reading.read_defects(text)
            if defects is None:
                return _unreadable("no list of defects is stated in it")
            current = prompting.answer(topology, state["signals"])
            found = propagation.standing(defects, current["content"] if current else "")
            return {"defects": found, "salience": propagation.NEUTRAL}
        case _:
            heard = prompting.heard(topology, expert, state, context)
            texts = [signal["content"] for signal in heard]
            return {
                "verdict": reading.read_verdict(text),
                "salience": propagation.salience(text, state["query"], texts),
            }


def _readable(topology: Topology, expert: Expert, text: str) -> bool:
    """Whether a reply has the form that was asked for."""
    match expert.kind:
        case "gate":
            return reading.read_gates(text, [other.name for other in topology.gated]) is not None
        case "critic":
            return reading.read_defects(text) is not None
        case _:
            return True


def _unreadable(why: str) -> dict[str, Any]:
    return {"status": "failed", "failure": "unreadable", "error": f"unreadable reply: {why}"}


def _candidates(expert: Expert, signal: dict[str, Any]) -> list[dict[str, Any]]:
    """The signal as a candidate for the workspace; gates and defects are for edges, not readers."""
    shown: Signal = signal  # type: ignore[assignment]
    if expert.kind in ("gate", "critic") or not propagation.usable(shown):
        return []
    return [{key: signal[key] for key in ("source", "step", "salience")}]
