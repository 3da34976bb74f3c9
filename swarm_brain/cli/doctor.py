"""`doctor`: check the installation, and say what to fix."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from swarm_brain.cli.console import ANSWERED, ERROR


def doctor(
    model: Annotated[str, typer.Option(help="Check this model, as provider:model.")] = "auto",
    base_url: Annotated[
        str | None, typer.Option(help="Address of the endpoint for openai-compatible:.")
    ] = None,
) -> None:
    """Check key, endpoint, model and versions, and say what to fix."""
    from swarm_brain.cli.terminal.checks import examine  # imports LangChain, which is slow

    raise typer.Exit(ANSWERED if asyncio.run(examine(model, base_url)) else ERROR)
