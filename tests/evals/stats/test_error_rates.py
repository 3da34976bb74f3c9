"""Error rates of the tests, measured with arms and judges whose truth is planted.

Arms are simulated models: each question has a difficulty drawn from a Beta distribution, and an
arm of planted accuracy answers it right with that chance. Rates are printed (`pytest -s`).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from swarm_brain.evals.stats.bootstrap import paired_bootstrap
from swarm_brain.evals.stats.comparison import holm, mcnemar, mcnemar_clustered
from swarm_brain.evals.stats.judge_bias import JudgedPair, judge_bias
from swarm_brain.evals.stats.power import needed_sample_size, needed_sample_size_graded, power

SEEDS = [11, 12, 13]
COMPARISONS = 2_000
QUESTIONS = 100
ALPHA = 0.05

Bools = npt.NDArray[np.bool_]


def arms(
    rng: np.random.Generator, runs: int, questions: int, accuracies: list[float]
) -> list[Bools]:
    """Right answers of each arm (runs, questions) to questions that some find harder than others.

    All arms share a question's difficulty u in 0..1, Beta(2, 2); an arm of accuracy a has the
    chance a + (1/2 - u) × min(a, 1 - a), whose mean is a.
    """
    ease = 0.5 - rng.beta(2, 2, size=(runs, questions))
    return [rng.random(ease.shape) < a + 2 * ease * min(a, 1 - a) for a in accuracies]


def discordance(first: float, second: float) -> tuple[float, float]:
    """Shares of questions that only one arm gets right, in the world of `arms`."""
    spread = 4 * min(first, 1 - first) * min(second, 1 - second) / 20  # Beta(2, 2) has 1/20
    return first * (1 - second) - spread, second * (1 - first) - spread


def discordant(first: Bools, second: Bools) -> list[tuple[int, int]]:
    """Counts of each run: only the first arm right, only the second."""
    both = np.stack([(first & ~second).sum(axis=1), (second & ~first).sum(axis=1)], axis=1)
    return [(int(b), int(c)) for b, c in both]


def rate(rejects: Callable[[int], bool], runs: int) -> float:
    return sum(rejects(run) for run in range(runs)) / runs


def margin(share: float, runs: int) -> float:
    """Three Monte-Carlo standard errors of a measured rate."""
    return 3 * math.sqrt(share * (1 - share) / runs)


@pytest.mark.parametrize("seed", SEEDS)
def test_arms_that_are_alike_are_told_apart_as_often_as_alpha_says(seed):
    rng = np.random.default_rng(seed)
    first, second = arms(rng, COMPARISONS, QUESTIONS, [0.7, 0.7])
    tests = [mcnemar(b, c) for b, c in discordant(first, second)]
    boots = [
        paired_bootstrap(a, b, resamples=999, seed=rng) for a, b in zip(first, second, strict=True)
    ]
    exact = rate(lambda run: tests[run].p <= ALPHA, COMPARISONS)
    mid = rate(lambda run: tests[run].mid_p <= ALPHA, COMPARISONS)
    boot = rate(lambda run: boots[run].p <= ALPHA, COMPARISONS)
    missed = rate(lambda run: not boots[run].low <= 0 <= boots[run].high, COMPARISONS)
    print(f"A/A seed {seed}: exact {exact:.4f} mid-p {mid:.4f} bootstrap {boot:.4f}", end=" ")
    print(f"interval {missed:.4f}")
    assert exact <= 0.065
    assert 0.035 <= mid <= 0.065
    assert 0.035 <= boot <= 0.065
    assert 0.035 <= missed <= 0.065


@pytest.mark.parametrize("seed", SEEDS)
def test_repeats_of_a_question_are_not_taken_for_new_questions(seed):
    # What an arm knows about a question it knows in all four repeats: the arms are alike on the
    # whole and differ question by question, which counting repeats as questions mistakes.
    rng = np.random.default_rng(seed)
    runs, questions, repeats = 1_000, 60, 4
    knows = rng.choice([0.1, 0.95], size=(2, runs, questions, 1))
    first, second = (rng.random((2, runs, questions, repeats)) < knows).reshape(2, runs, -1)
    ids = np.repeat(np.arange(questions), repeats).tolist()
    careless = rate(lambda run: mcnemar_clustered(first[run], second[run]).mid_p <= ALPHA, runs)
    tests = [mcnemar_clustered(first[run], second[run], ids) for run in range(runs)]
    boot = rate(
        lambda run: (
            paired_bootstrap(first[run], second[run], ids, resamples=499, seed=rng).p <= ALPHA
        ),
        runs,
    )
    exact = rate(lambda run: tests[run].p <= ALPHA, runs)
    mid = rate(lambda run: tests[run].mid_p <= ALPHA, runs)
    print(f"clustered A/A seed {seed}: careless {careless:.4f} exact {exact:.4f}", end=" ")
    print(f"mid-p {mid:.4f} bootstrap {boot:.4f}")
    assert careless > 0.15
    assert exact <= ALPHA + margin(ALPHA, runs)
    assert abs(mid - ALPHA) <= margin(ALPHA, runs)
    assert abs(boot - ALPHA) <= margin(ALPHA, runs)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("better", [0.75, 0.85])
def test_a_planted_difference_is_found_with_the_promised_power(seed, better):
    planted = discordance(better, 0.6)
    needed = needed_sample_size(*planted)
    promised, runs = power(needed, *planted), COMPARISONS
    rng = np.random.default_rng(seed)
    first, second = arms(rng, runs, needed, [better, 0.6])
    counts = discordant(first, second)
    found = rate(lambda run: mcnemar(*counts[run]).p <= ALPHA, runs)
    found_mid = rate(lambda run: mcnemar(*counts[run]).mid_p <= ALPHA, runs)
    boot = rate(
        lambda run: paired_bootstrap(first[run], second[run], resamples=499, seed=rng).p <= ALPHA,
        runs // 4,
    )
    print(f"{better} against 0.6 seed {seed}: {needed} questions promise {promised:.4f};", end=" ")
    print(f"exact {found:.4f} mid-p {found_mid:.4f} bootstrap {boot:.4f}")
    assert 0.8 <= promised <= 0.83
    assert abs(found - promised) <= margin(promised, runs)
    promised_mid = power(needed, *planted, mid=True)
    assert abs(found_mid - promised_mid) <= margin(promised_mid, runs)
    assert boot >= promised - margin(promised, runs // 4)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_planted_difference_of_grades_is_found_with_the_promised_power(seed):
    # Rubrics of five points: one point in ten moves up, so the differences are -.2, 0 or .2.
    steps, chances, runs = np.array([-0.2, 0.0, 0.2]), np.array([0.15, 0.5, 0.35]), 600
    mean = float(steps @ chances)
    sd = math.sqrt(float(steps**2 @ chances) - mean**2)
    needed = needed_sample_size_graded(mean, sd)
    rng = np.random.default_rng(seed)
    base = rng.choice([0.2, 0.4, 0.6, 0.8], size=(runs, needed))
    graded = base + rng.choice(steps, p=chances, size=base.shape)
    found = rate(
        lambda run: (
            paired_bootstrap(graded[run].clip(0, 1), base[run], resamples=499, seed=rng).p <= ALPHA
        ),
        runs,
    )
    print(f"grades seed {seed}: {needed} questions promise 0.8; bootstrap {found:.4f}")
    assert abs(found - 0.8) <= margin(0.8, runs) + 0.01


@pytest.mark.parametrize("seed", SEEDS)
def test_a_placebo_loses_after_holm_and_arms_alike_do_not(seed):
    rng = np.random.default_rng(seed)
    runs, names = 300, ["self-consistency", "self-moa", "swarm-minus:creative", "swarm-shuffled"]
    swarm, *others = arms(rng, runs, 120, [0.7, 0.7, 0.7, 0.7, 0.45])
    lost, falsely = 0, 0
    for run in range(runs):
        tests = {
            name: mcnemar(*discordant(swarm[run : run + 1], arm[run : run + 1])[0])
            for name, arm in zip(names, others, strict=True)
        }
        adjusted = holm({name: test.mid_p for name, test in tests.items()})
        placebo = tests["swarm-shuffled"]
        lost += adjusted["swarm-shuffled"] <= ALPHA and placebo.first_only > placebo.second_only
        falsely += any(adjusted[name] <= ALPHA for name in names[:3])
    print(f"placebo seed {seed}: lost {lost / runs:.4f}, a false difference {falsely / runs:.4f}")
    assert lost / runs >= 0.9
    assert falsely / runs <= ALPHA + margin(ALPHA, runs)


def judged(seed: int, pairs: int, judge: Callable[[float, float, float, float], str]):
    """Pairs of equal quality on the whole: noise, lengths, and the judge's verdict each way."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(pairs):
        good, length = rng.normal(size=2), rng.integers(200, 1200, size=2)
        forth = judge(good[0], good[1], length[0], length[1])
        back = judge(good[1], good[0], length[1], length[0])
        rows.append(JudgedPair(forth, back, float(length[0]), float(length[1])))
    return rows


