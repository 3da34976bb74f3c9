"""Check a topology. Each rule yields a sentence for every problem it finds."""

from __future__ import annotations

from collections.abc import Iterable

from swarm_brain.graph.errors import TopologyError
from swarm_brain.graph.state import BEGIN, EFFORTS
from swarm_brain.graph.topology import Topology


def check(topology: Topology, where: str) -> None:
    """Raise TopologyError for the first problem. `where` names the file."""
    for rule in (_names, _roles, _entry, _cycles, _reachable, _joins, _gates, _hearing, _drafts):
        for problem in rule(topology):
            raise TopologyError(where, problem)


def _names(topology: Topology) -> Iterable[str]:
    known = {BEGIN, *topology.experts}
    for expert in topology.experts.values():
        for edge in expert.woken_by:
            if edge.source not in known:
                yield f"expert {expert.name}: woken by unknown source {edge.source!r}"
        for source in expert.hears:
            if source not in topology.experts:
                yield f"expert {expert.name}: hears unknown source {source!r}"


def _roles(topology: Topology) -> Iterable[str]:
    if len(topology.of_kind("synthesis")) != 1:
        yield "exactly one expert of kind synthesis is needed"
    if len(topology.of_kind("gate")) > 1:
        yield "at most one expert of kind gate is possible"
    if all(expert.gated for expert in topology.of_kind("proposer")):
        yield "at least one proposer that is not gated is needed, or nobody might answer"


def _entry(topology: Topology) -> Iterable[str]:
    if not topology.targets(BEGIN):
        yield f"no entry: no expert is woken by {BEGIN}"


def _cycles(topology: Topology) -> Iterable[str]:
    """Report each waking edge that closes a cycle."""
    for expert in topology.experts.values():
        for edge in expert.woken_by:
            if edge.source in topology.downstream(expert.name):
                yield (
                    f"edge {edge.source} -> {expert.name} goes to a lower level: waking edges lead "
                    "forward only (the revision is the critic's own edge and is not stated here)"
                )


def _reachable(topology: Topology) -> Iterable[str]:
    reached = {effort: topology.reached(effort) for effort in EFFORTS}
    for name in topology.experts:
        if not any(name in names for names in reached.values()):
            yield f"expert {name} is unreachable: no path of waking edges from {BEGIN}"
    for effort, names in reached.items():
        if topology.soloist.name not in names:
            yield f"with {effort} effort nothing wakes {topology.soloist.name}, so nobody answers"


def _joins(topology: Topology) -> Iterable[str]:
    """Report experts whose sources have different levels: they would run twice."""
    for expert in topology.experts.values():
        levels = {e.source: topology.levels.get(e.source, 0) for e in expert.woken_by}
        if len(set(levels.values())) > 1:
            listed = ", ".join(f"{source} (level {level})" for source, level in levels.items())
            yield f"expert {expert.name}: unequal join, its sources stand on levels {listed}"


def _gates(topology: Topology) -> Iterable[str]:
    gates = {expert.name for expert in topology.of_kind("gate")}
    for expert in topology.gated:
        strangers = {e.source for e in expert.woken_by if e.effort != "low"} - gates
        if strangers or not gates:
            yield f"expert {expert.name}: gated, so only an expert of kind gate may wake it"


def _hearing(topology: Topology) -> Iterable[str]:
    for expert in topology.experts.values():
        for source in expert.hears:
            if topology.levels[source] >= topology.levels[expert.name]:
                yield f"expert {expert.name}: hears {source}, which does not run before it"


def _drafts(topology: Topology) -> Iterable[str]:
    level = topology.levels[topology.synthesis.name]
    for expert in topology.of_kind("proposer"):
        if topology.levels[expert.name] >= level:
            yield f"expert {expert.name}: a proposer must run before {topology.synthesis.name}"
    for expert in topology.of_kind("critic"):
        if topology.levels[expert.name] <= level:
            yield f"expert {expert.name}: a critic must run after {topology.synthesis.name}"
    if len({topology.levels[critic.name] for critic in topology.of_kind("critic")}) > 1:
        yield "critics on different levels: the revision of one would run beside another"
