"""Run all benchmarks, or the named ones: `python -m benchmarks [NAME ...]`."""

from __future__ import annotations

import sys

from benchmarks import (
    checkpoints,
    embedded,
    huggingface,
    imports,
    latency,
    prefix,
    rate,
    recall,
    threads,
)

ALL = {
    "latency": latency.main,
    "imports": imports.main,
    "embedded": embedded.main,
    "prefix": prefix.main,
    "rate": rate.main,
    "checkpoints": checkpoints.main,
    "threads": threads.main,
    "recall": recall.main,
    "huggingface": huggingface.main,
}

for name in sys.argv[1:] or ALL:
    if name not in ALL:
        sys.exit(f"no benchmark {name!r}; choose from {', '.join(ALL)}")
    print(f"\n## {name}\n", flush=True)
    ALL[name]()
