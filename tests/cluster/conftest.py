"""The parts of a cluster on loopback. What cannot be had here is skipped, and named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.aegra import Aegra, needed, redis
from tests.fakes import Endpoint, endpoint
from tests.integration.postgres import binaries, cluster

LATENCY = 2.5  # seconds of each reply: far more than a busy machine adds


@pytest.fixture(scope="session")
def served() -> Iterator[Endpoint]:
    """An endpoint that waits and does not work, so that nothing but workers limits a cluster."""
    with endpoint(latency=LATENCY) as running:
        yield running


@pytest.fixture(scope="session")
def aegra(served: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aegra]:
    """PostgreSQL and Redis, without a worker yet."""
    needed()
    folder: Path = tmp_path_factory.mktemp("aegra")
    with cluster(binaries()) as postgres, redis() as queue:
        yield Aegra(postgres, postgres.create(), queue, served.url, folder)
