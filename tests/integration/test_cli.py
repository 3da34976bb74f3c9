"""The command `swarm-brain`: what is written where, and the exit codes."""

from __future__ import annotations

import json
import os
import re
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import fromstring

import pytest

from tests.fakes import Endpoint, endpoint
from tests.integration.commands import TRACEBACK, Finished, run_alone, run_here
from tests.integration.processes import CANARY, free_port, plain_environment

HARD = "Why is the subject what it is?"
SIMPLE = "What does subject mean?"
ANSWER = "The subject is what all of this says.\nVerdict: 42\n"
EIGHT = ["perception", "attention", "memory", "reasoning", "creative", "analytical", "synthesis",
         "meta_cognitive"]  # fmt: skip
# The issue's own words; later issues add keys and rename none.
KEYS = {
    "final_output", "provenance", "stop_reason", "effort", "verdict", "agreement", "dissent",
    "revised", "steps", "model", "thread_id", "recalled", "experts", "usage", "error", "notes",
    "version",
}  # fmt: skip
EXPERT_KEYS = {
    "name", "step", "status", "model", "attempts", "input_tokens", "output_tokens",
    "cached_tokens", "estimated", "cached", "latency_s", "woken_by", "human", "error",
}  # fmt: skip
USAGE_KEYS = {"calls", "input_tokens", "output_tokens", "cached_tokens", "cost_usd"}


@dataclass
class Cli:
    """Run the command in a folder of its own, with a plain environment."""

    folder: Path
    served: Endpoint

    @property
    def here(self) -> tuple[str, ...]:
        """Options that lead to the scripted endpoint."""
        return ("--model", "openai-compatible:m", "--base-url", self.served.url)

    def environment(self, **more: str) -> dict[str, str]:
        key = {"OPENAI_COMPATIBLE_API_KEY": CANARY, "HYPERBOLIC_API_URL": self.served.url}
        return plain_environment(self.folder, **key, **more)

    def __call__(self, *words: str, stdin: str | bytes = b"", **env: str) -> Finished:
        """Run the command in this process."""
        done = run_here(*words, cwd=self.folder, env=self.environment(**env), stdin=stdin)
        assert CANARY not in done.stdout + done.stderr
        return done

    def alone(self, *words: str, stdin: str | bytes = b"", **env: str) -> Finished:
        """Run the command in a process of its own."""
        done = run_alone(*words, cwd=self.folder, env=self.environment(**env), stdin=stdin)
        assert CANARY not in done.stdout + done.stderr
        return done

    def ask(self, question: str, *words: str, **env: str) -> Finished:
        return self("ask", question, *self.here, *words, **env)


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    with endpoint() as served:
        yield Cli(tmp_path, served)


def told_without_traceback(done: Finished, code: int, *words: str) -> None:
    """The exit code is `code`, and standard error alone says these words."""
    assert done.returncode == code, done.stderr
    assert TRACEBACK not in done.stdout + done.stderr
    for word in words:
        assert word in done.stderr


# ---- the answer


def test_piped_answer_stands_alone_on_standard_output(cli: Cli):
    done = cli.alone("ask", SIMPLE, *cli.here)
    told_without_traceback(done, 0, "model openai-compatible:m", "full", "3 steps", "3 calls")
    assert done.stdout == ANSWER
    assert "perception ok, reasoning ok, synthesis ok" in done.stderr
    assert "tokens in" in done.stderr
    assert "cost" in done.stderr


def test_dash_reads_standard_input(cli: Cli):
    done = cli.alone("ask", "-", *cli.here, stdin="What does\nWörter mean?\n")
    assert (done.returncode, done.stdout) == (0, ANSWER)
    assert "What does\nWörter mean?" in cli.served.script.requests[0]["user"]


