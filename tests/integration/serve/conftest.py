"""One endpoint and one server for all files of this folder; both end with them."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from tests.fakes import DEFAULTS, Endpoint, endpoint
from tests.integration.serve.process import Served, serve


@pytest.fixture(scope="package")
def endpoint_of_all() -> Iterator[Endpoint]:
    with endpoint() as running:
        yield running


@pytest.fixture(scope="package")
def server(endpoint_of_all: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(tmp_path_factory.mktemp("serve"), model_url=endpoint_of_all.url) as running:
        yield running


@pytest.fixture
def asked(endpoint_of_all: Endpoint) -> Iterator[Endpoint]:
    """The endpoint behind the server; what a test makes it say ends with the test."""
    endpoint_of_all.bodies.clear()
    endpoint_of_all.script.requests.clear()
    yield endpoint_of_all
    endpoint_of_all.script.says.clear()
    endpoint_of_all.script.says.update(DEFAULTS)


@pytest.fixture
def client(server: Served) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
