"""Made-up results of an evaluation in the form that `evals.report` reads. No figure is real."""

from __future__ import annotations

import random
from typing import Any

HOSTILE = (
    "</script><img src=x onerror=alert(1)><style>@import url(//evil.example/a.css)</style>"
    "<a href='https://evil.example' onclick=x>link</a> **bold** [md](javascript:alert(1)) "
    "\u202egnisrever\u202c \u200fRTL\u200f NUL:\x00 lone:\ud800 ]]> <!-- $title ${body}"
)
EXPERTS = ("perception", "attention", "memory", "reasoning", "creative", "analytical", "synthesis",
           "meta_cognitive")  # fmt: skip
BASELINES = {
    "swarm": (0.742, 4010, 0.98),
    "single": (0.683, 512, 0.13),
    "single-long": (0.7, 3890, 0.95),
    "self-consistency": (0.792, 4022, 0.98),
    "self-moa": (0.733, 2460, 0.6),
    "swarm-shuffled": (0.517, 4015, 0.98),
}
GROUPS = ("logic", "arithmetic", "philosophy")


def ranged(estimate: float, half: float = 0.075) -> dict[str, float]:
    return {"estimate": estimate, "low": estimate - half, "high": estimate + half}


def arm(name: str, accuracy: float, tokens: float, spent: float | None) -> dict[str, Any]:
    return {
        "name": name, "reference": name == "single", "questions": 120, "answered": 118,
        "simulated": 1 if name == "swarm" else 0, "unextracted": 4, "errors": 1,
        "accuracy": ranged(accuracy), "quality": None, "input_tokens": int(tokens * 84),
        "output_tokens": int(tokens * 36), "tokens_per_question": tokens, "spent_ratio": spent,
        "cost_usd": tokens * 120 * 4e-6, "duration_s": tokens / 3, "calls": int(tokens / 4),
    }  # fmt: skip


def comparison(
    second: str, difference: float, p: float, holm: float | None = None, **changes: Any
) -> dict[str, Any]:
    found = {
        "first": "swarm", "second": second, "metric": "accuracy", "questions": 118,
        "difference": ranged(difference, 0.048), "p": p, "p_holm": p if holm is None else holm,
        "mcnemar": {"first_only": 11, "second_only": 17, "p": p, "mid_p": p * 0.8},
        "wins": None, "needed_sample_size": 1240, "valid": True, "why_invalid": None,
    }  # fmt: skip
    return found | changes


INVALID = comparison(
    "self-moa", 0.009, 0.71, valid=False,
    why_invalid="Not at equal tokens: self-moa spent 60.0% of its tokens; 80% to 105% is allowed.",
)  # fmt: skip


def trace(text: str) -> list[dict[str, Any]]:
    """Eight signals in four steps."""
    steps = (1, 1, 1, 2, 2, 2, 3, 4)
    found = []
    for number, (expert, step) in enumerate(zip(EXPERTS, steps, strict=True)):
        source = "begin" if step == 1 else EXPERTS[max(0, number - 3)]
        found.append(
            {
                "expert": expert,
                "step": step,
                "woken_by": [{"from": source, "activation": round(0.5 + number / 20, 2)}],
                "status": "failed" if expert == "memory" else "ok",
                "content": "" if expert == "memory" else f"As {expert}: {text}",
            }
        )
    return found


def answer(text: str, extracted: str | None, correct: bool | None, **changes: Any) -> dict:
    found: dict[str, Any] = {
        "text": text, "extracted": extracted, "correct": correct, "rubric": None, "score": None,
        "provenance": "full", "input_tokens": 2800, "output_tokens": 1200, "cost_usd": 0.0161,
        "duration_s": 11.2, "calls": 8, "agreement": 2 / 3, "error": None, "trace": [],
    }  # fmt: skip
    return found | changes


def question(number: int, rng: random.Random) -> dict[str, Any]:
    group = GROUPS[number % 3]
    key = rng.choice("ABCD")
    arms: dict[str, list[dict[str, Any]]] = {}
    for name, (accuracy, _, _) in BASELINES.items():
        right = rng.random() < accuracy
        said = key if right else rng.choice([c for c in "ABCD" if c != key])
        text = (
            "All ravens are birds, and some birds do not fly. From this alone it does not follow "
            f"that some ravens do not fly: the birds that stay on the ground may be others.\n\n"
            f"Answer: {said}"
        )
        arms[name] = [answer(text, said, right, trace=trace(text) if name == "swarm" else [])]
    return {
        "id": f"{group}-{number:03d}", "group": group, "level": number % 4 + 1,
        "question": f"Premises {number}: all ravens are birds; some birds do not fly. Which of the "
        "conclusions below follows from the premises, and from nothing else?",
        "choices": ["Some ravens do not fly.", "No raven flies.", "Nothing follows.",
                    "Some birds are not ravens."],
        "answer": key, "rubric": [], "arms": arms,
    }  # fmt: skip


