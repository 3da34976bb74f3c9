"""A binding: one callable model, and the facts that a caller needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from langchain_core.language_models import LanguageModelInput
    from langchain_core.messages import AIMessage
    from langchain_core.runnables import Runnable

from swarm_brain.calls.error_map import Origin
from swarm_brain.calls.rate_limit import Pace

__all__ = ["Binding", "Sampling"]

JsonSchema = Mapping[str, object]
CallArguments = dict[str, object]
Layout = Literal["role_first", "shared_first"]
UNPACED = Pace()


@dataclass(frozen=True)
class Sampling:
    """Sampling parameters; `max_tokens` limits the reply."""

    temperature: float
    top_p: float
    max_tokens: int
    seed: int | None = None


def no_schema(name: str, schema: JsonSchema) -> CallArguments:
    """Return no arguments, for a model that takes no JSON schema."""
    return {}


@dataclass(frozen=True)
class Binding:
    """A model behind a `provider:model` string.

    `endpoint` is where the calls go; refusals, limits and circuits are per endpoint.
    `tuned` returns the LangChain runnable for a sampling. `schema_arguments` returns the call
    arguments that ask for JSON, `call_arguments` those that name the expert and the run.
    `context_tokens` may cost a request and is called only if needed; None means unknown.
    `count_tokens` is exact; None means that there is no tokenizer. `pace` is the endpoint's limits,
    `layout` the order of prompts that it reads fastest. `price` returns the dollars of (input,
    cached input, output) tokens, None if unknown. `states_end`: a stream without a finish reason
    has broken off.
    """

    spec: str
    endpoint: str
    tuned: Callable[[Sampling], Runnable[LanguageModelInput, AIMessage]]
    max_tokens: int
    context_tokens: Callable[[], int | None] = lambda: None
    count_tokens: Callable[[str], int] | None = None
    schema_arguments: Callable[[str, JsonSchema], CallArguments] = no_schema
    call_arguments: Callable[[str, str | None], CallArguments] = lambda label, run: {}
    price: Callable[[int, int, int], float | None] = lambda *_: None
    pace: Pace = UNPACED
    layout: Layout = "role_first"
    states_end: bool = False
    simulated: bool = False
    secret: str | None = field(default=None, repr=False)

    @property
    def takes_schema(self) -> bool:
        """Whether the model takes a JSON schema."""
        return self.schema_arguments is not no_schema

    @property
    def origin(self) -> Origin:
        """Return the origin for error messages."""
        return Origin(self.spec, self.endpoint, self.secret)


def estimate_tokens(text: str) -> int:
    """Estimate the tokens of a text at four bytes each."""
    return -(-len(text.encode()) // 4)
