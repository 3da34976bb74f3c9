"""Bind OpenAI-compatible endpoints, including the user's own providers."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from swarm_brain.calls.error_map import Origin
from swarm_brain.calls.rate_limit import Pace
from swarm_brain.config import Price, ProviderSettings, key_for, positive_number, variable
from swarm_brain.graph.errors import ConfigError, ModelUnavailable
from swarm_brain.models.binding import UNPACED, Binding, CallArguments, JsonSchema, Sampling
from swarm_brain.spending import pricing
from swarm_brain.validation import is_local

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel, LanguageModelInput
    from langchain_core.messages import AIMessage
    from langchain_core.runnables import Runnable

HYPERBOLIC_URL = "https://api.hyperbolic.xyz/v1"
HYPERBOLIC_MODEL = "meta-llama/Meta-Llama-3.1-405B-Instruct"
HYPERBOLIC_CONTEXT = 131_072  # Llama 3.1 is trained for 128 Ki tokens
NO_KEY = "no-key-needed"  # the client requires one; local servers ignore it
PROBE_SECONDS = 3.0


def hyperbolic(model: str, base_url: str | None = None) -> Binding:
    """Bind `hyperbolic:MODEL`. Raises ModelUnavailable without a key."""
    key = key_for("hyperbolic", "HYPERBOLIC_API_KEY")
    if key is None:
        raise ModelUnavailable(
            "hyperbolic: needs a key.", "Set HYPERBOLIC_API_KEY in the environment or in .env."
        )
    url = variable("HYPERBOLIC_API_URL") or HYPERBOLIC_URL
    return bind(
        f"hyperbolic:{model or HYPERBOLIC_MODEL}",
        url,
        key,
        max_tokens=2048,
        context_tokens=HYPERBOLIC_CONTEXT,
        pace=Pace(rpm=positive_number("HYPERBOLIC_RPM")),
    )


def openai_compatible(model: str, base_url: str | None) -> Binding:
    """Bind `openai-compatible:MODEL` at `base_url` or OPENAI_COMPATIBLE_BASE_URL."""
    url = base_url or variable("OPENAI_COMPATIBLE_BASE_URL")
    if url is None:
        raise ConfigError(
            "openai-compatible: needs an address. Give --base-url, the setting base_url or "
            "OPENAI_COMPATIBLE_BASE_URL, for example http://localhost:11434/v1."
        )
    key = key_for("openai-compatible", "OPENAI_COMPATIBLE_API_KEY")
    return bind(f"openai-compatible:{_required(model, 'openai-compatible')}", url, key)


def named(provider: str, model: str, settings: ProviderSettings) -> Binding:
    """Bind a model of a provider in `swarm-brain.toml`."""
    key = key_for(provider, settings.api_key_env)
    if key is None and settings.api_key_env:
        raise ModelUnavailable(f"{provider}: needs a key.", f"Set {settings.api_key_env}.")
    return bind(
        f"{provider}:{_required(model, provider)}",
        settings.base_url,
        key,
        max_tokens=settings.max_tokens,
        context_tokens=settings.context_tokens,
        pace=Pace(settings.rpm, settings.concurrency),
        stated=settings.price,
    )


def _required(model: str, provider: str) -> str:
    if not model:
        raise ConfigError(f"{provider}: names no model. Write {provider}:MODEL.")
    return model


def base_of(url: str) -> str:
    """Return an endpoint's base URL, with or without `/chat/completions`."""
    try:
        parts = urlsplit(url.strip())
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a malformed port or IPv6 address
        good = False
    # Messages show the address, and would show a secret in it.
    if "@" in url or "?" in url:
        raise ConfigError(
            "The endpoint's address must not hold a user, password or query. Set the key by its "
            "own setting, and write the address as http(s)://host[:port]/v1"
        )
    if not good:
        raise ConfigError(
            f"{url!r} is not the address of an endpoint. Write http(s)://host[:port]/v1"
        )
    return url.strip().rstrip("/").removesuffix("/chat/completions").rstrip("/")


