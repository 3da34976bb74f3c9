"""The arms that are one model: their requests, answers and spending."""

from __future__ import annotations

from statistics import fmean

import pytest

from swarm_brain.evals.arms import baselines
from swarm_brain.evals.arms.registry import NAMES
from swarm_brain.graph.errors import ConfigError, ModelError
from swarm_brain.graph.loading import load
from tests.evals.samples import (
    AGGREGATE,
    ANSWER,
    CHECK,
    CHOOSE,
    Request,
    context,
    example,
    open_example,
    respond,
    setup,
    talk,
)
from tests.fakes import Script

EQUAL = [name for name in NAMES if name != "single"]
DOWN = ModelError("not_found", "no such model", status=404)


def seeds(script: Script, asker: str) -> list[int]:
    return [request["sampling"].seed for request in script.of(asker)]


# ---- what each arm does


async def test_single_asks_once(script: Script):
    script.says[ANSWER] = "Two and two.\nAnswer: 4"
    response = await respond("single", setup(5000), example())
    assert script.askers == [ANSWER]
    assert (response.text, response.provenance, response.calls) == (
        "Two and two.\nAnswer: 4",
        "full",
        1,
    )
    assert response.input_tokens > 20
    assert response.output_tokens == 5


async def test_single_long_checks_itself(script: Script):
    talk(script)
    script.says[CHECK] = lambda request: "better " * 100 + f"\nAnswer: {len(script.of(CHECK))}"
    response = await respond("single-long", setup(3000), example())
    assert script.askers == [ANSWER] + [CHECK] * (response.calls - 1)
    assert response.calls > 3
    assert response.text.endswith(f"Answer: {response.calls - 1}"), "the last check is the answer"
    assert script.requests[0]["sampling"].max_tokens > 2500
    before, after = script.of(CHECK)[:2]
    assert "Answer: 4" in before["user"]
    assert "Answer: 1" in after["user"]


@pytest.mark.parametrize("allocation", [120, 300, 700, 1500, 4000])
@pytest.mark.parametrize("words", [3, 40, 400, 100_000])
async def test_single_long_stays_within_its_allocation(script: Script, allocation: int, words: int):
    def reply(request: Request) -> str:
        return "word " * min(words, request["sampling"].max_tokens)

    script.says |= {ANSWER: reply, CHECK: reply}
    response = await respond("single-long", setup(allocation), example())
    assert response.tokens <= 1.05 * allocation


async def test_a_failing_check_leaves_the_answer(script: Script):
    talk(script)
    script.says[CHECK] = DOWN
    response = await respond("single-long", setup(3000), example())
    assert response.text.endswith("Answer: 4")
    assert (response.provenance, response.calls) == ("degraded", 2)


async def test_samples_are_calls_of_their_own(script: Script):
    talk(script)
    response = await respond("self-consistency", setup(3000), example())
    assert script.askers == [ANSWER] * response.calls
    assert response.calls == len(response.samples) > 8
    assert not any({"n", "best_of"} & set(request) for request in script.requests)
    assert not any(hasattr(request["sampling"], "n") for request in script.requests)
    assert len({request["user"] for request in script.requests}) == 1
    assert len(set(seeds(script, ANSWER))) == response.calls, "samples have seeds of their own"


@pytest.mark.parametrize("arm", ["single", "single-long", "self-consistency", "self-moa"])
async def test_seeds_repeat_between_runs_and_differ_between_repetitions(script: Script, arm: str):
    talk(script)
    runs = []
    for turn in (0, 0, 1):
        script.requests.clear()
        response = await respond(arm, setup(2000), example(), turn)
        runs.append(([request["sampling"].seed for request in script.requests], response.text))
    assert runs[0] == runs[1]
    assert set(runs[0][0]).isdisjoint(runs[2][0])


async def test_without_a_seed_none_is_sent(script: Script):
    fixed = setup(400)
    unseeded = type(fixed)(context(seed=None), fixed.topology, 400)
    await respond("self-consistency", unseeded, example())
    assert set(seeds(script, ANSWER)) == {None}


# ---- votes


async def test_the_most_frequent_extracted_answer_wins(script: Script, monkeypatch):
    monkeypatch.setattr(baselines, "MOST_SAMPLES", 5)
    script.says[ANSWER] = ["Answer: 5", "So.\nAnswer: 4", "It is.", "The answer is **4.0**", "Hm."]
    response = await respond("self-consistency", setup(9000), example())
    assert len(response.samples) == 5
    assert response.text == "So.\nAnswer: 4"
    assert response.agreement == 0.4