@pytest.mark.parametrize("question", [HARD, SIMPLE])
def test_json_is_one_object_with_the_documented_keys(cli: Cli, question):
    cli.served.script.says["attention"] = '{"creative": 0.1, "analytical": 0.9}'
    done = cli.ask(question, "--json")
    assert done.returncode == 0
    result = json.loads(done.stdout)  # fails on anything before or after the one object
    assert set(result) == KEYS
    assert all(set(expert) == EXPERT_KEYS for expert in result["experts"])
    assert set(result["usage"]) == USAGE_KEYS
    assert all(set(w) == {"from", "activation"} for e in result["experts"] for w in e["woken_by"])
    assert result["usage"]["calls"] == len(cli.served.bodies)
    assert result["usage"]["cost_usd"] is None  # unknown is null
    assert (result["provenance"], result["stop_reason"]) == ("full", "complete")
    statuses = {e["name"]: e["status"] for e in result["experts"]}
    if question == HARD:
        assert statuses == dict.fromkeys(EIGHT, "ok") | {"creative": "skipped"}
    else:
        assert statuses == dict.fromkeys(("perception", "reasoning", "synthesis"), "ok")


def test_simulation_alone_ends_with_3_and_says_so(cli: Cli):
    done = cli("ask", SIMPLE, "--model", "simulation:")
    told_without_traceback(done, 3, "simulated")
    assert done.stdout.startswith("[simulated]")


def test_nobody_listening_gives_a_labelled_simulation_within_30_seconds(cli: Cli):
    url = f"http://127.0.0.1:{free_port()}/v1"
    started = time.monotonic()
    done = cli("ask", HARD, "--model", "openai-compatible:m", "--base-url", url, "--json")
    assert time.monotonic() - started < 30
    told_without_traceback(done, 3)
    result = json.loads(done.stdout)
    assert (result["provenance"], result["stop_reason"]) == ("simulated", "failed")
    assert result["final_output"].startswith("[simulated]")
    assert url in result["error"]
    assert result["usage"]["output_tokens"] is None
    assert result["usage"]["calls"] == sum(e["attempts"] for e in result["experts"]) > 0


def test_failed_expert_degrades_and_strict_makes_it_an_error(cli: Cli):
    echo = json.dumps({"error": {"message": f"bad key {CANARY}"}})
    cli.served.script.says["reasoning"] = (401, {}, echo)
    degraded, strict = (cli.ask(HARD, *words) for words in ((), ("--strict",)))
    debug = cli.alone("ask", HARD, *cli.here, "--strict", "--debug")
    told_without_traceback(degraded, 0, "degraded", "reasoning", "401")
    assert degraded.stdout == ANSWER
    told_without_traceback(strict, 1, "reasoning", "401")
    assert strict.stdout == ""
    assert (debug.returncode, debug.stdout) == (1, "")
    assert TRACEBACK in debug.stderr
    assert "ExpertFailed" in debug.stderr


def test_strict_json_still_counts_what_was_asked(cli: Cli):
    cli.served.script.says["reasoning"] = (401, {}, "{}")
    done = cli.ask(SIMPLE, "--strict", "--json")
    assert done.returncode == 1
    result = json.loads(done.stdout)
    assert set(result) == KEYS
    assert set(result["usage"]) == USAGE_KEYS
    assert (result["final_output"], result["stop_reason"]) == (None, "failed")
    assert "reasoning" in result["error"]
    assert result["usage"]["calls"] in (len(cli.served.bodies), None)  # never a false 0


# ---- wrong usage


# Words, then the exit code and what standard error must say.
WRONG: dict[tuple[str, ...], tuple[int, str]] = {
    ("ask", SIMPLE, "--no-such"): (2, "--no-such"),
    ("ask",): (2, "question"),
    ("asq", SIMPLE): (2, "asq"),
    ("ask", SIMPLE, "--max-steps", "many"): (2, "--max-steps"),
    ("ask", SIMPLE, "--max-steps", "0"): (2, "--max-steps"),
    ("ask", SIMPLE, "--effort", "big"): (2, "--effort"),
    ("ask", SIMPLE, "--model", "nonsense"): (2, "provider:model"),
    ("ask", SIMPLE, "--model", "openai-compatible:m"): (2, "--base-url"),
    ("ask", SIMPLE, "--expert-model", "synthesis"): (2, "NAME=VALUE"),
    ("ask", SIMPLE, "--expert-model", "nobody=simulation:"): (2, "nobody"),
    ("ask", SIMPLE, "--topology", "none.yaml"): (2, "none.yaml"),
    ("ask", " \n"): (2, "empty"),
    ("models", "pull", "nonsense"): (2, "embedded:smollm2-135m"),
    ("ask", SIMPLE, "--model", "hyperbolic:"): (1, "HYPERBOLIC_API_KEY"),
    ("ask", SIMPLE, "--model", "anthropic:claude"): (1, "langchain-anthropic"),
    ("ask", SIMPLE, "--model", "embedded:/no/such.gguf"): (1, "/no/such.gguf"),
}


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, ...], Any]]:
    """All of WRONG, with an endpoint that none of them may ask."""
    with endpoint() as served:
        cli = Cli(tmp_path_factory.mktemp("wrong"), served)
        yield {words: cli(*words, SWARM_BRAIN_MODEL="simulation:") for words in WRONG}
        assert served.bodies == []


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_wrong_usage_ends_with_its_code_and_says_what(wrong, words):
    told_without_traceback(wrong[words], *WRONG[words])
    assert wrong[words].stdout == ""


