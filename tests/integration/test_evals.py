"""The evals as processes: killed and gone on with, kept at home, and recorded by a LangSmith."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from swarm_brain.evals.cases.examples import content_hash, load
from swarm_brain.evals.philosophy import DATASET
from swarm_brain.graph.loading import load as load_topology
from tests.fakes import Endpoint, Script, endpoint
from tests.integration.commands import COMMAND, Finished, run_here
from tests.integration.langsmith import Recorded, langsmith
from tests.integration.processes import CANARY, REPO, plain_environment, process, until

GUARD = Path(__file__).parent / "guard"
EIGHT = set(load_topology().experts)
QUESTIONS = {example.id: example.question for example in load(DATASET)}
SECRET_QUESTION, SECRET_ANSWER = "quokka-in-question", "numbat-in-answer"
TOO_MANY = (429, {"Content-Type": "application/json"}, '{"error": {"message": "slow down"}}')


@dataclass
class Evals:
    """Runs evals in a folder of their own against a scripted endpoint."""

    folder: Path
    served: Endpoint

    def environment(self, **more: str) -> dict[str, str]:
        return plain_environment(
            self.folder,
            PYTHONPATH=more.pop("PYTHONPATH", str(REPO)),
            HYPERBOLIC_API_KEY=CANARY,
            HYPERBOLIC_API_URL=self.served.url,
            HYPERBOLIC_RPM="100000",
            **more,
        )

    def philosophy(self, *words: str) -> list[str | Path]:
        output = str(self.folder / "battery.json")
        return [COMMAND, "eval", "philosophy", "--model", "hyperbolic:m", "--output", output,
                *words]  # fmt: skip

    def compare(self, *words: str, output: str = "compare") -> list[str | Path]:
        return [sys.executable, "-m", "evals.compare", "--model", "hyperbolic:m", "--output",
                str(self.folder / output), *words]  # fmt: skip

    def run(self, command: list[str | Path], **environment: str) -> subprocess.CompletedProcess:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment(**environment), capture_output=True,
            text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done

    def here(self, command: list[str | Path]) -> Finished:
        """Run `swarm-brain` in this process: for what reads no variable of LangSmith."""
        words = [str(word) for word in command[1:]]
        done = run_here(*words, cwd=self.folder, env=self.environment())
        assert done.returncode == 0, done.stderr
        return done

    def answered(self) -> list[str]:
        """The questions whose answers stand in the battery's file, simulated ones apart."""
        path = self.folder / "battery" / "answers.jsonl"
        lines = path.read_text("utf-8").split("\n")[1:-1] if path.exists() else []
        rows = [json.loads(line) for line in lines]
        return [row["id"] for row in rows if row["provenance"] != "simulated"]

    def asked(self) -> Counter[str]:
        """How many requests there were about each question."""
        return Counter(
            name
            for request in list(self.served.script.requests)
            for name, question in QUESTIONS.items()
            if f"<question>\n{question}" in request["user"]
        )


@pytest.fixture
def evals(tmp_path: Path) -> Iterator[Evals]:
    with endpoint(Script()) as served:
        yield Evals(tmp_path, served)


# ---- killed, and gone on with


@pytest.mark.slow
def test_a_killed_battery_goes_on_and_pays_for_nothing_twice(evals: Evals, tmp_path: Path):
    command = evals.philosophy("--quick", "--concurrency", "1")
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with process(*command, cwd=tmp_path, env=evals.environment(), **quiet) as child:
        until(lambda: len(evals.asked()) >= 4, 30, child)
        child.kill()
        child.wait()
    kept = evals.answered()
    assert 3 <= len(kept) < 8
    before = evals.asked()
    done = evals.here([*command, "--resume"])
    assert "8/8" in done.stderr
    after = evals.asked()
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert sorted(evals.answered()) == sorted(set(evals.answered()))
    told = json.loads((tmp_path / "battery.json").read_text("utf-8"))
    assert told["summary"]["answered"] == 8
    page = (tmp_path / "battery" / "report.html").read_text("utf-8")
    assert page.startswith("<!doctype html>") or page.startswith("<!DOCTYPE html>")


