"""`swarm-brain serve` as a process on a free port."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.integration.processes import (
    CANARY,
    REPO,
    Child,
    free_port,
    healthy,
    plain_environment,
    process,
    until,
)

COMMAND = (sys.executable, "-c", "from swarm_brain.cli import main; main()", "serve")


@dataclass(frozen=True)
class Served:
    """A running server: its address, its process, and the file of what it says."""

    url: str
    child: Child
    log: Path


@contextmanager
def serve(folder: Path, *options: str, model_url: str = "", **env: str) -> Iterator[Served]:
    """A server whose model is the scripted endpoint at `model_url`, else the simulation."""
    log, port = folder / "serve.log", str(free_port())
    model = {
        "SWARM_BRAIN_MODEL": "openai-compatible:m" if model_url else "simulation:",
        "OPENAI_COMPATIBLE_BASE_URL": model_url,
        "OPENAI_COMPATIBLE_API_KEY": CANARY,
        "SWARM_BRAIN_DATA_DIR": str(folder / "data"),
        "PYTHONPATH": str(REPO),
    }
    with (
        log.open("a") as sink,
        process(
            *COMMAND,
            "--port",
            port,
            *options,
            cwd=folder,
            env=plain_environment(folder, **model | env),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
        ) as child,
    ):
        url = f"http://127.0.0.1:{port}"
        until(lambda: healthy(f"{url}/readyz"), 60, child)
        yield Served(url, child, log)
