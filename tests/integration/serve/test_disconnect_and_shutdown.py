"""Clients that leave, servers that stop: what runs ends, and what was paid for is kept."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes import DEFAULTS, Endpoint, endpoint
from tests.integration.processes import REPO, plain_environment, until
from tests.integration.serve.process import COMMAND, Served, serve
from tests.integration.serve.test_openai_client import ANSWER, HARD, said

CHAT = "/v1/chat/completions"


def body(stream: bool = False, **more: Any) -> dict[str, Any]:
    return {"model": "swarm-brain", "messages": said(HARD), "stream": stream, **more}


@pytest.fixture(scope="module")
def slow_endpoint() -> Iterator[Endpoint]:
    with endpoint(latency=0.5) as running:
        yield running


@pytest.fixture
def slow(slow_endpoint: Endpoint) -> Endpoint:
    """An endpoint that takes half a second for each reply, as if nobody had asked it yet."""
    slow_endpoint.bodies.clear()
    slow_endpoint.script.requests.clear()
    slow_endpoint.script.says.clear()
    slow_endpoint.script.says.update(DEFAULTS)
    return slow_endpoint


@pytest.fixture(scope="module")
def lasting(slow_endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server over that endpoint for the tests that do not stop it."""
    folder = tmp_path_factory.mktemp("lasting")
    (folder / "swarm-brain.toml").write_text("[server]\nkeep_alive_seconds = 1\n")
    with serve(folder, model_url=slow_endpoint.url) as served:
        yield served


def threads(served: Served) -> dict[str, Any]:
    """The saved threads by their ids."""
    return {thread["id"]: thread for thread in httpx.get(f"{served.url}/brain/threads").json()}


def settled(served: Endpoint, seconds: float = 1.5) -> int:
    """Requests made until none has come for so long."""
    seen, since = -1, time.monotonic()
    while time.monotonic() - since < seconds:
        if len(served.bodies) != seen:
            seen, since = len(served.bodies), time.monotonic()
        time.sleep(0.05)
    return seen


async def left_in_the_second_wave(url: str, request: Any, served: Endpoint) -> None:
    """Ask, and go away when the fourth expert is asked."""
    async with httpx.AsyncClient(timeout=30) as client:
        asking = asyncio.create_task(client.post(url, json=request))
        while len(served.bodies) < 4:
            assert not asking.done()
            await asyncio.sleep(0.02)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_ends_the_run_and_its_calls(slow, lasting, stream):
    known = threads(lasting)
    asyncio.run(left_in_the_second_wave(lasting.url + CHAT, body(stream), slow))
    assert 4 <= settled(slow) <= 6
    (name,) = threads(lasting).keys() - known.keys()
    assert threads(lasting)[name]["unfinished"] is True
    # What was paid for is kept: the run goes on from there.
    before = len(slow.bodies)
    url = f"{lasting.url}/brain/threads/{name}/resume"
    with httpx.stream("POST", url, json={}, timeout=30) as reply:
        text = reply.read().decode()
    assert '"event": "finished"' in text
    # The wave that was cut off is asked again, what was finished before it is not.
    assert len(slow.bodies) - before == 5


def test_a_waiting_client_is_kept_alive(slow, lasting):
    """Nothing is told while all three experts of the first wave are waited for."""
    for expert in ("perception", "attention", "memory"):
        slow.script.says[expert] = lambda request: time.sleep(2) or "late"
    with httpx.stream("POST", lasting.url + CHAT, json=body(True), timeout=30) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        assert reply.headers["cache-control"] == "no-store"
        assert next(line for line in reply.iter_lines() if line.startswith(":"))


@pytest.mark.slow
def test_a_stopping_server_ends_what_runs_and_takes_nothing_new(slow, tmp_path: Path):
    with (
        serve(tmp_path, "--grace", "20", model_url=slow.url) as served,
        ThreadPoolExecutor() as pool,
        httpx.Client(base_url=served.url, timeout=30) as other,
    ):
        running = pool.submit(httpx.post, served.url + CHAT, json=body(), timeout=30)
        until(lambda: len(slow.bodies) >= 3, 10, served.child)
        assert other.get("/readyz").status_code == 200
        served.child.send_signal(signal.SIGTERM)
        until(lambda: other.get("/readyz").status_code == 503, 5, served.child)
        refused = other.post(CHAT, json=body())
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "draining"
        assert refused.headers["retry-after"]
        assert other.get("/healthz").status_code == 200
        reply = running.result(30)
        assert reply.json()["choices"][0]["message"]["content"] == ANSWER
        other.close()
        assert served.child.wait(10) == 0


@pytest.mark.slow
def test_what_cannot_wait_is_stopped_after_its_wave_and_goes_on_elsewhere(slow, tmp_path: Path):
    with (
        serve(tmp_path, "--grace", "0", model_url=slow.url) as served,
        ThreadPoolExecutor() as pool,
    ):
        running = pool.submit(httpx.post, served.url + CHAT, json=body(), timeout=30)
        until(lambda: len(slow.bodies) >= 3, 10, served.child)
        served.child.send_signal(signal.SIGTERM)
        reply = running.result(30)
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "draining")
        assert served.child.wait(20) == 0
    asked = len(slow.bodies)
    assert asked == 3  # the wave that ran was let finish
    with serve(tmp_path, model_url=slow.url) as served:
        (thread,) = httpx.get(f"{served.url}/brain/threads").json()
        assert thread["id"] in reply.json()["error"]["message"]
        url = f"{served.url}/brain/threads/{thread['id']}/resume"
        with httpx.stream("POST", url, json={}, timeout=30) as resumed:
            assert '"event": "finished"' in resumed.read().decode()
    assert len(slow.bodies) == 8  # nothing finished was asked again


