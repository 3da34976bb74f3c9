"""The shared parts of all routes: authentication, errors, request sizes.

The routes apply it, not the application, because a LangGraph server mounts its own routes into the
same application.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from swarm_brain.config import server_settings
from swarm_brain.graph import events
from swarm_brain.graph.errors import (
    BrainError,
    BudgetTooSmall,
    ConfigError,
    DaySpent,
    ExpertFailed,
    InputError,
    RunCancelled,
    ThreadError,
)
from swarm_brain.runs.failures import failure_of
from swarm_brain.server.admission import day_spent
from swarm_brain.server.api_keys import Owner, identify_caller
from swarm_brain.server.problems import Problem
from swarm_brain.server.runs import Runs

log = logging.getLogger(__name__)

INTERNAL = Problem(500, "Internal error; see the server's log.", type="server_error")

# The status of each BrainError: the first class that matches.
_STATUSES: tuple[tuple[type[BrainError], int], ...] = (
    (InputError, 400),
    (ConfigError, 400),
    (BudgetTooSmall, 400),
    (ThreadError, 409),
    (RunCancelled, 409),
    (ExpertFailed, 502),
    (BrainError, 503),
)


class Failure(BaseModel):
    """An error in the form of OpenAI's clients."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class Failed(BaseModel):
    """The body of every error."""

    error: Failure


ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": Failed, "description": "The request is invalid; `param` names the field."},
    401: {"model": Failed, "description": "The API key is missing or unknown."},
    403: {"model": Failed, "description": "Not allowed from this address."},
    404: {"model": Failed, "description": "There is no such model, thread or run."},
    409: {"model": Failed, "description": "The thread is not in a state for this."},
    413: {"model": Failed, "description": "The body is too large."},
    415: {"model": Failed, "description": "The Content-Type is not JSON."},
    429: {
        "model": Failed,
        "description": "A limit is reached; see Retry-After.",
    },
    502: {"model": Failed, "description": "No model answered, or none in the requested format."},
    503: {"model": Failed, "description": "The server is stopping, or a model is unavailable."},
    504: {"model": Failed, "description": "The run's time budget ended before it had an answer."},
}


def problem_of(error: Exception) -> Problem:
    """Convert any exception to a Problem.

    Unexpected ones are logged and reported as a generic 500.
    """
    match error:
        case Problem():
            return error
        case RequestValidationError():
            return _invalid(error)
        case DaySpent():
            return day_spent(str(error))
        case BrainError():
            failure = failure_of(error)
            status = next(status for cls, status in _STATUSES if isinstance(error, cls))
            return Problem(status, str(error), type=failure["type"], code=failure["code"])
        case HTTPException():
            return Problem(error.status_code, str(error.detail), headers=error.headers)
        case _:
            log.error("A request failed", exc_info=error)
            return INTERNAL


def _invalid(error: RequestValidationError) -> Problem:
    """Report the first invalid field of a request by its name, without its value."""
    first = error.errors()[0]
    path = [str(part) for part in first["loc"] if part not in ("body", "query", "path")]
    param = ".".join(path) or None
    if first["type"] == "json_invalid":  # `loc` is an offset then
        return Problem(400, "The body is not JSON.", code="json_invalid")
    if first["type"] == "extra_forbidden":
        message = f"Unsupported parameter: {param}."
        return Problem(400, message, param=param, code="unsupported_parameter")
    prefix = f"{param}: " if param else ""
    return Problem(400, f"{prefix}{first['msg']}", param=param, code=first["type"])


def failure_in(problem: Problem) -> events.Failure:
    """Return the client's view of a problem."""
    return {
        "message": problem.message,
        "type": problem.type,
        "param": problem.param,
        "code": problem.code,
    }


def body_of(problem: Problem) -> dict[str, events.Failure]:
    """Return the JSON of an error."""
    return {"error": failure_in(problem)}


class Answer(JSONResponse):
    """A JSON response that can hold any text: lone surrogates are escaped."""

    def render(self, content: object) -> bytes:
        """Return the body."""
        return json.dumps(content, separators=(",", ":"), allow_nan=False).encode()


def answer_to(error: Exception) -> Response:
    """Return the response for an error."""
    problem = problem_of(error)
    return Answer(body_of(problem), problem.status, headers=problem.headers)


class Route(APIRoute):
    """A route that accepts only limited JSON and reports errors in one form."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the route's handler, wrapped."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            try:
                if self.body_field is not None:
                    request = await _checked(request)
                return await handle(request)
            except ClientDisconnect:
                return Response(status_code=499)  # nobody reads it
            except Exception as error:  # noqa: BLE001  no other shape of error may leave the server
                return answer_to(error)

        return guarded


async def _checked(request: Request) -> Request:
    """Return the request with its body read. Raise Problem if it is not valid."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise Problem(415, "Send JSON: Content-Type: application/json.", code="content_type")
    body = b"".join([part async for part in _bounded(request)])
    request._body = body  # Starlette's own cache
    return request


async def _bounded(request: Request) -> AsyncIterator[bytes]:
    read, most = 0, server_settings().max_body_bytes
    async for part in request.stream():
        read += len(part)
        if read > most:
            raise Problem(413, f"The body has more than {most:,} bytes.", code="request_too_large")
        yield part


_bearer = HTTPBearer(auto_error=False, description="A key: `swarm-brain serve --new-key NAME`.")


def _owner(
    request: Request,
    _: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)] = None,
) -> Owner:
    """Return the owner of a request. Raise Problem(401) or Problem(403)."""
    headers, client = request.headers, request.client
    owner = identify_caller(headers, client.host if client else None)
    request.state.owner = owner.name  # for the log
    return owner


def _runs(request: Request) -> Runs:
    runs: Runs = request.app.state.runs
    return runs


def note(request: Request, started: events.Started) -> None:
    """Record a request's run and thread for the log."""
    request.state.run, request.state.thread_id = started["run"], started["thread"]


Asker = Annotated[Owner, Depends(_owner)]
Brains = Annotated[Runs, Depends(_runs)]
