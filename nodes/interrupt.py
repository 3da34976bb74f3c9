"""Pause before an expert: a person sees what the expert would see, and decides.

The run is interrupted in LangGraph's own way, so another process can resume it days later with
`Command(resume={"action": ...})`. The time of a pause does not count.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from langgraph.errors import GraphInterrupt
from langgraph.types import interrupt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from swarm_brain.graph.errors import ConfigError, ModelError
from swarm_brain.graph.state import BrainState
from swarm_brain.nodes.turn import ModelTurn
from swarm_brain.spending.ledger import Ledger

Action = Literal["approve", "edit", "skip", "stop"]
ACTIONS: tuple[Action, ...] = ("approve", "edit", "skip", "stop")
SKIPPED, STOPPED = "skipped at a pause", "the run was stopped at a pause"


class Decision(TypedDict):
    """A person's decision. With `edit` the expert is shown `sees` instead."""

    action: Action
    sees: str | None


class _Answer(BaseModel):
    """The value of `Command(resume=...)`: this object, or the action as a string."""

    model_config = ConfigDict(extra="forbid")

    action: Action = Field(
        description="approve: ask the expert; edit: ask it, but show it `sees` instead; skip: do "
        "not ask it; stop: ask no further expert and answer with what there is."
    )
    sees: str | None = Field(  # with a maximum pydantic also refuses half a surrogate pair
        None, max_length=1_000_000, description="What the expert is shown instead (with edit)."
    )

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, value: object) -> object:
        return {"action": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _complete(self) -> _Answer:
        if (self.action == "edit") != bool(self.sees and self.sees.strip()):
            raise ValueError("edit needs `sees`, the text to show; other actions do not accept it")
        return self


def decide(turn: ModelTurn, sees: str, ledger: Ledger) -> Decision | None:
    """Return a person's decision about this expert; None if the run does not pause.

    Raises GraphInterrupt the first time. Raises pydantic's ValidationError for an invalid decision;
    the run then stays paused.
    """
    if turn.expert.name not in turn.context.pause_before or stopped(turn.state):
        return None
    question = {
        "expert": turn.expert.name,
        "step": turn.step,
        "model": turn.binding.spec,
        "woken_by": turn.woken_by,
        "procedure": turn.expert.prompt,
        "sees": sees,
        "actions": list(ACTIONS),
    }
    try:
        answer: _Answer = interrupt(question, response_schema=_Answer)
    except GraphInterrupt:
        ledger.hold()
        raise
    ledger.go_on()
    return {"action": answer.action, "sees": answer.sees}


def check_decision(value: object) -> None:
    """Raise ConfigError unless the value is a valid decision."""
    try:
        _Answer.model_validate(value)
    except ValidationError:
        raise ConfigError(
            'Not a decision: write "approve", "skip", "stop" or {"action": "edit", "sees": "..."}.'
        ) from None


def stopped(state: BrainState) -> bool:
    """Return whether a person stopped the run at a pause."""
    return any(signal["failure"] == "stopped" for signal in state.get("signals", []))


def prevented(state: BrainState, decision: Decision | None) -> ModelError | None:
    """Return why a person's decision prevents asking the expert, or None."""
    if stopped(state) or (decision and decision["action"] == "stop"):
        return ModelError("stopped", STOPPED)
    if decision and decision["action"] == "skip":
        return ModelError("skipped", SKIPPED)
    return None


def check(pause_before: tuple[str, ...], experts: list[str], thread: str | None) -> None:
    """Raise ConfigError if the run does not support a pause there."""
    if unknown := sorted(set(pause_before) - set(experts)):
        raise ConfigError(
            f"pause_before names {', '.join(unknown)}; this topology has {', '.join(experts)}."
        )
    if pause_before and thread is None:
        raise ConfigError(
            "pause_before needs a saved thread: compile with a checkpointer and set "
            "configurable.thread_id."
        )
