"""`langgraph dev` from a folder that has nothing of its owner's."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.processes import REPO, free_port, healthy, plain_environment, process, until

HARD = "Why is the subject what it is?"
SIMPLE = "What does subject mean?"
ANSWER = "The subject is what all of this says.\nVerdict: 42"
QUIET = {"LANGGRAPH_CLI_NO_ANALYTICS": "1", "LANGGRAPH_NO_VERSION_CHECK": "true"}
GUARD = Path(__file__).parents[1] / "guard"


def fresh_root(folder: Path) -> Path:
    """A repository root with nothing of its owner's: no .env, no earlier server's state."""
    for entry in (
        "langgraph.json",
        "pyproject.toml",
        "graph",
        "nodes",
        "prompts",
        "evals",
        "swarm_brain",
    ):
        (folder / entry).symlink_to(REPO / entry)
    return folder


@contextmanager
def dev(root: Path, **env: str) -> Iterator[str]:
    """`langgraph dev` as the Makefile starts it, from this folder; yields its address."""
    port = str(free_port())
    command = (Path(sys.executable).with_name("langgraph"), "dev", "--no-browser", "--no-reload",
               "--port", port, "--n-jobs-per-worker", "10")  # fmt: skip
    log = root / "server.log"
    with (
        log.open("w") as sink,
        process(
            *command,
            cwd=root,
            env=plain_environment(root, **QUIET, **{"PYTHONPATH": str(REPO), **env}),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
        ) as child,
    ):
        url = f"http://127.0.0.1:{port}"
        until(lambda: healthy(f"{url}/ok"), 60, child)
        yield url
