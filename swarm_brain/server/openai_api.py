"""The brain as a model behind OpenAI's interface: `/v1/models` and `/v1/chat/completions`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from contextlib import aclosing
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sse_starlette import EventSourceResponse
from starlette.requests import ClientDisconnect

from swarm_brain.config import server_settings
from swarm_brain.runs.stream import Event
from swarm_brain.server.http import ERRORS, Answer, Asker, Brains, Route, body_of, note, problem_of
from swarm_brain.server.openai_completion import completion, headers
from swarm_brain.server.openai_schema import FAMILY, ChatRequest, models, question_of
from swarm_brain.server.openai_stream import Writer
from swarm_brain.server.problems import Problem

T = TypeVar("T")

router = APIRouter(prefix="/v1", route_class=Route, responses=ERRORS, default_response_class=Answer)


@router.get("/models", tags=["openai"])
async def list_models(owner: Asker) -> dict[str, Any]:
    """The names under which the brain is asked: presets and topologies."""
    return {"object": "list", "data": [_model(name) for name in models()]}


@router.get("/models/{model}", tags=["openai"])
async def show_model(model: str, owner: Asker) -> dict[str, Any]:
    """One of them."""
    if model not in models():
        raise Problem(404, f"There is no model {model}.", param="model", code="model_not_found")
    return _model(model)


def _model(name: str) -> dict[str, Any]:
    entry = {"id": name, "object": "model", "created": 0, "owned_by": FAMILY}
    return entry | {"description": models()[name]}


COMPLETED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A chat completion; with `stream` its pieces as events.",
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
    """Ask the experts. With `stream` as server-sent events: what they say as
    `reasoning_content`, then the answer's words as they are generated."""
    question = question_of(body)
    events = runs.ask(owner, question)
    if body.stream:
        # Up to the second event everything that is wrong with the question has shown itself.
        started, begun = await _first(request, events)
        note(request, started)
        writer = Writer(body, started, question.topology)
        return _stream(writer.chunks(_again(begun, events)), started)
    whole = await while_connected(request, _whole(events))
    note(request, whole[0])
    told = completion(body, question.topology, whole)
    return Answer(told, headers=dict(headers(whole[0], whole[-1])))


async def _first(request: Request, events: AsyncIterator[Event]) -> tuple[Event, Event]:
    async def two() -> tuple[Event, Event]:
        return await anext(events), await anext(events)

    return await while_connected(request, two())


async def _again(first: Event, events: AsyncIterator[Event]) -> AsyncIterator[Event]:
    async with aclosing(events):  # type: ignore[type-var]
        yield first
        async for event in events:
            yield event


async def _whole(events: AsyncIterator[Event]) -> list[Event]:
    async with aclosing(events):  # type: ignore[type-var]
        return [event async for event in events if event["event"] != "token"]


def _stream(chunks: AsyncIterator[dict[str, Any]], started: Event) -> Response:
    return EventSourceResponse(
        _lines(chunks),
        headers=dict(headers(started)),
        ping=server_settings().keep_alive_seconds,
        sep="\n",
    )


async def _lines(chunks: AsyncIterator[dict[str, Any]]) -> AsyncIterator[dict[str, str]]:
    """Each piece as an event; an error as OpenAI's clients raise it."""
    try:
        async with aclosing(chunks):  # type: ignore[type-var]
            async for chunk in chunks:
                yield {"data": json.dumps(chunk)}
    except Exception as error:  # noqa: BLE001  the border: the status has been sent already
        yield {"data": json.dumps(body_of(problem_of(error)))}
    yield {"data": "[DONE]"}


async def while_connected(request: Request, work: Awaitable[T]) -> T:
    """Await `work`; if the client leaves meanwhile it is cancelled. Raises ClientDisconnect."""
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
