"""Context: the settings of one run. Every field is documented and bounded.

Secrets are not settings, because LangGraph copies a run's settings into checkpoints and traces. API
keys come from the environment or stay in the process (see `swarm_brain.config`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from swarm_brain.graph import answer_schema as form
from swarm_brain.graph.errors import ConfigError

__all__ = ["Context", "make_context"]


class Context(BaseModel):
    """The settings of one run, fixed while it lasts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # From the most used setting to the least used. Forms show them in this order.
    model: str = Field(
        "auto",
        min_length=1,
        title="Model",
        examples=["hyperbolic:meta-llama/Meta-Llama-3.1-405B-Instruct", "embedded:smollm2-135m"],
        description="The model, as provider:model. `auto` uses SWARM_BRAIN_MODEL, else Hyperbolic "
        "if its key is set, else the embedded model, else a labelled simulation.",
    )
    effort: Literal["auto", "low", "high"] = Field(
        "auto",
        title="Effort",
        description="low asks three experts, high all eight. auto decides by the question.",
    )
    budget_usd: float | None = Field(
        None,
        gt=0,
        le=1_000_000,
        title="Budget: dollars",
        description="Dollars that the run may cost. A hard limit.",
    )
    budget_tokens: int | None = Field(
        None,
        ge=1,
        le=1_000_000_000,
        title="Budget: tokens",
        description="Tokens of prompts and replies that the run may use. A hard limit.",
    )
    budget_seconds: float | None = Field(
        None,
        gt=0,
        le=604_800,
        title="Budget: seconds",
        description="Seconds after which the run returns its best answer so far.",
    )
    max_tokens: int | None = Field(
        None,
        ge=16,
        le=131_072,
        title="Reply: maximum tokens",
        description="Maximum tokens of one reply. Empty: the provider's default (Hyperbolic 2048, "
        "embedded 256).",
    )
    temperature: float = Field(
        0.7, ge=0, le=2, title="Reply: temperature", description="Sampling temperature."
    )
    top_p: float = Field(
        0.9,
        gt=0,
        le=1,
        title="Reply: top p",
        description="Nucleus sampling: the probability mass to sample from.",
    )
    seed: int | None = Field(
        None,
        ge=0,
        le=2**31 - 1,
        title="Reply: seed",
        description="Seed for the order of drafts and, if the endpoint accepts one, for sampling. "
        "Empty: the question decides the order, and the endpoint samples as it likes.",
    )
    answer_tokens: int | None = Field(
        None,
        ge=1,
        le=131_072,
        title="Answer: maximum tokens",
        description="Maximum tokens of the answer itself, if less than those of a reply. Drafts "
        "keep their length.",
    )
    answer_schema: dict[str, Any] | None = Field(
        None,
        title="Answer: JSON schema",
        description="JSON schema of the answer. The answer is then one JSON value that matches it.",
    )
    use_memory: bool = Field(
        True,
        title="Memory: use it",
        description="Recall earlier questions, and remember this one.",
    )
    memory_space: str = Field(
        "default",
        min_length=1,
        max_length=100,
        title="Memory: space",
        description="The memory space to use: memories of one name are separate from those of "
        "another. On a server each user has spaces of their own.",
    )
    recall_limit: int = Field(
        5,
        ge=1,
        le=50,
        title="Memory: maximum recalled",
        description="Maximum number of memories to recall.",
    )
    recall_floor: float | None = Field(
        None,
        ge=-1,
        le=1,
        title="Memory: minimum similarity",
        description="Minimum similarity of a recalled memory. Empty: the embedder's own, which "
        "`python -m evals.recall` measured for the default one.",
    )
    consolidation_interval: int | None = Field(
        None,
        ge=1,
        le=10_000,
        title="Memory: consolidate every",
        description="Extract facts from remembered answers whenever this many are new, after the "
        "answer is returned. Empty: only by command.",
    )
    consolidation_tokens: int = Field(
        8_192,
        ge=512,
        le=10_000_000,
        title="Memory: tokens of a consolidation",
        description="Maximum tokens of one consolidation.",
    )
    pause_before: tuple[str, ...] = Field(
        (),
        title="Experts: pause before",
        description="Experts to pause before. A person then decides: approve, edit, skip or stop. "
        "Needs a saved thread.",
    )
    without: tuple[str, ...] = Field(
        (),
        title="Experts: leave out",
        description="Experts to leave out, to measure what they contribute. They are woken but not "
        "asked, so they say nothing, cost nothing and silence nobody.",
    )
    expert_models: dict[str, str] = Field(
        default_factory=dict,
        title="Experts: models",
        examples=[{"synthesis": "openai:gpt-5"}],
        description="Models of single experts: the expert's name to provider:model.",
    )
    base_url: str | None = Field(
        None,
        title="Endpoint: address",
        examples=["http://localhost:11434/v1"],
        description="Address of the endpoint of the provider openai-compatible, for example "
        "http://localhost:11434/v1.",
    )
    timeout: float = Field(
        60,
        gt=0,
        le=3600,
        title="Endpoint: timeout",
        description="Seconds that one request may last.",
    )
    max_attempts: int = Field(
        3,
        ge=1,
        le=10,
        title="Endpoint: maximum attempts",
        description="Maximum requests for one expert, including retries.",
    )
    on_error: Literal["simulate", "skip", "raise"] = Field(
        "simulate",
        title="Endpoint: when an expert fails",
        description="What happens when all attempts of an expert have failed. simulate: a labelled "
        "simulated reply is recorded; skip: the expert is left out; raise: the run fails. Other "
        "experts never see a simulated reply.",
    )
    cache: Literal["off", "memory", "sqlite"] = Field(
        "off",
        title="Endpoint: cache of replies",
        description="Reuse the reply to an identical request: from this process, or from disk. A "
        "hit costs nothing.",
    )
    prompt_layout: Literal["auto", "role_first", "shared_first"] = Field(
        "auto",
        title="Endpoint: layout of prompts",
        description="role_first: the expert's prompt, then the question. shared_first: first the "
        "parts that experts share, for servers that cache prefixes. auto: the provider's best.",
    )
    max_steps: int = Field(
        4,
        ge=1,
        le=64,
        title="Graph: maximum steps",
        description="Maximum number of steps, not counting the revision. Experts of one step run "
        "side by side.",
    )
    max_revisions: int = Field(
        1,
        ge=0,
        le=1,
        title="Graph: maximum revisions",
        description="Whether a quoted defect leads to a revision: 1 for yes, 0 for no.",
    )
    use_global_workspace: bool = Field(
        True,
        title="Workspace: use it",
        description="Broadcast the most salient signals. Off: experts hear only along their edges.",
    )
    capacity: int = Field(
        4,
        ge=1,
        le=64,
        title="Workspace: places",
        description="Number of signals of one step that enter the global workspace. Origin: "
        "working memory holds about four chunks (Cowan, 2001).",
    )
    threshold: float = Field(
        0.5,
        ge=0,
        le=1,
        title="Graph: threshold",
        description="Minimum activation (weight x salience x gate) of an edge that fires. Origin: "
        "the middle of the scale, as in the package that this one replaces.",
    )
    salience_substance: float = Field(
        0.6,
        ge=0,
        le=1,
        title="Salience: substance",
        description="Salience of a reply that is not empty and not a refusal. Origin: chosen above "
        "the default threshold, so that every substantial signal passes.",
    )
    salience_coverage: float = Field(
        0.25,
        ge=0,
        le=1,
        title="Salience: coverage",
        description="Salience added for the share of the question's words that a reply uses. "
        "Origin: chosen without measurement. It only ranks signals for the workspace.",
    )
    salience_novelty: float = Field(
        0.15,
        ge=0,
        le=1,
        title="Salience: novelty",
        description="Salience added for words that the expert had not heard before. Origin: as for "
        "coverage.",
    )

    @field_validator("answer_schema")
    @classmethod
    def _is_schema(cls, schema: dict[str, Any] | None) -> dict[str, Any] | None:
        if schema is not None and (why := form.problem(schema)):
            raise ValueError(f"not a JSON schema for an answer: {why}")
        return schema


def make_context(settings: Context | Mapping[str, object] | None) -> Context:
    """Validate a mapping of settings. None means all defaults.

    Raises ConfigError, which names each wrong field.
    """
    if isinstance(settings, Context):
        return settings
    try:
        return Context.model_validate(dict(settings or {}))
    except ValidationError as error:
        raise ConfigError(describe(error)) from None


def describe(error: ValidationError) -> str:
    """Describe each wrong field on one line. Shows values: not for secrets."""
    lines = []
    for item in error.errors(include_url=False):
        field = ".".join(str(part) for part in item["loc"]) or "settings"
        if item["type"] == "extra_forbidden":
            lines.append(f"{field}: no such setting; known: {', '.join(Context.model_fields)}")
        else:
            lines.append(f"{field}: {item['msg']}, got {item['input']!r}")
    return "\n".join(lines)
