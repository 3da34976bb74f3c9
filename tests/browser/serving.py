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
    free_port,
    healthy,
    plain_environment,
    process,
    until,
)

COMMAND = (sys.executable, "-c", "from swarm_brain.cli import main; main()", "serve")


@dataclass(frozen=True)
class Served:
    """A running server: its address, and the folder of its data."""

    url: str
    folder: Path


@contextmanager
def serve(folder: Path, *, model_url: str, **env: str) -> Iterator[Served]:
    """A server whose model is the endpoint at `model_url`, unless `env` says otherwise."""
    told = {
        "SWARM_BRAIN_MODEL": "openai-compatible:m",
        "OPENAI_COMPATIBLE_BASE_URL": model_url,
        "OPENAI_COMPATIBLE_API_KEY": CANARY,
        "SWARM_BRAIN_DATA_DIR": str(folder / "data"),
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONPATH": str(REPO),
    }
    port = free_port()
    with (
        (folder / "serve.log").open("a") as log,
        process(
            *COMMAND,
            "--port",
            str(port),
            cwd=folder,
            env=plain_environment(folder, **(told | env)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        ) as child,
    ):
        url = f"http://127.0.0.1:{port}"
        until(lambda: healthy(f"{url}/readyz"), 60, child)
        yield Served(url, folder)
