"""What a run tells while it goes, in LangGraph's stream mode `custom`. Plain JSON data.

    begun      once, by `begin`: how much effort, who is woken first, what was recalled
    woken      for each expert that runs: by which edges, with which activation
    answered   for each expert that ran: what it took, and what became of each of its edges
    budget     after each `answered`: what the run has spent so far, of how much
    broadcast  after each wave that filled the workspace: whose signals entered it
    revised    the text streamed for this expert so far is void; new text follows

Words come as they are written by the mode `messages` (on a server `messages-tuple`), with the
expert in `langgraph_node`; the result by `values`. A resumed run tells `begun` no more, and may
repeat a wave's `broadcast`.
"""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from swarm_brain.graph.state import Effort, Human, Recall, SignalStatus, Waking


class Limits(TypedDict):
    """Tokens, dollars and seconds; as a limit, None is unlimited; as spending, unknown."""

    tokens: int | None
    usd: float | None
    seconds: float | None


class Reached(TypedDict):
    """One waking edge of the expert that has answered, whether it fired or not.

    `activation` is weight x salience x `gate`, all in 0..1; `gate` is None where the target has
    none. It fired if the activation reached the run's threshold; a revision's edge, from a critic
    to synthesis, if a quoted defect bought one. `to` may still be woken by another edge.
    """

    to: str
    gate: float | None
    activation: float
    fired: bool


class Begun(TypedDict):
    """The run begins. `max_steps` is what the budget has left of the setting."""

    event: Literal["begun"]
    effort: Effort
    max_steps: int
    model: str
    woken: list[str]
    recalled: list[Recall]
    limits: Limits


class Woken(TypedDict):
    """An expert starts; `begin` wakes with activation 1."""

    event: Literal["woken"]
    expert: str
    step: int
    model: str
    woken_by: list[Waking]


class Answered(TypedDict):
    """An expert has ended, well or not. Tokens and cost are None where they are unknown.

    `content` is all it said, also where no words were streamed: from the cache, or simulated.
    `human` is what a person decided at a pause before it; `error` says why it failed, or was not
    asked. Seconds.
    """

    event: Literal["answered"]
    expert: str
    step: int
    model: str
    status: SignalStatus
    content: str
    verdict: str | None
    salience: float
    edges: list[Reached]
    attempts: int
    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    cost_usd: float | None
    latency_s: float
    human: Human | None
    error: str | None


class Spending(TypedDict):
    """The run's account, as the hard limits count it: failed requests and estimates included."""

    event: Literal["budget"]
    step: int
    spent: Limits
    limits: Limits


class Entered(TypedDict):
    """A signal that has won a place in the workspace."""

    source: str
    salience: float


class Broadcasting(TypedDict):
    """Whose signals of wave `step` every later expert is shown, the most salient first."""

    event: Literal["broadcast"]
    step: int
    capacity: int
    entered: list[Entered]


class Revised(TypedDict):
    """What this expert's stream said before is withdrawn: it writes anew, for this reason."""

    event: Literal["revised"]
    expert: str
    step: int
    reason: str


Event = Begun | Woken | Answered | Spending | Broadcasting | Revised
