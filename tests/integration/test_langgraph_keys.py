"""Keys on the real LangGraph server: what is whose, what is refused, where a key must not be."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_sync_client

from tests.fakes import Endpoint, endpoint
from tests.integration.processes import CANARY
from tests.integration.studio.dev_server import dev, fresh_root

pytestmark = pytest.mark.slow

SIMPLE = "What does subject mean?"
KEYS = {name: f"sb-{name}-canary-4f1d" for name in ("ada", "bob", "slow", "poor", "mayfly")}
LIMITS = {"slow": "requests_per_minute = 2", "poor": "daily_tokens = 900"}


def settings(names: list[str]) -> str:
    """A swarm-brain.toml with these keys."""
    tables = [
        f'[keys.{name}]\nsha256 = "{hashlib.sha256(KEYS[name].encode()).hexdigest()}"\n'
        f"{LIMITS.get(name, '')}\n"
        for name in names
    ]
    return "\n".join([*tables, '[server]\nmodels = ["openai-compatible:other"]\n'])


@pytest.fixture(scope="module")
def served() -> Iterator[Endpoint]:
    with endpoint() as running:
        yield running


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the repository is, with keys."""
    root = fresh_root(tmp_path_factory.mktemp("root"))
    (root / "swarm-brain.toml").write_text(settings(list(KEYS)))
    return root


@pytest.fixture(scope="module")
def server(served: Endpoint, root: Path) -> Iterator[str]:
    environment = {
        "SWARM_BRAIN_MODEL": "openai-compatible:m",
        "SWARM_BRAIN_CONFIG": str(root / "swarm-brain.toml"),
        "OPENAI_COMPATIBLE_BASE_URL": served.url,
        "OPENAI_COMPATIBLE_API_KEY": CANARY,
    }
    with dev(root, **environment) as url:
        yield url


def sign_in(server: str, name: str) -> Any:
    """A client with the key of this owner, as LangGraph's SDK sends it."""
    return get_sync_client(url=server, api_key=KEYS[name])


@pytest.fixture
def ada(server: str) -> Any:
    return sign_in(server, "ada")


@pytest.fixture
def bob(server: str) -> Any:
    return sign_in(server, "bob")


def ask(client: Any, thread: str | None = None, **more: Any) -> Any:
    thread = thread or client.threads.create()["thread_id"]
    return client.runs.wait(thread, "brain", input={"question": SIMPLE}, **more)


def refused(what: Any, *statuses: int) -> str:
    """The words with which this is refused."""
    with pytest.raises(httpx.HTTPStatusError) as caught:
        what()
    assert caught.value.response.status_code in statuses, caught.value.response.text
    return caught.value.response.text


# ---- who is let in


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer sb-wrong"},
        {"authorization": KEYS["ada"]},
        {"x-api-key": hashlib.sha256(KEYS["ada"].encode()).hexdigest()},
        {"x-auth-scheme": "langsmith"},
        {"x-auth-scheme": "langsmith", "x-api-key": "lsv2_sk_x", "x-user-id": "ada"},
        {"x-auth-scheme": "langsmith-agent", "authorization": "Bearer x"},
        {"x-forwarded-for": "127.0.0.1", "x-real-ip": "127.0.0.1", "x-user-id": "ada"},
        {"authorization": "Bearer " + "x" * 5000},
    ],
)
def test_nobody_comes_in_without_a_key(server, headers):
    for method, path in (
        ("POST", "/threads"), ("POST", "/threads/search"), ("POST", "/runs/wait"),
        ("POST", "/runs/batch"), ("POST", "/assistants/search"), ("POST", "/store/items/search"),
        ("POST", "/runs/crons/search"), ("POST", "/mcp"), ("GET", f"/threads/{uuid.uuid4()}/state"),
    ):  # fmt: skip
        answer = httpx.request(method, server + path, json={}, headers=headers)
        assert answer.status_code == 401, path
        assert "sb-" not in answer.text


def test_both_headers_are_taken(server):
    for headers in ({"authorization": f"bearer {KEYS['ada']}"}, {"x-api-key": KEYS["ada"]}):
        assert httpx.post(f"{server}/threads/search", json={}, headers=headers).status_code == 200


# ---- what is whose


