"""Running an arm: answers are saved and never paid for twice; fatal errors end the run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from swarm_brain import progress
from swarm_brain.evals.arms.registry import ARMS
from swarm_brain.evals.arms.response import ArmResponse
from swarm_brain.evals.record_file import AnswerRecord, RecordFile
from swarm_brain.evals.runner import RunOptions, mean_tokens, run_arm
from swarm_brain.evals.tracing import find_tracker
from swarm_brain.graph.errors import ConfigError, ModelError, ModelUnavailable
from tests.evals.samples import ANSWER, HEAD, QUIET, example, lines, opened, row, setup
from tests.fakes import Script

SIX = [example(f"q{number}") for number in range(6)]
DOWN = ModelError("not_found", "no such model", status=404)


async def run(
    records: RecordFile[AnswerRecord], arm: str = "single", examples=SIX, **more: Any
) -> None:
    options = RunOptions("tests", find_tracker(), **({"concurrency": 2} | more))
    await run_arm(arm, setup(2000), examples, records, options, QUIET)


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

    async def arm(given: Any, one: Any, turn: int) -> ArmResponse:
        asked.append(one.id)
        if one.id == "q3":
            raise fault
        return ArmResponse("Answer: 4", "full")

    monkeypatch.setitem(ARMS, "single", arm)
    records = opened(tmp_path)
    with pytest.raises(type(fault)) as caught:
        await run(records, concurrency=1)
    assert caught.value is fault
    assert asked == ["q0", "q1", "q2", "q3"], "nobody is asked after that"
    assert [row["id"] for row in lines(records.path)[1:]] == ["q0", "q1", "q2"]


async def test_a_stopped_run_keeps_what_came(monkeypatch, tmp_path: Path):
    async def arm(given: Any, one: Any, turn: int) -> ArmResponse:
        if one.id == "q2":
            await asyncio.sleep(60)
        return ArmResponse("Answer: 4", "full")

    monkeypatch.setitem(ARMS, "single", arm)
    records = opened(tmp_path)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(run(records, concurrency=1), 0.5)
    assert [row["id"] for row in lines(records.path)[1:]] == ["q0", "q1"]


async def test_a_failed_answer_is_not_fatal(script: Script, tmp_path: Path):
    script.says[ANSWER] = ["Answer: 4", DOWN, "Answer: 5"]
    records = opened(tmp_path)
    await run(records, concurrency=1)
    rows = [(row["provenance"], row["correct"], row["text"]) for row in records.of("single")]
    assert rows[:3] == [
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

    async def arm(given: Any, one: Any, turn: int) -> ArmResponse:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.005)
        now -= 1
        return ArmResponse("Answer: 4", "full")

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
    rows = []
    add = progress.Counted.add

    def watched(self: progress.Counted, record: dict[str, Any]) -> None:
        add(self, record)
        rows.append(self.progress.tasks[0].fields["counts"])

    monkeypatch.setattr(progress.Counted, "add", watched)
    await run(opened(tmp_path), examples=SIX[:2], concurrency=1)
    assert len(rows) == 2
    assert rows[0].endswith(" tokens, cost unknown")
    first, second = (int(text.split()[0].replace(",", "")) for text in rows)
    assert second == 2 * first


def test_mean_tokens_leaves_out_simulations():
    counted = row("q0", input_tokens=100, output_tokens=51)
    other = row("q1", input_tokens=50, output_tokens=None)
    simulated = {**row("q2"), "provenance": "simulated", "input_tokens": 9000}
    assert mean_tokens([counted, other, simulated]) == 101
    with pytest.raises(ConfigError, match="no model answered"):
        mean_tokens([simulated])
