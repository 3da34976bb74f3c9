"""The philosophy battery: 40 questions in 8 levels, `python -m evals.philosophy`.

Writes {config, levels, summary} as JSON, a report beside it, and every answer when it comes.
"""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from swarm_brain.api import LOCAL_MODEL
from swarm_brain.cli.options import settings_of, with_settings
from swarm_brain.config import key_for, use_keys
from swarm_brain.evals import report
from swarm_brain.evals.cases.examples import Example, load
from swarm_brain.evals.experiment import Wanted, experiment
from swarm_brain.evals.options import (
    EXCLUDED,
    Concurrency,
    Judge,
    JudgeUrl,
    Resume,
    SelfJudge,
    command_line,
    run,
)
from swarm_brain.evals.report.analysis import SWARM
from swarm_brain.graph.context import make_context
from swarm_brain.graph.errors import ConfigError
from swarm_brain.graph.loading import load as load_topology

DATASET = Path(__file__).parent / "datasets" / "philosophy.jsonl"
LEVELS = 8
OUTPUT = Path("eval-results/philosophy.json")

err = Console(stderr=True, highlight=False)


def chosen(start: int, end: int, each: int | None) -> list[Example]:
    """The questions of these levels, `each` of them a level. Raises ConfigError."""
    if not 1 <= start <= end <= LEVELS:
        raise ConfigError(f"levels run from 1 to {LEVELS}, and start before they end")
    found: list[Example] = []
    for level in range(start, end + 1):
        questions = [example for example in load(DATASET) if example.level == level]
        found += questions[:each]
    return found


def model_of(
    model: str | None, use_api: bool, load_models: bool, keys: Mapping[str, str]
) -> tuple[str, str | None]:
    """Who answers, and a note if that is only the simulation."""
    if model:
        return model, None
    if load_models:
        return f"huggingface:{LOCAL_MODEL}", None
    if not use_api and not keys:
        return "auto", None
    with use_keys(keys):
        if key_for("hyperbolic", "HYPERBOLIC_API_KEY"):
            return "hyperbolic:", None
    return "simulation:", "no API key: give --api-key or set HYPERBOLIC_API_KEY; simulated"


def battery(data: Mapping[str, Any], examples: Sequence[Example]) -> dict[str, Any]:
    """The report's data in the battery's own form."""
    asked = {question["id"]: question for question in data["questions"]}
    levels: dict[int, dict[str, Any]] = {}
    for example in examples:
        level = levels.setdefault(
            example.level or 0,
            {"level": example.level, "name": example.level_name, "questions": []},
        )
        level["questions"].append(_entry(example, asked[example.id]["arms"][SWARM]))
    (arm,) = data["arms"]
    config = {key: data[key] for key in ("model", "judge", "settings", "topology", "commit",
                                         "version", "seed", "dataset", "command")}  # fmt: skip
    return {"config": config, "levels": list(levels.values()), "summary": arm}


def _entry(example: Example, given: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One question with its first answer; a simulated one has no words, and no score."""
    if not given:
        return {"id": example.id, "question": example.question, "answer": None}
    told = given[0]
    trace = told["trace"]
    met = told["rubric"] or [None] * len(example.rubric)
    points = [{"point": p, "met": m} for p, m in zip(example.rubric, met, strict=True)]
    usage = {key: told[key] for key in ("calls", "input_tokens", "output_tokens", "cost_usd")}
    return {
        "id": example.id,
        "question": example.question,
        "answer": told["text"] or None,
        "provenance": told["provenance"],
        "experts": [{"name": s["expert"], "step": s["step"], "status": s["status"]} for s in trace],
        "steps": max((signal["step"] for signal in trace), default=0),
        "duration_s": told["duration_s"],
        "usage": usage,
        "rubric": points,
        "score": told["score"],
        "error": told["error"],
    }


def folder_of(output: Path) -> Path:
    """The folder beside the JSON. Raises ConfigError if the JSON's own place is a folder."""
    if output.is_dir():
        raise ConfigError(f"{output} is a folder; --output names the JSON file.")
    folder = output.with_suffix("")
    return folder if folder != output else output.with_name(f"{output.name}-answers")


app = command_line()


@app.command(cls=with_settings(without=EXCLUDED))
def main(
    context: typer.Context,
    use_api: Annotated[bool, typer.Option("--use-api", help="Ask Hyperbolic.")] = False,
    api_key: Annotated[str | None, typer.Option(help="Its key; stays in this process.")] = None,
    load_models: Annotated[
        bool, typer.Option("--load-models", help="Ask the local HuggingFace pipeline.")
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="One question a level.")] = False,
    start_level: Annotated[int, typer.Option(help="1 to 8.")] = 1,
    end_level: Annotated[int, typer.Option(help="1 to 8.")] = LEVELS,
    questions_per_level: Annotated[int | None, typer.Option(min=1, max=5)] = None,
    judge: Judge = None,
    judge_base_url: JudgeUrl = None,
    allow_self_judge: SelfJudge = False,
    output: Annotated[
        Path, typer.Option(help="The JSON; a folder of its name beside it.")
    ] = OUTPUT,
    concurrency: Concurrency = 4,
    resume: Resume = False,
) -> None:
    """Ask the battery; rubrics are scored by a judge, or left ungraded."""
    keys = {"hyperbolic": api_key.strip()} if api_key and api_key.strip() else {}
    settings = settings_of(context)
    settings["model"] = _model(settings.get("model"), use_api, load_models, keys)
    wanted = Wanted(
        "philosophy",
        chosen(start_level, end_level, 1 if quick else questions_per_level),
        [SWARM],
        make_context({**settings, "use_memory": False}),
        load_topology(),
        folder_of(output),
        concurrency=concurrency,
        resume=resume,
        judge=judge,
        judge_base_url=judge_base_url,
        self_judge=allow_self_judge,
        command=_command(),
    )
    _run(wanted, keys, output)


def _model(model: str | None, use_api: bool, load_models: bool, keys: Mapping[str, str]) -> str:
    spec, note = model_of(model, use_api, load_models, keys)
    if note:
        err.print(note, style="yellow", markup=False)
    return spec


def _run(wanted: Wanted, keys: Mapping[str, str], output: Path) -> None:
    under: AbstractContextManager[None] = use_keys(keys) if keys else nullcontext()
    with under:
        data = asyncio.run(experiment(wanted, err))
    text = json.dumps(battery(data, wanted.examples), ensure_ascii=False, indent=1)
    output.write_text(text, "utf-8")
    typer.echo(report.summary(data))
    err.print(f"written: {output}, {wanted.output / 'report.html'}", soft_wrap=True)


def _command() -> str:
    """The command line, without a key that stands in it."""
    words = list(sys.argv[1:])
    for at, word in enumerate(words):
        if word == "--api-key" and at + 1 < len(words):
            words[at + 1] = "..."
        elif word.startswith("--api-key="):
            words[at] = "--api-key=..."
    return shlex.join(["python", "-m", "evals.philosophy", *words])


if __name__ == "__main__":
    run(app)
