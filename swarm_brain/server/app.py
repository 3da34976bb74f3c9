"""The ASGI application: part of a LangGraph server (`http.app`), or alone.

Building it reads no settings and opens nothing; its lifespan does.
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
from starlette.types import Scope

from swarm_brain.server import metrics, openai_api, page_api
from swarm_brain.server.http import Answer, answer_to
from swarm_brain.server.logs import RequestLog
from swarm_brain.server.openai_schema import models
from swarm_brain.server.problems import Problem
from swarm_brain.server.runs import Runs, opened
from swarm_brain.version import __version__

STATIC = Path(__file__).parent / "static"
MOUNTED_GRACE = 0.0  # the server that mounts this one has waited for its connections already
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
    """Keep threads and memories open while the server runs, and count events."""
    metrics.start()
    await asyncio.to_thread(models)
    async with opened() as runs:
        application.state.runs = runs
        yield
        if not runs.draining:
            await runs.drain(MOUNTED_GRACE)


def create() -> FastAPI:
    """Return a new application."""
    application = FastAPI(
        title="Swarm Brain",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,  # its page loads scripts from another site
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
    # FastAPI documents this way to replace the schema.
    application.openapi = lambda: _openapi(application)  # type: ignore[method-assign]
    return application


def alone() -> FastAPI:
    """Return a stand-alone application with its own logs, metrics and errors."""
    application = create()
    application.router.routes.append(Route("/metrics", _metrics))
    application.add_middleware(RequestLog)
    for kind in (404, 405, Exception):
        application.add_exception_handler(kind, _error)
    return application


async def _error(request: Request, error: Exception) -> Response:
    return answer_to(error)


async def _page(request: Request) -> Response:
    """Serve the page that shows the brain at work."""
    index = STATIC / "index.html"
    if not index.is_file():
        return answer_to(Problem(404, "This installation has no page.", code="no_page"))
    return FileResponse(index, headers=PAGE_HEADERS | {"Cache-Control": "no-cache"})


class _Static(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        """Serve a file of the page. Names with a hash may be cached for ever."""
        response = await super().get_response(path, scope)
        response.headers.update(PAGE_HEADERS | {"Cache-Control": "public, max-age=31536000"})
        return response


async def _metrics(request: Request) -> Response:
    """Serve the metrics to Prometheus."""
    host = request.client.host if request.client else None
    try:
        return metrics.metrics_response(request.headers, host)
    except Problem as problem:
        return answer_to(problem)


async def _healthz(request: Request) -> Response:
    """Report that the process is alive."""
    return Answer({"status": "ok", "version": __version__})


async def _readyz(request: Request) -> Response:
    """Report whether the server accepts questions."""
    runs: Runs | None = getattr(request.app.state, "runs", None)
    if runs is None or runs.draining:
        return Answer({"status": "stopping" if runs else "starting"}, 503)
    saved = {"threads": runs.threads is not None, "memories": runs.store is not None}
    return Answer({"status": "ready", **saved})


def _openapi(application: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document, without status 422, which no route returns."""
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
