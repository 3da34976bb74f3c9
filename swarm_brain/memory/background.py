"""Consolidation in the background, once enough answers are new."""

from __future__ import annotations

import asyncio
import contextvars
import logging

from langgraph.store.base import BaseStore

from swarm_brain.graph.context import Context
from swarm_brain.graph.errors import BrainError
from swarm_brain.memory.consolidation import consolidate
from swarm_brain.memory.space import Space

log = logging.getLogger(__name__)

_running: set[asyncio.Task[None]] = set()
_busy: set[tuple[int, Space]] = set()  # spaces that are being consolidated, by store


def later(store: BaseStore, space: Space, context: Context, payer: str | None = None) -> None:
    """Consolidate in the background if enough answers are new.

    The answer does not wait for it. It runs on the caller's loop but outside its run, so the run's
    trace does not include it.
    """
    work = _when_due(store, space, context, payer)
    task = asyncio.get_running_loop().create_task(work, context=contextvars.Context())
    _running.add(task)
    task.add_done_callback(_running.discard)


async def settled() -> None:
    """Wait for the consolidations that this loop runs in the background."""
    loop = asyncio.get_running_loop()
    while pending := [t for t in set(_running) if not t.done() and t.get_loop() is loop]:
        await asyncio.gather(*pending, return_exceptions=True)


async def _when_due(store: BaseStore, space: Space, context: Context, payer: str | None) -> None:
    """Run one consolidation at a time, so that no episode is paid for twice."""
    interval, place = context.consolidation_interval or 1, (id(store), space)
    if place in _busy:
        return
    _busy.add(place)
    try:
        if len(await store.asearch(space.unconsolidated, limit=interval)) >= interval:
            report = await consolidate(store, space, context, payer)
            log.info("consolidated: %s", report)
    except Exception as error:  # noqa: BLE001  nobody waits for this task, whatever fails
        reason = error if isinstance(error, BrainError) else type(error).__name__
        log.warning("not consolidated: %s", reason)
    finally:
        _busy.discard(place)
