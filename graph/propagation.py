"""Which edges fire. Pure functions over the topology, the signals so far and the Context.

An edge fires when weight x salience x gate >= threshold. The salience of a signal is computed from
its words (weights below); the gate of a target comes from the gate expert.

Origin of the numbers: see the settings `salience_*` and `threshold`. With their defaults and an
edge of weight 1 every substantial signal passes and a refusal does not; coverage and novelty only
rank signals in the competition for the workspace.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache

from swarm_brain.graph.context import Context
from swarm_brain.graph.events import Reached
from swarm_brain.graph.state import BEGIN, EFFORTS, BrainState, Defect, Effort, Signal, Waking
from swarm_brain.graph.topology import Edge, Expert, Topology

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
    """The words that carry meaning, lower-cased and cut to six letters (a crude stem)."""
    words = (word.lower() for word in _WORD.findall(text))
    return frozenset(word[:6] for word in words if word not in _STOP)


def salience(content: str, question: str, heard: Collection[str], context: Context) -> float:
    """How much a signal matters for this question, 0..1.

    Substance (it is no refusal) + coverage (share of the question's words it takes up) + novelty
    (one minus its largest word overlap with what its expert had heard).
    """
    words = content_words(content)
    if not words:
        return (
            context.salience_substance if content.strip() else 0.0
        )  # "→" or "A" may be all that is to be said
    asked = content_words(question)
    coverage = len(words & asked) / len(asked) if asked else 1.0
    overlap = max((_jaccard(words, content_words(text)) for text in heard), default=0.0)
    substance = 0.0 if _REFUSAL.match(content) else context.salience_substance
    ranking = context.salience_coverage * coverage + context.salience_novelty * (1 - overlap)
    return round(min(1.0, substance + ranking), 4)


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other) if one | other else 0.0


def usable(signal: Signal) -> bool:
    """Whether others may be shown it: a model's words, or any in a run that is all simulation."""
    return signal["status"] == "ok" or (signal["status"] == "simulated" and signal["error"] is None)


def steps_planned(topology: Topology, max_steps: int) -> tuple[int, int]:
    """First and last level that run. The last permitted step goes to an expert that answers:

    critics fall away first, then intake from the first level on; with one step the soloist is left.
    """
    answer = topology.levels[topology.synthesis.name]
    last = max(topology.levels.values())
    if max_steps >= last:
        return 1, last
    if max_steps >= answer:
        return 1, max_steps
    if max_steps == 1:
        level = topology.levels[topology.soloist.name]
        return level, level
    return answer - max_steps + 1, answer


def steps_needed(topology: Topology, effort: Effort) -> int:
    """Waves that a run of this effort takes if no limit cuts it short."""
    return max(topology.levels[name] for name in topology.reached(effort))


def reached(topology: Topology, effort: Effort, *, recalled: bool) -> set[str]:
    """Whom this effort may wake; memory experts whenever there is something for them to tell."""
    woken = topology.reached(effort)
    return woken | memories(topology) if recalled else woken


def memories(topology: Topology) -> set[str]:
    """The experts of kind memory that `begin` wakes, at whatever effort."""
    return {expert.name for expert in topology.targets(BEGIN) if expert.kind == "memory"}


def entries(
    topology: Topology, effort: Effort, max_steps: int, *, recalled: bool = False
) -> list[str]:
    """Whom `begin` wakes: the first level that runs, as far as this effort reaches it."""
    if max_steps == 1:
        return [topology.soloist.name]
    first, _ = steps_planned(topology, max_steps)
    names = reached(topology, effort, recalled=recalled)
    return [name for name in topology.experts if topology.levels[name] == first and name in names]


def starters(topology: Topology) -> set[str]:
    """Everybody whom `begin` may wake; a small `max_steps` makes it start at a later level."""
    answer = topology.levels[topology.synthesis.name]
    return {
        name
        for effort in EFFORTS
        for steps in range(1, answer + 1)
        for name in entries(topology, effort, steps)
    }


def activations(
    topology: Topology, signal: Signal, effort: Effort, context: Context
) -> dict[str, float]:
    """The activation of every edge that leaves this signal's source, whether it fires or not.

    Edges to levels that `max_steps` cuts off do not count; nor does anything after a revision, nor
    a critic where there is no answer of synthesis to check.
    """
    first, last = steps_planned(topology, context.max_steps)
    ended = signal["failure"] == "stopped" or context.max_steps == 1
    if ended or _is_revision(topology, signal, first):
        return {}
    return {
        target.name: _activation(edge, target, signal)
        for target in topology.targets(signal["source"], effort)
        for edge in target.woken_by
        if edge.source == signal["source"]
        and edge.counts(effort)
        and topology.levels[target.name] <= last
        and (target.kind != "critic" or usable(signal))
    }


def _is_revision(topology: Topology, signal: Signal, first: int) -> bool:
    return signal["step"] > topology.levels[signal["source"]] - first + 1


def _activation(edge: Edge, target: Expert, signal: Signal) -> float:
    gate = _gate(target, signal)
    # Who answers when nobody else does is not silenced by a poor restatement of the question.
    heeded = usable(signal) and (target.gated or target.kind != "proposer")
    strength = signal["salience"] if heeded else NEUTRAL
    return round(edge.weight * strength * (NEUTRAL if gate is None else gate), 4)


def _gate(target: Expert, signal: Signal) -> float | None:
    return signal["gates"].get(target.name, NEUTRAL) if target.gated else None


def fired(topology: Topology, signal: Signal, effort: Effort, context: Context) -> dict[str, float]:
    """The edges of this signal that reach the threshold: target to activation."""
    reached = activations(topology, signal, effort, context)
    return {name: value for name, value in reached.items() if value >= context.threshold}


def edges(
    topology: Topology, signal: Signal, signals: Sequence[Signal], effort: Effort, context: Context
) -> list[Reached]:
    """What became of each edge that leaves this signal's source; `signals` are all until now."""
    reached: list[Reached] = [
        {
            "to": name,
            "gate": _gate(topology.experts[name], signal),
            "activation": value,
            "fired": value >= context.threshold,
        }
        for name, value in activations(topology, signal, effort, context).items()
    ]
    if topology.experts[signal["source"]].kind == "critic":
        revised = revises(topology, signal, signals, context)
        strength = NEUTRAL if revised else 0.0
        reached.append(
            {
                "to": topology.synthesis.name,
                "gate": None,
                "activation": strength,
                "fired": revised,
            }
        )
    return reached


def wave(topology: Topology, state: BrainState, context: Context) -> list[str]:
    """Whom the last wave has woken, in the topology's order; only `begin` has woken the first."""
    step, signals = state.get("step", 0), state.get("signals", [])
    if not step:
        recalled = bool(state["memory"]["recalled"])
        return entries(topology, state["effort"], context.max_steps, recalled=recalled)
    woken = {
        edge["to"]
        for signal in signals
        if signal["step"] == step
        for edge in edges(topology, signal, signals, state["effort"], context)
        if edge["fired"]
    }
    return [name for name in topology.experts if name in woken]


def revises(
    topology: Topology, signal: Signal, signals: Sequence[Signal], context: Context
) -> bool:
    """Whether a critic's signal buys a revision: a quoted defect, and none bought before."""
    runs = sum(other["source"] == topology.synthesis.name for other in signals)
    critic = topology.experts[signal["source"]].kind == "critic"
    return critic and bool(signal["defects"]) and 0 < runs <= context.max_revisions


def standing(defects: Sequence[Defect], answer: str) -> list[Defect]:
    """The defects whose quote really stands in the answer, as whole words."""
    text = _plain(answer)
    return [
        defect
        for defect in defects
        if (quote := _plain(defect["quote"]))
        and re.search(rf"(?<!\w){re.escape(quote)}(?!\w)", text)
    ]


def _plain(text: str) -> str:
    """Lower case, straight quotes, single spaces, no surrounding quotes or ellipses."""
    for curly, straight in (("“", '"'), ("”", '"'), ("‘", "'"), ("’", "'"), ("…", "...")):
        text = text.replace(curly, straight)
    return " ".join(text.lower().split()).strip(" \"'.")


def woken_by(topology: Topology, target: str, state: BrainState, context: Context) -> list[Waking]:
    """Which edges woke `target` now; `begin` if no signal did. Derived, so it cannot disagree."""
    step = state.get("step", 0)
    effort = state["effort"]
    wakings: list[Waking] = []
    for signal in state.get("signals", []):
        if signal["step"] != step:
            continue
        reached = fired(topology, signal, effort, context)
        if target in reached:
            wakings.append({"from": signal["source"], "activation": reached[target]})
        elif target == topology.synthesis.name and revises(
            topology, signal, state["signals"], context
        ):
            wakings.append({"from": signal["source"], "activation": NEUTRAL})
    return wakings or [{"from": BEGIN, "activation": NEUTRAL}]


def considered(
    topology: Topology, signals: Sequence[Signal], effort: Effort, context: Context
) -> Mapping[str, list[Waking]]:
    """Experts that an edge reached but none woke: gated off, or not salient enough."""
    ran = {signal["source"] for signal in signals}
    reached: dict[str, list[Waking]] = {}
    for signal in signals:
        for name, value in activations(topology, signal, effort, context).items():
            if name not in ran:
                reached.setdefault(name, []).append({"from": signal["source"], "activation": value})
    return reached
