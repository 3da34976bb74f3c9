"""Options that the evals share, and how their commands start."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console

from swarm_brain.cli.options import UNATTENDED, with_settings
from swarm_brain.evals import report
from swarm_brain.evals.experiment import ExperimentConfig, run_experiment
from swarm_brain.evals.report.data import ReportData
from swarm_brain.graph.errors import BrainError

# Settings that an eval does not take: it compares answers as text, at tokens that it allots, and
# arms name the experts to leave out.
EXCLUDED = (*UNATTENDED, "Answer", "without")

Judge = Annotated[str | None, typer.Option(help="The judge of open answers, as provider:model.")]
JudgeUrl = Annotated[str | None, typer.Option(help="Address of the judge's endpoint.")]
SelfJudge = Annotated[
    bool, typer.Option("--allow-self-judge", help="Let the answering model judge itself.")
]
Concurrency = Annotated[int, typer.Option(min=1, help="Questions asked at once.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Continue; saved answers are not asked again.")
]
KEY = "--api-key"


def command(main: Callable[..., None], **defaults: object) -> typer.Typer:
    """Return a command with the options of `main` and the settings of `Context`.

    `defaults` replace those of `Context`.
    """
    # Its crashes show no local variables: a key may be in them.
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(cls=with_settings(without=EXCLUDED, defaults=defaults))(main)
    return app


def start(app: typer.Typer) -> None:
    """Run a command as a program of its own, and print errors in one line."""
    try:
        app()
    except BrainError as error:
        sys.exit(f"Error: {error}")


def run_and_print(config: ExperimentConfig, err: Console) -> ReportData:
    """Run an experiment, and print its summary. Raises BrainError."""
    data = asyncio.run(run_experiment(config, err))
    typer.echo(report.summary(data))
    return data


def command_line(module: str) -> str:
    """Return the command line of this process, without an API key."""
    words = list(sys.argv[1:])
    for at, word in enumerate(words):
        if word == KEY and at + 1 < len(words):
            words[at + 1] = "..."
        elif word.startswith(f"{KEY}="):
            words[at] = f"{KEY}=..."
    return shlex.join(["python", "-m", f"swarm_brain.evals.{module}", *words])
