"""What a run was told, and what each expert gets of it.

The first node keeps the validated Context in the state, so that a resumed run goes on exactly as it
was begun, whatever the resuming call says; its budgets alone may be new.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.config import get_config
from langgraph.runtime import get_runtime
from langgraph.store.base import BaseStore
from pydantic import ValidationError

from swarm_brain.graph.context import Context, describe, make_context
from swarm_brain.graph.errors import ConfigError, ThreadError
from swarm_brain.graph.state import BrainState
from swarm_brain.graph.topology import Expert, Topology
from swarm_brain.memory.space import LOCAL_IDENTITY, LOCAL_USER, Space
from swarm_brain.models.binding import Binding, Sampling
from swarm_brain.nodes import access

log = logging.getLogger(__name__)

BUDGETS = ("budget_tokens", "budget_usd", "budget_seconds")


def given_context() -> Context:
    """The Context that the call in progress gave; all defaults if it gave none."""
    return make_context(_runtime_value("context"))


def permitted_context() -> Context:
    """The same. Raises ConfigError if it says what the user may not set."""
    context = given_context()
    access.check(context, identity())
    return context


def _runtime_value(name: str) -> Any:
    """A value of LangGraph's runtime; None where there is none, as while a state is edited."""
    try:
        return getattr(get_runtime(Context), name, None)
    except (RuntimeError, KeyError):
        return None


def settings_of(state: BrainState) -> Context:
    """The Context that the run was begun with, with the budgets of the call in progress."""
    saved = _saved(state)
    access.check(saved, identity())
    given: Context = given_context()
    changed = {name: getattr(given, name) for name in given.model_fields_set}
    if ignored := sorted(
        name for name in set(changed) - set(BUDGETS) if changed[name] != getattr(saved, name)
    ):
        log.warning("a run goes on with its own settings: %s ignored", ", ".join(ignored))
    return saved.model_copy(update={name: changed[name] for name in BUDGETS if name in changed})


def _saved(state: BrainState) -> Context:
    try:
        return Context.model_validate(state["settings"])
    except ValidationError as error:
        raise ThreadError(
            f"This run was begun by version {state['version']}, with settings that this version "
            f"does not take: {describe(error)}"
        ) from None


def run_context(state: BrainState) -> Context:
    """The same within the limits that `begin` decided."""
    limits = state["limits"]
    return settings_of(state).model_copy(
        update={"max_steps": limits["max_steps"], "max_tokens": limits["max_tokens"]}
    )


def same_topology(topology: Topology, state: BrainState) -> None:
    """Raise ThreadError if the run was begun with another topology than the one it meets now."""
    begun = state["topology"]
    if begun["hash"] != topology.hash:
        raise ThreadError(
            f"This run was begun with the topology {begun['name']} ({begun['hash'][:8]}); it meets "
            f"{topology.name} ({topology.hash[:8]}). Restore the topology, or ask again."
        )


def store() -> BaseStore | None:
    """The store that LangGraph gives to this run."""
    found: BaseStore | None = _runtime_value("store")
    return found


def identity() -> str | None:
    """Whom the server that runs this takes the user for; None where there is no server.

    Raises ConfigError for a user without an identity.
    """
    found = _signed_in()
    if found is None:
        return None
    mapping = isinstance(found, Mapping)
    name = found.get("identity") if mapping else getattr(found, "identity", None)
    if name is None:
        raise ConfigError("The server's authentication gives a user without an `identity`.")
    return str(name)


def user() -> str | None:
    """Who has signed in at the server that runs this; None for the local user.

    Raises ConfigError for one who cannot be told from others: he must not read their memories.
    """
    found = identity()
    return None if found == LOCAL_IDENTITY else found


def _signed_in() -> Any:
    """The user as a server gives it; None where nobody has signed in.

    LangGraph's `server_info` leaves out a user that a server gives as a plain mapping.
    """
    if found := getattr(_runtime_value("server_info"), "user", None):
        return found
    try:
        return get_config().get("configurable", {}).get("langgraph_auth_user")
    except RuntimeError:  # outside a run, as while a state is edited
        return None


def space(context: Context) -> Space:
    """Whose memories this run reads and writes: the signed-in user's, under the setting's name."""
    name = user()
    if name is None:
        return Space(LOCAL_USER, context.memory_space)
    return Space.signed_in(name, context.memory_space)


def thread_of(config: RunnableConfig) -> str | None:
    """The id of the thread that the run belongs to."""
    found = config.get("configurable", {}).get("thread_id")
    return None if found is None else str(found)


def spec_for(expert: Expert, context: Context) -> str:
    """Whose model this expert speaks with: the run's word, else the topology's, else the run's."""
    return context.expert_models.get(expert.name) or expert.model or context.model


def answers(expert: Expert, context: Context) -> bool:
    """Whether this expert writes the answer, and no draft of it."""
    return expert.kind == "synthesis" or context.max_steps == 1


def sampling_for(expert: Expert, context: Context, binding: Binding) -> Sampling:
    """The expert's own limits where the topology states them, else the run's."""

    def own(mine: float | None, run: float) -> float:
        return run if mine is None else mine

    limits = (expert.max_tokens, context.max_tokens)
    longest = min((n for n in limits if n is not None), default=binding.max_tokens)
    answer = context.answer_tokens if answers(expert, context) else None
    return Sampling(
        temperature=own(expert.temperature, context.temperature),
        top_p=own(expert.top_p, context.top_p),
        max_tokens=longest if answer is None else min(longest, answer),
        seed=context.seed,
    )
