"""What the calls of a run have reserved and spent, kept outside the process.

A killed process leaves its open entries behind. Whoever resumes the run charges them at their
reservation, because nobody knows how far the endpoint got with them. An entry is one request.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Coroutine, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any

from langgraph.store.base import BaseStore, PutOp

from swarm_brain.spending.ledger import Amount

log = logging.getLogger(__name__)
MOST_ENTRIES = 10_000


@dataclass(frozen=True)
class Entry:
    """One request: at first what it takes at worst, then, `settled`, what it took."""

    expert: str
    step: int
    input_tokens: int
    output_tokens: int
    usd: float | None
    settled: bool = False

    @property
    def amount(self) -> Amount:
        """What it is charged at."""
        return Amount(self.input_tokens + self.output_tokens, self.usd)


@dataclass
class Journal:
    """The entries of one expert's calls in one run. `namespace` is the run's place in the store.

    Stores belong to the loop on which they were opened, calls run on another: so each access is
    carried over to `loop`. A journal that cannot be written stops no call.
    """

    store: BaseStore
    namespace: tuple[str, ...]
    expert: str
    step: int
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    async def opened(self, input_tokens: int, output_tokens: int, usd: float | None) -> str:
        """Write down a request that is about to be sent; the entry's key."""
        key = f"{self.expert}-{self.step}-{uuid.uuid4().hex}"
        entry = Entry(self.expert, self.step, input_tokens, output_tokens, usd)
        await self._put(key, entry)
        return key

    async def settled(
        self, key: str, input_tokens: int, output_tokens: int, usd: float | None
    ) -> None:
        """Write down what a request took."""
        entry = Entry(self.expert, self.step, input_tokens, output_tokens, usd, settled=True)
        await self._put(key, entry)

    async def _put(self, key: str, entry: Entry) -> None:
        await self._there(
            self.store.aput(self.namespace, key, asdict(entry), index=False),
            # Interrupted, the store may be closed already; the reservation stands, which is more.
            harmless=entry.settled,
        )

    async def _there(self, work: Coroutine[Any, Any, Any], *, harmless: bool) -> None:
        try:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.loop))
        except Exception as error:  # noqa: BLE001  any store, any fault; the call goes on
            if not harmless:
                _warn_once(self.namespace, "what calls take is not kept", type(error).__name__)


@lru_cache(maxsize=1_000)
def _warn_once(namespace: tuple[str, ...], what: str, error: str) -> None:
    """Once for each run: a store that is gone fails at every call."""
    log.warning("%s: %s", what, error)


async def entries(store: BaseStore, namespace: tuple[str, ...]) -> list[Entry]:
    """All entries of a run; none where the store fails."""
    try:
        found = await store.asearch(namespace, limit=MOST_ENTRIES)
    except Exception as error:  # noqa: BLE001  as above
        _warn_once(namespace, "what calls took cannot be read", type(error).__name__)
        return []
    return [Entry(**item.value) for item in found]


async def forget(store: BaseStore, namespace: tuple[str, ...]) -> None:
    """Drop the entries of a run that has ended."""
    try:
        found = await store.asearch(namespace, limit=MOST_ENTRIES)
        if found:
            await store.abatch([PutOp(namespace, item.key, None) for item in found])
    except Exception as error:  # noqa: BLE001  as above
        _warn_once(namespace, "what calls took cannot be cleared", type(error).__name__)


def total(items: Sequence[Entry]) -> Amount:
    """What these entries are charged at together."""
    return sum((entry.amount for entry in items), Amount())
