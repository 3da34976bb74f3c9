"""What a batch may spend: a row is sent only if its worst case is there, and holds it meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from swarm_brain.models.ledger import Amount


@dataclass
class Purse:
    """Limits in tokens and dollars, None where there is none; and what is spent of them."""

    tokens: int | None = None
    usd: float | None = None
    spent: Amount = field(default_factory=Amount)
    empty: bool = False
    _held: list[Amount] = field(default_factory=list)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""
        return self.tokens is not None or self.usd is not None

    async def hold(self, worst: Amount) -> bool:
        """Set a row's worst case aside, once it is there. False: it never will be.

        Waits for rows under way, which may give back what they held and did not spend.
        """
        async with self._changed:
            while not self.empty and not self._has(worst):
                if not self._held:
                    self.empty = True
                    self._changed.notify_all()
                else:
                    await self._changed.wait()
            if not self.empty:
                self._held.append(worst)
            return not self.empty

    async def settle(self, worst: Amount, charge: Amount) -> None:
        """A row has ended: what it held is free again, what it took is spent."""
        async with self._changed:
            self._held.remove(worst)
            self.spent += charge
            self._changed.notify_all()

    def _has(self, worst: Amount) -> bool:
        taken = sum(self._held, self.spent) + worst
        enough = self.tokens is None or taken.tokens <= self.tokens
        return enough and (self.usd is None or (taken.usd is not None and taken.usd <= self.usd))
