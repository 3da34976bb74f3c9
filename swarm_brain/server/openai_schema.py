"""The validated chat request of OpenAI's API, and its question to the brain."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage
from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator

from swarm_brain.graph.context import Context, make_context
from swarm_brain.graph.loading import FOLDER
from swarm_brain.presets import PRESETS
from swarm_brain.server.problems import Problem
from swarm_brain.server.question import Question

FAMILY = "swarm-brain"
# OpenAI parameters that are ignored with these values, and rejected with any other.
NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "n": (1,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "tools": ([],),
    "functions": ([],),
    "tool_choice": ("none", "auto"),
    "function_call": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "modalities": (["text"],),
    "service_tier": ("auto", "default"),
}
# Fields of Context that a request cannot set in its `swarm` field: the owner's, and those that
# OpenAI has parameters for. Every other field can be set there.
EXCLUDED = {
    "model", "base_url", "expert_models", "cache", "prompt_layout", "pause_before",
    "consolidation_interval", "consolidation_tokens", "temperature", "top_p", "seed",
    "answer_tokens", "answer_schema", "salience_substance", "salience_coverage",
    "salience_novelty",
}  # fmt: skip

Stop = Annotated[str, Field(min_length=1, max_length=200)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Part(_Strict):
    """A piece of a message."""

    type: Literal["text"] = Field(description="Only text is supported.")
    text: str


class Message(_Strict):
    """One message of the conversation."""

    role: Literal["system", "developer", "user", "assistant"] = Field(
        description="system and developer: instructions; tools are not supported."
    )
    content: str | list[Part]
    name: str | None = Field(None, max_length=200, description="Accepted and ignored.")

    @model_validator(mode="before")
    @classmethod
    def _drop_response_fields(cls, value: object) -> object:
        """Accept a response's fields, which clients send back with earlier answers."""
        if not isinstance(value, dict) or value.get("role") != "assistant":
            return value
        optional = ("refusal", "annotations", "audio", "tool_calls")
        dropped = {"reasoning_content", *(key for key in optional if not value.get(key))}
        return {key: item for key, item in value.items() if key not in dropped}

    @property
    def text(self) -> str:
        """The text of all parts."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content)

    @property
    def as_langchain(self) -> AnyMessage:
        """The message as a LangChain message."""
        match self.role:
            case "user":
                return HumanMessage(self.text)
            case "assistant":
                return AIMessage(self.text)
            case _:
                return SystemMessage(self.text)


class StreamOptions(_Strict):
    """Options of a stream."""

    include_usage: bool = False
    include_obfuscation: Literal[False] | None = None


class NamedSchema(_Strict):
    """A JSON schema with a name."""

    name: str = Field(max_length=64, pattern=r"^[A-Za-z0-9_-]+$")
    description: str | None = None
    strict: bool | None = None
    schema_: dict[str, Any] = Field(alias="schema")


class AsText(_Strict):
    """The answer is prose."""

    type: Literal["text"]


class AsObject(_Strict):
    """The answer is a JSON object."""

    type: Literal["json_object"]


class AsSchema(_Strict):
    """The answer is JSON that fits a schema."""

    type: Literal["json_schema"]
    json_schema: NamedSchema


def _chosen_fields() -> dict[str, Any]:
    """Return some fields of Context as optional ones."""
    fields: dict[str, Any] = {}
    for name, field in Context.model_fields.items():
        if name in EXCLUDED:
            continue
        description = Field(description=field.description)
        kind: Any = field.annotation
        fields[name] = (Annotated[kind | None, *field.metadata, description], None)
    return fields


Settings = create_model("Settings", __base__=_Strict, **_chosen_fields())


class Swarm(Settings):  # type: ignore[valid-type, misc]  # mypy cannot follow create_model
    """Settings of this brain. The model's values apply to those left out."""

    reasoning: bool | None = Field(
        None,
        description="Send what the experts say as `reasoning_content`. Default: only in streams.",
    )


