"""`chat`: ask many questions in one thread."""

from __future__ import annotations

import asyncio

import typer

from swarm_brain.cli.console import err
from swarm_brain.cli.options import SHIPPED, NoSave, Thread, Topology, settings_of
from swarm_brain.graph.errors import ConfigError


def chat(
    context: typer.Context,
    thread: Thread = None,
    no_save: NoSave = False,
    topology: Topology = None,
) -> None:
    """Ask many questions in one thread, interactively."""
    from swarm_brain.cli.terminal.conversation import converse  # imports LangGraph, which is slow

    if thread is not None and no_save:
        raise ConfigError("--thread and --no-save cannot be combined.")
    settings = settings_of(context)
    if no_save:
        settings["use_memory"] = False
    asyncio.run(converse(thread, topology or SHIPPED, settings, err, save=not no_save))
