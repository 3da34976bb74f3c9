"""The philosophy battery: its flags, its JSON, and simulated answers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from swarm_brain.evals import philosophy, report
from swarm_brain.evals.philosophy import chosen, model_of
from swarm_brain.graph.errors import ConfigError, ModelError
from tests.evals.samples import RUBRIC
from tests.fakes import Script

KEY = "canary-key-5e1d"
FLAGS = ["--use-api", "--api-key", "--load-models", "--quick", "--start-level", "--end-level",
         "--questions-per-level", "--model", "--output", "--concurrency", "--resume", "--seed",
         "--judge", "--allow-self-judge"]  # fmt: skip
DOWN = ModelError("not_found", "no such model", status=404)


@pytest.fixture(autouse=True)
def _no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "render", lambda data, path: path.write_text(json.dumps(data)))
    monkeypatch.delenv("HYPERBOLIC_API_KEY", raising=False)


class Battery:
    """Runs the battery's command line into a folder."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.output = folder / "battery.json"
        self.folder = folder
        self.patch = monkeypatch
        self.app = philosophy.app

    def __call__(self, *words: str) -> dict[str, Any]:
        """What the battery writes; errors are raised."""
        full = [*words, "--output", str(self.output)]
        self.patch.setattr(sys, "argv", ["philosophy", *full])
        self.result = CliRunner().invoke(self.app, full)
        if self.result.exception and not isinstance(self.result.exception, SystemExit):
            raise self.result.exception
        assert self.result.exit_code == 0, self.result.output
        return json.loads(self.output.read_text("utf-8"))

    def files(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_file()]


@pytest.fixture
def battery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: Script) -> Battery:
    return Battery(tmp_path, monkeypatch)


QUICK = ("--model", "scripted:model", "--quick")
ONE = (*QUICK, "--end-level", "1")

# ---- which questions


def test_forty_questions_in_eight_rising_levels():
    asked = chosen(1, 8, None)
    assert [one.level for one in asked] == [level for level in range(1, 9) for _ in range(5)]
    assert len({one.level_name for one in asked}) == 8
    assert len({one.id for one in asked}) == len({one.question for one in asked}) == 40
    assert all(3 <= len(one.rubric) <= 6 for one in asked)


@pytest.mark.parametrize(
    ("start", "end", "each", "count"), [(1, 8, 1, 8), (3, 3, None, 5), (2, 4, 2, 6), (8, 8, 5, 5)]
)
def test_levels_and_questions_a_level(start: int, end: int, each: int | None, count: int):
    asked = chosen(start, end, each)
    assert len(asked) == count
    assert {one.level for one in asked} == set(range(start, end + 1))


@pytest.mark.parametrize(("start", "end"), [(0, 3), (1, 9), (5, 4), (-1, 8)])
def test_levels_out_of_range_are_refused(start: int, end: int):
    with pytest.raises(ConfigError, match="levels run from 1 to 8"):
        chosen(start, end, None)


