"""Report a run's events while it lasts, from LangGraph's streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.runtime import RunControl
from langgraph.types import Command, Interrupt

from swarm_brain.graph.brain import Brain
from swarm_brain.graph.context import Context
from swarm_brain.graph.errors import RunCancelled, ThreadError
from swarm_brain.graph.events import (
    Answered,
    Event,
    Finished,
    Pause,
    Paused,
    Started,
    Token,
    Written,
)
from swarm_brain.graph.state import BrainInput, BrainState
from swarm_brain.threads import history

if TYPE_CHECKING:
    from swarm_brain.remote import RemoteBrain

MODES: list[Literal["custom", "messages", "values"]] = ["custom", "messages", "values"]
INTERRUPT = "__interrupt__"
ENDINGS = ("paused", "finished", "error")


@dataclass(frozen=True)
class Start:
    """The start of a run: a question, a decision at a pause, or None to continue.

    `thread` is the thread's public id, None if the run is not saved. `past` are the run's earlier
    events, to be reported first.
    """

    input: BrainInput | Command[str] | None
    config: RunnableConfig
    thread: str | None
    run: str
    past: Sequence[Event] = ()


@dataclass
class _Progress:
    """The part of a run's past that later events depend on."""

    awake: dict[str, int] = field(default_factory=dict)  # expert to step
    answers: list[Answered] = field(default_factory=list)
    broadcasts: set[int] = field(default_factory=set)
    values: Mapping[str, Any] = field(default_factory=dict)
    pauses: dict[str, Interrupt] = field(default_factory=dict)

    def is_news(self, event: Event) -> bool:
        """Record an event. Return False for a broadcast that was reported before."""
        if event["event"] == "woken":
            self.awake[event["expert"]] = event["step"]
        elif event["event"] == "answered":
            self.awake.pop(event["expert"], None)
            self.answers.append(event)
        elif event["event"] == "broadcast":
            known = event["step"] in self.broadcasts
            self.broadcasts.add(event["step"])
            return not known
        return True


async def events(
    brain: Brain | RemoteBrain,
    start: Start,
    context: Context | Mapping[str, object] | None = None,
    control: RunControl | None = None,
) -> AsyncGenerator[Event]:
    """Run and yield the events, from `started` to `paused` or `finished`.

    Closing the iterator ends the run. Raises BrainError if the run fails.
    """
    progress = _Progress()
    started: Started = {"event": "started", "thread": start.thread, "run": start.run}
    yield started
    for event in start.past:
        if event["event"] not in ("started", *ENDINGS) and progress.is_news(event):
            yield event
    async with aclosing(_stream(brain, start, context, control)) as stream:
        async for mode, part in stream:
            if mode == "values":
                progress.values = part
                progress.pauses |= {pause.id: pause for pause in part.get(INTERRUPT, ())}
            elif mode == "messages":
                if token := _token(progress, *part):
                    yield token
            elif progress.is_news(written := cast("Written", part)):
                yield written
    waiting = list(progress.pauses.values())
    yield paused(waiting) if waiting else _finished(progress, start.thread)


def _stream(
    brain: Brain | RemoteBrain,
    start: Start,
    context: Context | Mapping[str, object] | None,
    control: RunControl | None,
) -> AsyncGenerator[tuple[str, Any]]:
    options: dict[str, Any] = {"context": context, "stream_mode": MODES}
    if control is not None:
        options["control"] = control
    if start.thread is not None:  # a step's checkpoint is saved before the next one is paid for
        options["durability"] = "sync"
    stream = brain.astream(start.input, start.config, **options)
    return cast("AsyncGenerator[tuple[str, Any]]", stream)


def _token(progress: _Progress, message: object, metadata: Mapping[str, str]) -> Token | None:
    """Return the event of a piece of an expert's text, or None.

    Messages that nodes write to the state arrive in the same stream.
    """
    expert = metadata.get("langgraph_node", "")
    if expert not in progress.awake or not isinstance(message, BaseMessage) or not message.text:
        return None
    step = progress.awake[expert]
    return {"event": "token", "expert": expert, "step": step, "text": message.text}


def paused(pauses: Sequence[Interrupt]) -> Paused:
    """Return the event of a pause before these experts."""
    waiting = [cast("Pause", {"id": pause.id, **pause.value}) for pause in pauses]
    return {"event": "paused", "paused": sorted(waiting, key=lambda pause: pause["expert"])}


def _finished(progress: _Progress, thread: str | None) -> Finished:
    if "final_output" not in progress.values:
        raise ThreadError(f"The run of the thread {thread} has nothing left to do.")
    return finished(cast("BrainState", progress.values), progress.answers, thread)


def finished(values: BrainState, answers: Sequence[Answered], thread: str | None) -> Finished:
    """Return the event of the run's end with these values.

    A server's values are the result alone, so everything else comes from the answers. An expert
    without a real model is simulated and has no error; then no expert has one.
    """
    result = history.result(values)
    written = [answer for answer in answers if answer["content"] == result["final_output"]]
    simulated = any(a["status"] == "simulated" and a["error"] is None for a in answers)
    return {
        "event": "finished",
        "result": {**result, "thread_id": thread},
        "defects": [defect for answer in answers for defect in answer["defects"]],
        "all_simulated": values.get("all_simulated", simulated),
        "answer_tokens": written[-1]["output_tokens"] if written else None,
    }


async def pumped(work: AsyncGenerator[Event]) -> AsyncGenerator[Event]:
    """Yield the same events from a task of their own, for several readers.

    Closing the iterator ends the work.
    """
    queue: asyncio.Queue[Event | Exception | None] = asyncio.Queue()
    task = asyncio.create_task(_pump(work, queue))
    try:
        while (item := await queue.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        task.cancel()
        # Shielded, because sse-starlette's scope cancels a waiting task again and again, and each
        # cancellation passed on would keep LangGraph from ending the nodes that still run.
        await asyncio.shield(asyncio.gather(task, return_exceptions=True))


async def _pump(
    work: AsyncGenerator[Event], queue: asyncio.Queue[Event | Exception | None]
) -> None:
    try:
        async with aclosing(work):
            async for event in work:
                queue.put_nowait(event)
        queue.put_nowait(None)
    except asyncio.CancelledError:
        queue.put_nowait(RunCancelled())
        raise
    except Exception as error:  # noqa: BLE001  raised again where it is read
        queue.put_nowait(error)
