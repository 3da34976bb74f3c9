"""Arms against each other at equal tokens: `python -m evals.compare`."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from swarm_brain.evals import report
from swarm_brain.evals.arms.registry import NAMES
from swarm_brain.evals.cases.examples import Example, load
from swarm_brain.evals.experiment import Wanted, experiment
from swarm_brain.graph.context import make_context
from swarm_brain.graph.errors import BrainError, ConfigError
from swarm_brain.graph.loading import load as load_topology

DATASETS = Path(__file__).parent / "datasets"
KEYED = ("logic", "arithmetic", "philosophy_facts")
DEFAULT_ARMS = ",".join(name for name in NAMES if name != "swarm-shuffled")


def examples_of(datasets: Sequence[str], limit: int | None) -> tuple[str, list[Example]]:
    """The questions of these files or shipped sets (`keyed`: all with keys), and a name for them.

    With a limit they are drawn evenly from all over. Raises ConfigError.
    """
    names = [name for given in datasets for name in (KEYED if given == "keyed" else (given,))]
    found: dict[str, Example] = {}
    for name in names:
        shipped = DATASETS / f"{name}.jsonl"
        for example in load(shipped if shipped.is_file() else Path(name)):
            if example.id in found:
                raise ConfigError(f"{name}: the question {example.id} is in two datasets")
            found[example.id] = example
    questions = list(found.values())
    if limit and limit < len(questions):
        questions = [questions[at * len(questions) // limit] for at in range(limit)]
    return "-".join(Path(name).stem for name in datasets), questions


def main(
    dataset: Annotated[
        list[str] | None,
        typer.Option(help="A JSONL or CSV file, keyed, or a shipped set; repeatable."),
    ] = None,
    arms: Annotated[str, typer.Option(help="Comma-separated; also swarm-minus:EXPERT.")] = (
        DEFAULT_ARMS
    ),
    budget_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="Tokens for each question; default: what the swarm spends."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Who answers, as provider:model.")] = None,
    base_url: Annotated[str | None, typer.Option(help="Endpoint of openai-compatible:.")] = None,
    effort: Annotated[str, typer.Option(help="The swarm's: auto, low or high.")] = "high",
    max_tokens: Annotated[int | None, typer.Option(help="Tokens of one reply at most.")] = None,
    temperature: Annotated[float, typer.Option(help="0 to 2.")] = 0.7,
    questions: Annotated[int | None, typer.Option(min=1, help="Only so many of them.")] = None,
    repetitions: Annotated[int, typer.Option(min=1, help="Answers to each question.")] = 1,
    concurrency: Annotated[int, typer.Option(min=1, help="Questions at once.")] = 4,
    seed: Annotated[int | None, typer.Option(help="Fixes sampling where the endpoint can.")] = 0,
    judge: Annotated[str | None, typer.Option(help="Who judges open answers.")] = None,
    judge_base_url: Annotated[str | None, typer.Option(help="The judge's endpoint.")] = None,
    allow_self_judge: Annotated[
        bool, typer.Option("--allow-self-judge", help="The answering model may judge itself.")
    ] = False,
    topology: Annotated[str, typer.Option(help="A shipped topology or a YAML file.")] = "eight",
    output: Annotated[Path, typer.Option(help="Folder for answers and report.")] = Path(
        "eval-results/compare"
    ),
    resume: Annotated[bool, typer.Option("--resume", help="Go on where answers end.")] = False,
) -> None:
    """Compare ways of answering at equal tokens; a report with intervals."""
    settings = {
        "model": model,
        "base_url": base_url,
        "effort": effort,
        "max_tokens": max_tokens,
        "temperature": temperature,
        "seed": seed,
        "use_memory": False,
    }
    name, examples = examples_of(dataset or ["keyed"], questions)
    wanted = Wanted(
        name,
        examples,
        [arm.strip() for arm in arms.split(",") if arm.strip()],
        make_context({key: value for key, value in settings.items() if value is not None}),
        load_topology(topology),
        output,
        budget_tokens,
        repetitions,
        concurrency,
        resume,
        judge,
        judge_base_url,
        allow_self_judge,
        shlex.join(["python", "-m", "evals.compare", *sys.argv[1:]]),
    )
    err = Console(file=sys.stderr, highlight=False)
    data = asyncio.run(experiment(wanted, err))
    typer.echo(report.summary(data))
    err.print(f"report: {wanted.output / 'report.html'}", markup=False, soft_wrap=True)


if __name__ == "__main__":
    # Not typer.run(): a crash would show local variables, and a key among them, in some versions.
    command = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    command.command()(main)
    try:
        command()
    except BrainError as error:
        sys.exit(f"Error: {error}")
