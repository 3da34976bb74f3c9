"""The answer to one row of a batch, in its form in the output file."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict, cast

from swarm_brain.batch.rows import Row
from swarm_brain.graph.state import RESULT_KEYS, Provenance, Result, StopReason, Usage

Status = Literal["answered", "failed", "not sent"]
NO_USAGE: Usage = {
    "calls": 0,
    "input_tokens": 0,
    "output_tokens": 0,
    "cached_tokens": 0,
    "cost_usd": 0.0,
}
UNKNOWN_USAGE = cast(Usage, dict.fromkeys(NO_USAGE))


class RowAnswer(TypedDict):
    """One line of the output, with the keys of a Result; null without an answer."""

    line: int
    id: str | int | None
    status: Status
    metadata: NotRequired[object]
    final_output: str | None
    provenance: Provenance | None
    stop_reason: StopReason | None
    usage: Usage
    error: str | None
    duration_s: float


def answer_of(row: Row, result: Result) -> RowAnswer:
    """Return the answer of a row that ran."""
    failed = result["stop_reason"] == "failed" and result["provenance"] != "simulated"
    return _labelled(row, "failed" if failed else "answered", dict(result))


def failure(row: Row, error: str, usage: Usage = NO_USAGE) -> RowAnswer:
    """Return the answer of a row that failed."""
    return _labelled(row, "failed", {**_empty(error, usage), "stop_reason": "failed"})


def not_sent(row: Row, reason: str) -> RowAnswer:
    """Return the answer of a row that was not asked."""
    return _labelled(row, "not sent", _empty(f"not sent: {reason}", NO_USAGE))


def _empty(error: str, usage: Usage) -> dict[str, object]:
    lists: dict[str, object] = {"experts": [], "dissent": [], "recalled": [], "notes": []}
    return {**dict.fromkeys(RESULT_KEYS), **lists, "usage": usage, "error": error}


def _labelled(row: Row, status: Status, result: dict[str, object]) -> RowAnswer:
    metadata = {} if row.metadata is None else {"metadata": row.metadata}
    label: dict[str, Any] = {"line": row.line, "id": row.id, "status": status, **metadata}
    return cast(RowAnswer, {**label, **result, "duration_s": 0.0})