def test_a_429_that_never_ends_loses_nothing(evals: Evals, tmp_path: Path):
    """From question 39 on the endpoint refuses."""
    last = list(QUESTIONS)[38:]
    closed = True
    says = dict(evals.served.script.says)

    def limited(expert: str) -> Any:
        def reply(request: dict[str, Any]) -> Any:
            late = any(QUESTIONS[name] in request["user"] for name in last)
            return TOO_MANY if late and closed else says[expert]

        return reply

    evals.served.script.says |= {expert: limited(expert) for expert in EIGHT}
    command = evals.philosophy("--concurrency", "4")
    evals.here(command)
    told = json.loads((tmp_path / "battery.json").read_text("utf-8"))
    assert (told["summary"]["answered"], told["summary"]["simulated"]) == (38, 2)
    kept, before = evals.answered(), evals.asked()
    closed = False
    evals.here([*command, "--resume"])
    after = evals.asked()
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert len(kept) == 38
    told = json.loads((tmp_path / "battery.json").read_text("utf-8"))
    assert (told["summary"]["answered"], told["summary"]["simulated"]) == (40, 0)


# ---- nothing leaves the machine


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [{}, {"LANGSMITH_TRACING": "true", "LANGCHAIN_TRACING_V2": "true", "LANGSMITH_API_KEY": ""}],
)
def test_without_a_key_nothing_leaves_the_machine(evals: Evals, tmp_path: Path, more):
    log = tmp_path / "guard.log"
    port = evals.served.url.rsplit(":", 1)[1].removesuffix("/v1")
    evals.served.script.says |= {"# Judge: rubric": '{"met": [true, true, true]}'}
    command = evals.philosophy("--quick", "--end-level", "2", "--judge", "hyperbolic:judge")
    done = evals.run(
        command,
        PYTHONPATH=os.pathsep.join([str(GUARD), str(REPO)]),
        GUARD_LOG=str(log),
        GUARD_PORTS=port,
        **more,
    )
    assert not log.exists(), log.read_text()
    assert "2/2" in done.stderr
    assert "langsmith" not in done.stderr.lower()
    assert json.loads((tmp_path / "battery.json").read_text("utf-8"))["summary"]["answered"] == 2


def test_the_guard_guards(tmp_path: Path):
    log = tmp_path / "guard.log"
    code = "import socket\ntry: socket.create_connection(('127.0.0.1', 9))\nexcept OSError: pass\n"
    code += "try: socket.getaddrinfo('example.org', 443)\nexcept OSError: pass\n"
    environment = plain_environment(
        tmp_path, PYTHONPATH=str(GUARD), GUARD_LOG=str(log), GUARD_PORTS="1"
    )
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=20)
    assert log.read_text() == "connect ('127.0.0.1', 9)\nlook-up example.org\n"


# ---- with a LangSmith


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    with langsmith() as kept:
        yield kept


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    path = tmp_path / "own.jsonl"
    rows = [{"question": f"Why is {SECRET_QUESTION} number {n}?", "answer": SECRET_ANSWER}
            for n in range(2)]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.mark.slow
