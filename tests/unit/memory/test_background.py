"""Consolidation in the background of many questions at once."""

from __future__ import annotations

import asyncio
import json
import time

from swarm_brain.graph.context import make_context
from swarm_brain.memory import background, maintenance
from swarm_brain.memory.episodes import putting
from swarm_brain.memory.opening import in_process
from swarm_brain.memory.space import Space

CONSOLIDATION = "# Consolidation"  # the first line of its prompt, as tests.fakes.asker gives it


def slow_facts(request):
    time.sleep(0.1)
    return json.dumps({"facts": [{"text": "Eels are fish.", "episodes": [1]}]})


async def with_episodes(store, count: int) -> None:
    for number in range(count):
        episode = {
            "question": f"What is thing {number}?",
            "answer": f"It is {number}.",
            "verdict": None,
            "agreement": None,
            "provenance": "full",
            "model": "m",
            "thread": None,
            "run_id": f"run-{number}",
        }
        await store.abatch(putting(Space(), episode))


async def test_answers_at_once_are_consolidated_once(script):
    script.says[CONSOLIDATION] = slow_facts
    store, context = in_process(), make_context({"model": "m:m", "consolidation_interval": 2})
    await with_episodes(store, 4)
    for _ in range(8):
        background.later(store, Space(), context)
    await background.settled()
    assert len(script.of(CONSOLIDATION)) == 1
    found = await maintenance.stats(store, Space())
    assert (found["facts"], found["unconsolidated"]) == (1, 0)


async def test_a_store_that_fails_in_the_background_disturbs_nobody(script, caplog):
    class Broken:
        async def asearch(self, *args, **kwargs):
            raise RuntimeError("gone")

    context = make_context({"model": "m:m", "consolidation_interval": 1})
    for _ in range(2):  # the second one is not kept out by the first
        background.later(Broken(), Space(), context)
        await background.settled()
    assert caplog.text.count("not consolidated: RuntimeError") == 2


def test_settled_waits_for_its_own_loop_alone(script):
    script.says[CONSOLIDATION] = slow_facts
    store, context = in_process(), make_context({"model": "m:m", "consolidation_interval": 1})

    async def begun_and_left():
        await with_episodes(store, 1)
        background.later(store, Space(), context)

    asyncio.run(begun_and_left())
    asyncio.run(background.settled())
