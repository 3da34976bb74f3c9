"""Write a dataset with computed keys: `python -m evals.keyed`.

The shipped files were written by

    python -m evals.keyed --seed 1 --counts syllogism=40,propositional=40 \
        --out evals/datasets/logic.jsonl
    python -m evals.keyed --seed 1 --counts integer=24,story=24,dates=24 \
        --out evals/datasets/arithmetic.jsonl
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from swarm_brain.evals.cases.examples import Example, QuestionKind, to_json
from swarm_brain.evals.cases.extract.numbers import read
from swarm_brain.evals.cases.generate import arithmetic, logic

DIFFICULTIES = (1, 2, 3, 4)
ARGUMENTS = {"syllogism": logic.syllogism, "propositional": logic.propositional}
CALCULATIONS = {
    "integer": arithmetic.integer,
    "story": arithmetic.story,
    "dates": arithmetic.dates,
}
GROUPS = (*ARGUMENTS, *CALCULATIONS)
SHIPPED = {
    "logic": {"syllogism": 40, "propositional": 40},
    "arithmetic": {"integer": 24, "story": 24, "dates": 24},
}


def generate(seed: int, counts: Mapping[str, int]) -> list[Example]:
    """Generate distinct examples of each group, evenly over the difficulties.

    Every second argument of a difficulty is valid.
    """
    examples: dict[str, Example] = {}
    for group, count in counts.items():
        rng = random.Random(f"{seed} {group}")  # noqa: S311
        made = 0
        while made < count:
            example = _example(rng, group, made, f"{group}-{seed}-{made + 1:03}")
            if example.question not in examples:
                examples[example.question] = example
                made += 1
    return list(examples.values())


def _example(rng: random.Random, group: str, index: int, name: str) -> Example:
    difficulty = DIFFICULTIES[index % len(DIFFICULTIES)]
    if group in ARGUMENTS:
        valid = index // len(DIFFICULTIES) % 2 == 0
        question, key = ARGUMENTS[group](rng, difficulty, valid=valid)
    else:
        question, key = CALCULATIONS[group](rng, difficulty)
    kind: QuestionKind = "text" if read(key) is None else "numeric"
    return Example(
        id=name,
        question=question,
        kind=kind,
        answer=key,
        difficulty=difficulty,
        group=group,
    )


def dump(examples: Sequence[Example]) -> str:
    """Return the text of a dataset file."""
    return "".join(f"{to_json(example)}\n" for example in examples)


def read_counts(text: str) -> dict[str, int]:
    """Parse `integer=24,dates=24`, for argparse."""
    counts = {}
    for part in text.split(","):
        group, _, count = part.partition("=")
        if group not in GROUPS or not count.isdecimal():
            raise argparse.ArgumentTypeError(
                f"{part!r} is not GROUP=NUMBER with a group of {', '.join(GROUPS)}"
            )
        counts[group] = int(count)
    return counts


def main(arguments: Sequence[str] | None = None) -> None:
    """Write a dataset file."""
    parser = argparse.ArgumentParser(prog="python -m evals.keyed", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.add_argument(
        "--counts",
        type=read_counts,
        default=dict.fromkeys(GROUPS, 20),
        metavar="GROUP=NUMBER,...",
        help=f"groups: {', '.join(GROUPS)}; default: 20 of each",
    )
    options = parser.parse_args(arguments)
    text = dump(generate(options.seed, options.counts))
    options.out.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
