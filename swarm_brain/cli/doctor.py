"""`doctor`: check the installation, and say what to fix."""

from __future__ import annotations

import asyncio

import typer

from swarm_brain.cli.console import ANSWERED, ERROR
from swarm_brain.cli.options import settings_of


def doctor(context: typer.Context) -> None:
    """Check key, endpoint, model and versions, and say what to fix."""
    from swarm_brain.cli.terminal.checks import examine  # imports LangChain, which is slow

    settings = settings_of(context)
    answers = asyncio.run(examine(settings.get("model", "auto"), settings.get("base_url")))
    raise typer.Exit(ANSWERED if answers else ERROR)
