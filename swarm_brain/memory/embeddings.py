"""Embeddings of texts, from a small model that works offline (extra `memory`)."""

from __future__ import annotations

import importlib.util
import logging
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)
_lock = threading.Lock()

# Cosine below which nothing is recalled. `python -m evals.recall` (200 pairs, 120 of them not to be
# recalled, 96 of these hard) chooses it: precision 0.429, recall 0.525, F0.5 0.445, against 0.455
# with no floor at all. It keeps out the unrelated (0 of 24 pass), and not the same sentence with
# other numbers (16 of 17) or a "not" (11 of 11): who reads a memory must judge whether it fits.
FLOOR = 0.55


def mean_similarity(texts: Sequence[str]) -> float | None:
    """Mean pairwise cosine similarity of the texts, -1..1; None where no model can be had."""
    model = _ready()
    if len(texts) < 2 or model is None:
        return None
    with _lock:
        vectors = model.embed(list(texts), norm=True)
    count = len(texts)
    # The sum over all pairs is that of the Gram matrix without its diagonal of ones.
    mean = (float((vectors @ vectors.T).sum()) - count) / (count * (count - 1))
    return round(min(1.0, max(-1.0, mean)), 4)


def warm() -> None:
    """Load the model, so that the first similarity of a process does not wait for it."""
    _ready()


def _ready() -> Any:
    """The model, loaded once; None where it is not installed or does not load."""
    with _lock:
        return _load()


def _library() -> Any:
    """Import WordLlama without letting it set up the process's logging, which it would."""
    root, guard = logging.getLogger(), logging.NullHandler()
    root.addHandler(guard)  # `basicConfig` does nothing where a handler is
    try:
        import wordllama
    finally:
        root.removeHandler(guard)
    return wordllama


@lru_cache(maxsize=1)
def _load() -> Any:
    """WordLlama from the files in its own wheel; its plain `load()` would ask a hub."""
    if importlib.util.find_spec("wordllama") is None:
        return None
    wordllama = _library()
    try:
        return wordllama.WordLlama.load(
            cache_dir=Path(wordllama.__file__).parent, disable_download=True
        )
    except (OSError, ValueError) as error:
        log.warning("no embeddings: %s", error)
        return None
