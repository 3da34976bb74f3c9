"""An owner's threads: listed, shown, deleted."""

from __future__ import annotations

import asyncio
from typing import Any

from swarm_brain.graph.errors import MemoryUnavailable, ThreadError
from swarm_brain.runs.replay import SavedRun, saved_run
from swarm_brain.server.api_keys import Owner
from swarm_brain.server.runs import THREAD_ID, Runs, no_thread, private_id
from swarm_brain.threads import history
from swarm_brain.threads.checkpoints import last_states

UNREADABLE: history.Summary = {
    "question": "",
    "date": "",
    "provenance": None,
    "cost_usd": None,
    "unfinished": False,
    "paused": False,
}


async def listed(runs: Runs, owner: Owner, limit: int) -> list[dict[str, Any]]:
    """The owner's threads as their last run shows them, the latest first."""
    mine = []
    for private in await runs.kept.ids():
        whose, _, public = private.rpartition(":")
        if whose == (owner.name or "") and THREAD_ID.fullmatch(public):
            mine.append(public)
    return [await _row(runs, owner, thread) for thread in mine[:limit]]


async def _row(runs: Runs, owner: Owner, thread: str) -> dict[str, Any]:
    try:
        summary = await history.summary(runs.kept, private_id(owner, thread))
    except (ThreadError, MemoryUnavailable):  # one of them must not hide the others
        summary = UNREADABLE
    return {"id": thread, **summary}


async def shown(runs: Runs, owner: Owner, thread: str) -> list[SavedRun]:
    """Return the runs of a thread, the first one first. Raises Problem(404)."""
    states = await last_states(runs.kept, private_id(owner, thread))
    if not states:
        raise no_thread(thread)
    return await asyncio.to_thread(lambda: [saved_run(state, thread) for state in states])


async def deleted(runs: Runs, owner: Owner, thread: str) -> None:
    """Delete a thread. Raises Problem(404)."""
    threads, private = runs.kept, private_id(owner, thread)
    if private not in await threads.ids():
        raise no_thread(thread)
    async with runs.alone(private):
        await threads.adelete_thread(private)
        await threads.shred()
