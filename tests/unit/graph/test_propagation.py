"""Which edges fire, which quotes stand, and who wins the workspace."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm_brain.graph import propagation
from swarm_brain.graph.context import Context
from swarm_brain.graph.loading import load
from swarm_brain.graph.propagation import leaving, salience, standing
from swarm_brain.graph.topology import Edge, Topology
from swarm_brain.graph.workspace import compete

EIGHT = load("eight")
DEFAULT = Context()
QUESTION = "Why do cats purr loudly?"
words = st.text(alphabet="abc é,.!?'\n", max_size=60)


def signal(source, *, step=None, status="ok", error=None, **fields):
    said = {"gates": {}, "defects": [], "salience": 1.0, "failure": None, **fields}
    step = EIGHT.levels[source] if step is None else step
    return {"source": source, "step": step, "status": status, "error": error, **said}


def rewired(name, **changes) -> Topology:
    """The eight experts with one of them changed."""
    expert = EIGHT.experts[name].model_copy(update=changes)
    return EIGHT.model_copy(update={"experts": {**EIGHT.experts, name: expert}})


def activations(topology, said, effort, context, before=()):
    """The activation of each edge that leaves the signal."""
    reached = leaving(topology, said, [*before, said], effort, context)
    return {edge.to: edge.activation for edge in reached}


def fired(topology, said, effort, context, before=()):
    """The same of those that fire."""
    reached = leaving(topology, said, [*before, said], effort, context)
    return {edge.to: edge.activation for edge in reached if edge.fired}


def revises(topology, said, signals, context):
    """Whether the signal buys a revision of the answer."""
    reached = leaving(topology, said, signals, "high", context)
    return [edge.to for edge in reached if edge.fired] == [topology.synthesis.name]


@given(words, words, st.lists(words, max_size=3))
def test_salience_is_a_share(content, question, heard):
    assert 0 <= salience(content, question, heard, DEFAULT) <= 1


def test_salience_adds_substance_coverage_and_novelty():
    assert salience("Cats purr loudly.", QUESTION, [], DEFAULT) == 1.0
    assert salience("Cats purr.", QUESTION, [], DEFAULT) == pytest.approx(
        0.75 + 0.25 * 2 / 3, abs=1e-4
    )
    assert salience("Dogs bark.", QUESTION, [], DEFAULT) == 0.75
    assert salience("Dogs bark.", QUESTION, ["dogs, bark!"], DEFAULT) == 0.6
    assert salience("Dogs bark.", QUESTION, ["birds", "Dogs sleep."], DEFAULT) == pytest.approx(0.7)
    assert salience("Dogs bark.", "Is it?", [], DEFAULT) == 1.0


@pytest.mark.parametrize("empty", ["", " \n"])
def test_nothing_said_has_no_salience(empty):
    assert salience(empty, QUESTION, [], DEFAULT) == 0


@pytest.mark.parametrize("terse", ["→", "A", "It is."])
def test_a_terse_answer_wakes_its_targets(terse):
    assert salience(terse, QUESTION, [], DEFAULT) >= Context().threshold


@pytest.mark.parametrize(
    "refusal",
    [
        "I cannot say why cats purr loudly.",
        "I can't say why cats purr loudly.",
        "I can’t say why cats purr loudly.",
        "I am unable to say why cats purr loudly.",
        "> *I won't say why cats purr loudly.*",
    ],
)
def test_a_refusal_stays_below_the_default_threshold(refusal):
    assert salience(refusal, QUESTION, [], DEFAULT) < DEFAULT.threshold


@pytest.mark.parametrize("reply", ["42", "Yes.", "I can say why.", "猫", "Verdict: none"])
def test_every_substantial_reply_passes_it(reply):
    assert salience(reply, QUESTION, [reply], DEFAULT) >= DEFAULT.threshold


def test_activation_is_weight_times_salience_times_gate():
    heavy = rewired("creative", woken_by=(Edge(source="attention", weight=0.5, effort="high"),))
    said = signal("attention", salience=0.8, gates={"creative": 0.5, "analytical": 0.25})
    assert activations(heavy, said, "high", DEFAULT) == {
        "reasoning": 1.0,
        "creative": 0.2,
        "analytical": 0.2,
    }


def test_a_gate_that_is_not_stated_is_open_and_reasoning_has_none():
    said = signal("attention", gates={"creative": 0.1, "reasoning": 0.0})
    reached = activations(EIGHT, said, "high", DEFAULT)
    assert reached == {"reasoning": 1.0, "creative": 0.1, "analytical": 1.0}


@pytest.mark.parametrize("status", ["failed", "simulated"])
def test_failed_attention_opens_every_gate(status):
    said = signal("attention", status=status, error="no", salience=0.0)
    assert set(activations(EIGHT, said, "high", DEFAULT).values()) == {1.0}


def test_the_threshold_itself_fires():
    said = signal("attention", gates={"creative": 0.5, "analytical": 0.4999})
    assert fired(EIGHT, said, "high", DEFAULT) == {"reasoning": 1.0, "creative": 0.5}
    assert "analytical" in fired(EIGHT, said, "high", Context(threshold=0.4))


@given(
    st.sampled_from(sorted(EIGHT.experts)),
    st.sampled_from(["low", "high"]),
    st.integers(1, 8),
    st.dictionaries(st.sampled_from(sorted(EIGHT.experts)), st.floats(0, 1)),
    st.floats(0, 1),
)
def test_only_edges_of_the_own_source_and_effort_fire(source, effort, steps, gates, strength):
    said = signal(source, gates=gates, salience=strength)
    context = Context(max_steps=steps, threshold=0)
    targets = {expert.name for expert in EIGHT.targets(source, effort)}
    reached = activations(EIGHT, said, effort, context)
    assert set(reached) <= targets
    assert all(0 <= value <= 1 for value in reached.values())


def test_low_effort_leads_from_perception_and_high_from_attention():
    perception, attention = signal("perception"), signal("attention")
    assert set(fired(EIGHT, perception, "low", DEFAULT)) == {"reasoning"}
    assert fired(EIGHT, perception, "high", DEFAULT) == {}
    assert fired(EIGHT, attention, "low", DEFAULT) == {}


@pytest.mark.parametrize(("steps", "woken"), [(1, []), (2, []), (3, []), (4, ["meta_cognitive"])])
def test_a_level_that_max_steps_cuts_off_is_not_woken(steps, woken):
    first, _ = propagation.steps_planned(EIGHT, steps)
    said = signal("synthesis", step=3 - first + 1)
    assert list(fired(EIGHT, said, "high", Context(max_steps=steps))) == woken


def test_nothing_follows_a_revision_and_no_critic_a_failed_answer():
    first, revision = signal("synthesis"), signal("synthesis", step=5)
    assert fired(EIGHT, revision, "high", DEFAULT, before=[first]) == {}
    assert fired(EIGHT, first, "high", DEFAULT, before=[revision]) == {"meta_cognitive": 1.0}
    failed = signal("synthesis", status="simulated", error="no")
    assert fired(EIGHT, failed, "high", DEFAULT) == {}
    assert fired(EIGHT, signal("synthesis", status="simulated"), "high", DEFAULT)


@pytest.mark.parametrize(
    ("steps", "plan"),
    [(1, (2, 2)), (2, (2, 3)), (3, (1, 3)), (4, (1, 4)), (5, (1, 4)), (64, (1, 4))],
)
def test_steps_planned(steps, plan):
    assert propagation.steps_planned(EIGHT, steps) == plan


def test_steps_needed():
    assert propagation.steps_needed(EIGHT, "low") == 3
    assert propagation.steps_needed(EIGHT, "high") == 4


@pytest.mark.parametrize(
    ("effort", "steps", "names"),
    [
        ("low", 1, ["reasoning"]),
        ("high", 1, ["reasoning"]),
        ("low", 2, ["reasoning"]),
        ("high", 2, ["reasoning", "creative", "analytical"]),
        ("low", 3, ["perception"]),
        ("high", 3, ["perception", "attention", "memory"]),
        ("low", 9, ["perception"]),
    ],
)
def test_entries(effort, steps, names):
    assert propagation.entries(EIGHT, effort, steps) == names


@pytest.mark.parametrize("steps", range(1, 6))
def test_entries_stay_within_what_the_effort_reaches(steps):
    lazy = rewired("creative", woken_by=(Edge(source="attention"),))
    assert set(propagation.entries(lazy, "low", steps)) <= lazy.reached("low")


def test_a_quoted_defect_buys_one_revision():
    defects = [{"quote": "a whale", "problem": "no"}]
    answer, critic = signal("synthesis"), signal("meta_cognitive", defects=defects)
    draft, empty = signal("reasoning", defects=defects), signal("meta_cognitive")
    assert revises(EIGHT, critic, [answer, critic], DEFAULT)
    assert not revises(EIGHT, critic, [answer, answer, critic], DEFAULT)
    later = signal("synthesis", step=5)
    assert revises(EIGHT, critic, [answer, critic, later], DEFAULT)  # decided before it
    assert not revises(EIGHT, critic, [critic], DEFAULT)
    harmless = signal("reasoning")
    assert leaving(EIGHT, draft, [draft, answer], "high", DEFAULT) == leaving(
        EIGHT, harmless, [harmless], "high", DEFAULT
    )
    assert not revises(EIGHT, empty, [answer, empty], DEFAULT)
    assert not revises(EIGHT, critic, [answer, critic], Context(max_revisions=0))


ANSWER = "The “Great” whale isn’t a fish:\n  it costs 5% (or more)… and\u00a0breathes air."


@pytest.mark.parametrize(
    "quote",
    [
        'The "Great" whale',
        "the “great” WHALE",
        "isn't a fish: it costs",
        "ISN’T   A\nFISH",
        "5% (or more)...",
        "(or more)",
        '"and breathes air."',
        "‘breathes air’",
        "...breathes air...",
        "T" + ANSWER[1:],
    ],
)
def test_quotes_that_stand(quote):
    defect = {"quote": quote, "problem": "no"}
    assert standing([defect], ANSWER) == [defect]


@pytest.mark.parametrize(
    "quote",
    ["", " ", '""', "...", "hale", "whal", "a fis", "costs 5% or more", "the shark", "5% (o"],
)
def test_quotes_that_do_not_stand(quote):
    assert standing([{"quote": quote, "problem": "no"}], ANSWER) == []


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_quote_can_be_looked_for(quote, answer):
    assert len(standing([{"quote": quote, "problem": "no"}], answer)) in (0, 1)


def test_standing_keeps_order_and_drops_only_what_is_missing():
    defects = [{"quote": q, "problem": q} for q in ("air", "sea", "fish")]
    assert [d["quote"] for d in standing(defects, ANSWER)] == ["air", "fish"]


entries = st.fixed_dictionaries(
    {
        "source": st.sampled_from("abcdef"),
        "step": st.integers(1, 3),
        "salience": st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    }
)
stages = st.integers(1, 4).map(lambda capacity: {"capacity": capacity, "broadcasts": []})


@given(stages, st.lists(entries, max_size=6), st.lists(entries, max_size=6))
def test_competition_is_associative(stage, first, second):
    apart = compete(compete(stage, first), second)
    assert apart == compete(stage, first + second)


@given(stages, st.lists(entries, max_size=8), st.randoms())
def test_competition_does_not_depend_on_order(stage, writes, random):
    shuffled = random.sample(writes, len(writes))
    assert compete(stage, shuffled) == compete(stage, writes)


@given(stages, st.lists(entries, max_size=12))
def test_each_wave_keeps_its_most_salient(stage, writes):
    before = copy.deepcopy((stage, writes))
    kept = compete(stage, writes)["broadcasts"]
    assert (stage, writes) == before
    for step in {entry["step"] for entry in writes}:
        strengths = sorted((e["salience"] for e in writes if e["step"] == step), reverse=True)
        won = [e["salience"] for e in kept if e["step"] == step]
        assert won == strengths[: stage["capacity"]]


def test_a_whole_workspace_replaces_the_old_one():
    old = compete({"capacity": 2, "broadcasts": []}, [{"source": "a", "step": 1, "salience": 1.0}])
    new = {"capacity": 1, "broadcasts": []}
    assert compete(old, new) == new
    assert compete(None, new) == new
