"""Topologies: what is refused and why, a ninth expert, and that every node runs once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import get_args

import pytest
import yaml

from swarm_brain.graph.brain import Brain, compile_brain
from swarm_brain.graph.errors import TopologyError
from swarm_brain.graph.kinds import KINDS, Kind
from swarm_brain.graph.loading import FOLDER, load
from tests.fakes import Script

HARD = "Why is the subject what it is?"
EIGHT = (FOLDER / "eight.yaml").read_text(encoding="utf-8")
PROMPT = "# Expert: {} (does its part)\n\nDo it."


def by(*sources, **edge):
    return [{"from": source, **edge} for source in sources]


def expert(kind, *sources, edge=None, **fields):
    return {"kind": kind, "woken_by": by(*sources, **(edge or {})), **fields}


SOLO = {"reasoning": expert("proposer", "begin"), "synthesis": expert("synthesis", "reasoning")}


def write(folder: Path, experts, prompts=None, file="mine.yaml", **document) -> Path:
    """A topology file in `folder`, with a prompt beside it for each expert or for `prompts`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in experts if prompts is None else prompts:
        (folder / f"{name}.md").write_text(PROMPT.format(name), encoding="utf-8")
    path = folder / file
    path.write_text(yaml.safe_dump({**document, "experts": experts}, sort_keys=False))
    return path


def refusal(path) -> str:
    with pytest.raises(TopologyError) as caught:
        load(path)
    return str(caught.value)


def runs(path: Path, **context) -> Counter[str]:
    """How often each node ran."""
    return counted(compile_brain(load(path)), **context)


def counted(brain: Brain, **context) -> Counter[str]:
    stream = brain.stream(
        {"question": HARD},
        context={"model": "scripted:m", "max_steps": 64, **context},
        stream_mode="updates",
    )
    return Counter(node for part in stream for node in part)


def test_the_shipped_topology():
    eight = load("eight")
    assert eight == load()
    assert eight.levels == {
        "perception": 1,
        "attention": 1,
        "memory": 1,
        "reasoning": 2,
        "creative": 2,
        "analytical": 2,
        "synthesis": 3,
        "meta_cognitive": 4,
    }
    assert eight.soloist.name == "reasoning"
    assert [other.name for other in eight.gated] == ["creative", "analytical"]
    assert eight.reached("low") == {"perception", "reasoning", "synthesis"}
    assert eight.reached("high") == set(eight.experts)


