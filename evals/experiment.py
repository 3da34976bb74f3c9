"""One experiment from its questions to its report: ask, judge, analyse, write."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from swarm_brain.evals import judgements, report
from swarm_brain.evals.arms.model import Model, bind_model
from swarm_brain.evals.arms.registry import ALLOCATED, MINUS, NAMES, PLACEBO, SWARM, find_arm
from swarm_brain.evals.arms.response import Setup
from swarm_brain.evals.cases.examples import Example, content_hash
from swarm_brain.evals.judge import bind_judge, judges_itself
from swarm_brain.evals.record_file import AnswerRecord, RecordFile
from swarm_brain.evals.report.analysis import LEAST_PAIRS, analyse
from swarm_brain.evals.report.data import ReportData
from swarm_brain.evals.results import Judgements, Results
from swarm_brain.evals.runner import RunOptions, mean_tokens, run_arm
from swarm_brain.evals.stats.judge_bias import judge_bias
from swarm_brain.evals.tracing import Tracker, find_tracker, send_feedback, tracing_only_with_key
from swarm_brain.graph.context import Context
from swarm_brain.graph.errors import ConfigError
from swarm_brain.graph.topology import Topology
from swarm_brain.progress import prepare_run
from swarm_brain.version import __version__

ANSWERS = "answers.jsonl"


@dataclass(frozen=True)
class ExperimentConfig:
    """The questions, the arms, the judge and the output folder of an experiment."""

    name: str
    examples: Sequence[Example]
    arms: Sequence[str]
    context: Context
    topology: Topology
    output: Path
    budget_tokens: int | None = None
    repetitions: int = 1
    concurrency: int = 4
    resume: bool = False
    judge: str | None = None
    judge_base_url: str | None = None
    self_judge: bool = False
    command: str = ""

    def head(self) -> dict[str, object]:
        """Return the settings that all answers in one file share."""
        return {
            "dataset": content_hash(self.examples),
            "settings": self.context.model_dump(mode="json"),
            "topology": self.topology.hash,
            "budget_tokens": self.budget_tokens,
        }


async def run_experiment(config: ExperimentConfig, err: Console) -> ReportData:
    """Run and judge all arms, write the report, and return its data."""
    tracker = find_tracker()
    with tracing_only_with_key(tracker):
        _check(config)
        context = await asyncio.to_thread(prepare_run, config.context, config.topology, err)
        config = replace(config, context=context)
        await bind_model(context)  # a model that cannot be bound leaves no file behind
        judge = await _bind_judge(config)
        results = await _results(config, tracker, judge, err)
        itself = judge is not None and await judges_itself(judge, context)
    data = _data(config, results, self_judged=itself)
    report.render(data, config.output / "report.html")
    (config.output / "summary.md").write_text(report.summary(data), encoding="utf-8")
    return data


async def _results(
    config: ExperimentConfig, tracker: Tracker, judge: Model | None, err: Console
) -> Results:
    """Ask every arm and the judge."""
    answers = RecordFile[AnswerRecord].open(
        config.output / ANSWERS, config.head(), resume=config.resume
    )
    options = RunOptions(
        config.name, tracker, config.repetitions, config.concurrency, _metadata(config)
    )
    setup = Setup(config.context, config.topology, config.budget_tokens, config.budget_tokens)
    # The swarm first: without --budget-tokens its usage is the others' allocation.
    for arm in sorted(config.arms, key=lambda name: (name != SWARM, config.arms.index(name))):
        await run_arm(arm, setup, config.examples, answers, options, err)
        if arm == SWARM:
            setup = _after_swarm(config, setup, answers.of(SWARM))
    return Results(
        config.examples,
        {arm: answers.of(arm) for arm in config.arms},
        setup.allocation,
        await _judge(config, tracker, judge, answers) if judge else Judgements(),
        config.context.seed or 0,
    )


def _check(config: ExperimentConfig) -> None:
    """Raise ConfigError for arms that cannot run, before anything is paid for."""
    if not config.arms:
        raise ConfigError(f"--arms names no arm; choose from {', '.join(NAMES)}, {MINUS}EXPERT.")
    for arm in config.arms:
        find_arm(arm, config.topology)
        if config.arms.count(arm) > 1:
            raise ConfigError(f"the arm {arm} is named twice")
    if SWARM not in config.arms and PLACEBO in config.arms:
        raise ConfigError(f"{PLACEBO} takes its drafts from the arm {SWARM}: run both")
    if PLACEBO in config.arms and len(config.examples) < LEAST_PAIRS:
        raise ConfigError(f"{PLACEBO} takes another question's drafts: ask at least two questions")
    needy = [arm for arm in config.arms if arm in ALLOCATED]
    if needy and SWARM not in config.arms and config.budget_tokens is None:
        raise ConfigError(f"{needy[0]} needs an allocation: --budget-tokens N, or the arm {SWARM}")


def _after_swarm(config: ExperimentConfig, setup: Setup, records: Sequence[AnswerRecord]) -> Setup:
    """Add the placebo's drafts, and the allocation if none was set."""
    if config.arms == [SWARM]:
        return setup  # no other arm needs an allocation
    first = {record["id"]: record["trace"] for record in records if record["repetition"] == 0}
    # In the dataset's order, since the order in which answers came changes from run to run.
    drafts = {one.id: first[one.id] for one in config.examples if one.id in first}
    return replace(setup, allocation=setup.allocation or mean_tokens(records), drafts=drafts)


