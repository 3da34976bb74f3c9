"""One endpoint and one server for all files of this folder; it ends with them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_sync_client

from tests.fakes import DEFAULTS, Endpoint, endpoint
from tests.integration.processes import CANARY
from tests.integration.studio.dev_server import dev, fresh_root


@pytest.fixture(scope="package")
def endpoint_of_all() -> Iterator[Endpoint]:
    with endpoint() as running:
        yield running


@pytest.fixture(scope="package")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fresh_root(tmp_path_factory.mktemp("root"))


@pytest.fixture(scope="package")
def server(endpoint_of_all: Endpoint, root: Path) -> Iterator[str]:
    """A server without any .env file, whose model is the scripted endpoint."""
    assert not (root / ".env").exists()
    environment = {
        "SWARM_BRAIN_MODEL": "openai-compatible:m",
        "OPENAI_COMPATIBLE_BASE_URL": endpoint_of_all.url,
        "OPENAI_COMPATIBLE_API_KEY": CANARY,
    }
    with dev(root, **environment) as url:
        yield url


@pytest.fixture
def served(endpoint_of_all: Endpoint) -> Iterator[Endpoint]:
    """The endpoint behind the server; what a test makes it say ends with the test."""
    yield endpoint_of_all
    endpoint_of_all.script.says.clear()
    endpoint_of_all.script.says.update(DEFAULTS)


@pytest.fixture(autouse=True)
def _nothing_remembered(request: pytest.FixtureRequest) -> None:
    """What one test asks is no memory of the next one's questions."""
    if "server" not in request.fixturenames:
        return
    store = get_sync_client(url=request.getfixturevalue("server"), api_key=None).store
    place = ["swarm-brain", "local", "default", "episodes"]
    for item in store.search_items(place, limit=1000)["items"]:
        store.delete_item(item["namespace"], item["key"])


@pytest.fixture
def client(server: str) -> Any:
    return get_sync_client(url=server, api_key=None)