@pytest.mark.parametrize(
    ("experts", "says"),
    [
        ({**SOLO, "x": expert("intake", "nobody")}, "expert x: woken by unknown source 'nobody'"),
        (
            {**SOLO, "x": expert("intake", "begin", hears=["nobody"])},
            "expert x: hears unknown source 'nobody'",
        ),
        ({**SOLO, "reasoning": expert("proposer")}, "no entry: no expert is woken by begin"),
        ({**SOLO, "x": expert("intake")}, "expert x is unreachable"),
        (
            {**SOLO, "x": expert("intake", "begin", edge={"weight": 1.5})},
            "expert x: woken_by.0.weight: Input should be less than or equal to 1, got 1.5",
        ),
        (
            {**SOLO, "x": expert("intake", "begin", edge={"weight": -0.1})},
            "expert x: woken_by.0.weight: Input should be greater than or equal to 0, got -0.1",
        ),
        (
            {**SOLO, "x": expert("intake", "begin", edge={"weight": float("nan")})},
            "expert x: woken_by.0.weight",
        ),
        (
            {**SOLO, "reasoning": expert("proposer", "begin", "synthesis")},
            "edge synthesis -> reasoning goes to a lower level",
        ),
        (
            {**SOLO, "reasoning": expert("proposer", "begin", "reasoning")},
            "edge reasoning -> reasoning goes to a lower level",
        ),
        (
            {**SOLO, "x": expert("intake", "begin", "reasoning")},
            "expert x: unequal join, its sources stand on levels begin (level 0), "
            "reasoning (level 1)",
        ),
        (
            {**SOLO, "x": expert("intake", "reasoning"), "y": expert("intake", "x", "reasoning")},
            "expert y: unequal join, its sources stand on levels x (level 2), reasoning (level 1)",
        ),
        (
            {**SOLO, "x": expert("intake", "reasoning", gated=True)},
            "expert x: gated, so only an expert of kind gate may wake it",
        ),
        (
            {
                "gate": expert("gate", "begin"),
                "other": expert("intake", "begin"),
                "reasoning": expert("proposer", "gate"),
                "x": expert("proposer", "gate", "other", gated=True),
                "synthesis": expert("synthesis", "reasoning"),
            },
            "expert x: gated, so only an expert of kind gate may wake it",
        ),
        (
            {**SOLO, "gate": expert("gate", "begin"), "x": expert("intake", "begin", gated=True)},
            "expert x: gated, so only an expert of kind gate may wake it",
        ),
        (
            {**SOLO, "reasoning": expert("proposer", "begin", hears=["synthesis"])},
            "expert reasoning: hears synthesis, which does not run before it",
        ),
        (
            {**SOLO, "x": expert("intake", "begin", hears=["reasoning"])},
            "expert x: hears reasoning, which does not run before it",
        ),
        (
            {**SOLO, "other": expert("synthesis", "reasoning")},
            "exactly one expert of kind synthesis is needed",
        ),
        ({"reasoning": SOLO["reasoning"]}, "exactly one expert of kind synthesis is needed"),
        (
            {**SOLO, "one": expert("gate", "begin"), "two": expert("gate", "begin")},
            "at most one expert of kind gate is possible",
        ),
        (
            {
                "gate": expert("gate", "begin"),
                "x": expert("proposer", "gate", gated=True),
                "synthesis": expert("synthesis", "x"),
            },
            "at least one proposer that is not gated is needed",
        ),
        (
            {**SOLO, "reasoning": expert("proposer", "begin", edge={"effort": "high"})},
            "with low effort nothing wakes reasoning",
        ),
        (
            {**SOLO, "x": expert("proposer", "synthesis")},
            "expert x: a proposer must run before synthesis",
        ),
        (
            {**SOLO, "x": expert("critic", "begin")},
            "expert x: a critic must run after synthesis",
        ),
        (
            {
                **SOLO,
                "x": expert("critic", "synthesis"),
                "y": expert("intake", "synthesis"),
                "z": expert("critic", "y"),
            },
            "critics on different levels",
        ),
        ({**SOLO, "x": expert("wizard", "begin")}, "expert x: kind: Input should be"),
        ({**SOLO, "x": expert("intake", "begin", gatde=True)}, "expert x: gatde: Extra inputs"),
        (
            {**SOLO, "x": expert("intake", "begin", edge={"wieght": 1})},
            "expert x: woken_by.0.wieght: Extra inputs",
        ),
        ({**SOLO, "x": expert("intake", "begin", prompt="Hello.")}, "expert x: prompt: "),
        ({**SOLO, "x": expert("intake", "begin", name="y")}, "expert x: name: "),
        ({**SOLO, "x": None}, "expert x: expected a mapping"),
        ({}, "no experts"),
    ],
)
def test_each_error_names_file_entry_and_reason(tmp_path, experts, says):
    message = refusal(write(tmp_path, experts))
    assert message.startswith("mine.yaml: ")
    assert says in message


@pytest.mark.parametrize(
    "name", ["9th", "two words", "a.b", "begin", "finish", 3, "", "__start__", "__interrupt__"]
)
def test_a_name_that_no_node_can_have_is_refused(tmp_path, name):
    message = refusal(write(tmp_path, {**SOLO, name: expert("intake", "begin")}, prompts=SOLO))
    assert f"expert {name!r}: not a name" in message


