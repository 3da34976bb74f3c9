"""Identify the user of a run, and check which settings they may choose.

A server's user may not choose settings that spend the owner's money or leak its keys. The check
runs wherever settings enter a run: from a call and from a saved state, because clients of the
LangGraph server can write any state.
"""

from __future__ import annotations

from collections.abc import Mapping

from langgraph.config import get_config
from langgraph.runtime import Runtime, get_runtime

from swarm_brain.config import open_to_all, server_settings, variable
from swarm_brain.graph.context import Context
from swarm_brain.graph.errors import ConfigError
from swarm_brain.memory.space import LOCAL_IDENTITY, Space, user_of

OWNERS_CHOICE = "auto"  # the model that the server's owner has chosen


def runtime() -> Runtime[Context] | None:
    """Return LangGraph's runtime, or None outside a run (while a state is edited)."""
    try:
        return get_runtime(Context)
    except (RuntimeError, KeyError):
        return None


def identity() -> str | None:
    """Return the user's identity on a server; None without a server.

    Raises ConfigError for a user without an identity.
    """
    signed_in = _signed_in()
    if signed_in is None:
        return None
    if isinstance(signed_in, Mapping):
        name = signed_in.get("identity")
    else:
        name = getattr(signed_in, "identity", None)
    if name is None:
        raise ConfigError("The server's authentication gives a user without an `identity`.")
    return str(name)


def user() -> str | None:
    """Return the signed-in user's identity; None for the local user.

    Raises ConfigError for a user without an identity, who could read another user's memories.
    """
    return user_of(identity())


def _signed_in() -> object:
    """Return the signed-in user in the server's form, or None.

    LangGraph's `server_info` lacks users that a server passes as plain mappings.
    """
    if signed_in := getattr(getattr(runtime(), "server_info", None), "user", None):
        return signed_in
    try:
        return get_config().get("configurable", {}).get("langgraph_auth_user")
    except RuntimeError:  # outside a run, as while a state is edited
        return None


def space(context: Context) -> Space:
    """Return the signed-in user's memory space of the name in the settings."""
    return Space.of_user(user(), context.memory_space)


def check(context: Context, name: str | None) -> None:
    """Raise ConfigError if a user may not choose these settings.

    `name` is the user's `identity`; None means that there is no server, so everything is allowed.
    """
    if name is None:
        return
    if name == LOCAL_IDENTITY and not open_to_all():
        _check_key_stays(context)
        return
    if context.base_url is not None:
        raise ConfigError(
            "base_url: not allowed on this server. It answers with its own endpoint, and its key "
            "goes nowhere else."
        )
    if context.cache == "sqlite":
        raise ConfigError("cache: this server stores no replies on disk; use off or memory.")
    allowed = (OWNERS_CHOICE, *server_settings().models)
    named = {"model": context.model} | {
        f"expert_models.{name}": model for name, model in context.expert_models.items()
    }
    for field, model in named.items():
        if model not in allowed:
            raise ConfigError(f"{field}: this server offers {', '.join(allowed)}, not {model!r}.")


def _check_key_stays(context: Context) -> None:
    """Raise ConfigError if the server's key would go to an endpoint of the user's.

    Users of this machine may name endpoints. A web page that reaches the server through their
    browser must not get the key that way.
    """
    remote = context.base_url not in (None, variable("OPENAI_COMPATIBLE_BASE_URL"))
    if remote and variable("OPENAI_COMPATIBLE_API_KEY"):
        raise ConfigError(
            "base_url: a server sends OPENAI_COMPATIBLE_API_KEY only to "
            "OPENAI_COMPATIBLE_BASE_URL. Set that, or add a provider to swarm-brain.toml."
        )
