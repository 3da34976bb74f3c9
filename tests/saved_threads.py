"""The threads that version 0.1.0 saved, for tests of what later versions make of them."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from pathlib import Path

from langgraph.checkpoint.base import BaseCheckpointSaver

from swarm_brain.threads.checkpoints import config_of

FIXTURE = Path(__file__).parent / "fixtures" / "threads-0.1.0.sqlite"
# How many runs each has.
RUNS = {
    "simple": 1, "hard": 1, "revised": 1, "paused": 1, "degraded": 1, "strict": 1,
    "conversation": 3, "forked": 2, "few_steps": 1, "gated": 2, "simulated": 1, "killed": 1,
}  # fmt: skip


async def copy(source: BaseCheckpointSaver, target: BaseCheckpointSaver) -> None:
    """Save every checkpoint and pending write of these threads with another checkpointer."""
    for thread in RUNS:
        saved = [state async for state in source.alist(config_of(thread))]
        for state in reversed(saved):
            config = state.parent_config or {"configurable": {"thread_id": thread}}
            config["configurable"].setdefault("checkpoint_ns", "")
            versions = state.checkpoint["channel_versions"]
            placed = await target.aput(config, state.checkpoint, state.metadata, versions)
            writes = groupby(state.pending_writes, key=itemgetter(0))
            for task, written in writes:
                await target.aput_writes(placed, [write[1:] for write in written], task)
