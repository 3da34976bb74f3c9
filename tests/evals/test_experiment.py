"""Whole experiments over models and judges of planted accuracy, and early refusals."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from swarm_brain.evals import experiment as experiments
from swarm_brain.evals import report
from swarm_brain.evals.cases.examples import Example
from swarm_brain.evals.experiment import run_experiment
from swarm_brain.graph.errors import BrainError, ConfigError, ModelError, ModelUnavailable
from tests.evals.samples import (
    AGGREGATE,
    ANSWER,
    CHECK,
    PAIRWISE,
    QUIET,
    RUBRIC,
    Request,
    against,
    chance,
    config_for,
    context,
    example,
    open_example,
    talk,
)
from tests.fakes import Script

TWO = [example("alpha"), example("beta")]


@pytest.fixture
def harness(script: Script, monkeypatch: pytest.MonkeyPatch) -> Script:
    """A talkative model, and no page drawn."""
    talk(script)
    monkeypatch.setattr(report, "render", lambda data, path: path.write_text(json.dumps(data)))
    monkeypatch.setattr(report, "summary", lambda data: "summary")
    monkeypatch.setattr(experiments, "commit", lambda: "0123abc")
    return script


ITEMS = [
    Example(id=f"i{n}", question=f"Why is item {n} what it is, and what is its number?",
            kind="numeric", answer=str(n))
    for n in range(100, 114)
]  # fmt: skip


def planted(p: float):
    """Right with probability p, at usual length; which questions depends on the seed."""

    def reply(request: Request) -> str:
        item, source = _item(request), chance(request)
        number = item if source.random() < p else item + 500
        return f"{'word ' * source.randint(60, 120)}\nAnswer: {number}\nVerdict: {number}"

    return reply


def _item(request: Request) -> int:
    return int(re.search(r"item (\d+)", request["user"])[1])


def follow(request: Request) -> str:
    """A synthesis that says what most of the drafts say."""
    drafts = re.findall(r"Verdict: (\d+)", request["user"])
    number = Counter(drafts).most_common(1)[0][0]
    return f"{'word ' * 90}\nAnswer: {number}"


async def test_the_harness_finds_what_was_planted(harness: Script, tmp_path: Path):
    """Better arms win, equal ones do not, and drafts of another question lose."""
    harness.says |= dict.fromkeys(("reasoning", "creative", "analytical"), planted(0.8))
    harness.says |= {"synthesis": follow, ANSWER: planted(0.9), CHECK: planted(0.9)}
    harness.says[AGGREGATE] = planted(0.3)
    arms = ["swarm-shuffled", "self-moa", "single", "single-long", "swarm"]
    result = await run_experiment(config_for(tmp_path, ITEMS, arms, concurrency=8), QUIET)
    rows = {row["second"]: row for row in result["comparisons"]}
    assert all(rows[name]["valid"] for name in ("self-moa", "single-long", "swarm-shuffled"))
    assert rows["self-moa"]["difference"]["low"] > 0
    assert rows["self-moa"]["p_holm"] < 0.05
    assert rows["single-long"]["p_holm"] > 0.05
    placebo = next(row for row in result["arms"] if row["name"] == "swarm-shuffled")
    assert placebo["accuracy"]["estimate"] < 0.1
    assert rows["swarm-shuffled"]["p_holm"] < 0.01
    assert result["allocated_tokens"] == pytest.approx(
        next(row for row in result["arms"] if row["name"] == "swarm")["tokens_per_question"], abs=1
    )
    assert [row["name"] for row in result["arms"]] == arms, "in the order that was asked for"
    assert result["commit"] == "0123abc"


async def test_an_experiment_of_version_0_1_0_is_continued(harness: Script, tmp_path: Path):
    folder = tmp_path / "saved"
    shutil.copytree(Path(__file__).parents[1] / "fixtures" / "experiment-0.1.0", folder)
    asked = [*TWO, open_example("gamma")]
    config = config_for(folder, asked, ["swarm", "single"], judge=JUDGE, resume=True)
    data = await run_experiment(config, QUIET)
    assert not harness.requests
    assert [row["accuracy"]["estimate"] for row in data["arms"]] == [0.0, 1.0]
    assert against(data, "single", "pairwise")["wins"] == {"a": 0, "b": 0, "tie": 1, "unparsed": 0}
    answers = data["questions"][2]["arms"]
    assert [answers[arm][0]["score"] for arm in ("swarm", "single")] == [0.5, 0.5]
    assert len(answers["swarm"][0]["trace"]) == 8


async def test_resume_analyses_the_same_and_asks_nothing(harness: Script, tmp_path: Path):
    arms = ["swarm", "swarm-shuffled", "self-moa"]
    first = await run_experiment(config_for(tmp_path, ITEMS[:3], arms), QUIET)
    harness.requests.clear()
    again = await run_experiment(config_for(tmp_path, ITEMS[:3], arms, resume=True), QUIET)
    assert not harness.requests
    assert {**first, "created": ""} == {**again, "created": ""}


ESSAYS = [open_example(f"q{n}") for n in range(10)]
JUDGE = "scripted:judge"


@pytest.fixture
async def answered(harness: Script, tmp_path: Path) -> Path:
    folder = tmp_path / "answered"
    await run_experiment(config_for(folder, ESSAYS, ["swarm", "single"], concurrency=8), QUIET)
    return folder


def longer(request: Request) -> str:
    first, second = re.findall(r'<answer which="\w+">\n(.*?)\n</answer>', request["user"], re.S)
    return json.dumps({"better": "first" if len(first) > len(second) else "second"})


async def test_biased_judges_are_exposed(harness: Script, answered: Path, tmp_path: Path):
    judges = {"first": '{"better": "first"}', "longer": longer, "mute": "Both are nice.",
              "fair": '{"better": "tie"}'}  # fmt: skip
    result = {}
    for name, judge in judges.items():
        harness.says |= {PAIRWISE: judge, RUBRIC: '{"met": [true, false]}'}
        shutil.copytree(answered, tmp_path / name)
        again = config_for(tmp_path / name, ESSAYS, ["swarm", "single"], resume=True, judge=JUDGE)
        result[name] = await run_experiment(again, QUIET)
    warnings = {name: " ".join(data["judging"]["warnings"]) for name, data in result.items()}
    assert "prefers the answer shown first" in warnings["first"]
    assert "0% of the verdicts stayed the same" in warnings["first"]
    assert "prefers longer answers" in warnings["longer"]
    assert "could not be read in 10 of 10 pairs" in warnings["mute"]
    assert warnings["fair"] == ""
    wins = {name: against(data, "single", "pairwise")["wins"] for name, data in result.items()}
    assert wins["first"] == {"a": 0, "b": 0, "tie": 10, "unparsed": 0}
    assert wins["mute"]["unparsed"] == 10
    assert {data["judging"]["self_judged"] for data in result.values()} == {False}
    assert result["fair"]["arms"][0]["quality"]["estimate"] == 0.5


async def test_a_judgement_is_paid_once(harness: Script, answered: Path):
    harness.says |= {PAIRWISE: '{"better": "tie"}', RUBRIC: '{"met": [true, false]}'}
    again = config_for(answered, ESSAYS, ["swarm", "single"], resume=True, judge=JUDGE)
    harness.requests.clear()
    await run_experiment(again, QUIET)
    assert Counter(harness.askers) == {PAIRWISE: 20, RUBRIC: 20}
    await run_experiment(again, QUIET)
    assert len(harness.askers) == 40


async def test_a_failed_judgement_is_asked_for_again(harness: Script, answered: Path):
    down = ModelError("not_found", "no such model", status=404)
    harness.says |= {PAIRWISE: down, RUBRIC: down}
    again = config_for(answered, ESSAYS, ["swarm", "single"], resume=True, judge=JUDGE)
    result = await run_experiment(again, QUIET)
    assert result["arms"][0]["quality"] is None
    harness.says |= {PAIRWISE: '{"better": "tie"}', RUBRIC: '{"met": [true, true]}'}
    result = await run_experiment(again, QUIET)
    assert result["arms"][0]["quality"]["estimate"] == 1.0


async def test_a_model_does_not_judge_itself_unnoticed(harness: Script, tmp_path: Path):
    itself = config_for(tmp_path, ESSAYS[:2], ["swarm"], judge="scripted:model")
    with pytest.raises(ConfigError, match="--allow-self-judge"):
        await run_experiment(itself, QUIET)
    assert not harness.requests
    assert not list(tmp_path.iterdir())
    harness.says[RUBRIC] = '{"met": [true, true]}'
    harness.says[PAIRWISE] = '{"better": "tie"}'
    allowed = config_for(tmp_path, ESSAYS[:2], ["swarm", "single"], judge="scripted:model",
                     self_judge=True)  # fmt: skip
    assert (await run_experiment(allowed, QUIET))["judging"]["self_judged"] is True


async def test_another_judge_allowed_to_judge_itself_is_not_called_itself(harness, tmp_path: Path):
    harness.says |= {PAIRWISE: '{"better": "tie"}', RUBRIC: '{"met": [true, true]}'}
    other = config_for(tmp_path, ESSAYS[:2], ["swarm", "single"], judge=JUDGE, self_judge=True)
    assert (await run_experiment(other, QUIET))["judging"]["self_judged"] is False


async def test_a_simulation_judges_nothing(harness: Script, tmp_path: Path):
    with pytest.raises(ModelUnavailable, match="judges nothing"):
        await run_experiment(
            config_for(tmp_path, ESSAYS[:1], ["swarm"], judge="simulation:"), QUIET
        )


async def test_an_unknown_arm_is_refused_before_anything_is_asked(harness: Script, tmp_path: Path):
    with pytest.raises(ConfigError, match="no arm 'swam'"):
        await run_experiment(config_for(tmp_path, ITEMS[:1], ["swarm", "swam"]), QUIET)
    assert not harness.requests
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arms", [["self-moa"], ["swarm-shuffled"], ["single", "swarm-shuffled"]])
async def test_arms_that_need_the_swarm_say_so(harness: Script, tmp_path: Path, arms: list[str]):
    with pytest.raises(ConfigError, match="swarm"):
        await run_experiment(config_for(tmp_path, ITEMS[:2], arms), QUIET)


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
        await run_experiment(config_for(tmp_path, TWO[:questions], arms), QUIET)
    assert not harness.requests
    assert not list(tmp_path.iterdir())


async def test_a_budget_that_pays_for_nothing_has_a_report_all_the_same(
    harness: Script, tmp_path: Path
):
    asked = config_for(tmp_path, TWO, ["swarm", "swarm-shuffled"], budget_tokens=1)
    result = await run_experiment(asked, QUIET)
    assert [(row["answered"], row["simulated"]) for row in result["arms"]] == [(0, 2), (0, 2)]
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
    await run_experiment(config_for(tmp_path, TWO, ["swarm", "swarm-shuffled"]), QUIET)
    assert seen == [[], ["alpha", "beta"]]


async def test_an_address_with_a_password_is_written_nowhere(tmp_path: Path):
    address = "http://user:secret@127.0.0.1:9/v1"
    asked = replace(
        config_for(tmp_path, TWO, ["single"]),
        context=context(model="openai-compatible:m", base_url=address),
    )
    with pytest.raises(BrainError, match="password"):
        await run_experiment(asked, QUIET)
    assert not list(tmp_path.iterdir())


# ---- judgements


async def test_a_judgement_of_other_words_is_not_taken(harness: Script, tmp_path: Path):
    """The answers were thrown away and asked for again; what was judged still lies there."""
    harness.says |= {PAIRWISE: '{"better": "first"}', RUBRIC: '{"met": [true, true]}'}
    asked = config_for(tmp_path, [open_example("alpha")], ["swarm", "single"], judge=JUDGE)
    await run_experiment(asked, QUIET)
    path = tmp_path / "answers.jsonl"
    head, *lines = path.read_text("utf-8").splitlines()
    rows = [{**json.loads(line), "text": "other words"} for line in lines]
    path.write_text("\n".join([head, *map(json.dumps, rows)]) + "\n", "utf-8")
    harness.requests.clear()
    harness.says[RUBRIC] = '{"met": [false, false]}'
    again = config_for(tmp_path, asked.examples, ["swarm", "single"], judge=JUDGE, resume=True)
    result = await run_experiment(again, QUIET)
    assert Counter(harness.askers) == {PAIRWISE: 2, RUBRIC: 2}
    (entry,) = result["questions"]
    assert entry["arms"]["swarm"][0]["score"] == 0.0


async def test_without_rubric_points_no_judge_is_asked_for_them(harness: Script, tmp_path: Path):
    harness.says[PAIRWISE] = '{"better": "tie"}'
    bare = [example("alpha", kind="open", answer=None)]
    await run_experiment(config_for(tmp_path, bare, ["swarm", "single"], judge=JUDGE), QUIET)
    assert RUBRIC not in harness.askers
    assert harness.askers.count(PAIRWISE) == 2