async def test_a_tie_goes_to_the_answer_given_first(script: Script, monkeypatch):
    monkeypatch.setattr(baselines, "MOST_SAMPLES", 4)
    script.says[ANSWER] = ["Answer: 5", "Answer: 4", "Answer: 4", "Answer: 5"]
    response = await respond("self-consistency", setup(9000), example())
    assert len(response.samples) == 4
    assert response.text == "Answer: 5"
    assert response.agreement == 0.5


async def test_where_nothing_can_be_read_the_first_sample_stands(script: Script):
    replies = iter(f"I do not know, says number {n}." for n in range(64))
    script.says[ANSWER] = lambda request: next(replies)
    response = await respond("self-consistency", setup(400), example())
    assert response.text.endswith("number 0.")
    assert response.agreement is None
    assert response.provenance == "full"


async def test_an_unreadable_sample_has_no_vote_but_counts(script: Script):
    replies = iter(["I do not know."] * 3 + ["Answer: 4"] * 61)
    script.says[ANSWER] = lambda request: next(replies)
    response = await respond("self-consistency", setup(400), example())
    assert response.text == "Answer: 4"
    assert response.agreement == round((len(response.samples) - 3) / len(response.samples), 4)


@pytest.mark.parametrize(
    ("chosen", "picked"), [("3", 3), ("Number 2.", 2), ("99", 1), ("none", 1), ("0", 1), (DOWN, 1)]
)
async def test_open_questions_are_chosen_by_the_model(script: Script, chosen: object, picked: int):
    numbers = iter(range(1, 65))
    script.says |= {ANSWER: lambda request: f"Reply {next(numbers)}.", CHOOSE: chosen}
    response = await respond("self-consistency", setup(900), open_example())
    assert script.askers == [ANSWER] * len(response.samples) + [CHOOSE]
    assert response.text == f"Reply {picked}."
    assert response.provenance == ("degraded" if chosen is DOWN else "full")
    (request,) = script.of(CHOOSE)
    assert all(sample in request["user"] for sample in response.samples)
    assert request["sampling"].max_tokens == 16


async def test_one_sample_needs_no_choice(script: Script):
    response = await respond("self-consistency", setup(10), open_example())
    assert script.askers == [ANSWER]
    assert response.provenance == "full"


async def test_self_moa_aggregates_all_samples(script: Script):
    talk(script)
    script.says[AGGREGATE] = "All of them.\nAnswer: 4"
    response = await respond("self-moa", setup(3000), example())
    assert script.askers == [ANSWER] * len(response.samples) + [AGGREGATE]
    assert response.text == "All of them.\nAnswer: 4"
    (request,) = script.of(AGGREGATE)
    assert len(response.samples) > 3
    assert all(sample in request["user"] for sample in response.samples)


async def test_an_aggregate_that_fails_leaves_the_first_sample(script: Script):
    talk(script)
    script.says[AGGREGATE] = DOWN
    response = await respond("self-moa", setup(2000), example())
    assert (response.text, response.provenance) == (response.samples[0], "degraded")


# ---- what arms spend


@pytest.mark.parametrize("longest", [256, 2048])
async def test_arms_spend_their_allocation(script: Script, longest: int):
    """Also where a reply may be many times longer than it usually is."""
    talk(script)
    asked = [example(f"q{number}") for number in range(4)]
    fixed = type(setup())(context(max_tokens=longest), load())
    swarm = [await respond("swarm", fixed, one) for one in asked]
    allocation = round(fmean(answer.tokens for answer in swarm))
    drafts = {one.id: answer.trace for one, answer in zip(asked, swarm, strict=True)}
    fixed = type(fixed)(fixed.context, fixed.topology, allocation, None, drafts)
    for arm in EQUAL:
        spent = [(await respond(arm, fixed, one)).tokens for one in asked]
        assert 0.8 <= fmean(spent) / allocation <= 1.05, f"{arm} spent {spent} of {allocation}"


@pytest.mark.parametrize("arm", ["self-consistency", "self-moa"])
@pytest.mark.parametrize("kind", [example, open_example])
async def test_a_short_first_sample_does_not_burst_the_allocation(script: Script, arm, kind):
    numbers = iter(range(100))

    def reply(request: Request) -> str:
        return "word " * (5 if next(numbers) == 0 else 150) + "\nAnswer: 4"

    talk(script)
    script.says |= {ANSWER: reply, CHOOSE: "1"}
    response = await respond(arm, setup(3000), kind())
    assert 0.8 <= response.tokens / 3000 <= 1.1


@pytest.mark.parametrize("arm", ["single-long", "self-consistency", "self-moa"])
async def test_arms_that_need_an_allocation_say_so(script: Script, arm: str):
    with pytest.raises(ConfigError, match="--budget-tokens"):
        await respond(arm, setup(), example())
