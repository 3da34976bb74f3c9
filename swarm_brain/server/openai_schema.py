"""A chat request as OpenAI's clients send it, checked, and what it asks of the brain."""

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
from swarm_brain.server.runs import Question

FAMILY = "swarm-brain"
# Parameters of OpenAI that say nothing new with these values; with any other they are refused.
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
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
# Settings of a run that a request may choose in its `swarm` field.
CHOSEN = (
    "effort", "max_steps", "max_revisions", "max_tokens", "threshold", "capacity", "use_memory",
    "memory_space", "recall_limit", "recall_floor", "use_global_workspace", "on_error",
    "budget_tokens", "budget_usd", "budget_seconds", "timeout", "max_attempts", "without",
)  # fmt: skip


Stop = Annotated[str, Field(min_length=1, max_length=200)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Part(_Strict):
    """A piece of a message."""

    type: Literal["text"] = Field(description="Only text is understood.")
    text: str


class Message(_Strict):
    """One message of the conversation."""

    role: Literal["system", "developer", "user", "assistant"] = Field(
        description="system and developer: how to answer; tools are not supported."
    )
    content: str | list[Part]
    name: str | None = Field(None, max_length=200, description="Accepted, without effect.")

    @model_validator(mode="before")
    @classmethod
    def _own_words_back(cls, given: Any) -> Any:
        """What our own answers carry is taken back from clients that send whole messages."""
        if isinstance(given, dict) and given.get("role") == "assistant":
            empty = {
                key
                for key in ("refusal", "annotations", "audio", "tool_calls")
                if not given.get(key)
            }
            return {k: v for k, v in given.items() if k not in empty | {"reasoning_content"}}
        return given

    @property
    def text(self) -> str:
        """The words."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content)

    @property
    def said(self) -> AnyMessage:
        """The message as LangChain has it."""
        match self.role:
            case "user":
                return HumanMessage(self.text)
            case "assistant":
                return AIMessage(self.text)
            case _:
                return SystemMessage(self.text)


class StreamOptions(_Strict):
    """What a stream tells besides the answer."""

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


def _settings_chosen() -> dict[str, Any]:
    """Fields of Context, none of them required, with their bounds and descriptions."""
    fields: dict[str, Any] = {}
    for name in CHOSEN:
        field = Context.model_fields[name]
        told = Field(description=field.description)
        kind: Any = field.annotation
        fields[name] = (Annotated[kind | None, *field.metadata, told], None)
    return fields


Settings = create_model("Settings", __base__=_Strict, **_settings_chosen())


class Swarm(Settings):  # type: ignore[valid-type, misc]
    """What only this brain understands; every setting stays as the model has it if left out."""

    reasoning: bool | None = Field(
        None,
        description="Tell what the experts say as `reasoning_content`. Default: in a stream yes, "
        "else no.",
    )


class ChatRequest(_Strict):
    """A chat completion asked of the brain. What is not listed here is refused by name."""

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
        None, description="false: keep no thread, recall nothing and remember nothing."
    )
    response_format: Annotated[AsText | AsObject | AsSchema, Field(discriminator="type")] | None = (
        None
    )
    swarm: Swarm | None = None

    @model_validator(mode="before")
    @classmethod
    def _without_neutral(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        return {
            name: value
            for name, value in given.items()
            if not (name in NEUTRAL and (value is None or _among(value, NEUTRAL[name])))
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
        """The texts before which the answer ends."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def answer_tokens(self) -> int | None:
        """Tokens of the answer at most."""
        return self.max_completion_tokens or self.max_tokens


def _among(value: Any, neutral: tuple[Any, ...]) -> bool:
    return any(
        value == other and isinstance(value, bool) == isinstance(other, bool) for other in neutral
    )


@lru_cache(maxsize=1)
def models() -> Mapping[str, str]:
    """The names by which the brain is asked, and what each is: presets, then topologies.

    Looks into a folder, once: a server does it when it starts.
    """
    named = {FAMILY: "The eight experts with their default settings."}
    named |= {f"{FAMILY}-{p.name}": p.description for p in PRESETS.values()}
    shipped = sorted(path.stem for path in FOLDER.glob("*.yaml"))
    return named | {f"{FAMILY}-{name}": f"The topology {name}." for name in shipped}


def question_of(request: ChatRequest) -> Question:
    """What a request asks. Raises Problem(404) for a model there is not, ConfigError."""
    if request.model not in models():
        raise Problem(
            404,
            f"The model {request.model} does not exist; there are {', '.join(models())}.",
            param="model",
            code="model_not_found",
        )
    name = request.model.removeprefix(FAMILY).removeprefix("-")
    preset = PRESETS.get(name)
    settings = {**(preset.settings if preset else {}), **_settings(request)}
    keep = request.store is not False
    return Question(
        {"messages": [message.said for message in request.messages]},
        make_context(settings if keep else settings | {"use_memory": False}),
        topology="eight" if preset or not name else name,
        save=keep,
    )


def _settings(request: ChatRequest) -> dict[str, Any]:
    """The settings that a request chooses; a stream cannot be taken back, so it is not revised."""
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
    """Whether a stream waits for the whole answer, because it may be revised."""
    return bool(request.swarm and request.swarm.max_revisions)
