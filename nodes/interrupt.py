"""A pause before an expert: a person sees what it would see, and decides.

The run is interrupted in LangGraph's own way, so that it may be resumed by another process, days
later, with `Command(resume={"action": ...})`. Nothing runs meanwhile and no clock does.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

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
    """What a person decided; `sees` is what the expert is shown instead, with `edit`."""

    action: Action
    sees: str | None


class _Answer(BaseModel):
    """The form of `Command(resume=...)`. A bare action will do: `Command(resume="approve")`."""

    model_config = ConfigDict(extra="forbid")

    action: Action = Field(
        description="approve: ask the expert; edit: ask it, showing `sees` instead; skip: do not "
        "ask it; stop: ask nobody any more and answer with what there is."
    )
    sees: str | None = Field(  # bounded, which makes pydantic refuse half a surrogate pair, too
        None, max_length=1_000_000, description="What the expert is shown instead (with edit)."
    )

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, given: Any) -> Any:
        return {"action": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _complete(self) -> _Answer:
        if (self.action == "edit") != bool(self.sees and self.sees.strip()):
            raise ValueError("edit needs `sees`, the text to show; no other action takes it")
        return self


def decide(turn: ModelTurn, sees: str, ledger: Ledger) -> Decision | None:
    """What a person decides about this expert; None if nobody wants to be asked.

    Raises GraphInterrupt the first time, and pydantic's ValidationError for an answer that has not
    the form of a Decision: the run stays paused then.
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


def check_decision(given: Any) -> None:
    """Raise ConfigError for what is no form of a Decision."""
    try:
        _Answer.model_validate(given)
    except ValidationError:
        raise ConfigError(
            'No decision: write "approve", "skip", "stop" or {"action": "edit", "sees": "..."}.'
        ) from None


def stopped(state: BrainState) -> bool:
    """Whether somebody at a pause ended the run."""
    return any(signal["failure"] == "stopped" for signal in state.get("signals", []))


def prevented(state: BrainState, decision: Decision | None) -> ModelError | None:
    """Why the expert is not asked, if a person at a pause said so."""
    if stopped(state) or (decision and decision["action"] == "stop"):
        return ModelError("stopped", STOPPED)
    if decision and decision["action"] == "skip":
        return ModelError("skipped", SKIPPED)
    return None


def check(pause_before: tuple[str, ...], experts: list[str], thread: str | None) -> None:
    """Raise ConfigError for a pause that cannot be."""
    if unknown := sorted(set(pause_before) - set(experts)):
        raise ConfigError(
            f"pause_before names {', '.join(unknown)}; this topology has {', '.join(experts)}."
        )
    if pause_before and thread is None:
        raise ConfigError(
            "pause_before needs a thread that is saved: compile with a checkpointer and give "
            "configurable.thread_id."
        )
