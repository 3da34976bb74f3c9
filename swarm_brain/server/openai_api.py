"""Serve the brain as an OpenAI model: `/v1/models`, `/v1/chat/completions`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import aclosing
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sse_starlette import EventSourceResponse
from starlette.requests import ClientDisconnect

from swarm_brain.config import server_settings
from swarm_brain.graph.events import Event, Finished, Started
from swarm_brain.server.http import ERRORS, Answer, Asker, Brains, Route, body_of, note, problem_of
from swarm_brain.server.openai_completion import completion, headers, started_of
from swarm_brain.server.openai_schema import FAMILY, ChatRequest, models, question_of
from swarm_brain.server.openai_stream import Writer
from swarm_brain.server.problems import Problem

T = TypeVar("T")

router = APIRouter(prefix="/v1", route_class=Route, responses=ERRORS, default_response_class=Answer)


@router.get("/models", tags=["openai"])
async def list_models(owner: Asker) -> dict[str, Any]:
    """List the names that the brain answers to: presets and topologies."""
    return {"object": "list", "data": [_model(name) for name in models()]}


@router.get("/models/{model}", tags=["openai"])
async def show_model(model: str, owner: Asker) -> dict[str, Any]:
    """Show one model by its name."""
    if model not in models():
        raise Problem(404, f"There is no model {model}.", param="model", code="model_not_found")
    return _model(model)


def _model(name: str) -> dict[str, Any]:
    entry = {"id": name, "object": "model", "created": 0, "owned_by": FAMILY}
    return entry | {"description": models()[name]}


COMPLETED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A chat completion; with `stream` its chunks as events.",
        "content": {
            "application/json": {"schema": {"type": "object"}},
            "text/event-stream": {"schema": {"type": "object"}},
        },
    }
}


@router.post("/chat/completions", tags=["openai"], response_model=None, responses=COMPLETED)
async def chat_completions(
    body: ChatRequest, request: Request, owner: Asker, runs: Brains
) -> Response:
    """Ask the experts.

    With `stream` the reply is server-sent events: the experts' words as `reasoning_content`, then
    the answer's words as they are generated.
    """
    question = question_of(body)
    events = runs.ask(owner, question)
    if body.stream:
        # Whatever is wrong with the question shows before the second event.
        first, second = await while_connected(request, first_two(events))
        started = started_of(first)
        note(request, started)
        writer = Writer(body, question, started)
        return _stream(writer.chunks(_again(second, events)), started)
    run, finished = await while_connected(request, _whole(events))
    started = started_of(run[0])
    note(request, started)
    answer = completion(body, question, run, finished)
    return Answer(answer, headers=dict(headers(started, finished)))


async def first_two(events: AsyncIterator[Event]) -> list[Event]:
    """Wait for the first two events of a run."""
    return [await anext(events), await anext(events)]


async def _again(first: Event, events: AsyncGenerator[Event]) -> AsyncGenerator[Event]:
    async with aclosing(events):
        yield first
        async for event in events:
            yield event


async def _whole(events: AsyncGenerator[Event]) -> tuple[list[Event], Finished]:
    """Wait for a run's end; return its events without tokens, and the last one."""
    async with aclosing(events):
        run: list[Event] = [event async for event in events if event["event"] != "token"]
    if (last := run[-1])["event"] != "finished":
        raise TypeError(f"a question that cannot pause ended with `{last['event']}`")
    return run, last


def _stream(chunks: AsyncGenerator[dict[str, Any]], started: Started) -> Response:
    return EventSourceResponse(
        _lines(chunks),
        headers=dict(headers(started)),
        ping=server_settings().keep_alive_seconds,
        sep="\n",
    )


async def _lines(chunks: AsyncGenerator[dict[str, Any]]) -> AsyncIterator[dict[str, str]]:
    """Yield each chunk, or an error, as a server-sent event for OpenAI's clients."""
    try:
        async with aclosing(chunks):
            async for chunk in chunks:
                yield {"data": json.dumps(chunk)}
    except Exception as error:  # noqa: BLE001  the border: the status has been sent already
        yield {"data": json.dumps(body_of(problem_of(error)))}
    yield {"data": "[DONE]"}


async def while_connected(request: Request, work: Awaitable[T]) -> T:
    """Wait for `work`; cancel it and raise ClientDisconnect if the client leaves."""
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return await task
        raise ClientDisconnect
    finally:
        gone.cancel()
        task.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
