"""What Studio does, by the API it does it with: picture, forms, editing, forks, time travel."""

from __future__ import annotations

import json
from typing import Any

import pytest

from swarm_brain.config import VARIABLES
from swarm_brain.graph.brain import graph
from swarm_brain.graph.context import Context
from swarm_brain.graph.loading import load
from swarm_brain.graph.state import BrainInput, BrainOutput, BrainState
from tests.integration.processes import CANARY
from tests.integration.studio.dev_server import ANSWER, HARD, SIMPLE
from tests.unit.graph.test_events import checked

EXPERTS = load().experts


@pytest.fixture(scope="module")
def schemas(server: str) -> Any:
    from langgraph_sdk import get_sync_client

    client = get_sync_client(url=server, api_key=None)
    (assistant,) = client.assistants.search(metadata={"created_by": "system"})
    return client.assistants.get_schemas(assistant["assistant_id"])


# ---- the picture and the forms


def test_the_picture_says_who_wakes_whom_and_when(client):
    drawn = client.assistants.get_graph("brain")
    assert set(EXPERTS) <= {node["id"] for node in drawn["nodes"]}
    between = {
        (edge["source"], edge["target"]): edge["data"]
        for edge in drawn["edges"]
        if edge["source"] in EXPERTS and edge["target"] in EXPERTS
    }
    wakings = {(e.source, name) for name, expert in EXPERTS.items() for e in expert.woken_by}
    revision = ("meta_cognitive", "synthesis")
    assert set(between) == {pair for pair in wakings if pair[0] != "begin"} | {revision}
    assert between["attention", "creative"] == "creative: 1 x salience x gate, high effort"
    assert between["perception", "reasoning"] == "reasoning: 1 x salience, low effort"
    assert between[revision] == "quoted defect"
    assert all(edge["conditional"] for edge in drawn["edges"] if edge["source"] in EXPERTS
               and edge["target"] in EXPERTS)  # fmt: skip


@pytest.mark.parametrize(
    ("which", "form"),
    [("input_schema", BrainInput), ("output_schema", BrainOutput), ("state_schema", BrainState)],
)
def test_every_field_says_what_it_holds(schemas, which, form):
    fields = schemas[which]["properties"]
    names = {*form.__annotations__, *(BrainOutput.__annotations__ if form is BrainState else ())}
    assert set(fields) == names
    silent = [name for name, field in fields.items() if not field.get("description")]
    # A channel for one superstep shows its type alone in the state; the input describes it.
    assert silent == (["question"] if form is BrainState else [])


def test_settings_are_a_form_for_somebody_who_has_read_nothing(schemas):
    fields = schemas["context_schema"]["properties"]
    assert list(fields) == list(Context.model_fields)  # the most used first
    assert list(fields)[:3] == ["model", "effort", "budget_usd"]
    assert len({field["title"] for field in fields.values()}) == len(fields)
    for name, field in fields.items():
        assert field["description"].endswith("."), name
        assert "default" in field or name == "expert_models", name
    assert fields["effort"]["enum"] == ["auto", "low", "high"]
    assert fields["without"]["items"]["enum"] == list(EXPERTS)
    assert fields["pause_before"]["items"]["enum"] == list(EXPERTS)
    assert fields["expert_models"]["propertyNames"]["enum"] == list(EXPERTS)
    assert fields["max_revisions"]["langgraph_nodes"] == ["meta_cognitive"]


def test_no_setting_is_a_secret(schemas):
    words = {"key", "secret", "password", "token", "credential", "authorization"}
    for name in schemas["context_schema"]["properties"]:
        assert not words & set(name.split("_")), name
    keys = [name for name in VARIABLES if name.endswith("_KEY")]
    assert keys
    assert not set(map(str.lower, keys)) & set(Context.model_fields)
    assert CANARY not in json.dumps(schemas)


# ---- editing, forking, time travel, breakpoints


def asked_hard(client: Any) -> str:
    thread: str = client.threads.create()["thread_id"]
    client.runs.wait(thread, "brain", input={"question": HARD})
    return thread


def before(client: Any, thread: str, node: str) -> Any:
    """The thread's last state in which this node was about to run."""
    history = client.threads.get_history(thread, limit=30)
    return next(state for state in history if node in state["next"])


def signal_of(state: Any, name: str) -> dict[str, Any]:
    return next(s for s in state["values"]["signals"] if s["source"] == name)


