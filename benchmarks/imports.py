"""Compare the import times of this project's graph and of LangGraph."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys

PAIRS = 7
TARGET = 1.3


def seconds(module: str) -> float:
    """Return the processor time of an import; other processes affect wall time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    """Print the median ratio of pairs; bytecode and disk are warm."""
    for module in ("langgraph.graph", "swarm_brain.graph.brain"):
        seconds(module)
    ratios = [seconds("swarm_brain.graph.brain") / seconds("langgraph.graph") for _ in range(PAIRS)]
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    print(
        "import swarm_brain.graph.brain / import langgraph.graph, processor time: median "
        f"{statistics.median(ratios):.2f} of {PAIRS} pairs ({spread}), target <= {TARGET}"
    )
