"""The presets as assistants of a LangGraph server: settings under a name, for Studio and clients.

Each assistant is also a tool of the server's MCP endpoint and has an A2A address of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from langgraph_sdk.client import LangGraphClient

from swarm_brain.presets import Preset
from swarm_brain.remote import GRAPH

__all__ = ["publish"]

PREFIX = "swarm-brain-"  # as the models of the OpenAI-compatible endpoint are called
Outcome = Literal["created", "updated", "unchanged"]


async def publish(client: LangGraphClient, presets: Iterable[Preset]) -> dict[str, Outcome]:
    """Create these presets' assistants, or bring them up to date; assistant's name to outcome.

    Known by their metadata: one that somebody has made by hand under the same name is left alone.
    """
    return {PREFIX + preset.name: await _publish(client, preset) for preset in presets}


async def _publish(client: LangGraphClient, preset: Preset) -> Outcome:
    mark = {"swarm_brain_preset": preset.name}
    found = await client.assistants.search(metadata=mark, graph_id=GRAPH, limit=1)
    wanted: dict[str, Any] = {
        "name": PREFIX + preset.name,
        "description": preset.description,
        "context": preset.settings,
    }
    if not found:
        await client.assistants.create(GRAPH, metadata=mark, **wanted)
        return "created"
    there: Any = found[0]
    if {key: there.get(key) for key in wanted} == wanted:
        return "unchanged"
    await client.assistants.update(there["assistant_id"], graph_id=GRAPH, **wanted)
    return "updated"