class ChatRequest(_Strict):
    """A chat completion request. Unknown parameters are rejected by name."""

    model: str = Field(max_length=200)
    messages: list[Message] = Field(min_length=1, max_length=10_000)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1, le=131_072)
    max_completion_tokens: int | None = Field(None, ge=1, le=131_072)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = Field(None, ge=0, le=2**31 - 1)
    stop: Stop | Annotated[list[Stop], Field(min_length=1, max_length=4)] | None = None
    user: str | None = Field(None, min_length=1, max_length=100)
    store: bool | None = Field(
        None, description="false: save no thread, recall no memories and store none."
    )
    response_format: Annotated[AsText | AsObject | AsSchema, Field(discriminator="type")] | None = (
        None
    )
    swarm: Swarm | None = None

    @model_validator(mode="before")
    @classmethod
    def _without_neutral(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        return {
            name: item
            for name, item in value.items()
            if not (name in NEUTRAL and (item is None or _among(item, NEUTRAL[name])))
        }

    @model_validator(mode="after")
    def _ends_with_a_question(self) -> ChatRequest:
        if self.messages[-1].role != "user":
            raise ValueError("the last message must be the user's")
        if self.max_tokens and self.max_completion_tokens:
            raise ValueError("give max_tokens or max_completion_tokens, not both")
        return self

    @property
    def stops(self) -> tuple[str, ...]:
        """The texts that end the answer."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def answer_tokens(self) -> int | None:
        """The maximum tokens of the answer."""
        return self.max_completion_tokens or self.max_tokens


def _among(value: object, neutral: tuple[object, ...]) -> bool:
    return any(
        value == other and isinstance(value, bool) == isinstance(other, bool) for other in neutral
    )


@lru_cache(maxsize=1)
def models() -> Mapping[str, str]:
    """Return the model names for clients, with descriptions: presets, topologies.

    It lists a folder, once: servers call it at start.
    """
    names = {FAMILY: "The eight experts with their default settings."}
    names |= {f"{FAMILY}-{p.name}": p.description for p in PRESETS.values()}
    shipped = sorted(path.stem for path in FOLDER.glob("*.yaml"))
    return names | {f"{FAMILY}-{name}": f"The topology {name}." for name in shipped}


def question_of(request: ChatRequest) -> Question:
    """Return a request's question. Raise Problem(404) for an unknown model."""
    if request.model not in models():
        raise Problem(
            404,
            f"The model {request.model} does not exist. Models: {', '.join(models())}.",
            param="model",
            code="model_not_found",
        )
    name = request.model.removeprefix(FAMILY).removeprefix("-")
    preset = PRESETS.get(name)
    settings = {**(preset.settings if preset else {}), **_settings(request)}
    save = request.store is not False
    return Question(
        {"messages": [message.as_langchain for message in request.messages]},
        make_context(settings if save else settings | {"use_memory": False}),
        topology="eight" if preset or not name else name,
        save=save,
    )


def _settings(request: ChatRequest) -> dict[str, object]:
    """Return the settings of a request.

    A stream is not revised, because its words cannot be taken back.
    """
    swarm = request.swarm.model_dump(exclude={"reasoning"}) if request.swarm else {}
    chosen = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": request.seed,
        "answer_tokens": request.answer_tokens,
        "answer_schema": _schema(request),
        "memory_space": request.user,
        "max_revisions": 0 if request.stream else None,
    }
    return {name: value for name, value in [*chosen.items(), *swarm.items()] if value is not None}


def _schema(request: ChatRequest) -> dict[str, Any] | None:
    match request.response_format:
        case AsObject():
            return {"type": "object"}
        case AsSchema(json_schema=named):
            return named.schema_
        case _:
            return None


def buffered(request: ChatRequest) -> bool:
    """Return whether a stream must wait for the whole, revisable answer."""
    return bool(request.swarm and request.swarm.max_revisions)
