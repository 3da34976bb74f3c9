"""The parts of a report's data on levels, groups and single questions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean

from swarm_brain.evals.cases.examples import Example
from swarm_brain.evals.record_file import AnswerRecord, answered, key_of
from swarm_brain.evals.report.data import AnswerRow, ArmShare, QuestionRow, Stratum
from swarm_brain.evals.results import Results


def levels(results: Results) -> list[Stratum]:
    """Return every arm's means at each level."""
    names = {e.level: e.level_name or "" for e in results.examples if e.level is not None}
    return [
        {"level": level, "name": names[level],
         "arms": _shares(results, (e for e in results.examples if e.level == level))}
        for level in sorted(names)
    ]  # fmt: skip


def groups(results: Results) -> list[Stratum]:
    """Return every arm's means in each group of questions."""
    names = dict.fromkeys(e.group for e in results.examples if e.group)
    return [
        {"name": name, "arms": _shares(results, (e for e in results.examples if e.group == name))}
        for name in names
    ]


def _shares(results: Results, examples: Iterable[Example]) -> dict[str, ArmShare]:
    """Return every arm's means over some of the questions."""
    ids = {example.id for example in examples}
    return {
        name: _share(results, [record for record in records if record["id"] in ids])
        for name, records in results.arms.items()
    }


def _share(results: Results, records: Sequence[AnswerRecord]) -> ArmShare:
    real = [record for record in records if answered(record)]
    right = [record["correct"] for record in real if record["correct"] is not None]
    graded = [score for record in real if (score := results.judgements.quality(record)) is not None]
    return {
        "n": len(real),
        "accuracy": fmean(right) if right else None,
        "quality": fmean(graded) if graded else None,
    }


def question(results: Results, example: Example) -> QuestionRow:
    """Return one question with every arm's answers."""
    return {
        "id": example.id,
        "group": example.group,
        "level": example.level,
        "question": example.question,
        "choices": example.choices,
        "answer": example.answer,
        "rubric": example.rubric,
        "arms": {
            name: [_answer(results, record) for record in records if record["id"] == example.id]
            for name, records in results.arms.items()
        },
    }


def _answer(results: Results, record: AnswerRecord) -> AnswerRow:
    return {
        "text": record["text"],
        "extracted": record["extracted"],
        "correct": record["correct"],
        "provenance": record["provenance"],
        "input_tokens": record["input_tokens"],
        "output_tokens": record["output_tokens"],
        "cost_usd": record["cost_usd"],
        "duration_s": record["duration_s"],
        "calls": record["calls"],
        "agreement": record["agreement"],
        "error": record["error"],
        "rubric": results.judgements.met.get(key_of(record)),
        "score": results.value(record),
        "trace": [
            {
                "expert": signal["source"],
                "step": signal["step"],
                "woken_by": signal["woken_by"],
                "status": signal["status"],
                "content": signal["content"],
            }
            for signal in record["trace"]
        ],
    }
