"""`ask`: put one question to the experts."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from swarm_brain.cli.console import err, show_tracebacks
from swarm_brain.cli.options import SHIPPED, Json, NoSave, Thread, Topology, Url, settings_of
from swarm_brain.graph.errors import ConfigError, NotText

if TYPE_CHECKING:
    from swarm_brain.cli.terminal.run import Ask


Question = Annotated[str, typer.Argument(help="The question; - reads standard input.")]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Print the maximum calls, tokens and dollars; ask nothing."),
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Fail if an expert fails: --on-error raise.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]


def ask(
    context: typer.Context,
    question: Question,
    thread: Thread = None,
    no_save: NoSave = False,
    topology: Topology = None,
    url: Url = None,
    dry_run: DryRun = False,
    strict: Strict = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Ask the experts a question.

    Exit codes: 0 a model answered, 1 the run failed, 2 wrong usage, 3 only the
    simulation answered, 4 the run is paused.
    """
    # These import LangGraph, which is slow.
    from swarm_brain.cli.terminal import remote, run
    from swarm_brain.cli.terminal.outcome import Progress, failures_as_json, outcome

    if debug:
        show_tracebacks()
    with failures_as_json(as_json, Progress()):
        settings = settings_of(context)
    settings |= {"use_memory": False} if no_save else {}
    settings |= {"on_error": "raise"} if strict else {}
    text = _read_stdin() if question == "-" else question
    request = run.Ask(text, topology or SHIPPED, settings, as_json, thread, save=not no_save)
    _check_saving(request, url, dry_run)
    if url is not None:
        _refuse_local({"--topology": topology, "--dry-run": dry_run})
        work = remote.answer(request, url, err)
    elif dry_run:
        typer.echo(run.worst_case(text, request.topology, settings, as_json))
        return
    else:
        work = run.answer(request, err)
    raise typer.Exit(outcome(work, as_json, request.progress))


def _refuse_local(options: dict[str, object]) -> None:
    """Raise ConfigError for options that do not apply to a server."""
    if refused := [option for option, value in options.items() if value]:
        raise ConfigError(f"{', '.join(refused)}: cannot be used with --url; the server decides.")


def _check_saving(request: Ask, url: str | None, dry_run: bool) -> None:
    """Raise ConfigError if --no-save contradicts another option."""
    if request.save:
        return
    if request.thread is not None:
        raise ConfigError("--thread and --no-save cannot be combined.")
    if request.settings.get("pause_before") and not dry_run and (url or not sys.stdin.isatty()):
        why = "no terminal is attached" if url is None else "the server would not wait"
        raise ConfigError(f"--pause-before and --no-save cannot be combined here: {why}.")


def _read_stdin() -> str:
    data = sys.stdin.buffer.read()
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise NotText(data.decode(errors="surrogateescape")) from None
