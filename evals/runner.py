"""Running an experiment: every answer is saved when it comes, and none is paid for twice.

Answers stand in a JSONL file, whose first line says what they are answers to. A file that was begun
with other settings is refused; answers that no model gave are asked for again.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from swarm_brain.batch.records import begin, check_same, complete, line_of
from swarm_brain.evals.arms.registry import Arm, answer, named
from swarm_brain.evals.arms.response import Answer, Setup
from swarm_brain.evals.cases.examples import Example
from swarm_brain.evals.cases.score import score
from swarm_brain.evals.tracing import Place, evaluated, run_id
from swarm_brain.graph.errors import ConfigError
from swarm_brain.progress import counting

Record = dict[str, Any]
KIND = "experiment"  # what the first line of the file says it holds
Key = tuple[str, str, int]


@dataclass
class Records:
    """The answers of an experiment by arm, question and repetition, and the file they stand in."""

    path: Path
    head: Mapping[str, Any]
    by_key: dict[Key, Record] = field(default_factory=dict)

    def add(self, record: Record) -> None:
        """Keep an answer, on disk before anything else happens."""
        self.by_key[(record["arm"], record["id"], record["repetition"])] = record
        with self.path.open("ab") as file:
            file.write(line_of(record))
            file.flush()
            os.fsync(file.fileno())

    def of(self, arm: str) -> list[Record]:
        """An arm's answers, in the order in which they came."""
        return [record for record in self.by_key.values() if record["arm"] == arm]


def open_records(path: Path, head: Mapping[str, Any], *, resume: bool) -> Records:
    """A new file; or with `resume` the answers that are there already.

    Raises ConfigError for a file that is there without `resume`, was begun with other settings or
    cannot be written.
    """
    plain = json.loads(json.dumps(head))
    if not path.exists():
        begin(path, {KIND: plain})
        return Records(path, plain)
    if not resume:
        raise ConfigError(f"{path} exists. Go on with --resume, or name another --output.")
    lines = [record for _, record in complete(path)]
    check_same(path, KIND, lines[0] if lines else None, plain)
    records = Records(path, plain)
    for record in lines[1:]:
        if record["provenance"] != "simulated":
            records.by_key[(record["arm"], record["id"], record["repetition"])] = record
    return records


@dataclass(frozen=True)
class Plan:
    """How an experiment is run. `metadata` goes with each arm's experiment to LangSmith."""

    name: str
    place: Place
    repetitions: int = 1
    concurrency: int = 4
    metadata: Mapping[str, Any] = field(default_factory=dict)


async def run_arm(
    name: str,
    setup: Setup,
    examples: Sequence[Example],
    records: Records,
    plan: Plan,
    err: Console,
) -> None:
    """Every question, as often as is asked; answers that are there already are taken as they are.

    Raises ConfigError or ModelUnavailable, as soon as one question shows it.
    """
    arm = named(name, setup.topology)
    by_id = {example.id: example for example in examples}
    turns: Counter[str] = Counter()
    fatal: list[Exception] = []

    async def target(inputs: dict[str, Any]) -> dict[str, Any]:
        example = by_id[inputs["id"]]
        turn = turns[example.id]
        turns[example.id] += 1
        if fatal:
            raise fatal[0]
        try:
            run = run_id(plan.place)
            record = await ask_once(name, arm, setup, example, turn, records, run)
        except Exception as error:  # LangSmith would log it and go on with the next question
            fatal.append(error)
            raise
        counted.add(record)
        return record

    with counting(err, name, len(examples) * plan.repetitions) as counted:
        await evaluated(
            plan.place,
            plan.name,
            name,
            target,
            examples,
            repetitions=plan.repetitions,
            concurrency=plan.concurrency,
            metadata=plan.metadata,
        )
    if fatal:
        raise fatal[0]


async def ask_once(
    name: str,
    arm: Arm,
    setup: Setup,
    example: Example,
    turn: int,
    records: Records,
    run: str | None = None,
) -> Record:
    """One answer, kept with LangSmith's id of the run; the one that is there already if any is."""
    if known := records.by_key.get((name, example.id, turn)):
        return known
    record = recorded(name, example, turn, await answer(arm, setup, example, turn))
    record["run"] = run
    records.add(record)
    return record


def recorded(name: str, example: Example, turn: int, given: Answer) -> Record:
    """An answer as it is saved. One that no model gave is not scored."""
    told = score(example, given.text) if given.provenance != "simulated" else None
    return {
        "arm": name,
        "id": example.id,
        "repetition": turn,
        "kind": example.kind,
        "extracted": told.extracted if told else None,
        "correct": told.correct if told else None,
        **asdict(given),
    }


def mean_tokens(records: Sequence[Record]) -> int:
    """Tokens of an answer on average, of those that a model gave. Raises ConfigError if none."""
    spent = [
        (record["input_tokens"] or 0) + (record["output_tokens"] or 0)
        for record in records
        if record["provenance"] != "simulated"
    ]
    if not spent:
        raise ConfigError(
            "no model answered, so there is nothing to compare; `swarm-brain doctor` says why"
        )
    return -(-sum(spent) // len(spent))
