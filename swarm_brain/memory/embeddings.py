"""Embeddings of texts, from a small model that works offline (extra `memory`)."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

_lock = threading.Lock()


def mean_similarity(texts: Sequence[str]) -> float | None:
    """Mean pairwise cosine similarity of the texts, -1..1; None where nothing is installed."""
    if len(texts) < 2 or importlib.util.find_spec("wordllama") is None:
        return None
    with _lock:
        vectors = _model().embed(list(texts), norm=True)
    count = len(texts)
    # The sum over all pairs is that of the Gram matrix without its diagonal of ones.
    mean = (float((vectors @ vectors.T).sum()) - count) / (count * (count - 1))
    return round(min(1.0, max(-1.0, mean)), 4)


@lru_cache(maxsize=1)
def _model() -> Any:
    """WordLlama from the files in its own wheel; its plain `load()` would ask a hub."""
    import wordllama

    return wordllama.WordLlama.load(
        cache_dir=Path(wordllama.__file__).parent, disable_download=True
    )
