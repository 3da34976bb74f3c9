"""Compare batched experts with one expert at a time, in transformers.

Targets: a hard question is 1.5 times as fast, two hard questions at once 2.5 times. All runs share
one loaded model and the same limits; one at a time is the same batcher with room for one sequence.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from benchmarks import cores
from swarm_brain.graph.brain import graph
from swarm_brain.models.embedded_weights import fetch
from swarm_brain.models.huggingface import provider
from swarm_brain.models.huggingface.batcher import MAX_ROWS

QUESTIONS = (
    "What is the nature of consciousness?",
    "Is free will compatible with a world that physics determines?",
)
MAX_TOKENS = 128
TARGETS = {1: 1.5, 2: 2.5}


async def _ask(model: str, questions: tuple[str, ...]) -> list[dict[str, Any]]:
    context = {
        "model": model,
        "effort": "high",
        "threshold": 0.0,  # all eight experts, whatever the small model's gates
        "seed": 1,
        "max_tokens": MAX_TOKENS,
        "max_revisions": 0,  # otherwise chance would decide whether there is one
        "timeout": 600,
        "use_memory": False,
    }
    runs = (graph.ainvoke({"question": question}, context=context) for question in questions)
    return list(await asyncio.gather(*runs))


def _timed(model: str, questions: tuple[str, ...], rows: int) -> tuple[float, int]:
    """Return seconds and output tokens, with at most `rows` sequences in a batch."""
    provider.batcher_of(model).max_rows = rows
    started = time.perf_counter()
    results = asyncio.run(_ask(model, questions))
    wall = time.perf_counter() - started
    assert all(result["provenance"] == "full" for result in results), results
    return wall, sum(result["usage"]["output_tokens"] for result in results)


def main(weights: Path | None = None) -> None:
    """Print the seconds, tokens and ratios of one run."""
    model = f"huggingface:{weights or fetch('smollm2-135m')}"
    started = time.perf_counter()
    provider.bind(model.partition(":")[2])
    print(f"{cores()} cores; loaded in {time.perf_counter() - started:.1f} s, imports too")
    _timed(model, ("Hello",), MAX_ROWS)  # the first step is slow
    for count, target in TARGETS.items():
        questions = QUESTIONS[:count]
        alone, alone_tokens = _timed(model, questions, 1)
        batched, tokens = _timed(model, questions, MAX_ROWS)
        print(
            f"{count} hard question(s): {batched:.1f} s in batches ({tokens} tokens written), "
            f"{alone:.1f} s one expert at a time ({alone_tokens}): {alone / batched:.2f} times as "
            f"fast (target {target}), {alone / alone_tokens * tokens / batched:.2f} times per token"
        )
