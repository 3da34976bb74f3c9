"""Running an experiment: each answer is kept, none is paid for twice, what is fatal ends it."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from swarm_brain.batch import progress
from swarm_brain.evals.arms.registry import ARMS
from swarm_brain.evals.arms.response import Answer
from swarm_brain.evals.runner import Plan, Records, mean_tokens, open_records, recorded, run_arm
from swarm_brain.evals.tracing import place_of
from swarm_brain.graph.errors import ConfigError, ModelError, ModelUnavailable
from tests.evals.samples import ANSWER, QUIET, example, setup
from tests.fakes import Script

HEAD = {"dataset": "abc", "settings": {"model": "scripted:model"}, "budget_tokens": None}
SIX = [example(f"q{number}") for number in range(6)]
DOWN = ModelError("not_found", "no such model", status=404)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


def opened(folder: Path, **more: Any) -> Records:
    return open_records(folder / "answers.jsonl", HEAD, **({"resume": False} | more))


async def run(records: Records, arm: str = "single", examples=SIX, **more: Any) -> None:
    plan = Plan("tests", place_of(), **({"concurrency": 2} | more))
    await run_arm(arm, setup(2000), examples, records, plan, QUIET)


async def test_every_answer_is_in_the_file_when_the_next_is_asked(script: Script, tmp_path: Path):
    seen = []

    def reply(request: dict[str, Any]) -> str:
        seen.append(len(lines(tmp_path / "answers.jsonl")) - 1)
        return "Answer: 4"

    script.says[ANSWER] = reply
    records = opened(tmp_path)
    await run(records, concurrency=1)
    assert seen == [0, 1, 2, 3, 4, 5]
    head, *kept = lines(records.path)
    assert head == {"experiment": HEAD}
    assert [row["id"] for row in kept] == [one.id for one in SIX]
    assert kept == records.of("single")
    assert {(row["correct"], row["extracted"], row["provenance"]) for row in kept} == {
        (True, "4", "full")
    }


@pytest.mark.parametrize("fault", [ConfigError("bad setting"), ModelUnavailable("no weights"),
                                   OSError(28, "No space left on device")])  # fmt: skip
async def test_what_is_fatal_ends_the_run_and_keeps_what_came(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fault: Exception
):
    asked = []

    async def arm(given: Any, one: Any, turn: int) -> Answer:
        asked.append(one.id)
        if one.id == "q3":
            raise fault
        return Answer("Answer: 4", "full")

    monkeypatch.setitem(ARMS, "single", arm)
    records = opened(tmp_path)
    with pytest.raises(type(fault)) as caught:
        await run(records, concurrency=1)
    assert caught.value is fault
    assert asked == ["q0", "q1", "q2", "q3"], "nobody is asked after that"
    assert [row["id"] for row in lines(records.path)[1:]] == ["q0", "q1", "q2"]


async def test_a_stopped_run_keeps_what_came(monkeypatch, tmp_path: Path):
    async def arm(given: Any, one: Any, turn: int) -> Answer:
        if one.id == "q2":
            await asyncio.sleep(60)
        return Answer("Answer: 4", "full")

    monkeypatch.setitem(ARMS, "single", arm)
    records = opened(tmp_path)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(run(records, concurrency=1), 0.5)
    assert [row["id"] for row in lines(records.path)[1:]] == ["q0", "q1"]


async def test_a_failed_answer_is_not_fatal(script: Script, tmp_path: Path):
    script.says[ANSWER] = ["Answer: 4", DOWN, "Answer: 5"]
    records = opened(tmp_path)
    await run(records, concurrency=1)
    told = [(row["provenance"], row["correct"], row["text"]) for row in records.of("single")]
    assert told[:3] == [
        ("full", True, "Answer: 4"),
        ("simulated", None, ""),
        ("full", False, "Answer: 5"),
    ]
    assert "no such model" in records.of("single")[1]["error"]


async def test_resume_asks_for_what_is_missing_or_simulated(script: Script, tmp_path: Path):
    script.says[ANSWER] = ["Answer: 4", DOWN, "Answer: 4"]
    await run(opened(tmp_path), examples=SIX[:4], concurrency=1)
    assert len(script.requests) == 4
    script.requests.clear()
    again = opened(tmp_path, resume=True)
    assert len(again.by_key) == 3
    await run(again, concurrency=1)
    asked = [name for r in script.requests for name in ("q1", "q4", "q5") if name in r["user"]]
    assert asked == ["q1", "q4", "q5"]
    assert len(script.requests) == 3
    script.requests.clear()
    last = opened(tmp_path, resume=True)
    await run(last)
    assert not script.requests
    assert {row["provenance"] for row in last.of("single")} == {"full"}
    assert len(last.of("single")) == 6, "the answer asked for again counts once"


async def test_a_failed_answer_asked_for_again_fails_once_in_the_figures(script, tmp_path: Path):
    script.says[ANSWER] = DOWN
    await run(opened(tmp_path), examples=SIX[:1])
    again = opened(tmp_path, resume=True)
    await run(again, examples=SIX[:1])
    assert len(again.of("single")) == 1


@pytest.mark.parametrize("cut", [1, 2, 40, 41, 42, 43])
def test_a_half_written_line_is_cut_off(tmp_path: Path, cut: int):
    """Wherever it was cut, in the middle of a letter too."""
    records = opened(tmp_path)
    for number in range(3):
        records.add(row(f"q{number}", text="naïve ✓ \u2028 \x85 " * 3))
    whole = records.path.read_bytes()
    os.truncate(records.path, len(whole) - cut)
    again = opened(tmp_path, resume=True)
    assert [key[1] for key in again.by_key] == ["q0", "q1"]
    again.add(row("q2", text="anew"))
    assert [line["id"] for line in lines(records.path)[1:]] == ["q0", "q1", "q2"]


def row(name: str, **more: Any) -> dict[str, Any]:
    given = Answer(provenance="full", **more)
    return recorded("single", example(name), 0, given)


def test_separators_within_answers_end_no_line(tmp_path: Path):
    records = opened(tmp_path)
    text = "one\u2028two\u2029three\x85four\x0bfive\x1csix\r\nseven"
    records.add(row("q0", text=text))
    records.add(row("q1", text="next"))
    again = opened(tmp_path, resume=True)
    assert [known["text"] for known in again.of("single")] == [text, "next"]


def test_a_file_that_is_whole_is_not_touched(tmp_path: Path):
    records = opened(tmp_path)
    records.add(row("q0"))
    before = records.path.stat().st_mtime_ns, records.path.read_bytes()
    opened(tmp_path, resume=True)
    assert (records.path.stat().st_mtime_ns, records.path.read_bytes()) == before


def test_a_broken_line_in_the_middle_is_named(tmp_path: Path):
    records = opened(tmp_path)
    records.add(row("q0"))
    with records.path.open("a") as file:
        file.write("{half\n")
    records.add(row("q1"))
    with pytest.raises(ConfigError, match="line 3: is not JSON"):
        opened(tmp_path, resume=True)
    assert "q1" in records.path.read_text("utf-8"), "and nothing is lost"


@pytest.mark.parametrize("content", ["", "{}\n", '{"id": "x"}\n', "[1]\n", "half"])
def test_a_file_that_holds_no_experiment_is_refused(tmp_path: Path, content: str):
    (tmp_path / "answers.jsonl").write_text(content)
    with pytest.raises(ConfigError, match="holds no experiment"):
        opened(tmp_path, resume=True)


def test_other_settings_are_refused_by_name(tmp_path: Path):
    records = opened(tmp_path)
    other = {**HEAD, "dataset": "def", "budget_tokens": 400}
    with pytest.raises(ConfigError) as caught:
        open_records(records.path, other, resume=True)
    assert "dataset was 'abc', is 'def'" in str(caught.value)
    assert "budget_tokens was None, is 400" in str(caught.value)
    assert "settings was" not in str(caught.value)


def test_changed_settings_are_named_one_by_one(tmp_path: Path):
    records = opened(tmp_path)
    other = {**HEAD, "settings": {"model": "scripted:other", "seed": 1}}
    with pytest.raises(ConfigError) as caught:
        open_records(records.path, other, resume=True)
    assert "settings.model was 'scripted:model', is 'scripted:other'" in str(caught.value)
    assert "settings.seed was None, is 1" in str(caught.value)


def test_an_existing_file_is_refused_without_resume(tmp_path: Path):
    before = opened(tmp_path).path.read_bytes()
    with pytest.raises(ConfigError, match="--resume"):
        opened(tmp_path)
    assert (tmp_path / "answers.jsonl").read_bytes() == before


def test_resume_without_a_file_begins_one(tmp_path: Path):
    assert opened(tmp_path / "new" / "folder", resume=True).path.exists()


async def test_repetitions_are_answers_of_their_own(script: Script, tmp_path: Path):
    records = opened(tmp_path)
    await run(records, examples=SIX[:3], repetitions=3, concurrency=4)
    assert sorted(records.by_key) == [("single", f"q{n}", turn) for n in range(3) for turn in range(3)]  # fmt: skip  # noqa: E501
    assert len({request["sampling"].seed for request in script.requests}) == 9
    script.requests.clear()
    more = opened(tmp_path, resume=True)
    await run(more, examples=SIX[:3], repetitions=4)
    assert len(script.requests) == 3
    assert len(more.by_key) == 12


@pytest.mark.parametrize("bound", [1, 3])
async def test_concurrency_is_a_bound(monkeypatch, tmp_path: Path, bound: int):
    now, most = 0, 0

    async def arm(given: Any, one: Any, turn: int) -> Answer:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.005)
        now -= 1
        return Answer("Answer: 4", "full")

    monkeypatch.setitem(ARMS, "single", arm)
    await run(opened(tmp_path), repetitions=2, concurrency=bound)
    assert most == bound


async def test_arms_do_not_mix_in_one_file(script: Script, tmp_path: Path):
    records = opened(tmp_path)
    await run(records, "single", SIX[:2])
    await run(records, "single-long", SIX[:2])
    again = opened(tmp_path, resume=True)
    assert len(again.of("single")) == len(again.of("single-long")) == 2


async def test_progress_tells_tokens_cost_and_time(script: Script, tmp_path: Path, monkeypatch):
    told = []
    add = progress.Counted.add

    def watched(self: progress.Counted, record: dict[str, Any]) -> None:
        add(self, record)
        told.append(self.progress.tasks[0].fields["told"])

    monkeypatch.setattr(progress.Counted, "add", watched)
    await run(opened(tmp_path), examples=SIX[:2], concurrency=1)
    assert len(told) == 2
    assert told[0].endswith(" tokens, cost unknown")
    first, second = (int(text.split()[0].replace(",", "")) for text in told)
    assert second == 2 * first


def test_mean_tokens_leaves_out_simulations():
    counted = row("q0", input_tokens=100, output_tokens=51)
    other = row("q1", input_tokens=50, output_tokens=None)
    simulated = {**row("q2"), "provenance": "simulated", "input_tokens": 9000}
    assert mean_tokens([counted, other, simulated]) == 101
    with pytest.raises(ConfigError, match="no model answered"):
        mean_tokens([simulated])
