"""`batch`: ask many questions from a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from swarm_brain.cli.options import Settings, Topology, Url, settings_of
from swarm_brain.graph.errors import ConfigError

Questions = Annotated[
    Path,
    typer.Argument(
        metavar="FILE.jsonl",
        help='Each line is a question: a JSON string, {"question": ...} or {"messages": [...]}, '
        'optionally with "id", "settings" and "metadata"; - reads standard input.',
    ),
]
Answers = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.jsonl",
        help="Where to write the answers; - is standard output. (default: FILE.answers.jsonl)",
    ),
]
Concurrency = Annotated[int, typer.Option(min=1, max=256, help="Ask this many rows at once.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue; do not ask answered rows again.")]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME=VALUE",
        help="Set any other setting for every row, as in budget_tokens=20000. (repeatable)",
    ),
]


def batch(
    context: typer.Context,
    file: Questions,
    output: Answers = None,
    topology: Topology = None,
    url: Url = None,
    concurrency: Concurrency = 4,
    resume: Resume = False,
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
    """Ask many questions from a file, and write the answers in its order.

    Exit codes: 0 a model answered every row, 1 some rows failed, 2 wrong usage,
    3 some rows have only a simulated answer, 4 the budget ran out.
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


def _assigned(items: list[str]) -> Settings:
    """Read `NAME=VALUE` pairs. A value that is not JSON is text."""
    settings: Settings = {}
    for item in items:
        name, sign, value = item.partition("=")
        if not (sign and name):
            raise ConfigError(f"--setting {item!r}: write NAME=VALUE.")
        try:
            settings[name.strip()] = json.loads(value)
        except ValueError:
            settings[name.strip()] = value
    return settings