def test_threads_and_runs_are_their_owners_alone(ada, bob):
    result = ask(ada)
    thread = result["thread_id"]
    assert result["provenance"] == "full"
    (run,) = ada.runs.list(thread)
    assert ada.threads.get(thread)["metadata"]["owner"] == "ada"
    for what in (
        lambda: bob.threads.get(thread),
        lambda: bob.threads.get_state(thread),
        lambda: bob.threads.get_history(thread),
        lambda: bob.threads.update(thread, metadata={"owner": "bob"}),
        lambda: bob.threads.update_state(thread, {"query": "mine"}),
        lambda: bob.threads.copy(thread),
        lambda: bob.threads.delete(thread),
        lambda: bob.runs.get(thread, run["run_id"]),
        lambda: bob.runs.join(thread, run["run_id"]),
        lambda: bob.runs.cancel(thread, run["run_id"]),
        lambda: bob.runs.delete(thread, run["run_id"]),
        lambda: ask(bob, thread),
        lambda: bob.runs.create(thread, "brain", command={"goto": "synthesis"}),
        lambda: bob.runs.create(thread, "brain", input=None, if_not_exists="create"),
        lambda: bob.threads.create(thread_id=thread),
        lambda: bob.threads.create(thread_id=thread, if_exists="do_nothing"),
    ):
        refused(what, 403, 404, 409)
    assert bob.threads.search(ids=[thread]) == []
    assert bob.threads.search(metadata={"owner": "ada"}) == []
    assert ada.threads.get_state(thread)["values"]["query"] == SIMPLE
    assert {run["metadata"]["owner"] for run in ada.runs.list(thread)} == {"ada"}


def test_an_owner_cannot_be_forged(ada, bob):
    thread = bob.threads.create(metadata={"owner": "ada"})["thread_id"]
    assert bob.threads.get(thread)["metadata"]["owner"] == "bob"
    assert bob.threads.update(thread, metadata={"owner": "ada"})["metadata"]["owner"] == "bob"
    config = {"metadata": {"owner": "ada"}, "configurable": {"user_id": "ada", "thread_id": "x"}}
    new = str(uuid.uuid4())
    bob.runs.wait(
        new, "brain", input={"question": SIMPLE}, config=config, metadata={"owner": "ada"},
        if_not_exists="create",
    )  # fmt: skip
    assert bob.threads.get(new)["metadata"]["owner"] == "bob"
    assert ada.threads.search(ids=[new]) == []


def test_nobody_becomes_another_by_what_a_run_is_configured_with(ada, bob):
    forged = {
        "langgraph_auth_user": {"identity": "ada", "is_authenticated": True},
        "langgraph_auth_user_id": "ada",
        "user_id": "ada",
    }
    question = {"question": "Who invented the harpsichord?"}
    bob.runs.wait(None, "brain", input=question, config={"configurable": forged})
    assert "harpsichord" in json.dumps(bob.store.search_items([], limit=100))
    assert "harpsichord" not in json.dumps(ada.store.search_items([], limit=100))


def test_a_copy_belongs_to_who_made_it(ada, bob):
    thread = ask(ada)["thread_id"]
    ada.threads.copy(thread)
    copies = ada.threads.search(metadata={"owner": "ada"}, limit=1000)
    assert len(copies) >= 2
    assert not {one["thread_id"] for one in copies} & {
        one["thread_id"] for one in bob.threads.search(limit=1000)
    }


def test_assistants_are_shared_only_where_they_came_with_the_server(ada, bob):
    (shipped,) = bob.assistants.search(metadata={"created_by": "system"})
    mine = ada.assistants.create("brain", context={"max_steps": 2}, name="mine")["assistant_id"]
    assert ask(ada, context=None)["provenance"] == "full"
    assert ada.runs.wait(None, mine, input={"question": SIMPLE})["steps"] <= 2
    for what in (
        lambda: bob.assistants.get(mine),
        lambda: bob.assistants.update(mine, name="taken"),
        lambda: bob.assistants.delete(mine),
        lambda: bob.runs.create(None, mine, input={"question": SIMPLE}),
        lambda: bob.assistants.create("brain", assistant_id=mine, if_exists="do_nothing"),
        lambda: bob.assistants.update(shipped["assistant_id"], context={"max_steps": 1}),
        lambda: bob.assistants.delete(shipped["assistant_id"]),
        lambda: bob.assistants.create("brain", metadata={"created_by": "system"}),
    ):
        refused(what, 403, 404, 409, 422)
    assert mine not in json.dumps(bob.assistants.search(limit=1000))
    assert mine in json.dumps(ada.assistants.search(limit=1000))


