"""Choose the similarity floor of the memory: `python -m evals.recall [FILE]`.

Each line of FILE is `{"stored", "asked", "recall", "why"}`: does the stored text help to answer the
question? A stored text is recalled if its cosine similarity is at least the floor. The chosen
floor has the highest F0.5, since a wrong memory hurts more than a missed one; of equal floors the
highest.

The limits of these figures: the model, wordllama, averages static word vectors. It ignores the
order of words ("12 by 144", "144 by 12"), hardly sees a digit or a "not" among other words, has
one vector for a word with two meanings, and does not know that two different words mean the same
in a sentence. So it separates topics, not questions: an unrelated text is far away, but the same
sentence about something else is often nearer than a true paraphrase. Different numbers and a "not"
are kept apart by a rule (swarm_brain/memory/comparable.py), which these figures include; the rule
was tried on these very pairs. No floor fixes the rest, and the halves disagree on the best one. A
floor keeps out the unrelated; the reader of a recalled memory must still judge whether it fits.

The pairs were written to be hard, four in five of the false ones on purpose, and were labelled
before any similarity was computed. Precision and recall describe this file, not everyday use.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from swarm_brain.graph.errors import ModelUnavailable
from swarm_brain.memory import embeddings
from swarm_brain.memory.comparable import comparable

DATASET = Path(__file__).parent / "datasets" / "recall.jsonl"
FLOORS = [percent / 100 for percent in range(50, 100, 5)]
NEVER = -2.0  # a similarity below every floor
EVERYTHING = -1.0  # below every cosine: no floor at all, for comparison


class LabelledPair(NamedTuple):
    """Two texts, whether one should recall the other, their kind and cosine.

    The cosine of two questions that are not comparable (see swarm_brain/memory/comparable.py) is
    -1: the memory does not recall them either.
    """

    recall: bool
    why: str
    similarity: float


class FloorScore(NamedTuple):
    """The quality of a floor; each share is 0..1, and 0 if nothing is recalled."""

    floor: float
    precision: float
    recall: float
    f_half: float


def measure(path: Path = DATASET) -> tuple[float, list[str]]:
    """Return the chosen floor and the lines to print.

    Raises ModelUnavailable without the extra `memory`.
    """
    pairs = _read(path)
    floor = choose(pairs).floor
    rows = [_row(score(pairs, each)) for each in (EVERYTHING, *FLOORS)]
    lines = ["floor  precision  recall  F0.5", *rows]
    return floor, [*lines, f"chosen floor {floor:.2f}", *_crossed(pairs), *_by_kind(pairs, floor)]


def score(pairs: Sequence[LabelledPair], floor: float) -> FloorScore:
    """Score recalling every pair at or above the floor."""
    recalled = [pair.recall for pair in pairs if pair.similarity >= floor]
    relevant = sum(pair.recall for pair in pairs)
    right = sum(recalled)
    # F0.5 = 1.25 PR / (0.25 P + R), in counts: equal counts give equal floats, hence true ties.
    return FloorScore(
        floor,
        right / max(1, len(recalled)),
        right / max(1, relevant),
        1.25 * right / max(1, 0.25 * relevant + len(recalled)),
    )


def choose(pairs: Sequence[LabelledPair]) -> FloorScore:
    """Choose the floor with the highest F0.5; of equal ones the highest."""
    return max(
        (score(pairs, floor) for floor in FLOORS), key=lambda each: (each.f_half, each.floor)
    )


def halve(pairs: Sequence[LabelledPair]) -> tuple[list[LabelledPair], list[LabelledPair]]:
    """Split the pairs into halves with nearly equal labels and kinds."""
    ordered = sorted(pairs, key=lambda pair: (pair.recall, pair.why))
    return ordered[::2], ordered[1::2]


def _read(path: Path) -> list[LabelledPair]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    model = embeddings._ready()
    if model is None:
        raise ModelUnavailable(
            "No embedding model can be loaded.",
            "Install the extra: pip install 'swarm-brain[memory]'",
        )
    stored, asked = (model.embed([row[k] for row in rows], norm=True) for k in ("stored", "asked"))
    cosines = (stored * asked).sum(axis=1).tolist()
    return [
        LabelledPair(row["recall"], row["why"], round(cosine, 4) if _decides(row) else NEVER)
        for row, cosine in zip(rows, cosines, strict=True)
    ]


def _decides(row: dict[str, str]) -> bool:
    """Return whether similarity alone decides; facts may have any numbers."""
    return row["why"] == "fact" or comparable(row["asked"], row["stored"])


def _row(row: FloorScore) -> str:
    name = "none" if row.floor == EVERYTHING else f"{row.floor:.2f}"
    return f"{name:>5}  {row.precision:9.3f}  {row.recall:6.3f}  {row.f_half:.3f}"


def _crossed(pairs: Sequence[LabelledPair]) -> Iterator[str]:
    """Describe a floor chosen on one half and measured on the other, both ways."""
    first, second = halve(pairs)
    for chosen_on, measured_on in ((first, second), (second, first)):
        floor = choose(chosen_on).floor
        result = score(measured_on, floor)
        yield (
            f"chosen on one half {floor:.2f}, on the other: precision {result.precision:.3f}, "
            f"recall {result.recall:.3f}, F0.5 {result.f_half:.3f} "
            f"(its own best floor {choose(measured_on).floor:.2f})"
        )


def _by_kind(pairs: Sequence[LabelledPair], floor: float) -> Iterator[str]:
    """Describe how many pairs of each kind are recalled at the floor."""
    for recall, why in sorted({(pair.recall, pair.why) for pair in pairs}, reverse=True):
        kind = [pair.similarity for pair in pairs if (pair.recall, pair.why) == (recall, why)]
        above = sum(similarity >= floor for similarity in kind)
        yield f"{'should' if recall else 'should not'}: {above} of {len(kind)} recalled, {why}"


if __name__ == "__main__":
    _, report = measure(Path(sys.argv[1]) if len(sys.argv) > 1 else DATASET)
    print("\n".join(report))  # noqa: T201
