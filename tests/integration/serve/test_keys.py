"""A server with keys: how they are made, what each may take and name, what is told of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.fakes import Endpoint, endpoint
from tests.integration.commands import run_here
from tests.integration.processes import CANARY, REPO, plain_environment
from tests.integration.serve.process import Served, serve
from tests.integration.serve.test_openai_client import ANSWER, HARD, SIMPLE, said

LIMITS = {"ann": "", "ben": "", "few": "requests_per_minute = 2", "poor": "daily_tokens = 1500"}
SECRET_QUESTION = "What does the word xyzzyplugh mean?"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keyed")


@pytest.fixture(scope="module")
def keys(folder: Path) -> dict[str, str]:
    """A key for each name, made by the command and limited in the file that it wrote."""
    settings = folder / "swarm-brain.toml"
    settings.write_text("# mine\n")
    made = {}
    for name, limit in LIMITS.items():
        environment = plain_environment(folder, PYTHONPATH=str(REPO))
        done = run_here("serve", "--new-key", name, cwd=folder, env=environment)
        assert done.returncode == 0, done.stderr
        made[name] = done.stdout.strip()
        settings.write_text(f"{settings.read_text()}{limit}\n")
    return made


@pytest.fixture(scope="module")
def model() -> Iterator[Endpoint]:
    with endpoint() as running:
        yield running


@pytest.fixture(scope="module")
def served(folder: Path, keys: dict[str, str], model: Endpoint) -> Iterator[Served]:
    with serve(folder, model_url=model.url) as running:
        yield running


@pytest.fixture
def ask(served: Served, keys: dict[str, str]) -> Any:
    """Ask as one of the owners."""

    def asked(name: str, question: str = SIMPLE, **more: Any) -> Any:
        client = openai.OpenAI(base_url=f"{served.url}/v1", api_key=keys[name], max_retries=0)
        made = client.chat.completions
        return made.create(model="swarm-brain-fast", messages=said(question), **more)

    return asked


def signed(keys: dict[str, str], name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {keys[name]}"}


def test_a_key_is_printed_once_and_kept_as_a_digest(folder, keys):
    written = (folder / "swarm-brain.toml").read_text()
    assert written.startswith("# mine\n")
    assert not any(key in written for key in keys.values())
    assert len(set(keys.values())) == len(LIMITS)


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer sb-wrong"}, {"Authorization": "Basic YTpi"},
                {"X-Auth-Scheme": "langsmith"}, {"X-Forwarded-For": "127.0.0.1"}]
)  # fmt: skip
@pytest.mark.parametrize("path", ["/v1/models", "/brain/threads", "/brain/settings"])
def test_without_a_known_key_nothing_is_answered(served, path, headers):
    reply = httpx.get(served.url + path, headers=headers)
    assert (reply.status_code, reply.json()["error"]["type"]) == (401, "authentication_error")


def test_health_needs_no_key_and_the_page_is_no_secret(served):
    for path in ("/healthz", "/readyz", "/"):
        assert httpx.get(served.url + path).status_code == 200


def test_both_ways_to_send_a_key(served, keys):
    for headers in ({"x-api-key": keys["ann"]}, {"Authorization": f"bearer {keys['ann']}"}):
        assert httpx.get(f"{served.url}/brain/me", headers=headers).json()["name"] == "ann"


def test_requests_of_a_minute_are_counted_and_refused_by_openais_error(ask):
    ask("few")
    list(ask("few", stream=True))
    for stream in (False, True):
        with pytest.raises(openai.RateLimitError) as caught:
            ask("few", stream=stream)
        assert 0 < int(caught.value.response.headers["retry-after"]) <= 60
    assert ask("ann").choices[0].message.content == ANSWER  # others are not held up


def test_a_days_tokens_are_hard(served, keys, ask, model):
    spent: list[int] = []
    with pytest.raises(openai.RateLimitError) as caught:
        spent.extend(ask("poor", HARD).usage.total_tokens for _ in range(10))
    assert int(caught.value.response.headers["retry-after"]) <= 86_400
    assert 0 < sum(spent) <= 1500
    told = httpx.get(f"{served.url}/brain/me", headers=signed(keys, "poor")).json()
    assert sum(spent) <= told["spent_today"]["tokens"] <= 1500
    before = len(model.bodies)
    with pytest.raises(openai.RateLimitError):
        ask("poor", HARD)
    assert len(model.bodies) == before


def test_a_key_names_no_other_model_or_address(served, keys, model):
    before = len(model.bodies)
    for settings in ({"base_url": "http://127.0.0.1:9/v1"}, {"model": "openai-compatible:other"},
                     {"expert_models": {"creative": "simulation:"}}):  # fmt: skip
        reply = httpx.post(
            f"{served.url}/brain/runs",
            json={"question": HARD, "settings": settings},
            headers=signed(keys, "ann"),
        )
        assert reply.status_code == 400
        assert next(iter(settings)) in reply.json()["error"]["message"]
    assert len(model.bodies) == before


def test_a_key_that_is_taken_away_is_refused_at_once(served, keys, folder):
    settings = folder / "swarm-brain.toml"
    before = settings.read_text()
    try:
        settings.write_text(before.replace("[keys.ben]", "[keys.benedict]"))
        me = httpx.get(f"{served.url}/brain/me", headers=signed(keys, "ben")).json()
        assert me["name"] == "benedict"
        settings.write_text(before[: before.index("[keys.ben]")])
        gone = httpx.get(f"{served.url}/brain/me", headers=signed(keys, "ben"))
        assert gone.status_code == 401
    finally:
        settings.write_text(before)


def test_logs_are_json_and_hold_neither_questions_nor_keys(served, keys, ask):
    reply = ask("ann", SECRET_QUESTION)
    lines = served.log.read_text().splitlines()
    logged = [json.loads(line) for line in lines if line.startswith("{")]
    (request,) = [line for line in logged if line.get("run") == reply.id.removeprefix("chatcmpl-")]
    assert (request["owner"], request["status"]) == ("ann", 200)
    assert any(line.get("provenance") == "full" for line in logged)
    text = served.log.read_text()
    for secret in ("xyzzyplugh", CANARY, *keys.values()):
        assert secret not in text


def test_metrics_count_and_name_nobody(served, ask):
    ask("ann")
    told = httpx.get(f"{served.url}/metrics").text
    assert 'swarm_brain_calls_total{expert="synthesis",model="openai-compatible:m"}' in told
    assert 'swarm_brain_runs_total{provenance="full",stop_reason="complete"}' in told
    assert "swarm_brain_runs_in_flight 0.0" in told
    assert "ann" not in told
