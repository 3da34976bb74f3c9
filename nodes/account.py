"""The account of a run: its limits and its spending, in all processes so far."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from swarm_brain.graph.signal import Signal
from swarm_brain.nodes.turn import ExpertTurn, Turn
from swarm_brain.spending import reservations
from swarm_brain.spending.ledger import Amount, Budget, Ledger, known_ledger, open_ledger
from swarm_brain.spending.reservations import Reservation, Reservations


@dataclass(frozen=True)
class Account:
    """The run's account from the view of one expert.

    `lost` are the expert's requests in this step whose replies were lost in a crash.
    """

    ledger: Ledger
    reservations: Reservations | None = None
    lost: Sequence[Reservation] = ()


async def open_account(turn: ExpertTurn) -> Account:
    """Return the run's account for one expert, rebuilt if this process lacks it."""
    store, name, step = turn.store, turn.expert.name, turn.step
    if store is None or turn.thread is None:  # nobody could resume this run
        return Account(ledger(turn, ()))
    namespace = turn.space.calls(turn.state["run_id"])
    entries = await reservations.read(store, namespace)
    known = {(signal["source"], signal["step"]) for signal in turn.signals}
    unknown = [entry for entry in entries if (entry.expert, entry.step) not in known]
    return Account(
        ledger(turn, unknown),
        Reservations(store, namespace, name, step),
        [entry for entry in unknown if (entry.expert, entry.step) == (name, step)],
    )


def ledger(turn: Turn, unknown: Sequence[Reservation]) -> Ledger:
    """Return the run's ledger; in a new process it starts with the saved costs.

    The time between the end of the old process and now does not count.
    """
    context, limits, run_id = turn.context, turn.state["limits"], turn.state["run_id"]
    open_already = known_ledger(run_id)
    started = limits["started"] if open_already else time.time() - elapsed(turn.signals)
    budget = Budget(context.budget_tokens, context.budget_usd, context.budget_seconds, started)
    if open_already:
        open_already.limit(budget)
        return open_already
    charged = (Amount(s["charged_tokens"], s["charged_usd"]) for s in turn.signals)
    aside = Amount(limits["answer_tokens"], limits["answer_usd"])
    return open_ledger(run_id, budget, sum(charged, Amount()) + reservations.total(unknown), aside)


def elapsed(signals: Iterable[Signal]) -> float:
    """Return the seconds that the steps of these signals lasted."""
    longest: dict[int, float] = {}
    for signal in signals:
        longest[signal["step"]] = max(longest.get(signal["step"], 0.0), signal["latency_s"])
    return sum(longest.values())
