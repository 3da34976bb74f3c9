"""Unit tests: no network, and a scripted model where a model is asked."""

from __future__ import annotations

import pytest
from pytest_socket import disable_socket, enable_socket

from swarm_brain.models import choose
from tests.fakes import Script, bind_script


@pytest.fixture(autouse=True)
def no_network():
    """Close all sockets but the socket pairs that event loops use."""
    disable_socket(allow_unix_socket=True)
    yield
    enable_socket()


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """A scripted model that answers under every name, `simulation:` apart."""
    script = Script()
    real = choose.bind

    def bind(spec: str, base_url: str | None = None):
        return real(spec) if spec.startswith("simulation:") else bind_script(script, spec)

    monkeypatch.setattr(choose, "bind", bind)
    return script
