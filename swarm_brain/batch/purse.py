"""What a batch may spend: a row is sent only if its worst case is there, and holds it meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from swarm_brain.spending.ledger import Amount


@dataclass
class Purse:
    """Limits in tokens and dollars, None where there is none; and what is spent of them."""

    tokens: int | None = None
    usd: float | None = None
    spent: Amount = field(default_factory=Amount)
    short: Amount | None = None  # the worst case that was not there, after which none is
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
            while self.short is None and not self._has(worst):
                if not self._held:
                    self.short = worst
                    self._changed.notify_all()
                else:
                    await self._changed.wait()
            if self.short is None:
                self._held.append(worst)
            return self.short is None

    async def settle(self, worst: Amount, charge: Amount) -> None:
        """A row has ended: what it held is free again, what it took is spent."""
        async with self._changed:
            self._held.remove(worst)
            self.spent += charge
            self._changed.notify_all()

    def told(self) -> str:
        """What is left, and what the next row might have taken."""
        left, short = [], self.short or Amount()
        if self.tokens is not None:
            left.append(
                f"{self.tokens - self.spent.tokens:,} of {self.tokens:,} tokens are left, the "
                f"next row may take {short.tokens:,}"
            )
        if self.usd is not None:
            left.append(
                f"${self.usd - (self.spent.usd or 0):.4g} of ${self.usd:.4g} are left, the next "
                f"row may take ${short.usd or 0:.4g}"
            )
        return "; ".join(left)

    def _has(self, worst: Amount) -> bool:
        taken = sum(self._held, self.spent) + worst
        enough = self.tokens is None or taken.tokens <= self.tokens
        return enough and (self.usd is None or (taken.usd is not None and taken.usd <= self.usd))
