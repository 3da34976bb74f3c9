"""Write a run's events (`graph.events`) to LangGraph's stream mode `custom`."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import cast

from langgraph.config import get_stream_writer

from swarm_brain.graph import propagation
from swarm_brain.graph.context import Context
from swarm_brain.graph.events import (
    Answered,
    Begun,
    Broadcasting,
    Reached,
    Revised,
    Spending,
    Woken,
    Written,
)
from swarm_brain.graph.signal import ADDED, Limits, Signal, Trace, Waking, Withdrawal
from swarm_brain.graph.state import BrainState, Recall
from swarm_brain.nodes.plan import Plan
from swarm_brain.nodes.turn import ModelTurn, Turn
from swarm_brain.spending.ledger import Ledger

DEFECT_FOUND = "the critic found a defect"


def _write(event: Written) -> None:
    get_stream_writer()(event)


def begun(turn: Turn, plan: Plan, model: str, recalled: list[Recall]) -> None:
    """Report that the run begins with this plan."""
    event: Begun = {
        "event": "begun",
        "effort": plan.effort,
        "max_steps": plan.max_steps,
        "model": model,
        "woken": propagation.entries(
            turn.topology, plan.effort, plan.max_steps, recalled=bool(recalled)
        ),
        "recalled": recalled,
        "limits": limits_of(turn.settings),
    }
    _write(event)


@dataclass
class Report:
    """Report one expert's turn, and record in its signal what a replay needs."""

    turn: ModelTurn
    _woken_at: float = 0.0
    _withdrawn: list[Withdrawal] = field(default_factory=list)

    def woken(self) -> None:
        """Report that the expert starts."""
        self._woken_at, turn = time.time(), self.turn
        _write(woken(turn.expert.name, turn.step, turn.binding.spec, turn.woken_by))

    def revised(self, reason: str) -> None:
        """Report that the text streamed for this expert so far is withdrawn."""
        self._withdrawn.append({"at": time.time(), "reason": reason})
        _write(revised(self.turn.expert.name, self.turn.step, reason))

    def answered(self, signal: Signal, ledger: Ledger) -> Signal:
        """Report the expert's end and the spending; return the signal with its trace."""
        turn, now = self.turn, time.time()
        trace: Trace = {
            "woken_at": self._woken_at,
            "answered_at": now,
            "withdrawn": self._withdrawn,
            "spent": {
                "tokens": ledger.spent.tokens,
                "usd": None if ledger.spent.usd is None else round(ledger.spent.usd, 8),
                "seconds": round(now - ledger.budget.started, 3),
            },
            "limits": limits_of(turn.context),
        }
        signals = [*turn.signals, signal]
        edges = propagation.edges(turn.topology, signal, signals, turn.effort, turn.context)
        _write(answered(signal, edges))
        _write(budget(signal["step"], trace["spent"], trace["limits"]))
        return {**signal, "trace": trace}


def woken(expert: str, step: int, model: str, woken_by: list[Waking]) -> Woken:
    """Return the event of an expert's start."""
    return {
        "event": "woken",
        "expert": expert,
        "step": step,
        "model": model,
        "woken_by": woken_by,
    }


def revised(expert: str, step: int, reason: str) -> Revised:
    """Return the event that withdraws the text streamed for this expert so far."""
    return {"event": "revised", "expert": expert, "step": step, "reason": reason}


def answered(signal: Signal, edges: list[Reached] | None) -> Answered:
    """Return the event of an expert's end, with the signal's fields copied."""
    own = {"event": "answered", "expert": signal["source"], "edges": edges}
    saved: dict[str, object] = {**ADDED, **signal}
    copied = {key: saved[key] for key in Answered.__annotations__ if key not in own}
    return cast(Answered, own | copied)


def budget(step: int, spent: Limits, limits: Limits) -> Spending:
    """Return the event with the run's spending and limits."""
    return {"event": "budget", "step": step, "spent": spent, "limits": limits}


def broadcast(turn: Turn, reporter: str | None = None) -> None:
    """Report the signals that the last step put into the workspace, if any.

    They are known in the next step at the earliest, where the first of its experts reports them.
    """
    # After a person has edited the state nobody may be known to be woken: then each reports it.
    first = propagation.woken(turn.topology, turn.state, turn.context)[:1]
    if reporter is not None and first not in ([], [reporter]):
        return
    if event := broadcast_of(turn.state, turn.context, turn.last_step):
        _write(event)


def broadcast_of(state: BrainState, context: Context, step: int) -> Broadcasting | None:
    """Return the event of a step's broadcast, if there was one."""
    workspace = state["workspace"]
    entries = [entry for entry in workspace["broadcasts"] if entry["step"] == step]
    if not entries or not context.use_global_workspace:
        return None
    return {
        "event": "broadcast",
        "step": step,
        "capacity": workspace["capacity"],
        "entered": [
            {"source": entry["source"], "salience": entry["salience"]} for entry in entries
        ],
    }


def limits_of(context: Context) -> Limits:
    """Return the budgets of a run."""
    return {
        "tokens": context.budget_tokens,
        "usd": context.budget_usd,
        "seconds": context.budget_seconds,
    }
