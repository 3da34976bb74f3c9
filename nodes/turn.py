"""The context of one node's turn: the topology, the run's state and its settings.

The first node saves the validated Context in the state, so that a resumed run keeps its settings
whatever the resuming call says. Only its budgets may change.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from langchain_core.runnables import RunnableConfig
from langgraph.store.base import BaseStore
from pydantic import ValidationError

from swarm_brain.graph import propagation
from swarm_brain.graph.context import Context, describe, make_context
from swarm_brain.graph.errors import ThreadError
from swarm_brain.graph.signal import Signal, Waking
from swarm_brain.graph.state import BrainState, Effort
from swarm_brain.graph.topology import Expert, Topology
from swarm_brain.memory.space import Space
from swarm_brain.models.binding import Binding, Sampling
from swarm_brain.nodes import access

log = logging.getLogger(__name__)

BUDGETS = ("budget_tokens", "budget_usd", "budget_seconds")


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One node's turn in a run.

    `settings` are those that the run started with. `context` is the same within the limits that
    `begin` decided.
    """

    topology: Topology
    state: BrainState
    settings: Context
    context: Context
    config: RunnableConfig = field(default_factory=RunnableConfig)

    @property
    def signals(self) -> list[Signal]:
        """All signals so far, in the order in which they were written."""
        return self.state.get("signals", [])

    @property
    def effort(self) -> Effort:
        """The effort that `begin` decided on."""
        return self.state["effort"]

    @property
    def last_step(self) -> int:
        """The number of the last step that ran; 0 before the first."""
        return self.state.get("step", 0)

    @property
    def thread(self) -> str | None:
        """The id of the thread that the run belongs to."""
        thread = self.config.get("configurable", {}).get("thread_id")
        return None if thread is None else str(thread)

    @property
    def store(self) -> BaseStore | None:
        """The store that LangGraph gives to this run."""
        return getattr(access.runtime(), "store", None)

    @property
    def space(self) -> Space:
        """The memory space that this run reads and writes."""
        return access.space(self.settings)


@dataclass(frozen=True, kw_only=True)
class ExpertTurn(Turn):
    """One expert's turn: its step is the one after the last."""

    expert: Expert

    @property
    def step(self) -> int:
        """The number of the step in which the expert runs."""
        return self.last_step + 1

    @cached_property
    def woken_by(self) -> list[Waking]:
        """The edges that woke the expert."""
        return propagation.woken_by(self.topology, self.expert.name, self.state, self.context)

    @property
    def answers(self) -> bool:
        """Whether this expert writes the answer, not a draft."""
        return self.expert == self.topology.answering(self.context.max_steps)


def past_turn(topology: Topology, state: BrainState, name: str) -> ExpertTurn:
    """Return the turn of an expert in a saved run, to read a reply as its node does."""
    settings = saved_settings(state)
    return ExpertTurn(
        topology=topology,
        state=state,
        settings=settings,
        context=within_limits(settings, state),
        expert=topology.experts[name],
    )


@dataclass(frozen=True, kw_only=True)
class ModelTurn(ExpertTurn):
    """An expert's turn with the model that it asks."""

    binding: Binding

    @property
    def sampling(self) -> Sampling:
        """How the reply is sampled, within the run's limits."""
        return sampling_for(self.topology, self.expert, self.context, self.binding)


def turn_of(topology: Topology, state: BrainState, config: RunnableConfig) -> Turn:
    """Return a node's turn in a run that has started.

    Raises ThreadError if the run started with another topology or with unknown settings, and
    ConfigError if the user may not choose its settings.
    """
    saved = state["topology"]
    if saved["hash"] != topology.hash:
        raise ThreadError(
            f"This run was started with the topology {saved['name']} ({saved['hash'][:8]}), but "
            f"continues with {topology.name} ({topology.hash[:8]}). Restore the topology, or ask "
            "again."
        )
    settings = _with_new_budgets(saved_settings(state), call_settings())
    context = within_limits(settings, state)
    return Turn(topology=topology, state=state, settings=settings, context=context, config=config)


def call_settings() -> Context:
    """Return the Context of the current call; all defaults if it has none."""
    return make_context(getattr(access.runtime(), "context", None))


def _with_new_budgets(saved: Context, call: Context) -> Context:
    """Return a run's settings with the budgets of the call that resumes it."""
    changed = {name: getattr(call, name) for name in call.model_fields_set}
    if ignored := sorted(
        name for name in set(changed) - set(BUDGETS) if changed[name] != getattr(saved, name)
    ):
        log.warning("a resumed run keeps its settings; ignored: %s", ", ".join(ignored))
    return saved.model_copy(update={name: changed[name] for name in BUDGETS if name in changed})


def saved_settings(state: BrainState) -> Context:
    """Return the settings that the run started with.

    They are validated once in a process, but checked for the user each time: a client of the
    LangGraph server can write any state. Raises ThreadError if this version does not know them,
    ConfigError if the user may not choose them.
    """
    try:
        settings = _validated(json.dumps(state["settings"], default=str))
    except ValidationError as error:
        raise ThreadError(
            f"This run was started by version {state['version']}, with settings that this version "
            f"does not accept: {describe(error)}"
        ) from None
    access.check(settings, access.identity())
    return settings


@lru_cache(maxsize=64)
def _validated(settings: str) -> Context:
    """Validate saved settings, once for all nodes of a run."""
    return Context.model_validate_json(settings)


def within_limits(settings: Context, state: BrainState) -> Context:
    """Return settings within the limits that `begin` decided."""
    limits = state["limits"]
    return settings.model_copy(
        update={"max_steps": limits["max_steps"], "max_tokens": limits["max_tokens"]}
    )


def run_context(state: BrainState) -> Context:
    """Return a saved run's settings within its limits, for replays."""
    return within_limits(saved_settings(state), state)


def spec_for(expert: Expert, context: Context) -> str:
    """Return an expert's model: the run's choice for it, its own, or the run's."""
    return context.expert_models.get(expert.name) or expert.model or context.model


def sampling_for(
    topology: Topology, expert: Expert, context: Context, binding: Binding
) -> Sampling:
    """Return the expert's own limits where the topology states them, else the run's."""

    def own(mine: float | None, run: float) -> float:
        return run if mine is None else mine

    limits = [expert.max_tokens, context.max_tokens]
    longest = min((n for n in limits if n is not None), default=binding.max_tokens)
    if expert == topology.answering(context.max_steps):
        longest = min(longest, context.answer_tokens or longest)
    return Sampling(
        temperature=own(expert.temperature, context.temperature),
        top_p=own(expert.top_p, context.top_p),
        max_tokens=longest,
        seed=context.seed,
    )