async def _bind_judge(config: ExperimentConfig) -> Model | None:
    if config.judge is None:
        return None
    return await bind_judge(
        config.judge, config.judge_base_url, config.context, itself=config.self_judge
    )


async def _judge(
    config: ExperimentConfig, tracker: Tracker, judge: Model, answers: RecordFile[AnswerRecord]
) -> Judgements:
    """Judge the answers, and send LangSmith the rubric's scores of its runs."""
    records = [record for arm in config.arms for record in answers.of(arm)]
    judged = await judgements.judge_answers(
        judge,
        config.examples,
        records,
        config.output / judgements.FILE,
        {**config.head(), "judge": judge.binding.spec},
        concurrency=config.concurrency,
    )
    scores = {
        run: score
        for record in records
        if (run := record.get("run")) and (score := judged.quality(record)) is not None
    }
    send_feedback(tracker, "rubric", scores)
    return judged


def _metadata(config: ExperimentConfig) -> dict[str, object]:
    """Return the metadata of an experiment in LangSmith."""
    return {
        "commit": commit(),
        "topology": config.topology.hash,
        "version": __version__,
        **config.context.model_dump(mode="json"),
    }


def _data(config: ExperimentConfig, results: Results, *, self_judged: bool) -> ReportData:
    """Return the report's data: the questions, the settings and the results."""
    data = analyse(results)
    if self_judged and not data["judging"]:
        data["judging"] = asdict(judge_bias([]))  # only rubrics were judged
    if data["judging"]:
        data["judging"]["self_judged"] = self_judged
    return {
        "title": f"{config.name}: {', '.join(config.arms)}",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": config.command,
        "commit": commit(),
        "version": __version__,
        "dataset": {
            "name": config.name,
            "hash": content_hash(config.examples),
            "size": len(config.examples),
        },
        "model": config.context.model,
        "judge": config.judge,
        "settings": config.context.model_dump(mode="json", exclude_defaults=True),
        "topology": {"name": config.topology.name, "hash": config.topology.hash},
        "allocated_tokens": results.allocation,
        "repetitions": config.repetitions,
        "seed": config.context.seed,
        **data,
    }


def commit() -> str | None:
    """Return this checkout's commit, marked if there are changes; None elsewhere."""
    words = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=10, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
