"""What belongs to a key at `swarm-brain serve`: threads, runs, memories, a day."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes import Endpoint
from tests.integration.serve.process import Served, serve
from tests.integration.serve.test_openai_client import HARD, said

CHAT = "/v1/chat/completions"
LIMITS = {
    "ada": "",
    "bob": "",
    "poor": "daily_tokens = 10_000",
}


@pytest.fixture(scope="module")
def keyed(endpoint_of_all: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("keyed")
    tables = [
        f'[keys.{name}]\nsha256 = "{sha256(f"sb-{name}".encode()).hexdigest()}"\n{limits}\n'
        for name, limits in LIMITS.items()
    ]
    (folder / "swarm-brain.toml").write_text("".join(tables))
    with serve(folder, model_url=endpoint_of_all.url) as running:
        yield running


@pytest.fixture
def by(keyed: Served) -> Iterator[Any]:
    """A client of each key."""
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(
                httpx.Client(
                    base_url=keyed.url,
                    headers={"Authorization": f"Bearer sb-{name}"},
                    timeout=60,
                )
            )
            for name in LIMITS
        }


def asked(client: httpx.Client, question: str = HARD, **more: Any) -> list[dict[str, Any]]:
    reply = client.post("/brain/runs", json={"question": question, **more})
    assert reply.status_code == 200, reply.text
    lines = reply.text.splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith("data: ")]


def threads(client: httpx.Client) -> list[str]:
    return [thread["id"] for thread in client.get("/brain/threads").json()]


NAMES = ("hers", "ada:hers", "ada%3Ahers", "ada%253Ahers", ":ada:hers", "..%2fada:hers")


@pytest.mark.parametrize("name", NAMES)
def test_a_thread_is_its_owners_alone(by, name):
    if "hers" not in threads(by["ada"]):
        asked(by["ada"], thread="hers")
    for method, path, given in (
        ("GET", f"/brain/threads/{name}", None),
        ("DELETE", f"/brain/threads/{name}", None),
        ("POST", f"/brain/threads/{name}/resume", {}),
        ("POST", f"/brain/threads/{name}/fork", {"step": 1}),
    ):
        reply = by["bob"].request(method, path, json=given)
        assert reply.status_code in (400, 404), path
    assert "hers" not in threads(by["bob"])
    assert len(by["ada"].get("/brain/threads/hers").json()["runs"]) == 1


def test_two_keys_may_call_their_threads_alike(by):
    for name in ("ada", "bob"):
        asked(by[name], f"What would {name} ask?", thread="same")
    shown = by["bob"].get("/brain/threads/same").json()
    assert [run["question"] for run in shown["runs"]] == ["What would bob ask?"]
    assert by["bob"].delete("/brain/threads/same").status_code == 200
    assert "same" in threads(by["ada"])


def test_nobody_ends_anothers_run(by):
    def end(run: str) -> int:
        return by["bob"].post(f"/brain/runs/{run}/cancel").status_code

    with by["ada"].stream("POST", "/brain/runs", json={"question": HARD}) as reply:
        lines = (line for line in reply.iter_lines() if line.startswith("data: "))
        assert end(json.loads(next(lines)[6:])["run"]) == 404
        assert json.loads(list(lines)[-1][6:])["event"] == "finished"


def test_memories_are_their_owners_alone(by):
    asked(by["ada"], "What is the zyzzyva of Ada?")
    again = "What is the zyzzyva of Ada again?"
    assert asked(by["bob"], again)[-1]["result"]["recalled"] == []
    assert asked(by["ada"], again)[-1]["result"]["recalled"] != []


def test_a_thread_is_told_by_the_name_that_its_owner_gave_it(by):
    with by["ada"].stream("POST", "/brain/runs", json={"question": HARD, "thread": "b"}) as reply:
        lines = reply.iter_lines()
        next(lines)
        second = by["ada"].post("/brain/runs", json={"question": HARD, "thread": "b"})
        list(lines)
    assert second.status_code == 409
    assert "ada" not in second.json()["error"]["message"]
    asked(by["ada"], thread="p", settings={"pause_before": ["synthesis"], "effort": "high"})
    third = by["ada"].post("/brain/runs", json={"question": HARD, "thread": "p"})
    assert third.status_code == 409
    assert "The thread p has an unfinished run" in third.json()["error"]["message"]


def test_twenty_at_once_take_no_more_than_the_day_has(by):
    def ask(number: int) -> httpx.Response:
        question = {"model": "swarm-brain-eight", "messages": said(f"Why is {number} prime?")}
        return by["poor"].post(CHAT, json=question)

    with ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(ask, range(20)))
    used = [r.json()["usage"]["total_tokens"] for r in replies if r.status_code == 200]
    assert sum(used) <= 10_000
    assert {r.status_code for r in replies} == {200, 429}
    refused = [r for r in replies if r.status_code == 429]
    assert all(int(r.headers["retry-after"]) > 0 for r in refused)
