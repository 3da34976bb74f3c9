"""LangSmith: datasets, experiments and evaluators; without a key the same evaluators, at home.

`aevaluate` sends what it evaluates even when told not to upload results, unless its client samples
nothing; so without a key the client leads nowhere and samples nothing (see `client_of`).
"""

from __future__ import annotations

import io
import uuid
import warnings
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import langsmith
from langsmith import schemas
from langsmith.utils import LangSmithError, get_env_var

from swarm_brain.config import variable
from swarm_brain.evals.cases.examples import Example, content_hash, prompt
from swarm_brain.graph.errors import ModelUnavailable

NOWHERE = "http://127.0.0.1:9"  # the discard port: nobody listens there
NAMESPACE = uuid.UUID("6f6c1f6e-0d0c-5a55-9a3b-6d1f2f4f7d11")  # of the examples' ids
Target = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
Outputs = Mapping[str, Any]


@dataclass(frozen=True)
class Place:
    """Where an experiment goes: LangSmith if there is a key, else nowhere."""

    client: langsmith.Client
    upload: bool


def place_of() -> Place:
    """LangSmith where LANGSMITH_API_KEY is set."""
    if variable("LANGSMITH_API_KEY"):
        return Place(langsmith.Client(), True)
    client = langsmith.Client(
        api_url=NOWHERE, api_key="none", auto_batch_tracing=False, tracing_sampling_rate=0.0
    )
    return Place(client, False)


@contextmanager
def kept_home(place: Place) -> Iterator[None]:
    """Without a key nothing is traced, whatever LANGSMITH_TRACING says; nor are a judge's calls."""
    with nullcontext() if place.upload else langsmith.tracing_context(enabled=False):
        yield


@contextmanager
def _told() -> Iterator[None]:
    """Failures of LangSmith's, said in one line."""
    try:
        yield
    except LangSmithError as error:
        said = str(error).partition("\n")[0][:300]
        raise ModelUnavailable(
            f"LangSmith: {said}", "Mend that, or unset LANGSMITH_API_KEY to stay at home."
        ) from None


def rows(
    examples: Sequence[Example], dataset: uuid.UUID, hidden: Sequence[str] = ()
) -> list[schemas.Example]:
    """Examples as LangSmith has them, without what is hidden; the id stands for the question."""
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
    """What LANGSMITH_HIDE_INPUTS and _HIDE_OUTPUTS keep from LangSmith: then in datasets, too.

    LangSmith's client, which hides it in runs, also heeds their old names LANGCHAIN_HIDE_*.
    """
    said = {
        "inputs": variable("LANGSMITH_HIDE_INPUTS") or get_env_var("HIDE_INPUTS"),
        "outputs": variable("LANGSMITH_HIDE_OUTPUTS") or get_env_var("HIDE_OUTPUTS"),
    }
    return [part for part, value in said.items() if value == "true"]


def dataset_name(name: str, examples: Sequence[Example], hidden: Sequence[str] = ()) -> str:
    """A dataset's name in LangSmith: with the hash of its content, so that it never changes."""
    without = f"/without-{'-'.join(hidden)}" if hidden else ""
    return f"swarm-brain/{name}/{content_hash(examples)}{without}"


def uploaded(place: Place, name: str, examples: Sequence[Example]) -> str:
    """The dataset's name in LangSmith, created there if it is missing, with what it lacks."""
    client, hidden = place.client, hidden_parts()
    full = dataset_name(name, examples, hidden)
    if client.has_dataset(dataset_name=full):
        dataset = client.read_dataset(dataset_name=full).id
        there = {row.id for row in client.list_examples(dataset_id=dataset)}
    else:
        said = f"{len(examples)} questions of Swarm Brain's evals"
        dataset, there = client.create_dataset(full, description=said).id, set()
    missing = [row for row in rows(examples, dataset, hidden) if row.id not in there]
    if missing:  # a run that was killed may have left a dataset without its examples
        fields = ("id", "inputs", "outputs", "metadata")
        client.create_examples(
            dataset_id=dataset,
            examples=[{field: getattr(row, field) for field in fields} for row in missing],
        )
    return full


# ---- evaluators: what each feedback means


def correct(outputs: Outputs) -> dict[str, Any]:
    """Whether the extracted answer is the key; no score where that cannot be said."""
    right = outputs.get("correct")
    return {"key": "correct", "score": None if right is None else int(right)}


def extracted(outputs: Outputs) -> dict[str, Any]:
    """Whether an answer could be read from the reply; no score for an open question."""
    found = int(outputs.get("extracted") is not None)
    return {"key": "extracted", "score": None if outputs.get("kind") == "open" else found}


def answered(outputs: Outputs) -> dict[str, Any]:
    """Whether a model answered: 0 for a simulation."""
    return {"key": "answered", "score": int(outputs.get("provenance") != "simulated")}


def spent(outputs: Outputs) -> dict[str, Any]:
    """Input plus output tokens."""
    known = (outputs.get("input_tokens") or 0) + (outputs.get("output_tokens") or 0)
    return {"key": "tokens", "score": known}


EVALUATORS = (correct, extracted, answered, spent)


async def evaluated(
    place: Place,
    name: str,
    arm: str,
    target: Target,
    examples: Sequence[Example],
    *,
    repetitions: int,
    concurrency: int,
    metadata: Mapping[str, Any],
) -> None:
    """Run `target` over the examples as one experiment of LangSmith's, or likewise at home.

    Raises ModelUnavailable if LangSmith refuses.
    """
    evaluators: Any = list(EVALUATORS)
    with _told(), _silent():
        data: Any = (
            uploaded(place, name, examples) if place.upload else rows(examples, uuid.UUID(int=0))
        )
        await langsmith.aevaluate(
            target,
            data=data,
            evaluators=evaluators,
            experiment_prefix=f"{name}-{arm}",
            metadata={**metadata, "arm": arm},
            max_concurrency=concurrency,
            num_repetitions=repetitions,
            upload_results=place.upload,
            client=place.client,
        )
        place.client.flush()


def run_id(place: Place) -> str | None:
    """The id that LangSmith gives the run in progress; None at home."""
    run = langsmith.get_current_run_tree() if place.upload else None
    return str(run.id) if run else None


def tell(place: Place, key: str, scores: Mapping[str, float]) -> None:
    """Feedback on runs that have ended, by their ids: what was judged when all had answered.

    Raises ModelUnavailable if LangSmith refuses.
    """
    if not place.upload:
        return
    with _told():
        for run, score in scores.items():
            place.client.create_feedback(run_id=run, key=key, score=score)
        place.client.flush()


@contextmanager
def _silent() -> Iterator[None]:
    """Without the bars and notes that LangSmith prints beside ours."""
    sink = io.StringIO()
    with redirect_stdout(sink), redirect_stderr(sink), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
