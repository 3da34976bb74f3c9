"""The presets are settings that the brain takes, and do what they say."""

from __future__ import annotations

import pytest

from swarm_brain.graph.brain import graph
from swarm_brain.graph.context import Context
from swarm_brain.presets import PRESETS
from tests.fakes import Script

SIMPLE = "What does subject mean?"
HARD = "Why is the subject what it is?"


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_made_of_settings_and_chooses_no_model(name):
    preset = PRESETS[name]
    assert preset.name == name
    assert preset.settings
    made = Context.model_validate(preset.settings, strict=True)
    assert set(preset.settings) == made.model_fields_set
    assert made.model == "auto"
    assert preset.description.endswith(".")


@pytest.mark.parametrize(
    ("name", "question", "calls"), [("fast", HARD, 3), ("thorough", SIMPLE, 8), ("cheap", HARD, 3)]
)
def test_a_preset_gives_full_answers(script: Script, name, question, calls):
    settings = {"model": "scripted:m", **PRESETS[name].settings}
    result = graph.invoke({"question": question}, context=settings)
    assert result["usage"]["calls"] == calls
    assert result["provenance"] == "full"


def test_cheap_does_not_pay_twice_for_the_same_question(script: Script):
    settings = {"model": "scripted:m", **PRESETS["cheap"].settings}
    question = {"question": "What does thrift mean?"}
    calls = [graph.invoke(question, context=settings)["usage"]["calls"] for _ in range(2)]
    assert calls == [3, 0]
    assert len(script.requests) == 3
