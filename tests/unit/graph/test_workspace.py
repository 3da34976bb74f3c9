"""The global workspace at scale: what an expert reads is bounded by the capacity, not the number
of experts, so that tokens grow with the experts and not with their square."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from swarm_brain.graph.brain import compile_brain
from swarm_brain.graph.loading import load
from tests.fakes import Script

HARD = "Why is the subject what it is?"
PROMPT = "# Expert: {} (does its part)\n\nDo it."
WORDS = 60  # of every reply
INTAKE = ("perception", "attention", "memory")


def edge(source, **more):
    return {"from": source, **more}


def topology(folder: Path, count: int, *, gated: bool, waves: int) -> dict:
    """`count` experts: three of intake, proposers in so many waves, synthesis, a critic.

    Those of the first wave are woken by the gate or by perception, later ones by two before them.
    """
    experts = {
        "perception": {"kind": "intake", "woken_by": [edge("begin")]},
        "attention": {"kind": "gate", "woken_by": [edge("begin")]},
        "memory": {"kind": "memory", "woken_by": [edge("begin")]},
        "reasoning": {"kind": "proposer", "woken_by": [edge("attention")], "hears": ["perception"]},
    }
    rows = [["reasoning"], *([] for _ in range(waves - 1))]
    for n in range(count - 6):
        row = (n + 1) % waves
        name = f"proposer{n}"
        first = {"gated": gated, "woken_by": [edge("attention" if gated else "perception")]}
        later = {"woken_by": [edge(source) for source in rows[row - 1][-1:]]} if row else first
        experts[name] = {"kind": "proposer", "hears": ["perception"], **later}
        rows[row].append(name)
    last = [edge(name) for name in rows[-1]]
    experts["synthesis"] = {"kind": "synthesis", "woken_by": last, "hears": ["perception"]}
    experts["critic"] = {"kind": "critic", "woken_by": [edge("synthesis")], "hears": ["synthesis"]}
    assert len(experts) == count
    for name in experts:
        (folder / f"{name}.md").write_text(PROMPT.format(name), encoding="utf-8")
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({"experts": experts}, sort_keys=False), encoding="utf-8")
    return load(path)


def reply(request) -> str:
    """As many words from everybody, nobody's like another's."""
    name = re.sub(r"\W", "", request["expert"])
    return " ".join([f"{name}says", *(f"{name}{n}" for n in range(WORDS - 1))])


@pytest.fixture
def measure(script: Script, tmp_path):
    """Words of each expert's prompt."""

    def run(count, *, gated=True, waves=1, **context) -> dict[str, int]:
        found = topology(tmp_path, count, gated=gated, waves=waves)
        open_gates = ", ".join(f'"{expert.name}": 0.9' for expert in found.gated)
        script.says = dict.fromkeys(found.experts, reply)
        script.says |= {"attention": f"{{{open_gates}}}", "critic": '{"defects": []}'}
        script.requests.clear()
        result = compile_brain(found).invoke(
            {"question": HARD}, context={"model": "scripted:m", "max_steps": 64, **context}
        )
        assert result["provenance"] == "full"
        assert sorted(script.askers) == sorted(found.experts)
        return {r["expert"]: len(f"{r['system']} {r['user']}".split()) for r in script.requests}

    return run


def heard(script: Script) -> dict[str, int]:
    """How many signals each expert was shown as context."""
    return {r["expert"]: r["user"].count("<heard ") for r in script.requests}


@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("waves", [1, 2, 3])
def test_no_prompt_grows_with_the_number_of_experts(measure, script, gated, waves):
    sizes = {}
    for count in (8, 16, 24):
        sizes[count] = measure(count, gated=gated, waves=waves)
        bound = 4 * (waves + 1)  # capacity signals of each wave before
        assert max(n for name, n in heard(script).items() if name != "synthesis") <= bound
    roster = {"synthesis", "attention"}  # drafts whole, by promise; a line for each gated expert
    largest = {n: max(v for k, v in size.items() if k not in roster) for n, size in sizes.items()}
    room = 4 * (waves + 1) * (WORDS + 8) + 40
    assert max(largest.values()) <= room
    if waves < 3:  # with three, waves of 16 experts do not fill the capacity
        assert largest[24] <= largest[16] + 2


@pytest.mark.parametrize("waves", [1, 2])
def test_all_tokens_grow_with_the_experts_and_not_with_their_square(measure, waves):
    totals = {n: sum(measure(n, waves=waves).values()) for n in (8, 16, 24)}
    first, second = totals[16] - totals[8], totals[24] - totals[16]
    assert second <= 1.25 * first
    assert totals[24] / 24 <= 1.5 * totals[16] / 16


def test_synthesis_sees_every_draft_whole(measure, script):
    measure(24)
    (request,) = script.of("synthesis")
    assert request["user"].count("<draft ") == 24 - 5
    assert all(f"proposer{n}{WORDS - 2}" in request["user"] for n in range(24 - 6))


@pytest.mark.parametrize("capacity", [2, 4, 8])
def test_the_bound_is_the_capacity(measure, script, capacity):
    """In the third wave of 24 experts an expert hears `capacity` of each wave before, at most."""
    sizes = measure(24, waves=3, capacity=capacity)
    listening = {
        name: count for name, count in heard(script).items() if name not in ("synthesis", "critic")
    }
    full = sum(min(capacity, speaking) for speaking in (2, 7, 6))
    assert max(listening.values()) in (full, full + 1)  # and one heard over its own edge
    assert max(n for name, n in sizes.items() if name in listening) < (full + 1) * (WORDS + 8) + 40


def test_without_the_workspace_only_edges_are_heard(measure, script):
    measure(24, waves=3, use_global_workspace=False)
    assert max(heard(script).values()) == 1
