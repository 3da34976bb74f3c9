"""`models`: list the models, or fetch the embedded one."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from swarm_brain.cli.console import err

app = typer.Typer(help="List models, or fetch the embedded one.")


@app.command("list")
def list_() -> None:
    """List providers and models, and the one that would answer now."""
    from swarm_brain.cli.terminal.models import show  # imports LangChain, which is slow

    show(Console())


@app.command()
def pull(
    spec: Annotated[str, typer.Argument(help="For example embedded:smollm2-135m.")],
) -> None:
    """Fetch a model's weights and print their path."""
    from swarm_brain.cli.terminal.models import fetch_shown  # imports LangChain, which is slow

    typer.echo(str(fetch_shown(spec, err)))
