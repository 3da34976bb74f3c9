"""The brain that answers a batch: in this process, or on a LangGraph server."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, cast

from swarm_brain.batch.rows import Row
from swarm_brain.graph.brain import Brain, compile_brain
from swarm_brain.graph.context import Context, make_context
from swarm_brain.graph.errors import ServerError
from swarm_brain.graph.state import RESULT_KEYS, BrainInput, Result
from swarm_brain.graph.topology import Topology
from swarm_brain.nodes.begin import prospect
from swarm_brain.remote import RemoteBrain, translated
from swarm_brain.spending.ledger import Amount

Settings = Mapping[str, object]
# Plans estimate: runs with exactly the planned worst case as their budget were cut short.
MARGIN = 1.1


class Backend(Protocol):
    """Answers one row with validated settings."""

    async def ask(self, row: Row, settings: Settings) -> Result:
        """Return the result of one run. Raises BrainError."""

    async def worst(self, row: Row, settings: Settings) -> Amount:
        """Return the most the row may use; its own budgets count. Raises BrainError."""


@dataclass
class LocalBackend:
    """The brain in this process. It saves no threads and no memories.

    `prepare` resolves a run's model and fetches its weights; it is called once per set of models.
    """

    topology: Topology
    brain: Brain
    prepare: Callable[[Context], Context]
    _models: dict[str, str] = field(default_factory=dict)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def ask(self, row: Row, settings: Settings) -> Result:
        """Return the result of one run."""
        question = cast(BrainInput, row.input)
        return _result(await self.brain.ainvoke(question, context=await self._context(settings)))

    async def worst(self, row: Row, settings: Settings) -> Amount:
        """Return a run's worst case, with a revision; dollars are None without a price."""
        context = await self._context(settings)
        planned = (await asyncio.to_thread(prospect, self.topology, row.text, context)).worst
        tokens = math.ceil(planned.tokens * MARGIN)
        usd = None if planned.usd is None else planned.usd * MARGIN
        if context.budget_tokens is not None:
            tokens = min(tokens, context.budget_tokens)
        if context.budget_usd is not None and usd is not None:
            usd = min(usd, context.budget_usd)
        return Amount(tokens, usd)

    async def _context(self, settings: Settings) -> Context:
        context = make_context(settings)
        models = json.dumps([context.model, context.expert_models], sort_keys=True)
        async with self._lock:
            if models not in self._models:
                prepared = await asyncio.to_thread(self.prepare, context)
                self._models[models] = prepared.model
        return context.model_copy(update={"model": self._models[models]})


def local_backend(topology: Topology, prepare: Callable[[Context], Context]) -> LocalBackend:
    """Return the brain of a topology, in this process."""
    return LocalBackend(topology, compile_brain(topology), prepare)


@dataclass
class RemoteBackend:
    """The brain of a LangGraph server; no thread is created there."""

    brain: RemoteBrain

    async def check(self) -> None:
        """Raise BrainError if no brain answers at the address."""
        with translated(self.brain.url):
            await self.brain.aget_graph()

    async def ask(self, row: Row, settings: Settings) -> Result:
        """Return the result of one run. Only the settings that were set are sent."""
        result = await self.brain.ainvoke(row.input, context=dict(settings))
        if missing := [key for key in RESULT_KEYS if key not in result]:
            raise ServerError(self.brain.url, f"its answer has no {missing[0]}.")
        return _result(result)

    async def worst(self, row: Row, settings: Settings) -> Amount:
        """Return the row's own budgets: the server's worst case is unknown here."""
        tokens, usd = settings.get("budget_tokens", 0), settings.get("budget_usd")
        return Amount(cast(int, tokens), cast(float | None, usd))


def _result(state: Mapping[str, object]) -> Result:
    return cast(Result, {key: state[key] for key in RESULT_KEYS})
