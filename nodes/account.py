"""The account of a run: what it may spend, what it has spent, in this process and before it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from langchain_core.runnables import RunnableConfig

from swarm_brain.graph.context import Context
from swarm_brain.graph.state import BrainState, Signal
from swarm_brain.nodes import settings
from swarm_brain.spending import reservations as journals
from swarm_brain.spending.ledger import Amount, Budget, Ledger, known_ledger, open_ledger
from swarm_brain.spending.reservations import Entry, Journal


@dataclass(frozen=True)
class Account:
    """`lost` are requests of this expert in this step whose replies a crash has taken."""

    ledger: Ledger
    journal: Journal | None = None
    lost: Sequence[Entry] = ()


async def open_account(
    name: str, step: int, state: BrainState, context: Context, config: RunnableConfig
) -> Account:
    """The run's account for one expert; rebuilt in a process that does not know it."""
    signals = state.get("signals", [])
    store = settings.store()
    if store is None or settings.thread_of(config) is None:  # nobody could resume this run
        return Account(ledger(state, context, signals, ()))
    namespace = settings.space(context).calls(state["run_id"])
    found = await journals.entries(store, namespace)
    told = {(signal["source"], signal["step"]) for signal in signals}
    untold = [entry for entry in found if (entry.expert, entry.step) not in told]
    return Account(
        ledger(state, context, signals, untold),
        Journal(store, namespace, name, step),
        [entry for entry in untold if (entry.expert, entry.step) == (name, step)],
    )


def ledger(
    state: BrainState, context: Context, signals: Sequence[Signal], untold: Sequence[Entry]
) -> Ledger:
    """The run's ledger. In a new process it starts with what signals and entries say was spent;

    the time between the end of the old process and now does not count.
    """
    limits, run_id = state["limits"], state["run_id"]
    known = known_ledger(run_id)
    started = limits["started"] if known else time.time() - elapsed(signals)
    budget = Budget(context.budget_tokens, context.budget_usd, context.budget_seconds, started)
    if known:
        known.limit(budget)
        return known
    spent = sum((Amount(s["charged_tokens"], s["charged_usd"]) for s in signals), Amount())
    aside = Amount(limits["answer_tokens"], limits["answer_usd"])
    return open_ledger(run_id, budget, spent + journals.total(untold), aside)


def elapsed(signals: Iterable[Signal]) -> float:
    """Seconds that the waves of these signals took."""
    longest: dict[int, float] = {}
    for signal in signals:
        longest[signal["step"]] = max(longest.get(signal["step"], 0.0), signal["latency_s"])
    return sum(longest.values())
