"""The budget of a batch: each row reserves its worst case before it is sent."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from swarm_brain.spending.ledger import Amount


@dataclass
class BatchBudget:
    """Limits in tokens and dollars, and the spending so far; None means no limit."""

    tokens: int | None = None
    usd: float | None = None
    spent: Amount = field(default_factory=Amount)
    short: Amount | None = None  # the first worst case that was not left; no row follows it
    _reserved: list[Amount] = field(default_factory=list)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""
        return self.tokens is not None or self.usd is not None

    async def reserve(self, worst: Amount) -> bool:
        """Reserve a row's worst case; return False if the budget cannot cover it.

        Waits for running rows, which may return unspent parts of their reservations.
        """
        async with self._changed:
            while self.short is None and not self._covers(worst):
                if not self._reserved:
                    self.short = worst
                    self._changed.notify_all()
                else:
                    await self._changed.wait()
            if self.short is None:
                self._reserved.append(worst)
            return self.short is None

    async def settle(self, worst: Amount, charge: Amount) -> None:
        """Replace a row's reservation by its usage."""
        async with self._changed:
            self._reserved.remove(worst)
            self.spent += charge
            self._changed.notify_all()

    def __str__(self) -> str:
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

    def _covers(self, worst: Amount) -> bool:
        total = sum(self._reserved, self.spent) + worst
        enough = self.tokens is None or total.tokens <= self.tokens
        return enough and (self.usd is None or (total.usd is not None and total.usd <= self.usd))
