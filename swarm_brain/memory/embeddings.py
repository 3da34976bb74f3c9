"""Embeddings of texts: by default a small model that works offline (extra `memory`)."""

from __future__ import annotations

import importlib.util
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swarm_brain.config import variable
from swarm_brain.graph.errors import MemoryUnavailable

if TYPE_CHECKING:
    from swarm_brain.memory.index import Vectors

log = logging.getLogger(__name__)
_lock = threading.Lock()

DEFAULT = "wordllama"
# Cosine below which nothing is recalled. `python -m evals.recall` (200 pairs, 120 of them not to be
# recalled, 96 of these hard) chooses it: precision 0.507, recall 0.475, F0.5 0.500, against 0.490
# with no floor. The optimum is flat: 0.75 is more precise and recalls half as much. It keeps out
# the unrelated (0 of 24 pass), not every near miss: who reads a memory must judge whether it fits.
FLOOR = 0.55
# For embedders that nobody here has measured.
UNMEASURED_FLOOR = 0.75


@dataclass(frozen=True)
class Embedder:
    """A model of texts. `name` is kept with every vector: vectors of different names never meet.

    `embed` gives unit vectors, shape (texts, dimensions), and raises MemoryUnavailable. `floor` is
    the cosine similarity from which two texts count as being about the same.
    """

    name: str
    embed: Callable[[Sequence[str]], Vectors]
    floor: float


def chosen() -> Embedder | None:
    """The embedder of SWARM_BRAIN_EMBEDDER; None if it is `off`, or nothing is installed.

    Loads nothing. Raises ConfigError or ModelUnavailable for a setting that cannot work.
    """
    named = variable("SWARM_BRAIN_EMBEDDER") or DEFAULT
    if named == "off":
        return None
    if named == DEFAULT:
        if importlib.util.find_spec("wordllama") is None:
            return None
        return Embedder(DEFAULT, _words, FLOOR)
    from swarm_brain.models.embedding import embed_with

    embed = embed_with(named)
    return Embedder(named, lambda texts: _unit(embed(texts)), UNMEASURED_FLOOR)


def _unit(vectors: Any) -> Vectors:
    import numpy as np

    rows = np.asarray(vectors, dtype=np.float32)
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise MemoryUnavailable("the embedder", "its reply is no list of vectors of numbers")
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Vectors = (rows / np.where(norms == 0, 1, norms)).astype(np.float32)
    return unit


def _words(texts: Sequence[str]) -> Vectors:
    model = _ready()
    if model is None:
        raise MemoryUnavailable("the embedder wordllama", "it cannot be loaded")
    with _lock:
        return _unit(model.embed(list(texts)))


def embed(texts: list[str]) -> list[list[float]]:
    """Unit vectors by the chosen embedder, as LangGraph's stores ask for them (langgraph.json).

    Raises MemoryUnavailable.
    """
    embedder = chosen()
    if embedder is None:
        raise MemoryUnavailable("the embedder", "none is installed, or it is off")
    rows: list[list[float]] = embedder.embed(texts).tolist()
    return rows


def mean_similarity(texts: Sequence[str]) -> float | None:
    """Mean pairwise cosine similarity of the texts, -1..1; None where no model can be had.

    Always by the default model, so that agreement means the same whatever embeds memories.
    """
    if len(texts) < 2 or _ready() is None:
        return None
    vectors = _words(texts)
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
