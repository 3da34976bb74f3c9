"""List, show and delete an owner's threads."""

from __future__ import annotations

import asyncio

from swarm_brain.graph.errors import MemoryUnavailable, ThreadError
from swarm_brain.runs.saved import RunWithEvents, saved_run
from swarm_brain.server.api_keys import Owner
from swarm_brain.server.question import no_thread, private_id
from swarm_brain.server.runs import Runs
from swarm_brain.threads import history
from swarm_brain.threads.checkpoints import last_states
from swarm_brain.validation import is_id


class ThreadLine(history.Summary):
    """A thread in one line of a list."""

    id: str


UNREADABLE: history.Summary = {
    "question": "",
    "date": "",
    "provenance": None,
    "cost_usd": None,
    "unfinished": False,
    "paused": False,
}


async def listed(runs: Runs, owner: Owner, limit: int) -> list[ThreadLine]:
    """List the owner's threads, latest first, by their last runs."""
    mine = []
    for private in await runs.saved.ids():
        name, _, public = private.rpartition(":")
        if name == (owner.name or "") and is_id(public):
            mine.append(public)
    return [await _row(runs, owner, thread) for thread in mine[:limit]]


async def _row(runs: Runs, owner: Owner, thread: str) -> ThreadLine:
    try:
        summary = await history.summary(runs.saved, private_id(owner, thread))
    except (ThreadError, MemoryUnavailable):  # one of them must not hide the others
        summary = UNREADABLE
    return {"id": thread, **summary}


async def shown(runs: Runs, owner: Owner, thread: str) -> list[RunWithEvents]:
    """Return the runs of a thread, first one first. Raises Problem(404)."""
    states = await last_states(runs.saved, private_id(owner, thread))
    if not states:
        raise no_thread(thread)
    return await asyncio.to_thread(lambda: [saved_run(state, thread) for state in states])


async def deleted(runs: Runs, owner: Owner, thread: str) -> None:
    """Delete a thread. Raises Problem(404)."""
    threads, private = runs.saved, private_id(owner, thread)
    if private not in await threads.ids():
        raise no_thread(thread)
    async with runs.alone(private):
        await threads.adelete_thread(private)
        await threads.shred()
