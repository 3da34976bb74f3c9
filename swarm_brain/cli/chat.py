"""`chat`: ask many questions in one thread."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from swarm_brain.cli.console import err
from swarm_brain.cli.terminal.text import name_given
from swarm_brain.graph.errors import ConfigError


def chat(
    thread: Annotated[
        str | None,
        typer.Option(help="Go on in this thread; a new name begins one.", callback=name_given),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Who answers, as provider:model.")] = None,
    base_url: Annotated[
        str | None, typer.Option(help="Address of the endpoint for openai-compatible:.")
    ] = None,
    effort: Annotated[str | None, typer.Option(help="auto, low or high.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens of one reply at most.")] = None,
    budget_tokens: Annotated[
        int | None, typer.Option(help="Tokens each answer may take; a hard limit.")
    ] = None,
    budget_usd: Annotated[
        float | None, typer.Option(help="Dollars each answer may cost; a hard limit.")
    ] = None,
    topology: Annotated[str, typer.Option(help="A shipped topology or a YAML file.")] = "eight",
    no_save: Annotated[
        bool,
        typer.Option("--no-save", help="Leave no trace: keep no thread, use no memory."),
    ] = False,
) -> None:
    """Talk with the experts: many questions in one thread. /help lists the commands."""
    from swarm_brain.cli.terminal.conversation import converse  # imports LangGraph, which is slow

    if thread is not None and no_save:
        raise ConfigError("--thread keeps the run, --no-save does not: give one of them.")
    settings = {
        "model": model,
        "base_url": base_url,
        "effort": effort,
        "max_tokens": max_tokens,
        "budget_tokens": budget_tokens,
        "budget_usd": budget_usd,
        "use_memory": not no_save,
    }
    given = {name: value for name, value in settings.items() if value is not None}
    asyncio.run(converse(thread, topology, given, err, save=not no_save))
