"""Compare arms at equal tokens: `python -m evals.compare`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from swarm_brain.cli.options import SHIPPED, Topology, settings_of
from swarm_brain.evals import options
from swarm_brain.evals.arms.registry import NAMES, PLACEBO
from swarm_brain.evals.cases.examples import Example, load
from swarm_brain.evals.experiment import ExperimentConfig
from swarm_brain.graph.context import make_context
from swarm_brain.graph.errors import ConfigError
from swarm_brain.graph.loading import load as load_topology

DATASETS = Path(__file__).parent / "datasets"
KEYED = ("logic", "arithmetic", "philosophy_facts")
DEFAULT_ARMS = ",".join(name for name in NAMES if name != PLACEBO)

Datasets = Annotated[
    list[str] | None,
    typer.Option(help="A JSONL or CSV file, a shipped data set, or `keyed`; repeatable."),
]
Arms = Annotated[str, typer.Option(help="Comma-separated; also swarm-minus:EXPERT.")]
BudgetTokens = Annotated[
    int | None,
    typer.Option(min=1, help="Tokens for each question. Default: the swarm's usage."),
]
QuestionLimit = Annotated[int | None, typer.Option(min=1, help="Ask only this many questions.")]
Repetitions = Annotated[int, typer.Option(min=1, help="Answers to each question.")]
OutputFolder = Annotated[Path, typer.Option(help="The folder of answers and report.")]


def examples_of(datasets: Sequence[str], limit: int | None) -> tuple[str, list[Example]]:
    """Load files or shipped sets and name them together; `keyed` is all with keys.

    With a limit, questions are drawn evenly from all of them. Raises ConfigError.
    """
    names = [name for item in datasets for name in (KEYED if item == "keyed" else (item,))]
    by_id: dict[str, Example] = {}
    for name in names:
        shipped = DATASETS / f"{name}.jsonl"
        for example in load(shipped if shipped.is_file() else Path(name)):
            if example.id in by_id:
                raise ConfigError(f"{name}: the question {example.id} is in two data sets")
            by_id[example.id] = example
    questions = list(by_id.values())
    if limit and limit < len(questions):
        questions = [questions[at * len(questions) // limit] for at in range(limit)]
    return "-".join(Path(name).stem for name in datasets), questions


def main(
    context: typer.Context,
    dataset: Datasets = None,
    arms: Arms = DEFAULT_ARMS,
    budget_tokens: BudgetTokens = None,
    questions: QuestionLimit = None,
    repetitions: Repetitions = 1,
    concurrency: options.Concurrency = 4,
    judge: options.Judge = None,
    judge_base_url: options.JudgeUrl = None,
    allow_self_judge: options.SelfJudge = False,
    topology: Topology = None,
    output: OutputFolder = Path("eval-results/compare"),
    resume: options.Resume = False,
) -> None:
    """Compare ways of answering at equal tokens, and write a report with intervals."""
    name, examples = examples_of(dataset or ["keyed"], questions)
    config = ExperimentConfig(
        name,
        examples,
        [arm.strip() for arm in arms.split(",") if arm.strip()],
        make_context(settings_of(context) | {"use_memory": False}),
        load_topology(topology or SHIPPED),
        output,
        budget_tokens,
        repetitions,
        concurrency,
        resume,
        judge,
        judge_base_url,
        allow_self_judge,
        options.command_line("compare"),
    )
    err = Console(file=sys.stderr, highlight=False)
    options.run_and_print(config, err)
    err.print(f"report: {output / 'report.html'}", markup=False, soft_wrap=True)


app = options.command(main, effort="high", seed=0)

if __name__ == "__main__":
    options.start(app)
