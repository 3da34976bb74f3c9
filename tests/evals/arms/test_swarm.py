"""The arms that are the brain: whole, without an expert, and with foreign drafts."""

from __future__ import annotations

import pytest

from swarm_brain.graph.errors import ConfigError
from tests.evals.samples import (
    EIGHT,
    Request,
    drafts,
    example,
    respond,
    setup,
    talk,
)
from tests.fakes import Script


async def test_the_swarm_is_the_brain(script: Script):
    response = await respond("swarm", setup(), example())
    assert sorted(script.askers) == sorted(EIGHT)
    assert (response.provenance, response.calls) == ("full", 8)
    assert response.text.startswith("The subject is what all of this says.")
    assert response.agreement == 1.0
    assert [signal["source"] for signal in response.trace if signal["woken_by"]]


async def test_a_limit_binds_the_swarm(script: Script):
    talk(script)
    whole = await respond("swarm", setup(), example())
    limit = whole.tokens // 2
    response = await respond("swarm", setup(limit, limit=limit), example())
    assert response.tokens <= limit


async def test_a_limit_that_pays_for_nothing_is_an_answer_without_words(script: Script):
    response = await respond("swarm", setup(5, limit=5), example())
    assert (response.text, response.provenance, response.calls) == ("", "simulated", 0)
    assert response.error


async def test_the_swarms_seeds_repeat_and_differ_between_repetitions(script: Script):
    runs = []
    for turn in (0, 0, 1):
        script.requests.clear()
        await respond("swarm", setup(), example(), turn)
        runs.append({r["expert"]: r["sampling"].seed for r in script.requests})
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize("expert", EIGHT)
async def test_without_an_expert_the_others_answer(script: Script, expert: str):
    talk(script)
    response = await respond(f"swarm-minus:{expert}", setup(), example())
    assert expert not in script.askers
    silent = {expert} | ({"meta_cognitive"} if expert == "synthesis" else set())
    assert sorted(script.askers) == sorted(set(EIGHT) - silent)
    assert response.provenance == "full"
    assert response.text
    assert response.error is None
    assert response.calls == len(script.askers)
    assert all(s["charged_tokens"] == 0 for s in response.trace if s["source"] == expert)
    said = sum(
        len(f"{r['system']} {r['user']}".split()) for r in script.requests
    )  # the scripted model counts words
    assert response.input_tokens == said


# ---- the placebo


async def test_the_placebo_reads_drafts_of_another_question(script: Script):
    for expert in ("reasoning", "creative", "analytical"):
        script.says[expert] = lambda r: f"Draft of {r['expert']} on {_subject(r)}.\nVerdict: 42"
    traces = await drafts(script, "alpha", "beta")
    plain = await respond("swarm", setup(), example("alpha"))
    script.requests.clear()
    response = await respond("swarm-shuffled", setup(5000, drafts=traces), example("alpha"))
    assert not {"reasoning", "creative", "analytical"} & set(script.askers)
    (request,) = script.of("synthesis")
    for expert in ("reasoning", "creative", "analytical"):
        assert f"Draft of {expert} on beta" in request["user"]
        assert f"Draft of {expert} on alpha" not in request["user"]
    assert "Why is alpha" in request["user"]
    assert response.provenance == "full"
    assert response.calls == plain.calls
    assert response.tokens == pytest.approx(plain.tokens, rel=0.02)
    assert not any("on alpha" in signal["content"] for signal in response.trace)


def _subject(request: Request) -> str:
    return next(name for name in ("alpha", "beta") if f"Why is {name}" in request["user"])


async def test_the_placebo_takes_drafts_from_the_next_question_that_has_any(script: Script):
    traces = await drafts(script, "alpha", "gamma")
    empty = [{**s, "status": "simulated"} for s in traces["alpha"]]
    fixed = setup(5000, drafts={"alpha": traces["alpha"], "beta": empty, "gamma": traces["gamma"]})
    placebo = await respond("swarm-shuffled", fixed, example("gamma"))
    assert placebo.provenance == "full"


@pytest.mark.parametrize("names", [[], ["alpha"]])
async def test_the_placebo_without_foreign_drafts_says_so(script: Script, names: list[str]):
    traces = await drafts(script, *names)
    with pytest.raises(ConfigError, match="run both"):
        await respond("swarm-shuffled", setup(5000, drafts=traces), example("alpha"))


async def test_the_placebo_whose_drafts_all_failed_has_no_words(script: Script):
    trace = (await respond("swarm", setup(), example("beta"))).trace
    failed = [{**signal, "status": "failed"} for signal in trace]
    response = await respond(
        "swarm-shuffled", setup(5000, drafts={"beta": failed}), example("alpha")
    )
    assert (response.text, response.provenance) == ("", "simulated")
    assert "any other question" in str(response.error)
