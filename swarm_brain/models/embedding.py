"""Embedding models by `provider:model`.

Calls block, because memory embeds in threads. Vendors' errors become MemoryUnavailable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from pydantic import SecretStr

from swarm_brain.config import key_for, named_providers, variable
from swarm_brain.graph.errors import BrainError, ConfigError, MemoryUnavailable, ModelUnavailable
from swarm_brain.models.endpoint import NO_KEY, base_of
from swarm_brain.validation import is_local

Embed = Callable[[Sequence[str]], list[list[float]]]

SECONDS = 10.0  # an answer must not wait long for memories
MOST_TOKENS = 512  # of a text for a HuggingFace model


def embed_with(spec: str) -> Embed:
    """Return a function from texts to vectors; the model loads on first use.

    Raises ConfigError for an invalid spec, and ModelUnavailable if a key is missing.
    """
    provider, _, model = spec.partition(":")
    if not model:
        raise ConfigError(f"SWARM_BRAIN_EMBEDDER is {spec!r}: write provider:model, or wordllama")
    if provider == "huggingface":
        return _translated(spec, lambda: _HuggingFace(model))
    if provider == "openai-compatible":
        url = variable("OPENAI_COMPATIBLE_BASE_URL")
        if url is None:
            raise ConfigError(f"{spec} needs OPENAI_COMPATIBLE_BASE_URL")
        key = key_for(provider, "OPENAI_COMPATIBLE_API_KEY")
        return _translated(spec, lambda: _endpoint(base_of(url), key, model))
    if provider in (own := named_providers()):
        settings = own[provider]
        key = key_for(provider, settings.api_key_env)
        if key is None and settings.api_key_env:
            raise ModelUnavailable(f"{provider}: needs a key.", f"Set {settings.api_key_env}.")
        return _translated(spec, lambda: _endpoint(base_of(settings.base_url), key, model))
    return _translated(spec, lambda: _langchain(spec))


def _translated(spec: str, load: Callable[[], Embed]) -> Embed:
    """Call `load` once, on first use; name the embedder in every failure."""
    loaded: list[Embed] = []

    def embed(texts: Sequence[str]) -> list[list[float]]:
        try:
            if not loaded:
                loaded.append(load())
            return loaded[0](texts)
        except BrainError:
            raise
        except Exception as error:  # noqa: BLE001  any vendor's error is translated here
            why = type(error).__name__ if "key" in str(error).lower() else _first_line(error)
            raise MemoryUnavailable(f"the embedder {spec}", why) from None

    return embed


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _endpoint(base: str, key: str | None, model: str) -> Embed:
    import openai  # slow to import, as is langchain_openai
    from langchain_openai import OpenAIEmbeddings

    client = openai.DefaultHttpxClient(trust_env=not is_local(urlsplit(base).hostname))
    embeddings = OpenAIEmbeddings(
        model=model,
        base_url=base,
        api_key=SecretStr(key or NO_KEY),
        check_embedding_ctx_length=False,  # else it fetches a tokenizer and sends token ids
        timeout=SECONDS,
        max_retries=1,
        http_client=client,
    )
    return lambda texts: embeddings.embed_documents(list(texts))


def _langchain(spec: str) -> Embed:
    from langchain.embeddings import init_embeddings  # slow to import

    embeddings = init_embeddings(spec)
    return lambda texts: embeddings.embed_documents(list(texts))


class _HuggingFace:
    """Embeds by mean pooling of a transformer's last hidden states (Reimers, 2019)."""

    def __init__(self, model: str) -> None:
        import transformers  # an extra

        self._tokenizer = transformers.AutoTokenizer.from_pretrained(model)
        self._model = transformers.AutoModel.from_pretrained(model).eval()

    def __call__(self, texts: Sequence[str]) -> list[list[float]]:
        import torch  # an extra

        batch = self._tokenizer(
            list(texts), padding=True, truncation=True, max_length=MOST_TOKENS, return_tensors="pt"
        )
        with torch.inference_mode():
            hidden = self._model(**batch).last_hidden_state.float()
        words = batch["attention_mask"].unsqueeze(-1).float()
        vectors: list[list[float]] = ((hidden * words).sum(1) / words.sum(1)).tolist()
        return vectors
