"""Context: what one run may be told. Every field is a documented, bounded setting.

Secrets are not settings: an API key comes from the environment or stays in the process (see
`swarm_brain.config`), because LangGraph copies a run's settings into checkpoints and traces.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from swarm_brain.graph import answer_schema as form
from swarm_brain.graph.errors import ConfigError

__all__ = ["Context", "make_context"]


class Context(BaseModel):
    """Settings of one run, fixed while it lasts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # From the most used setting to the least; a form shows them in this order.
    model: str = Field(
        "auto",
        min_length=1,
        title="Model",
        examples=["hyperbolic:meta-llama/Meta-Llama-3.1-405B-Instruct", "embedded:smollm2-135m"],
        description="Who answers, as provider:model. `auto` takes SWARM_BRAIN_MODEL, else "
        "Hyperbolic if its key is set, else the embedded model, else a labelled simulation.",
    )
    effort: Literal["auto", "low", "high"] = Field(
        "auto",
        title="Effort",
        description="low asks three experts, high all eight; auto decides by the question.",
    )
    budget_usd: float | None = Field(
        None,
        gt=0,
        le=1_000_000,
        title="Budget: dollars",
        description="Dollars that the run may cost; a hard limit.",
    )
    budget_tokens: int | None = Field(
        None,
        ge=1,
        le=1_000_000_000,
        title="Budget: tokens",
        description="Tokens, prompts and replies, that the run may take; a hard limit.",
    )
    budget_seconds: float | None = Field(
        None,
        gt=0,
        le=604_800,
        title="Budget: seconds",
        description="Seconds of wall time after which the best answer so far is returned.",
    )
    max_tokens: int | None = Field(
        None,
        ge=16,
        le=131_072,
        title="Reply: tokens at most",
        description="Tokens of one reply at most; empty means the provider's default "
        "(Hyperbolic 2048, embedded 256).",
    )
    temperature: float = Field(
        0.7, ge=0, le=2, title="Reply: temperature", description="Sampling temperature."
    )
    top_p: float = Field(
        0.9,
        gt=0,
        le=1,
        title="Reply: top p",
        description="Nucleus sampling: probability mass kept.",
    )
    seed: int | None = Field(
        None,
        ge=0,
        le=2**31 - 1,
        title="Reply: seed",
        description="Seed for the order of drafts and, where the endpoint takes one, for sampling. "
        "Empty: the order follows from the question, sampling is the endpoint's affair.",
    )
    answer_tokens: int | None = Field(
        None,
        ge=1,
        le=131_072,
        title="Answer: tokens at most",
        description="Tokens of the answer itself at most, where that is less than a reply may "
        "have; drafts keep their length.",
    )
    answer_schema: dict[str, Any] | None = Field(
        None,
        title="Answer: JSON schema",
        description="JSON schema of the answer: it is one JSON value that fits, and nothing else.",
    )
    use_memory: bool = Field(
        True, title="Memory: use it", description="Recall earlier questions and remember this one."
    )
    memory_space: str = Field(
        "default",
        min_length=1,
        max_length=100,
        title="Memory: whose",
        description="Whose memories: each name has its own, for example one for each brain. A "
        "server keeps those of its users apart besides.",
    )
    recall_limit: int = Field(
        5, ge=1, le=50, title="Memory: recalled at most", description="Memories recalled at most."
    )
    recall_floor: float | None = Field(
        None,
        ge=-1,
        le=1,
        title="Memory: least similarity",
        description="Similarity from which a memory is recalled; empty: the embedder's own, "
        "measured for the default one (python -m evals.recall).",
    )
    consolidation_interval: int | None = Field(
        None,
        ge=1,
        le=10_000,
        title="Memory: consolidate every",
        description="Distil facts from remembered answers whenever so many are new, after the "
        "answer has been returned. Empty: only by command.",
    )
    consolidation_tokens: int = Field(
        8_192,
        ge=512,
        le=10_000_000,
        title="Memory: tokens of a consolidation",
        description="Tokens that one consolidation may take.",
    )
    pause_before: tuple[str, ...] = Field(
        (),
        title="Experts: pause before",
        description="Experts before which the run stops and asks a person: approve, edit, skip or "
        "stop. Needs a saved thread.",
    )
    without: tuple[str, ...] = Field(
        (),
        title="Experts: leave out",
        description="Experts that are not asked, to measure what they are worth: they are woken, "
        "say nothing, cost nothing and silence nobody.",
    )
    expert_models: dict[str, str] = Field(
        default_factory=dict,
        title="Experts: models of their own",
        examples=[{"synthesis": "openai:gpt-5"}],
        description="A model of its own for single experts: name of the expert to provider:model.",
    )
    base_url: str | None = Field(
        None,
        title="Endpoint: address",
        examples=["http://localhost:11434/v1"],
        description="Address of the endpoint for the provider openai-compatible, "
        "for example http://localhost:11434/v1.",
    )
    timeout: float = Field(
        60,
        gt=0,
        le=3600,
        title="Endpoint: seconds for a request",
        description="Seconds one request may take.",
    )
    max_attempts: int = Field(
        3,
        ge=1,
        le=10,
        title="Endpoint: requests at most",
        description="Requests for one expert at most, retries included.",
    )
    on_error: Literal["simulate", "skip", "raise"] = Field(
        "simulate",
        title="Endpoint: when an expert fails",
        description="When an expert has finally failed: a labelled simulated reply stands in the "
        "trace, or it is left out, or the run ends with an error. No other expert ever sees it.",
    )
    cache: Literal["off", "memory", "sqlite"] = Field(
        "off",
        title="Endpoint: cache of replies",
        description="Keep replies for the same request: in this process, or on disk; a hit costs "
        "nothing.",
    )
    prompt_layout: Literal["auto", "role_first", "shared_first"] = Field(
        "auto",
        title="Endpoint: layout of prompts",
        description="role_first: the expert's prompt, then the question. shared_first: what "
        "experts have in common first, for servers that cache prefixes. auto: the provider's best.",
    )
    max_steps: int = Field(
        4,
        ge=1,
        le=64,
        title="Graph: waves at most",
        description="Waves of experts at most; the revision is not counted.",
    )
    max_revisions: int = Field(
        1,
        ge=0,
        le=1,
        title="Graph: revisions at most",
        description="Revisions that a quoted defect may buy: 0 or 1.",
    )
    use_global_workspace: bool = Field(
        True,
        title="Workspace: use it",
        description="Broadcast the most salient signals; off: experts hear only their edges.",
    )
    capacity: int = Field(
        4,
        ge=1,
        le=64,
        title="Workspace: places",
        description="Signals of one wave that enter the global workspace. Origin: working memory "
        "holds about four chunks (Cowan, 2001).",
    )
    threshold: float = Field(
        0.5,
        ge=0,
        le=1,
        title="Graph: threshold",
        description="Activation from which an edge wakes its target: weight x salience x gate. "
        "Origin: the middle of the scale, as the package this one replaces had it.",
    )
    salience_substance: float = Field(
        0.6,
        ge=0,
        le=1,
        title="Salience: substance",
        description="Salience of a reply that says something and is no refusal. Origin: set by us "
        "above the default threshold, so that every substantial signal passes.",
    )
    salience_coverage: float = Field(
        0.25,
        ge=0,
        le=1,
        title="Salience: coverage",
        description="Salience added for the share of the question's words that a reply takes up. "
        "Origin: set by us, unmeasured; it only ranks signals for the workspace.",
    )
    salience_novelty: float = Field(
        0.15,
        ge=0,
        le=1,
        title="Salience: novelty",
        description="Salience added for what its expert had not heard before. Origin: as above.",
    )

    @field_validator("answer_schema")
    @classmethod
    def _is_schema(cls, schema: dict[str, Any] | None) -> dict[str, Any] | None:
        if schema is not None and (why := form.problem(schema)):
            raise ValueError(f"no JSON schema for an answer: {why}")
        return schema


def make_context(settings: Context | Mapping[str, Any] | None) -> Context:
    """Validate settings given as a mapping; None means all defaults.

    Raises ConfigError naming each wrong field.
    """
    if isinstance(settings, Context):
        return settings
    try:
        return Context.model_validate(dict(settings or {}))
    except ValidationError as error:
        raise ConfigError(describe(error)) from None


def describe(error: ValidationError) -> str:
    """One line per wrong field, without pydantic's wrapping. For models that hold no secrets."""
    lines = []
    for item in error.errors(include_url=False):
        field = ".".join(str(part) for part in item["loc"]) or "settings"
        if item["type"] == "extra_forbidden":
            lines.append(f"{field}: no such setting; known are {', '.join(Context.model_fields)}")
        else:
            lines.append(f"{field}: {item['msg']}, got {item['input']!r}")
    return "\n".join(lines)
