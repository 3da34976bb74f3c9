"""What one question computes, validates and reads: each thing once."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from swarm_brain.config import VARIABLES
from swarm_brain.graph import answer_schema, propagation
from swarm_brain.graph.brain import compile_brain
from tests.fakes import Script

HARD = "Why is the subject what it is?"
# Only a Context with this setting calls `answer_schema.problem`, once for each validation.
FORM = {"type": "object", "properties": {"verdict": {"type": "integer"}}, "required": ["verdict"]}


@pytest.fixture
def counts(monkeypatch, tmp_path) -> Counter[str]:
    """Calls of what computes edges, validates settings and reads the configuration file."""
    counted: Counter[str] = Counter()

    def count(owner, name, key):
        real = getattr(owner, name)

        def call(*args, **kwargs):
            counted[key] += key != "reads" or args[0].name == "swarm-brain.toml"
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, call)

    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    Path("swarm-brain.toml").write_text("[server]\nmodels = []\n")
    propagation._decided.cache_clear()
    count(propagation, "activations", "edges")
    count(answer_schema, "problem", "validations")
    count(Path, "open", "reads")
    return counted


@pytest.mark.parametrize("signed_in", [False, True])
def test_a_hard_question_decides_each_thing_once(script: Script, counts, signed_in):
    script.says["synthesis"] = json.dumps({"verdict": 42})
    script.says["meta_cognitive"] = '{"defects": [{"quote": "42", "problem": "is it?"}]}'
    brain = compile_brain(checkpointer=InMemorySaver())
    user = {"langgraph_auth_user": {"identity": "ada"}} if signed_in else {}
    config = {"configurable": {"thread_id": "t", **user}}
    result = brain.invoke(
        {"question": HARD}, config, context={"model": "auto", "answer_schema": FORM}
    )
    assert result["usage"]["calls"] == 9
    assert result["revised"] is True
    assert counts["edges"] <= 9  # one for each signal
    assert 1 <= counts["validations"] <= 2  # as the call gives them, and as the run saves them
    assert counts["reads"] <= 1


def test_edges_are_computed_again_for_another_signal_and_other_settings(script: Script, counts):
    brain = compile_brain(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "t"}}
    start, context = {"question": HARD}, {"model": "scripted:m"}
    brain.invoke(start, config, context=context)
    first = counts["edges"]
    brain.invoke(start, config, context=context)
    assert counts["edges"] == first
    brain.invoke(start, config, context={**context, "threshold": 0.4})
    assert counts["edges"] == 2 * first
