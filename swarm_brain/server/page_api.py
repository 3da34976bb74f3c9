"""The routes of the page: `/brain/*`. Runs are streamed as server-sent events."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, JsonValue
from sse_starlette import EventSourceResponse
from typing_extensions import TypedDict

from swarm_brain.config import server_settings
from swarm_brain.graph.context import Context, make_context
from swarm_brain.graph.errors import ConfigError
from swarm_brain.graph.events import Event
from swarm_brain.graph.loading import load
from swarm_brain.nodes.interrupt import check_decision
from swarm_brain.nodes.turn import BUDGETS
from swarm_brain.picture.layout import layout
from swarm_brain.presets import PRESETS
from swarm_brain.runs.saved import RunWithEvents
from swarm_brain.server import page_threads
from swarm_brain.server.api_keys import Owner, keyed
from swarm_brain.server.http import (
    ERRORS,
    Answer,
    Asker,
    Brains,
    Route,
    failure_in,
    note,
    problem_of,
)
from swarm_brain.server.openai_api import first_two, while_connected
from swarm_brain.server.openai_completion import started_of
from swarm_brain.server.page_threads import ThreadLine
from swarm_brain.server.question import Question
from swarm_brain.spending import quota
from swarm_brain.validation import ID_PATTERN

router = APIRouter(
    prefix="/brain",
    tags=["brain"],
    route_class=Route,
    responses=ERRORS,
    default_response_class=Answer,
)
Json = dict[str, object]  # an object whose keys its route documents
Thread = Annotated[str, Path(pattern=ID_PATTERN, description="A thread's id.")]

EVENT = {
    "type": "object",
    "properties": {"event": {"type": "string"}, "data": {"type": "string"}},
    "required": ["event", "data"],
}
_EVENTS: dict[int | str, Json] = {
    200: {
        "description": "The run's events; `data` is JSON.",
        "content": {"text/event-stream": {"schema": EVENT}},
    }
}
STREAMED: Any = {
    "response_model": None,
    "response_class": EventSourceResponse,
    "responses": _EVENTS,
}


WITH_PAST = "Report the run's earlier events first."


class ShownThread(TypedDict):
    """A thread with its runs, first one first."""

    id: str
    runs: list[RunWithEvents]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Asked(_Body):
    """A question, its thread and its settings."""

    question: str = Field(min_length=1, max_length=1_000_000)
    thread: str | None = Field(None, pattern=ID_PATTERN)
    preset: str | None = Field(None, description="A preset from GET /brain/presets.")
    settings: dict[str, JsonValue] = Field(
        default_factory=dict, description="See GET /brain/settings."
    )


class Decided(_Body):
    """A decision at the pause of an unfinished run, and new budgets."""

    decision: JsonValue = Field(
        None, description="approve, skip, stop, or {action: edit, sees: ...}."
    )
    pause: str | None = Field(
        None, description="The id of the pause to decide; by default all of them."
    )
    settings: dict[str, JsonValue] = Field(default_factory=dict, description="Only budgets.")
    with_past: bool = Field(False, description=WITH_PAST)


class Listed(_Body):
    """How many threads to list."""

    limit: int = Field(50, ge=1, le=500)


class Edited(_Body):
    """A step of the last run, and the words that replace those of experts."""

    step: int = Field(ge=1, le=64)
    edits: dict[str, str] = Field(default_factory=dict, max_length=64)
    with_past: bool = Field(False, description=WITH_PAST)


@router.get("/me")
def me(owner: Asker) -> Json:
    """Return the caller's name, limits and spending of today."""
    limits = {key: value for key, value in asdict(owner).items() if key != "name"}
    return {"name": owner.name, "keys": keyed(), "limits": limits, "spent_today": _spent(owner)}


def _spent(owner: Owner) -> Json | None:
    """Return the spending that counts towards today's limits, or None."""
    if not quota.allowances(owner.name):
        return None
    spent = quota.used(owner.name)
    return {"usd": spent.usd, "tokens": spent.tokens}


@router.get("/picture")
def show_picture(owner: Asker) -> Json:
    """Return the experts and their edges as boxes and arrows with positions."""
    topology = load()
    roles = {name: expert.role for name, expert in topology.experts.items()}
    return {**layout(topology, "none").as_json(), "roles": roles}


