"""Questions, a talkative model and set-ups that the tests of the evals share."""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from swarm_brain.evals.arms import registry
from swarm_brain.evals.arms.registry import find_arm
from swarm_brain.evals.arms.response import ArmResponse, Setup
from swarm_brain.evals.cases.examples import Example
from swarm_brain.evals.experiment import ExperimentConfig
from swarm_brain.evals.record_file import AnswerRecord, RecordFile
from swarm_brain.evals.runner import record_of
from swarm_brain.graph.context import Context, make_context
from swarm_brain.graph.loading import load
from tests.fakes import Script

ANSWER, CHECK = "# Arm: answer", "# Arm: check"
CHOOSE, AGGREGATE = "# Arm: choose", "# Arm: aggregate"
PAIRWISE, RUBRIC = "# Judge: pairwise", "# Judge: rubric"
TALKING = ("perception", "memory", "reasoning", "creative", "analytical", "synthesis", ANSWER,
           CHECK, AGGREGATE)  # fmt: skip
EIGHT = tuple(load().experts)
QUIET = Console(quiet=True)
HEAD = {"dataset": "abc", "settings": {"model": "scripted:model"}, "budget_tokens": None}

Request = dict[str, Any]


def example(name: str = "q1", **more: Any) -> Example:
    """Return a question whose key is 4, with words that no other text has."""
    text = f"Why is {name}, and two plus two, what it is? Think about {name}."
    return Example(**{"id": name, "question": text, "kind": "numeric", "answer": "4", **more})


def open_example(name: str = "q1") -> Example:
    return example(name, kind="open", answer=None, rubric=("It says why.", "It says how."))


def context(**more: Any) -> Context:
    settings = {"model": "scripted:model", "seed": 1, "use_memory": False, "effort": "high"}
    return make_context({**settings, **more})


def setup(allocation: int | None = None, **more: Any) -> Setup:
    return Setup(context(), load(), allocation, **more)


async def respond(name: str, setup: Setup, example: Example, repetition: int = 0) -> ArmResponse:
    """Return the response of the arm of this name."""
    return await registry.respond(find_arm(name, setup.topology), setup, example, repetition)


def chance(request: Request) -> random.Random:
    """Return a source of randomness seeded by the request's seed and words."""
    words = f"{request['sampling'].seed}/{request['expert']}/{request['user']}"
    return random.Random(zlib.crc32(words.encode()))


def talkative(last: str = "Answer: 4") -> Callable[[Request], str]:
    """Return replies of 60 to 180 words, within the request's limit."""

    def reply(request: Request) -> str:
        words = min(chance(request).randint(60, 180), request["sampling"].max_tokens - 2)
        return f"{'word ' * words}\n{last}"

    return reply


def talk(script: Script, last: str = "Answer: 4") -> None:
    """Make all prose replies of realistic length."""
    script.says |= dict.fromkeys(TALKING, talkative(last))


def config_for(
    output: Path, examples: Sequence[Example], arms: Sequence[str], **more: Any
) -> ExperimentConfig:
    """Return an experiment with the scripted model."""
    return ExperimentConfig("tests", examples, arms, context(), load(), output, **more)


def against(data: dict[str, Any], second: str, metric: str = "accuracy") -> dict[str, Any]:
    (row,) = (r for r in data["comparisons"] if (r["second"], r["metric"]) == (second, metric))
    return row


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


def opened(folder: Path, **more: Any) -> RecordFile[AnswerRecord]:
    return RecordFile.open(folder / "answers.jsonl", HEAD, **({"resume": False} | more))


def row(name: str, **more: Any) -> dict[str, Any]:
    return record_of("single", example(name), 0, ArmResponse(provenance="full", **more))


async def drafts(script: Script, *names: str) -> dict[str, list[dict]]:
    """Return the swarm's signals for these questions."""
    return {name: (await respond("swarm", setup(), example(name))).trace for name in names}
