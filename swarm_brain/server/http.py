"""What all our routes share: who asks, how errors look, how large a request may be.

Held by the routes themselves and not by the application, because a LangGraph server mounts its own
routes into the same application.
"""

from __future__ import annotations

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
from swarm_brain.graph.errors import (
    BrainError,
    BudgetTooSmall,
    ConfigError,
    DaySpent,
    ExpertFailed,
    InputError,
    QuestionTooLong,
    ThreadError,
)
from swarm_brain.runs.stream import Event
from swarm_brain.server.admission import day_spent
from swarm_brain.server.api_keys import Owner, identify_caller
from swarm_brain.server.problems import Problem
from swarm_brain.server.runs import Runs

log = logging.getLogger(__name__)

INTERNAL = Problem(
    500, "Something went wrong here; the server's log says what.", type="server_error"
)

# What a BrainError is over HTTP: the first class that fits. Anything else is the server's affair.
_KINDS: tuple[tuple[type[BrainError], int, str, str], ...] = (
    (QuestionTooLong, 400, "invalid_request_error", "context_length_exceeded"),
    (InputError, 400, "invalid_request_error", "invalid_question"),
    (ConfigError, 400, "invalid_request_error", "invalid_setting"),
    (BudgetTooSmall, 400, "invalid_request_error", "budget_too_small"),
    (ThreadError, 409, "invalid_request_error", "thread_conflict"),
    (ExpertFailed, 502, "server_error", "expert_failed"),
    (BrainError, 503, "server_error", "unavailable"),
)


class Failure(BaseModel):
    """What is wrong, as clients of OpenAI read it."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class Failed(BaseModel):
    """The body of every error."""

    error: Failure


ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": Failed, "description": "The request is wrong; `param` says where."},
    401: {"model": Failed, "description": "No key, or none that is known here."},
    403: {"model": Failed, "description": "Not from this address."},
    404: {"model": Failed, "description": "There is no such model, thread or run."},
    409: {"model": Failed, "description": "The thread cannot do this now."},
    413: {"model": Failed, "description": "The body is too large."},
    415: {"model": Failed, "description": "The body is not JSON by its Content-Type."},
    429: {"model": Failed, "description": "A limit is reached; Retry-After says until when."},
    502: {"model": Failed, "description": "The models gave no answer, or none in the form asked."},
    503: {"model": Failed, "description": "The server is stopping, or a model cannot be had."},
    504: {"model": Failed, "description": "The time for this run was used up without an answer."},
}


def problem_of(error: Exception) -> Problem:
    """Any error as what a client is told. Of what nobody expected, nothing."""
    match error:
        case Problem():
            return error
        case RequestValidationError():
            return _invalid(error)
        case DaySpent():
            return day_spent(str(error))
        case BrainError():
            return next(
                Problem(status, str(error), type=kind, code=code)
                for cls, status, kind, code in _KINDS
                if isinstance(error, cls)
            )
        case HTTPException():
            return Problem(error.status_code, str(error.detail), headers=error.headers)
        case _:
            log.error("a request failed", exc_info=error)
            return INTERNAL


def _invalid(error: RequestValidationError) -> Problem:
    """The first thing that is wrong with a body, by its name, without what stood there."""
    first = error.errors()[0]
    place = [str(part) for part in first["loc"] if part not in ("body", "query", "path")]
    param = ".".join(place) or None
    if first["type"] == "json_invalid":  # `loc` is a number of characters
        told = Problem(400, "The body is not JSON.", code="json_invalid")
    elif first["type"] == "extra_forbidden":
        told = Problem(
            400, f"Unsupported parameter: {param}.", param=param, code="unsupported_parameter"
        )
    else:
        where = f"{param}: " if param else ""
        told = Problem(400, f"{where}{first['msg']}", param=param, code=first["type"])
    return told


def body_of(problem: Problem) -> dict[str, Any]:
    """The JSON of an error."""
    return {
        "error": {
            "message": problem.message,
            "type": problem.type,
            "param": problem.param,
            "code": problem.code,
        }
    }


class Answer(JSONResponse):
    """JSON that can always be written: half a surrogate pair is escaped, as Python does it."""

    def render(self, content: Any) -> bytes:
        """The bytes of the body."""
        import json

        return json.dumps(content, separators=(",", ":"), allow_nan=False).encode()


def answer_to(error: Exception) -> Response:
    """The response that tells an error."""
    problem = problem_of(error)
    return Answer(body_of(problem), problem.status, headers=problem.headers)


class Route(APIRoute):
    """A route whose errors are told in one shape, and whose bodies are JSON and not too large."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler with its errors caught."""
        handle = super().get_route_handler()

        async def told(request: Request) -> Response:
            try:
                if self.body_field is not None:
                    request = await _checked(request)
                return await handle(request)
            except ClientDisconnect:
                return Response(status_code=499)  # nobody is there to read it
            except Exception as error:  # noqa: BLE001  the border: nothing leaves unformed
                return answer_to(error)

        return told


async def _checked(request: Request) -> Request:
    """The request with its body read. Raises Problem for one too large, or not JSON."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise Problem(415, "Send JSON: Content-Type: application/json.", code="content_type")
    body = b"".join([part async for part in _bounded(request)])
    request._body = body  # where Starlette keeps what it has read
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
    """Whom this request belongs to. Raises Problem(401) or Problem(403)."""
    headers, client = request.headers, request.client
    owner = identify_caller(headers, client.host if client else None)
    request.state.owner = owner.name  # for the log
    return owner


def _runs(request: Request) -> Runs:
    found: Runs = request.app.state.runs
    return found


def note(request: Request, started: Event) -> None:
    """Run and thread of a request, for the log."""
    request.state.run, request.state.thread_id = started["run"], started["thread"]


Asker = Annotated[Owner, Depends(_owner)]
Brains = Annotated[Runs, Depends(_runs)]
