"""Processes for integration tests: started on loopback, ended by their ids with the block."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

REPO = Path(__file__).parents[2]
CANARY = "canary-key-7f3a9b"  # a key that must show up nowhere but in the Authorization header
# What the machine's owner may have set, and what a test must not inherit.
OWNERS = ("HYPERBOLIC_", "OPENAI_", "SWARM_BRAIN_MODEL", "SWARM_BRAIN_CONFIG", "SWARM_BRAIN_DA",
          "SWARM_BRAIN_EMBEDDER", "SWARM_BRAIN_KEY", "LANGSMITH_", "LANGCHAIN_",
          "ANTHROPIC_")  # fmt: skip

Child = subprocess.Popen[str]


@contextmanager
def process(*command: str | Path, **options: Any) -> Iterator[Child]:
    """A child process in a group of its own; the group is ended with the block."""
    child: Child = subprocess.Popen(command, text=True, start_new_session=True, **options)
    try:
        yield child
    finally:
        end(child)


def end(child: Child) -> None:
    """End a child and what it started, by their process group."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(child.pid, sign)
        with suppress(subprocess.TimeoutExpired):
            child.wait(5)
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe:
            pipe.close()


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(what: Callable[[], object], seconds: float, child: Child) -> None:
    """Wait until `what()` is true; fails if the child ends first or time runs out."""
    deadline = time.monotonic() + seconds
    while not what():
        assert child.poll() is None, f"ended with exit code {child.returncode}"
        assert time.monotonic() < deadline, f"not ready after {seconds} s"
        time.sleep(0.05)


def healthy(url: str) -> bool:
    """Whether a GET of this address gives 200."""
    with suppress(httpx.HTTPError):
        return httpx.get(url, timeout=2, trust_env=False).status_code == 200
    return False


def plain_environment(home: Path, **more: str) -> dict[str, str]:
    """This process's environment without the owner's keys and settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OWNERS)}
    for name in ("PYTHONPATH", "FORCE_COLOR", "NO_COLOR"):
        kept.pop(name, None)
    folders = {"XDG_CONFIG_HOME": str(home / "config"), "XDG_DATA_HOME": str(home / "data")}
    return kept | folders | {"COLUMNS": "120"} | more
