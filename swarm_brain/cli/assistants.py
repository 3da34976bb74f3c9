"""`assistants`: make the presets choosable in Studio, on a LangGraph server.

Imports inside functions keep LangGraph out of `--help` and of completion.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

LOCAL = "http://127.0.0.1:2024"  # where `langgraph dev` listens


def assistants(
    url: Annotated[str, typer.Option(help="Address of the LangGraph server.")] = LOCAL,
) -> None:
    """Create or update the presets (fast, thorough, cheap) as assistants on a server."""
    for name, outcome in asyncio.run(_publish(url)).items():
        typer.echo(f"{name}: {outcome}")


async def _publish(url: str) -> dict[str, str]:
    from swarm_brain.assistants import publish
    from swarm_brain.presets import PRESETS
    from swarm_brain.remote import connect, translated

    brain = connect(url)
    assert brain.client  # noqa: S101  `connect` has made it
    with translated(brain.url):
        return dict(await publish(brain.client, PRESETS.values()))