def test_missing_and_empty_prompts(tmp_path):
    path = write(tmp_path, {**SOLO, "ninth": expert("intake", "begin")}, prompts=())
    message = refusal(path)
    assert "expert ninth: missing prompt ninth.md" in message
    assert str(tmp_path / "prompts") in message
    (tmp_path / "ninth.md").write_text(" \n")
    assert f"expert ninth: the prompt {tmp_path / 'ninth.md'} is empty" in refusal(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("experts: [", "mine.yaml: not YAML"),
        ("a: b: c", "mine.yaml: not YAML"),
        ("experts: 2020-99-99", "mine.yaml: not YAML: month must be"),
        ("", "mine.yaml: expected a mapping"),
        ("- reasoning", "mine.yaml: expected a mapping"),
        ("experts: [reasoning]", "mine.yaml: expected a mapping"),
        ("extends: eight\nexpert: {}\n2: x", "mine.yaml: unknown keys: 2, expert"),
        ("extends: nine", "nine: no such topology. Shipped: eight"),
        ("extends: nine.yaml", "nine.yaml: no such file"),
        ("extends: mine.yaml", "mine.yaml: extends itself"),
        ("extends: ../here/mine.yaml", "mine.yaml: extends itself"),
    ],
)
def test_files_that_are_no_topology(tmp_path, text, says):
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "mine.yaml").write_text(text)
    assert says in refusal(folder / "mine.yaml")


def test_binary_and_circular_files(tmp_path):
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x81")
    assert "binary.yaml: not YAML" in refusal(tmp_path / "binary.yaml")
    (tmp_path / "a.yaml").write_text("extends: b.yaml")
    (tmp_path / "b.yaml").write_text("extends: a.yaml")
    assert "a.yaml: extends itself" in refusal(tmp_path / "a.yaml")


@pytest.mark.parametrize("name", ["nine", "eight.yml", "/no/such.yaml", ""])
def test_unknown_topology_is_named(name):
    message = refusal(name)
    assert name in message
    assert "no such" in message


@pytest.mark.parametrize("copied", [False, True])
def test_a_ninth_expert_is_one_prompt_and_one_entry(tmp_path, script: Script, copied):
    entry = expert("proposer", "attention", edge={"effort": "high"}, hears=["memory"])
    folder = tmp_path if copied else tmp_path / "prompts"
    if copied:
        path = write(tmp_path, yaml.safe_load(EIGHT)["experts"] | {"ninth": entry}, prompts=())
    else:
        path = write(tmp_path, {"ninth": entry}, prompts=(), extends="eight")
    folder.mkdir(exist_ok=True)
    (folder / "ninth.md").write_text("# Expert: ninth (counts)\n\nCount.")
    script.says["ninth"] = "NINTH DRAFT"
    assert all(count == 1 for count in runs(path).values())
    (asked,) = script.of("ninth")
    assert asked["system"] == "# Expert: ninth (counts)\n\nCount."
    assert script.says["memory"] in asked["user"]
    assert "NINTH DRAFT" in script.of("synthesis")[0]["user"]
    assert len(script.requests) == 9


@pytest.mark.parametrize(("gate", "called"), [(0.9, 1), (0.1, 0)])
def test_a_gated_ninth_is_asked_for_by_attention(tmp_path, script: Script, gate, called):
    entry = expert("proposer", "attention", edge={"effort": "high"}, gated=True)
    path = write(tmp_path, {"ninth": entry}, extends="eight")
    script.says["attention"] = f'{{"creative": 1, "analytical": 1, "ninth": {gate}}}'
    assert runs(path)["ninth"] == called
    (asked,) = script.of("attention")
    assert list(asked["schema"]["properties"]) == ["creative", "analytical", "ninth"]
    assert asked["schema"]["required"] == ["creative", "analytical", "ninth"]
    assert "ninth: Expert: ninth (does its part)" in asked["user"]


