"""Limits for a day (UTC): of dollars for all runs here, of dollars and tokens for each key.

The first is SWARM_BRAIN_DAILY_USD, the others stand in the keys' tables of `swarm-brain.toml`. Each
request reserves its worst case, and settles afterwards; what a killed process had reserved stays
charged.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from swarm_brain.config import key_table, positive_number
from swarm_brain.database.transactions import Execute
from swarm_brain.graph.errors import BrainError, ModelError
from swarm_brain.spending.accounts import book
from swarm_brain.spending.ledger import Amount

log = logging.getLogger(__name__)

VARIABLE = "SWARM_BRAIN_DAILY_USD"
EVERYBODY = ""  # the payer in whose name all spending is booked


@dataclass(frozen=True)
class Allowance:
    """What a payer may take in a day; None: not limited."""

    payer: str
    usd: float | None
    tokens: int | None = None

    @property
    def name(self) -> str:
        """Where its limits are set."""
        return f"keys.{self.payer}" if self.payer else VARIABLE


@dataclass(frozen=True)
class Booking:
    """What was set aside for one request, on which day, in whose names."""

    day: str
    payers: tuple[str, ...]
    worst: Amount


@dataclass(frozen=True)
class Left:
    """What may still be taken today; None: not limited."""

    usd: float | None = None
    tokens: int | None = None


def allowances(payer: str | None) -> list[Allowance]:
    """The limits that hold for this payer (None: the local user).

    Raises ModelError("budget") for a key that has been taken away, ConfigError for settings that
    cannot be read.
    """
    usd = positive_number("SWARM_BRAIN_DAILY_USD")
    found = [] if usd is None else [Allowance(EVERYBODY, usd)]
    known = key_table()
    if payer is None or not known:
        return found
    if payer not in known:
        raise ModelError("budget", f"there is no key {payer} any more")
    entry = known[payer]
    if entry.daily_usd is not None or entry.daily_tokens is not None:
        found.append(Allowance(payer, entry.daily_usd, entry.daily_tokens))
    return found


def refusal(allowance: Allowance, used: Amount, worst: Amount) -> str | None:
    """Why a request cannot be paid by this allowance; None if it can. Pure."""
    if allowance.usd is not None:
        if worst.usd is None:
            return f"{allowance.name} limits dollars, and the price of this model is unknown"
        if (used.usd or 0) + worst.usd > allowance.usd:
            return f"{allowance.name}: the {allowance.usd:g} dollars of this day are spent"
    if allowance.tokens is not None and used.tokens + worst.tokens > allowance.tokens:
        return f"{allowance.name}: the {allowance.tokens} tokens of this day are spent"
    return None


def reserve(payer: str | None, worst: Amount) -> Booking | None:
    """Set a request's worst case aside; None where nothing is limited. Blocking.

    Raises ModelError("budget") if the day has not so much, MemoryUnavailable if it cannot be
    written down: a limit that cannot be kept is an error, not a shrug.
    """
    limits = allowances(payer)
    if not limits:
        return None
    day = today()
    with book().writing() as execute:
        for allowance in limits:
            key = [day, allowance.payer]
            execute("INSERT INTO spending VALUES (?, ?, 0, 0) ON CONFLICT DO NOTHING", key)
            ((usd, tokens),) = execute(
                "SELECT usd, tokens FROM spending WHERE day = ? AND payer = ?", key
            )
            if why := refusal(allowance, Amount(tokens, usd), worst):
                raise ModelError("budget", why)
            _add(execute, worst, key)
    return Booking(day, tuple(allowance.payer for allowance in limits), worst)


def settle(booking: Booking, spent: Amount) -> None:
    """Exchange a reservation for what the request took, on the day on which it was made.

    An unknown cost stays as reserved, and so does all where nothing can be written: the reply has
    been paid for and is not thrown away for this. Blocking.
    """
    usd = 0.0 if spent.usd is None else spent.usd - (booking.worst.usd or 0)
    change = Amount(spent.tokens - booking.worst.tokens, usd)
    try:
        with book().writing() as execute:
            for payer in booking.payers:
                _add(execute, change, [booking.day, payer])
    except BrainError as error:
        log.warning("what a call took stays at its reservation: %s", error)


def _add(execute: Execute, amount: Amount, key: list[str]) -> None:
    execute(
        "UPDATE spending SET usd = usd + ?, tokens = tokens + ? WHERE day = ? AND payer = ?",
        [amount.usd or 0.0, amount.tokens, *key],
    )


async def reserved(payer: str | None, worst: Amount) -> Booking | None:
    """`reserve` for async code; nothing is opened where nothing is limited."""
    return await asyncio.to_thread(reserve, payer, worst) if allowances(payer) else None


async def settled(booking: Booking | None, spent: Amount) -> None:
    """`settle` for async code."""
    if booking is not None:
        await asyncio.to_thread(settle, booking, spent)


def used(payer: str | None) -> Amount:
    """What this payer's limited calls have taken today, reservations included. Blocking."""
    with book().reading() as execute:
        rows = execute(
            "SELECT tokens, usd FROM spending WHERE day = ? AND payer = ?",
            [today(), payer or EVERYBODY],
        )
    return Amount(*rows[0]) if rows else Amount()


def left(payer: str | None) -> Left:
    """What this payer may still take today, by all limits that hold for them. Blocking.

    Raises what `reserve` raises.
    """
    usd: list[float] = []
    tokens: list[int] = []
    for allowance in allowances(payer):
        taken = used(allowance.payer)
        if allowance.usd is not None:
            usd.append(max(0.0, allowance.usd - (taken.usd or 0)))
        if allowance.tokens is not None:
            tokens.append(max(0, allowance.tokens - taken.tokens))
    return Left(min(usd, default=None), min(tokens, default=None))


def today() -> str:
    """The date in UTC."""
    return datetime.now(UTC).date().isoformat()


def seconds_to_midnight(now: datetime | None = None) -> int:
    """How long until the next day begins in UTC, rounded up."""
    now = now or datetime.now(UTC)
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return max(1, -int((now - midnight).total_seconds() // 1))
