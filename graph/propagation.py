"""Decide which edges fire. Pure functions of topology, signals and Context.

An edge fires when weight x salience x gate >= threshold. The salience of a signal is computed from
its words; the gate of a target comes from the gate expert.

The edges that leave a signal are computed once per process (docs/decisions/0020): the router, the
events, the reports and the pictures read one cached decision, keyed on everything it depends on.

Origin of the numbers: see the settings `salience_*` and `threshold`. With their defaults and an
edge of weight 1 every substantial signal passes and a refusal does not. Coverage and novelty only
rank signals in the competition for the workspace.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from swarm_brain.graph.context import Context
from swarm_brain.graph.events import Reached
from swarm_brain.graph.signal import Defect, Signal, Waking
from swarm_brain.graph.state import BEGIN, EFFORTS, BrainState, Effort
from swarm_brain.graph.topology import Expert, Topology

NEUTRAL = 1.0  # of a failed signal and of a missing gate: a failure must silence nobody else

_WORD = re.compile(r"\w+")
_REFUSAL = re.compile(
    r"\W*((i['’]?m sorry|sorry|as an ai)\b[^.\n]{0,80}\b(can(no|['’])t|unable|not able|won['’]t)\b"
    r"|i (can(no|['’])t|am (not able|unable)|won['’]t) )",
    re.I,
)
_STOP = frozenset([
    "a", "an", "and", "are", "as", "at", "be", "by", "can", "do", "does", "for", "from", "has",
    "have", "how", "i", "if", "in", "is", "it", "its", "me", "my", "of", "on", "or", "our",
    "should", "that", "the", "their", "there", "this", "to", "was", "we", "what", "when", "where",
    "which", "who", "why", "will", "with", "would", "you", "your",
])  # fmt: skip


@lru_cache(maxsize=1024)
def content_words(text: str) -> frozenset[str]:
    """Return the meaningful words in lower case, cut to six letters (a crude stem)."""
    words = (word.lower() for word in _WORD.findall(text))
    return frozenset(word[:6] for word in words if word not in _STOP)


def salience(content: str, question: str, heard: Collection[str], context: Context) -> float:
    """Return how much a signal matters for this question, from 0 to 1.

    This is the sum of substance (it is not a refusal), coverage (the share of the question's words
    in it) and novelty (one minus its largest word overlap with what its expert had heard).
    """
    words = content_words(content)
    if not words:  # "→" or "A" may be the whole answer
        return context.salience_substance if content.strip() else 0.0
    asked = content_words(question)
    coverage = len(words & asked) / len(asked) if asked else 1.0
    overlap = max((_jaccard(words, content_words(text)) for text in heard), default=0.0)
    substance = 0.0 if _REFUSAL.match(content) else context.salience_substance
    ranking = context.salience_coverage * coverage + context.salience_novelty * (1 - overlap)
    return round(min(1.0, substance + ranking), 4)


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other) if one | other else 0.0


def usable(signal: Signal) -> bool:
    """Return whether other experts may see the signal.

    A model wrote it, or the whole run is simulated.
    """
    return signal["status"] == "ok" or (signal["status"] == "simulated" and signal["error"] is None)


def steps_planned(topology: Topology, max_steps: int) -> tuple[int, int]:
    """Return the first and the last level that run within `max_steps`.

    The last step goes to the expert that answers: critics are dropped first, then the levels from
    the first on.
    """
    answer = topology.levels[topology.answering(max_steps).name]
    last = max(topology.levels.values())
    return max(1, answer - max_steps + 1), min(last, max(answer, max_steps))


def steps_needed(topology: Topology, effort: Effort) -> int:
    """Return the number of steps of a run of this effort without limits."""
    return max(topology.levels[name] for name in topology.reached(effort))


def reached(topology: Topology, effort: Effort, *, recalled: bool) -> set[str]:
    """Return the experts that this effort may wake."""
    woken = topology.reached(effort)
    return woken | memories(topology) if recalled else woken


def memories(topology: Topology) -> set[str]:
    """Return the experts of kind memory that `begin` may wake."""
    return {expert.name for expert in topology.targets(BEGIN) if expert.traits.recalls}


def entries(
    topology: Topology, effort: Effort, max_steps: int, *, recalled: bool = False
) -> list[str]:
    """Return the experts that `begin` wakes: the first level of this effort."""
    if max_steps == 1:
        return [topology.answering(max_steps).name]
    first, _ = steps_planned(topology, max_steps)
    names = reached(topology, effort, recalled=recalled)
    return [name for name in topology.experts if topology.levels[name] == first and name in names]


def starters(topology: Topology) -> set[str]:
    """Return all experts that `begin` may wake, including those for few `max_steps`."""
    return set().union(*_first_steps(topology))


def may_wake_nobody(topology: Topology) -> bool:
    """Return whether `begin` wakes no expert for some effort and `max_steps`."""
    return not all(_first_steps(topology))


def _first_steps(topology: Topology) -> list[list[str]]:
    """Return the experts that `begin` wakes, for each effort and number of steps."""
    answer = topology.levels[topology.synthesis.name]
    return [
        entries(topology, effort, steps) for effort in EFFORTS for steps in range(1, answer + 1)
    ]


class Cause(NamedTuple):
    """The parts of a signal that its edges depend on.

    `answers` counts synthesis's signals of earlier steps.
    """

    source: str
    usable: bool
    salience: float
    gates: tuple[tuple[str, float], ...]
    stopped: bool
    defects: bool
    answers: int


class Rules(NamedTuple):
    """The run's settings that edges depend on."""

    effort: Effort
    max_steps: int
    max_revisions: int
    threshold: float