def test_a_file_changes_only_what_it_states(tmp_path):
    edges = by("attention", effort="high", weight=0.25)
    path = write(tmp_path, {"creative": {"woken_by": edges}}, prompts=(), extends="eight")
    changed, eight = load(path), load("eight")
    assert changed.experts["creative"].woken_by[0].weight == 0.25
    assert changed.experts["creative"].hears == eight.experts["creative"].hears
    assert changed.experts["creative"].prompt == eight.experts["creative"].prompt
    others = set(eight.experts) - {"creative"}
    assert all(changed.experts[name] == eight.experts[name] for name in others)


def test_own_prompts_of_a_parent_are_kept(tmp_path):
    write(tmp_path / "base", {"ninth": expert("intake", "begin")}, extends="eight")
    path = write(
        tmp_path / "child",
        {"ninth": {"max_tokens": 64}},
        prompts=(),
        extends="../base/mine.yaml",
    )
    assert load(path).experts["ninth"].prompt == PROMPT.format("ninth")


def test_a_prompt_beside_the_file_goes_before_the_shipped_one(tmp_path):
    path = write(tmp_path, {}, prompts=("reasoning",), extends="eight")
    assert load(path).experts["reasoning"].prompt == PROMPT.format("reasoning")
    path = write(tmp_path, {"creative": {"max_tokens": 64}}, extends="eight")
    assert load(path).experts["creative"].prompt == PROMPT.format("creative")


TWO_INTAKE_LEVELS = {
    "scout": expert("intake", "begin"),
    "perception": expert("intake", "scout"),
    "attention": expert("gate", "scout", edge={"effort": "high"}),
    "memory": expert("memory", "begin"),
    "reasoning": {
        "kind": "proposer",
        "woken_by": by("attention", effort="high") + by("perception", effort="low"),
        "hears": ["perception", "memory"],
    },
    "creative": expert("proposer", "attention", gated=True, edge={"effort": "high"}),
    "synthesis": expert("synthesis", "reasoning", "creative"),
    "meta_cognitive": expert("critic", "synthesis"),
}
CROWD = [f"proposer_{n}" for n in range(18)]
TWENTY_FOUR = {
    "perception": expert("intake", "begin"),
    "attention": expert("gate", "begin"),
    "memory": expert("memory", "begin"),
    "reasoning": expert("proposer", "attention"),
    **{name: expert("proposer", "attention", gated=n % 2 == 0) for n, name in enumerate(CROWD)},
    "synthesis": expert("synthesis", "reasoning", *CROWD),
    "meta_cognitive": expert("critic", "synthesis"),
}
LATE_CRITIC = {
    **SOLO,
    "reader": expert("intake", "synthesis"),
    "meta_cognitive": expert("critic", "reader"),
}
LONG_TAIL = {
    **SOLO,
    "meta_cognitive": expert("critic", "synthesis"),
    "reader": expert("intake", "synthesis"),
    "printer": expert("intake", "reader"),
    "binder": expert("intake", "printer"),
}
DEEP_SIDE_CHAIN = {
    **SOLO,
    "one": expert("intake", "begin"),
    "two": expert("intake", "one"),
    "three": expert("intake", "two"),
    "four": expert("intake", "three"),
}
HIGH_THEN_ANY = {
    "perception": expert("intake", "begin"),
    "attention": expert("gate", "begin", edge={"effort": "high"}),
    "reasoning": expert("proposer", "perception"),
    "creative": expert("proposer", "attention"),
    "synthesis": expert("synthesis", "reasoning", "creative"),
}
SAME_LEVEL_CRITICS = {
    **SOLO,
    "meta_cognitive": expert("critic", "synthesis"),
    "first_critic": expert("critic", "synthesis"),
}
UNEVEN = {
    "two intake levels": TWO_INTAKE_LEVELS,
    "twenty-four experts": TWENTY_FOUR,
    "critic two levels after synthesis": LATE_CRITIC,
    "tail behind the critic": LONG_TAIL,
    "side chain deeper than the answer": DEEP_SIDE_CHAIN,
    "edge of any effort behind one of high": HIGH_THEN_ANY,
    "two critics on one level": SAME_LEVEL_CRITICS,
}
OBJECTION = '{"defects": [{"quote": "subject", "problem": "vague"}]}'


