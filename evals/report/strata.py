"""What a report shows of levels, groups and single questions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

from swarm_brain.evals.cases.examples import Example
from swarm_brain.evals.results import Experiment
from swarm_brain.evals.runner import Record


def levels(experiment: Experiment) -> list[dict[str, Any]]:
    """Every arm's figures at each level."""
    known = {e.level: e.level_name or "" for e in experiment.examples if e.level is not None}
    return [
        {"level": level, "name": known[level],
         **_part(experiment, [e for e in experiment.examples if e.level == level])}
        for level in sorted(known)
    ]  # fmt: skip


def groups(experiment: Experiment) -> list[dict[str, Any]]:
    """Every arm's figures in each group of questions."""
    names = dict.fromkeys(e.group for e in experiment.examples if e.group)
    return [
        {"name": name, **_part(experiment, [e for e in experiment.examples if e.group == name])}
        for name in names
    ]


def _part(experiment: Experiment, examples: Iterable[Example]) -> dict[str, Any]:
    """Every arm's figures on some of the questions."""
    ids = {example.id for example in examples}
    return {
        "arms": {
            name: _figures(experiment, [r for r in records if r["id"] in ids])
            for name, records in experiment.arms.items()
        }
    }


def _figures(experiment: Experiment, records: Sequence[Record]) -> dict[str, Any]:
    given = [record for record in records if record["provenance"] != "simulated"]
    right = [record["correct"] for record in given if record["correct"] is not None]
    graded = [value for record in given if (value := experiment.graded(record)) is not None]
    return {
        "n": len(given),
        "accuracy": fmean(right) if right else None,
        "quality": fmean(graded) if graded else None,
    }


SHOWN = ("text", "extracted", "correct", "provenance", "input_tokens", "output_tokens", "cost_usd",
         "duration_s", "calls", "agreement", "error")  # fmt: skip


def question(experiment: Experiment, example: Example) -> dict[str, Any]:
    """One question with every arm's answers."""
    told = asdict(example)
    kept = ("id", "group", "level", "question", "choices", "answer", "rubric")
    return {
        **{name: told[name] for name in kept},
        "arms": {
            name: [_shown(experiment, r) for r in records if r["id"] == example.id]
            for name, records in experiment.arms.items()
        },
    }


def _shown(experiment: Experiment, record: Record) -> dict[str, Any]:
    met = experiment.judged.met.get((record["arm"], record["id"], record["repetition"]))
    trace = [
        {
            "expert": signal["source"],
            **{key: signal[key] for key in ("step", "woken_by", "status", "content")},
        }
        for signal in record["trace"]
    ]
    return {
        **{key: record[key] for key in SHOWN},
        "rubric": met,
        "score": experiment.value(record),
        "trace": trace,
    }