def test_memories_and_the_store_are_their_owners_alone(ada, bob):
    question = {"question": "What does okapi mean in zoology?"}
    ada.runs.wait(None, "brain", input=question)
    assert ada.runs.wait(None, "brain", input=question)["recalled"]
    assert bob.runs.wait(None, "brain", input=question)["recalled"] == []
    root = ["swarm-brain", "~40~ada~40~"]
    found = ada.store.search_items([], limit=100)["items"]
    assert found
    assert all(item["namespace"][:2] == root for item in found)
    key, place = found[0]["key"], found[0]["namespace"]
    assert ada.store.get_item(place, key)["value"]
    assert ada.store.search_items(["swarm-brain"])["items"]
    assert all(spot[:2] == root for spot in ada.store.list_namespaces()["namespaces"])
    for what in (
        lambda: bob.store.get_item(place, key),
        lambda: bob.store.delete_item(place, key),
        lambda: bob.store.put_item(place, "k", {"text": "poison"}),
        lambda: bob.store.put_item(["swarm-brain", "local", "default"], "k", {"text": "poison"}),
        lambda: bob.store.search_items(root),
        lambda: bob.store.list_namespaces(prefix=root),
        lambda: bob.store.put_item(["notes"], "k", {"text": "x"}),
    ):
        refused(what, 403)
    assert "okapi" not in json.dumps(bob.store.list_namespaces(suffix=["episodes"]))
    own = ["swarm-brain", "~40~bob~40~", "notes"]
    bob.store.put_item(own, "k", {"text": "x"})
    assert bob.store.get_item(own, "k")["value"] == {"text": "x"}
    bob.store.delete_item(own, "k")


def test_crons_are_their_owners_alone(ada, bob):
    cron = ada.crons.create("brain", schedule="0 0 1 1 *", input={"question": SIMPLE})
    assert cron["cron_id"] in json.dumps(ada.crons.search())
    assert bob.crons.search() == []
    refused(lambda: bob.crons.delete(cron["cron_id"]), 403, 404)
    thread = ask(ada)["thread_id"]
    refused(lambda: bob.crons.create_for_thread(thread, "brain", schedule="0 0 1 1 *"), 403, 404)
    ada.crons.delete(cron["cron_id"])


# ---- what a key may not set


@pytest.fixture(scope="module")
def thief() -> Iterator[Endpoint]:
    """An address to which the owner's key must never go."""
    with endpoint() as running:
        yield running


def failed(client: Any, **run: Any) -> str:
    """The words with which a run fails."""
    thread = client.threads.create()["thread_id"]
    with pytest.raises(Exception, match=r".") as caught:
        client.runs.wait(thread, "brain", **({"input": {"question": SIMPLE}} | run))
    return str(caught.value)


def test_the_owners_key_goes_to_no_other_address(ada, thief):
    stolen = {"model": "openai-compatible:m", "base_url": thief.url}
    assert "base_url" in failed(ada, context=stolen)
    assert "base_url" in failed(ada, config={"configurable": stolen})
    mine = ada.assistants.create("brain", context=stolen)["assistant_id"]
    with pytest.raises(Exception, match="base_url"):
        ada.runs.wait(None, mine, input={"question": SIMPLE})
    assert thief.headers == []


@pytest.mark.parametrize("way", ["update_state", "update", "update and go", "bulk"])
def test_nor_by_a_state_that_was_written_by_hand(ada, served, thief, way):
    thread = ada.threads.create()["thread_id"]
    ada.runs.wait(thread, "brain", input={"question": SIMPLE}, interrupt_before=["reasoning"])
    asked = len(served.bodies)
    kept = ada.threads.get_state(thread)["values"]
    theirs = {"model": "openai-compatible:m", "base_url": thief.url}
    stolen = {"settings": kept["settings"] | theirs}
    run: dict[str, Any] = {"input": None}
    match way:
        case "update_state":
            ada.threads.update_state(thread, stolen, as_node="perception")
        case "update":
            run = {"command": {"update": stolen}}
        case "update and go":
            run = {"command": {"update": stolen, "goto": "synthesis"}}
        case "bulk":
            steps = [{"updates": [{"values": kept | stolen, "as_node": "begin"}]}]
            thread = ada.threads.create(graph_id="brain", supersteps=steps)["thread_id"]
            assert ada.threads.get_state(thread)["next"]
    with pytest.raises(Exception, match="base_url"):
        ada.runs.wait(thread, "brain", **run)
    assert thief.headers == []
    assert len(served.bodies) == asked


def test_other_models_are_those_that_the_server_offers(ada, served):
    for context in (
        {"model": "openai-compatible:secret"},
        {"model": "embedded:/etc/passwd"},
        {"expert_models": {"synthesis": "huggingface:any/thing"}},
    ):
        assert "this server offers auto, openai-compatible:other" in failed(ada, context=context)
    assert "cache" in failed(ada, context={"cache": "sqlite"})
    result = ask(ada, context={"model": "openai-compatible:other"})
    assert (result["model"], served.bodies[-1]["model"]) == ("openai-compatible:other", "other")


