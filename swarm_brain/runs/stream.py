"""A run as one stream of events, from the modes in which LangGraph streams.

Between the events of `graph.events` stand `token` (words of an expert as they are generated) and
`said` (the whole of what it has said). The last is `finished` or `paused`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

from langchain_core.messages import BaseMessage

from swarm_brain.graph.state import RESULT_KEYS
from swarm_brain.server.problems import Problem

Event = dict[str, Any]
MODES: Any = ["custom", "messages", "updates", "values"]
SAID = ("step", "content", "status", "defects", "gates")


async def events(stream: AsyncIterator[Any]) -> AsyncIterator[Event]:
    """The events of a run that is streamed in MODES."""
    steps: dict[str, int] = {}
    state: dict[str, Any] = {}
    pauses: list[Any] = []
    async for mode, part in stream:
        if mode == "custom":
            if part["event"] == "woken":
                steps[part["expert"]] = part["step"]
            yield part
        elif mode == "messages":
            if event := _token(steps, *part):
                yield event
        elif mode == "updates":
            for event in _said(part):
                yield event
        else:
            state, pauses = part, list(part.get("__interrupt__") or pauses)
    yield _paused(pauses) if pauses else _finished(state)


def _token(steps: Mapping[str, int], message: Any, about: Mapping[str, Any]) -> Event | None:
    """Words that an expert writes; what nodes put into the state comes in this mode, too."""
    expert = about.get("langgraph_node", "")
    if expert not in steps or not isinstance(message, BaseMessage) or not message.text:
        return None
    return {"event": "token", "expert": expert, "step": steps[expert], "text": message.text}


def _said(update: Mapping[str, Any]) -> list[Event]:
    writes = [wrote for wrote in update.values() if isinstance(wrote, dict)]
    return [
        {"event": "said", "expert": signal["source"], **{key: signal[key] for key in SAID}}
        for wrote in writes
        for signal in wrote.get("signals") or ()
    ]


def _paused(pauses: list[Any]) -> Event:
    return {"event": "paused", "paused": [{"id": pause.id, **pause.value} for pause in pauses]}


def _finished(state: Mapping[str, Any]) -> Event:
    """The result, and what of the state only a server tells."""
    signals = state["signals"]
    wrote = [signal for signal in signals if signal["content"] == state["final_output"]]
    return {
        "event": "finished",
        "result": {key: state[key] for key in RESULT_KEYS},
        "defects": [defect for signal in signals for defect in signal["defects"]],
        "all_simulated": state["all_simulated"],
        "answer_tokens": wrote[-1]["output_tokens"] if wrote else None,
    }


async def pumped(work: AsyncIterator[Event]) -> AsyncIterator[Event]:
    """The same events from a task of its own: whoever reads them may do so from many tasks, and
    whoever stops reading ends the work."""
    queue: asyncio.Queue[Event | Exception | None] = asyncio.Queue()
    task = asyncio.create_task(_pump(work, queue))
    try:
        while (item := await queue.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _pump(work: AsyncIterator[Event], queue: asyncio.Queue[Event | Exception | None]) -> None:
    try:
        async with aclosing(work):  # type: ignore[type-var]
            async for event in work:
                queue.put_nowait(event)
        queue.put_nowait(None)
    except asyncio.CancelledError:
        queue.put_nowait(Problem(409, "The run was cancelled.", code="cancelled"))
        raise
    except Exception as error:  # noqa: BLE001  raised again where it is read
        queue.put_nowait(error)
