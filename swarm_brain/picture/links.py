"""The connections of a picture: all ways from one node to another. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from swarm_brain.graph.propagation import starters
from swarm_brain.graph.state import BEGIN, FINISH
from swarm_brain.graph.topology import Edge, Expert, Topology

# wakes: a waking edge; hears: content only; revision: a quoted defect; ends: the answer;
# entry: `begin` wakes it where max_steps leaves no time for those before it.
LinkKind = Literal["wakes", "hears", "revision", "entry", "ends"]


@dataclass(frozen=True)
class Link:
    """A connection. `back` marks the revision, which leads to an earlier level."""

    source: str
    target: str
    kind: LinkKind
    label: str = ""

    @property
    def back(self) -> bool:
        """Whether it leads to a lower level."""
        return self.kind == "revision"

    @property
    def low(self) -> str:
        """The end on the lower level."""
        return self.target if self.back else self.source

    @property
    def high(self) -> str:
        """The end on the higher level."""
        return self.source if self.back else self.target


def links(topology: Topology) -> Iterator[Link]:
    """Return all connections, in the order of the topology."""
    answer = topology.synthesis.name
    first = {expert.name for expert in topology.targets(BEGIN)}
    for name, expert in topology.experts.items():
        for edge in expert.woken_by:
            yield Link(edge.source, name, "wakes", label(expert, edge))
        yield from (Link(source, name, "hears") for source in heard(topology, expert))
        if expert.kind == "critic":
            yield Link(name, answer, "revision", "quoted defect")
        if name in starters(topology) - first:
            yield Link(BEGIN, name, "entry")
    yield Link(answer, FINISH, "ends")


def heard(topology: Topology, expert: Expert) -> list[str]:
    """Return the experts that an expert hears; synthesis hears every draft."""
    drafts = topology.of_kind("proposer") if expert.kind == "synthesis" else []
    waking = {edge.source for edge in expert.woken_by}
    silent = [draft.name for draft in drafts if draft.name not in waking]
    return list(dict.fromkeys([*expert.hears, *silent]))


def label(target: Expert, edge: Edge) -> str:
    """Return the edge's condition, apart from its source's salience."""
    if edge.source == BEGIN:
        recalled = " or recalled" if target.kind == "memory" and edge.effort != "any" else ""
        return f"{edge.effort} effort{recalled}"
    gate = " × gate" if target.gated else ""
    return f"{edge.weight:g}{gate}" + ("" if edge.effort == "any" else f", {edge.effort} effort")
