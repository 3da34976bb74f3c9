"""What a run tells while it goes: the events of `graph.events`, into the stream mode `custom`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from langgraph.config import get_stream_writer

from swarm_brain.graph import propagation
from swarm_brain.graph.context import Context
from swarm_brain.graph.events import (
    Answered,
    Begun,
    Broadcasting,
    Entered,
    Event,
    Limits,
    Revised,
    Spending,
    Woken,
)
from swarm_brain.graph.state import BrainState, Recall, Signal
from swarm_brain.graph.topology import Topology
from swarm_brain.nodes.plan import Plan
from swarm_brain.spending.ledger import Ledger

if TYPE_CHECKING:
    from swarm_brain.nodes.expert import Turn


def _tell(event: Event) -> None:
    get_stream_writer()(event)


def begun(
    topology: Topology, context: Context, plan: Plan, model: str, recalled: list[Recall]
) -> None:
    """The run begins by this plan."""
    woken = propagation.entries(topology, plan.effort, plan.max_steps, recalled=bool(recalled))
    event: Begun = {
        "event": "begun",
        "effort": plan.effort,
        "max_steps": plan.max_steps,
        "model": model,
        "woken": woken,
        "recalled": recalled,
        "limits": _limits(context),
    }
    _tell(event)


def woken(turn: Turn) -> None:
    """An expert starts."""
    event: Woken = {
        "event": "woken",
        "expert": turn.expert.name,
        "step": turn.step,
        "model": turn.binding.spec,
        "woken_by": turn.woken_by,
    }
    _tell(event)


def answered(turn: Turn, said: dict[str, Any], ledger: Ledger) -> None:
    """An expert has ended; `budget` follows."""
    signal: Signal = said  # type: ignore[assignment]
    signals = [*turn.state.get("signals", []), signal]
    event: Answered = {
        "event": "answered",
        "expert": turn.expert.name,
        "step": turn.step,
        "model": signal["model"],
        "status": signal["status"],
        "content": signal["content"],
        "verdict": signal["verdict"],
        "salience": signal["salience"],
        "edges": propagation.edges(
            turn.topology, signal, signals, turn.state["effort"], turn.context
        ),
        "attempts": signal["attempts"],
        "input_tokens": signal["input_tokens"],
        "output_tokens": signal["output_tokens"],
        "cached_tokens": signal["cached_tokens"],
        "cost_usd": signal["cost_usd"],
        "latency_s": signal["latency_s"],
        "human": signal["human"],
        "error": signal["error"],
    }
    _tell(event)
    _budget(turn, ledger)


def _budget(turn: Turn, ledger: Ledger) -> None:
    spent: Limits = {
        "tokens": ledger.spent.tokens,
        "usd": None if ledger.spent.usd is None else round(ledger.spent.usd, 8),
        "seconds": round(time.time() - ledger.budget.started, 3),
    }
    limits = _limits(turn.context)
    told: Spending = {"event": "budget", "step": turn.step, "spent": spent, "limits": limits}
    _tell(told)


def revised(turn: Turn, reason: str) -> None:
    """What this expert's stream said before is withdrawn."""
    event: Revised = {
        "event": "revised",
        "expert": turn.expert.name,
        "step": turn.step,
        "reason": reason,
    }
    _tell(event)


def broadcast(
    topology: Topology, state: BrainState, context: Context, teller: str | None = None
) -> None:
    """Whose signals the last wave has put into the workspace, if any.

    Known in the next wave at the earliest, where the first of the siblings tells it.
    """
    # Nobody is known to have been woken where a person has edited the state: each tells it then.
    if teller is not None and propagation.wave(topology, state, context)[:1] not in ([], [teller]):
        return
    step, workspace = state.get("step", 0), state["workspace"]
    entered: list[Entered] = [
        {"source": entry["source"], "salience": entry["salience"]}
        for entry in workspace["broadcasts"]
        if entry["step"] == step
    ]
    if entered and context.use_global_workspace:
        capacity = workspace["capacity"]
        event: Broadcasting = {
            "event": "broadcast",
            "step": step,
            "capacity": capacity,
            "entered": entered,
        }
        _tell(event)


def _limits(context: Context) -> Limits:
    return {
        "tokens": context.budget_tokens,
        "usd": context.budget_usd,
        "seconds": context.budget_seconds,
    }