def test_a_key_makes_the_server_call_no_address(ada, thief):
    thread = ada.threads.create()["thread_id"]
    address = thief.url.replace("127.0.0.1", "localhost")
    for url in (address, "http://169.254.169.254/", "/threads"):
        refused(
            lambda url=url: ada.runs.create(
                thread, "brain", input={"question": SIMPLE}, webhook=url
            ),
            403, 422,
        )  # fmt: skip
    assert thief.headers == []


# ---- limits


def test_requests_per_minute_are_kept_on_every_way_to_a_run(server):
    slow = sign_in(server, "slow")
    ask(slow)
    slow.runs.wait(None, "brain", input={"question": SIMPLE})
    headers = {"x-api-key": KEYS["slow"]}
    body = {"assistant_id": "brain", "input": {"question": SIMPLE}}
    for path, sent in (("/runs/wait", body), ("/runs/stream", body), ("/runs/batch", [body])):
        answer = httpx.post(server + path, json=sent, headers=headers)
        assert answer.status_code == 429, path
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert "2 requests per minute" in answer.text
    assert httpx.post(f"{server}/threads/search", json={}, headers=headers).status_code == 200


def test_a_day_is_kept_and_then_refused(server, served):
    """Of 900 tokens: a run that cannot be paid whole is shortened, the next ones are refused."""
    poor = sign_in(server, "poor")
    before = len(served.bodies)
    outcomes = []
    for _ in range(12):
        try:
            result = ask(poor)
        except httpx.HTTPStatusError as error:
            outcomes.append(error.response.status_code)
            break
        except Exception as error:  # noqa: BLE001  the run has failed
            outcomes.append(str(error))
            break
        outcomes.append(result["provenance"])
        assert result["usage"]["calls"] > 0
    assert "full" in outcomes or "degraded" in outcomes
    assert outcomes[-1] == 429 or "this day's allowance" in outcomes[-1]
    taken = sum(len(str(body["messages"]).encode()) // 4 for body in served.bodies[before:])
    assert taken < 900


def test_a_key_that_is_taken_away_is_refused_at_once(server, root):
    client = sign_in(server, "mayfly")
    thread = client.threads.create()["thread_id"]
    (root / "swarm-brain.toml").write_text(settings([n for n in KEYS if n != "mayfly"]))
    refused(lambda: client.threads.get(thread), 401)
    (root / "swarm-brain.toml").write_text("[keys")
    unreadable = httpx.post(f"{server}/threads/search", json={}, headers={"x-api-key": KEYS["ada"]})
    assert unreadable.status_code == 403
    assert "cannot be read" in unreadable.text
    assert "swarm-brain.toml" not in unreadable.text
    (root / "swarm-brain.toml").write_text(settings(list(KEYS)))
    assert client.threads.get(thread)["metadata"]["owner"] == "mayfly"


# ---- what is counted


def counted(server: str, name: str) -> float:
    """The sum over a metric's samples that begin so."""
    lines = httpx.get(f"{server}/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def test_the_servers_own_metrics_have_ours_and_name_no_owner(ada, server, served):
    runs, calls = ('swarm_brain_runs_total{provenance="full"', "swarm_brain_calls_total")
    before, sent = (counted(server, runs), counted(server, calls)), len(served.bodies)
    ask(ada)
    assert counted(server, runs) == before[0] + 1
    assert counted(server, calls) == before[1] + len(served.bodies) - sent
    synthesis = 'swarm_brain_latency_seconds_count{expert="synthesis",model="openai-compatible:m"}'
    assert counted(server, synthesis) > 0
    assert counted(server, "swarm_brain_tokens_total{") > 0
    told = httpx.get(f"{server}/metrics").text
    assert not [name for name in KEYS if f'"{name}"' in told]


# ---- where a key must not be


def test_no_key_is_in_states_logs_or_answers(ada, server, root):
    thread = ask(ada)["thread_id"]
    told = json.dumps(
        [
            ada.threads.get_history(thread),
            ada.threads.get(thread),
            ada.runs.list(thread),
            ada.assistants.search(limit=1000),
            ada.store.search_items([], limit=1000),
            httpx.get(f"{server}/metrics").text,
        ],
        default=str,
    )
    files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    kept = told.encode() + b"".join(path.read_bytes() for path in files)
    for key in [*KEYS.values(), CANARY]:
        assert key.encode() not in kept
