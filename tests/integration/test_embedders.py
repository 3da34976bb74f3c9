"""Embedders by setting: a real HTTP endpoint, real transformers weights, and what goes wrong."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from swarm_brain.graph.errors import ConfigError, MemoryUnavailable
from swarm_brain.memory import embeddings
from tests.fakes import DEFAULTS
from tests.integration.user import HARD

WORDS = 16


class Served:
    """An /embeddings endpoint: one dimension for each hashed word."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.status, self.dims = 200, 64
        self.body: str | None = None

    def vector(self, text: str) -> list[float]:
        values = [0.01] * self.dims
        for word in text.lower().split():
            values[int(hashlib.sha256(word.encode()).hexdigest(), 16) % self.dims] += 1
        return values

    def reply(self, body: dict[str, Any]) -> str:
        texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
        data = []
        for index, text in enumerate(texts):
            vector: Any = self.vector(text)
            if body.get("encoding_format") == "base64":
                vector = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
            data.append({"object": "embedding", "index": index, "embedding": vector})
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        return json.dumps({"object": "list", "data": data, "model": "m", "usage": usage})


@contextmanager
def embedding_endpoint() -> Iterator[tuple[str, Served]]:
    served = Served()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            """Be quiet."""

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            served.asked.append(body)
            served.headers.append({k.lower(): v for k, v in self.headers.items()})
            data = (served.body if served.body is not None else served.reply(body)).encode()
            self.send_response(served.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def settings(url: str) -> dict[str, str]:
    return {
        "SWARM_BRAIN_EMBEDDER": "openai-compatible:embed-small",
        "OPENAI_COMPATIBLE_BASE_URL": url,
        "OPENAI_COMPATIBLE_API_KEY": "key-of-the-embedder",
    }


def test_an_endpoint_embeds_memories(user):
    with embedding_endpoint() as (url, served):
        user.json("ask", HARD, *user.here, **settings(url))
        again = user.json("ask", HARD, *user.here, **settings(url))
        (recalled,) = again["recalled"]
        assert recalled["score"] == pytest.approx(1, abs=1e-3)
        assert {body["model"] for body in served.asked} == {"embed-small"}
        assert served.headers[0]["authorization"] == "Bearer key-of-the-embedder"
        stats = user.json("memory", "stats", **settings(url))
        assert stats["by_embedder"] == {"openai-compatible:embed-small": 2}


def test_vectors_of_different_embedders_never_meet(user):
    with embedding_endpoint() as (url, _):
        user.json("ask", HARD, *user.here)
        other = user.json("ask", HARD, *user.here, **settings(url))
        assert other["recalled"] == []
        stats = user.json("memory", "stats", **settings(url))
        assert stats["by_embedder"] == {"wordllama": 1, "openai-compatible:embed-small": 1}
        user.run("memory", "reindex", **settings(url))
        assert len(user.json("ask", HARD, *user.here, **settings(url))["recalled"]) == 2


@pytest.mark.parametrize("trouble", ["down", "500", "garbage", "numbers missing"])
def test_without_its_embedder_a_question_is_answered(user, trouble):
    with embedding_endpoint() as (url, served):
        user.json("ask", HARD, *user.here, **settings(url))
        served.status = 500 if trouble == "500" else 200
        served.body = {"500": "{}", "garbage": "<html>", "numbers missing": '{"data": []}'}.get(
            trouble
        )
        if trouble != "down":
            result = user.json("ask", HARD, *user.here, **settings(url))
    if trouble == "down":  # nobody listens there any more
        result = user.json("ask", HARD, *user.here, **settings(url))
    assert (result["provenance"], result["final_output"]) == ("full", DEFAULTS["synthesis"])
    assert result["recalled"] == []
    assert any("embed-small" in note for note in result["notes"])
    assert "key-of-the-embedder" not in json.dumps(result)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A BERT with random weights and a vocabulary of its own, made here."""
    transformers = pytest.importorskip("transformers", reason="needs the extra huggingface")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *HARD.lower().strip("?").split(), "?"]
    folder = tmp_path / "bert"
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(dict.fromkeys(words)))
    tokenizer = transformers.BertTokenizerFast(str(folder / "vocab.txt"))
    config = transformers.BertConfig(
        vocab_size=32, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=64,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_huggingface_weights_embed_texts(weights, monkeypatch):
    monkeypatch.setenv("SWARM_BRAIN_EMBEDDER", f"huggingface:{weights}")
    embedder = embeddings.chosen()
    vectors = embedder.embed([HARD, HARD, "it"])
    assert vectors.shape == (3, 32)
    assert vectors[0] @ vectors[1] == pytest.approx(1, abs=1e-5)
    assert (vectors**2).sum(axis=1) == pytest.approx([1, 1, 1], abs=1e-5)


def test_weights_that_are_not_there(monkeypatch, tmp_path):
    monkeypatch.setenv("SWARM_BRAIN_EMBEDDER", f"huggingface:{tmp_path / 'nowhere'}")
    with pytest.raises(MemoryUnavailable, match="nowhere"):
        embeddings.chosen().embed(["x"])


@pytest.mark.parametrize("wrong", ["nonsense", "openai-compatible:", "openai-compatible:m"])
def test_an_embedder_that_means_nothing_is_named(monkeypatch, wrong):
    monkeypatch.setenv("SWARM_BRAIN_EMBEDDER", wrong)
    with pytest.raises(ConfigError, match=wrong.partition(":")[0]):
        embeddings.chosen()
