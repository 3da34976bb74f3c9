"""`serve`: the OpenAI-compatible endpoint and the page, in a server of their own."""

from __future__ import annotations

import asyncio
import socket
from importlib.util import find_spec
from typing import Annotated, Any

import typer

from swarm_brain.cli.console import err
from swarm_brain.graph.errors import ConfigError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
LAST_SECONDS = 5  # for clients to take what they are sent, once all runs have ended


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0: any free one.")] = 8000,
    grace: Annotated[
        float, typer.Option(min=0, help="Seconds that runs may take to end when it stops.")
    ] = 30,
    new_key: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Make a key, print it once, and serve nothing."),
    ] = None,
) -> None:
    """Serve the brain to OpenAI's clients (/v1) and the page to watch it think (/)."""
    if new_key is not None:
        from swarm_brain.cli.new_key import make_key

        make_key(new_key)
        return
    _installed()
    _database()
    from swarm_brain.config import key_table, open_to_all

    keyed = bool(key_table())
    if not keyed and not open_to_all() and host not in LOOPBACK:
        raise ConfigError(
            f"Without keys this server answers its own machine only, and {host} is more. Make a "
            "key with `swarm-brain serve --new-key NAME`, or leave --host away."
        )
    if not keyed:
        whom = "everybody is" if open_to_all() else "only this machine is"
        err.print(f"no keys: {whom} answered (swarm-brain serve --new-key NAME)")
    asyncio.run(_serve(host, port, grace, err))


def _installed() -> None:
    """Raise ConfigError unless the extra `server` is installed."""
    missing = [name for name in ("fastapi", "uvicorn", "sse_starlette") if find_spec(name) is None]
    if missing:
        raise ConfigError(
            "serve needs the extra `server` (pip install 'swarm-brain[server]'); missing: "
            f"{', '.join(missing)}."
        )


def _database() -> None:
    """Raise ConfigError if the threads cannot be in the database that is named."""
    from swarm_brain.config import variable
    from swarm_brain.memory.opening import check_postgres

    if url := variable("SWARM_BRAIN_DATABASE_URL"):
        check_postgres()
        from swarm_brain.database.connection import check

        check(url)


async def _serve(host: str, port: int, grace: float, err: Any) -> None:
    import uvicorn

    from swarm_brain.server import logs
    from swarm_brain.server.app import alone

    logs.start()
    application = alone()

    class Server(uvicorn.Server):
        """Stops in two steps: first no more questions, then, when runs have ended, no more."""

        stopping: asyncio.Task[None] | None = None

        def handle_exit(self, sig: int, frame: Any) -> None:
            """The first signal lets runs end, a second one does not."""
            if self.stopping is None:
                self.stopping = asyncio.get_running_loop().create_task(self._stop())
            else:
                self.should_exit = self.force_exit = True

        async def _stop(self) -> None:
            err.print(f"stopping; what runs has {grace:g} s to end")
            await application.state.runs.drain(grace)
            self.should_exit = True

    listening = _listen(host, port)
    address, bound = listening.getsockname()[:2]
    shown = f"[{address}]" if ":" in address else address
    err.print(f"http://{shown}:{bound}/ (page), http://{shown}:{bound}/v1 (OpenAI's clients)")
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
    """A socket that listens. Raises ConfigError where that cannot be."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigError(f"{host}:{port} cannot be listened on: {error.strerror}.") from None
