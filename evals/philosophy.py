"""Ask the 40 questions of the philosophy battery: `python -m evals.philosophy`.

Writes {config, levels, summary} as JSON, a report beside it, and every answer as it comes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from swarm_brain.api import LOCAL_MODEL
from swarm_brain.cli.options import settings_of
from swarm_brain.config import key_for, use_keys
from swarm_brain.evals import options
from swarm_brain.evals.arms.registry import SWARM
from swarm_brain.evals.cases.examples import Example, load
from swarm_brain.evals.experiment import ExperimentConfig
from swarm_brain.evals.report.data import AnswerRow, ReportData
from swarm_brain.graph.context import make_context
from swarm_brain.graph.errors import ConfigError
from swarm_brain.graph.loading import load as load_topology

DATASET = Path(__file__).parent / "datasets" / "philosophy.jsonl"
LEVELS = 8
NO_KEY = "No API key: answers are simulated. Pass --api-key or set HYPERBOLIC_API_KEY."
CONFIG = ("model", "judge", "settings", "topology", "commit", "version", "seed", "dataset",
          "command")  # fmt: skip

UseApi = Annotated[bool, typer.Option("--use-api", help="Ask Hyperbolic.")]
ApiKey = Annotated[str | None, typer.Option(help="Hyperbolic's key; stays in this process.")]
LoadModels = Annotated[
    bool, typer.Option("--load-models", help="Ask the local Hugging Face pipeline.")
]
Quick = Annotated[bool, typer.Option("--quick", help="Ask one question of each level.")]
Level = Annotated[int, typer.Option(help="1 to 8.")]
QuestionsPerLevel = Annotated[int | None, typer.Option(min=1, max=5)]
OutputFile = Annotated[
    Path, typer.Option(help="The JSON file; a folder of the same name is written beside it.")
]


def chosen(start: int, end: int, each: int | None) -> list[Example]:
    """Return the questions of these levels, or `each` of them. Raises ConfigError."""
    if not 1 <= start <= end <= LEVELS:
        raise ConfigError(
            f"levels run from 1 to {LEVELS}, and --start-level is at most --end-level"
        )
    examples = load(DATASET)
    return [
        example
        for level in range(start, end + 1)
        for example in [one for one in examples if one.level == level][:each]
    ]


def model_of(
    model: str | None, use_api: bool, load_models: bool, keys: Mapping[str, str]
) -> tuple[str, str | None]:
    """Return the model, and a note if only the simulation answers."""
    if model:
        return model, None
    if load_models:
        return f"huggingface:{LOCAL_MODEL}", None
    if not use_api and not keys:
        return "auto", None
    with use_keys(keys):
        if key_for("hyperbolic", "HYPERBOLIC_API_KEY"):
            return "hyperbolic:", None
    return "simulation:", NO_KEY


def battery(data: ReportData, examples: Sequence[Example]) -> dict[str, object]:
    """Return the report's data in the battery's own form."""
    questions = {question["id"]: question for question in data["questions"]}
    levels: dict[int, list[dict[str, object]]] = {}
    names: dict[int, str | None] = {}
    for example in examples:
        level = example.level or 0
        names[level] = example.level_name
        entry = _entry(example, questions[example.id]["arms"][SWARM])
        levels.setdefault(level, []).append(entry)
    (arm,) = data["arms"]
    return {
        "config": {key: value for key, value in data.items() if key in CONFIG},
        "levels": [
            {"level": level, "name": names[level], "questions": entries}
            for level, entries in levels.items()
        ],
        "summary": arm,
    }


def _entry(example: Example, answers: Sequence[AnswerRow]) -> dict[str, object]:
    """Return a question with its first answer, without the text of a simulated one."""
    if not answers:
        return {"id": example.id, "question": example.question, "answer": None}
    answer = answers[0]
    trace = answer["trace"]
    met = answer["rubric"] or [None] * len(example.rubric)
    return {
        "id": example.id,
        "question": example.question,
        "answer": answer["text"] or None,
        "provenance": answer["provenance"],
        "experts": [{"name": s["expert"], "step": s["step"], "status": s["status"]} for s in trace],
        "steps": max((signal["step"] for signal in trace), default=0),
        "duration_s": answer["duration_s"],
        "usage": {
            "calls": answer["calls"],
            "input_tokens": answer["input_tokens"],
            "output_tokens": answer["output_tokens"],
            "cost_usd": answer["cost_usd"],
        },
        "rubric": [
            {"point": point, "met": m} for point, m in zip(example.rubric, met, strict=True)
        ],
        "score": answer["score"],
        "error": answer["error"],
    }


def folder_of(output: Path) -> Path:
    """Return the folder beside the JSON file. Raises ConfigError if that is a folder."""
    if output.is_dir():
        raise ConfigError(f"{output} is a folder; --output names the JSON file.")
    folder = output.with_suffix("")
    return folder if folder != output else output.with_name(f"{output.name}-answers")


def main(
    context: typer.Context,
    use_api: UseApi = False,
    api_key: ApiKey = None,
    load_models: LoadModels = False,
    quick: Quick = False,
    start_level: Level = 1,
    end_level: Level = LEVELS,
    questions_per_level: QuestionsPerLevel = None,
    judge: options.Judge = None,
    judge_base_url: options.JudgeUrl = None,
    allow_self_judge: options.SelfJudge = False,
    output: OutputFile = Path("eval-results/philosophy.json"),
    concurrency: options.Concurrency = 4,
    resume: options.Resume = False,
) -> None:
    """Ask the philosophy battery. Without a judge the answers stay ungraded."""
    err = Console(file=sys.stderr, highlight=False)
    keys = {"hyperbolic": api_key.strip()} if api_key and api_key.strip() else {}
    settings = settings_of(context)
    requested = make_context(settings).model if "model" in settings else None
    model, note = model_of(requested, use_api, load_models, keys)
    if note:
        err.print(note, style="yellow", markup=False)
    folder = folder_of(output)
    examples = chosen(start_level, end_level, 1 if quick else questions_per_level)
    config = ExperimentConfig(
        "philosophy", examples, [SWARM],
        make_context(settings | {"model": model, "use_memory": False}), load_topology(), folder,
        concurrency=concurrency, resume=resume, judge=judge, judge_base_url=judge_base_url,
        self_judge=allow_self_judge, command=options.command_line("philosophy"),
    )  # fmt: skip
    with use_keys(keys) if keys else nullcontext():
        data = options.run_and_print(config, err)
    output.write_text(json.dumps(battery(data, examples), ensure_ascii=False, indent=1), "utf-8")
    err.print(f"written: {output}, {folder / 'report.html'}", soft_wrap=True)


app = options.command(main)

if __name__ == "__main__":
    options.start(app)