def test_an_edited_signal_is_what_the_fork_goes_on_with(client, served):
    """A draft is rewritten at the checkpoint before synthesis, and the run goes on from there."""
    thread = asked_hard(client)
    asked = {name: len(served.script.of(name)) for name in EXPERTS}
    past = before(client, thread, "synthesis")
    edited = {**signal_of(past, "creative"), "content": "Eels, surely.\nVerdict: eels"}
    client.threads.update_state(
        thread, {"signals": [edited]}, checkpoint=past["checkpoint"], as_node="creative"
    )
    assert client.threads.get_state(thread)["next"] == ["synthesis"]
    result = client.runs.wait(thread, "brain", input=None)
    assert "Eels, surely." in served.script.of("synthesis")[-1]["user"]
    again = {name: len(served.script.of(name)) - asked[name] for name in EXPERTS}
    assert {name for name, more in again.items() if more} == {"synthesis", "meta_cognitive"}
    assert result["provenance"] == "full"
    state = client.threads.get_state(thread)
    assert signal_of(state, "creative")["content"] == edited["content"]


def test_a_past_checkpoint_is_run_again_without_what_came_after(client, served):
    thread = asked_hard(client)
    past = before(client, thread, "reasoning")
    assert {s["source"] for s in past["values"]["signals"]} == {
        "perception", "attention", "memory"
    }  # fmt: skip
    served.script.says["reasoning"] = "Another day, another subject.\nVerdict: 43"
    asked = len(served.bodies)
    result = client.runs.wait(thread, "brain", input=None, checkpoint=past["checkpoint"])
    assert len(served.bodies) - asked == 5  # three drafts, synthesis, critic
    assert result["agreement"] == pytest.approx(2 / 3, abs=1e-3)
    assert len(result["messages"]) == 2


def test_a_copied_thread_goes_its_own_way(client, served):
    thread = asked_hard(client)
    copy = client.threads.copy(thread)["thread_id"]
    result = client.runs.wait(copy, "brain", input={"question": SIMPLE})
    assert len(result["messages"]) == 4
    assert len(client.threads.get_state(thread)["values"]["messages"]) == 2


def test_a_breakpoint_on_one_expert(client, served):
    thread = client.threads.create()["thread_id"]
    asked = len(served.script.of("creative"))
    client.runs.wait(thread, "brain", input={"question": HARD}, interrupt_before=["creative"])
    state = client.threads.get_state(thread)
    assert "creative" in state["next"]
    assert len(served.script.of("creative")) == asked
    result = client.runs.wait(thread, "brain", input=None)
    assert result["provenance"] == "full"
    assert len(served.script.of("creative")) == asked + 1
    assert result["usage"]["calls"] == 8


# ---- streams


def streamed(client: Any, question: str, *modes: str, **options: Any) -> list[tuple[str, Any]]:
    stream = client.runs.stream(
        None, "brain", input={"question": question}, stream_mode=list(modes), **options
    )
    return [(part.event, part.data) for part in stream]


def test_events_of_a_server_are_those_of_the_local_graph(client, served, monkeypatch):
    """Activations, broadcasts and budget, each in the form that graph.events states."""
    monkeypatch.setenv("OPENAI_COMPATIBLE_BASE_URL", served.url)
    context: Any = {"model": "openai-compatible:m", "budget_tokens": 90_000}
    there = checked(
        data for event, data in streamed(client, HARD, "custom", context=context)
        if event == "custom"
    )  # fmt: skip
    here = checked(graph.stream({"question": HARD}, context=context, stream_mode="custom"))
    kinds = sorted((event["event"], event.get("expert", "")) for event in there)
    assert kinds == sorted((event["event"], event.get("expert", "")) for event in here)
    assert [event["event"] for event in there].count("broadcast") == 3
    spent = [event["spent"]["tokens"] for event in there if event["event"] == "budget"]
    assert 0 < spent[-1] < 90_000


def test_values_are_small(client, served):
    """An answer of usual length: the trace is in the thread's state, not in every value."""
    for name in ("reasoning", "creative", "analytical", "synthesis", "perception"):
        served.script.says[name] = "a usual word " * 150
    values = [data for event, data in streamed(client, HARD, "values") if event == "values"]
    sizes = [len(json.dumps(value)) for value in values]
    assert len(sizes) <= 4
    assert sum(sizes) < 16_000
    assert values[-1]["final_output"]


def test_chat_mode_shows_the_answer_once_and_as_it_is_written(client, served):
    """Studio's chat: `messages` in, the answer's tokens out, one message for each turn kept."""
    thread = client.threads.create()["thread_id"]
    for turn, question in enumerate(("What does Ada mean?", SIMPLE), 1):
        said = {"messages": [{"role": "user", "content": question}]}
        modes = ["messages-tuple", "values"]
        parts = list(client.runs.stream(thread, "brain", input=said, stream_mode=modes))
        tokens = [
            part.data[0]["content"]
            for part in parts
            if part.event == "messages" and part.data[1]["langgraph_node"] == "synthesis"
            and part.data[0]["type"] == "AIMessageChunk"
        ]  # fmt: skip
        assert "".join(tokens).strip() == ANSWER
        kept = client.threads.get_state(thread)["values"]["messages"]
        assert [m["type"] for m in kept] == ["human", "ai"] * turn
        assert kept[-1]["content"] == ANSWER
        assert len({m["id"] for m in kept}) == len(kept)