@pytest.mark.slow
def test_who_waits_for_a_place_when_it_stops_is_refused(slow, tmp_path: Path):
    (tmp_path / "swarm-brain.toml").write_text("[server]\nconcurrency = 1\n")
    with (
        serve(tmp_path, "--grace", "0", model_url=slow.url) as served,
        ThreadPoolExecutor() as pool,
    ):
        asking = [pool.submit(httpx.post, served.url + CHAT, json=body(), timeout=30)]
        until(lambda: slow.bodies, 10, served.child)
        asking += [
            pool.submit(httpx.post, served.url + CHAT, json=body(stream), timeout=30)
            for stream in (False, True)
        ]
        until(lambda: "swarm_brain_runs_queued 2.0" in metrics(served.url), 10, served.child)
        served.child.send_signal(signal.SIGTERM)
        replies = [one.result(30) for one in asking]
        assert [(r.status_code, r.json()["error"]["code"]) for r in replies] == 3 * [
            (503, "draining")
        ]
        assert served.child.wait(20) == 0
    assert len(slow.bodies) == 3


def metrics(url: str) -> str:
    return httpx.get(f"{url}/metrics").text


@pytest.mark.slow
def test_a_client_that_sends_and_reads_nothing_more_keeps_no_server_from_ending(tmp_path: Path):
    head = "Content-Type: application/json\r\nContent-Length: 1000"
    with serve(tmp_path, "--grace", "0") as served, socket.socket() as half:
        half.connect(("127.0.0.1", int(served.url.rpartition(":")[2])))
        half.sendall(f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n{{".encode())
        assert httpx.get(f"{served.url}/healthz").status_code == 200
        served.child.send_signal(signal.SIGTERM)
        assert served.child.wait(15) == 0


@pytest.mark.slow
def test_a_second_signal_ends_it_at_once(slow, tmp_path: Path):
    slow.script.says["perception"] = lambda request: time.sleep(8) or "late"
    with serve(tmp_path, "--grace", "60", model_url=slow.url) as served:
        asking = threading.Thread(target=_quietly, args=(served.url + CHAT, body()), daemon=True)
        asking.start()
        until(lambda: len(slow.bodies) >= 3, 10, served.child)
        started = time.monotonic()
        served.child.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert served.child.poll() is None
        served.child.send_signal(signal.SIGINT)
        served.child.wait(15)
        assert time.monotonic() - started < 10


def _quietly(url: str, request: dict[str, Any]) -> None:
    try:
        httpx.post(url, json=request, timeout=30)
    except httpx.HTTPError:
        return


def test_a_run_is_cancelled_by_its_id(slow, lasting):
    async def cancelled(url: str) -> list[str]:
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            lines = []
            question = {"question": HARD}
            async with client.stream("POST", "/brain/runs", json=question) as reply:
                run = ""
                async for line in reply.aiter_lines():
                    lines.append(line)
                    if line.startswith("data") and '"run"' in line and not run:
                        run = line.split('"run": "')[1].split('"')[0]
                        told = await client.post(f"/brain/runs/{run}/cancel")
                        assert told.json() == {"run": run}
            gone = await client.post(f"/brain/runs/{run}/cancel")
            assert gone.status_code == 404
            return lines

    lines = asyncio.run(cancelled(lasting.url))
    assert '"code": "cancelled"' in lines[-2] or '"code": "cancelled"' in lines[-1]
    assert settled(slow) <= 3


def refused(folder: Path, *options: str, **env: str) -> str:
    """What is told where a server does not even start."""
    done = subprocess.run(
        [*COMMAND, *options],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=folder,
        env=plain_environment(folder, PYTHONPATH=str(REPO), **env),
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    return done.stderr


def test_without_keys_only_this_machine_is_served(tmp_path: Path):
    assert "--new-key" in refused(tmp_path, "--host", "0.0.0.0", "--port", "0")


def test_a_port_in_use_is_an_error_that_names_it(lasting, tmp_path: Path):
    port = lasting.url.rpartition(":")[2]
    assert port in refused(tmp_path, "--port", port)


def test_settings_that_cannot_be_are_told_before_it_serves(tmp_path: Path):
    where = {"SWARM_BRAIN_DATABASE_URL": "mysql://ada:secret@host/x"}
    told = refused(tmp_path, "--port", "0", **where)
    assert "SWARM_BRAIN_DATABASE_URL" in told
    assert "secret" not in told
    (tmp_path / "swarm-brain.toml").write_text("[server]\nconcurrency = 0\n")
    assert "server.concurrency" in refused(tmp_path, "--port", "0")


def test_a_page_that_got_its_name_to_lead_here_is_refused(lasting):
    for path in ("/v1/models", "/brain/threads"):
        reply = httpx.get(lasting.url + path, headers={"Host": "evil.example"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (403, "host")
