"""Similarity of drafts, with the real embedding model (it needs no network)."""

from __future__ import annotations

import subprocess
import sys

import pytest

from swarm_brain.memory import embeddings


def test_alike_texts_are_more_similar_than_strange_ones():
    alike = embeddings.mean_similarity(["The cat sleeps on the mat.", "A cat is asleep on a mat."])
    strange = embeddings.mean_similarity(["The cat sleeps on the mat.", "Interest rates rose."])
    assert alike > 0.7 > 0.4 > strange


def test_same_text_is_one_and_one_text_is_none():
    assert embeddings.mean_similarity(["a word", "a word"]) == pytest.approx(1.0, abs=1e-3)
    assert embeddings.mean_similarity(["a word"]) is None


def test_nothing_installed_is_none(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    embeddings._load.cache_clear()
    assert embeddings.mean_similarity(["a", "b"]) is None
    embeddings._load.cache_clear()


def test_loading_leaves_the_logging_of_the_process_alone():
    code = (
        "import logging; from swarm_brain.memory import embeddings; embeddings.warm();"
        "assert not logging.getLogger().handlers, logging.getLogger().handlers"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
