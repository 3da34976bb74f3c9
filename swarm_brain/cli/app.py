"""Commands and options, exit codes, and how errors are told."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from swarm_brain.cli.terminal.text import printable
from swarm_brain.graph.errors import BlankQuestion, BrainError, ConfigError, NotText
from swarm_brain.version import __version__

ANSWERED, ERROR, USAGE, SIMULATED, PAUSED = 0, 1, 2, 3, 4

app = typer.Typer(
    name="swarm-brain",
    help="Eight role-specialised LLM experts answer one question together.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
models_app = typer.Typer(help="Models: which there are, and fetching the embedded one.")
app.add_typer(models_app, name="models", no_args_is_help=True)

err = Console(stderr=True, highlight=False)
_debug = False


def show_tracebacks() -> None:
    """From now on errors on purpose are raised to the end, for whoever looks for their cause."""
    global _debug
    _debug = True


def run() -> None:
    """Run the command line; every error on purpose becomes a message and an exit code."""
    try:
        app()
    except BrainError as error:
        if _debug:
            raise
        raise SystemExit(fail(error)) from None
    except OSError as error:
        if _debug:
            raise
        err.print(f"[bold red]Error:[/] {_escape(str(error))}", soft_wrap=True)
        raise SystemExit(ERROR) from None
    except KeyboardInterrupt:
        err.print("Interrupted.")
        raise SystemExit(ERROR) from None


def fail(error: BrainError) -> int:
    """Say what is wrong; the exit code for it."""
    err.print(f"[bold red]Error:[/] {_escape(printable(str(error)))}", soft_wrap=True)
    return USAGE if isinstance(error, ConfigError | BlankQuestion | NotText) else ERROR


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _setup(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Read `.env` from this folder or one above it; what the environment says goes first."""
    from dotenv import find_dotenv, load_dotenv

    # It tells every attempt to reach a server that is gone; the session tells it once.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    path = find_dotenv(usecwd=True)
    try:
        load_dotenv(path)
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text.") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None


def _spent(usage: dict[str, Any]) -> str:
    tokens = (usage["input_tokens"] or 0) + (usage["output_tokens"] or 0)
    return f"{usage['calls']} finished calls and {tokens:,} tokens; calls under way are not counted"


def _interrupted(failed: dict[str, Any], going_on: str) -> str:
    return printable(f"Interrupted after {_spent(failed['usage'])}. {going_on}".rstrip())


def outcome(
    work: Coroutine[Any, Any, dict[str, Any] | None], as_json: bool, progress: dict[str, Any]
) -> int:
    """Run to a result and print it if it is wanted as JSON; the exit code it makes."""
    from swarm_brain.cli.ask import failed_result, paused_result

    def tell(found: dict[str, Any]) -> None:
        if as_json:
            typer.echo(json.dumps(found, ensure_ascii=False))

    try:
        result = asyncio.run(work)
    except BrainError as error:
        tell(failed_result(str(error), progress))
        raise
    except KeyboardInterrupt:
        tell(failed := failed_result("interrupted", progress))
        err.print(_interrupted(failed, progress.get("going_on", "")), markup=False, soft_wrap=True)
        return ERROR
    if result is None:
        tell(paused_result(progress))
        return PAUSED
    tell(result)
    if result["stop_reason"] == "failed" and result["provenance"] != "simulated":
        return ERROR
    return SIMULATED if result["provenance"] == "simulated" else ANSWERED


@app.command()
def doctor(
    model: Annotated[str, typer.Option(help="Check this model, as provider:model.")] = "auto",
    base_url: Annotated[
        str | None, typer.Option(help="Address of the endpoint for openai-compatible:.")
    ] = None,
) -> None:
    """Check key, endpoint, model and versions, and say what to fix."""
    from swarm_brain.cli.doctor import examine

    raise typer.Exit(ANSWERED if asyncio.run(examine(model, base_url)) else ERROR)


@models_app.command("list")
def list_models() -> None:
    """Which models there are, and which one would answer now."""
    from swarm_brain.cli.models import show

    show(Console())


@models_app.command("pull")
def pull(
    spec: Annotated[str, typer.Argument(help="For example embedded:smollm2-135m.")],
) -> None:
    """Fetch a model's weights and print their path, alone, on standard output."""
    from swarm_brain.cli.models import fetch

    path: Path = fetch(spec, err)
    typer.echo(str(path))


def _add_rooms() -> None:
    """The commands of other files; they import this one."""
    from swarm_brain.cli import (
        assistants,
        batch,
        eval,
        graph,
        memory,
        question,
        serve,
        talk,
        threads,
    )

    app.command()(question.ask)
    app.registered_commands.insert(0, app.registered_commands.pop())  # the first in the help
    app.command()(talk.chat)
    app.command()(serve.serve)
    app.command()(graph.graph)
    app.command()(batch.batch)
    app.command()(assistants.assistants)
    app.add_typer(eval.app, name="eval", no_args_is_help=True)
    app.add_typer(threads.app, name="threads", no_args_is_help=True)
    app.add_typer(memory.app, name="memory", no_args_is_help=True)


_add_rooms()
