"""The real `langgraph dev` process, spoken to with langgraph-sdk as Studio does."""

from __future__ import annotations

import asyncio
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_client, get_sync_client

from swarm_brain.graph.context import Context
from swarm_brain.graph.state import BrainOutput
from tests.integration.processes import CANARY, REPO, healthy
from tests.integration.studio.dev_server import ANSWER, HARD, SIMPLE, dev, fresh_root

WAVES = [
    ["begin"],
    ["attention", "memory", "perception"],
    ["analytical", "creative", "reasoning"],
    ["synthesis"],
    ["meta_cognitive"],
    ["finish"],
]


def test_graph_is_named_brain_and_context_is_documented(client):
    (assistant,) = client.assistants.search()
    assert (assistant["graph_id"], assistant["name"]) == ("brain", "brain")
    schemas = client.assistants.get_schemas(assistant["assistant_id"])
    fields = schemas["context_schema"]["properties"]
    assert set(fields) == set(Context.model_fields)
    assert all(field["description"] for field in fields.values())
    assert set(schemas["input_schema"]["properties"]) == {"question", "messages"}
    assert set(schemas["output_schema"]["properties"]) == set(BrainOutput.__annotations__)
    nodes = {node["id"] for node in client.assistants.get_graph("brain")["nodes"]}
    assert {name for wave in WAVES for name in wave} <= nodes


def test_run_gives_the_documented_output(client, served):
    before = len(served.bodies)
    thread = client.threads.create()["thread_id"]
    result = client.runs.wait(thread, "brain", input={"question": HARD})
    assert set(result) == set(BrainOutput.__annotations__)
    assert result["final_output"] == ANSWER
    assert (result["provenance"], result["model"]) == ("full", "openai-compatible:m")
    assert result["thread_id"] == thread
    assert result["usage"]["calls"] == len(served.bodies) - before == 8
    assert [message["type"] for message in result["messages"]] == ["human", "ai"]


def test_conversation_goes_on_in_a_thread(client, served):
    thread = client.threads.create()["thread_id"]
    for question in ("What does Ada mean?", SIMPLE):
        said = {"messages": [{"role": "user", "content": question}]}
        result = client.runs.wait(thread, "brain", input=said)
    assert result["usage"]["calls"] == 3
    assert len(result["messages"]) == 4
    assert "What does Ada mean?" in served.script.of("reasoning")[-1]["user"]


def test_context_of_a_run_is_honoured_and_checked(client, served):
    result = client.runs.wait(
        None, "brain", input={"question": HARD}, context={"max_steps": 2, "temperature": 0.1}
    )
    assert (result["steps"], result["stop_reason"]) == (2, "max_steps")
    assert served.bodies[-1]["temperature"] == 0.1
    asked = len(served.bodies)
    with pytest.raises(Exception, match="max_steps"):
        client.runs.wait(None, "brain", input={"question": HARD}, context={"max_steps": 0})
    assert len(served.bodies) == asked


def test_blank_question_is_an_error_before_any_call_and_spoils_no_thread(client, served):
    asked = len(served.bodies)
    thread = client.threads.create()["thread_id"]
    with pytest.raises(Exception, match="question is empty"):
        client.runs.wait(thread, "brain", input={"question": "  "})
    assert len(served.bodies) == asked
    result = client.runs.wait(thread, "brain", input={"question": SIMPLE})
    assert result["final_output"] == ANSWER


def test_steps_through_the_eight_experts_superstep_by_superstep(client, served):
    before = len(served.bodies)
    thread = client.threads.create()["thread_id"]
    waves, answered, given = [], [], {"question": HARD}
    while True:
        client.runs.wait(thread, "brain", input=given, interrupt_before="*")
        state = client.threads.get_state(thread)
        answered.append(len(served.bodies) - before)
        given = None
        if not state["next"]:
            break
        waves.append(sorted(state["next"]))
        assert len(waves) < 10
    assert [sorted(set(wave) - {"finish"}) or wave for wave in waves] == WAVES
    assert answered == [0, 0, 3, 6, 7, 8, 8]  # nothing is asked before its step, nor twice
    assert state["values"]["final_output"] == ANSWER
    assert state["values"]["provenance"] == "full"
    assert state["values"]["usage"]["calls"] == 8
    assert CANARY not in json.dumps(client.threads.get_history(thread, limit=20))


def test_stream_modes_deliver(client, served):
    modes = ["updates", "messages-tuple", "custom", "values"]
    parts = [
        (part.event, part.data)
        for part in client.runs.stream(
            None, "brain", input={"question": HARD}, stream_mode=modes
        )
    ]  # fmt: skip
    assert not [data for event, data in parts if event == "error"]
    updated = [name for event, data in parts if event == "updates" for name in data]
    assert updated[0] == "begin"
    assert updated[-1] == "finish"
    assert sorted(updated[1:-1]) == sorted(name for wave in WAVES[1:-1] for name in wave)
    custom = [data for event, data in parts if event == "custom"]
    assert sum(event["event"] == "woken" for event in custom) == 8
    assert sum(event["event"] == "answered" for event in custom) == 8
    chunks = [data for event, data in parts if event == "messages"]
    said = [m["content"] for m, meta in chunks if meta["langgraph_node"] == "synthesis"
            and m["type"] == "AIMessageChunk"]  # fmt: skip
    assert len([word for word in said if word]) == len(ANSWER.split(" "))  # token by token
    assert "".join(said).strip() == ANSWER
    assert parts[-1][0] == "values"
    assert parts[-1][1]["final_output"] == ANSWER


