"""What Aegra's workers share: memories, users, retries and budgets over its store and threads."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from swarm_brain.memory.space import Space
from tests.cluster.aegra import TESTER, Aegra, Worker
from tests.fakes import DEFAULTS, Endpoint, endpoint

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def quick() -> Iterator[Endpoint]:
    with endpoint() as running:
        yield running


@pytest.fixture(scope="module")
def workers(aegra: Aegra, quick: Endpoint) -> Iterator[list[Worker]]:
    """Two workers with queues of their own, so that each runs what it is asked."""
    where = {"OPENAI_COMPATIBLE_BASE_URL": quick.url}
    with (
        aegra.worker(WORKER_QUEUE_KEY="one", **where) as one,
        aegra.worker(WORKER_QUEUE_KEY="other", **where) as other,
    ):
        yield [one, other]


def run(worker: Worker, question: str, user: str = TESTER, **context: Any) -> dict[str, Any]:
    """The final state of one question in a thread of its own."""
    client = worker.client_of(user)
    thread = client.threads.create()["thread_id"]
    client.runs.create(thread, "brain", input={"question": question}, context=context)
    while client.threads.get(thread)["status"] == "busy":
        time.sleep(0.1)
    state: dict[str, Any] = client.threads.get_state(thread)["values"]
    return state


def test_what_one_worker_was_told_another_recalls(workers):
    question = "What does zebroid mean in zoology?"
    first = run(workers[0], question)
    again = run(workers[1], question)
    assert (first["recalled"], first["notes"], again["notes"]) == ([], [], [])
    (recalled,) = again["recalled"]
    assert recalled["score"] == pytest.approx(1, abs=1e-3)
    assert first["thread_id"] in recalled["origin"]
    assert run(workers[1], "Who bakes sourdough bread?")["recalled"] == []


def test_users_have_threads_and_memories_of_their_own(aegra, workers):
    signed = workers[0]
    question = "What does quagga mean in zoology?"
    told = run(signed, question, "alice")
    assert run(signed, question, "bob")["recalled"] == []
    assert len(run(signed, question, "alice")["recalled"]) == 1
    with pytest.raises(Exception, match="not found"):
        signed.client_of("bob").threads.get(told["thread_id"])
    assert httpx.post(f"{signed.url}/threads", json={}, trust_env=False).status_code == 401
    sql = "SELECT DISTINCT prefix FROM store WHERE prefix LIKE 'swarm-brain.%.episodes'"
    places = {prefix for (prefix,) in aegra.postgres.execute(sql, aegra.database)}
    own = {".".join(Space.of_user(user, "default").of("episode")) for user in ("alice", "bob")}
    assert own <= places
    assert ".".join(Space().of("episode")) not in places


def test_a_refused_call_is_made_again(workers, quick: Endpoint):
    refusal = (503, {"Content-Type": "application/json"}, json.dumps({"error": "busy"}))
    quick.script.says["reasoning"] = [refusal, DEFAULTS["reasoning"]]
    state = run(workers[0], "What does okapi mean in zoology?")
    quick.script.says["reasoning"] = DEFAULTS["reasoning"]
    attempts = {entry["name"]: entry["attempts"] for entry in state["experts"]}
    assert (attempts["reasoning"], state["provenance"]) == (2, "full")


def test_a_front_streams_what_workers_run(aegra: Aegra, workers, quick: Endpoint):
    """As compose.yaml has it: one process takes requests and runs nothing."""
    with aegra.worker(WORKER_COUNT="0", WORKER_QUEUE_KEY="one") as front:
        thread = front.client.threads.create()["thread_id"]
        question = {"question": "What does accrual mean in bookkeeping?"}
        parts = front.client.runs.stream(
            thread, "brain", input=question, stream_mode=["messages-tuple", "custom"]
        )
        told = [(part.event, part.data) for part in parts]
    tokens = [data[0]["content"] for event, data in told if event == "messages"
              and data[1]["langgraph_node"] == "synthesis"]  # fmt: skip
    woken = [data["expert"] for event, data in told if event == "custom"
             and data["event"] == "woken"]  # fmt: skip
    assert len(tokens) > 5
    assert "".join(tokens).strip() == DEFAULTS["synthesis"]
    assert (woken[-1], len(woken)) == ("synthesis", len(set(woken)))


def test_a_budget_holds(workers):
    state = run(workers[0], "Why is the okapi striped?", budget_tokens=2_500)
    spent = state["usage"]["input_tokens"] + state["usage"]["output_tokens"]
    assert (state["provenance"], state["stop_reason"]) == ("degraded", "budget")
    assert 0 < spent <= 2_500


def test_what_aegra_has_not_is_absent(workers):
    for path in ("/mcp", "/a2a/brain"):
        key = {"x-api-key": workers[0].keys[TESTER]}
        answer = httpx.post(f"{workers[0].url}{path}", json={}, headers=key, trust_env=False)
        assert answer.status_code == 404


def test_openais_clients_ask_any_worker_with_the_same_keys(workers):
    """Our own routes, mounted into Aegra by the same langgraph.json."""
    question = [{"role": "user", "content": "What does numbat mean in zoology?"}]
    for worker in workers:
        client = openai.OpenAI(base_url=f"{worker.url}/v1", api_key=worker.keys[TESTER])
        reply = client.chat.completions.create(
            model="swarm-brain-fast", messages=question, store=False
        )
        assert reply.choices[0].message.content == DEFAULTS["synthesis"]
        assert reply.model_extra["swarm"]["provenance"] == "full"
        pieces = list(
            client.chat.completions.create(model="swarm-brain-fast", messages=question, stream=True)
        )
        said = "".join(piece.choices[0].delta.content or "" for piece in pieces)
        assert said == DEFAULTS["synthesis"]
        refused = openai.OpenAI(base_url=f"{worker.url}/v1", api_key="sb-wrong")
        with pytest.raises(openai.AuthenticationError):
            refused.models.list()
        page = httpx.get(f"{worker.url}/", trust_env=False)
        assert "default-src 'none'" in page.headers["content-security-policy"]
