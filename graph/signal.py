"""A signal: the output of one expert in one step, and its entry in the result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NotRequired

from typing_extensions import TypedDict

from swarm_brain.graph.errors import FailureKind

SignalStatus = Literal["ok", "simulated", "failed"]
# What a person did: decided at a pause, or has `written` the words in place of the expert's (fork).
Human = Literal["approve", "edit", "skip", "stop", "written"]

Waking = TypedDict("Waking", {"from": str, "activation": float})  # "from" is a keyword
Waking.__doc__ = "One edge that woke an expert: its source, and weight x salience x gate in 0..1."


class Defect(TypedDict):
    """A critic's objection: a quote from the answer, and the problem with it."""

    quote: str
    problem: str


class Limits(TypedDict):
    """Tokens, dollars and seconds. None is unlimited; of amounts spent, unknown."""

    tokens: int | None
    usd: float | None
    seconds: float | None


class Withdrawal(TypedDict):
    """The text streamed so far was withdrawn `at` this time, for this reason."""

    at: float
    reason: str


class Trace(TypedDict):
    """The live events of one signal, with their times, for replays.

    Times are seconds since the epoch. `spent` and `limits` are the run's account when the expert
    ended.
    """

    woken_at: float
    answered_at: float
    withdrawn: list[Withdrawal]
    spent: Limits
    limits: Limits


# What a field added since version 0.1.0 is read as where an older version has saved a signal or a
# result without it. Without an entry here, such threads cannot be read.
ADDED: Mapping[str, object] = {}


class Outcome(TypedDict):
    """The output of one expert in one step and its cost."""

    step: int
    content: str
    verdict: str | None
    salience: float
    status: SignalStatus
    gates: dict[str, float]
    defects: list[Defect]
    model: str
    attempts: int
    errors: int
    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    latency_s: float
    cost_usd: float | None
    human: Human | None
    error: str | None


class Signal(Outcome):
    """The output of one expert in one step, its cost, and the run's notes on it.

    Signals saved by version 0.1.0 have no `trace`.
    """

    source: str
    woken_by: list[Waking]
    estimated: bool
    trimmed: str | None
    lowered: bool
    cached: bool
    charged_tokens: int
    charged_usd: float | None
    failure: FailureKind | None
    trace: NotRequired[Trace]


class ExpertReport(TypedDict):
    """One expert in the result: it ran, or edges reached but did not wake it.

    The fields that a signal has too are copied from it.
    """

    name: str
    step: int
    status: Literal["ok", "simulated", "failed", "skipped"]
    model: str | None
    attempts: int
    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    estimated: bool
    cached: bool
    latency_s: float
    woken_by: list[Waking]
    human: Human | None
    error: str | None
