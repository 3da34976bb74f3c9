"""The similarity floor of the memory is the one that the labelled pairs choose."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from swarm_brain.evals.recall import DATASET, FLOORS, LabelledPair, choose, halve, measure, score
from swarm_brain.graph.errors import ModelUnavailable
from swarm_brain.memory import embeddings

ROWS = [json.loads(line) for line in DATASET.read_text(encoding="utf-8").splitlines()]


def pairs(*labelled: tuple[bool, float]) -> list[LabelledPair]:
    return [LabelledPair(recall, "made up", similarity) for recall, similarity in labelled]


def test_the_floor_that_ships_is_the_chosen_one():
    floor, lines = measure()
    print(*lines, sep="\n")
    assert floor == embeddings.FLOOR
    assert f"chosen floor {embeddings.FLOOR:.2f}" in lines


def test_the_figures_beside_the_constant_are_the_measured_ones():
    _, lines = measure()
    assert " 0.55      0.507   0.475  0.500" in lines
    assert " none      0.441   0.887  0.490" in lines
    assert " 0.75      0.611   0.275  0.491" in lines
    assert "should not: 0 of 24 recalled, unrelated" in lines


def test_the_pairs_are_many_different_and_mostly_hard():
    assert len({(row["stored"], row["asked"]) for row in ROWS}) == len(ROWS) == 200
    assert all(set(row) == {"stored", "asked", "recall", "why"} for row in ROWS)
    counts = Counter(row["recall"] for row in ROWS)
    assert (counts[True], counts[False]) == (80, 120)
    assert sum(not row["recall"] and row["why"] != "unrelated" for row in ROWS) == 96


def test_shares_are_counted_at_or_above_the_floor():
    found = score(pairs((True, 0.7), (True, 0.6), (False, 0.7), (False, 0.1)), 0.7)
    assert found == (0.7, 0.5, 0.5, 0.5)
    half_precise = score(pairs((True, 0.9), (False, 0.9)), 0.5)
    assert half_precise.f_half == pytest.approx(1.25 * 0.5 / (0.25 * 0.5 + 1))


def test_nothing_recalled_scores_zero():
    assert score(pairs((True, 0.1), (False, 0.2)), 0.5) == (0.5, 0.0, 0.0, 0.0)
    assert score([], 0.5) == (0.5, 0.0, 0.0, 0.0)


def test_of_equal_floors_the_highest_is_chosen():
    assert choose(pairs((True, 0.82), (False, 0.3))).floor == 0.8
    assert choose(pairs((True, 0.1))).floor == FLOORS[-1]


def test_halves_hold_every_pair_once_and_as_many_of_each_kind():
    whole = [LabelledPair(row["recall"], row["why"], index / 200) for index, row in enumerate(ROWS)]
    first, second = halve(whole)
    assert sorted(first + second) == sorted(whole)
    kinds = [Counter((pair.recall, pair.why) for pair in half) for half in (first, second)]
    assert all(abs(kinds[0][kind] - kinds[1][kind]) <= 1 for kind in kinds[0] | kinds[1])


def test_without_a_model_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(embeddings, "_ready", lambda: None)
    with pytest.raises(ModelUnavailable, match=r"swarm-brain\[memory\]"):
        measure()
