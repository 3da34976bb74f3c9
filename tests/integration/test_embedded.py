"""The embedded model: a real llama.cpp server inside this process, with real weights."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from swarm_brain.graph.errors import ModelUnavailable
from swarm_brain.models import embedded
from tests.integration.processes import REPO, plain_environment

# About 1.2 s on a machine that does nothing else; tests may share theirs.
SOON_SECONDS = 10.0

CHILD = """
import asyncio, sys, threading, time
from pathlib import Path
import httpx
from swarm_brain.models import embedded

mode, path = sys.argv[1:]
if mode == "no descriptors":
    embedded._own_sockets.__globals__["Path"] = lambda name: Path("/nowhere")
server = embedded.serve(Path(path))
prompt = "Why? " + "some words " * (1500 if mode == "reading" else 1)
call = {
    "url": server.url + "/chat/completions",
    "headers": {"Authorization": "Bearer " + server.api_key},
    "json": {
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": 4000, "ignore_eos": True, "stream": mode == "streaming",
    },
}

def ask():
    try:
        with httpx.Client(timeout=None, trust_env=False) as client:
            with client.stream("POST", **call) as reply:
                for _ in reply.iter_bytes():
                    pass
    except httpx.HTTPError:
        pass

async def ask_all():
    async with httpx.AsyncClient(timeout=None, trust_env=False) as client:
        await asyncio.gather(*(client.post(**call) for _ in range(6)))

def busy():
    place, key = server.url + "/../slots", call["headers"]
    slots = httpx.get(place, headers=key, timeout=60, trust_env=False).json()
    return any(slot["is_processing"] for slot in slots)

def ready():
    while mode != "idle" and not busy():
        time.sleep(0.1)
    time.sleep(0.5)
    print("busy" if busy() else "idle", flush=True)

if mode == "event loop":
    threading.Thread(target=ready, daemon=True).start()
    try:
        asyncio.run(ask_all())
    except KeyboardInterrupt:
        pass
elif mode != "idle":
    for _ in range(6):
        threading.Thread(target=ask, daemon=True).start()
if mode == "interrupted":
    threading.Thread(target=ready, daemon=True).start()
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        pass
elif mode != "event loop":
    ready()
