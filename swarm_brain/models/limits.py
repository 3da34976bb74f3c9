"""How fast an endpoint may be asked: one gate per endpoint, shared by all runs of the process.

Gates live on the background loop, so they need no locks against threads.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

BURST_MINUTES, BURST_LEAST = 0.25, 10.0
SAFETY = 0.99  # of the allowed rate: the endpoint's clock is not ours


@dataclass(frozen=True)
class Pace:
    """What an endpoint allows: requests per minute, requests at once. None: not limited by us."""

    rpm: float | None = None
    concurrency: int | None = None


class Gate:
    """Lets requests through in order, as fast as the pace and the endpoint's refusals allow.

    With a rate it is a token bucket that holds a quarter of a minute's allowance, at least ten.
    After a 429 with Retry-After nobody passes until then; after that one request goes ahead alone,
    and the others follow once it was not refused.
    """

    def __init__(self, pace: Pace) -> None:
        self._rate = (pace.rpm or 0) / 60 * SAFETY
        self._burst = max(BURST_LEAST, (pace.rpm or 0) * BURST_MINUTES)
        self._tokens, self._filled = self._burst, time.monotonic()
        self._places = asyncio.Semaphore(pace.concurrency) if pace.concurrency else None
        self._turn = asyncio.Lock()
        self._clear = asyncio.Event()
        self._clear.set()
        self._closed_until = 0.0
        self._scout_wanted = False

    @asynccontextmanager
    async def passing(self) -> AsyncIterator[None]:
        """Wait for a place and a turn; hold the place inside the block."""
        if self._places is None:
            await self._wait_turn()
            yield
            return
        async with self._places:
            await self._wait_turn()
            yield

    async def _wait_turn(self) -> None:
        async with self._turn:  # first come, first served
            while True:
                if not self._scout_wanted:
                    await self._clear.wait()
                if (wait := self._seconds_to_wait()) <= 0:
                    break
                await asyncio.sleep(wait)
            self._scout_wanted = False
            self._tokens -= 1

    def _seconds_to_wait(self) -> float:
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._filled) * self._rate)
        self._filled = now
        pacing = (1 - self._tokens) / self._rate if self._rate and self._tokens < 1 else 0.0
        return max(pacing, self._closed_until - now)

    def refused(self, retry_after: float) -> None:
        """The endpoint asked to come back after so many seconds."""
        self._closed_until = max(self._closed_until, time.monotonic() + retry_after)
        self._clear.clear()
        self._scout_wanted = True

    def answered(self) -> None:
        """A request ended in anything but a refusal: the way is clear."""
        self._scout_wanted = False
        self._clear.set()


_gates: dict[str, tuple[Pace, Gate]] = {}


def gate(endpoint: str, pace: Pace) -> Gate:
    """The gate of this endpoint; a changed pace makes a new one. Call on the background loop."""
    known = _gates.get(endpoint)
    if known is None or known[0] != pace:
        _gates[endpoint] = known = (pace, Gate(pace))
    return known[1]
