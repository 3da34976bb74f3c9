"""Ask an arm every question and save each answer as it arrives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import cast

from rich.console import Console

from swarm_brain.evals.arms.registry import find_arm, respond
from swarm_brain.evals.arms.response import ArmResponse, Setup
from swarm_brain.evals.cases.examples import Example
from swarm_brain.evals.cases.score import Score, score
from swarm_brain.evals.record_file import AnswerRecord, RecordFile, answered, tokens_of
from swarm_brain.evals.tracing import Inputs, Tracker, evaluate, run_id
from swarm_brain.graph.errors import ConfigError
from swarm_brain.progress import counting


@dataclass(frozen=True)
class RunOptions:
    """Options of a run; `metadata` goes to LangSmith with each arm's experiment."""

    name: str
    tracker: Tracker
    repetitions: int = 1
    concurrency: int = 4
    metadata: Mapping[str, object] = field(default_factory=dict)


async def run_arm(
    name: str,
    setup: Setup,
    examples: Sequence[Example],
    answers: RecordFile[AnswerRecord],
    options: RunOptions,
    err: Console,
) -> None:
    """Ask the arm every question as often as set, skipping saved answers.

    Raises ConfigError or ModelUnavailable at the first question that fails with it.
    """
    by_id = {example.id: example for example in examples}
    repetitions: Counter[str] = Counter()
    fatal: list[Exception] = []

    async def target(inputs: Inputs) -> dict[str, object]:
        example = by_id[inputs["id"]]
        repetition = repetitions[example.id]
        repetitions[example.id] += 1
        if fatal:
            raise fatal[0]
        try:
            run = run_id(options.tracker)
            record = await ask_once(name, setup, example, repetition, answers, run)
        except Exception as error:  # LangSmith would log it and continue with the next question
            fatal.append(error)
            raise
        progress.add(record)
        return dict(record)

    with counting(err, name, len(examples) * options.repetitions) as progress:
        await evaluate(
            options.tracker, options.name, name, target, examples,
            repetitions=options.repetitions, concurrency=options.concurrency,
            metadata=options.metadata,
        )  # fmt: skip
    if fatal:
        raise fatal[0]


async def ask_once(
    name: str,
    setup: Setup,
    example: Example,
    repetition: int,
    answers: RecordFile[AnswerRecord],
    run: str | None = None,
) -> AnswerRecord:
    """Return the saved answer, or ask for it and save it."""
    if known := answers.by_key.get((name, example.id, repetition)):
        return known
    response = await respond(find_arm(name, setup.topology), setup, example, repetition)
    record = record_of(name, example, repetition, response)
    record["run"] = run
    answers.add(record)
    return record


def record_of(name: str, example: Example, repetition: int, response: ArmResponse) -> AnswerRecord:
    """Return an answer in its saved form. A simulated one is not scored."""
    simulated = response.provenance == "simulated"
    scored = Score(None, None) if simulated else score(example, response.text)
    record = {
        "arm": name,
        "id": example.id,
        "repetition": repetition,
        "kind": example.kind,
        "extracted": scored.extracted,
        "correct": scored.correct,
        **asdict(response),
    }
    return cast("AnswerRecord", record)


def mean_tokens(records: Sequence[AnswerRecord]) -> int:
    """Return the mean tokens of the answers that a model gave, rounded up.

    Raises ConfigError if there is none.
    """
    spent = [tokens_of(record) for record in records if answered(record)]
    if not spent:
        raise ConfigError(
            "no model answered, so there is nothing to compare; `swarm-brain doctor` says why"
        )
    return -(-sum(spent) // len(spent))
