"""The scripted model of the unit tests, and no network but for what LangSmith may be told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_socket import disable_socket, enable_socket

from tests.unit.conftest import script

__all__ = ["script"]


@pytest.fixture(autouse=True)
def no_network(request: pytest.FixtureRequest) -> Iterator[None]:
    """Close all sockets but the socket pairs that event loops use."""
    if request.node.get_closest_marker("langsmith") is None:
        disable_socket(allow_unix_socket=True)
    yield
    enable_socket()
