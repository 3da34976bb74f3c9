"""The requests of a run, saved outside its process as reserved and settled.

A killed process leaves its open reservations behind. Resuming the run charges them in full,
because the endpoint may have answered them.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Coroutine, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache

from langgraph.store.base import BaseStore, PutOp

from swarm_brain.spending.ledger import Amount

log = logging.getLogger(__name__)
MOST_RESERVATIONS = 10_000
Namespace = tuple[str, ...]


@dataclass(frozen=True)
class Reservation:
    """One request: its worst case, or its usage once it is `settled`."""

    expert: str
    step: int
    input_tokens: int
    output_tokens: int
    usd: float | None
    settled: bool = False

    @property
    def amount(self) -> Amount:
        """Return the charge of the request."""
        return Amount(self.input_tokens + self.output_tokens, self.usd)


@dataclass
class Reservations:
    """Writes the reservations of one expert's calls in one run.

    A store belongs to the loop that opened it, and calls run on another, so each access is carried
    over to `loop`. A store that fails stops no call.
    """

    store: BaseStore
    namespace: Namespace
    expert: str
    step: int
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    async def open(self, input_tokens: int, output_tokens: int, usd: float | None) -> str:
        """Save the worst case of a request that is about to be sent; return its key."""
        key = f"{self.expert}-{self.step}-{uuid.uuid4().hex}"
        await self._put(key, Reservation(self.expert, self.step, input_tokens, output_tokens, usd))
        return key

    async def settle(
        self, key: str, input_tokens: int, output_tokens: int, usd: float | None
    ) -> None:
        """Replace a saved worst case by the request's usage."""
        usage = Reservation(self.expert, self.step, input_tokens, output_tokens, usd, settled=True)
        await self._put(key, usage)

    async def _put(self, key: str, reservation: Reservation) -> None:
        put = self.store.aput(self.namespace, key, asdict(reservation), index=False)
        try:
            await self._on_loop(put)
        except Exception as error:  # noqa: BLE001  any store, any fault; the call continues
            # After an interrupt the store may be closed; the worst case stands then, which is more.
            if not reservation.settled:
                _warn_once(self.namespace, "saved", type(error).__name__)

    async def _on_loop(self, work: Coroutine[object, object, None]) -> None:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.loop))


@lru_cache(maxsize=1_000)
def _warn_once(namespace: Namespace, verb: str, error: str) -> None:
    """Warn once for each run, because a lost store fails at every call."""
    log.warning("the usage of calls cannot be %s: %s", verb, error)


async def read(store: BaseStore, namespace: Namespace) -> list[Reservation]:
    """Return all reservations of a run; none if the store fails."""
    try:
        items = await store.asearch(namespace, limit=MOST_RESERVATIONS)
    except Exception as error:  # noqa: BLE001  as above
        _warn_once(namespace, "read", type(error).__name__)
        return []
    return [Reservation(**item.value) for item in items]


async def clear(store: BaseStore, namespace: Namespace) -> None:
    """Delete the reservations of a run that has ended."""
    try:
        items = await store.asearch(namespace, limit=MOST_RESERVATIONS)
        if items:
            await store.abatch([PutOp(namespace, item.key, None) for item in items])
    except Exception as error:  # noqa: BLE001  as above
        _warn_once(namespace, "cleared", type(error).__name__)


def total(reservations: Sequence[Reservation]) -> Amount:
    """Return the total charge of these requests."""
    return sum((reservation.amount for reservation in reservations), Amount())