@router.get("/presets")
def presets(owner: Asker) -> list[Json]:
    """Return the presets: settings that go together, by name."""
    return [asdict(preset) for preset in PRESETS.values()]


@router.get("/settings")
def settings(owner: Asker) -> Json:
    """Return the JSON schema of a run's settings."""
    return Context.model_json_schema()


@router.post("/runs", **STREAMED)
async def ask(body: Asked, request: Request, owner: Asker, runs: Brains) -> Response:
    """Ask a question; the response streams the events of its run."""
    if body.preset is not None and body.preset not in PRESETS:
        raise ConfigError(f"There is no preset {body.preset}; choose one of {', '.join(PRESETS)}.")
    preset = PRESETS[body.preset].settings if body.preset else {}
    context = make_context({**preset, **body.settings})
    question = Question({"question": body.question}, context, thread=body.thread)
    return await _streamed(request, runs.ask(owner, question))


@router.post("/runs/{run}/cancel")
async def cancel(run: uuid.UUID, owner: Asker, runs: Brains) -> dict[str, str]:
    """End a run. Its thread can be resumed."""
    runs.cancel(owner, run)
    return {"run": str(run)}


@router.get("/threads")
async def list_threads(
    owner: Asker, runs: Brains, query: Annotated[Listed, Query()]
) -> list[ThreadLine]:
    """List the threads, latest first, each with its last question."""
    return await page_threads.listed(runs, owner, query.limit)


@router.get("/threads/{thread}", response_model=ShownThread)
async def show_thread(thread: Thread, owner: Asker, runs: Brains) -> Response:
    """Show the runs of a thread, step by step and as events."""
    shown = await page_threads.shown(runs, owner, thread)
    # Written in a worker thread, and not validated again: a long thread has megabytes.
    return await asyncio.to_thread(Answer, {"id": thread, "runs": shown})


@router.delete("/threads/{thread}")
async def delete_thread(thread: Thread, owner: Asker, runs: Brains) -> dict[str, str]:
    """Delete a thread, but not its memories."""
    await page_threads.deleted(runs, owner, thread)
    return {"id": thread}


@router.post("/threads/{thread}/resume", **STREAMED)
async def resume(
    thread: Thread, body: Decided, request: Request, owner: Asker, runs: Brains
) -> Response:
    """Continue an unfinished run. Finished calls are not made again."""
    if other := sorted(set(body.settings) - set(BUDGETS)):
        raise ConfigError(f"Only budgets can be changed when resuming; remove: {', '.join(other)}.")
    if body.decision is not None:
        check_decision(body.decision)
    budgets = make_context(body.settings)
    events = runs.resume(
        owner, thread, budgets, body.decision, pause=body.pause, with_past=body.with_past
    )
    return await _streamed(request, events)


@router.post("/threads/{thread}/fork", **STREAMED)
async def fork(
    thread: Thread, body: Edited, request: Request, owner: Asker, runs: Brains
) -> Response:
    """Continue from a past step of the last run, with experts' words replaced."""
    events = runs.fork(owner, thread, body.step, body.edits, with_past=body.with_past)
    return await _streamed(request, events)


async def _streamed(request: Request, events: AsyncGenerator[Event]) -> Response:
    """Stream a run's events.

    Errors before the second event become a response with a status.
    """
    first = await while_connected(request, first_two(events))
    note(request, started_of(first[0]))
    return EventSourceResponse(
        _lines(first, events), ping=server_settings().keep_alive_seconds, sep="\n"
    )


async def _lines(
    first: list[Event], events: AsyncGenerator[Event]
) -> AsyncGenerator[dict[str, str]]:
    try:
        async with aclosing(events):
            for event in first:
                yield _line(event)
            async for event in events:
                yield _line(event)
    except Exception as error:  # noqa: BLE001  the border: the status has been sent already
        yield _line({"event": "error", "error": failure_in(problem_of(error))})


def _line(event: Event) -> dict[str, str]:
    return {"event": event["event"], "data": json.dumps(event)}
