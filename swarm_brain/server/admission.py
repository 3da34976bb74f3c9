"""Decide whether a run may start, by quota, rate and room.

Requests per minute and daily quotas are stored where all processes see them. Concurrent runs are
counted by each process for itself.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from anyio import CapacityLimiter

from swarm_brain.config import server_settings
from swarm_brain.graph.errors import BrainError, ModelError
from swarm_brain.server.api_keys import Owner
from swarm_brain.server.problems import Problem
from swarm_brain.spending import quota

log = logging.getLogger(__name__)

MINUTE = 60.0
BUSY_SECONDS = 5  # Retry-After of a full server: nobody knows when its runs end


class RunSlots:
    """The runs of this process. Waiting runs start in order of arrival."""

    def __init__(self) -> None:
        self._limiter = CapacityLimiter(1)  # `one` sets the real number
        self._by_owner: Counter[str | None] = Counter()

    @property
    def running(self) -> int:
        """The number of runs that hold a slot."""
        return self._limiter.borrowed_tokens

    @property
    def waiting(self) -> int:
        """The number of runs that wait for a slot."""
        return self._limiter.statistics().tasks_waiting

    @contextmanager
    def of(self, owner: Owner) -> Iterator[None]:
        """Count an owner's run, waiting or running.

        Raise Problem(429) if the owner has as many as the key allows.
        """
        if owner.concurrency is not None and self._by_owner[owner.name] >= owner.concurrency:
            message = f"This key allows {owner.concurrency} concurrent runs, and all are in use."
            raise too_many(message, "concurrency_limit_exceeded", BUSY_SECONDS)
        self._by_owner[owner.name] += 1
        try:
            yield
        finally:
            self._by_owner[owner.name] -= 1
            self._by_owner += Counter()  # drops owners without runs

    @asynccontextmanager
    async def one(self, most: int, queue: int) -> AsyncIterator[None]:
        """Hold one of `most` slots. Raise Problem(429) if the queue is full."""
        self._limiter.total_tokens = most
        if self._limiter.available_tokens < 1 and self.waiting >= queue:
            raise too_many("This server is full.", "server_busy", BUSY_SECONDS)
        slot = object()  # a stream may end in another task than it started in
        await self._limiter.acquire_on_behalf_of(slot)
        try:
            yield
        finally:
            self._limiter.release_on_behalf_of(slot)


slots = RunSlots()


@asynccontextmanager
async def admit(owner: Owner) -> AsyncIterator[None]:
    """Hold a slot for one run. Raise Problem(429) with Retry-After, or Problem(503)."""
    with slots.of(owner):
        await check(owner)
        settings = server_settings()
        async with slots.one(settings.concurrency, settings.queue):
            yield


async def check(owner: Owner) -> None:
    """Count a request of this owner if the daily quota and the rate limit allow it.

    Raise Problem(429) with Retry-After, or Problem(503) if the accounts cannot be read.
    """
    try:
        await asyncio.to_thread(_check, owner)
    except ModelError as error:  # the key has been removed meanwhile
        raise Problem(401, str(error), type="authentication_error") from None
    except BrainError as error:
        log.error("No run is admitted: %s", error)
        raise Problem(
            503,
            "This server cannot read its accounts; its log says why.",
            type="server_error",
            code="no_accounts",
        ) from None


def _check(owner: Owner) -> None:
    left = quota.left(owner.name)
    for unit, amount in (("dollars", left.usd), ("tokens", left.tokens)):
        if amount == 0:
            raise day_spent(f"The {unit} of this day (UTC) are spent.")
    if owner.name is not None and owner.requests_per_minute is not None:
        wait = arrive(owner.name, owner.requests_per_minute, time.time())
        if wait > 0:
            raise too_many(
                f"This key allows {owner.requests_per_minute} requests per minute.",
                "rate_limit_exceeded",
                wait,
            )


def arrive(payer: str, per_minute: int, now: float) -> float:
    """Count a request if the last minute had fewer than `per_minute`. Blocking.

    Return the seconds to wait, 0 if it was counted. `now` is in seconds since the epoch.
    """
    with quota.accounts().writing() as execute:
        execute("DELETE FROM arrivals WHERE payer = ? AND at <= ?", [payer, now - MINUTE])
        rows = execute(
            "SELECT at FROM arrivals WHERE payer = ? ORDER BY at DESC LIMIT 1 OFFSET ?",
            [payer, per_minute - 1],
        )
        wait = pause(rows[0][0] if rows else None, now)
        if wait == 0:
            execute("INSERT INTO arrivals VALUES (?, ?)", [payer, now])
    return wait


def pause(last_but: float | None, now: float) -> float:
    """Return the seconds until the n-th last of n allowed requests is a minute old.

    A time in the future, from a clock that is ahead, blocks no request for over a minute.
    """
    return 0.0 if last_but is None else min(MINUTE, max(0.0, last_but + MINUTE - now))


def day_spent(message: str) -> Problem:
    """Return a Problem that asks to retry on the next day (UTC)."""
    return too_many(message, "insufficient_quota", quota.seconds_to_midnight())


def too_many(message: str, code: str, seconds: float) -> Problem:
    """Return a Problem(429) that says when to retry."""
    wait = max(1, math.ceil(seconds))
    return Problem(
        429,
        f"{message} Try again in {wait} s.",
        type="insufficient_quota" if code == "insufficient_quota" else "rate_limit_error",
        code=code,
        headers={"Retry-After": str(wait)},
    )
