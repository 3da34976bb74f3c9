"""Whether a run may begin now: its owner's day, its owner's pace, and room on this server.

Requests per minute and the day's account are kept where all processes see them. Runs at once are
counted in each process by itself.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from swarm_brain.config import server_settings
from swarm_brain.graph.errors import BrainError, ModelError
from swarm_brain.server.api_keys import Owner
from swarm_brain.server.problems import Problem
from swarm_brain.spending import accounts, quota

log = logging.getLogger(__name__)

MINUTE = 60.0
BUSY_SECONDS = 5  # when to come back to a server whose runs end nobody knows when


@dataclass
class Places:
    """The runs of this process: how many are `running`, who waits for a place, in their order, and
    how many of both are `held` by each owner. For one event loop."""

    running: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)
    held: Counter[str | None] = field(default_factory=Counter)

    @contextmanager
    def of(self, owner: Owner) -> Iterator[None]:
        """Count a run as its owner's. Raises Problem(429) if they have as many as they may."""
        if owner.concurrency is not None and self.held[owner.name] >= owner.concurrency:
            many = f"This key has {owner.concurrency} runs at once, and they are under way."
            raise too_many(many, "concurrency_limit_exceeded", BUSY_SECONDS)
        self.held[owner.name] += 1
        try:
            yield
        finally:
            self.held[owner.name] -= 1
            self.held += Counter()  # without those that hold none

    @asynccontextmanager
    async def one(self, most: int, queue: int) -> AsyncIterator[None]:
        """Hold one of `most` places. Raises Problem(429) if `queue` others wait for one already."""
        if self.running < most and not self.waiting:
            self.running += 1
        else:
            await self._turn(most, queue)
        try:
            yield
        finally:
            self.running -= 1
            self._next(most)

    async def _turn(self, most: int, queue: int) -> None:
        if len(self.waiting) >= queue:
            raise too_many("This server is full.", "server_busy", BUSY_SECONDS)
        turn = asyncio.get_running_loop().create_future()
        self.waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it was given a place while it gave up
                self.running -= 1
                self._next(most)
            elif turn in self.waiting:
                self.waiting.remove(turn)
            raise

    def _next(self, most: int) -> None:
        """Give free places to those who wait longest; they count as running from here on."""
        while self.waiting and self.running < most:
            turn = self.waiting.popleft()
            if not turn.cancelled():
                self.running += 1
                turn.set_result(None)


places = Places()


@asynccontextmanager
async def admit(owner: Owner) -> AsyncIterator[None]:
    """Hold a place for one run. Raises Problem(429) with Retry-After, or Problem(503)."""
    with places.of(owner):
        await check(owner)
        settings = server_settings()
        async with places.one(settings.concurrency, settings.queue):
            yield


async def check(owner: Owner) -> None:
    """Count a request of this owner, if their day and their pace allow it.

    Raises Problem(429) with Retry-After, or Problem(503) where the accounts cannot be read.
    """
    try:
        await asyncio.to_thread(_check, owner)
    except ModelError as error:  # the key has been taken away meanwhile
        raise Problem(401, str(error), type="authentication_error") from None
    except BrainError as error:
        log.error("no run is admitted: %s", error)
        raise Problem(
            503,
            "The accounts of this server cannot be read; its owner finds the reason in its log.",
            type="server_error",
            code="no_accounts",
        ) from None


def _check(owner: Owner) -> None:
    left = quota.left(owner.name)
    for unit, rest in (("dollars", left.usd), ("tokens", left.tokens)):
        if rest == 0:
            raise day_spent(f"The {unit} of this day (UTC) are spent.")
    if owner.name is not None and owner.requests_per_minute is not None:
        wait = arrive(owner.name, owner.requests_per_minute, time.time())
        if wait > 0:
            raise too_many(
                f"This key has {owner.requests_per_minute} requests per minute.",
                "rate_limit_exceeded",
                wait,
            )


def arrive(payer: str, per_minute: int, now: float) -> float:
    """Count a request if the last minute had fewer than `per_minute`; else the seconds to wait.

    Blocking. `now` is in seconds since the epoch.
    """
    with accounts.book().writing() as execute:
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
    """Seconds until a minute has gone by since the n-th last of n allowed requests. Pure.

    A time to come, by the clock of another machine, keeps nobody out for more than a minute.
    """
    return 0.0 if last_but is None else min(MINUTE, max(0.0, last_but + MINUTE - now))


def day_spent(message: str) -> Problem:
    """A refusal until the next day begins."""
    return too_many(message, "insufficient_quota", quota.seconds_to_midnight())


def too_many(message: str, code: str, seconds: float) -> Problem:
    """A refusal that says when to come back."""
    wait = max(1, math.ceil(seconds))
    return Problem(
        429,
        f"{message} Try again in {wait} s.",
        type="insufficient_quota" if code == "insufficient_quota" else "rate_limit_error",
        code=code,
        headers={"Retry-After": str(wait)},
    )