class Activation(NamedTuple):
    """One edge of a signal, with the fields of the event `Reached`."""

    to: str
    gate: float | None
    activation: float
    fired: bool


def leaving(
    topology: Topology, signal: Signal, signals: Sequence[Signal], effort: Effort, context: Context
) -> tuple[Activation, ...]:
    """Return every edge that leaves this signal, whether it fires or not.

    Of the run's other `signals` only synthesis's earlier ones count, so later signals do not
    change the decision.
    """
    name, step = topology.synthesis.name, signal["step"]
    cause = Cause(
        source=signal["source"],
        usable=usable(signal),
        salience=signal["salience"],
        gates=tuple(sorted(signal["gates"].items())),
        stopped=signal["failure"] == "stopped",
        defects=bool(signal["defects"]),
        answers=sum(other["source"] == name and other["step"] < step for other in signals),
    )
    rules = Rules(effort, context.max_steps, context.max_revisions, context.threshold)
    return _decided(topology, cause, rules)


@lru_cache(maxsize=1024)
def _decided(topology: Topology, cause: Cause, rules: Rules) -> tuple[Activation, ...]:
    """Return the result of `activations`, cached by its arguments."""
    return tuple(activations(topology, cause, rules))


def activations(topology: Topology, cause: Cause, rules: Rules) -> Iterator[Activation]:
    """Compute the edges that leave a signal.

    Edges to levels that `max_steps` cuts off do not exist, nor does anything after a revision, nor
    a critic where synthesis has not answered. A critic has one more edge, to the answer that it
    checked: a quoted defect fires it, which is the revision.
    """
    _, last = steps_planned(topology, rules.max_steps)
    if cause.source != topology.synthesis.name or not cause.answers:  # else it is a revision
        for target in topology.targets(cause.source, rules.effort):
            reachable = topology.levels[target.name] <= last and not cause.stopped
            if reachable and (cause.usable or not target.traits.checks):
                yield _activation(topology, target, cause, rules)
    if topology.experts[cause.source].traits.checks and cause.answers:
        revised = cause.defects and cause.answers <= rules.max_revisions
        yield Activation(topology.synthesis.name, None, NEUTRAL if revised else 0.0, revised)


def _activation(topology: Topology, target: Expert, cause: Cause, rules: Rules) -> Activation:
    edge = [e for e in target.woken_by if e.source == cause.source and e.counts(rules.effort)][-1]
    gate = dict(cause.gates).get(target.name, NEUTRAL) if target.gated else None
    # A poor restatement of the question must not silence those who answer without a gate.
    heeded = cause.usable and (target.gated or not target.traits.drafts)
    strength = cause.salience if heeded else NEUTRAL
    activation = round(edge.weight * strength * (NEUTRAL if gate is None else gate), 4)
    return Activation(target.name, gate, activation, activation >= rules.threshold)


def edges(
    topology: Topology, signal: Signal, signals: Sequence[Signal], effort: Effort, context: Context
) -> list[Reached]:
    """Return every edge that leaves this signal as the event `answered` reports it."""
    return [
        {"to": to, "gate": gate, "activation": activation, "fired": fired}
        for to, gate, activation, fired in leaving(topology, signal, signals, effort, context)
    ]


def _wakings(topology: Topology, state: BrainState, context: Context) -> list[tuple[str, Waking]]:
    """Return the edges that fired after the last step, each with its target."""
    signals, step = state.get("signals", []), state.get("step", 0)
    return [
        (edge.to, {"from": signal["source"], "activation": edge.activation})
        for signal in signals
        if signal["step"] == step
        for edge in leaving(topology, signal, signals, state["effort"], context)
        if edge.fired
    ]


def woken(topology: Topology, state: BrainState, context: Context) -> list[str]:
    """Return the experts that the last step woke, in the topology's order."""
    if not state.get("step", 0):
        recalled = bool(state["memory"]["recalled"])
        return entries(topology, state["effort"], context.max_steps, recalled=recalled)
    names = {target for target, _ in _wakings(topology, state, context)}
    return [name for name in topology.experts if name in names]


def woken_by(topology: Topology, target: str, state: BrainState, context: Context) -> list[Waking]:
    """Return the edges that woke `target` in this step; `begin` if no signal did."""
    wakings = [w for name, w in _wakings(topology, state, context) if name == target]
    return wakings or [{"from": BEGIN, "activation": NEUTRAL}]


def considered(
    topology: Topology, signals: Sequence[Signal], effort: Effort, context: Context
) -> Mapping[str, list[Waking]]:
    """Return the experts that edges reached without waking them, with these edges."""
    ran = {signal["source"] for signal in signals}
    reached: dict[str, list[Waking]] = {}
    for signal in signals:
        for edge in leaving(topology, signal, signals, effort, context):
            if edge.to not in ran:
                waking: Waking = {"from": signal["source"], "activation": edge.activation}
                reached.setdefault(edge.to, []).append(waking)
    return reached


def standing(defects: Sequence[Defect], answer: str) -> list[Defect]:
    """Return the defects with a quote that occurs in the answer, as whole words."""
    text = _plain(answer)
    return [
        defect
        for defect in defects
        if (quote := _plain(defect["quote"]))
        and re.search(rf"(?<!\w){re.escape(quote)}(?!\w)", text)
    ]


def _plain(text: str) -> str:
    """Normalise a quote: lower case, straight quotes, single spaces, no ellipses."""
    for curly, straight in (("“", '"'), ("”", '"'), ("‘", "'"), ("’", "'"), ("…", "...")):
        text = text.replace(curly, straight)
    return " ".join(text.lower().split()).strip(" \"'.")
