"""Integration tests: real processes on loopback, each ended by whoever started it.

`make test` runs those that are marked neither `slow` nor `alone`, `make test-all` all. Two workers
run them, `alone` ones apart: whoever shares a server shares a worker, so that it starts once.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.fakes import Script, endpoint
from tests.integration.postgres import Cluster, binaries, binaries_with_pgvector, cluster
from tests.integration.processes import OWNERS, healthy, process, until
from tests.integration.user import Slow, User

_LLAMA = """
import sys, threading, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.hostnames, params.port = sys.argv[1], ["127.0.0.1"], 0
params.n_parallel, params.n_ctx = 4, 4 * 1280
params.cpuparams.n_threads, params.verbosity, params.ui = 2, -1, False
params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_Q8_0
params.endpoint_metrics = True
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
threading.Event().wait()
"""


HERE = Path(__file__).parent
# Files and folders whose tests share a server that takes long to start.
SHARED = {"studio": "langgraph dev", "test_postgres.py": "postgres", "test_quota.py": "postgres"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests of this folder."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.integration)


class ByServer(LoadScopeScheduling):
    """Give a worker all tests of a server, else all of a file."""

    def _split_scope(self, nodeid: str) -> str:
        file = Path(nodeid.partition("::")[0])
        names = [SHARED[part] for part in file.parts if part in SHARED]
        return names[0] if names else str(file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByServer:
    """Schedule by server whatever `--dist` says: xdist_group has no effect with pytest 9.2."""
    return ByServer(config, log)


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the machine's owner reaches a test: no key, no setting, no swarm-brain.toml."""
    for name in list(os.environ):
        if name.startswith(OWNERS):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    """A user with an empty folder, whose endpoint can be made to wait."""
    script = Script()
    slow = Slow(script)
    with endpoint(script) as served:
        yield User(tmp_path, served, slow)
        slow.held = ""


@pytest.fixture(scope="session")
def weights() -> Path:
    """The file of the small embedded model, fetched if it is not on this machine yet."""
    from swarm_brain.models.embedded_weights import fetch

    return fetch("smollm2-135m")


@pytest.fixture(scope="session")
def llama(weights: Path) -> Iterator[str]:
    """Base URL of a real llama.cpp server in a process of its own: 4 slots of 1,280 tokens."""
    command = (sys.executable, "-c", _LLAMA, weights)
    patient = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}  # as the embedded model has it
    with process(*command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=patient) as child:
        assert child.stdout
        address = child.stdout.readline().strip()
        until(lambda: healthy(f"{address}/health"), 30, child)
        yield f"{address}/v1"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """A PostgreSQL as the machine has it."""
    with cluster(binaries()) as made:
        yield made


@pytest.fixture(scope="session")
def pgvector() -> Iterator[Cluster]:
    """A PostgreSQL that can have the extension `vector`."""
    with cluster(binaries_with_pgvector()) as made:
        yield made
