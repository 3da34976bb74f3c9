"""Publish the presets as assistants of a LangGraph server.

Each assistant is also a tool of the server's MCP endpoint and has an A2A address of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from langgraph_sdk.client import LangGraphClient

from swarm_brain.presets import Preset
from swarm_brain.remote import GRAPH

__all__ = ["publish"]

PREFIX = "swarm-brain-"  # the models of the OpenAI-compatible endpoint have the same names
Outcome = Literal["created", "updated", "unchanged"]


async def publish(client: LangGraphClient, presets: Iterable[Preset]) -> dict[str, Outcome]:
    """Create or update these presets' assistants; return each outcome by name.

    They are recognised by their metadata. An assistant that somebody made by hand under the same
    name is left alone.
    """
    return {PREFIX + preset.name: await _publish(client, preset) for preset in presets}


async def _publish(client: LangGraphClient, preset: Preset) -> Outcome:
    mark = {"swarm_brain_preset": preset.name}
    name, description, settings = PREFIX + preset.name, preset.description, preset.settings
    existing = await client.assistants.search(metadata=mark, graph_id=GRAPH, limit=1)
    if not existing:
        await client.assistants.create(
            GRAPH, metadata=mark, name=name, description=description, context=settings
        )
        return "created"
    first = existing[0]
    now = first["name"], first.get("description"), first.get("context")
    if now == (name, description, settings):
        return "unchanged"
    await client.assistants.update(
        first["assistant_id"], graph_id=GRAPH, name=name, description=description, context=settings
    )
    return "updated"
