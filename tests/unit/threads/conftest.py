"""Threads as version 0.1.0 saved them, each test with a copy of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import pytest_asyncio

from swarm_brain.threads.opening import FILE, open_threads
from tests.saved_threads import FIXTURE


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with the saved threads."""
    shutil.copy(FIXTURE, tmp_path / FILE)
    monkeypatch.setenv("SWARM_BRAIN_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("SWARM_BRAIN_DATABASE_URL", raising=False)
    return tmp_path


@pytest_asyncio.fixture
async def threads(data: Path):
    """The saved threads, opened."""
    async with open_threads() as opened:
        yield opened
