"""Which checkpoints are read, and that they say what LangGraph says of them."""

from __future__ import annotations

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from swarm_brain.graph.brain import compile_brain
from swarm_brain.graph.errors import ThreadError
from swarm_brain.runs.saved import saved_runs
from swarm_brain.threads import checkpoints, history
from swarm_brain.threads.checkpoints import (
    IndexEntry,
    _ends,
    config_of,
    count_runs,
    last_states,
    latest,
)
from tests.saved_threads import RUNS, copy


@pytest.fixture
def decoded(threads, monkeypatch):
    """The checkpoints that were decoded, by their ids."""
    ids = []
    loads = threads.serde.loads_typed

    def counting(data):
        value = loads(data)
        if isinstance(value, dict) and "channel_versions" in value:
            ids.append(value["id"])
        return value

    monkeypatch.setattr(threads.serde, "loads_typed", counting)
    return ids


async def test_every_saved_state_is_what_langgraph_shows_of_it(threads):
    brain, compared = compile_brain(checkpointer=threads), 0
    for thread in RUNS:
        async for snapshot in brain.aget_state_history(config_of(thread)):
            state = checkpoints.saved_state(await threads.aget_tuple(snapshot.config))
            assert state.next == tuple(sorted(snapshot.next))
            assert list(state.pauses) == list(snapshot.interrupts)
            assert state.date == snapshot.created_at
            assert state.values.items() <= snapshot.values.items()
            assert not any(value for name, value in snapshot.values.items()
                           if name not in state.values)  # fmt: skip
            written = [s for task in snapshot.tasks
                       for s in (task.result or {}).get("signals") or []]  # fmt: skip
            known = {(s["source"], s["step"]) for s in snapshot.values["signals"]}
            pending = [s for s in written if (s["source"], s["step"]) not in known]
            assert state.signals == (
                *snapshot.values["signals"],
                *sorted(pending, key=lambda signal: signal["source"]),
            )
            compared += 1
    assert compared > 100


async def test_runs_are_counted_without_decoding_checkpoints_unless_one_was_forked(
    threads, decoded
):
    assert await count_runs(threads, [*RUNS, "unknown"]) == {**RUNS, "unknown": 0}
    assert len(decoded) == RUNS["forked"]


@pytest.mark.parametrize("thread", RUNS)
async def test_showing_a_thread_decodes_one_checkpoint_a_run(threads, decoded, thread):
    assert len(await saved_runs(threads, thread)) == RUNS[thread]
    assert len(decoded) == RUNS[thread]


async def test_listing_and_asking_decode_one_checkpoint(threads, decoded):
    assert (await history.summary(threads, "conversation"))["provenance"] == "full"
    assert len(decoded) == 1
    await latest(threads, "conversation")
    assert len(decoded) == 2


async def test_other_checkpointers_are_read_too(threads):
    other = InMemorySaver()
    await copy(threads, other)
    assert await count_runs(other, list(RUNS)) == RUNS
    for thread in RUNS:
        assert await saved_runs(other, thread) == await saved_runs(threads, thread)


async def test_a_thread_that_is_not_there_is_an_error(threads):
    with pytest.raises(ThreadError, match="no thread unknown"):
        await latest(threads, "unknown")
    assert await last_states(threads, "unknown") == []


@pytest.mark.parametrize("kept", [1, 2, 3, 4, 8])
async def test_a_pruned_thread_shows_the_runs_that_are_left(threads, kept):
    whole = await saved_runs(threads, "conversation")
    brain = compile_brain(checkpointer=threads)
    await threads.keep_last(kept)
    left = []
    async for snapshot in brain.aget_state_history(config_of("conversation")):
        run = snapshot.values["run_id"]
        if not set(snapshot.next) & checkpoints.NOT_BEGUN and run not in left:
            left.insert(0, run)
    assert await saved_runs(threads, "conversation") == whole[-len(left) :]
    assert await count_runs(threads, ["conversation"]) == {"conversation": len(left)}


def entries(*rows: str) -> list[IndexEntry]:
    """Entries from "id parent source step"."""
    made = []
    for row in rows:
        name, parent, source, step = row.split()
        made.append(IndexEntry(name, None if parent == "-" else parent, source, int(step)))
    return made


RUN = ("a - input -1", "b a loop 0", "c b loop 1", "d c loop 2")


@pytest.mark.parametrize(
    ("rows", "ends"),
    [
        (RUN, {"d": True}),
        (RUN[:2], {}),  # asked, but not begun
        ((*RUN, "e d input 3", "f e loop 4"), {"d": True}),
        ((*RUN, "e d input 3", "f e loop 4", "g f loop 5"), {"d": True, "g": True}),
        ((*RUN, "e c update 2"), {"d": True, "e": False}),  # forked, or edited by hand
        ((*RUN, "e c update 2", "f e loop 3"), {"d": True, "f": False}),
        ((*RUN, "e c fork 2", "f e loop 3"), {"d": True, "f": False}),
        (RUN[2:], {"d": False}),  # pruned
        ((*RUN[1:], "e d loop 3"), {"e": True}),
        (("a - loop 5", "b a loop 11"), {"a": False, "b": False}),  # durability="exit"
        (("a - loop 5", "b a input 6", "c b loop 7", "d c input 8"), {"a": False}),
    ],
)
def test_the_last_checkpoint_of_each_run_is_known_from_the_index(rows, ends):
    assert {end.id: end.certain for end in _ends(entries(*rows))} == ends
