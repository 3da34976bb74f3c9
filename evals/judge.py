"""A judge: rubric points met, and which of two answers is better, in both orders.

The judge is never the model that answered, unless that is allowed and said. What it replies in no
readable form is counted as such, and decides nothing.
"""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from swarm_brain.calls.json_values import values_in
from swarm_brain.evals.arms.model import Model, bound, call, tagged
from swarm_brain.evals.cases.examples import Example
from swarm_brain.evals.stats.judge_bias import JudgedPair
from swarm_brain.graph.context import Context
from swarm_brain.graph.errors import ConfigError, ModelUnavailable
from swarm_brain.models.binding import JsonSchema

Verdict = Literal["first", "second", "tie", "unparsed"]
REPLY_TOKENS = 256


async def judge_of(spec: str, base_url: str | None, context: Context, *, itself: bool) -> Model:
    """The judge's model, without any chance in its sampling.

    Raises ConfigError if it is the answering model and that is not allowed (`itself`), and
    ModelUnavailable for a simulation, which judges nothing.
    """
    judge = await bound(
        context.model_copy(
            update={
                "model": spec,
                "base_url": base_url or context.base_url,
                "temperature": 0.0,
                "top_p": 1.0,
                "max_tokens": REPLY_TOKENS,
            }
        )
    )
    if judge.binding.simulated:
        raise ModelUnavailable(f"{spec} is a simulation", "and judges nothing. Name a model.")
    if not itself and await judges_itself(judge, context):
        raise ConfigError(
            f"{spec} would judge its own answers. Name another --judge, or say --allow-self-judge; "
            "the report says so then."
        )
    return judge


async def judges_itself(judge: Model, context: Context) -> bool:
    """Whether the judge is the answering model."""
    return _served(judge) == _served(await bound(context))


def _served(model: Model) -> tuple[str, str]:
    """Which model it is, by whatever provider's name it is called."""
    return model.binding.endpoint, model.binding.spec.partition(":")[2]


async def grade(judge: Model, example: Example, text: str) -> list[bool | None]:
    """For each point of the rubric whether the answer meets it; None where the judge is unclear.

    Raises ModelError if the judge could not be asked.
    """
    points = "\n".join(f"{number}. {point}" for number, point in enumerate(example.rubric, 1))
    user = "\n\n".join(
        [
            tagged("question", example.question),
            tagged("answer", text),
            tagged("points", points),
        ]
    )
    reply = await call(judge, "rubric", user, example.id, schema=_list_schema())
    if reply.error:
        raise reply.error
    return read_met(reply.text, len(example.rubric)) or [None] * len(example.rubric)


def read_met(text: str, points: int) -> list[bool | None] | None:
    """The judge's list; None if there is none of that length."""
    for value in values_in(text):
        met = value.get("met") if isinstance(value, dict) else value
        if isinstance(met, list) and len(met) == points:
            return [item if isinstance(item, bool) else None for item in met]
    return None


async def compare(judge: Model, example: Example, one: str, other: str) -> JudgedPair:
    """Both orders of two answers, judged apart. Raises ModelError if one could not be asked."""
    forth, back = await asyncio.gather(
        _better(judge, example, one, other), _better(judge, example, other, one)
    )
    return JudgedPair(forth, back, len(one), len(other))


async def _better(judge: Model, example: Example, first: str, second: str) -> Verdict:
    points = "\n".join(f"- {point}" for point in example.rubric)
    user = "\n\n".join(
        [
            tagged("question", example.question),
            *([tagged("points", points)] if points else []),
            tagged('answer which="first"', first),
            tagged('answer which="second"', second),
        ]
    )
    reply = await call(judge, "pairwise", user, example.id, schema=_choice_schema())
    if reply.error:
        raise reply.error
    return read_better(reply.text)


def read_better(text: str) -> Verdict:
    """What the judge decided; `unparsed` if it cannot be told."""
    for value in values_in(text):
        said = value.get("better") if isinstance(value, dict) else None
        if said in ("first", "second", "tie"):
            return said  # type: ignore[no-any-return]
    return "unparsed"


def _list_schema() -> JsonSchema:
    return {
        "type": "object",
        "properties": {"met": {"type": "array", "items": {"type": "boolean"}}},
        "required": ["met"],
        "additionalProperties": False,
    }


def _choice_schema() -> JsonSchema:
    choices: dict[str, Any] = {"type": "string", "enum": ["first", "second", "tie"]}
    return {
        "type": "object",
        "properties": {"better": choices},
        "required": ["better"],
        "additionalProperties": False,
    }
