"""The state of a run, as plain JSON data, and the reducers that update it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from langchain_core.messages import AnyMessage, RemoveMessage
from langgraph.channels import EphemeralValue
from langgraph.graph.message import add_messages
from pydantic import Field
from typing_extensions import TypedDict

from swarm_brain.graph.signal import Defect, ExpertReport, Signal, Waking
from swarm_brain.graph.workspace import Broadcast, Workspace, compete

Provenance = Literal["full", "degraded", "simulated"]
BEGIN = "begin"  # the node before all experts, a source in topologies
FINISH = "finish"  # the node after all experts

StopReason = Literal["complete", "max_steps", "budget", "deadline", "stopped", "failed"]
MemoryKind = Literal["episode", "fact"]
MEMORY_KINDS: tuple[MemoryKind, ...] = ("episode", "fact")
Effort = Literal["low", "high"]
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


class Usage(TypedDict):
    """The requests of a run and their cost. None means unknown; 0 means none."""

    calls: int
    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    cost_usd: float | None


class RunLimits(TypedDict):
    """The limits that `begin` decided for this run within its budget.

    Without `max_tokens` each model uses its own limit. `answer_tokens` and `answer_usd` are set
    aside for the expert that answers. `reduced` means that the budget allows fewer experts than the
    question deserves. `started` is seconds since the epoch.
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
    """The topology of a run: its name or file path, and its hash."""

    name: str
    hash: str


class Recall(TypedDict):
    """A memory recalled for this question. `score` is the similarity, from -1 to 1."""

    id: str
    kind: MemoryKind
    text: str
    origin: str
    date: str
    score: float


class Memory(TypedDict):
    """The memory of a run, from its thread and from the store.

    From the thread: its last messages and a digest of those before. `dropped` is the part of the
    digest whose messages have left the state. From the store: the recalled memories.
    """

    turns: list[EarlierMessage]
    digest: str
    dropped: str
    recalled: list[Recall]
    note: str | None


def about(text: str) -> object:
    """Describe a field in the JSON schema."""
    return Field(description=text)


def gather(current: Sequence[Signal] | None, update: Sequence[Signal] | None) -> list[Signal]:
    """Append the signals of a step. None empties the list for a new run.

    A signal of the same source and step replaces the old one, so that states can be edited.
    """
    if update is None:
        return []
    merged = {(signal["source"], signal["step"]): signal for signal in [*(current or []), *update]}
    return list(merged.values())


def latest(current: int | None, update: int | None) -> int:
    """Keep the highest step. None starts again at 0 for a new run."""
    return 0 if update is None else max(current or 0, update)


class BrainInput(TypedDict, total=False):
    """A question as text, or a conversation whose last human message is the question."""

    question: Annotated[str, about("The question, as text."), EphemeralValue]
    messages: Annotated[
        list[AnyMessage],
        about(
            "Or a conversation, whose last human message is the question. A thread remembers "
            "earlier messages."
        ),
        add_messages,
    ]


class Result(TypedDict):
    """The result of one run, as `swarm-brain ask --json` prints it."""

    final_output: Annotated[str, about("The answer.")]
    provenance: Annotated[
        Provenance,
        about(
            "How far to trust the answer. full: every expert that was asked answered and no "
            "limit was reached; degraded: a model wrote the answer, but an expert failed or a "
            "limit ended the run early; simulated: no model wrote the answer."
        ),
    ]
    stop_reason: Annotated[StopReason, about("Why the run ended; complete: no limit ended it.")]
    effort: Annotated[
        Effort,
        about(
            "The effort set, or what the question seems to need: low asks three experts, high all."
        ),
    ]
    verdict: Annotated[str | None, about("The short answer, where the question has one.")]
    agreement: Annotated[
        float | None,
        about(
            "Share of drafts with the most frequent verdict; for open questions their mean "
            "similarity. Null with fewer than two drafts."
        ),
    ]
    dissent: Annotated[
        list[str], about("Verdicts and views of drafts that differ from the answer.")
    ]
    revised: Annotated[
        bool,
        about("Whether the answer was revised because the critic quoted a defect."),
    ]
    steps: Annotated[int, about("Number of steps that ran.")]
    model: Annotated[
        str, about("The run's model, as provider:model. Experts may have models of their own.")
    ]
    thread_id: Annotated[
        str | None, about("The thread that the run is saved in; null if it is not saved.")
    ]
    recalled: Annotated[list[Recall], about("Memories that were shown to the experts.")]
    experts: Annotated[
        list[ExpertReport],
        about("One entry for each expert that ran and each that was skipped."),
    ]
    usage: Annotated[Usage, about("Calls, tokens and dollars. Null means unknown.")]
    error: Annotated[
        str | None, about("What went wrong, and for which experts; null if nothing did.")
    ]
    notes: Annotated[list[str], about("Further remarks, for example about memory.")]
    version: Annotated[str, about("The Swarm Brain version that produced this result.")]


RESULT_KEYS = tuple(Result.__annotations__)


class BrainOutput(Result):
    """The result of one run, and the conversation it belongs to."""

    messages: Annotated[
        list[AnyMessage],
        about("The conversation of this thread, with the answer."),
        add_messages,
    ]


class BrainState(BrainOutput, total=False):
    """All channels of the state.

    `question` is cleared after one LangGraph superstep, so the thread's next run does not see it.
    """

    question: Annotated[
        str,
        about("The question, as text. It is cleared after one LangGraph superstep."),
        EphemeralValue,
    ]
    run_id: Annotated[str, about("The id of this run in journals and memories.")]
    settings: Annotated[dict[str, Any], about("The settings that the run started with and keeps.")]
    topology: Annotated[Begun, about("The topology that the run started with.")]
    limits: Annotated[
        RunLimits,
        about("The limits within the budget, decided at the start."),
    ]
    query: Annotated[str, about("The question of this run, as the experts see it.")]
    instructions: Annotated[str, about("The caller's system messages: how to answer.")]
    seed: Annotated[int, about("Seed for the order of drafts and for sampling.")]
    all_simulated: Annotated[bool, about("Whether all experts of this run are simulated.")]
    memory: Annotated[Memory, about("Memories of the thread and the store for this question.")]
    signals: Annotated[
        list[Signal],
        about(
            "The experts' signals, one entry for each expert and step. Writing an entry of the "
            "same expert and step replaces the old one."
        ),
        gather,
    ]
    workspace: Annotated[
        Workspace,
        about("The signals broadcast to all later experts, by step."),
        compete,
    ]
    step: Annotated[int, about("The number of the last step that ran."), latest]


class Reset(TypedDict):
    """The fields that every new run sets. None empties a channel."""

    settings: dict[str, Any]
    topology: Begun
    version: str
    signals: None
    step: None
    workspace: Workspace


class BeginUpdate(Reset):
    """The update that `begin` writes."""

    run_id: str
    limits: RunLimits
    query: str
    instructions: str
    seed: int
    effort: Effort
    model: str
    all_simulated: bool
    memory: Memory
    messages: list[RemoveMessage]


class ExpertUpdate(TypedDict):
    """The update that an expert writes: signal, step and workspace candidate."""

    signals: list[Signal]
    step: int
    workspace: list[Broadcast]


Update = BeginUpdate | ExpertUpdate | BrainOutput  # the last is what `finish` writes
