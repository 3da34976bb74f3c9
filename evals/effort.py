"""Measure the effort estimate: `python -m evals.effort [FILE]`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from swarm_brain.graph.effort import estimate

DATASET = Path(__file__).parent / "datasets" / "effort.jsonl"


def measure(path: Path = DATASET) -> tuple[float, list[str]]:
    """Return the share of correct estimates, and a line for each wrong one."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    wrong = [
        f"{row['effort']} estimated as {estimate(row['question'])}: {row['question']}"
        for row in rows
        if estimate(row["question"]) != row["effort"]
    ]
    return 1 - len(wrong) / len(rows), wrong


if __name__ == "__main__":
    share, misses = measure(Path(sys.argv[1]) if len(sys.argv) > 1 else DATASET)
    print("\n".join([*misses, f"accuracy {share:.3f}"]))  # noqa: T201
