"""Bodies that no client would send: the served document's own cases, and worse. Never a 500."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.integration.serve.process import Served, serve

QUICK = settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    database=None,
)
CHAT = "/v1/chat/completions"


KEY = "sb-a-key-for-tests"


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that answers in simulation, at once."""
    with serve(tmp_path_factory.mktemp("hostile"), SWARM_BRAIN_EMBEDDER="off") as running:
        yield running


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The same with a key."""
    folder = tmp_path_factory.mktemp("keyed")
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    (folder / "swarm-brain.toml").write_text(f'[keys.test]\nsha256 = "{digest}"\n')
    with serve(folder, SWARM_BRAIN_EMBEDDER="off") as running:
        yield running


OPERATIONS = (
    "GET /v1/models", "GET /v1/models/{model}", "POST /v1/chat/completions", "GET /brain/me",
    "GET /brain/picture", "GET /brain/presets", "GET /brain/settings", "POST /brain/runs",
    "POST /brain/runs/{run}/cancel", "GET /brain/threads", "GET /brain/threads/{thread}",
    "DELETE /brain/threads/{thread}", "POST /brain/threads/{thread}/resume",
    "POST /brain/threads/{thread}/fork",
)  # fmt: skip


@pytest.fixture(scope="module")
def document(keyed: Served) -> Any:
    return schemathesis.openapi.from_url(f"{keyed.url}/openapi.json")


@pytest.mark.slow
@pytest.mark.parametrize("name", OPERATIONS)
def test_the_served_document_is_kept(document: Any, name: str) -> None:
    """Schemathesis makes requests from the document, right ones and wrong ones, and checks that
    statuses, bodies and headers of the replies are as the document says."""
    method, path = name.split()
    signed = {"Authorization": f"Bearer {KEY}"}
    for mode in schemathesis.GenerationMode:

        @QUICK
        @given(case=document[path][method].as_strategy(generation_mode=mode))
        def kept(case: Any) -> None:
            # A schema cannot say that the last message is the user's, or a question not blank.
            case.call_and_validate(
                timeout=60, headers=signed, excluded_checks=[positive_data_acceptance]
            )

        # Where nothing is sent, nothing can be wrong with it.
        with suppress(Unsatisfiable):
            kept()


@pytest.mark.slow
def test_every_operation_is_tried(document: Any) -> None:
    served = {operation.ok().label for operation in document.get_all_operations()}
    assert served == set(OPERATIONS)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(
    ["model", "messages", "stream", "max_tokens", "temperature", "stop", "user", "n", "tools",
     "response_format", "swarm", "seed", "store", "stream_options", "x"]
)  # fmt: skip
GOOD = {"model": "swarm-brain-fast", "messages": [{"role": "user", "content": "Why?"}]}


@QUICK
@given(body=st.dictionaries(NAMES, JSON, max_size=4) | JSON)
def test_any_json_is_an_answer_or_a_clear_error(simulated: Served, body: Any) -> None:
    given_ = {**GOOD, **body} if isinstance(body, dict) else body
    reply = httpx.post(
        simulated.url + CHAT,
        content=json.dumps(given_).encode(),
        headers={"Content-Type": "application/json"},
        timeout=60,
    )
    told(reply)


@QUICK
@given(words=st.text(st.characters(codec=None), max_size=200))
def test_any_words_are_a_question_or_a_clear_error(simulated: Served, words: str) -> None:
    for path, body in (
        (CHAT, {**GOOD, "messages": [{"role": "user", "content": words}], "user": words[:5]}),
        ("/brain/runs", {"question": words}),
        ("/brain/threads/x/fork", {"step": 1, "edits": {words: words}}),
    ):
        reply = httpx.post(simulated.url + path, content=json.dumps(body).encode(),
                           headers={"Content-Type": "application/json"}, timeout=60)  # fmt: skip
        told(reply)


def told(reply: httpx.Response) -> None:
    """An answer, or an error of the client's in the shape that clients read."""
    assert reply.status_code < 500, reply.text
    assert "Traceback" not in reply.text
    if reply.status_code >= 400:
        error = reply.json()["error"]
        assert error["message"]
        assert set(error) == {"message", "type", "param", "code"}