def test_runs_do_not_wait_for_each_other(server, served):
    """Ten workers: four questions at once, each told apart."""
    served.script.says["synthesis"] = lambda request: request["user"].split("\n")[1]
    questions = [f"What does word-{n} mean?" for n in range(4)]

    async def ask_all() -> list[Any]:
        client = get_client(url=server)
        runs = [client.runs.wait(None, "brain", input={"question": q}) for q in questions]
        return await asyncio.gather(*runs)

    results = asyncio.run(ask_all())
    assert [result["final_output"] for result in results] == questions


@pytest.mark.slow
def test_env_file_names_the_model_and_nothing_secret_is_stored(tmp_path: Path, served):
    """The example, copied and filled in as its first line says."""
    example = (REPO / ".env.example").read_text()
    for name, value in {"HYPERBOLIC_API_KEY": CANARY, "HYPERBOLIC_API_URL": served.url}.items():
        example, lines = re.subn(rf"(?m)^#? ?{name}=.*$", f"{name}={value}", example)
        assert lines == 1
    root = fresh_root(tmp_path)
    (root / ".env").write_text(example)
    with dev(root) as url:
        client = get_sync_client(url=url)
        thread = client.threads.create()["thread_id"]
        result = client.runs.wait(thread, "brain", input={"question": SIMPLE})
        stored = json.dumps([client.threads.get_history(thread), client.assistants.search()])
    assert result["model"].startswith("hyperbolic:")
    assert result["provenance"] == "full"
    assert served.headers[-1]["authorization"] == f"Bearer {CANARY}"
    assert CANARY not in stored
    assert CANARY not in (root / "server.log").read_text()


@pytest.mark.slow
def test_example_as_it_is_leaves_exported_variables_alone_and_the_server_ends(tmp_path: Path):
    """What `make dev` does on a fresh machine: the example is copied and nothing filled in."""
    root = fresh_root(tmp_path)
    (root / ".env").write_text((REPO / ".env.example").read_text())
    with dev(root, SWARM_BRAIN_MODEL="simulation:") as url:
        result = get_sync_client(url=url).runs.wait(None, "brain", input={"question": HARD})
        assert (result["model"], result["provenance"]) == ("simulation:", "simulated")
        told = time.monotonic()
    assert time.monotonic() - told < 10
    assert not healthy(f"{url}/ok")


# ---- memory and pauses, by the store and the checkpointer that the server injects


def test_a_new_thread_recalls_what_another_has_learned(client):
    question = {"question": "What does zebroid mean in zoology?"}
    first = run(client, question)
    again = run(client, question)
    assert first["recalled"] == []
    (recalled,) = again["recalled"]
    assert recalled["score"] == pytest.approx(1, abs=1e-3)
    assert first["thread_id"] in recalled["origin"]
    assert again["notes"] == []
    assert run(client, {"question": "Who bakes sourdough bread?"})["recalled"] == []


def test_what_calls_took_is_not_kept_once_a_run_has_ended(client):
    before = kept(client)
    result = run(client, {"question": HARD})
    assert kept(client) == before
    places = client.store.list_namespaces(prefix=["swarm-brain"])["namespaces"]
    assert ["swarm-brain", "local", "default", "episodes"] in places
    assert result["usage"]["calls"] == 8


def kept(client: Any) -> list[str]:
    """The keys of what calls have reserved and spent."""
    found = client.store.search_items(["swarm-brain", "local", "calls"], limit=1000)["items"]
    return sorted(item["key"] for item in found)


def test_a_pause_is_answered_through_the_api(client, served):
    asked = len(served.script.of("creative"))
    thread = client.threads.create()["thread_id"]
    client.runs.wait(
        thread, "brain", input={"question": HARD}, context={"pause_before": ["creative"]}
    )
    state = client.threads.get_state(thread)
    (pause,) = [found for task in state["tasks"] for found in task["interrupts"]]
    assert pause["value"]["expert"] == "creative"
    assert HARD in pause["value"]["sees"]
    assert len(served.script.of("creative")) == asked
    result = client.runs.wait(
        thread, "brain", command={"resume": {"action": "edit", "sees": "Think of eels."}}
    )
    assert result["provenance"] == "full"
    assert served.script.of("creative")[-1]["user"] == "Think of eels."


def run(client: Any, question: dict[str, str]) -> Any:
    """The result of a question in a thread of its own."""
    return client.runs.wait(client.threads.create()["thread_id"], "brain", input=question)
