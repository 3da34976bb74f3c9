"""Options that the evals share, and how their command lines run."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from swarm_brain.cli.options import UNATTENDED
from swarm_brain.graph.errors import BrainError

# Settings that an eval does not take: answers are compared as text,
# at tokens that it allots, and arms name the experts to leave out.
EXCLUDED = (*UNATTENDED, "Answer", "without")

Judge = Annotated[str | None, typer.Option(help="Who judges open answers, as provider:model.")]
JudgeUrl = Annotated[str | None, typer.Option(help="Address of the judge's endpoint.")]
SelfJudge = Annotated[
    bool, typer.Option("--allow-self-judge", help="Let the answering model judge itself.")
]
Concurrency = Annotated[int, typer.Option(min=1, help="Questions asked at once.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue where the answers end.")]


def command_line() -> typer.Typer:
    """Return an app for one command. Its crashes show no local variables: a key may be in them."""
    return typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def run(app: typer.Typer) -> None:
    """Run a command line as a program of its own."""
    try:
        app()
    except BrainError as error:
        sys.exit(f"Error: {error}")
