"""Log each request and each run of `swarm-brain serve` as a line of JSON.

They contain no questions, no answers and no keys.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING, TextIO

from swarm_brain import observers
from swarm_brain.observers import ExpertEnded, RunEnded

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)
REQUEST_FIELDS = ("owner", "run", "thread_id")  # routes put them into `request.state`
RESULT_FIELDS = ("thread_id", "provenance", "stop_reason", "effort", "steps", "model")


def start(stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Write all logs of this process as JSON, by default to standard error."""
    from structlog import processors, stdlib  # of the extra `server`

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
    root.setLevel(logging.WARNING)  # other libraries may quote questions
    logging.getLogger("swarm_brain").setLevel(level)
    observers.observe(_run)


def _run(event: ExpertEnded | RunEnded) -> None:
    """Log a run that has ended."""
    if isinstance(event, ExpertEnded):
        return
    fields = {key: event.result.get(key) for key in RESULT_FIELDS}
    usage = event.result["usage"]
    log.info("run", extra={"run": event.run_id, "owner": event.user, **fields, **usage})


class RequestLog:
    """ASGI middleware that logs each request when its response has ended."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on. An unhandled error is logged as status 500."""
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
            fields = {name: state[name] for name in REQUEST_FIELDS if state.get(name) is not None}
            seconds = round(time.monotonic() - started, 3)
            request = {"method": scope["method"], "path": scope["path"], "status": status}
            log.info("request", extra={**request, "seconds": seconds, **fields})
