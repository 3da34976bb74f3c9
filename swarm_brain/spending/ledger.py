"""The ledger of a run: its limits, its spending, and failing endpoints.

Every request reserves its worst case before it is sent and settles afterwards, so that parallel
experts cannot spend the same balance twice. The answering expert's share is set aside; others
reserve from the rest. There is one ledger per run.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace

from swarm_brain.graph.errors import ModelError

CIRCUIT_FAILURES = 3  # consecutive final failures after which a run stops asking an endpoint
LEAST_REPLY_TOKENS = 64
MOST_LEDGERS = 10_000
# Share of a time budget that is set aside for the answering expert.
ANSWER_SHARE_OF_TIME = 0.25


@dataclass(frozen=True)
class Amount:
    """Tokens (input plus output) and dollars; dollars are None if no price is known."""

    tokens: int = 0
    usd: float | None = 0.0

    def __add__(self, other: Amount) -> Amount:
        known = None if self.usd is None or other.usd is None else self.usd + other.usd
        return Amount(self.tokens + other.tokens, known)


@dataclass(frozen=True)
class Budget:
    """Limits of a run; None means unlimited. `started` is seconds since the epoch."""

    tokens: int | None = None
    usd: float | None = None
    seconds: float | None = None
    started: float = 0.0


@dataclass
class Ledger:
    """The account of one run; `answer` is set aside for the answering expert."""

    budget: Budget = field(default_factory=Budget)
    spent: Amount = field(default_factory=Amount)
    reserved: Amount = field(default_factory=Amount)
    answer: Amount = field(default_factory=Amount)
    failures: dict[str, int] = field(default_factory=dict)
    exceeded_by: str | None = None
    _held_at: float | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def limited(self) -> bool:
        """Whether tokens or dollars are limited."""
        return self.budget.tokens is not None or self.budget.usd is not None

    def affordable_tokens(self, *, answering: bool) -> int | None:
        """Return the tokens that one more request may use; None means unlimited."""
        if self.budget.tokens is None:
            return None
        aside = 0 if answering else self.answer.tokens
        return self.budget.tokens - self.spent.tokens - self.reserved.tokens - aside

    def affordable_usd(self, *, answering: bool) -> float | None:
        """Return the dollars that one more request may cost; None means unlimited."""
        if self.budget.usd is None:
            return None
        aside = 0.0 if answering else (self.answer.usd or 0.0)
        return self.budget.usd - (self.spent.usd or 0) - (self.reserved.usd or 0) - aside

    def reserve(self, worst: Amount, *, answering: bool) -> None:
        """Reserve a request's worst case. Raises ModelError("budget") if too large."""
        with self._lock:
            if self.exceeded_by:
                raise ModelError("budget", self.exceeded_by)
            tokens = self.affordable_tokens(answering=answering)
            usd = self.affordable_usd(answering=answering)
            if tokens is not None and worst.tokens > tokens:
                raise ModelError(
                    "budget", f"budget_tokens: up to {worst.tokens} needed, {tokens} left"
                )
            if usd is not None and (worst.usd is None or worst.usd > usd):
                raise ModelError("budget", f"budget_usd: up to {worst.usd} needed, {usd:.6g} left")
            self.reserved += worst

    def settle(self, worst: Amount, actual: Amount, endpoint: str, *, answering: bool) -> None:
        """Replace a reservation by the request's usage.

        After the answer nothing is set aside for it any more. An endpoint that reports more than
        the bound stops all further calls.
        """
        with self._lock:
            self.reserved += Amount(-worst.tokens, None if worst.usd is None else -worst.usd)
            self.spent += actual
            if answering:
                self.answer = Amount()
            if self.limited and actual.tokens > worst.tokens:
                self.exceeded_by = (
                    f"{endpoint} reported {actual.tokens} tokens for a call bounded by "
                    f"{worst.tokens}: no further calls"
                )

    def seconds_left(self, *, answering: bool) -> float | None:
        """Return the seconds left for a request; None means unlimited."""
        if self.budget.seconds is None:
            return None
        aside = 0.0 if answering else self.budget.seconds * ANSWER_SHARE_OF_TIME
        return self.budget.started + self.budget.seconds - aside - time.time()

    def limit(self, budget: Budget) -> None:
        """Replace the limits; the clock keeps running."""
        with self._lock:
            self.budget = replace(budget, started=self.budget.started)

    def hold(self) -> None:
        """Stop the clock while a person decides."""
        with self._lock:
            self._held_at = self._held_at or time.time()

    def go_on(self) -> None:
        """Start the clock again; the wait does not count."""
        with self._lock:
            if self._held_at is not None:
                waited = time.time() - self._held_at
                self.budget = replace(self.budget, started=self.budget.started + waited)
                self._held_at = None

    def given_up(self, endpoint: str) -> bool:
        """Return whether this run no longer asks this endpoint."""
        return self.failures.get(endpoint, 0) >= CIRCUIT_FAILURES

    def ended(self, endpoint: str, *, well: bool) -> None:
        """Count a call's final outcome for the circuit."""
        self.failures[endpoint] = 0 if well else self.failures.get(endpoint, 0) + 1


_ledgers: dict[str, Ledger] = {}
_lock = threading.Lock()


def known_ledger(run_id: str) -> Ledger | None:
    """Return the ledger of this run, if this process has one."""
    with _lock:
        return _ledgers.get(run_id)


def open_ledger(run_id: str, budget: Budget, spent: Amount, answer: Amount) -> Ledger:
    """Return this run's ledger, created with earlier spending if missing."""
    with _lock:
        ledger = _ledgers.setdefault(run_id, Ledger(budget, spent, answer=answer))
        while len(_ledgers) > MOST_LEDGERS:  # of runs that were abandoned
            _ledgers.pop(next(iter(_ledgers)))
        return ledger


def close_ledger(run_id: str) -> None:
    """Drop the ledger of a run that has ended."""
    with _lock:
        _ledgers.pop(run_id, None)
