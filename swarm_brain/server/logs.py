"""Logs of `swarm-brain serve`: one JSON object a line, for each request and for each run.

What was asked and what was answered is not in them, and no key.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING, TextIO

from swarm_brain import observers
from swarm_brain.observers import Answered, Finished

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)
OF_A_REQUEST = ("owner", "run", "thread_id")  # what routes put into `request.state`
OF_A_RESULT = ("thread_id", "provenance", "stop_reason", "effort", "steps", "model")


def start(stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Write all logs of this process as JSON, to standard error unless told otherwise."""
    from structlog import processors, stdlib

    formatter = stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            stdlib.add_log_level,
            stdlib.add_logger_name,
            stdlib.ExtraAdder(),
            processors.TimeStamper(fmt="iso", utc=True),
        ],
        processors=[
            stdlib.ProcessorFormatter.remove_processors_meta,
            processors.format_exc_info,
            processors.JSONRenderer(default=str),
        ],
    )
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)  # of others; they may quote what was asked
    logging.getLogger("swarm_brain").setLevel(level)
    observers.observe(_run)


def _run(event: Answered | Finished) -> None:
    """A line for a run that has ended."""
    if isinstance(event, Answered):
        return
    told = {key: event.result.get(key) for key in OF_A_RESULT}
    usage = event.result["usage"]
    log.info("run", extra={"run": event.run_id, "owner": event.user, **told, **usage})


class RequestLog:
    """ASGI middleware: a line for each request once its answer, or its stream, has ended."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; an error that nobody handles is a status of 500."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.monotonic(), 500
        scope.setdefault("state", {})

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            state = scope["state"]
            about = {name: state[name] for name in OF_A_REQUEST if state.get(name) is not None}
            seconds = round(time.monotonic() - started, 3)
            told = {"method": scope["method"], "path": scope["path"], "status": status}
            log.info("request", extra={**told, "seconds": seconds, **about})
