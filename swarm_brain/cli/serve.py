"""`serve`: run the OpenAI-compatible endpoint and the page as a server.

Imports inside functions keep LangGraph out of `--help` and of completion.
"""

from __future__ import annotations

import asyncio
import socket
from importlib.util import find_spec
from types import FrameType
from typing import Annotated

import typer

from swarm_brain.cli.console import err
from swarm_brain.graph.errors import ConfigError
from swarm_brain.validation import is_local

LAST_SECONDS = 5  # for clients to receive the rest, after all runs have ended


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 picks a free one.")
    ] = 8000,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds to wait for runs when the server stops.")
    ] = 30,
    new_key: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Create an API key, print it once, and exit."),
    ] = None,
) -> None:
    """Serve an OpenAI-compatible endpoint (/v1) and a page of the experts (/)."""
    if new_key is not None:
        from swarm_brain.cli.new_key import make_key

        make_key(new_key)
        return
    _check_installed()
    _check_database()
    from swarm_brain.config import key_table, open_to_all

    keyed = bool(key_table())
    if not keyed and not open_to_all() and not is_local(host):
        raise ConfigError(
            f"Refusing to listen on {host} without API keys. Create one with "
            "`swarm-brain serve --new-key NAME`, or omit --host."
        )
    if not keyed:
        who = "anyone may ask" if open_to_all() else "only this machine may ask"
        err.print(f"no API keys: {who} (create one with swarm-brain serve --new-key NAME)")
    asyncio.run(_serve(host, port, grace))


def _check_installed() -> None:
    """Raise ConfigError unless the extra `server` is installed."""
    missing = [name for name in ("fastapi", "uvicorn", "sse_starlette") if find_spec(name) is None]
    if missing:
        raise ConfigError(f"serve needs {', '.join(missing)}: pip install 'swarm-brain[server]'.")


def _check_database() -> None:
    """Raise an error if SWARM_BRAIN_DATABASE_URL names an unusable database."""
    from swarm_brain.config import variable
    from swarm_brain.memory.opening import check_postgres

    if url := variable("SWARM_BRAIN_DATABASE_URL"):
        check_postgres()
        from swarm_brain.database.connection import check

        check(url)


async def _serve(host: str, port: int, grace: float) -> None:
    import uvicorn  # of the extra `server`

    from swarm_brain.server import logs
    from swarm_brain.server.app import alone

    logs.start()
    application = alone()

    class Server(uvicorn.Server):
        """A server that finishes its runs after the first signal before it stops."""

        stopping: asyncio.Task[None] | None = None

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            """Refuse new questions and wait for runs; a second signal stops at once."""
            if self.stopping is None:
                self.stopping = asyncio.get_running_loop().create_task(self._stop())
            else:
                self.should_exit = self.force_exit = True

        async def _stop(self) -> None:
            err.print(f"stopping: runs have {grace:g} s to end")
            await application.state.runs.drain(grace)
            self.should_exit = True

    listening = _listen(host, port)
    address, bound = listening.getsockname()[:2]
    shown = f"[{address}]" if ":" in address else address
    err.print(f"http://{shown}:{bound}/ (page), http://{shown}:{bound}/v1 (OpenAI clients)")
    config = uvicorn.Config(
        application,
        http="h11",  # it bounds headers, which httptools does not
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=LAST_SECONDS,
    )
    await Server(config).serve(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises ConfigError on failure."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigError(f"Cannot listen on {host}:{port}: {error.strerror}.") from None