def test_a_process_ends_with_the_code_of_wrong_usage(cli: Cli):
    words = ("ask", SIMPLE, "--no-such")
    done = cli.alone(*words)
    told_without_traceback(done, *WRONG[words])
    assert done.stdout == ""


def test_blank_standard_input_ends_with_2_and_json_is_still_one_object(cli: Cli):
    done = cli("ask", "-", *cli.here, "--json", stdin="\n \n")
    told_without_traceback(done, 2, "empty")
    assert set(json.loads(done.stdout)) == KEYS
    assert cli.served.bodies == []


@pytest.mark.parametrize("how", ["argument", "standard input"])
def test_question_that_is_no_text_is_an_error_without_traceback(cli: Cli, how):
    if how == "argument":
        done = cli.alone("ask", os.fsdecode(b"What is \xff?"), *cli.here)
    else:
        done = cli.alone("ask", "-", *cli.here, stdin=b"What is \xff\xfe?")
    assert done.returncode in (0, 1, 2)
    assert TRACEBACK not in done.stderr


# ---- settings


def test_options_reach_the_endpoint(cli: Cli):
    with endpoint() as other:
        done = cli.ask(
            SIMPLE, "--effort", "high", "--max-steps", "3", "--max-tokens", "99", "--temperature",
            "0.2", "--top-p", "0.6", "--seed", "7", "--timeout", "20", "--no-memory",
            "--no-workspace", "--expert-model", "creative=lab:big", "--expert-model",
            "analytical=lab:other", "--json",
            SWARM_BRAIN_CONFIG=str(_lab(cli.folder, other)),
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["steps"], result["stop_reason"]) == (3, "max_steps")
    assert result["provenance"] == "degraded"
    assert sorted(body["model"] for body in other.bodies) == ["big", "other"]
    assert sorted(cli.served.script.askers) == sorted(
        ["perception", "attention", "memory", "reasoning", "synthesis"]
    )
    for body in [*cli.served.bodies, *other.bodies]:
        drawn = body["max_tokens"], body["temperature"], body["top_p"], body["seed"]
        assert drawn == (99, 0.2, 0.6, 7)
    assert not any('from="memory"' in r["user"] for r in cli.served.script.of("synthesis"))


def _lab(folder: Path, served: Endpoint) -> Path:
    """A settings file that names the endpoint `lab`."""
    path = folder / "own.toml"
    path.write_text(f'[providers.lab]\nbase_url = "{served.url}"\n')
    return path


