"""Judge the open answers of an experiment, saving each judgement."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from swarm_brain.evals.arms.model import Model
from swarm_brain.evals.arms.registry import SWARM
from swarm_brain.evals.cases.examples import Example
from swarm_brain.evals.judge import grade, judge_pair
from swarm_brain.evals.record_file import (
    AnswerRecord,
    JudgementRecord,
    Key,
    RecordFile,
    answered,
    key_of,
)
from swarm_brain.evals.results import Judgements
from swarm_brain.evals.stats.judge_bias import JudgedPair
from swarm_brain.graph.errors import ModelError

FILE = "judged.jsonl"


@dataclass
class Judging:
    """A judge, the questions and answers it judges, and the file of its judgements."""

    judge: Model
    examples: Mapping[str, Example]
    answers: Mapping[Key, AnswerRecord]
    file: RecordFile[JudgementRecord]
    slots: asyncio.Semaphore

    async def rubric(self, answer: AnswerRecord) -> None:
        """Judge which rubric points an answer meets."""
        key = (f"rubric/{answer['arm']}", answer["id"], answer["repetition"])
        example = self.examples[answer["id"]]
        if key in self.file.by_key or not example.rubric:
            return
        record = self._record(key)
        async with self.slots:
            try:
                record["met"] = await grade(self.judge, example, answer["text"])
            except ModelError as error:
                record["met"] = [None] * len(example.rubric)
                _fail(record, error)
        self.file.add(record)

    async def pair(self, answer: AnswerRecord) -> None:
        """Judge whether the swarm's first answer is better than another arm's."""
        key = (f"pair/{answer['arm']}", answer["id"], 0)
        ours = self.answers.get((SWARM, answer["id"], 0))
        if key in self.file.by_key or ours is None:
            return
        record, texts = self._record(key), (ours["text"], answer["text"])
        async with self.slots:
            try:
                verdicts = await judge_pair(self.judge, self.examples[answer["id"]], *texts)
            except ModelError as error:
                verdicts = JudgedPair("unparsed", "unparsed", *map(len, texts))
                _fail(record, error)
        record["pair"] = astuple(verdicts)
        self.file.add(record)

    def _record(self, key: Key) -> JudgementRecord:
        arm, example, repetition = key
        return {"arm": arm, "id": example, "repetition": repetition, "of": self.digest(key),
                "provenance": "full"}  # fmt: skip

    def digest(self, key: Key) -> str:
        """Return a digest of the answers that a judgement is about."""
        kind, _, arm = key[0].partition("/")
        answers = [self.answers.get((name, *key[1:])) for name in _arms(kind, arm)]
        texts = [answer and answer["text"] for answer in answers]
        return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:16]


def _arms(kind: str, arm: str) -> Sequence[str]:
    return (SWARM, arm) if kind == "pair" else (arm,)


def _fail(record: JudgementRecord, error: ModelError) -> None:
    """Mark a judgement as missing, so that the next run asks for it again."""
    record["provenance"] = "simulated"
    record["error"] = str(error)


async def judge_answers(
    judge: Model,
    examples: Sequence[Example],
    answers: Sequence[AnswerRecord],
    path: Path,
    head: Mapping[str, object],
    *,
    concurrency: int,
) -> Judgements:
    """Judge the open questions' answers that have no current judgement.

    Every answer is judged by its rubric. The first answers of the swarm and of each other arm are
    also compared in pairs. An answer that has changed is judged again.
    """
    open_examples = {example.id: example for example in examples if example.kind == "open"}
    judged = [one for one in answers if answered(one) and one["id"] in open_examples]
    file = RecordFile[JudgementRecord].open(path, head, resume=True)
    by_key = {key_of(one): one for one in judged}
    judging = Judging(judge, open_examples, by_key, file, asyncio.Semaphore(concurrency))
    for key, record in list(file.by_key.items()):
        if record.get("of") != judging.digest(key):
            del file.by_key[key]
    others = [one for one in judged if one["arm"] != SWARM and one["repetition"] == 0]
    await asyncio.gather(*map(judging.rubric, judged), *map(judging.pair, others))
    return _judgements(file)


def _judgements(file: RecordFile[JudgementRecord]) -> Judgements:
    judgements = Judgements()
    for (name, example, repetition), record in file.by_key.items():
        kind, _, arm = name.partition("/")
        if kind == "rubric":
            judgements.met[(arm, example, repetition)] = record["met"]
        else:
            judgements.pairs[(arm, example)] = JudgedPair(*record["pair"])
    return judgements
