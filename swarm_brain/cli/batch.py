"""`batch`: ask many questions from a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from swarm_brain.cli.options import Topology, Url, settings_of
from swarm_brain.graph.errors import ConfigError

Questions = Annotated[
    Path,
    typer.Argument(
        metavar="FILE.jsonl",
        help='On each line a question as a JSON string, {"question": ...} or {"messages": [...]}, '
        'with "id", "settings" and "metadata" if wanted; - reads standard input.',
    ),
]
Answers = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.jsonl",
        help="Where the answers go; - is standard output. Default: FILE.answers.jsonl.",
    ),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE",
        help="Any other setting, for every row: budget_tokens=20000; repeatable.",
    ),
]


def batch(
    context: typer.Context,
    file: Questions,
    output: Answers = None,
    topology: Topology = None,
    url: Url = None,
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Rows asked at once.")] = 4,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue; rows that are answered are not asked again.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Continue, and ask failed rows again.")
    ] = False,
    budget_tokens: Annotated[
        int | None, typer.Option(min=1, help="Tokens the whole batch may use; a hard limit.")
    ] = None,
    budget_usd: Annotated[
        float | None, typer.Option(min=0, help="Dollars the whole batch may cost; a hard limit.")
    ] = None,
    setting: Assignments = None,
) -> None:
    """Ask many questions from a file and save each answer as it comes, in the file's order.

    Exit code 0: a model answered all, 1: some failed, 3: only the simulation answered some, 4: the
    budget did not reach; 2: wrong usage, nothing was sent.
    """
    from swarm_brain.cli.terminal import batch as work  # imports LangGraph, which is slow

    settings = settings_of(context) | _assigned(setting or [])
    request = work.BatchRequest(
        file,
        output or work.default_output(file),
        settings,
        topology,
        url,
        concurrency,
        resume or retry_failed,
        retry_failed,
        (budget_tokens, budget_usd),
    )
    raise typer.Exit(work.answer(request))


def _assigned(items: list[str]) -> dict[str, Any]:
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
