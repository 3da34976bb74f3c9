"""What a run may spend, and which endpoints it has given up on. One ledger per run id.

Every request reserves its worst case before it is sent and settles afterwards, so that parallel
experts cannot spend the same balance twice. What the answering expert needs is set aside: others
reserve from the rest.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace

from swarm_brain.graph.errors import ModelError

CIRCUIT_FAILURES = 3  # consecutive final failures after which a run leaves an endpoint alone
LEAST_REPLY_TOKENS = 64
MOST_LEDGERS = 10_000
# Share of a time budget that is kept for the answering expert.
ANSWER_SHARE_OF_TIME = 0.25


@dataclass(frozen=True)
class Amount:
    """Tokens (input plus output) and dollars; dollars are None where no price is known."""

    tokens: int = 0
    usd: float | None = 0.0

    def __add__(self, other: Amount) -> Amount:
        known = None if self.usd is None or other.usd is None else self.usd + other.usd
        return Amount(self.tokens + other.tokens, known)


@dataclass(frozen=True)
class Budget:
    """Limits of a run; None: unlimited. `started` is seconds since the epoch."""

    tokens: int | None = None
    usd: float | None = None
    seconds: float | None = None
    started: float = 0.0


@dataclass
class Ledger:
    """The account of one run. `answer` is what is set aside for the answering expert."""

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
        """Whether tokens or dollars are limited, so that prompts must be bounded before a call."""
        return self.budget.tokens is not None or self.budget.usd is not None

    def affordable_tokens(self, *, answering: bool) -> int | None:
        """Tokens that one more request may take in all; None: unlimited."""
        if self.budget.tokens is None:
            return None
        aside = 0 if answering else self.answer.tokens
        return self.budget.tokens - self.spent.tokens - self.reserved.tokens - aside

    def affordable_usd(self, *, answering: bool) -> float | None:
        """Dollars that one more request may take; None: unlimited."""
        if self.budget.usd is None:
            return None
        aside = 0.0 if answering else (self.answer.usd or 0.0)
        return self.budget.usd - (self.spent.usd or 0) - (self.reserved.usd or 0) - aside

    def reserve(self, worst: Amount, *, answering: bool) -> None:
        """Set the worst case of a request aside. Raises ModelError("budget") if it is not there."""
        with self._lock:
            if self.exceeded_by:
                raise ModelError("budget", self.exceeded_by)
            tokens = self.affordable_tokens(answering=answering)
            usd = self.affordable_usd(answering=answering)
            if tokens is not None and worst.tokens > tokens:
                raise ModelError(
                    "budget", f"budget_tokens: {worst.tokens} needed at worst, {tokens} left"
                )
            if usd is not None and (worst.usd is None or worst.usd > usd):
                raise ModelError(
                    "budget", f"budget_usd: {worst.usd} needed at worst, {usd:.6g} left"
                )
            self.reserved += worst

    def settle(self, worst: Amount, actual: Amount, endpoint: str, *, answering: bool) -> None:
        """Exchange a reservation for what the request took.

        The answer's reserve is free once the answer was asked for. An endpoint that reports more
        than the bound stops all further calls, and is named.
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
        """Wall time left for a request; None: unlimited."""
        if self.budget.seconds is None:
            return None
        aside = 0.0 if answering else self.budget.seconds * ANSWER_SHARE_OF_TIME
        return self.budget.started + self.budget.seconds - aside - time.time()

    def limit(self, budget: Budget) -> None:
        """Take over new limits; the clock goes on as it went."""
        with self._lock:
            self.budget = replace(budget, started=self.budget.started)

    def hold(self) -> None:
        """Stop the clock while a person is asked."""
        with self._lock:
            self._held_at = self._held_at or time.time()

    def go_on(self) -> None:
        """Start the clock again: waiting took no time."""
        with self._lock:
            if self._held_at is not None:
                waited = time.time() - self._held_at
                self.budget = replace(self.budget, started=self.budget.started + waited)
                self._held_at = None

    def given_up(self, endpoint: str) -> bool:
        """Whether the circuit of this endpoint is open for the rest of the run."""
        return self.failures.get(endpoint, 0) >= CIRCUIT_FAILURES

    def ended(self, endpoint: str, *, well: bool) -> None:
        """Count a call's final result for the circuit."""
        self.failures[endpoint] = 0 if well else self.failures.get(endpoint, 0) + 1


_ledgers: dict[str, Ledger] = {}
_lock = threading.Lock()


def known_ledger(run_id: str) -> Ledger | None:
    """The ledger of this run, if this process has one."""
    with _lock:
        return _ledgers.get(run_id)


def open_ledger(run_id: str, budget: Budget, spent: Amount, answer: Amount) -> Ledger:
    """The ledger of this run; made with what was spent before if this process has none yet."""
    with _lock:
        found = _ledgers.setdefault(run_id, Ledger(budget, spent, answer=answer))
        while len(_ledgers) > MOST_LEDGERS:  # of runs that were abandoned
            _ledgers.pop(next(iter(_ledgers)))
        return found


def close_ledger(run_id: str) -> None:
    """Forget a run that has ended."""
    with _lock:
        _ledgers.pop(run_id, None)
