"""Compare the two prompt layouts on the embedded model: cached share, seconds.

A run is cold with a new question in a new process, and warm when the same question follows.
"""

from __future__ import annotations

import json
import subprocess
import sys

ROUNDS = 3
CODE = """
import json, sys, time
from swarm_brain.graph.brain import graph
from swarm_brain.models.choose import bind
layout, question = sys.argv[1:]
bind("embedded:smollm2-135m")
context = {"model": "embedded:smollm2-135m", "seed": 1, "max_tokens": 64, "threshold": 0,
           "max_revisions": 0, "effort": "high", "prompt_layout": layout}  # all eight, once each
for state in ("cold", "warm"):
    started = time.perf_counter()
    usage = graph.invoke({"question": question}, context=context)["usage"]
    print(json.dumps({"state": state, "seconds": time.perf_counter() - started, **usage}))
"""


def main() -> None:
    """Print medians for each layout."""
    rows_of: dict[tuple[str, str], list[dict[str, float]]] = {}
    for number in range(ROUNDS):
        for layout in ("role_first", "shared_first"):
            question = f"Why does number {number} matter to those who count the stars at night?"
            command = [sys.executable, "-c", CODE, layout, question]
            lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            for line in lines.splitlines():
                row = json.loads(line)
                rows_of.setdefault((layout, row["state"]), []).append(row)
    print("| layout | state | seconds | tokens in | cached | tokens out |")
    print("|---|---|---|---|---|---|")
    for (layout, state), rows in rows_of.items():
        row = sorted(rows, key=lambda r: r["seconds"])[len(rows) // 2]
        cached = (row["cached_tokens"] or 0) / row["input_tokens"]
        tokens = f"{row['input_tokens']:.0f} | {cached:.0%} | {row['output_tokens']:.0f}"
        print(f"| {layout} | {state} | {row['seconds']:.1f} | {tokens} |")
