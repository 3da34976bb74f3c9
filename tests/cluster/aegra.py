"""Aegra's processes on loopback: one PostgreSQL and one Redis for all, any number of workers."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from langgraph_sdk import get_sync_client

from swarm_brain.server.api_keys import new_key
from tests.integration.postgres import Cluster
from tests.integration.processes import (
    REPO,
    Child,
    free_port,
    healthy,
    plain_environment,
    process,
    until,
)

PYTHON = REPO / ".venv-cluster" / "bin" / "python"
TESTER = "tests"
USERS = (TESTER, "alice", "bob")
PARTS = ("langgraph.json", "pyproject.toml", "graph", "nodes", "prompts", "swarm_brain")
# A dead worker is noticed in seconds; as shipped it takes up to 50, as docs/deploy.md says.
HURRIED = {
    "LEASE_DURATION_SECONDS": "5",
    "HEARTBEAT_INTERVAL_SECONDS": "1",
    "REAPER_INTERVAL_SECONDS": "1",
    "BLPOP_TIMEOUT_SECONDS": "1",
}


def needed() -> None:
    """Skip the test where Aegra or Redis is not installed, saying which."""
    if not PYTHON.exists():
        pytest.skip("no Aegra here: `make test-cluster` installs it where Python 3.12 or 3.13 is")
    if not shutil.which("redis-server"):
        pytest.skip("no Redis here (apt-get install redis-server)")


def shipped() -> dict[str, str]:
    """What compose.yaml sets for a worker, but for addresses and what a test shortens."""
    services = yaml.safe_load((REPO / "compose.yaml").read_text(encoding="utf-8"))["services"]
    said: dict[str, str] = services["worker"]["environment"]
    return {
        name: str(value)
        for name, value in said.items()
        if not name.startswith(("POSTGRES_", "REDIS_URL"))
    }


@contextmanager
def redis() -> Iterator[str]:
    """A Redis that keeps nothing on disk; its address."""
    port = str(free_port())
    words = ("--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with process("redis-server", *words, **quiet) as child:
        ping = ("redis-cli", "-p", port, "ping")
        until(lambda: subprocess.run(ping, capture_output=True).stdout == b"PONG\n", 10, child)
        yield f"redis://127.0.0.1:{port}/0"


@dataclass
class Worker:
    """One process of Aegra: it takes requests, and runs from the common queue."""

    child: Child
    url: str
    keys: dict[str, str]

    @property
    def client(self) -> Any:
        return self.client_of(TESTER)

    def client_of(self, user: str) -> Any:
        """A client of this process with the key of this name."""
        return get_sync_client(url=self.url, api_key=self.keys[user])

    def processor_seconds(self) -> float:
        """What it has taken since its start, by Linux's account."""
        words = Path(f"/proc/{self.child.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def most_memory(self) -> int:
        """The most bytes that it has held."""
        status = Path(f"/proc/{self.child.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024

    def kill(self) -> None:
        """End it as a power cut would."""
        os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait(10)


@dataclass
class Aegra:
    """What all workers share."""

    postgres: Cluster
    database: str
    redis: str
    endpoint: str
    folder: Path
    keys: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        made = {name: new_key(name) for name in USERS}
        self.keys = {name: key for name, (key, _) in made.items()}
        settings = "".join(block for _, block in made.values())
        (self.folder / "swarm-brain.toml").write_text(settings)

    @contextmanager
    def worker(self, **more: str) -> Iterator[Worker]:
        """A process with our langgraph.json, ready for requests; ended with the block."""
        port = str(free_port())
        command = (PYTHON, "-m", "uvicorn", "aegra_api.main:app", "--port", port)
        options = {"cwd": self._root(port), "env": self._environment(more)}
        with (
            (self.folder / f"{port}.log").open("w") as log,
            process(*command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **options) as child,
        ):
            until(lambda: healthy(f"http://127.0.0.1:{port}/health"), 60, child)
            yield Worker(child, f"http://127.0.0.1:{port}", self.keys)

    def _root(self, name: str) -> Path:
        """The repository without what its owner put there, such as .env."""
        root = self.folder / name
        root.mkdir()
        for part in PARTS:
            (root / part).symlink_to(REPO / part)
        return root

    def _environment(self, more: dict[str, str]) -> dict[str, str]:
        own = {
            "PYTHONPATH": str(REPO),
            "DATABASE_URL": self.postgres.url(self.database),
            "REDIS_URL": self.redis,
            "SWARM_BRAIN_CONFIG": str(self.folder / "swarm-brain.toml"),
            "SWARM_BRAIN_MODEL": "openai-compatible:m",
            "OPENAI_COMPATIBLE_BASE_URL": self.endpoint,
            "OMP_WAIT_POLICY": "PASSIVE",
        }
        return plain_environment(self.folder, **own | shipped() | HURRIED | more)

    def bytes_kept(self) -> int:
        """The size of the database."""
        ((size,),) = self.postgres.execute(
            "SELECT pg_database_size(current_database())", self.database
        )
        return int(size)

    def runs_of(self, worker: Worker) -> set[str]:
        """The threads whose runs this process holds by a lease."""
        rows = self.postgres.execute(
            "SELECT thread_id, claimed_by FROM runs WHERE status = 'running'", self.database
        )
        mine = re.compile(rf"-{worker.child.pid}-worker-\d+$")
        return {thread for thread, holder in rows if mine.search(holder or "")}
