"""A run as a picture shows it: outcomes and fired edges. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from swarm_brain.graph.topology import Topology

if TYPE_CHECKING:
    from swarm_brain.runs.saved import ExpertStep, Run

STATUS = {
    "ok": "answered",
    "simulated": "simulated",
    "failed": "failed",
    "skipped": "not woken",
    "next": "next",
    "idle": "not asked",
}
FIRST_WORDS = 400  # characters of a reply in the tooltip


@dataclass(frozen=True)
class Look:
    """One expert in a run: a key of STATUS, the lines in its box, and its reply."""

    status: str
    lines: tuple[str, ...]
    words: str = ""


@dataclass(frozen=True)
class Course:
    """A run on a topology. Edges are (source, target) and map to their activation."""

    experts: Mapping[str, Look] = field(default_factory=dict)
    fired: Mapping[tuple[str, str], float] = field(default_factory=dict)
    quiet: Mapping[tuple[str, str], float] = field(default_factory=dict)
    ended: bool = False


def course(topology: Topology, run: Run) -> Course:
    """Return the course of a saved run, finished or not."""
    entries = [one for step in run["steps"] for one in step["experts"]]
    reports = run["result"]["experts"] if run["result"] else []
    skipped = {report["name"]: report for report in reports if report["status"] == "skipped"}
    looks = {}
    for name, expert in topology.experts.items():
        own = [one for one in entries if one["expert"] == name]
        if own:
            looks[name] = _spoke(own)
        elif name in skipped:
            looks[name] = Look("skipped", ("gated off" if expert.gated else STATUS["skipped"],))
        else:
            status = "next" if name in run["next"] else "idle"
            looks[name] = Look(status, (STATUS[status],))
    return Course(looks, _wakings(entries), _wakings(skipped.values()), run["result"] is not None)


def _spoke(entries: Sequence[ExpertStep]) -> Look:
    """Return the look of an expert that ran once, or again in a revision."""
    last = entries[-1]
    status = STATUS[last["status"]]
    if last["status"] == "simulated" and last["error"]:
        status = "failed, simulated"  # it replaces a reply that never came
    human = f", {last['human']}" if last["human"] else ""
    words = last["error"] or " ".join(last["content"][: 2 * FIRST_WORDS].split())[:FIRST_WORDS]
    revised = ", revised" if len(entries) > 1 else ""
    figures = [_figures(one) for one in entries[-2:]]
    return Look(last["status"], (status + revised + human, *figures), words)


def _figures(entry: ExpertStep) -> str:
    tokens = "tokens unknown" if entry["tokens"] is None else f"{entry['tokens']:,} tokens"
    return f"{tokens}, {entry['latency_s']:.1f} s"


def _wakings(reports: Any) -> dict[tuple[str, str], float]:
    """Return the edges that woke these experts."""
    return {
        (edge["from"], report.get("expert") or report["name"]): edge["activation"]
        for report in reports
        for edge in report["woken_by"]
    }