def test_ninth_expert_is_one_prompt_and_one_entry(cli: Cli, tmp_path: Path):
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "sceptic.md").write_text(
        "# Expert: sceptic (doubts)\n\nWrite a complete answer that doubts. End with a Verdict."
    )
    (tmp_path / "nine.yaml").write_text(
        "extends: eight\n"
        "experts:\n"
        "  sceptic: {kind: proposer, woken_by: [{from: attention, effort: high}]}\n"
        "  synthesis:\n"
        "    woken_by:\n"
        "      - {from: reasoning}\n"
        "      - {from: creative}\n"
        "      - {from: analytical}\n"
        "      - {from: sceptic}\n"
    )
    cli.served.script.says["sceptic"] = "One may doubt all of it.\nVerdict: 41"
    done = cli.ask(HARD, "--topology", "nine.yaml", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert sorted(e["name"] for e in result["experts"]) == sorted([*EIGHT, "sceptic"])
    assert result["usage"]["calls"] == 9
    assert result["dissent"] == ["sceptic: 41"]
    assert "One may doubt all of it." in cli.served.script.of("synthesis")[0]["user"]
    picture = cli("graph", "--topology", "nine.yaml")
    assert re.search(r"attention -\. .*sceptic.* \.-> sceptic", picture.stdout)


def test_env_file_of_the_working_folder_is_read_and_the_environment_goes_first(cli: Cli):
    (cli.folder / ".env").write_text(
        f"HYPERBOLIC_API_KEY={CANARY}\nHYPERBOLIC_API_URL=http://127.0.0.1:9/\nSWARM_BRAIN_MODEL=\n"
    )
    done = cli("ask", SIMPLE, "--json")  # HYPERBOLIC_API_URL is in the environment too
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["model"].startswith("hyperbolic:meta-llama/")
    assert "HYPERBOLIC_API_KEY is set" in done.stderr  # which model, and why
    assert {h["authorization"] for h in cli.served.headers} == {f"Bearer {CANARY}"}


# ---- the other commands


def test_doctor_says_that_all_is_well(cli: Cli):
    done = cli("doctor", HYPERBOLIC_API_KEY=CANARY)
    told_without_traceback(done, 0)
    for word in ("swarm-brain", "Python", "langgraph 1.", "HYPERBOLIC_API_KEY: set", "hyperbolic:",
                 "HYPERBOLIC_API_KEY is set", cli.served.url, "answers within"):  # fmt: skip
        assert word in done.stdout
    assert "FAIL" not in done.stdout
    assert len(cli.served.bodies) == 1


def test_doctor_names_a_refused_key(cli: Cli):
    echo = json.dumps({"error": {"message": f"Incorrect API key provided: {CANARY}"}})
    cli.served.script.says = {"Reply with one word.": (401, {}, echo)}
    done = cli("doctor", HYPERBOLIC_API_KEY=CANARY)
    told_without_traceback(done, 1)
    assert "FAIL" in done.stdout
    assert "401" in done.stdout
    assert "check HYPERBOLIC_API_KEY" in done.stdout


def test_doctor_names_an_address_where_nobody_listens(cli: Cli):
    url = f"http://127.0.0.1:{free_port()}/v1"
    done = cli("doctor", "--model", "openai-compatible:m", "--base-url", url)
    told_without_traceback(done, 1)
    assert "FAIL" in done.stdout
    assert "Nothing answers at this address" in done.stdout
    lines = [line for line in done.stdout.splitlines() if line.startswith("ok") and url in line]
    assert lines == [], "an endpoint that does not answer is not ok"


def test_models_list_and_pull(cli: Cli, weights: Path):
    listed = cli("models", "list")
    told_without_traceback(listed, 0)
    for word in ("hyperbolic:", "openai-compatible:", "embedded:smollm2-135m", "huggingface:",
                 "simulation:", str(weights), "auto uses"):  # fmt: skip
        assert word in listed.stdout
    pulled = cli("models", "pull", "embedded:smollm2-135m")
    told_without_traceback(pulled, 0)
    assert pulled.stdout == f"{weights}\n"


def test_graph_prints_mermaid(cli: Cli):
    done = cli("graph")
    told_without_traceback(done, 0)
    assert "graph TD;" in done.stdout
    assert all(f"\t{name}({name})" in done.stdout for name in EIGHT)
    assert re.search(r"meta_cognitive -\. .*quoted defect.* \.-> synthesis", done.stdout)


def test_graph_draws_svg_and_png(cli: Cli):
    done = cli("graph", "--svg", "-", "--png", "eight.png")
    told_without_traceback(done, 0)
    drawn = fromstring(done.stdout)
    assert [float(drawn.get(name)) for name in ("width", "height")] == [
        float(size) for size in drawn.get("viewBox").split()[2:]
    ]
    data = (cli.folder / "eight.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    assert width == pytest.approx(2 * float(drawn.get("width")), abs=2)
    assert height == pytest.approx(2 * float(drawn.get("height")), abs=2)
