"""Commands and options, exit codes, and how errors are told."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from graph.errors import BlankQuestion, BrainError, ConfigError, NotText
from swarm_brain import __version__
from swarm_brain.cli.text import name_given, printable, resuming

if TYPE_CHECKING:
    from swarm_brain.cli.ask import Ask

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


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="The question; - reads standard input.")],
    model: Annotated[str | None, typer.Option(help="Who answers, as provider:model.")] = None,
    base_url: Annotated[
        str | None, typer.Option(help="Address of the endpoint for openai-compatible:.")
    ] = None,
    expert_model: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=SPEC", help="A model of its own for one expert; repeatable."),
    ] = None,
    max_steps: Annotated[int | None, typer.Option(help="Waves of experts at most.")] = None,
    effort: Annotated[str | None, typer.Option(help="auto, low or high.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens of one reply at most.")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 to 2.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Above 0, to 1.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Fixes the order of drafts and sampling.")
    ] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds one request may take.")] = None,
    budget_tokens: Annotated[
        int | None, typer.Option(help="Tokens the run may take; a hard limit.")
    ] = None,
    budget_usd: Annotated[
        float | None, typer.Option(help="Dollars the run may cost; a hard limit.")
    ] = None,
    budget_seconds: Annotated[
        float | None, typer.Option(help="Seconds after which the best answer so far is given.")
    ] = None,
    cache: Annotated[str | None, typer.Option(help="off, memory or sqlite.")] = None,
    topology: Annotated[str, typer.Option(help="A shipped topology or a YAML file.")] = "eight",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the worst case in calls, tokens and dollars.")
    ] = False,
    thread: Annotated[
        str | None,
        typer.Option(help="Go on in this thread; a new name begins one.", callback=name_given),
    ] = None,
    no_save: Annotated[
        bool,
        typer.Option("--no-save", help="Leave no trace: keep no thread, use no memory."),
    ] = False,
    pause_before: Annotated[
        list[str] | None,
        typer.Option(metavar="EXPERT", help="Stop before this expert and ask; repeatable."),
    ] = None,
    no_memory: Annotated[
        bool, typer.Option("--no-memory", help="Recall nothing, remember nothing.")
    ] = False,
    memory_space: Annotated[
        str | None, typer.Option(help="Whose memories; default: default.", callback=name_given)
    ] = None,
    no_workspace: Annotated[
        bool, typer.Option("--no-workspace", help="Experts hear only their own edges.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="A failed expert is an error, not a fallback.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Ask the experts a question.

    Exit code 0: a model answered, 3: only a simulation did, 4: the run is paused.
    """
    # Long because every option is a parameter; there is nothing in it but their translation.
    global _debug
    _debug = debug
    settings = {
        "model": model,
        "base_url": base_url,
        "expert_models": _pairs(expert_model or []),
        "max_steps": max_steps,
        "effort": effort,
        "max_tokens": max_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "seed": seed,
        "timeout": timeout,
        "budget_tokens": budget_tokens,
        "budget_usd": budget_usd,
        "budget_seconds": budget_seconds,
        "cache": cache,
        "use_memory": not (no_memory or no_save),
        "memory_space": memory_space,
        "pause_before": pause_before,
        "use_global_workspace": not no_workspace,
        "on_error": "raise" if strict else "simulate",
    }
    given = {name: value for name, value in settings.items() if value is not None}
    text = _read_stdin() if question == "-" else question
    if dry_run:
        from swarm_brain.cli.ask import worst_case

        typer.echo(worst_case(text, topology, given, as_json))
        raise typer.Exit(ANSWERED)
    if thread is not None and no_save:
        raise ConfigError("--thread keeps the run, --no-save does not: give one of them.")
    if pause_before and no_save and not sys.stdin.isatty():
        raise ConfigError("--pause-before: nobody is at a terminal, and --no-save keeps no run.")
    from swarm_brain.cli.ask import Ask

    asked = Ask(text, topology, given, as_json, thread, save=not no_save)
    raise typer.Exit(_answer(asked))


def _read_stdin() -> str:
    data = sys.stdin.buffer.read()
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise NotText(data.decode(errors="surrogateescape")) from None


def _spent(usage: dict[str, Any]) -> str:
    tokens = (usage["input_tokens"] or 0) + (usage["output_tokens"] or 0)
    return f"{usage['calls']} finished calls and {tokens:,} tokens; calls under way are not counted"


def _interrupted(failed: dict[str, Any]) -> str:
    thread = failed["thread_id"]
    going_on = f" Go on with `{resuming(thread)}`." if thread else ""
    return printable(f"Interrupted after {_spent(failed['usage'])}.{going_on}")


def _pairs(items: list[str]) -> dict[str, str]:
    """`NAME=SPEC` options as a mapping."""
    pairs = {}
    for item in items:
        name, sign, spec = item.partition("=")
        if not (sign and name and spec):
            raise ConfigError(f"--expert-model {item!r}: write NAME=provider:model")
        pairs[name.strip()] = spec.strip()
    return pairs


def _answer(asked: Ask) -> int:
    from swarm_brain.cli.ask import answer

    return outcome(answer(asked, err), asked.as_json, asked.progress)


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
        err.print(_interrupted(failed), markup=False, soft_wrap=True)
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
    from swarm_brain.cli.weights import show

    show(Console())


@models_app.command("pull")
def pull(
    spec: Annotated[str, typer.Argument(help="For example embedded:smollm2-135m.")],
) -> None:
    """Fetch a model's weights and print their path, alone, on standard output."""
    from swarm_brain.cli.weights import fetch

    path: Path = fetch(spec, err)
    typer.echo(str(path))


def _add_rooms() -> None:
    """The commands of other files; they import this one."""
    from swarm_brain.cli import batch, draw, measure, memories, talk, threads

    app.command()(talk.chat)
    app.command()(draw.graph)
    app.command()(batch.batch)
    app.add_typer(measure.app, name="eval", no_args_is_help=True)
    app.add_typer(threads.app, name="threads", no_args_is_help=True)
    app.add_typer(memories.app, name="memory", no_args_is_help=True)


_add_rooms()