def odd_questions() -> list[dict[str, Any]]:
    """Hostile, long, simulated, failed, unread, repeated and rubric-graded answers."""
    hostile = question(900, random.Random(1)) | {"id": HOSTILE[:40], "question": HOSTILE}
    hostile["choices"], hostile["answer"] = [HOSTILE, "B"], HOSTILE
    hostile["arms"] = {
        "swarm": [answer(HOSTILE, HOSTILE, False, trace=trace(HOSTILE))],
        "single": [answer("word " * 10_000, None, None)],
        "self-moa": [answer("", None, None, error=f"429 Too Many Requests {HOSTILE[:60]}")],
        "single-long": [answer("simulated words", "A", True, provenance="simulated")],
        "self-consistency": [answer("one", "B", True), answer("two", "A", False)],
    }
    essay = {
        "id": "philosophy-open", "group": None, "level": None, "question": "What is it to know?",
        "choices": [], "answer": None, "rubric": ["Names justification", "Gives a counterexample"],
        "arms": {
            "swarm": [answer("Belief.", None, None, rubric=[True, False], score=0.5)],
            "single": [answer("Justified belief.", None, None, rubric=[True, True], score=1.0)],
            "self-moa": [answer("Unjudged.", None, None, rubric=None, agreement=None)],
        },
    }  # fmt: skip
    return [hostile, essay]


def returns() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for number, expert in enumerate(EXPERTS):
        rate = 0.05 - 0.012 * number
        found.append(
            {
                "expert": expert,
                "per_1000": ranged(rate, 0.03),
                "quality": ranged(rate / 2, 0.02),
                "tokens": {"estimate": 512.0, "low": 430.0, "high": 590.0},
                "reason": None,
            }
        )
    found[1] |= {
        "per_1000": None,
        "tokens": {"estimate": -80.0, "low": -120.0, "high": -40.0},
        "reason": "The expert saved tokens, -80 tokens a question (-120 to -40), so there is no"
        " price to divide by; quality changed by +0.010 a question.",
    }
    return found


def calibration() -> dict[str, Any]:
    counts = (0, 14, 31, 40, 33)
    bins = []
    for number, count in enumerate(counts):
        low = number / 5
        mean = None if not count else low + 0.11
        accuracy = None if not count else ranged(0.35 + 0.13 * number, 0.13 - 0.015 * number)
        bins.append({"low": low, "high": low + 0.2, "count": count, "mean_agreement": mean,
                     "accuracy": accuracy})  # fmt: skip
    rule = {"threshold": 1 / 3, "coverage": 0.88, "accuracy": ranged(0.79), "gain": 0.031}
    return {"bins": bins, "ece": 0.083, "abstention": rule, "why": None}


def judging() -> dict[str, Any]:
    return {
        "pairs": 60, "winners": {"a": 14, "b": 17, "tie": 27, "unparsed": 2},
        "consistent": ranged(0.55, 0.12),
        "first": {"wins": 71, "cases": 98, "share": ranged(0.72, 0.09), "p": 0.0004},
        "longer": {"wins": 19, "cases": 31, "share": ranged(0.61, 0.16), "p": 0.28},
        "length_correlation": 0.12, "length_p": 0.36, "self_judged": False,
        "warnings": [
            "The judge prefers the answer shown first: it won 71 of 98 decided verdicts"
            " (p = 0.0004)."
        ],
    }  # fmt: skip


def results(**changes: Any) -> dict[str, Any]:
    """A whole run in which voting beats the swarm at equal tokens."""
    rng = random.Random(7)
    names = {**BASELINES, **{f"swarm-minus:{e}": (0.72, 3500 + 9 * i, 0.87)
                             for i, e in enumerate(EXPERTS)}}  # fmt: skip
    strata = {name: {"n": 40, "accuracy": value[0], "quality": None} for name, value in
              BASELINES.items()}  # fmt: skip
    data: dict[str, Any] = {
        "title": "Swarm against its baselines, made-up figures", "created": "2026-01-31T12:00:00Z",
        "command": "python -m evals.compare --dataset logic --arms swarm --budget-tokens 4096",
        "commit": "0123abc", "version": "0.0.0",
        "dataset": {"name": "logic", "hash": "sha256:4f2a9c", "size": 120},
        "model": "example:model-8b", "judge": "example:judge-70b",
        "settings": {"temperature": 0.7, "max_steps": 4, "stop": None},
        "topology": {"name": "eight", "hash": "9be1"}, "allocated_tokens": 4096,
        "repetitions": 1, "seed": 0,
        "arms": [arm(name, *value) for name, value in names.items()],
        "comparisons": [
            comparison("self-consistency", -0.05, 0.004, 0.016),
            comparison("single-long", 0.042, 0.08, 0.24),
            INVALID,
            comparison("single", 0.059, 0.03, 0.12, valid=False, why_invalid="A reference row."),
            comparison("swarm-shuffled", 0.22, 0.0001, 0.0006),
            *(comparison(f"swarm-minus:{e}", 0.02, 0.4, 1.0, mcnemar=None) for e in EXPERTS),
        ],
        "levels": [{"level": n, "name": f"depth {n}", "arms": strata} for n in (1, 2, 3, 4)],
        "groups": [{"name": name, "arms": strata} for name in GROUPS],
        "returns": returns(), "calibration": calibration(), "judging": judging(),
        "questions": [question(n, rng) for n in range(40)] + odd_questions(),
    }  # fmt: skip
    return data | changes


EMPTY: dict[str, Any] = {
    "title": "Nothing", "created": None, "command": None, "commit": None, "version": None,
    "dataset": None, "model": None, "judge": None, "settings": {}, "topology": None,
    "allocated_tokens": None, "repetitions": None, "seed": None, "arms": [], "comparisons": [],
    "levels": [], "groups": [], "returns": [], "calibration": None, "judging": None,
    "questions": [],
}  # fmt: skip
