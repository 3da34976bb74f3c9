"""Time a hard question to the loaded embedded model (target: 60 s on 2 cores)."""

from __future__ import annotations

import time

from benchmarks import cores
from swarm_brain.graph.brain import graph
from swarm_brain.models.choose import bind

QUESTION = "What is the nature of consciousness?"
TARGET_S = 60


def main() -> None:
    """Print seconds, tokens and provenance of one hard question."""
    started = time.perf_counter()
    bind("embedded:smollm2-135m")
    loaded = time.perf_counter() - started
    started = time.perf_counter()
    context = {"model": "embedded:smollm2-135m", "seed": 1}
    result = graph.invoke({"question": QUESTION}, context=context)
    wall = time.perf_counter() - started
    usage = result["usage"]
    print(
        f"{cores()} cores: {wall:.1f} s (target < {TARGET_S}) after {loaded:.1f} s to load; "
        f"{usage['calls']} calls, {usage['input_tokens']} tokens in, "
        f"{usage['output_tokens']} out; {result['provenance']}"
    )
