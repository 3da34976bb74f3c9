"""Which similarity floor the memory should have: `python -m evals.recall [FILE]`.

Each line of FILE is `{"stored", "asked", "recall", "why"}`: does what is stored help to answer
what is asked? A stored text is recalled if its cosine similarity is at least the floor. The
chosen floor has the highest F0.5, since a wrong memory hurts more than a missed one; of equal
floors the highest.

What the figures cannot promise. The model, wordllama, averages static word vectors: it does not
see the order of words ("12 by 144", "144 by 12"), barely sees a digit or a "not" among other
words, gives a word of two meanings one vector, and does not know that two different words mean
the same thing in this sentence. So it tells topics apart, not questions: an unrelated text is
far away, but the same sentence about another thing is often nearer than a true paraphrase. Other
numbers and a "not" are kept apart by rule (swarm_brain/memory/comparable.py), which these figures
include; that rule was tried on these very pairs. No floor mends the rest, and the halves disagree
on the best. A floor is good for keeping out the unrelated; whoever reads a recalled memory must
still judge whether it fits.
The pairs were written to be hard, four in five of the false ones on purpose, and were labelled
before any similarity was looked at. Precision and recall are those of this file, not of use.
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
EVERYTHING = -1.0  # below every cosine: what no floor at all would do, to compare with


class Pair(NamedTuple):
    """A labelled pair: whether it should be recalled, what kind it is, its cosine, -1..1.

    The cosine of two questions that are not comparable (see swarm_brain/memory/comparable.py) is
    -1: the memory does not recall them either.
    """

    recall: bool
    why: str
    similarity: float


class Score(NamedTuple):
    """How recalling from `floor` up does; each share 0..1, and 0 where nothing is recalled."""

    floor: float
    precision: float
    recall: float
    f_half: float


def measure(path: Path = DATASET) -> tuple[float, list[str]]:
    """The chosen floor and the printed lines; ModelUnavailable without the extra `memory`."""
    pairs = _read(path)
    floor = choose(pairs).floor
    rows = [_row(score(pairs, each)) for each in (EVERYTHING, *FLOORS)]
    lines = ["floor  precision  recall  F0.5", *rows]
    return floor, [*lines, f"chosen floor {floor:.2f}", *_crossed(pairs), *_by_kind(pairs, floor)]


def score(pairs: Sequence[Pair], floor: float) -> Score:
    """Precision, recall and F0.5 of recalling every pair at or above the floor."""
    recalled = [pair.recall for pair in pairs if pair.similarity >= floor]
    wanted = sum(pair.recall for pair in pairs)
    right = sum(recalled)
    # F0.5 = 1.25 PR / (0.25 P + R), in counts: equal counts give equal floats, hence true ties.
    return Score(
        floor,
        right / max(1, len(recalled)),
        right / max(1, wanted),
        1.25 * right / max(1, 0.25 * wanted + len(recalled)),
    )


def choose(pairs: Sequence[Pair]) -> Score:
    """The floor of the highest F0.5; of equal ones the highest, which recalls least."""
    return max(
        (score(pairs, floor) for floor in FLOORS), key=lambda each: (each.f_half, each.floor)
    )


def halve(pairs: Sequence[Pair]) -> tuple[list[Pair], list[Pair]]:
    """Two halves with as many pairs of each label and kind, give or take one."""
    ordered = sorted(pairs, key=lambda pair: (pair.recall, pair.why))
    return ordered[::2], ordered[1::2]


def _read(path: Path) -> list[Pair]:
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
        Pair(row["recall"], row["why"], round(cosine, 4) if _decides(row) else NEVER)
        for row, cosine in zip(rows, cosines, strict=True)
    ]


def _decides(row: dict[str, str]) -> bool:
    """Whether similarity decides; facts are stored as statements, whatever numbers are asked."""
    return row["why"] == "fact" or comparable(row["asked"], row["stored"])


def _row(found: Score) -> str:
    name = "none" if found.floor == EVERYTHING else f"{found.floor:.2f}"
    return f"{name:>5}  {found.precision:9.3f}  {found.recall:6.3f}  {found.f_half:.3f}"


def _crossed(pairs: Sequence[Pair]) -> Iterator[str]:
    """A floor chosen on one half and measured on the other, both ways."""
    first, second = halve(pairs)
    for chosen_on, measured_on in ((first, second), (second, first)):
        floor = choose(chosen_on).floor
        found = score(measured_on, floor)
        yield (
            f"chosen on one half {floor:.2f}, on the other: precision {found.precision:.3f}, "
            f"recall {found.recall:.3f}, F0.5 {found.f_half:.3f} "
            f"(its own best floor {choose(measured_on).floor:.2f})"
        )


def _by_kind(pairs: Sequence[Pair], floor: float) -> Iterator[str]:
    """How many of each kind of pair are recalled at the floor."""
    for recall, why in sorted({(pair.recall, pair.why) for pair in pairs}, reverse=True):
        kind = [pair.similarity for pair in pairs if (pair.recall, pair.why) == (recall, why)]
        above = sum(similarity >= floor for similarity in kind)
        yield f"{'should' if recall else 'should not'}: {above} of {len(kind)} recalled, {why}"


if __name__ == "__main__":
    _, report = measure(Path(sys.argv[1]) if len(sys.argv) > 1 else DATASET)
    print("\n".join(report))  # noqa: T201
