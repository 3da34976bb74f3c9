"""Turn a reply into a signal: its words, their meaning for the graph, the cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from swarm_brain.calls.request import Reply
from swarm_brain.graph import propagation
from swarm_brain.graph.context import Context
from swarm_brain.graph.errors import FailureKind
from swarm_brain.graph.kinds import Kind
from swarm_brain.graph.signal import Defect, Signal
from swarm_brain.graph.topology import Expert
from swarm_brain.graph.workspace import Broadcast
from swarm_brain.models.binding import JsonSchema
from swarm_brain.nodes import parse, prompt
from swarm_brain.nodes.turn import ExpertTurn, ModelTurn
from swarm_brain.spending.reservations import Reservation, total

LIMITS: tuple[FailureKind, ...] = ("budget", "deadline")
PERSONS: tuple[FailureKind, ...] = ("skipped", "stopped")  # what a person decided at a pause
PREVENTED = (*LIMITS, *PERSONS, "left_out")  # no call was made, and no model is to blame
NOT_SHOWN = "bound to simulation in a run on a real model, so no other expert is shown it"


@dataclass(frozen=True)
class Meaning:
    """The meaning of a reply for the graph. `unreadable` says why it has none."""

    content: str
    verdict: str | None = None
    salience: float = 0.0
    gates: dict[str, float] = field(default_factory=dict)
    defects: list[Defect] = field(default_factory=list)
    unreadable: str | None = None


def blank(source: str, step: int) -> Signal:
    """Return a signal without words and cost."""
    return {
        "source": source,
        "step": step,
        "content": "",
        "verdict": None,
        "salience": 0.0,
        "status": "ok",
        "gates": {},
        "defects": [],
        "woken_by": [],
        "model": "",
        "attempts": 0,
        "errors": 0,
        "input_tokens": 0,
        "output_tokens": 0,
        "cached_tokens": 0,
        "estimated": False,
        "latency_s": 0.0,
        "cost_usd": 0.0,
        "trimmed": None,
        "lowered": False,
        "cached": False,
        "charged_tokens": 0,
        "charged_usd": 0.0,
        "human": None,
        "failure": None,
        "error": None,
    }


def simulates(reply: Reply, context: Context) -> bool:
    """Return whether a failed call is simulated; a prevented one is left out instead."""
    failed = reply.error is not None and reply.error.kind not in PREVENTED
    return failed and context.on_error == "simulate"


def signal_of(turn: ModelTurn, reply: Reply) -> Signal:
    """Return the signal of a reply."""
    signal = _costs(turn, reply)
    if reply.error is not None:
        signal["status"] = "simulated" if simulates(reply, turn.context) else "failed"
        signal["failure"] = reply.error.kind
        # An expert that was left out on purpose has not failed.
        signal["error"] = None if reply.error.kind == "left_out" else str(reply.error)
        return signal
    if turn.binding.simulated:
        signal["status"] = "simulated"
        if not turn.state["all_simulated"]:
            signal["error"] = NOT_SHOWN
            return signal
    return with_meaning(signal, meaning(turn, reply.text))


def _costs(turn: ModelTurn, reply: Reply) -> Signal:
    """Return the signal of a reply before its words are read."""
    return blank(turn.expert.name, turn.step) | {
        "content": reply.text,
        "woken_by": turn.woken_by,
        "model": turn.binding.spec,
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
    }


def with_meaning(signal: Signal, meaning: Meaning) -> Signal:
    """Return the signal with the meaning of its words."""
    if meaning.unreadable:
        return signal | {
            "status": "failed",
            "failure": "unreadable",
            "error": f"unreadable reply: {meaning.unreadable}",
        }
    return signal | {
        "content": meaning.content,
        "verdict": meaning.verdict,
        "salience": meaning.salience,
        "gates": meaning.gates,
        "defects": meaning.defects,
    }


def rewritten(turn: ExpertTurn, signal: Signal, text: str) -> Signal:
    """Return a signal with words that a person has replaced."""
    fresh = signal | {"status": "ok", "failure": None, "error": None, "human": "written"}
    return with_meaning(fresh, meaning(turn, text))


def schema_for(turn: ExpertTurn) -> JsonSchema | None:
    """Return the JSON schema that this expert replies in; None for plain text."""
    if turn.answers:
        return turn.context.answer_schema
    form = FORMS.get(turn.expert.kind)
    return form.schema(turn) if form else None


def meaning(turn: ExpertTurn, text: str) -> Meaning:
    """Return the meaning of a reply for the graph, by the expert's kind."""
    if form := FORMS.get(turn.expert.kind):
        return form.read(turn, text)
    if turn.answers and turn.context.answer_schema is not None:
        return _formed(turn, text)
    heard = [signal["content"] for signal in prompt.heard(turn)]
    salience = propagation.salience(text, turn.state["query"], heard, turn.context)
    return Meaning(text, verdict=parse.read_verdict(text), salience=salience)


