"""Our own routes, mounted into the LangGraph server beside its own."""

from __future__ import annotations

import json

import httpx
import openai
import pytest

from tests.integration.studio.dev_server import ANSWER, HARD


@pytest.fixture
def chat(server: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server}/v1", api_key="none", max_retries=0)


def test_openais_client_asks_the_mounted_brain(chat, served):
    messages = [{"role": "user", "content": HARD}]
    whole = chat.chat.completions.create(model="swarm-brain", messages=messages, store=False)
    assert whole.choices[0].message.content == ANSWER
    pieces = list(chat.chat.completions.create(model="swarm-brain", messages=messages, stream=True))
    said = "".join(p.choices[0].delta.content or "" for p in pieces)
    assert said == ANSWER
    assert pieces[-1].model_extra["swarm"]["provenance"] == "full"


def test_a_saved_run_of_the_mounted_routes_can_be_read_and_deleted(server, served):
    with httpx.stream("POST", f"{server}/brain/runs", json={"question": HARD}, timeout=60) as reply:
        told = reply.read().decode()
    thread = told.split('"thread": "')[1].split('"')[0]
    (run,) = httpx.get(f"{server}/brain/threads/{thread}").json()["runs"]
    assert (len(run["steps"]), run["result"]["provenance"]) == (4, "full")
    assert httpx.delete(f"{server}/brain/threads/{thread}").status_code == 200
    assert httpx.get(f"{server}/brain/threads/{thread}").status_code == 404


def test_the_page_and_both_interfaces_stand_side_by_side(server):
    page = httpx.get(f"{server}/")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert httpx.get(f"{server}/readyz").json()["status"] == "ready"
    assert httpx.get(f"{server}/ok").json()["ok"] is True
    assert httpx.get(f"{server}/brain/picture").json()["nodes"]
    paths = httpx.get(f"{server}/openapi.json").json()["paths"]
    assert {"/v1/chat/completions", "/threads", "/runs/stream"} <= set(paths)


def test_only_studio_and_pages_of_this_machine_may_ask(server):
    def allowed(origin: str) -> str | None:
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        reply = httpx.options(f"{server}/threads", headers=asked)
        return reply.headers.get("access-control-allow-origin")

    assert allowed("https://smith.langchain.com") == "https://smith.langchain.com"
    assert allowed("http://localhost:3000") == "http://localhost:3000"
    assert allowed("https://evil.example") is None
    assert allowed("http://localhost.evil.example") is None


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Origin": "null"}]
)
def test_no_page_of_elsewhere_starts_a_run(server, served, headers):
    """Neither by a name that leads here nor by a form, which no browser asks about before."""
    question, before = {"assistant_id": "brain", "input": {"question": "Why?"}}, len(served.bodies)
    reply = httpx.post(
        f"{server}/runs/wait",
        content=json.dumps(question),
        headers={"Content-Type": "text/plain", **headers},
    )
    assert reply.status_code == 403
    assert len(served.bodies) == before


def test_the_key_of_the_endpoint_goes_to_its_own_address_alone(client, served):
    """Any page in a browser on this machine could name another by a plain request."""
    with pytest.raises(Exception, match="OPENAI_COMPATIBLE_BASE_URL"):
        client.runs.wait(
            None,
            "brain",
            input={"question": HARD},
            context={"model": "openai-compatible:m", "base_url": "http://127.0.0.1:9/v1"},
        )


def test_metrics_of_the_brain_stand_among_langgraphs(server, chat, served):
    chat.chat.completions.create(
        model="swarm-brain-fast", messages=[{"role": "user", "content": HARD}], store=False
    )
    told = httpx.get(f"{server}/metrics").text
    assert 'swarm_brain_calls_total{expert="reasoning",model="openai-compatible:m"}' in told