DEEP = "[" * 100_000 + "]" * 100_000
BODIES = {
    "nothing": b"",
    "half of it": b'{"model": "swarm-br',
    "no UTF-8": b'{"model": "\xff\xfe"}',
    "UTF-16": json.dumps(GOOD).encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + json.dumps(GOOD).encode(),
    "NUL": b"\x00" * 1000,
    "too deep": DEEP.encode(),
    "too deep in a field": json.dumps(GOOD)[:-1].encode() + b', "swarm": ' + DEEP.encode() + b"}",
    "a schema too deep": (
        json.dumps(GOOD)[:-1]
        + ', "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": '
        + '{"items": ' * 900 + "{}" + "}" * 900 + "}}}"
    ).encode(),
    "half a pair": json.dumps(GOOD).replace("Why?", "\\ud800").encode(),
    "no numbers": b'{"model": "swarm-brain", "temperature": NaN, "messages": []}',
    "a huge number": b'{"model": "swarm-brain", "seed": 1e999, "messages": []}',
    "many digits": b'{"model": "swarm-brain", "seed": ' + b"9" * 5_000 + b', "messages": []}',
    "the same key twice": b'{"model": "swarm-brain", "model": 5, "messages": []}',
    "many messages": json.dumps({**GOOD, "messages": GOOD["messages"] * 20_000}).encode(),
    "a number that cannot be saved": json.dumps(
        {**GOOD, "response_format": {"type": "json_schema", "json_schema": {
            "name": "x", "schema": {"maximum": 2**64}}}}
    ).encode(),
    "a reference to elsewhere": json.dumps(
        {**GOOD, "response_format": {"type": "json_schema", "json_schema": {
            "name": "x", "schema": {"$ref": "http://127.0.0.1:1/x"}}}}
    ).encode(),
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("path", [CHAT, "/brain/runs", "/brain/threads/x/resume"])
def test_a_broken_body_is_refused(simulated: Served, name: str, path: str) -> None:
    reply = httpx.post(
        simulated.url + path,
        content=BODIES[name],
        headers={"Content-Type": "application/json"},
        timeout=60,
    )
    told(reply)
    assert reply.status_code >= 400 or name in ("UTF-16", "a byte order mark")
    if name == "half of it":
        assert (reply.json()["error"]["code"], reply.json()["error"]["param"]) == (
            "json_invalid",
            None,
        )


WRONG = (2**70, "\ud83d", "nope", [[1]], {"action": "edit", "sees": "\ud83d"}, {"action": "edit"})


@pytest.mark.parametrize("decision", WRONG)
def test_what_is_no_decision_is_refused_and_the_run_stays_paused(simulated: Served, decision: Any):
    with httpx.Client(base_url=simulated.url, timeout=60) as client:
        paused = {"question": "Why?", "settings": {"pause_before": ["synthesis"]}}
        first = client.post("/brain/runs", json=paused).text
        thread = first.split('"thread": "')[1].split('"')[0]
        path = f"/brain/threads/{thread}/resume"
        body = json.dumps({"decision": decision}).encode()
        reply = client.post(path, content=body, headers={"Content-Type": "application/json"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_setting")
        assert "event: finished" in client.post(path, json={"decision": "approve"}).text


def test_a_body_without_an_end_is_cut_off(simulated: Served) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(2_000):
            yield b" " * 10_000

    headers = {"Content-Type": "application/json"}
    try:
        reply = httpx.post(simulated.url + CHAT, content=endless(), headers=headers, timeout=30)
    except httpx.HTTPError:  # it hung up while we went on
        return
    assert reply.status_code == 413


def test_headers_without_an_end_are_cut_off(simulated: Served) -> None:
    address = ("127.0.0.1", int(simulated.url.rpartition(":")[2]))
    with socket.create_connection(address, timeout=30) as client, suppress(ConnectionError):
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
        for number in range(200):
            client.sendall(b"X-%d: %s\r\n" % (number, b"a" * 10_000))
        client.sendall(b"\r\n")
        assert b" 200 " not in client.recv(1000)


NOT_OURS = (
    "/v1/nothing",
    "/v1/models/../../etc/passwd",
    "/page/../app.py",
    "/page/%2e%2e/app.py",
    "/brain/threads/a:b",
    "/brain/threads/%00",
)


@pytest.mark.parametrize("path", NOT_OURS)
def test_paths_that_are_not_ours(simulated: Served, path: str) -> None:
    reply = httpx.get(simulated.url + path)
    assert reply.status_code in (400, 404)
    assert "import" not in reply.text
    told(reply)
    assert httpx.put(simulated.url + CHAT, json={}).status_code == 405
