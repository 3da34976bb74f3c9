"""What a second look at the harness found: repetitions, odd arms, stale judgements, old names."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from langsmith import utils

from swarm_brain.evals import experiment as experiments
from swarm_brain.evals.experiment import experiment
from swarm_brain.evals.report.analysis import analysed
from swarm_brain.evals.results import Experiment, Judged
from swarm_brain.evals.runner import open_records, recorded
from swarm_brain.evals.stats.calibration import Bin
from swarm_brain.evals.stats.comparison import wilson, wilson_clustered
from swarm_brain.evals.tracing import extracted, hidden_parts
from swarm_brain.graph.errors import BrainError, ConfigError
from tests.evals.samples import (
    PAIRWISE,
    QUIET,
    RUBRIC,
    context,
    example,
    open_example,
    setup,
    told,
    wanted,
)
from tests.evals.test_experiment import JUDGE, KEYED, arm, essays
from tests.evals.test_experiment import harness as harness
from tests.fakes import Script

TWO = [example("alpha"), example("beta")]


# ---- repetitions belong together


def test_repeating_a_question_narrows_no_interval():
    once = wilson_clustered([True, True, False], "abc")
    thrice = wilson_clustered([True, True, False] * 3, "abc" * 3)
    known = wilson(2, 3)
    assert (once.estimate, once.low, once.high) == pytest.approx(
        (known.estimate, known.low, known.high)
    )
    assert thrice == once


@pytest.mark.parametrize("right", [True, False])
def test_an_interval_stays_within_0_and_1(right: bool):
    found = wilson_clustered([right] * 4, "aabb")
    assert 0 <= found.low <= found.estimate <= found.high <= 1
    assert found.high - found.low > 0.5


def test_the_arms_figures_count_a_question_once():
    once = arm("swarm", 10, agreement=0.9)
    again = [{**row, "repetition": 1} for row in once]
    rows = [
        analysed(Experiment(KEYED, {"swarm": told}, 100, Judged())) for told in (once, once + again)
    ]
    assert rows[0]["arms"][0]["accuracy"] == rows[1]["arms"][0]["accuracy"]
    counts = [sum(Bin(**one).count for one in row["calibration"]["bins"]) for row in rows]
    assert counts == [20, 20]


def test_repeated_grades_count_a_question_once():
    once = essays("swarm")
    again = [{**row, "repetition": 1} for row in once]
    met = {
        ("swarm", row["id"], turn): [number % 2 == 0, True]
        for number, row in enumerate(once) for turn in (0, 1)
    }  # fmt: skip
    first, both = (
        analysed(Experiment([], {"swarm": told}, 100, Judged(met))) for told in (once, once + again)
    )
    assert first["arms"][0]["quality"] == both["arms"][0]["quality"]


# ---- arms that cannot be run are refused before anything is paid for


@pytest.mark.parametrize(
    ("arms", "questions", "says"),
    [
        ([], 2, "names no arm"),
        (["swarm", "single", "single"], 2, "named twice"),
        (["single", "swarm-shuffled"], 2, "run both"),
        (["swarm", "swarm-shuffled"], 1, "two questions"),
        (["single", "single-long"], 2, "--budget-tokens"),
    ],
)
async def test_odd_arms_are_refused_first(
    harness: Script, tmp_path: Path, arms: list[str], questions: int, says: str
):
    with pytest.raises(ConfigError, match=says):
        await experiment(wanted(tmp_path, TWO[:questions], arms), QUIET)
    assert not harness.requests
    assert not list(tmp_path.iterdir())


async def test_a_budget_that_pays_for_nothing_has_a_report_all_the_same(
    harness: Script, tmp_path: Path
):
    asked = wanted(tmp_path, TWO, ["swarm", "swarm-shuffled"], budget_tokens=1)
    found = await experiment(asked, QUIET)
    assert [(row["answered"], row["simulated"]) for row in found["arms"]] == [(0, 2), (0, 2)]
    assert (tmp_path / "report.html").exists()


async def test_the_placebo_follows_the_datasets_order(
    harness: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: list[list[str]] = []
    run_arm = experiments.run_arm

    async def late_first(name, given, examples, *rest):
        seen.append(list(given.drafts))
        await run_arm(name, given, list(reversed(examples)), *rest)

    monkeypatch.setattr(experiments, "run_arm", late_first)
    await experiment(wanted(tmp_path, TWO, ["swarm", "swarm-shuffled"]), QUIET)
    assert seen == [[], ["alpha", "beta"]]


async def test_the_placebo_whose_drafts_all_failed_has_no_words(script: Script):
    trace = (await told("swarm", setup(), example("beta"))).trace
    failed = [{**signal, "status": "failed"} for signal in trace]
    given = await told("swarm-shuffled", setup(5000, drafts={"beta": failed}), example("alpha"))
    assert (given.text, given.provenance) == ("", "simulated")
    assert "no other question" in str(given.error)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        open_records(tmp_path / "file" / "answers.jsonl", {}, resume=False)


async def test_an_address_with_a_password_is_written_nowhere(tmp_path: Path):
    address = "http://user:secret@127.0.0.1:9/v1"
    asked = replace(
        wanted(tmp_path, TWO, ["single"]),
        context=context(model="openai-compatible:m", base_url=address),
    )
    with pytest.raises(BrainError, match="password"):
        await experiment(asked, QUIET)
    assert not list(tmp_path.iterdir())


# ---- judging


async def test_a_judgement_of_other_words_is_not_taken(harness: Script, tmp_path: Path):
    """The answers were thrown away and asked for again; what was judged still lies there."""
    harness.says |= {PAIRWISE: '{"better": "first"}', RUBRIC: '{"met": [true, true]}'}
    asked = wanted(tmp_path, [open_example("alpha")], ["swarm", "single"], judge=JUDGE)
    await experiment(asked, QUIET)
    path = tmp_path / "answers.jsonl"
    head, *lines = path.read_text("utf-8").splitlines()
    rows = [{**json.loads(line), "text": "other words"} for line in lines]
    path.write_text("\n".join([head, *map(json.dumps, rows)]) + "\n", "utf-8")
    harness.requests.clear()
    harness.says[RUBRIC] = '{"met": [false, false]}'
    again = wanted(tmp_path, asked.examples, ["swarm", "single"], judge=JUDGE, resume=True)
    found = await experiment(again, QUIET)
    assert Counter(harness.askers) == {PAIRWISE: 2, RUBRIC: 2}
    (entry,) = found["questions"]
    assert entry["arms"]["swarm"][0]["score"] == 0.0


async def test_without_rubric_points_no_judge_is_asked_for_them(harness: Script, tmp_path: Path):
    harness.says[PAIRWISE] = '{"better": "tie"}'
    bare = [example("alpha", kind="open", answer=None)]
    await experiment(wanted(tmp_path, bare, ["swarm", "single"], judge=JUDGE), QUIET)
    assert RUBRIC not in harness.askers
    assert harness.askers.count(PAIRWISE) == 2


# ---- LangSmith


async def test_an_open_question_has_nothing_to_extract(script: Script):
    answers = [await told("single", setup(), asked) for asked in (open_example(), example())]
    rows = [
        recorded("single", asked, 0, given)
        for asked, given in zip((open_example(), example()), answers, strict=True)
    ]
    assert [extracted(row)["score"] for row in rows] == [
        None,
        int(rows[1]["extracted"] is not None),
    ]


def test_old_names_hide_questions_in_datasets_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LANGCHAIN_HIDE_INPUTS", "true")
    utils.get_env_var.cache_clear()
    try:
        assert hidden_parts() == ["inputs"]
    finally:
        utils.get_env_var.cache_clear()
