"""A call and its reply, as data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from langchain_core.messages import BaseMessage

from swarm_brain.calls.reply_cache import Cache
from swarm_brain.graph.errors import ModelError
from swarm_brain.models.binding import JsonSchema, Sampling
from swarm_brain.spending.ledger import Amount, Ledger
from swarm_brain.spending.reservations import Journal


@dataclass(frozen=True)
class Call:
    """One question to one model. `schema` asks for JSON; `label` names the asking expert.

    `ledger` is the account of the run, `journal` its copy outside the process; `answering` lets the
    call spend what is set aside for the answer; `wanted_tokens` is the reply's length without a
    budget. A reply is kept in `cache` if it is `readable`. `payer` is who has signed in at a
    server, None for the local user: against their limits for a day the call counts.
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
    journal: Journal | None = None
    readable: Callable[[str], bool] = lambda _: True
    payer: str | None = None
    run: str | None = None


@dataclass
class Reply:
    """What came back. `attempts` are requests on the wire, `errors` those of them that failed.

    Token counts are None where no attempt succeeded; `estimated` says that we counted them.
    `charged` is what the ledger was charged, failed attempts that may have been billed included.
    `lowered` says that the budget allowed a shorter reply than was asked for, and it was used up.
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
