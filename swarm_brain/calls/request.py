"""A call to a model and its reply, as data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from langchain_core.messages import BaseMessage

from swarm_brain.calls.reply_cache import Cache
from swarm_brain.graph.errors import ModelError
from swarm_brain.models.binding import JsonSchema, Sampling
from swarm_brain.spending.ledger import Amount, Ledger
from swarm_brain.spending.reservations import Reservations


@dataclass(frozen=True)
class Call:
    """One question to one model.

    `label` names the expert that asks, `run` its run. `schema` asks for JSON. `ledger` is the run's
    account and `reservations` its copy outside the process; `answering` lets the call spend what is
    set aside for the answer. `wanted_tokens` is the reply's length without a budget. A `readable`
    reply is saved in `cache`. `payer` is the user of a server whose daily quota the call counts
    against, None for the local user.
    """

    messages: Sequence[BaseMessage]
    sampling: Sampling
    timeout: float
    max_attempts: int
    label: str
    schema: JsonSchema | None = None
    ledger: Ledger = field(default_factory=Ledger)
    answering: bool = False
    wanted_tokens: int | None = None
    cache: Cache | None = None
    reservations: Reservations | None = None
    readable: Callable[[str], bool] = lambda _: True
    payer: str | None = None
    run: str | None = None


@dataclass
class Reply:
    """The outcome of a call: a text, or an `error`.

    `attempts` counts the requests that were sent, `errors` those that failed. Token counts are
    None if no attempt succeeded, and `estimated` if the endpoint did not report them. `charged`
    includes failed attempts that may have been billed. `lowered`: the budget shortened the reply
    to a length that it used up.
    """

    text: str = ""
    attempts: int = 0
    errors: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    estimated: bool = False
    latency_s: float = 0.0
    cost_usd: float | None = None
    charged: Amount = field(default_factory=Amount)
    lowered: bool = False
    from_cache: bool = False
    error: ModelError | None = None
