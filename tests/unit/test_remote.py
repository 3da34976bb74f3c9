"""A brain on a server: addresses, keys and errors. No server: its answers are put in its place."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from langgraph.pregel.remote import RemoteException
from langgraph_sdk.client import LangGraphClient
from typer.testing import CliRunner

from swarm_brain import remote
from swarm_brain.cli.app import app
from swarm_brain.cli.terminal.remote import thread_for
from swarm_brain.graph.errors import BlankQuestion, ConfigError, ServerError

URL = "http://brain.example:2024"
SECRET = "canary-key-7f3a9b"


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(remote.KEY, raising=False)


@pytest.mark.parametrize(
    "url",
    ["", "brain", "brain:2024", "ftp://brain", "http://", "http://brain?a=b", "http://b#c",
     "http://[::1", "http://brain:99999", "http://brain:x"],
)  # fmt: skip
def test_what_is_no_address_is_refused_at_once(url):
    with pytest.raises(ConfigError, match="server's address"):
        remote.connect(url)


def test_a_key_in_the_address_is_refused_and_not_shown():
    with pytest.raises(ConfigError, match=remote.KEY) as refused:
        remote.connect(f"http://me:{SECRET}@brain.example")
    assert SECRET not in str(refused.value)


def test_a_key_with_a_line_end_is_refused_and_not_shown(monkeypatch):
    monkeypatch.setenv(remote.KEY, f"{SECRET}\nX-Other: 1")
    with pytest.raises(ConfigError, match=remote.KEY) as refused:
        remote.connect(URL)
    assert SECRET not in str(refused.value)


def test_the_key_is_sent_and_no_other(monkeypatch):
    """langgraph-sdk by itself would send LANGSMITH_API_KEY to whatever address is given."""
    monkeypatch.setenv("LANGSMITH_API_KEY", "not-for-you")
    monkeypatch.setenv(remote.KEY, SECRET)
    brain = remote.connect(URL)
    assert brain.client
    headers = brain.client.http.client.headers
    assert headers["authorization"] == f"Bearer {SECRET}"
    assert "not-for-you" not in str(headers.raw)
    monkeypatch.delenv(remote.KEY)
    assert "authorization" not in remote.connect(URL).client.http.client.headers


async def asked(answer: Any) -> Any:
    """What a question leads to where the server gives this answer."""
    http = httpx.AsyncClient(base_url=URL, transport=httpx.MockTransport(answer))
    brain = remote.RemoteBrain("brain", client=LangGraphClient(http))
    return await brain.ainvoke({"question": "Why?"})


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (401, "requires a key: set SWARM_BRAIN_KEY"),
        (403, "requires a key: set SWARM_BRAIN_KEY"),
        (404, "Is it a LangGraph server"),
        (409, "a run is under way"),
        (422, "status 422"),
        (429, "no more requests"),
        (500, "status 500"),
    ],
)
async def test_a_refusal_says_what_to_do(status, told):
    with pytest.raises(ServerError, match=told) as refused:
        await asked(lambda request: httpx.Response(status, json={"detail": "because"}))
    assert str(refused.value).startswith(URL)


async def test_a_refused_key_is_named_and_not_shown(monkeypatch):
    monkeypatch.setenv(remote.KEY, SECRET)
    with pytest.raises(ServerError, match="refuses the key in SWARM_BRAIN_KEY") as refused:
        await asked(lambda request: httpx.Response(401, json={"detail": "no"}))
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ReadTimeout, httpx.ReadError])
async def test_a_broken_connection_is_told(error):
    def answer(request: httpx.Request) -> httpx.Response:
        raise error("gone", request=request)

    with pytest.raises(ServerError, match=URL):
        await asked(answer)


async def test_a_page_is_no_server():
    page = httpx.Response(200, html="<html>hello</html>")
    with pytest.raises(ServerError, match="answer is not a LangGraph server's"):
        await asked(lambda request: page)


@pytest.mark.parametrize("name", [None, "mine", "5f0b1e0a-0000-4000-8000-000000000000"])
@pytest.mark.parametrize("thread", [None, [], {}, "x", 5, {"thread_id": "t"}])
async def test_a_server_of_another_kind_is_told(name, thread):
    http = httpx.AsyncClient(
        base_url=URL,
        transport=httpx.MockTransport(
            lambda request: httpx.Response(200, json=[] if "search" in str(request.url) else thread)
        ),
    )
    brain = remote.RemoteBrain("brain", client=LangGraphClient(http))
    with pytest.raises(ServerError, match="answer is not a LangGraph server's"):
        await thread_for(brain, name)


@pytest.mark.parametrize(
    ("told", "kind", "message"),
    [
        ({"error": "BlankQuestion", "message": "x"}, BlankQuestion, "question is empty"),
        ({"error": "ConfigError", "message": "max_steps: no"}, ConfigError, "max_steps: no"),
        ({"error": "ExpertFailed", "message": "creative failed"}, ServerError, "creative failed"),
        ("what is this", ServerError, "what is this"),
        (None, ServerError, "run failed"),
    ],
)
def test_a_runs_error_is_the_one_the_local_graph_raises(told, kind, message):
    with pytest.raises(kind, match=message), remote.translated(URL):
        raise RemoteException(told)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["Why?", "--topology", "mine.yaml"], "--topology: cannot be used with --url"),
        (
            ["Why?", "--dry-run", "--topology", "x"],
            "--topology, --dry-run: cannot be used with --url",
        ),
        (["Why?", "--no-save", "--pause-before", "creative"], "the server would not wait"),
        (["Why?", "--thread", "x", "--no-save"], "cannot be combined"),
        (["Why?", "--max-steps", "0"], "--max-steps"),
        (["  "], "question is empty"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name_before_anything_is_sent(arguments, says):
    done = CliRunner().invoke(app, ["ask", *arguments, "--url", URL])
    assert isinstance(done.exception, ConfigError | BlankQuestion)
    assert says in str(done.exception)