"""


@pytest.fixture(scope="module")
def server(weights: Path) -> Iterator[embedded.LocalServer]:
    yield embedded.serve(weights)
    embedded.stop_all()


def post(server: embedded.LocalServer, key: str | None, body: dict[str, Any]) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    url = f"{server.url}/chat/completions"
    return httpx.post(url, headers=headers, json=body, timeout=120, trust_env=False)


def question(**more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "Name a colour."}], "max_tokens": 8, **more}


def test_it_answers_and_counts(server: embedded.LocalServer) -> None:
    reply = post(server, server.api_key, question()).raise_for_status().json()
    assert reply["choices"][0]["message"]["content"].strip()
    assert 1 <= reply["usage"]["completion_tokens"] <= 8
    assert reply["usage"]["prompt_tokens"] > 4


def test_it_is_on_loopback_and_wants_its_key(server: embedded.LocalServer) -> None:
    assert server.url.startswith("http://127.0.0.1:")
    assert server.api_key not in repr(server)
    assert post(server, None, question()).status_code == 401
    assert post(server, "another", question()).status_code == 401
    for place in ("/models", "/../props", "/../slots"):
        assert httpx.get(server.url + place, trust_env=False).status_code == 401


@pytest.mark.slow
def test_one_request_may_use_the_whole_trained_context(server: embedded.LocalServer) -> None:
    assert server.context_tokens == 8192
    long = {"messages": [{"role": "user", "content": "word " * 9000}], "max_tokens": 1}
    assert post(server, server.api_key, long).status_code == 400


@pytest.mark.slow
def test_more_requests_than_slots_are_all_answered(server: embedded.LocalServer) -> None:
    with ThreadPoolExecutor(10) as pool:
        runs = [pool.submit(post, server, server.api_key, question()) for _ in range(10)]
    assert [run.result().status_code for run in runs] == [200] * 10


@pytest.mark.slow
def test_tokens_are_counted_past_any_proxy(server: embedded.LocalServer, monkeypatch: Any) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert embedded.count_tokens(server, "") == 0
    assert embedded.count_tokens(server, "hello world, how many?") == 6
    once, twice = ("Farbe für Künstler, 色", "Farbe für Künstler, 色" * 2)
    assert 2 * embedded.count_tokens(server, once) == embedded.count_tokens(server, twice)


def test_a_server_that_is_gone_is_named() -> None:
    gone = embedded.LocalServer("http://127.0.0.1:9/v1", "key", 1)
    with pytest.raises(ModelUnavailable, match=r"127\.0\.0\.1:9/v1 does not answer"):
        embedded.count_tokens(gone, "text")


def test_whoever_asks_for_a_file_gets_the_same_server(
    server: embedded.LocalServer, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "link.gguf"
    link.symlink_to(weights)
    monkeypatch.chdir(weights.parent)
    for path in (weights, link, Path(weights.name)):
        assert embedded.serve(path) is server


@pytest.mark.slow
def test_threads_that_ask_at_once_get_one_server(weights: Path) -> None:
    embedded.stop_all()
    with ThreadPoolExecutor(4) as pool:
        servers = set(pool.map(embedded.serve, [weights] * 4))
    assert len(servers) == 1
    assert embedded.count_tokens(servers.pop(), "one two") == 2


@pytest.mark.slow
def test_after_stopping_the_next_one_is_new(weights: Path) -> None:
    before = embedded.serve(weights)
    embedded.stop_all()
    with pytest.raises(ModelUnavailable):
        embedded.count_tokens(before, "text")
    after = embedded.serve(weights)
    assert after.api_key != before.api_key
    assert embedded.count_tokens(after, "text") == 1


@pytest.mark.slow
def test_a_file_that_cannot_be_loaded_is_named(weights: Path, tmp_path: Path) -> None:
    whole = weights.read_bytes()
    broken = {
        "noise": b"GGUF" + os.urandom(5000),
        "nothing": b"GGUF",
        "version": b"GGUF\x03\0\0\0" + b"\xff" * 4000,
        "cut": whole[:5_000_000],
        "damaged": whole[:40] + b"\xff" * 400 + whole[440:100_000],
    }
    for name, content in broken.items():
        path = tmp_path / f"{name}.gguf"
        path.write_bytes(content)
        with pytest.raises(ModelUnavailable, match=rf"cannot load .*{name}\.gguf"):
            embedded.serve(path)


@pytest.mark.slow
def test_a_missing_file_and_a_missing_package_are_named(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelUnavailable, match=r"absent\.gguf"):
        embedded.serve(tmp_path / "absent.gguf")
    embedded.stop_all()
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(ModelUnavailable, match=r"swarm-brain\[embedded\]"):
        embedded.serve(weights)


def test_the_trained_context_is_read_from_the_file(weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "small.gguf"
    key = b"llama.context_length\x04\0\0\0"
    start = weights.read_bytes()[:5000]
    path.write_bytes(start.replace(key + (8192).to_bytes(4, "little"), key + b"\0\x08\0\0"))
    assert embedded._trained_context(path) == 2048
    path.write_bytes(start.replace(key, b"?" * len(key)))
    assert embedded._trained_context(path) == embedded.MAX_CONTEXT_TOKENS


@pytest.mark.parametrize(("usable", "threads"), [(1, 1), (2, 1), (4, 3), (8, 4), (64, 8)])
def test_a_processor_always_stays_free(usable: int, threads: int, monkeypatch: Any) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: usable)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(usable)), raising=False)
    monkeypatch.setattr(Path, "read_text", lambda _: "max 100000")
    assert embedded._threads() == threads
    monkeypatch.setattr(Path, "read_text", lambda _: "150000 100000")
    assert embedded._threads() == 1


@pytest.mark.slow
def test_a_binding_knows_the_context_and_the_tokens_and_costs_nothing(weights: Path) -> None:
    bound = embedded.bind(str(weights))
    assert bound.context_tokens() == 8192
    assert bound.count_tokens is not None
    assert bound.count_tokens("one two") == 2
    assert bound.price(1000, 0, 1000) == 0.0


MODES = "idle", "waiting", "streaming", "reading", "interrupted", "event loop", "no descriptors"


@pytest.mark.alone
@pytest.mark.parametrize("mode", MODES)
def test_interpreter_ends_at_once_and_in_silence(mode: str, weights: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", CHILD, mode, str(weights)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    child = subprocess.Popen(command, cwd=REPO, env=plain_environment(tmp_path), **pipes)
    try:
        assert child.stdout.readline() == ("idle\n" if mode == "idle" else "busy\n")
        began = time.monotonic()
        if mode in ("interrupted", "event loop"):
            child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=SOON_SECONDS)
    finally:
        child.kill()
    assert (child.returncode, out, err) == (0, "", "")
    print(f"{mode}: ended after {time.monotonic() - began:.2f} s")
