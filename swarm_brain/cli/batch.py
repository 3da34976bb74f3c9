"""`batch`: ask many questions from a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from swarm_brain.graph.errors import ConfigError


def batch(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.jsonl",
            help='On each line a question as a JSON string, {"question": ...} or {"messages": '
            '[...]}, with "id", "settings" and "metadata" if wanted; - reads standard input.',
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.jsonl",
            help="Where the answers go; - is standard output. Default: FILE.answers.jsonl.",
        ),
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Ask the LangGraph server there, not a brain here.")
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Rows asked at once.")] = 4,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on; rows that are answered are not asked again.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Go on, and ask again what had failed.")
    ] = False,
    budget_tokens: Annotated[
        int | None, typer.Option(min=1, help="Tokens the whole batch may take; a hard limit.")
    ] = None,
    budget_usd: Annotated[
        float | None, typer.Option(min=0, help="Dollars the whole batch may cost; a hard limit.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Who answers, as provider:model.")] = None,
    base_url: Annotated[
        str | None, typer.Option(help="Address of the endpoint for openai-compatible:.")
    ] = None,
    effort: Annotated[str | None, typer.Option(help="auto, low or high.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens of one reply at most.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Fixes the order of drafts and sampling.")
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Any other setting, for every row: budget_tokens=20000; repeatable.",
        ),
    ] = None,
    topology: Annotated[
        str | None, typer.Option(help="A shipped topology or a YAML file; default: eight.")
    ] = None,
) -> None:
    """Ask many questions from a file and keep each answer as it comes, in the file's order.

    Exit code 0: a model answered all, 1: some failed, 3: only the simulation answered some, 4: the
    budget did not reach; 2: wrong usage, nothing was sent.
    """
    # Long because every option is a parameter; there is nothing in it but their translation.
    from swarm_brain.cli.terminal.batch import (  # imports LangGraph, which is slow
        Wanted,
        answer,
        default_output,
    )

    named = {
        "model": model,
        "base_url": base_url,
        "effort": effort,
        "max_tokens": max_tokens,
        "seed": seed,
    }
    settings = {name: value for name, value in named.items() if value is not None}
    wanted = Wanted(
        file,
        output or default_output(file),
        {**settings, **_settings(setting or [])},
        topology,
        url,
        concurrency,
        resume or retry_failed,
        retry_failed,
        (budget_tokens, budget_usd),
    )
    raise typer.Exit(answer(wanted))


def _settings(items: list[str]) -> dict[str, Any]:
    """`NAME=VALUE` as a mapping; a value is JSON if it can be, else text."""
    settings = {}
    for item in items:
        name, sign, value = item.partition("=")
        if not (sign and name):
            raise ConfigError(f"--setting {item!r}: write NAME=VALUE")
        try:
            settings[name.strip()] = json.loads(value)
        except ValueError:
            settings[name.strip()] = value
    return settings
