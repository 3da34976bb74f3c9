"""`ask`: put one question to the experts."""

from __future__ import annotations

import sys
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from swarm_brain.cli.console import err, show_tracebacks
from swarm_brain.cli.terminal.text import name_given
from swarm_brain.graph.errors import ConfigError, NotText

if TYPE_CHECKING:
    from swarm_brain.cli.terminal.run import Ask

SHIPPED = "eight"


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
    topology: Annotated[str, typer.Option(help="A shipped topology or a YAML file.")] = SHIPPED,
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
    url: Annotated[
        str | None, typer.Option(help="Ask the brain on a LangGraph server, http://HOST:PORT.")
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="A failed expert is an error, not a fallback.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Ask the experts a question.

    Exit code 0: a model answered, 3: only a simulation did, 4: the run is paused.
    """
    # These import LangGraph, which is slow.
    from swarm_brain.cli.terminal.outcome import outcome
    from swarm_brain.cli.terminal.run import Ask, answer, worst_case

    # Long because every option is a parameter; there is nothing in it but their translation.
    if debug:
        show_tracebacks()
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
    if thread is not None and no_save:
        raise ConfigError("--thread keeps the run, --no-save does not: give one of them.")
    if url is not None:
        _refuse({"--topology": topology != SHIPPED, "--dry-run": dry_run})
    if dry_run:
        typer.echo(worst_case(text, topology, given, as_json))
        raise typer.Exit
    if pause_before and no_save and (url or not sys.stdin.isatty()):
        why = "nobody is at a terminal" if url is None else "the server would not wait"
        raise ConfigError(f"--pause-before: {why}, and --no-save keeps no run.")
    asked = Ask(text, topology, given, as_json, thread, save=not no_save)
    work = answer(asked, err) if url is None else _elsewhere(asked, url, err)
    raise typer.Exit(outcome(work, as_json, asked.progress))


def _refuse(options: dict[str, bool]) -> None:
    """Options that concern this process alone, and whether they are given."""
    if given := [option for option, is_given in options.items() if is_given]:
        raise ConfigError(f"{', '.join(given)}: not with --url, it is the server that answers.")


def _elsewhere(asked: Ask, url: str, err: Console) -> Coroutine[Any, Any, dict[str, Any] | None]:
    from swarm_brain.cli.terminal.remote import answer  # imports langgraph-sdk

    return answer(asked, url, err)


def _read_stdin() -> str:
    data = sys.stdin.buffer.read()
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise NotText(data.decode(errors="surrogateescape")) from None


def _pairs(items: list[str]) -> dict[str, str]:
    """`NAME=SPEC` options as a mapping."""
    pairs = {}
    for item in items:
        name, sign, spec = item.partition("=")
        if not (sign and name and spec):
            raise ConfigError(f"--expert-model {item!r}: write NAME=provider:model")
        pairs[name.strip()] = spec.strip()
    return pairs