def defenceless(script: Script, experts) -> None:
    for name, entry in experts.items():
        if entry["kind"] == "critic":
            script.says[name] = OBJECTION


@pytest.mark.parametrize("experts", UNEVEN.values(), ids=UNEVEN)
def test_every_node_runs_once_on_uneven_topologies(tmp_path, script: Script, experts):
    path = write(tmp_path, experts)
    once = dict.fromkeys(["begin", *experts, "finish"], 1)
    assert runs(path) == once
    assert Counter(script.askers) == dict.fromkeys(experts, 1)


@pytest.mark.parametrize("experts", UNEVEN.values(), ids=UNEVEN)
def test_a_revision_runs_synthesis_and_nothing_else_again(tmp_path, script: Script, experts):
    defenceless(script, experts)
    revised = 1 + any(entry["kind"] == "critic" for entry in experts.values())
    expected = {**dict.fromkeys(["begin", *experts, "finish"], 1), "synthesis": revised}
    assert runs(write(tmp_path, experts)) == expected


BY_EFFORT = ("two intake levels", "edge of any effort behind one of high")
LIMITED = [(name, "high") for name in UNEVEN if name != "twenty-four experts"]


@pytest.mark.parametrize(("name", "effort"), [*LIMITED, *((name, "low") for name in BY_EFFORT)])
def test_no_limit_makes_a_node_run_twice_or_beyond_its_effort(
    tmp_path, script: Script, name, effort
):
    topology = load(write(tmp_path, UNEVEN[name]))
    brain, allowed = compile_brain(topology), {"begin", "finish", *topology.reached(effort)}
    for steps in range(1, 6):
        ran = counted(brain, max_steps=steps, effort=effort)
        assert set(ran.values()) == {1}
        assert {"begin", "finish"} <= set(ran) <= allowed


def test_levels_are_the_length_of_the_path(tmp_path):
    assert load(write(tmp_path, TWO_INTAKE_LEVELS)).levels == {
        "scout": 1,
        "memory": 1,
        "perception": 2,
        "attention": 2,
        "reasoning": 3,
        "creative": 3,
        "synthesis": 4,
        "meta_cognitive": 5,
    }


def test_every_kind_is_described():
    assert set(KINDS) == set(get_args(Kind))
    assert {expert.kind for expert in load().experts.values()} == set(KINDS)


def test_a_shipped_topology_is_loaded_once_and_cannot_be_changed():
    assert load() is load("eight")
    with pytest.raises(TypeError):
        load().experts["reasoning"] = load().experts["creative"]
    with pytest.raises(TypeError):
        load().levels["reasoning"] = 1


def test_a_file_is_read_again_when_it_has_changed(tmp_path):
    path = write(tmp_path, {"creative": {"max_tokens": 64}}, prompts=(), extends="eight")
    assert load(path).experts["creative"].max_tokens == 64
    write(tmp_path, {"creative": {"max_tokens": 65}}, prompts=(), extends="eight")
    assert load(path).experts["creative"].max_tokens == 65


def test_hash_follows_content_and_not_the_name_of_the_file(tmp_path):
    path = write(tmp_path, SOLO)
    before = load(path).hash
    assert load(write(tmp_path, SOLO, file="other.yaml")).hash == before
    assert load(write(tmp_path / "elsewhere", SOLO)).hash == before
    lighter = {**SOLO, "synthesis": expert("synthesis", "reasoning", edge={"weight": 0.9})}
    assert load(write(tmp_path, lighter)).hash != before
    assert load(write(tmp_path, {**SOLO, "x": expert("intake", "begin")})).hash != before
    write(tmp_path, SOLO)
    (tmp_path / "reasoning.md").write_text("# Expert: reasoning (otherwise)")
    assert load(path).hash != before
