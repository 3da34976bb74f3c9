"""Daily quotas (UTC): dollars for all runs here, dollars and tokens for each key.

The first is SWARM_BRAIN_DAILY_USD, the others are set in the `[keys]` tables of `swarm-brain.toml`.
Each request reserves its worst case and settles afterwards. What a killed process had reserved
stays charged.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from swarm_brain.config import data_folder, key_table, positive_number, variable
from swarm_brain.database.transactions import Database, Execute, Postgres, Sqlite
from swarm_brain.graph.errors import BrainError, ModelError
from swarm_brain.spending.ledger import Amount

log = logging.getLogger(__name__)

VARIABLE = "SWARM_BRAIN_DAILY_USD"
EVERYBODY = ""  # the payer under which all spending is booked

FILE = "accounts.sqlite"
WRITERS_LOCK = 7_305_641_211  # of Postgres's advisory locks
TABLES = (
    """CREATE TABLE IF NOT EXISTS spending (
         day TEXT NOT NULL, payer {name} NOT NULL, usd DOUBLE PRECISION NOT NULL,
         tokens BIGINT NOT NULL, PRIMARY KEY (day, payer))""",
    """CREATE TABLE IF NOT EXISTS arrivals (
         payer {name} NOT NULL, at DOUBLE PRECISION NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS arrivals_by_payer ON arrivals (payer, at)",
)
_opening = threading.Lock()


@dataclass(frozen=True)
class Allowance:
    """A payer's limits for a day; None means no limit."""

    payer: str
    usd: float | None
    tokens: int | None = None

    @property
    def name(self) -> str:
        """Return the name of the setting that holds the limits."""
        return f"keys.{self.payer}" if self.payer else VARIABLE


@dataclass(frozen=True)
class Booking:
    """One request's reservation: its amount, day and payers."""

    day: str
    payers: tuple[str, ...]
    worst: Amount


@dataclass(frozen=True)
class Left:
    """The unspent amounts of today; None means no limit."""

    usd: float | None = None
    tokens: int | None = None


def allowances(payer: str | None) -> list[Allowance]:
    """Return the limits of this payer (None: the local user).

    Raises ModelError("budget") for a key that was removed, ConfigError for unreadable settings.
    """
    usd = positive_number("SWARM_BRAIN_DAILY_USD")
    limits = [] if usd is None else [Allowance(EVERYBODY, usd)]
    if payer is None or not (keys := key_table()):
        return limits
    if payer not in keys:
        raise ModelError("budget", f"the key {payer} no longer exists")
    key = keys[payer]
    if key.daily_usd is not None or key.daily_tokens is not None:
        limits.append(Allowance(payer, key.daily_usd, key.daily_tokens))
    return limits


def refusal(allowance: Allowance, used: Amount, worst: Amount) -> str | None:
    """Return why this allowance does not cover a request, or None."""
    if allowance.usd is not None:
        if worst.usd is None:
            return f"{allowance.name} limits dollars, and the price of this model is unknown"
        if (used.usd or 0) + worst.usd > allowance.usd:
            return f"{allowance.name}: the {allowance.usd:g} dollars of this day are spent"
    if allowance.tokens is not None and used.tokens + worst.tokens > allowance.tokens:
        return f"{allowance.name}: the {allowance.tokens} tokens of this day are spent"
    return None


def reserve(payer: str | None, worst: Amount) -> Booking | None:
    """Reserve a request's worst case; None if nothing is limited. Blocking.

    Raises ModelError("budget") if the rest of the day does not cover it. Raises MemoryUnavailable
    if it cannot be written: a limit that cannot be enforced is an error.
    """
    limits = allowances(payer)
    if not limits:
        return None
    day = today()
    with accounts().writing() as execute:
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
    """Replace a reservation by the usage, on the reservation's day. Blocking.

    An unknown cost stays as reserved. If nothing can be written, everything stays as reserved: the
    reply was paid for, and is not discarded.
    """
    usd = 0.0 if spent.usd is None else spent.usd - (booking.worst.usd or 0)
    change = Amount(spent.tokens - booking.worst.tokens, usd)
    try:
        with accounts().writing() as execute:
            for payer in booking.payers:
                _add(execute, change, [booking.day, payer])
    except BrainError as error:
        log.warning("a call stays charged at its worst case: %s", error)


def _add(execute: Execute, amount: Amount, key: list[str]) -> None:
    execute(
        "UPDATE spending SET usd = usd + ?, tokens = tokens + ? WHERE day = ? AND payer = ?",
        [amount.usd or 0.0, amount.tokens, *key],
    )


async def areserve(payer: str | None, worst: Amount) -> Booking | None:
    """`reserve` for async code. Opens no database if nothing is limited."""
    return await asyncio.to_thread(reserve, payer, worst) if allowances(payer) else None


async def asettle(booking: Booking | None, spent: Amount) -> None:
    """`settle` for async code."""
    if booking is not None:
        await asyncio.to_thread(settle, booking, spent)


def used(payer: str | None) -> Amount:
    """Return this payer's usage of today, reservations included. Blocking."""
    with accounts().reading() as execute:
        rows = execute(
            "SELECT tokens, usd FROM spending WHERE day = ? AND payer = ?",
            [today(), payer or EVERYBODY],
        )
    return Amount(*rows[0]) if rows else Amount()


def left(payer: str | None) -> Left:
    """Return this payer's rest of today under all limits. Blocking.

    Raises what `reserve` raises.
    """
    usd: list[float] = []
    tokens: list[int] = []
    for allowance in allowances(payer):
        so_far = used(allowance.payer)
        if allowance.usd is not None:
            usd.append(max(0.0, allowance.usd - (so_far.usd or 0)))
        if allowance.tokens is not None:
            tokens.append(max(0, allowance.tokens - so_far.tokens))
    return Left(min(usd, default=None), min(tokens, default=None))


def today() -> str:
    """Return the date in UTC."""
    return datetime.now(UTC).date().isoformat()


def seconds_to_midnight(now: datetime | None = None) -> int:
    """Return the seconds until the next day in UTC, rounded up."""
    now = now or datetime.now(UTC)
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return max(1, -int((now - midnight).total_seconds() // 1))


def accounts() -> Database:
    """Return the database of spending and arrivals. Blocking.

    It is this user's file, or the shared Postgres. `spending` has a row for each day and payer,
    `arrivals` one for each recent request. Raises MemoryUnavailable or ConfigError.
    """
    url = variable("SWARM_BRAIN_DATABASE_URL")
    with _opening:
        return _postgres(url) if url else _sqlite(str(data_folder() / FILE))


@lru_cache(maxsize=2)
def _sqlite(path: str) -> Database:
    return Sqlite(path, TABLES)


@lru_cache(maxsize=2)
def _postgres(url: str) -> Database:
    return Postgres(url, TABLES, WRITERS_LOCK)
