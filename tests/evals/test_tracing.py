"""What LangSmith receives, and what is hidden from it."""

from __future__ import annotations

import pytest
from langsmith import utils

from swarm_brain.evals.runner import record_of
from swarm_brain.evals.tracing import extracted, hidden_parts
from tests.evals.samples import example, open_example, respond, setup
from tests.fakes import Script


async def test_an_open_question_has_nothing_to_extract(script: Script):
    answers = [await respond("single", setup(), asked) for asked in (open_example(), example())]
    rows = [
        record_of("single", asked, 0, given)
        for asked, given in zip((open_example(), example()), answers, strict=True)
    ]
    assert [extracted(row)["score"] for row in rows] == [
        None,
        int(rows[1]["extracted"] is not None),
    ]


def test_old_names_hide_questions_in_datasets_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LANGCHAIN_HIDE_INPUTS", "true")
    utils.get_env_var.cache_clear()
    try:
        assert hidden_parts() == ["inputs"]
    finally:
        utils.get_env_var.cache_clear()
