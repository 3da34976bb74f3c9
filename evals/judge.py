"""A judge: grades answers by a rubric, and compares two answers.

It is never the model that answered, unless that is allowed and reported. An unreadable reply is
counted as such and decides nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, WithJsonSchema

from swarm_brain.calls.json_values import values_in
from swarm_brain.evals.arms.model import Model, bind_model, call, tagged
from swarm_brain.evals.cases.examples import Example
from swarm_brain.evals.stats.judge_bias import JudgedPair, Verdict
from swarm_brain.graph.context import Context
from swarm_brain.graph.errors import ConfigError, ModelUnavailable

REPLY_TOKENS = 256
Met = Annotated[
    bool | None,  # None for anything that is not a boolean
    BeforeValidator(lambda value: value if isinstance(value, bool) else None),
    WithJsonSchema({"type": "boolean"}),
]


class JudgeReply(BaseModel):
    """A reply of a judge. The schema allows no other properties; extras are ignored."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": False})


class RubricReply(JudgeReply):
    """For each rubric point, in order, whether the answer meets it."""

    met: list[Met]


class PairwiseReply(JudgeReply):
    """Which of two answers is better."""

    better: Literal["first", "second", "tie"]


_Reply = TypeVar("_Reply", bound=JudgeReply)


async def bind_judge(spec: str, base_url: str | None, context: Context, *, itself: bool) -> Model:
    """Bind the judge's model with deterministic sampling.

    Raises ConfigError if it is the answering model and `itself` does not allow that, and
    ModelUnavailable for a simulation, which cannot judge.
    """
    changes = {
        "model": spec,
        "base_url": base_url or context.base_url,
        "temperature": 0.0,
        "top_p": 1.0,
        "max_tokens": REPLY_TOKENS,
    }
    judge = await bind_model(context.model_copy(update=changes))
    if judge.binding.simulated:
        raise ModelUnavailable(f"{spec} is a simulation", "and judges nothing. Name a model.")
    if not itself and await judges_itself(judge, context):
        raise ConfigError(
            f"{spec} would judge its own answers. Name another --judge, or allow it with "
            "--allow-self-judge; the report then says so."
        )
    return judge


async def judges_itself(judge: Model, context: Context) -> bool:
    """Return whether the judge is the answering model."""
    return _served(judge) == _served(await bind_model(context))


def _served(model: Model) -> tuple[str, str]:
    """Identify a model by its endpoint and name, under whatever provider."""
    return model.binding.endpoint, model.binding.spec.partition(":")[2]


async def grade(judge: Model, example: Example, text: str) -> list[bool | None]:
    """Return for each rubric point whether the answer meets it; None if unclear.

    Raises ModelError if the judge could not be asked.
    """
    points = "\n".join(f"{number}. {point}" for number, point in enumerate(example.rubric, 1))
    parts = [("question", example.question), ("answer", text), ("points", points)]
    reply = await _ask(judge, "rubric", parts, example, RubricReply)
    return read_met(reply, len(example.rubric)) or [None] * len(example.rubric)


async def _ask(
    judge: Model,
    prompt: str,
    parts: list[tuple[str, str]],
    example: Example,
    reply: type[JudgeReply],
) -> str:
    user = "\n\n".join(tagged(tag, text) for tag, text in parts)
    answer = await call(judge, prompt, user, example.id, schema=reply.model_json_schema())
    if answer.error:
        raise answer.error
    return answer.text


def _replies(text: str, reply: type[_Reply]) -> Iterator[_Reply]:
    """Yield each JSON value in a text that is a valid reply.

    A bare list is read as the list of rubric points.
    """
    for value in values_in(text):
        try:
            yield reply.model_validate({"met": value} if isinstance(value, list) else value)
        except ValidationError:
            continue


def read_met(text: str, points: int) -> list[bool | None] | None:
    """Read the judge's list; None if there is no list of that length."""
    lists = (reply.met for reply in _replies(text, RubricReply))
    return next((met for met in lists if len(met) == points), None)


async def judge_pair(judge: Model, example: Example, one: str, other: str) -> JudgedPair:
    """Judge two answers in both orders. Raises ModelError if a call failed."""
    forth, back = await asyncio.gather(
        _better(judge, example, one, other), _better(judge, example, other, one)
    )
    return JudgedPair(forth, back, len(one), len(other))


async def _better(judge: Model, example: Example, first: str, second: str) -> Verdict:
    points = "\n".join(f"- {point}" for point in example.rubric)
    parts = [
        ("question", example.question),
        *([("points", points)] if points else []),
        ('answer which="first"', first),
        ('answer which="second"', second),
    ]
    return read_better(await _ask(judge, "pairwise", parts, example, PairwiseReply))


def read_better(text: str) -> Verdict:
    """Read the judge's decision; `unparsed` if there is no readable one."""
    reply = next(_replies(text, PairwiseReply), None)
    return reply.better if reply else "unparsed"
