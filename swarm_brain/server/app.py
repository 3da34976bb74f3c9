"""The application: `app` is mounted into a LangGraph server (http.app) or served alone.

Building it reads no setting and opens nothing; that is its lifespan's affair.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route
from starlette.staticfiles import StaticFiles

from swarm_brain.server import metrics, openai_api, page_api
from swarm_brain.server.http import Answer, answer_to
from swarm_brain.server.logs import RequestLog
from swarm_brain.server.openai_schema import models
from swarm_brain.server.problems import Problem
from swarm_brain.server.runs import Runs, opened
from swarm_brain.version import __version__

STATIC = Path(__file__).parent / "static"
MOUNTED_GRACE = 0.0  # the server that mounts us has waited for its connections already
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


@asynccontextmanager
async def lifespan(application: FastAPI) -> AsyncIterator[None]:
    """Threads and memories are open as long as the server runs, and what happens is counted."""
    metrics.start()
    await asyncio.to_thread(models)
    async with opened() as runs:
        application.state.runs = runs
        yield
        if not runs.draining:
            await runs.drain(MOUNTED_GRACE)


def create() -> FastAPI:
    """An application of its own."""
    application = FastAPI(
        title="Swarm Brain",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,  # its page loads from elsewhere
        redoc_url=None,
    )
    application.include_router(openai_api.router)
    application.include_router(page_api.router)
    application.router.routes += [
        Route("/", _page),
        Route("/healthz", _healthz),
        Route("/readyz", _readyz),
    ]
    application.mount("/page", _Static(directory=STATIC, check_dir=False))
    application.openapi = lambda: _openapi(application)  # type: ignore[method-assign]
    return application


def alone() -> FastAPI:
    """An application that is served by itself: what it does not know it tells in our shape."""
    application = create()
    application.router.routes.append(
        Route("/metrics", _metrics)
    )  # the LangGraph server has its own
    application.add_middleware(RequestLog)
    for kind in (404, 405, Exception):
        application.add_exception_handler(kind, _told)
    return application


async def _told(request: Request, error: Exception) -> Response:
    return answer_to(error)


async def _page(request: Request) -> Response:
    """The page to watch it think."""
    index = STATIC / "index.html"
    if not index.is_file():
        return answer_to(Problem(404, "This installation has no page.", code="no_page"))
    return FileResponse(index, headers=PAGE_HEADERS | {"Cache-Control": "no-cache"})


class _Static(StaticFiles):
    async def get_response(self, path: str, scope: Any) -> Response:
        """A file of the page. Their names hold a hash of what is in them."""
        response = await super().get_response(path, scope)
        response.headers.update(PAGE_HEADERS | {"Cache-Control": "public, max-age=31536000"})
        return response


async def _metrics(request: Request) -> Response:
    """What Prometheus reads."""
    host = request.client.host if request.client else None
    try:
        return metrics.metrics_response(request.headers, host)
    except Problem as problem:
        return answer_to(problem)


async def _healthz(request: Request) -> Response:
    """The process answers."""
    return Answer({"status": "ok", "version": __version__})


async def _readyz(request: Request) -> Response:
    """It takes questions."""
    runs: Runs | None = getattr(request.app.state, "runs", None)
    if runs is None or runs.draining:
        return Answer({"status": "stopping" if runs else "starting"}, 503)
    kept = {"threads": runs.threads is not None, "memories": runs.store is not None}
    return Answer({"status": "ready", **kept})


def _openapi(application: FastAPI) -> dict[str, Any]:
    """The document, without the answer 422, which no route of ours gives."""
    if application.openapi_schema is None:
        document = get_openapi(
            title=application.title, version=application.version, routes=application.routes
        )
        for path in document["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)
        application.openapi_schema = document
    return application.openapi_schema


app = create()
