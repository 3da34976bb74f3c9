"""LangSmith datasets, experiments and evaluators; local without a key.

`aevaluate` sends what it evaluates even with `upload_results=False`, unless its client samples
nothing. So without a key the client has no server and samples nothing (see `find_tracker`).
"""

from __future__ import annotations

import io
import uuid
import warnings
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime

import langsmith
from langsmith import schemas
from langsmith.utils import LangSmithError, get_env_var

from swarm_brain.config import variable
from swarm_brain.evals.cases.examples import Example, content_hash, prompt
from swarm_brain.evals.record_file import AnswerRecord, tokens_of
from swarm_brain.graph.errors import ModelUnavailable

NOWHERE = "http://127.0.0.1:9"  # the discard port: nobody listens there
NAMESPACE = uuid.UUID("6f6c1f6e-0d0c-5a55-9a3b-6d1f2f4f7d11")  # of the examples' ids
Inputs = dict[str, str]
Feedback = dict[str, object]  # a score under a name; None where there is nothing to score
Target = Callable[[Inputs], Awaitable[dict[str, object]]]


@dataclass(frozen=True)
class Tracker:
    """Where experiments are recorded: in LangSmith if `upload`, else nowhere."""

    client: langsmith.Client
    upload: bool


def find_tracker() -> Tracker:
    """Return LangSmith's tracker if LANGSMITH_API_KEY is set, else a silent one."""
    if variable("LANGSMITH_API_KEY"):
        return Tracker(langsmith.Client(), True)
    client = langsmith.Client(
        api_url=NOWHERE, api_key="none", auto_batch_tracing=False, tracing_sampling_rate=0.0
    )
    return Tracker(client, False)


@contextmanager
def tracing_only_with_key(tracker: Tracker) -> Iterator[None]:
    """Trace nothing without a key, whatever LANGSMITH_TRACING says."""
    with nullcontext() if tracker.upload else langsmith.tracing_context(enabled=False):
        yield


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """Raise LangSmith's errors as ModelUnavailable, in one line."""
    try:
        yield
    except LangSmithError as error:
        message = str(error).partition("\n")[0][:300]
        raise ModelUnavailable(
            f"LangSmith: {message}", "Fix that, or unset LANGSMITH_API_KEY to run locally."
        ) from None


def rows(
    examples: Sequence[Example], dataset: uuid.UUID, hidden: Sequence[str] = ()
) -> list[schemas.Example]:
    """Return the examples in LangSmith's form, without hidden parts."""
    return [
        schemas.Example(
            id=uuid.uuid5(NAMESPACE, f"{dataset}/{example.id}"),
            dataset_id=dataset,
            inputs={"id": example.id}
            | ({} if "inputs" in hidden else {"question": prompt(example)}),
            outputs={}
            if "outputs" in hidden
            else {"answer": example.answer, "rubric": list(example.rubric)},
            metadata={"group": example.group, "level": example.level},
            created_at=datetime.now(UTC),
        )
        for example in examples
    ]


def hidden_parts() -> list[str]:
    """Return the parts hidden by LANGSMITH_HIDE_INPUTS and _HIDE_OUTPUTS.

    They are hidden in datasets here. LangSmith's client, which hides them in runs, also reads the
    old names LANGCHAIN_HIDE_*.
    """
    settings = {
        "inputs": variable("LANGSMITH_HIDE_INPUTS") or get_env_var("HIDE_INPUTS"),
        "outputs": variable("LANGSMITH_HIDE_OUTPUTS") or get_env_var("HIDE_OUTPUTS"),
    }
    return [part for part, value in settings.items() if value == "true"]


def dataset_name(name: str, examples: Sequence[Example], hidden: Sequence[str] = ()) -> str:
    """Return a dataset's name in LangSmith, which includes its content hash."""
    without = f"/without-{'-'.join(hidden)}" if hidden else ""
    return f"swarm-brain/{name}/{content_hash(examples)}{without}"


def upload_dataset(tracker: Tracker, name: str, examples: Sequence[Example]) -> str:
    """Create the dataset in LangSmith, or add missing examples; return its name."""
    client, hidden = tracker.client, hidden_parts()
    full = dataset_name(name, examples, hidden)
    if client.has_dataset(dataset_name=full):
        dataset = client.read_dataset(dataset_name=full).id
        there = {row.id for row in client.list_examples(dataset_id=dataset)}
    else:
        description = f"{len(examples)} questions of Swarm Brain's evals"
        dataset, there = client.create_dataset(full, description=description).id, set()
    missing = [row for row in rows(examples, dataset, hidden) if row.id not in there]
    if missing:  # a killed run may have left a dataset without its examples
        fields = ("id", "inputs", "outputs", "metadata")
        client.create_examples(
            dataset_id=dataset,
            examples=[{field: getattr(row, field) for field in fields} for row in missing],
        )
    return full


# ---- evaluators: what each feedback means


def correct(outputs: AnswerRecord) -> Feedback:
    """Score whether the extracted answer is the key; None where that is unknown."""
    right = outputs["correct"]
    return {"key": "correct", "score": None if right is None else int(right)}


def extracted(outputs: AnswerRecord) -> Feedback:
    """Score whether an answer was readable; None for an open question."""
    read = int(outputs["extracted"] is not None)
    return {"key": "extracted", "score": None if outputs["kind"] == "open" else read}


def answered(outputs: AnswerRecord) -> Feedback:
    """Score whether a model answered: 0 for a simulation."""
    return {"key": "answered", "score": int(outputs["provenance"] != "simulated")}


def spent(outputs: AnswerRecord) -> Feedback:
    """Score input plus output tokens."""
    return {"key": "tokens", "score": tokens_of(outputs)}


EVALUATORS = (correct, extracted, answered, spent)


async def evaluate(
    tracker: Tracker,
    name: str,
    arm: str,
    target: Target,
    examples: Sequence[Example],
    *,
    repetitions: int,
    concurrency: int,
    metadata: Mapping[str, object],
) -> None:
    """Run `target` over the examples as one experiment, in LangSmith or locally.

    Raises ModelUnavailable if LangSmith refuses.
    """
    with _one_line_errors(), _silent():
        local = None if tracker.upload else rows(examples, uuid.UUID(int=0))
        await langsmith.aevaluate(
            target,
            data=upload_dataset(tracker, name, examples) if local is None else local,
            evaluators=list(EVALUATORS),
            experiment_prefix=f"{name}-{arm}",
            metadata={**metadata, "arm": arm},
            max_concurrency=concurrency,
            num_repetitions=repetitions,
            upload_results=tracker.upload,
            client=tracker.client,
        )
        tracker.client.flush()


def run_id(tracker: Tracker) -> str | None:
    """Return LangSmith's id of the current run; None without LangSmith."""
    run = langsmith.get_current_run_tree() if tracker.upload else None
    return str(run.id) if run else None


def send_feedback(tracker: Tracker, key: str, scores: Mapping[str, float]) -> None:
    """Send scores of finished runs, by run id.

    Judging begins after all arms have answered. Raises ModelUnavailable if LangSmith refuses.
    """
    if not tracker.upload:
        return
    with _one_line_errors():
        for run, score in scores.items():
            tracker.client.create_feedback(run_id=run, key=key, score=score)
        tracker.client.flush()


@contextmanager
def _silent() -> Iterator[None]:
    """Hide the progress bars and notes that LangSmith prints."""
    sink = io.StringIO()
    with redirect_stdout(sink), redirect_stderr(sink), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
