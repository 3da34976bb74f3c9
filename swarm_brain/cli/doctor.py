"""`doctor`: check the installation, and say what to fix."""

from __future__ import annotations

import asyncio

import typer

from swarm_brain.cli.console import ANSWERED, ERROR
from swarm_brain.cli.options import settings_of


def doctor(context: typer.Context) -> None:
    """Check the installation, key, endpoint and model, and say what to fix."""
    from swarm_brain.cli.terminal.checks import examine  # imports LangChain, which is slow

    raise typer.Exit(ANSWERED if asyncio.run(examine(settings_of(context))) else ERROR)
