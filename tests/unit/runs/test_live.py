"""A live run: what is made of a server's stream, and who ends it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk
from langgraph.checkpoint.memory import InMemorySaver

from swarm_brain.graph.brain import compile_brain
from swarm_brain.graph.context import make_context
from swarm_brain.graph.errors import RunCancelled, ThreadError
from swarm_brain.graph.events import Event
from swarm_brain.graph.state import RESULT_KEYS
from swarm_brain.runs.live import Start, events, pumped
from swarm_brain.threads.checkpoints import config_of
from tests.fakes import Script

HARD = "Why is the subject what it is?"
START = Start({"question": HARD}, config_of("t"), "t", "r")


async def local() -> list[tuple[str, Any]]:
    """The parts that LangGraph streams for a run."""
    brain = compile_brain(checkpointer=InMemorySaver())
    modes: Any = ["custom", "messages", "values"]
    context: Any = {"model": "scripted:m"}
    stream = brain.astream(START.input, START.config, context=context, stream_mode=modes)
    return [part async for part in stream]


class Server:
    """A brain that streams these parts, values as a server sends them: the result alone."""

    def __init__(self, parts: list[tuple[str, Any]]) -> None:
        self.parts = parts

    async def astream(self, *_: Any, **options: Any) -> AsyncIterator[tuple[str, Any]]:
        assert "control" not in options  # a server knows none
        for mode, part in self.parts:
            keys = {key: part[key] for key in RESULT_KEYS if key in part} if mode == "values" else 0
            yield mode, keys or part


async def reported(brain: Any) -> list[Event]:
    return [event async for event in events(brain, START, make_context({"model": "scripted:m"}))]


async def test_a_server_is_reported_like_the_local_brain(script: Script):
    script.says["meta_cognitive"] = '{"defects": [{"quote": "The subject", "problem": "vague"}]}'
    parts = await local()
    here = await reported(compile_brain(checkpointer=InMemorySaver()))
    there = await reported(Server(parts))
    assert [event["event"] for event in there][-1] == "finished"
    assert here[-1]["defects"] == there[-1]["defects"] != []
    assert here[-1]["answer_tokens"] == there[-1]["answer_tokens"] == 10
    assert here[-1]["all_simulated"] is there[-1]["all_simulated"] is False


async def test_a_message_that_is_repeated_at_its_end_is_no_token(script: Script):
    parts = await local()
    ended = next(n for n, (mode, part) in enumerate(parts)
                 if mode == "custom" and part["event"] == "answered")  # fmt: skip
    late = ("messages", (AIMessageChunk("again"), {"langgraph_node": parts[ended][1]["expert"]}))
    run = await reported(Server([*parts[: ended + 1], late, *parts[ended + 1 :]]))
    assert "again" not in [event["text"] for event in run if event["event"] == "token"]


async def test_a_broadcast_is_reported_once(script: Script):
    parts = await local()
    again = [part for mode, part in parts if mode == "custom" and part["event"] == "broadcast"]
    run = await reported(Server([*parts[:-1], ("custom", again[0]), parts[-1]]))
    steps = [event["step"] for event in run if event["event"] == "broadcast"]
    assert steps == [1, 2, 3]


async def test_a_run_that_has_nothing_to_do_says_so():
    with pytest.raises(ThreadError, match="nothing left to do"):
        await reported(Server([]))


async def test_who_stops_reading_ends_the_work_however_often_it_is_cancelled():
    ended = asyncio.Event()

    async def work() -> Any:
        try:
            yield {"event": "started", "thread": None, "run": "r"}
            await asyncio.sleep(30)
        finally:
            await asyncio.sleep(0.05)  # as LangGraph waits for its nodes
            ended.set()

    async def read() -> None:
        async for _ in pumped(work()):
            pass

    reader = asyncio.create_task(read())
    await asyncio.sleep(0.02)
    for _ in range(5):
        reader.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await reader
    await asyncio.wait_for(ended.wait(), 1)


async def test_whoever_reads_a_cancelled_run_is_told():
    async def work() -> Any:
        yield {"event": "started", "thread": None, "run": "r"}
        raise asyncio.CancelledError

    with pytest.raises(RunCancelled):
        async for _ in pumped(work()):
            pass