def test_every_known_flag_is_there(battery: Battery):
    result = CliRunner().invoke(battery.app, ["--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert [flag for flag in FLAGS if flag not in result.output] == []


# ---- who answers


def test_who_answers(monkeypatch: pytest.MonkeyPatch):
    assert model_of("a:b", True, True, {}) == ("a:b", None)
    assert model_of(None, False, False, {}) == ("auto", None)
    assert model_of(None, True, False, {"hyperbolic": KEY}) == ("hyperbolic:", None)
    assert model_of(None, False, False, {"hyperbolic": KEY}) == ("hyperbolic:", None)
    assert model_of(None, False, True, {})[0].startswith("huggingface:")
    spec, note = model_of(None, True, False, {})
    assert spec == "simulation:"
    assert note
    assert "HYPERBOLIC_API_KEY" in note
    monkeypatch.setenv("HYPERBOLIC_API_KEY", KEY)
    assert model_of(None, True, False, {}) == ("hyperbolic:", None)


# ---- what it writes


def test_the_json_has_config_levels_and_summary(battery: Battery, script: Script):
    data = battery(*QUICK)
    assert set(data) == {"config", "levels", "summary"}
    assert [level["level"] for level in data["levels"]] == list(range(1, 9))
    assert all(set(level) == {"level", "name", "questions"} for level in data["levels"])
    assert [len(level["questions"]) for level in data["levels"]] == [1] * 8
    entry = data["levels"][0]["questions"][0]
    known = {"question", "answer", "provenance", "experts", "steps", "duration_s", "usage",
             "rubric"}  # fmt: skip
    assert known <= set(entry)
    assert entry["answer"].startswith("The subject is what all of this says.")
    assert entry["provenance"] == "full"
    assert {"synthesis", "perception"} <= {expert["name"] for expert in entry["experts"]}
    assert entry["steps"] >= 3
    assert entry["usage"]["calls"] == len(entry["experts"])
    assert entry["usage"]["output_tokens"] > 10
    assert entry["duration_s"] >= 0
    assert data["config"]["model"] == "scripted:model"
    assert data["summary"]["questions"] == data["summary"]["answered"] == 8


def test_a_part_of_the_battery_has_its_levels_alone(battery: Battery):
    data = battery("--model", "scripted:model", "--start-level", "4", "--end-level", "5",
                   "--questions-per-level", "2")  # fmt: skip
    assert [(level["level"], len(level["questions"])) for level in data["levels"]] == [
        (4, 2),
        (5, 2),
    ]


def test_without_a_judge_rubrics_are_null_and_the_report_says_so(battery: Battery):
    data = battery(*ONE)
    entry = data["levels"][0]["questions"][0]
    assert entry["score"] is None
    assert len(entry["rubric"]) >= 3
    assert all(point["point"] and point["met"] is None for point in entry["rubric"])
    assert (data["summary"]["quality"], data["summary"]["accuracy"]) == (None, None)
    assert data["config"]["judge"] is None
    assert "ungraded" in battery.result.stdout.lower()


def test_a_judge_scores_the_rubric(battery: Battery, script: Script):
    script.says[RUBRIC] = lambda r: json.dumps(
        {"met": [n % 2 == 0 for n in range(r["user"].partition("<points>")[2].count("\n") - 1)]}
    )
    data = battery(*QUICK, "--judge", "scripted:judge", "--end-level", "2", "--concurrency", "1")
    first = data["levels"][0]["questions"][0]
    met = [point["met"] for point in first["rubric"]]
    assert met == [n % 2 == 0 for n in range(len(met))]
    assert first["score"] == pytest.approx(sum(met) / len(met))
    assert len(script.of(RUBRIC)) == 2
    assert 0 < data["summary"]["quality"]["estimate"] < 1
    assert all(first["question"] not in r["user"] for r in script.of(RUBRIC)[1:])


def test_the_judge_is_not_the_answering_model(battery: Battery, script: Script):
    with pytest.raises(ConfigError, match="--allow-self-judge"):
        battery(*ONE, "--judge", "scripted:model")
    assert not script.requests
    assert not battery.files()


def test_a_self_judge_is_told_in_the_report(battery: Battery, script: Script):
    script.says[RUBRIC] = '{"met": [true, true, true]}'
    battery(*ONE, "--judge", "scripted:model", "--allow-self-judge")
    page = json.loads((battery.output.with_suffix("") / "report.html").read_text())
    assert page["judging"]["self_judged"] is True
    assert "itself" in battery.result.stdout


def test_simulated_answers_are_counted_apart_and_never_scored(battery: Battery, script: Script):
    script.says[RUBRIC] = '{"met": [true, true, true]}'
    data = battery("--model", "simulation:", "--quick", "--judge", "scripted:judge")
    assert not script.of(RUBRIC)
    assert (data["summary"]["simulated"], data["summary"]["answered"]) == (8, 0)
    for level in data["levels"]:
        (entry,) = level["questions"]
        assert (entry["answer"], entry["provenance"], entry["score"]) == (None, "simulated", None)
        assert all(point["met"] is None for point in entry["rubric"])
    assert data["summary"]["quality"] is None


def test_a_failing_endpoint_leaves_simulated_answers_to_resume(battery: Battery, script: Script):
    says = dict(script.says)
    script.says |= dict.fromkeys(says, DOWN)
    data = battery(*QUICK)
    assert data["summary"]["simulated"] == data["summary"]["errors"] == 8
    script.says |= says
    again = battery(*QUICK, "--resume")
    assert (again["summary"]["simulated"], again["summary"]["answered"]) == (0, 8)


def test_resume_pays_for_nothing_twice(battery: Battery, script: Script):
    first = battery(*QUICK)
    script.requests.clear()
    again = battery(*QUICK, "--resume")
    assert not script.requests
    assert again["levels"] == first["levels"]
    with pytest.raises(ConfigError, match="--resume"):
        battery(*QUICK)
    with pytest.raises(ConfigError, match=r"settings\.seed was None, is 7"):
        battery(*QUICK, "--resume", "--seed", "7")


def test_concurrency_and_seed_are_taken(battery: Battery, script: Script):
    data = battery(*ONE, "--concurrency", "1", "--seed", "7")
    assert data["config"]["seed"] == 7
    assert all(request["sampling"].seed is not None for request in script.requests)


# ---- the key


@pytest.mark.parametrize("form", [("--api-key", KEY), (f"--api-key={KEY}",)])
def test_the_key_stands_nowhere(battery: Battery, form: tuple[str, ...]):
    data = battery(*ONE, *form)
    assert KEY not in battery.result.output
    assert "--api-key" in data["config"]["command"]
    files = battery.files()
    assert {"battery.json", "answers.jsonl", "report.html", "summary.md"} <= {p.name for p in files}
    assert not [path for path in files if KEY in path.read_text("utf-8")]


def test_the_key_given_is_the_key_used(battery: Battery, monkeypatch: pytest.MonkeyPatch):
    from swarm_brain.config import key_for
    from swarm_brain.models import choose

    seen = []
    bind = choose.bind

    def watched(spec: str, base_url: str | None = None):
        seen.append((spec, key_for("hyperbolic", None)))
        return bind("scripted:model")

    monkeypatch.setattr(choose, "bind", watched)
    battery("--use-api", "--api-key", KEY, "--quick", "--end-level", "1")
    assert set(seen) == {("hyperbolic:", KEY)}
    assert key_for("hyperbolic", None) is None


# ---- the output


@pytest.mark.parametrize("name", ["battery", "battery.v2", "battery.json"])
def test_the_json_and_its_folder_never_collide(battery: Battery, name: str):
    battery.output = battery.folder / name
    data = battery(*ONE)
    assert data["summary"]["questions"] == 1
    assert battery.output.is_file()


def test_a_folder_as_output_is_refused_before_anything_is_asked(battery: Battery, script: Script):
    battery.output.mkdir()
    with pytest.raises(ConfigError, match="is a folder"):
        battery(*ONE)
    assert not script.requests
