"""Embeddings of texts, by default from a small offline model (extra `memory`)."""

from __future__ import annotations

import importlib.util
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Protocol, cast

from swarm_brain.config import variable
from swarm_brain.graph.errors import MemoryUnavailable

if TYPE_CHECKING:
    from swarm_brain.memory.index import Vectors

log = logging.getLogger(__name__)
_lock = threading.Lock()

DEFAULT = "wordllama"
# Cosine below which nothing is recalled, chosen by `python -m evals.recall` (200 pairs, 120 of them
# not to be recalled, 96 of these hard): precision 0.507, recall 0.475, F0.5 0.500, against 0.490
# with no floor. The optimum is flat: 0.75 is more precise and recalls half as much. The floor keeps
# out the unrelated (0 of 24 pass) but not every near miss; experts judge whether a memory fits.
FLOOR = 0.55
# For embedders that were not measured.
UNMEASURED_FLOOR = 0.75


@dataclass(frozen=True)
class Embedder:
    """A model that embeds texts.

    Its name is saved with every vector; only vectors of equal names are compared.

    `embed` returns unit vectors of the shape (texts, dimensions) and raises MemoryUnavailable. From
    the cosine similarity `floor` on, two texts count as being about the same.
    """

    name: str
    embed: Callable[[Sequence[str]], Vectors]
    floor: float


class _WordLlama(Protocol):
    """The part of WordLlama that is used."""

    def embed(self, texts: list[str], norm: bool = False) -> Vectors: ...


def chosen() -> Embedder | None:
    """Return the embedder of SWARM_BRAIN_EMBEDDER; None if off or not installed.

    Loads nothing. Raises ConfigError or ModelUnavailable for a setting that cannot work.
    """
    name = variable("SWARM_BRAIN_EMBEDDER") or DEFAULT
    if name == "off":
        return None
    if name == DEFAULT:
        if importlib.util.find_spec("wordllama") is None:
            return None
        return Embedder(DEFAULT, _words, FLOOR)
    from swarm_brain.models.embedding import embed_with  # most users need no other embedder

    embed = embed_with(name)
    return Embedder(name, lambda texts: _unit(embed(texts)), UNMEASURED_FLOOR)


def _unit(vectors: object) -> Vectors:
    import numpy as np  # the extra `memory`

    rows = np.asarray(vectors, dtype=np.float32)
    if rows.ndim != 2 or not np.isfinite(rows).all():
        raise MemoryUnavailable("the embedder", "its reply is not a list of vectors of numbers")
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
    """Return unit vectors in the form of LangGraph's stores (langgraph.json).

    Raises MemoryUnavailable.
    """
    embedder = chosen()
    if embedder is None:
        raise MemoryUnavailable("the embedder", "none is installed, or it is off")
    rows: list[list[float]] = embedder.embed(texts).tolist()
    return rows


def mean_similarity(texts: Sequence[str]) -> float | None:
    """Return the mean pairwise cosine, -1..1; None without the default model.

    Other embedders are not used here, so that agreement means the same everywhere.
    """
    if len(texts) < 2 or _ready() is None:
        return None
    vectors = _words(texts)
    count = len(texts)
    # The sum over all pairs is the sum of the Gram matrix without its diagonal of ones.
    mean = (float((vectors @ vectors.T).sum()) - count) / (count * (count - 1))
    return round(min(1.0, max(-1.0, mean)), 4)


def warm() -> None:
    """Load the model now, to save the first call the wait."""
    _ready()


def _ready() -> _WordLlama | None:
    """Return the model, loaded once; None if it is not available."""
    with _lock:
        return _load()


def _library() -> ModuleType:
    """Import WordLlama without letting it configure the process's logging."""
    root, guard = logging.getLogger(), logging.NullHandler()
    root.addHandler(guard)  # `basicConfig` does nothing where there is a handler
    try:
        import wordllama
    finally:
        root.removeHandler(guard)
    module: ModuleType = wordllama
    return module


@lru_cache(maxsize=1)
def _load() -> _WordLlama | None:
    """Load WordLlama from the files in its wheel; its plain `load()` would ask a hub."""
    if importlib.util.find_spec("wordllama") is None:
        return None
    wordllama = _library()
    try:
        folder = Path(str(wordllama.__file__)).parent
        model = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)
        return cast(_WordLlama, model)
    except (OSError, ValueError) as error:
        log.warning("no embeddings: %s", error)
        return None
