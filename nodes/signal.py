"""From a reply to a signal: what was said, what it means for the graph, what it took."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from swarm_brain.calls.request import Reply
from swarm_brain.graph import propagation
from swarm_brain.graph.context import Context
from swarm_brain.graph.errors import FailureKind
from swarm_brain.graph.state import BrainState, Signal
from swarm_brain.graph.topology import Expert, Topology
from swarm_brain.models.binding import Binding, JsonSchema
from swarm_brain.nodes import parse, prompt
from swarm_brain.nodes.settings import answers
from swarm_brain.spending.reservations import Entry, total

LIMITS: tuple[FailureKind, ...] = ("budget", "deadline")
PERSONS: tuple[FailureKind, ...] = ("skipped", "stopped")  # what somebody at a pause decided
PREVENTED = (*LIMITS, *PERSONS, "left_out")  # no call was made, and no model is to blame
NOT_SHOWN = "bound to simulation: in a run on a real model, so no other expert is shown it"


def simulates(reply: Reply, context: Context) -> bool:
    """A failed call is simulated if the run says so; one that was prevented is left out."""
    failed = reply.error is not None and reply.error.kind not in PREVENTED
    return failed and context.on_error == "simulate"


def schema_for(topology: Topology, expert: Expert, context: Context) -> JsonSchema | None:
    """The JSON schema an expert of this kind replies in, None for plain text."""
    if answers(expert, context):
        return context.answer_schema
    if expert.kind == "gate":
        return parse.gates_schema(topology.gated)
    return parse.defects_schema() if expert.kind == "critic" else None


def signal_of(
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
        status = "simulated" if simulates(reply, context) else "failed"
        return signal | {
            "status": status,
            "failure": reply.error.kind,
            # Who was left out on purpose has not failed.
            "error": None if reply.error.kind == "left_out" else str(reply.error),
        }
    if binding.simulated:
        signal |= {"status": "simulated", "error": None if state["all_simulated"] else NOT_SHOWN}
        if not state["all_simulated"]:
            return signal
    return signal | said(topology, expert, state, context, reply.text)


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
        "human": None,
        "failure": None,
        "error": None,
    }


def said(
    topology: Topology, expert: Expert, state: BrainState, context: Context, text: str
) -> dict[str, Any]:
    """What the words mean for the graph, by the expert's kind."""
    match expert.kind:
        case "gate":
            gates = parse.read_gates(text, [other.name for other in topology.gated])
            if gates is None and topology.gated:
                return _unreadable("no gate of a listed expert is stated in it")
            return {"gates": gates or {}, "salience": propagation.NEUTRAL}
        case "critic":
            defects = parse.read_defects(text)
            if defects is None:
                return _unreadable("no list of defects is stated in it")
            current = prompt.answer(topology, state["signals"])
            found = propagation.standing(defects, current["content"] if current else "")
            return {"defects": found, "salience": propagation.NEUTRAL}
        case _:
            if answers(expert, context) and context.answer_schema is not None:
                return _formed(expert, state, context, text)
            heard = prompt.heard(topology, expert, state, context)
            texts = [signal["content"] for signal in heard]
            return {
                "verdict": parse.read_verdict(text),
                "salience": propagation.salience(text, state["query"], texts, context),
            }


def _formed(expert: Expert, state: BrainState, context: Context, text: str) -> dict[str, Any]:
    """An answer that was to have a form, without what some models put around it."""
    found = parse.read_formed(text, context.answer_schema or {})
    if found is None:
        return _unreadable("it is not JSON that fits answer_schema")
    return {"content": found, "salience": propagation.salience(found, state["query"], [], context)}


def readable(topology: Topology, expert: Expert, context: Context, text: str) -> bool:
    """Whether a reply has the form that was asked for."""
    match expert.kind:
        case "gate":
            return parse.read_gates(text, [other.name for other in topology.gated]) is not None
        case "critic":
            return parse.read_defects(text) is not None
        case _ if answers(expert, context) and context.answer_schema is not None:
            return parse.read_formed(text, context.answer_schema) is not None
        case _:
            return True


def _unreadable(why: str) -> dict[str, Any]:
    return {"status": "failed", "failure": "unreadable", "error": f"unreadable reply: {why}"}


def candidates(expert: Expert, signal: dict[str, Any]) -> list[dict[str, Any]]:
    """The signal as a candidate for the workspace; gates and defects are for edges, not readers."""
    shown: Signal = signal  # type: ignore[assignment]
    if expert.kind in ("gate", "critic") or not propagation.usable(shown):
        return []
    return [{key: signal[key] for key in ("source", "step", "salience")}]


def with_lost(signal: dict[str, Any], lost: Sequence[Entry]) -> dict[str, Any]:
    """The signal with the requests whose replies a crash has taken: counted, at what they cost.

    One that was in flight then is charged at its reservation, which is an estimate.
    """
    if not lost:
        return signal
    spent = total(lost)

    def more(key: str, amount: int) -> int:
        return (signal[key] or 0) + amount

    cost = signal["cost_usd"] if signal["output_tokens"] is not None else 0.0
    return signal | {
        "attempts": signal["attempts"] + len(lost),
        "errors": signal["errors"] + len(lost),
        "input_tokens": more("input_tokens", sum(entry.input_tokens for entry in lost)),
        "output_tokens": more("output_tokens", sum(entry.output_tokens for entry in lost)),
        "cached_tokens": signal["cached_tokens"] or 0,
        "cost_usd": None if cost is None or spent.usd is None else cost + spent.usd,
        "charged_tokens": signal["charged_tokens"] + spent.tokens,
        "charged_usd": (
            None
            if signal["charged_usd"] is None or spent.usd is None
            else signal["charged_usd"] + spent.usd
        ),
        "estimated": signal["estimated"] or not all(entry.settled for entry in lost),
    }
