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

from swarm_brain.cli.options import SHIPPED, Topology, settings_of, with_settings
from swarm_brain.evals import report
from swarm_brain.evals.arms.registry import NAMES
from swarm_brain.evals.cases.examples import Example, load
from swarm_brain.evals.experiment import Wanted, experiment
from swarm_brain.evals.options import (
    EXCLUDED,
    Concurrency,
    Judge,
    JudgeUrl,
    Resume,
    SelfJudge,
    command_line,
    run,
)
from swarm_brain.graph.context import make_context
from swarm_brain.graph.errors import ConfigError
from swarm_brain.graph.loading import load as load_topology

DATASETS = Path(__file__).parent / "datasets"
KEYED = ("logic", "arithmetic", "philosophy_facts")
OUTPUT = Path("eval-results/compare")
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


app = command_line()


@app.command(cls=with_settings(without=EXCLUDED, defaults={"effort": "high", "seed": 0}))
def main(
    context: typer.Context,
    dataset: Annotated[
        list[str] | None,
        typer.Option(help="A JSONL or CSV file, keyed, or a shipped set; repeatable."),
    ] = None,
    arms: Annotated[str, typer.Option(help="Comma-separated; also swarm-minus:EXPERT.")] = (
        DEFAULT_ARMS
    ),
    budget_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="Tokens for each question; default: what the swarm uses."),
    ] = None,
    questions: Annotated[int | None, typer.Option(min=1, help="Ask only this many.")] = None,
    repetitions: Annotated[int, typer.Option(min=1, help="Answers to each question.")] = 1,
    concurrency: Concurrency = 4,
    judge: Judge = None,
    judge_base_url: JudgeUrl = None,
    allow_self_judge: SelfJudge = False,
    topology: Topology = None,
    output: Annotated[Path, typer.Option(help="Folder for answers and report.")] = OUTPUT,
    resume: Resume = False,
) -> None:
    """Compare ways of answering at equal tokens; a report with intervals."""
    name, examples = examples_of(dataset or ["keyed"], questions)
    wanted = Wanted(
        name,
        examples,
        [arm.strip() for arm in arms.split(",") if arm.strip()],
        make_context({**settings_of(context), "use_memory": False}),
        load_topology(topology or SHIPPED),
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
    _run(wanted)


def _run(wanted: Wanted) -> None:
    err = Console(file=sys.stderr, highlight=False)
    data = asyncio.run(experiment(wanted, err))
    typer.echo(report.summary(data))
    err.print(f"report: {wanted.output / 'report.html'}", markup=False, soft_wrap=True)


if __name__ == "__main__":
    run(app)
