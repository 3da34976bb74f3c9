"""The README's Python example, as it is written there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.processes import REPO, plain_environment

pytestmark = pytest.mark.slow


@pytest.mark.timeout(300)
def test_the_example_gives_a_full_answer(weights: Path, tmp_path: Path):
    (example,) = re.findall(r"```python\n(.*?)```", (REPO / "README.md").read_text(), re.DOTALL)
    assert 'print(result["provenance"])  # full' in example
    done = subprocess.run(
        [sys.executable, "-c", example],
        cwd=tmp_path,
        env=plain_environment(tmp_path, PYTHONPATH=str(REPO)),
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    *answer, provenance = done.stdout.splitlines()
    assert " ".join(answer).strip()
    assert provenance == "full"
