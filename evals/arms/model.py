"""Model calls of baselines and judges, made as the brain makes its own."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from langchain_core.messages import HumanMessage, SystemMessage

from swarm_brain.calls.client import ask
from swarm_brain.calls.request import Call, Reply
from swarm_brain.graph.context import Context
from swarm_brain.models import choose
from swarm_brain.models.binding import Binding, JsonSchema, Sampling, estimate_tokens

FOLDER = Path(__file__).parents[1] / "prompts"
OVERHEAD_TOKENS = 16  # of a chat template around two messages


@dataclass(frozen=True)
class Model:
    """A model with the sampling settings that all arms share."""

    binding: Binding
    sampling: Sampling
    timeout: float
    max_attempts: int
    seed: int | None

    def count(self, *texts: str) -> int:
        """Count or estimate the tokens of a prompt made of these texts."""
        counter = self.binding.count_tokens or estimate_tokens
        return sum(counter(text) for text in texts) + OVERHEAD_TOKENS

    def room(self, prompt_tokens: int) -> int | None:
        """Return the longest reply that the model's context allows after the prompt."""
        context = self.binding.context_tokens()
        return None if context is None else max(16, context - prompt_tokens - OVERHEAD_TOKENS)


async def bind_model(context: Context) -> Model:
    """Bind the model of these settings. Raises ConfigError or ModelUnavailable."""
    binding, _ = await asyncio.to_thread(choose.bind_chosen, context.model, context.base_url)
    sampling = Sampling(
        temperature=context.temperature,
        top_p=context.top_p,
        max_tokens=context.max_tokens or binding.max_tokens,
    )
    return Model(binding, sampling, context.timeout, context.max_attempts, context.seed)


def read_prompt(name: str) -> str:
    """Read a prompt of `evals/prompts`."""
    return (FOLDER / f"{name}.md").read_text(encoding="utf-8").strip()


async def call(
    model: Model,
    prompt: str,
    user: str,
    *label: object,
    max_tokens: int | None = None,
    schema: JsonSchema | None = None,
) -> Reply:
    """Return the reply to `user` under the named prompt.

    `label` gives each sample a seed of its own.
    """
    sampling = replace(
        model.sampling,
        seed=None if model.seed is None else _seed(model.seed, prompt, *label),
        max_tokens=max_tokens or model.sampling.max_tokens,
    )
    return await ask(
        model.binding,
        Call(
            messages=[SystemMessage(read_prompt(prompt)), HumanMessage(user)],
            sampling=sampling,
            timeout=model.timeout,
            max_attempts=model.max_attempts,
            label=prompt,
            schema=schema,
        ),
    )


def _seed(*parts: object) -> int:
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def tagged(tag: str, text: str) -> str:
    """Return a part of a prompt between tags."""
    return f"<{tag}>\n{text}\n</{tag.split()[0]}>"
