"""`import graph.brain` against `import langgraph.graph`, in turn, in new processes."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

PAIRS = 7
TARGET = 1.3


def seconds(module: str) -> float:
    """What a process takes that imports this and ends."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
    return time.perf_counter() - started


def main() -> None:
    """Print the median ratio of pairs; bytecode and disk are warm."""
    for module in ("langgraph.graph", "graph.brain"):
        seconds(module)
    ratios = [seconds("graph.brain") / seconds("langgraph.graph") for _ in range(PAIRS)]
    print(
        f"import graph.brain / import langgraph.graph: median {statistics.median(ratios):.2f} "
        f"of {PAIRS} pairs ({min(ratios):.2f} to {max(ratios):.2f}), target <= {TARGET}"
    )
