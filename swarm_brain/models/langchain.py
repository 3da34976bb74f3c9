"""Bind all other providers through LangChain's `init_chat_model`."""

from __future__ import annotations

import re
from functools import lru_cache

from langchain_core.language_models import BaseChatModel

from swarm_brain.graph.errors import ConfigError, ModelUnavailable
from swarm_brain.models.binding import Binding, Sampling
from swarm_brain.models.providers import known


def bind(provider: str, model: str) -> Binding:
    """Bind `provider:model`.

    Raises ConfigError for an unknown provider, ModelUnavailable if the package or the key is
    missing.
    """
    if not model:
        raise ConfigError(f"{provider}: names no model. Write {provider}:MODEL.")
    _construct(provider, model, Sampling(0.7, 0.9, 1024))
    return Binding(
        spec=f"{provider}:{model}",
        endpoint=provider,
        tuned=lambda sampling: _construct(provider, model, sampling),
        max_tokens=1024,
    )


@lru_cache(maxsize=64)
def _construct(provider: str, model: str, sampling: Sampling) -> BaseChatModel:
    """Create a chat model with LangChain's standard parameters.

    top_p is left out, because some vendors refuse it beside a temperature.
    """
    from langchain.chat_models import init_chat_model  # takes long to import

    try:
        return init_chat_model(
            model,
            model_provider=provider,
            temperature=sampling.temperature,
            max_tokens=sampling.max_tokens,
            max_retries=0,  # calls.client retries
        )
    except ImportError as error:
        named = re.search(r"pip install ['\"`]?([\w.-]+)", str(error))
        package = named.group(1).rstrip(".") if named else f"langchain-{provider}"
        raise ModelUnavailable(
            f"{provider}: needs a package.", f"Install it: pip install {package}"
        ) from None
    except ValueError as error:
        if "Unsupported" in str(error):
            raise ConfigError(
                f"{provider!r} is not a provider. There are {known()}; LangChain adds anthropic, "
                "openai, ollama and others; name your own endpoint in swarm-brain.toml."
            ) from None
        raise ModelUnavailable(f"{provider}:{model} cannot be used:", _first_line(error)) from None
    except Exception as error:  # noqa: BLE001  each vendor has its own error for a missing key
        raise ModelUnavailable(f"{provider}:{model} cannot be used:", _first_line(error)) from None


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
