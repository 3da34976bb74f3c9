"""The server's other doors: MCP and A2A by their own clients, and the presets as assistants."""

from __future__ import annotations

import ast
from typing import Any

import httpx
import pytest
from a2a.client import A2ACardResolver, ClientConfig, create_client
from a2a.types import Message, Part, Role, SendMessageRequest, TaskState
from mcp import Client
from typer.testing import CliRunner

from swarm_brain.cli.app import app
from swarm_brain.graph.errors import ServerError
from swarm_brain.graph.loading import load
from swarm_brain.presets import PRESETS
from tests.integration.studio.dev_server import ANSWER, HARD, SIMPLE

EXPERTS = load().experts


# ---- MCP


async def test_mcp_offers_one_tool_that_says_what_it_does(server):
    async with Client(f"{server}/mcp") as mcp:
        (tool,) = [tool for tool in (await mcp.list_tools()).tools if tool.name == "brain"]
    assert "experts answer one question together" in (tool.description or "")
    fields = tool.input_schema["properties"]
    assert set(fields) == {"question", "messages"}
    assert all(field["type"] == "string" and field["description"] for field in fields.values())
    assert tool.input_schema["description"]


@pytest.mark.parametrize("argument", ["question", "messages"])
async def test_mcp_answers(server, served, argument):
    async with Client(f"{server}/mcp") as mcp:
        answer = await mcp.call_tool("brain", {argument: HARD})
    assert not answer.is_error
    (said,) = answer.content
    result = ast.literal_eval(said.text)  # the server prints the output as Python does
    assert result["final_output"] == ANSWER
    assert result["provenance"] == "full"
    assert len(result["experts"]) == 8


async def test_mcp_says_what_is_wrong_with_a_question(server):
    async with Client(f"{server}/mcp") as mcp:
        answer = await mcp.call_tool("brain", {"question": "  "})
    assert answer.is_error
    assert answer.content[0].text == "BlankQuestion"  # the server tells no more than the name


# ---- A2A


async def test_a2a_introduces_itself_and_answers(server, served, client):
    (assistant,) = client.assistants.search(metadata={"created_by": "system"})
    path = f"/.well-known/agent-card.json?assistant_id={assistant['assistant_id']}"
    async with httpx.AsyncClient(timeout=60) as http:
        card = await A2ACardResolver(http, server, agent_card_path=path).get_agent_card()
        assert card.name == "brain"
        assert "experts answer one question together" in card.description
        # Not streaming: the server's updates have a form that this client reads as empty.
        agent = await create_client(card, ClientConfig(httpx_client=http, streaming=False))
        said, context = [], None
        for question in ("What does Ada mean?", SIMPLE):
            message = Message(
                message_id=question, role=Role.ROLE_USER, parts=[Part(text=question)],
                context_id=context,
            )  # fmt: skip
            request = SendMessageRequest(message=message)
            (event,) = [event async for event in agent.send_message(request)]
            assert event.task.status.state == TaskState.TASK_STATE_COMPLETED
            said.append(event.task.artifacts[0].parts[0].text)
            context = event.task.context_id
    assert said == [ANSWER, ANSWER]
    assert "What does Ada mean?" in served.script.of("reasoning")[-1]["user"]  # one thread


# ---- assistants


def publish(url: str) -> list[str]:
    """What `swarm-brain assistants` says."""
    done = CliRunner().invoke(app, ["assistants", "--url", url])
    if done.exception:
        raise done.exception
    return done.stdout.splitlines()


@pytest.fixture
def assistants(server, client):
    """The presets on the server; none is left behind."""
    yield publish(server)
    for found in mine(client):
        client.assistants.delete(found["assistant_id"])


def mine(client: Any) -> list[Any]:
    found = client.assistants.search(limit=100)
    return [one for one in found if "swarm_brain_preset" in one["metadata"]]


def test_presets_are_created_once_and_kept_up_to_date(server, client, assistants):
    assert assistants == [f"swarm-brain-{name}: created" for name in PRESETS]
    again = publish(server)
    assert again == [f"swarm-brain-{name}: unchanged" for name in PRESETS]
    fast = next(one for one in mine(client) if one["name"] == "swarm-brain-fast")
    assert fast["version"] == 1
    client.assistants.update(fast["assistant_id"], context={"effort": "high"})
    mended = publish(server)
    assert mended[0] == "swarm-brain-fast: updated"
    assert {one["name"] for one in mine(client)} == {f"swarm-brain-{name}" for name in PRESETS}
    for one in mine(client):
        preset = PRESETS[one["metadata"]["swarm_brain_preset"]]
        assert (one["context"], one["description"]) == (preset.settings, preset.description)


async def test_an_assistant_answers_with_its_settings_and_is_a_tool(server, client, assistants):
    few = {"perception", "reasoning", "synthesis"}
    calls = {
        "swarm-brain-fast": few,
        "swarm-brain-thorough": set(EXPERTS),
        "swarm-brain-cheap": few,
    }
    for one in mine(client):
        result = client.runs.wait(None, one["assistant_id"], input={"question": HARD})
        asked = {expert["name"] for expert in result["experts"]}
        assert asked | {"memory"} == calls[one["name"]] | {"memory"}, one["name"]
    async with Client(f"{server}/mcp") as mcp:
        tools = {tool.name: tool.description for tool in (await mcp.list_tools()).tools}
        assert set(tools) == {"brain", *calls}
        assert tools["swarm-brain-fast"] == PRESETS["fast"].description
        answer = await mcp.call_tool("swarm-brain-fast", {"question": HARD})
    assert ast.literal_eval(answer.content[0].text)["effort"] == "low"


def test_a_server_that_is_not_there_is_told():
    with pytest.raises(ServerError, match="cannot be reached"):
        publish("http://127.0.0.1:9")
