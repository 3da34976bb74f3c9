"""What is written from the code is what the code says now."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from docs.generate import FILES, ROOT

STALE = "is stale: run `make docs`"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_generated_files_are_up_to_date(path: Path):
    assert path.read_text(encoding="utf-8") == FILES[path](), f"{path.name} {STALE}"


def test_the_text_depends_on_no_terminal():
    """Not on its width, its colours, or what a CI forces."""
    code = "from docs.generate import commands; import sys; sys.stdout.write(commands())"
    wide = {
        "COLUMNS": "200",
        "FORCE_COLOR": "1",
        "GITHUB_ACTIONS": "true",
        "TERM": "xterm-256color",
    }
    env = {**os.environ, **wide, "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=env,
        capture_output=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.decode() == (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
