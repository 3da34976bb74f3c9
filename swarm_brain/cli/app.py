"""The commands of `swarm-brain`, registered in the order of its help."""

from __future__ import annotations

import logging
from typing import Annotated

import typer
from dotenv import find_dotenv, load_dotenv

from swarm_brain.cli import (
    ask,
    assistants,
    batch,
    chat,
    doctor,
    eval,
    graph,
    memory,
    models,
    serve,
    threads,
)
from swarm_brain.cli.options import MODEL, UNATTENDED, with_settings
from swarm_brain.graph.errors import ConfigError
from swarm_brain.version import __version__

app = typer.Typer(
    name="swarm-brain",
    help="Eight role-specialised LLM experts answer one question together.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command(cls=with_settings())(ask.ask)
app.command(cls=with_settings())(chat.chat)
app.command(cls=with_settings(without=UNATTENDED))(batch.batch)
app.command()(serve.serve)
app.command()(graph.graph)
app.command(cls=with_settings(only=MODEL))(doctor.doctor)
app.command()(assistants.assistants)
app.add_typer(threads.app, name="threads", no_args_is_help=True)
app.add_typer(memory.app, name="memory", no_args_is_help=True)
app.add_typer(models.app, name="models", no_args_is_help=True)
app.add_typer(eval.app, name="eval", no_args_is_help=True)


def _show_version(requested: bool) -> None:
    if requested:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def read_environment(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Read `.env` from this folder or one above it; set variables take precedence."""
    # The pool logs every failed attempt to reach a database; the session reports it once.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    path = find_dotenv(usecwd=True)
    try:
        load_dotenv(path)
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text.") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