def bind(
    spec: str,
    url: str,
    key: str | None,
    *,
    max_tokens: int = 1024,
    context_tokens: int | None = None,
    pace: Pace = UNPACED,
    stated: Price | None = None,
) -> Binding:
    """Bind `spec` to the endpoint at `url`; `stated` is the provider's price."""
    base, model = base_of(url), spec.partition(":")[2]
    chat = _client(Origin(spec, base, key), model)

    def price(inputs: int, cached: int, outputs: int) -> float | None:
        if stated is not None:
            return pricing.at(stated, inputs, cached, outputs)
        return pricing.price(spec, base, inputs, cached, outputs)

    return Binding(
        spec=spec,
        endpoint=base,
        pace=pace,
        states_end=True,
        tuned=partial(_tuned, chat),
        max_tokens=max_tokens,
        context_tokens=lambda: context_tokens or window(base, key, model),
        schema_arguments=response_format,
        price=price,
        secret=key,
    )


def _tuned(chat: BaseChatModel, sampling: Sampling) -> Runnable[LanguageModelInput, AIMessage]:
    parameters: dict[str, float] = {
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
    }
    if sampling.seed is not None:
        parameters["seed"] = sampling.seed
    return chat.bind(**parameters)


def response_format(name: str, schema: JsonSchema) -> CallArguments:
    """Return the arguments that request JSON by schema.

    They are passed as `extra_body`, because the SDK's own path raises for truncated replies.
    """
    form = {"name": name, "schema": schema, "strict": True}
    return {"extra_body": {"response_format": {"type": "json_schema", "json_schema": form}}}


@lru_cache(maxsize=64)
def _client(origin: Origin, model: str) -> BaseChatModel:
    """Return the client of an endpoint, key and model, for the background loop."""
    # The SDK takes long to import.
    import openai

    from swarm_brain.models.endpoint_chat import EndpointChat

    return EndpointChat(
        origin,
        model=model,
        base_url=origin.endpoint,
        api_key=SecretStr(origin.secret or NO_KEY),
        max_retries=0,  # calls.client retries
        timeout=None,  # calls.wire watches the clock
        stream_chunk_timeout=None,
        stream_usage=True,
        use_responses_api=False,
        http_socket_options=(),  # none on the synchronous client, which is never used
        http_async_client=openai.DefaultAsyncHttpxClient(
            timeout=None,
            # No proxy forwards to this machine.
            trust_env=not is_local(urlsplit(origin.endpoint).hostname),
        ),
    )


@lru_cache(maxsize=64)
def window(base: str, key: str | None, model: str) -> int | None:
    """Return a served model's context in tokens; None if it is not reported.

    llama.cpp and vLLM do. Blocks up to PROBE_SECONDS for each of two requests.
    """
    import httpx  # slow to import

    headers = {"Authorization": f"Bearer {key}"} if key else {}
    places = ((f"{base}/models", _from_models), (f"{base.removesuffix('/v1')}/props", _from_props))
    direct = is_local(urlsplit(base).hostname)
    with httpx.Client(headers=headers, timeout=PROBE_SECONDS, trust_env=not direct) as client:
        for url, read in places:
            try:
                tokens = read(client.get(url).raise_for_status().json(), model)
            except (httpx.HTTPError, ValueError, TypeError, KeyError, AttributeError):
                continue
            if tokens:
                return int(tokens)
    return None


def _from_models(body: Any, model: str) -> Any:
    """Read vLLM's `max_model_len`."""
    entries = [entry for entry in body["data"] if entry.get("id") == model]
    return entries[0].get("max_model_len") if entries else None


def _from_props(body: Any, model: str) -> Any:
    """Read the context of one slot of llama.cpp."""
    return body["default_generation_settings"]["n_ctx"]
