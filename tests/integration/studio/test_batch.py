"""`swarm-brain batch --url`: rows answered by a server, in order, and after a kill no row twice."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import Endpoint
from tests.integration.commands import COMMAND, Finished, run_here
from tests.integration.processes import REPO, plain_environment, process, until
from tests.integration.studio.dev_server import ANSWER

LOW = ("--effort", "low")


def command(home: Path, url: str, *words: str) -> tuple[list[str], dict[str, Any]]:
    """The words of a command line, and where it is run."""
    options = {"cwd": home, "env": plain_environment(home, PYTHONPATH=str(REPO))}
    return ["batch", "q.jsonl", "--url", url, *LOW, *words], options


def batch(home: Path, url: str, *words: str) -> Finished:
    line, options = command(home, url, *words)
    return run_here(*line, **options)


def asking(home: Path, name: str, count: int) -> None:
    rows = [{"question": f"What does {name} {n} mean?", "id": n} for n in range(count)]
    (home / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def answers(home: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (home / "q.answers.jsonl").read_text().splitlines()]


def written(served: Endpoint, name: str) -> Counter[int]:
    """How often the answer to each row was written."""
    found = (
        re.search(rf"{name} (\d+)", request["user"]) for request in served.script.of("synthesis")
    )
    return Counter(int(match[1]) for match in found if match)


def test_a_server_answers_in_order_and_keeps_no_thread(tmp_path, server, served, client):
    asking(tmp_path, "apple", 6)
    before = len(client.threads.search(limit=100))
    done = batch(tmp_path, server, "--concurrency", "3", "--setting", "budget_tokens=30000")
    assert done.returncode == 0, done.stderr
    found = answers(tmp_path)
    assert [row["id"] for row in found] == list(range(6))
    assert {(row["final_output"], row["provenance"]) for row in found} == {(ANSWER, "full")}
    assert all(row["usage"]["input_tokens"] > 0 and len(row["experts"]) == 3 for row in found)
    assert len(client.threads.search(limit=100)) == before
    assert written(served, "apple") == Counter(range(6))


@pytest.mark.slow
def test_a_killed_batch_asks_the_server_nothing_twice(tmp_path, server, served):
    asking(tmp_path, "pear", 8)
    journal = tmp_path / "q.answers.jsonl.journal"
    served.script.says["reasoning"] = lambda request: time.sleep(0.2) or "Said.\nVerdict: 42"
    line, options = command(tmp_path, server, "--concurrency", "2")
    with process(COMMAND, *line, stderr=subprocess.DEVNULL, **options) as child:
        until(lambda: journal.exists() and journal.read_bytes().count(b"\n") > 2, 30, child)
        child.send_signal(signal.SIGKILL)
        child.wait(10)
    kept = [json.loads(row)["row"] for row in journal.read_bytes().split(b"\n")[1:-1]]
    assert 2 <= len(kept) < 8
    done = batch(tmp_path, server, "--resume")
    assert done.returncode == 0, done.stderr
    assert [row["status"] for row in answers(tmp_path)] == ["answered"] * 8
    times = written(served, "pear")
    assert {times[row] for row in kept} == {1}
    assert set(times) == set(range(8))


def test_a_budget_of_the_batch_holds_on_a_server_too(tmp_path, server):
    asking(tmp_path, "plum", 6)
    words = ("--concurrency", "2", "--setting", "budget_tokens=12000", "--budget-tokens", "13000")
    done = batch(tmp_path, server, *words)
    assert done.returncode == 4, done.stderr
    sent = [row["usage"] for row in answers(tmp_path) if row["status"] == "answered"]
    assert 0 < len(sent) < 6
    assert sum(usage["input_tokens"] + usage["output_tokens"] for usage in sent) <= 13_000


def test_a_server_that_is_not_there_is_told_before_anything_is_begun(tmp_path):
    asking(tmp_path, "fig", 2)
    done = batch(tmp_path, "http://127.0.0.1:9")
    assert done.returncode == 1
    assert "cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.glob("q.*")] == ["q.jsonl"]
