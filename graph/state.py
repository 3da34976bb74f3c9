"""What changes during a run, as plain JSON data, and the reducers through which it changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, NotRequired

from langchain_core.messages import AnyMessage, RemoveMessage
from langgraph.channels import EphemeralValue
from langgraph.graph.message import add_messages
from pydantic import Field
from typing_extensions import TypedDict

from swarm_brain.graph.errors import FailureKind
from swarm_brain.graph.workspace import Broadcast, Workspace, compete

SignalStatus = Literal["ok", "simulated", "failed"]
Provenance = Literal["full", "degraded", "simulated"]
BEGIN = "begin"  # the node before all experts, a source in topologies
FINISH = "finish"  # the node after all experts

StopReason = Literal["complete", "max_steps", "budget", "deadline", "stopped", "failed"]
MemoryKind = Literal["episode", "fact"]
MEMORY_KINDS: tuple[MemoryKind, ...] = ("episode", "fact")
Effort = Literal["low", "high"]
# What a person did: decided at a pause, or has `written` the words that stand there (a fork).
Human = Literal["approve", "edit", "skip", "stop", "written"]
EFFORTS: tuple[Effort, ...] = ("low", "high")

__all__ = [
    "BrainInput",
    "BrainOutput",
    "BrainState",
    "Defect",
    "Effort",
    "ExpertReport",
    "Provenance",
    "Recall",
    "Result",
    "Signal",
    "StopReason",
    "Usage",
    "Waking",
]

Waking = TypedDict("Waking", {"from": str, "activation": float})  # "from" is a keyword
Waking.__doc__ = "One edge that woke an expert: its source, and weight x salience x gate in 0..1."


class Defect(TypedDict):
    """What a critic objects to: words that stand in the answer, and what is wrong with them."""

    quote: str
    problem: str


class Usage(TypedDict):
    """What was asked on the wire and what it cost; unknown is None, never 0."""

    calls: int
    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    cost_usd: float | None


class Limits(TypedDict):
    """Tokens, dollars and seconds. None as a limit is unlimited; as an amount spent, unknown."""

    tokens: int | None
    usd: float | None
    seconds: float | None


class Withdrawal(TypedDict):
    """The text streamed so far was withdrawn `at` this time, for this reason."""

    at: float
    reason: str


class Trace(TypedDict):
    """What a run reported live about one signal, and when; a replay repeats it.

    Times are seconds since the epoch. `spent` and `limits` are the run's account when the expert
    ended.
    """

    woken_at: float
    answered_at: float
    withdrawn: list[Withdrawal]
    spent: Limits
    limits: Limits


class Signal(TypedDict):
    """What one expert says in one step, and what it took to get it said.

    Signals saved by version 0.1.0 have no `trace`.
    """

    source: str
    step: int
    content: str
    verdict: str | None
    salience: float
    status: SignalStatus
    gates: dict[str, float]
    defects: list[Defect]
    woken_by: list[Waking]
    model: str
    attempts: int
    errors: int
    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    estimated: bool
    latency_s: float
    cost_usd: float | None
    trimmed: str | None
    lowered: bool
    cached: bool
    charged_tokens: int
    charged_usd: float | None
    human: Human | None
    failure: FailureKind | None
    error: str | None
    trace: NotRequired[Trace]


class RunLimits(TypedDict):
    """What `begin` decided for this run within its budget; None as max_tokens: the model's own.

    `answer_tokens` and `answer_usd` are set aside for the answering expert; `reduced` says that
    fewer experts are woken than the question deserves. `started` is seconds since the epoch.
    """

    max_steps: int
    max_tokens: int | None
    answer_tokens: int
    answer_usd: float | None
    started: float
    reduced: bool


class EarlierMessage(TypedDict):
    """An earlier message of this conversation."""

    role: Literal["user", "assistant"]
    text: str


class Begun(TypedDict):
    """The topology a run was begun with: its name (a shipped one's, or a path) and its hash."""

    name: str
    hash: str


class Recall(TypedDict):
    """A memory recalled for this question; `score` is the similarity, -1..1."""

    id: str
    kind: MemoryKind
    text: str
    origin: str
    date: str
    score: float


class Memory(TypedDict):
    """Short-term: the last turns of this thread, a digest of those before them, of which
    `dropped` counts the messages that are no longer in the state. Recalled: from the store."""

    turns: list[EarlierMessage]
    digest: str
    dropped: str
    recalled: list[Recall]
    note: str | None


class ExpertReport(TypedDict):
    """One line of the result: an expert's run, or that it was considered and skipped."""

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


def about(text: str) -> Any:
    """What a field holds, for those who read the schema."""
    return Field(description=text)


def gather(current: Sequence[Signal] | None, update: Sequence[Signal] | None) -> list[Signal]:
    """Append the signals of a wave; None empties the list for a new run.

    A signal of the same source and step replaces the old one, so that states can be edited.
    """
    if update is None:
        return []
    merged = {(signal["source"], signal["step"]): signal for signal in [*(current or []), *update]}
    return list(merged.values())


def latest(current: int | None, update: int | None) -> int:
    """Keep the highest step of a wave's siblings; None starts again at 0."""
    return 0 if update is None else max(current or 0, update)


class BrainInput(TypedDict, total=False):
    """A question as text, or a conversation whose last human message is the question."""

    question: Annotated[str, about("What is asked, as text."), EphemeralValue]
    messages: Annotated[
        list[AnyMessage],
        about(
            "Or a conversation: its last human message is the question. In a thread, earlier "
            "messages are remembered."
        ),
        add_messages,
    ]


class Result(TypedDict):
    """The result of one run, as `swarm-brain ask --json` prints it."""

    final_output: Annotated[str, about("The answer.")]
    provenance: Annotated[
        Provenance,
        about(
            "How far to trust it. full: every woken expert answered and no limit was hit; "
            "degraded: an expert failed, or a limit cut the run short, but a model wrote the "
            "answer; simulated: no model wrote it."
        ),
    ]
    stop_reason: Annotated[StopReason, about("Why the run ended; complete: by itself.")]
    effort: Annotated[
        Effort,
        about(
            "What the question was found to deserve, or was told: low asks three experts, high all."
        ),
    ]
    verdict: Annotated[str | None, about("The short answer, where the question has one.")]
    agreement: Annotated[
        float | None,
        about(
            "Share of drafts with the most frequent verdict; for open questions their mean "
            "similarity; null with fewer than two drafts."
        ),
    ]
    dissent: Annotated[
        list[str], about("Verdicts and views of drafts that the answer did not adopt.")
    ]
    revised: Annotated[
        bool,
        about("Whether a defect that the critic quoted has led to a second answer."),
    ]
    steps: Annotated[int, about("Waves of experts that ran.")]
    model: Annotated[str, about("Who answered, as provider:model; experts may have their own.")]
    thread_id: Annotated[str | None, about("The thread that keeps the run; null if none does.")]
    recalled: Annotated[list[Recall], about("Memories that the experts were shown.")]
    experts: Annotated[
        list[ExpertReport],
        about("One line for each expert that ran, and each that was gated off."),
    ]
    usage: Annotated[Usage, about("Calls, tokens and dollars; null where unknown.")]
    error: Annotated[str | None, about("What went wrong, and for whom; null if nothing did.")]
    notes: Annotated[list[str], about("What else is to be known, about memory for example.")]
    version: Annotated[str, about("Of Swarm Brain.")]


RESULT_KEYS = tuple(Result.__annotations__)


class BrainOutput(Result):
    """The result of one run, and the conversation it belongs to."""

    messages: Annotated[
        list[AnyMessage],
        about("The conversation of this thread, with the answer."),
        add_messages,
    ]


class BrainState(BrainOutput, total=False):
    """All channels. `question` lives for one superstep: a thread's next run sees no old one."""

    question: Annotated[
        str,
        about("What is asked, as text; it lives for one superstep."),
        EphemeralValue,
    ]
    run_id: Annotated[str, about("Of this question, as journals and memories name it.")]
    settings: Annotated[
        dict[str, Any], about("The settings that the run was begun with, and keeps.")
    ]
    topology: Annotated[Begun, about("The topology that the run was begun with.")]
    limits: Annotated[
        RunLimits,
        about("What the budget has left of the settings, decided at the start."),
    ]
    query: Annotated[str, about("The question of this run, as its experts are shown it.")]
    instructions: Annotated[str, about("What the caller's system messages ask of the answer.")]
    seed: Annotated[int, about("Of the order of drafts, and of sampling.")]
    all_simulated: Annotated[bool, about("Whether no expert of this run has a real model.")]
    memory: Annotated[Memory, about("What this thread and the store remember for this question.")]
    signals: Annotated[
        list[Signal],
        about(
            "What each expert has said, one entry for each expert and step; writing one of the "
            "same expert and step replaces it."
        ),
        gather,
    ]
    workspace: Annotated[
        Workspace,
        about("Whose signals were broadcast to all later experts, wave by wave."),
        compete,
    ]
    step: Annotated[int, about("Waves of experts that have run."), latest]


class BeginUpdate(TypedDict):
    """What `begin` writes. None empties a channel of what the thread's last run left there."""

    run_id: str
    settings: dict[str, Any]
    topology: Begun
    version: str
    limits: RunLimits
    query: str
    instructions: str
    seed: int
    effort: Effort
    model: str
    all_simulated: bool
    memory: Memory
    messages: list[RemoveMessage]
    signals: None
    step: None
    workspace: Workspace


class ExpertUpdate(TypedDict):
    """What an expert's node writes: its signal, its step and whether it competes for broadcast."""

    signals: list[Signal]
    step: int
    workspace: list[Broadcast]


Update = BeginUpdate | ExpertUpdate | BrainOutput  # the last is what `finish` writes
