"""The local HuggingFace pipeline on the small model's own file."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from graph.brain import graph

_MISSING = [
    name
    for name in ("torch", "transformers", "langchain_huggingface", "gguf")
    if importlib.util.find_spec(name) is None
]
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        bool(_MISSING),
        reason=f"the extra huggingface is not installed ({', '.join(_MISSING)} missing): "
        "make install EXTRAS=huggingface",
    ),
]


def test_simple_question_is_answered_and_counted(weights: Path):
    spec = f"huggingface:{weights}"
    settings = {"model": spec, "max_tokens": 24, "seed": 1, "timeout": 200, "max_attempts": 1}
    result = graph.invoke({"question": "What is the capital of France?"}, context=settings)
    assert result["provenance"] == "full", result["error"]
    assert result["model"] == spec
    assert [e["name"] for e in result["experts"]] == ["perception", "reasoning", "synthesis"]
    assert result["final_output"].strip()
    assert "[simulated]" not in result["final_output"]
    assert "<|im_" not in result["final_output"]  # the reply alone, without template or prompt
    for expert in result["experts"]:
        assert 0 < expert["output_tokens"] <= 25, expert
        assert expert["input_tokens"] > 50
    assert result["usage"]["cost_usd"] == 0.0
