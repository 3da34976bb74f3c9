"""What is deployed, checked by the programs that deploy it; no Docker daemon is needed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.processes import REPO


def test_langgraph_writes_a_dockerfile_from_our_langgraph_json(tmp_path: Path):
    command = Path(sys.executable).with_name("langgraph")
    words = ("dockerfile", tmp_path / "Dockerfile", "-c", REPO / "langgraph.json")
    done = subprocess.run([command, *words], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    written = (tmp_path / "Dockerfile").read_text(encoding="utf-8")
    assert "FROM langchain/langgraph-api:" in written
    assert "graph/brain.py:graph" in written
    assert "wordllama" in written  # without it nothing is recalled there


@pytest.mark.parametrize("profile", ["serve", "aegra", "langgraph"])
def test_compose_takes_our_file(tmp_path: Path, profile: str):
    command = shutil.which("docker-compose")
    if command is None:
        pytest.skip("no docker-compose here (apt-get install docker-compose)")
    shutil.copy(REPO / "compose.yaml", tmp_path)
    (tmp_path / ".env").write_text("POSTGRES_PASSWORD=abc\n")
    words = ("-f", "compose.yaml", "--profile", profile, "config", "-q")
    done = subprocess.run([command, *words], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
