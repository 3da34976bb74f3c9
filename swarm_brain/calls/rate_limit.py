"""Rate limits: one gate per endpoint, shared by all runs of the process.

Gates live on the background loop, so they need no locks against threads.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass

__all__ = ["Pace"]

BURST_MINUTES, BURST_LEAST = 0.25, 10.0
SAFETY = 0.99  # of the allowed rate: the endpoint's clock is not ours


@dataclass(frozen=True)
class Pace:
    """The limits of an endpoint: requests per minute and concurrent ones."""

    rpm: float | None = None
    concurrency: int | None = None

    def stricter(self, other: Pace) -> Pace:
        """Return the lower of each limit."""
        rpms = [rpm for rpm in (self.rpm, other.rpm) if rpm is not None]
        counts = [n for n in (self.concurrency, other.concurrency) if n is not None]
        return Pace(min(rpms, default=None), min(counts, default=None))


class Gate:
    """Admits requests in order, within the pace and the endpoint's Retry-After.

    A rate is a token bucket that holds a quarter of a minute's requests, but at least ten. After a
    429 with Retry-After no request passes until that time. Then one goes first, the scout; the
    others follow once it has not been refused.
    """

    def __init__(self, pace: Pace) -> None:
        self._pace = Pace()
        self._rate, self._burst = 0.0, BURST_LEAST
        self._tokens, self._filled = BURST_LEAST, time.monotonic()
        self._places: asyncio.Semaphore | None = None
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()
        self._closed_until = 0.0
        self._refused = self._scouting = False
        self.tighten(pace)

    def tighten(self, pace: Pace) -> None:
        """Adopt stricter limits: several providers may name the same endpoint."""
        strictest = self._pace.stricter(pace)
        if strictest.rpm != self._pace.rpm:
            self._rate = (strictest.rpm or 0) / 60 * SAFETY
            self._burst = max(BURST_LEAST, (strictest.rpm or 0) * BURST_MINUTES)
            self._tokens = self._burst
        if strictest.concurrency != self._pace.concurrency:
            self._places = asyncio.Semaphore(strictest.concurrency or 1)
        self._pace = strictest

    @asynccontextmanager
    async def passing(self) -> AsyncIterator[bool]:
        """Wait for a turn and hold a place; yield whether this is the scout."""
        async with self._places or nullcontext():
            yield await self._wait_turn()

    async def _wait_turn(self) -> bool:
        async with self._turn:  # first come, first served
            while True:
                if self._scouting:
                    self._changed.clear()
                    await self._changed.wait()
                elif (wait := self._seconds_to_wait()) > 0:
                    await asyncio.sleep(wait)
                else:
                    break
            self._tokens -= 1
            self._scouting = self._refused
            return self._scouting

    def _seconds_to_wait(self) -> float:
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._filled) * self._rate)
        self._filled = now
        pacing = (1 - self._tokens) / self._rate if self._rate and self._tokens < 1 else 0.0
        return max(pacing, self._closed_until - now)

    def refused(self, retry_after: float, *, scout: bool) -> None:
        """Record that the endpoint asked this request to wait for `retry_after` seconds."""
        self._closed_until = max(self._closed_until, time.monotonic() + retry_after)
        self._refused = True
        self._back(scout)

    def answered(self, *, scout: bool) -> None:
        """Record that a request was not refused. After the scout, all others may pass.

        An older request that is answered late says nothing about the present.
        """
        if scout:
            self._refused = False
        self._back(scout)

    def _back(self, scout: bool) -> None:
        if scout:
            self._scouting = False
            self._changed.set()


_gates: dict[str, Gate] = {}


def gate(endpoint: str, pace: Pace) -> Gate:
    """Return the endpoint's gate, at least as strict as `pace`.

    Call it on the background loop.
    """
    if endpoint in _gates:
        _gates[endpoint].tighten(pace)
    else:
        _gates[endpoint] = Gate(pace)
    return _gates[endpoint]
