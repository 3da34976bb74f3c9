"""A binding: one model made callable, with what must be known about it to call it well."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from langchain_core.language_models import LanguageModelInput
    from langchain_core.messages import AIMessage
    from langchain_core.runnables import Runnable

from swarm_brain.calls.error_map import Origin
from swarm_brain.calls.rate_limit import Pace

JsonSchema = Mapping[str, Any]
Layout = Literal["role_first", "shared_first"]
UNPACED = Pace()


@dataclass(frozen=True)
class Sampling:
    """How a reply is drawn. `max_tokens` is the reply's upper bound, in tokens."""

    temperature: float
    top_p: float
    max_tokens: int
    seed: int | None = None


def no_schema(name: str, schema: JsonSchema) -> dict[str, Any]:
    """For models that take no JSON schema: the prompt alone asks for JSON."""
    return {}


@dataclass(frozen=True)
class Binding:
    """A model behind a `provider:model` string.

    `endpoint` is where the calls go: refusals, limits and circuits are kept per endpoint.
    `tuned` gives the LangChain runnable for a sampling; `schema_arguments` the call arguments that
    ask for JSON. `context_tokens` is asked only when it matters, because asking may cost a request;
    None means unknown. `count_tokens` is exact; None means there is no tokenizer at hand.
    `pace` is what the endpoint allows, `layout` the order of prompts that it reads fastest. `price`
    turns (input, cached input, output) tokens into dollars; None means unknown. `states_end`: a
    stream that does not say why it ended has broken off.
    """

    spec: str
    endpoint: str
    tuned: Callable[[Sampling], Runnable[LanguageModelInput, AIMessage]]
    max_tokens: int
    context_tokens: Callable[[], int | None] = lambda: None
    count_tokens: Callable[[str], int] | None = None
    schema_arguments: Callable[[str, JsonSchema], dict[str, Any]] = no_schema
    call_arguments: Callable[[str, str | None], dict[str, object]] = lambda label, run: {}
    price: Callable[[int, int, int], float | None] = lambda *_: None
    pace: Pace = UNPACED
    layout: Layout = "role_first"
    states_end: bool = False
    simulated: bool = False
    secret: str | None = field(default=None, repr=False)

    @property
    def takes_schema(self) -> bool:
        """Whether the endpoint can be asked for JSON by schema."""
        return self.schema_arguments is not no_schema

    @property
    def origin(self) -> Origin:
        """What error messages name."""
        return Origin(self.spec, self.endpoint, self.secret)


def estimate_tokens(text: str) -> int:
    """Tokens of a text without its tokenizer: four bytes each, the usual ratio for English."""
    return -(-len(text.encode()) // 4)
