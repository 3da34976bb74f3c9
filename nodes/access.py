"""What somebody who comes over the network may not set: it would spend or give away the owner's.

Asked wherever a run's settings are taken up, from a call or from a saved state, which clients of
the LangGraph server may write as they like.
"""

from __future__ import annotations

from swarm_brain.config import open_to_all, server_settings, variable
from swarm_brain.graph.context import Context
from swarm_brain.graph.errors import ConfigError
from swarm_brain.memory.space import LOCAL_IDENTITY

FREE = "auto"  # the model that the server's owner has chosen


def _keeps_the_key(context: Context) -> None:
    """Whoever asks from this machine may name an endpoint; should a page of elsewhere get through
    to here, it gets no key by that."""
    own = variable("OPENAI_COMPATIBLE_BASE_URL")
    elsewhere = context.base_url is not None and context.base_url != own
    if elsewhere and variable("OPENAI_COMPATIBLE_API_KEY"):
        raise ConfigError(
            "base_url: on a server OPENAI_COMPATIBLE_API_KEY goes to OPENAI_COMPATIBLE_BASE_URL "
            "alone. Set that, or a provider of its own in swarm-brain.toml."
        )


def check(context: Context, identity: str | None) -> None:
    """Raise ConfigError if these settings are not for this user.

    `identity` is whom the server says it is; None: no server, so all is permitted.
    """
    if identity is None:
        return
    if identity == LOCAL_IDENTITY and not open_to_all():
        _keeps_the_key(context)
        return
    if context.base_url is not None:
        raise ConfigError(
            "base_url: this server's own endpoint answers; it is asked with its owner's key, which "
            "goes nowhere else."
        )
    if context.cache == "sqlite":
        raise ConfigError("cache: this server keeps no replies on its disk; use off or memory.")
    allowed = (FREE, *server_settings().models)
    named = {"model": context.model} | {
        f"expert_models.{name}": model for name, model in context.expert_models.items()
    }
    for field, model in named.items():
        if model not in allowed:
            raise ConfigError(f"{field}: this server offers {', '.join(allowed)}, not {model!r}.")
