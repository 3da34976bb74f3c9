"""The events of a run, live or saved, as one typed union of plain JSON data.

    started    the run has a thread (None: it is not saved) and an id
    begun      the effort was decided: the experts to wake, the memories recalled
    woken      an expert starts: which edges woke it, with which activation
    token      a piece of an expert's text, as it is generated
    revised    the text streamed for this expert so far is withdrawn; new text follows
    answered   an expert has ended: its text, what it used, what became of each of its edges
    budget     after each `answered`: what the run has spent so far, and its limits
    broadcast  after each step that filled the workspace: the signals that entered it
    paused     the run waits for a person's decisions
    finished   the run has ended with this result
    error      the run has ended without one

`swarm_brain.runs` reports all of them. The graph itself writes `begun`, `woken`, `revised`,
`answered`, `budget` and `broadcast` to LangGraph's stream mode `custom`, where a resumed run may
repeat a step's `broadcast`. Fields are only ever added.
"""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from swarm_brain.graph.signal import Defect, Limits, Outcome, Waking
from swarm_brain.graph.state import Effort, Recall, Result

__all__ = [
    "Answered",
    "Begun",
    "Broadcasting",
    "Entered",
    "Event",
    "Failed",
    "Failure",
    "Finished",
    "Pause",
    "Paused",
    "Reached",
    "Revised",
    "Spending",
    "Started",
    "Token",
    "Woken",
    "Written",
]


class Reached(TypedDict):
    """One waking edge of an expert that has answered, whether it fired or not.

    `activation` is weight x salience x `gate`, all in 0..1. `gate` is None for a target without
    one. An edge fires if its activation reaches the run's threshold. A revision's edge, from a
    critic to synthesis, fires if a quoted defect causes one. Another edge may still wake `to`.
    """

    to: str
    gate: float | None
    activation: float
    fired: bool


class Entered(TypedDict):
    """A signal that won a place in the workspace."""

    source: str
    salience: float


class Pause(TypedDict):
    """One pending decision of a person: the expert, and what it would be shown."""

    id: str
    expert: str
    step: int
    model: str
    woken_by: list[Waking]
    procedure: str
    sees: str
    actions: list[str]


class Failure(TypedDict):
    """The reason why a run has no result. `code` names its kind for programs."""

    message: str
    type: str
    param: str | None
    code: str | None


class Started(TypedDict):
    """The run is about to begin or to continue. `run` is the id that cancels it."""

    event: Literal["started"]
    thread: str | None
    run: str


class Begun(TypedDict):
    """The effort was decided, and `max_steps` within the budget."""

    event: Literal["begun"]
    effort: Effort
    max_steps: int
    model: str
    woken: list[str]
    recalled: list[Recall]
    limits: Limits


class Woken(TypedDict):
    """An expert starts. `begin` wakes with activation 1."""

    event: Literal["woken"]
    expert: str
    step: int
    model: str
    woken_by: list[Waking]


class Token(TypedDict):
    """A piece of an expert's text. Saved runs have none: see `answered`."""

    event: Literal["token"]
    expert: str
    step: int
    text: str


class Revised(TypedDict):
    """The text streamed for this expert so far is withdrawn."""

    event: Literal["revised"]
    expert: str
    step: int
    reason: str


class Answered(Outcome):
    """An expert has ended, well or not. Unknown tokens and costs are None.

    `content` is its whole text, also where nothing was streamed: from the cache, or simulated.
    `edges` is None for a saved run whose topology has changed since. `human` is what a person
    decided at a pause before it. `error` says why it failed or was not asked.
    """

    event: Literal["answered"]
    expert: str
    edges: list[Reached] | None


class Spending(TypedDict):
    """The run's account, including failed requests and estimates."""

    event: Literal["budget"]
    step: int
    spent: Limits
    limits: Limits


class Broadcasting(TypedDict):
    """The signals of `step` that all later experts see, most salient first."""

    event: Literal["broadcast"]
    step: int
    capacity: int
    entered: list[Entered]


class Paused(TypedDict):
    """The run waits for a decision about each of these experts."""

    event: Literal["paused"]
    paused: list[Pause]


class Finished(TypedDict):
    """The run has ended. `answer_tokens` counts the answer alone; None if unknown."""

    event: Literal["finished"]
    result: Result
    defects: list[Defect]
    all_simulated: bool
    answer_tokens: int | None


class Failed(TypedDict):
    """The run has ended without a result."""

    event: Literal["error"]
    error: Failure


Written = Begun | Woken | Revised | Answered | Spending | Broadcasting
Event = Started | Written | Token | Paused | Finished | Failed