def test_langsmith_gets_a_dataset_and_an_experiment_for_each_arm(
    evals: Evals, recorded: Recorded, dataset: Path
):
    words = ("--dataset", str(dataset), "--arms", "swarm,single", "--repetitions", "2")
    keys = {"LANGSMITH_API_KEY": "ls-canary", "LANGSMITH_ENDPOINT": recorded.url}
    evals.run(evals.compare(*words), **keys)
    (made,) = recorded.datasets.values()
    assert made["name"] == f"swarm-brain/own/{content_hash(load(dataset))}"
    rows = list(recorded.examples.values())
    assert sorted(row["inputs"]["id"] for row in rows) == ["own-1", "own-2"]
    assert all(SECRET_QUESTION in row["inputs"]["question"] for row in rows)
    assert all(row["outputs"]["answer"] == SECRET_ANSWER for row in rows)

    swarm, single = recorded.sessions.values()
    assert re.fullmatch(r"own-swarm-\w+", swarm["name"])
    assert re.fullmatch(r"own-single-\w+", single["name"])
    for session in (swarm, single):
        told = session["extra"]["metadata"]
        assert told["topology"] == load_topology().hash
        assert (told["model"], told["seed"], told["effort"]) == ("hyperbolic:m", 0, "high")
        assert "commit" in told
        assert session["reference_dataset_id"] == made["id"]

    targets = [run for run in recorded.runs.values() if run["dotted_order"].count(".") == 0
               and run.get("session_name") == swarm["name"]]  # fmt: skip
    assert len(targets) == 4
    for target in targets:
        brains = [run for run in recorded.children(target) if run["name"] == "brain"]
        assert len(brains) == 1
        assert {run["name"] for run in recorded.children(brains[0])} == {"begin", *EIGHT, "finish"}
        calls = [run for run in recorded.below(target) if run["run_type"] == "llm"]
        assert len(calls) == 8
        for call in calls:
            usage = call["outputs"]["llm_output"]["token_usage"]
            assert usage["prompt_tokens"] > 0
            assert usage["completion_tokens"] > 0
        assert target["end_time"]
    alone = [run for run in recorded.runs.values() if run.get("session_name") == single["name"]]
    assert Counter(run["run_type"] for run in alone)["llm"] == 4

    keyed = Counter(row["key"] for row in recorded.feedback)
    assert keyed == {"correct": 8, "extracted": 8, "answered": 8, "tokens": 8}
    about = {row["run_id"] for row in recorded.feedback}
    assert {target["id"] for target in targets} <= about
    assert recorded.unknown == []
    everything = b"\n".join(recorded.raw)
    assert CANARY.encode() not in everything
    assert b"ls-canary" not in everything

    # A second run finds the dataset; a part of it that is missing is made up for.
    recorded.examples.popitem()
    evals.run(evals.compare(*words[:-2], output="again"), **keys)
    assert len(recorded.datasets) == 1
    assert len(recorded.examples) == 2
    assert len(recorded.sessions) == 4
    assert Counter(recorded.calls)["POST /datasets"] == 1


@pytest.mark.slow
def test_what_a_judge_says_reaches_the_runs_it_is_about(evals: Evals, recorded: Recorded):
    def judged(request: dict[str, Any]) -> str:
        points = request["user"].count("\n1. ") + request["user"].count("\n2. ")
        points += sum(request["user"].count(f"\n{n}. ") for n in range(3, 10))
        return json.dumps({"met": [True] * points})

    evals.served.script.says["# Judge: rubric"] = judged
    words = ("--quick", "--end-level", "1", "--judge", "hyperbolic:judge")
    keys = {"LANGSMITH_API_KEY": "ls-canary", "LANGSMITH_ENDPOINT": recorded.url}
    evals.run(evals.philosophy(*words), **keys)
    named = "philosophy-swarm"
    ours = [run for run in recorded.runs.values() if str(run.get("session_name")).startswith(named)]
    (target,) = [run for run in ours if run["dotted_order"].count(".") == 0]
    (told,) = [row for row in recorded.feedback if row["key"] == "rubric"]
    assert (told["run_id"], told["score"]) == (target["id"], 1)


@pytest.mark.slow
def test_what_is_hidden_stays_hidden(evals: Evals, recorded: Recorded, dataset: Path):
    telling = ("perception", "reasoning", "creative", "analytical", "synthesis", "# Arm: answer")
    told = f"Because of {SECRET_ANSWER}.\nAnswer: {SECRET_ANSWER}"
    evals.served.script.says |= dict.fromkeys(telling, told)
    evals.run(
        evals.compare("--dataset", str(dataset), "--arms", "swarm,single"),
        LANGSMITH_API_KEY="ls-canary",
        LANGSMITH_ENDPOINT=recorded.url,
        LANGSMITH_HIDE_INPUTS="true",
        LANGSMITH_HIDE_OUTPUTS="true",
    )
    everything = b"\n".join(recorded.raw)
    assert len(recorded.runs) > 20
    assert everything.count(SECRET_QUESTION.encode()) == 0
    assert everything.count(SECRET_ANSWER.encode()) == 0
    assert Counter(row["key"] for row in recorded.feedback)["correct"] == 4
    assert {row.get("score") for row in recorded.feedback if row["key"] == "correct"} == {1}


@pytest.mark.slow
def test_a_langsmith_that_refuses_is_named(evals: Evals, dataset: Path):
    done = subprocess.run(
        evals.compare("--dataset", str(dataset), "--arms", "swarm"),
        cwd=evals.folder,
        env=evals.environment(
            LANGSMITH_API_KEY="ls-canary", LANGSMITH_ENDPOINT="http://127.0.0.1:9"
        ),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "LangSmith" in done.stderr
    assert "Traceback" not in done.stderr
    assert "ls-canary" not in done.stderr
    assert not evals.served.script.requests