def by_quality(good, other, length, length_other, place=0.0, size=0.0):
    """The better answer wins; a bonus for standing first and for 1,000 units more of length."""
    lead = good - other + place + size * (length - length_other) / 1000
    return "first" if lead > 0 else "second"


@pytest.mark.parametrize("seed", SEEDS)
def test_biased_judges_are_exposed_and_an_honest_one_is_not(seed):
    always_first = judge_bias(judged(seed, 40, lambda *_: "first"))
    always_longer = judge_bias(
        judged(seed, 40, lambda good, other, long, short: "first" if long > short else "second")
    )
    leaning = judge_bias(judged(seed, 60, lambda *pair: by_quality(*pair, place=0.7)))
    wordy = judge_bias(judged(seed, 60, lambda *pair: by_quality(*pair, size=3.0)))
    honest = judge_bias(judged(seed, 60, by_quality))
    assert "prefers the answer shown first" in always_first.warnings[0]
    assert "prefers longer answers" in always_longer.warnings[0]
    assert "prefers the answer shown first" in leaning.warnings[0]
    assert "prefers longer answers" in wordy.warnings[0]
    assert honest.warnings == []


def test_an_honest_but_wavering_judge_is_accused_as_seldom_as_alpha_says():
    # Each verdict is drawn anew, so it often changes with the order and never by the order.
    runs, wrongly = 600, {"place": 0, "length": 0}
    rng = np.random.default_rng(5)
    for seed in range(runs):
        rows = judged(seed, 40, lambda *pair: by_quality(*pair, place=rng.normal()))
        found = judge_bias(rows, alpha=0.05)
        wrongly["place"] += any("shown" in line for line in found.warnings)
        wrongly["length"] += any("answers (" in line for line in found.warnings)
    print({name: count / runs for name, count in wrongly.items()})
    assert wrongly["place"] / runs <= 0.05 + margin(0.05, runs)
    # Two tests, of wins and of ranks, look at length.
    assert wrongly["length"] / runs <= 0.08 + margin(0.08, runs)