def _gates(turn: ExpertTurn, text: str) -> Meaning:
    gated = [other.name for other in turn.topology.gated]
    gates = parse.read_gates(text, gated)
    if gates is None and gated:
        return Meaning(text, unreadable="it has no gate for a listed expert")
    return Meaning(text, salience=propagation.NEUTRAL, gates=gates or {})


def _defects(turn: ExpertTurn, text: str) -> Meaning:
    defects = parse.read_defects(text)
    if defects is None:
        return Meaning(text, unreadable="it has no list of defects")
    current = prompt.answer(turn.topology, turn.signals)
    standing = propagation.standing(defects, current["content"] if current else "")
    return Meaning(text, salience=propagation.NEUTRAL, defects=standing)


@dataclass(frozen=True)
class Form:
    """The form of replies that are not plain text: a JSON schema and a reader."""

    schema: Callable[[ExpertTurn], JsonSchema]
    read: Callable[[ExpertTurn, str], Meaning]


FORMS: Mapping[Kind, Form] = {
    "gate": Form(lambda turn: parse.gates_schema(turn.topology.gated), _gates),
    "critic": Form(lambda _: parse.defects_schema(), _defects),
}


def _formed(turn: ExpertTurn, text: str) -> Meaning:
    """Return an answer in JSON without the text that some models put around it."""
    value = parse.read_formed(text, turn.context.answer_schema or {})
    if value is None:
        return Meaning(text, unreadable="it is not JSON that fits answer_schema")
    salience = propagation.salience(value, turn.state["query"], [], turn.context)
    return Meaning(value, salience=salience)


def readable(turn: ExpertTurn, text: str) -> bool:
    """Return whether a reply has the requested form."""
    return meaning(turn, text).unreadable is None


def candidates(expert: Expert, signal: Signal) -> list[Broadcast]:
    """Return the signal as a workspace candidate; gates and defects are none."""
    if not expert.traits.speaks or not propagation.usable(signal):
        return []
    entry: Broadcast = {
        "source": signal["source"],
        "step": signal["step"],
        "salience": signal["salience"],
    }
    return [entry]


def with_lost(signal: Signal, lost: Sequence[Reservation]) -> Signal:
    """Return the signal with the cost of calls that a crash interrupted.

    A call that was in flight is charged at its reservation, which is an estimate.
    """
    if not lost:
        return signal
    spent = total(lost)
    known = signal["output_tokens"] is not None
    cost, charged = signal["cost_usd"] if known else 0.0, signal["charged_usd"]
    return signal | {
        "attempts": signal["attempts"] + len(lost),
        "errors": signal["errors"] + len(lost),
        "input_tokens": (signal["input_tokens"] or 0) + sum(e.input_tokens for e in lost),
        "output_tokens": (signal["output_tokens"] or 0) + sum(e.output_tokens for e in lost),
        "cached_tokens": signal["cached_tokens"] or 0,
        "cost_usd": None if cost is None or spent.usd is None else cost + spent.usd,
        "charged_tokens": signal["charged_tokens"] + spent.tokens,
        "charged_usd": None if charged is None or spent.usd is None else charged + spent.usd,
        "estimated": signal["estimated"] or not all(entry.settled for entry in lost),
    }
