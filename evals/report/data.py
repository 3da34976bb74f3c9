"""The data of a report. Unknown values are None; page and summary accept them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NotRequired, TypedDict

from swarm_brain.graph.signal import SignalStatus, Waking
from swarm_brain.graph.state import Provenance

Metric = Literal["accuracy", "quality", "pairwise"]


class Estimate(TypedDict):
    """An estimate and its 95% interval."""

    estimate: float
    low: float
    high: float


class ArmRow(TypedDict):
    """One arm's counts and figures."""

    name: str
    reference: bool
    questions: int
    answered: int
    simulated: int
    unextracted: int
    errors: int
    accuracy: Estimate | None
    quality: Estimate | None
    input_tokens: int | None
    output_tokens: int | None
    tokens_per_question: float | None
    spent_ratio: float | None
    cost_usd: float | None
    duration_s: float
    calls: int


class ComparisonRow(TypedDict):
    """The swarm (`first`) against another arm; `wins` counts the judge's pairs."""

    first: str
    second: str
    metric: Metric
    questions: int
    difference: Estimate | None
    p: float | None
    p_holm: float | None
    mcnemar: Mapping[str, float] | None
    wins: Mapping[str, int] | None
    needed_sample_size: int | None
    valid: bool
    why_invalid: str | None


class ArmShare(TypedDict):
    """One arm's means over some of the questions."""

    n: int
    accuracy: float | None
    quality: float | None


class Stratum(TypedDict):
    """Every arm's means at one level or in one group."""

    level: NotRequired[int]
    name: str
    arms: dict[str, ArmShare]


class ReturnRow(TypedDict):
    """One expert's return on its tokens; `reason` explains a missing rate."""

    expert: str
    per_1000: Estimate | None
    quality: Estimate | None
    tokens: Estimate | None
    reason: str | None


class TraceRow(TypedDict):
    """One signal of the brain."""

    expert: str
    step: int
    woken_by: Sequence[Waking]
    status: SignalStatus
    content: str


class AnswerRow(TypedDict):
    """One answer to a question."""

    text: str
    extracted: str | None
    correct: bool | None
    provenance: Provenance
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    duration_s: float
    calls: int
    agreement: float | None
    error: str | None
    rubric: Sequence[bool | None] | None
    score: float | None
    trace: Sequence[TraceRow]


class QuestionRow(TypedDict):
    """One question with every arm's answers."""

    id: str
    group: str
    level: int | None
    question: str
    choices: Sequence[str]
    answer: str | None
    rubric: Sequence[str]
    arms: dict[str, list[AnswerRow]]


class Analysis(TypedDict):
    """All parts of a report that are computed from answers and judgements."""

    arms: list[ArmRow]
    comparisons: list[ComparisonRow]
    levels: list[Stratum]
    groups: list[Stratum]
    returns: list[ReturnRow]
    calibration: dict[str, object] | None
    judging: dict[str, object] | None
    questions: list[QuestionRow]


class ReportData(Analysis):
    """A whole report: the analysis, the questions and the settings."""

    title: str
    created: str
    command: str
    commit: str | None
    version: str
    dataset: Mapping[str, object]
    model: str
    judge: str | None
    settings: Mapping[str, object]
    topology: Mapping[str, object]
    allocated_tokens: int | None
    repetitions: int
    seed: int | None
