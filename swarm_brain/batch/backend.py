"""Who answers the rows of a batch: the brain of this process, or one on a LangGraph server."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from swarm_brain.batch.rows import Row
from swarm_brain.graph.brain import Brain, compile_brain
from swarm_brain.graph.context import Context, make_context
from swarm_brain.graph.errors import ServerError
from swarm_brain.graph.state import RESULT_KEYS
from swarm_brain.graph.topology import Topology
from swarm_brain.nodes.begin import prospect
from swarm_brain.remote import RemoteBrain, translated
from swarm_brain.spending.ledger import Amount

Settings = Mapping[str, Any]
# A run whose budget is the planned worst case to the token was seen cut short: plans estimate.
ROOM = 1.1


class Asker(Protocol):
    """Answers one row with these settings, all of them validated."""

    async def ask(self, row: Row, settings: Settings) -> dict[str, Any]:
        """The result, with the keys of `ask --json`. Raises BrainError."""

    async def worst(self, row: Row, settings: Settings) -> Amount:
        """What the row may take at worst; its own budgets count. Raises BrainError."""


@dataclass
class Here:
    """The brain in this process; it keeps no threads and no memories.

    `prepared` makes sure that a run's weights are here; it is asked once for each set of models.
    """

    topology: Topology
    brain: Brain
    prepared: Callable[[Context], Context]
    _models: dict[str, str] = field(default_factory=dict)
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def ask(self, row: Row, settings: Settings) -> dict[str, Any]:
        """The result of one run."""
        context = await self._context(settings)
        given: Any = row.input
        output: Mapping[str, object] = await self.brain.ainvoke(given, context=context)
        return {key: output[key] for key in RESULT_KEYS}

    async def worst(self, row: Row, settings: Settings) -> Amount:
        """What its run takes at worst, a revision included; dollars are None without a price."""
        context = await self._context(settings)
        found = (await asyncio.to_thread(prospect, self.topology, row.text, context)).worst
        tokens = math.ceil(found.tokens * ROOM)
        usd = None if found.usd is None else found.usd * ROOM
        if context.budget_tokens is not None:
            tokens = min(tokens, context.budget_tokens)
        if context.budget_usd is not None and usd is not None:
            usd = min(usd, context.budget_usd)
        return Amount(tokens, usd)

    async def _context(self, settings: Settings) -> Context:
        context = make_context(settings)
        wanted = json.dumps([context.model, context.expert_models], sort_keys=True)
        async with self._one:
            if wanted not in self._models:
                found = await asyncio.to_thread(self.prepared, context)
                self._models[wanted] = found.model
        return context.model_copy(update={"model": self._models[wanted]})


def here(topology: Topology, prepared: Callable[[Context], Context]) -> Here:
    """The brain of a topology, in this process."""
    return Here(topology, compile_brain(topology), prepared)


@dataclass
class There:
    """The brain of a LangGraph server; no thread is made there."""

    brain: RemoteBrain

    async def ready(self) -> None:
        """Raises BrainError if no such brain answers there."""
        with translated(self.brain.url):
            await self.brain.aget_graph()

    async def ask(self, row: Row, settings: Settings) -> dict[str, Any]:
        """The result of one run. Only the settings that were given travel."""
        output: Mapping[str, object] = await self.brain.ainvoke(row.input, context=dict(settings))
        if missing := [key for key in RESULT_KEYS if key not in output]:
            raise ServerError(self.brain.url, f"its answer has no {missing[0]}.")
        return {key: output[key] for key in RESULT_KEYS}

    async def worst(self, row: Row, settings: Settings) -> Amount:
        """The row's own budgets: what the server's model takes at worst is not known here."""
        return Amount(settings.get("budget_tokens", 0), settings.get("budget_usd"))
