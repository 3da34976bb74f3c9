"""Whole-graph traces with a scripted model."""

from __future__ import annotations

import asyncio

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver

from swarm_brain.graph.brain import compile_brain, graph
from swarm_brain.graph.errors import (
    BlankQuestion,
    BrainError,
    ConfigError,
    ExpertFailed,
    ModelError,
    NotText,
)
from tests.fakes import Script

HARD = "Why is the subject what it is?"
SIMPLE = "What does subject mean?"
ALL = ["perception", "attention", "memory", "reasoning", "creative", "analytical", "synthesis",
       "meta_cognitive"]  # fmt: skip


def run(question=HARD, **context):
    return graph.invoke({"question": question}, context={"model": "scripted:m", **context})


def names(result, status="ok"):
    return [e["name"] for e in result["experts"] if e["status"] == status]


def test_hard_question_asks_eight_experts_in_four_steps(script: Script):
    result = run()
    assert names(result) == ALL
    assert [e["step"] for e in result["experts"]] == [1, 1, 1, 2, 2, 2, 3, 4]
    assert result["steps"] == 4
    assert result["usage"]["calls"] == 8 == len(script.requests)
    assert result["final_output"] == "The subject is what all of this says.\nVerdict: 42"
    assert (result["provenance"], result["stop_reason"]) == ("full", "complete")
    assert (result["verdict"], result["agreement"], result["dissent"]) == ("42", 1.0, [])


def test_simple_question_asks_three(script: Script):
    result = run(SIMPLE)
    assert script.askers == names(result) == ["perception", "reasoning", "synthesis"]
    assert result["effort"] == "low"
    assert result["agreement"] is None  # one draft agrees with nobody


def test_effort_can_be_told(script: Script):
    assert len(names(run(SIMPLE, effort="high"))) == 8
    assert len(names(run(HARD, effort="low"))) == 3


def test_gated_off_proposer_is_skipped_and_costs_nothing(script: Script):
    script.says["attention"] = '{"creative": 0.1, "analytical": 0.9}'
    result = run()
    assert names(result, "skipped") == ["creative"]
    assert "creative" not in script.askers
    skipped = next(e for e in result["experts"] if e["name"] == "creative")
    assert skipped["woken_by"] == [{"from": "attention", "activation": 0.1}]
    assert result["provenance"] == "full"


def test_all_gated_off_leaves_reasoning(script: Script):
    script.says["attention"] = '{"creative": 0, "analytical": 0}'
    result = run()
    assert names(result, "skipped") == ["creative", "analytical"]
    assert "reasoning" in names(result)
    assert result["steps"] == 4


@pytest.mark.parametrize("text", ["I would ask everybody.", "", '{"other": 1}', "[]", "{"])
def test_unreadable_attention_opens_all_gates_and_is_a_recorded_failure(script: Script, text):
    script.says["attention"] = text or "   \n"
    result = run(max_attempts=1)
    assert {"creative", "analytical", "reasoning"} <= set(names(result))
    attention = next(e for e in result["experts"] if e["name"] == "attention")
    assert attention["status"] in ("failed", "simulated")
    assert attention["error"]
    assert result["provenance"] == "degraded"


def test_contested_question_keeps_the_dissent(script: Script):
    script.says["creative"] = "No: it is another.\nVerdict: 41"
    script.says["synthesis"] = "It is this.\nDissent: some hold 41.\nVerdict: 42."
    result = run()
    assert result["agreement"] == pytest.approx(2 / 3, abs=1e-4)
    assert result["dissent"] == ["creative: 41", "some hold 41."]


def test_quoted_defect_buys_one_revision_that_is_not_criticised_again(script: Script):
    script.says["synthesis"] = ["It is a whale.\nVerdict: 41", "It is a fish.\nVerdict: 42"]
    script.says["meta_cognitive"] = '{"defects": [{"quote": "a whale", "problem": "wrong animal"}]}'
    result = run()
    assert result["revised"] is True
    assert result["final_output"].startswith("It is a fish.")
    assert result["usage"]["calls"] == 9
    assert result["steps"] == 5
    assert script.askers.count("meta_cognitive") == 1
    revision = script.of("synthesis")[1]["user"]
    assert "a whale" in revision
    assert "wrong animal" in revision
    entries = [e for e in result["experts"] if e["name"] == "synthesis"]
    assert [e["step"] for e in entries] == [3, 5]
    assert entries[1]["woken_by"] == [{"from": "meta_cognitive", "activation": 1.0}]


@pytest.mark.parametrize(
    "reply",
    [
        '{"defects": [{"quote": "a dolphin", "problem": "wrong"}]}',
        '{"defects": [{"quote": "", "problem": "wrong"}]}',
        '{"defects": [{"quote": "ale", "problem": "part of a word"}]}',
        "[]",
    ],
)
def test_a_quote_that_is_not_there_changes_nothing(script: Script, reply):
    script.says["synthesis"] = "It is a whale."
    script.says["meta_cognitive"] = reply
    result = run()
    assert result["revised"] is False
    assert result["usage"]["calls"] == 8
    assert result["provenance"] == "full"


def test_no_revision_if_none_is_allowed(script: Script):
    script.says["meta_cognitive"] = '[{"quote": "subject", "problem": "vague"}]'
    assert run(max_revisions=0)["revised"] is False
    assert run(max_revisions=1)["revised"] is True


@pytest.mark.parametrize(
    ("steps", "askers", "reason"),
    [
        (1, ["reasoning"], "max_steps"),
        (2, ["reasoning", "creative", "analytical", "synthesis"], "max_steps"),
        (3, ALL[:7], "max_steps"),
        (4, ALL, "complete"),
        (5, ALL, "complete"),
        (6, ALL, "complete"),
    ],
)
def test_every_max_steps_ends_with_an_answer(script: Script, steps, askers, reason):
    result = run(max_steps=steps)
    assert names(result) == askers
    assert result["steps"] == min(steps, 4)
    assert result["stop_reason"] == reason
    assert result["provenance"] == ("full" if reason == "complete" else "degraded")
    assert "Verdict: 42" in result["final_output"]


@pytest.mark.parametrize(
    ("steps", "askers"),
    [
        (1, ["reasoning"]),
        (2, ["reasoning", "synthesis"]),
        (3, ["perception", "reasoning", "synthesis"]),
    ],
)
def test_every_max_steps_of_a_simple_question(script: Script, steps, askers):
    run(SIMPLE, max_steps=steps)
    assert script.askers == askers


def test_synthesis_sees_every_draft_whole_anonymous_and_in_seeded_order(script: Script):
    drafts = {name: f"{name[0] * 3} " * 200 for name in ("reasoning", "creative", "analytical")}
    script.says.update(drafts)
    orders = set()
    for seed in range(12):
        run(seed=seed)
        shown = script.of("synthesis")[-1]["user"]
        assert all(text.strip() in shown for text in drafts.values())
        assert not any(f'"{name}"' in shown for name in drafts)
        orders.add(tuple(sorted(drafts, key=lambda name: shown.index(drafts[name].strip()))))
    assert len(orders) > 2
    run(seed=5)
    run(seed=5)
    assert script.of("synthesis")[-1]["user"] == script.of("synthesis")[-2]["user"]


def test_same_question_replies_and_seed_give_the_same_trace(script: Script):
    def trace():
        result = run(seed=7)
        for entry in result["experts"]:
            entry.pop("latency_s")
        return {key: value for key, value in result.items() if key != "messages"}

    assert trace() == trace()


def test_proposers_are_blind_to_each_other(script: Script):
    script.says["creative"] = "SECRET"
    run()
    assert all("SECRET" not in script.of(name)[0]["user"] for name in ("reasoning", "analytical"))


def test_workspace_off_leaves_only_hearing_edges(script: Script):
    run(use_global_workspace=False)
    assert "memory" not in script.of("synthesis")[0]["user"]
    assert 'from="perception"' in script.of("synthesis")[0]["user"]
    run()
    assert 'from="memory"' in script.of("synthesis")[1]["user"]


def test_capacity_keeps_the_most_salient(script: Script):
    script.says["perception"] = "Unrelated words entirely."
    script.says["memory"] = "Why the subject is what it is: background."
    run(capacity=1)
    shown = script.of("meta_cognitive")[0]["user"]
    assert 'from="memory"' in shown
    assert 'from="perception"' not in shown


def test_memory_off_still_asks_the_memory_expert(script: Script):
    result = run(use_memory=False)
    assert "memory" in names(result)
    assert result["recalled"] == []


def test_failed_expert_is_simulated_shown_to_nobody_and_degrades(script: Script):
    script.says["creative"] = ModelError("auth", "no entry")
    result = run()
    creative = next(e for e in result["experts"] if e["name"] == "creative")
    assert (creative["status"], creative["attempts"]) == ("simulated", 1)
    assert "no entry" in creative["error"]
    assert all("[simulated]" not in request["user"] for request in script.requests)
    assert result["provenance"] == "degraded"
    assert result["agreement"] == 1.0
    assert "creative" in result["error"]


def test_failed_expert_is_left_out_with_skip_and_raises_when_strict(script: Script):
    script.says["creative"] = ModelError("auth", "no entry")
    result = run(on_error="skip")
    assert names(result, "failed") == ["creative"]
    before = len(script.requests)
    with pytest.raises(ExpertFailed, match=r"creative.*no entry"):
        run(on_error="raise")
    assert [r["expert"] for r in script.requests[before:]].count("analytical") == 1  # its sibling


def test_failed_synthesis_leaves_the_best_draft(script: Script):
    script.says["synthesis"] = ModelError("auth", "no entry")
    script.says["reasoning"] = "A draft.\nVerdict: 7"
    result = run()
    assert result["provenance"] == "degraded"
    assert result["verdict"] == "42"  # two of three drafts
    assert "meta_cognitive" not in script.askers  # there is no answer to check


def test_no_draft_left_synthesis_answers_alone(script: Script):
    for name in ("reasoning", "creative", "analytical"):
        script.says[name] = ModelError("refused_request", "not this one")
    result = run()
    assert result["final_output"] == script.says["synthesis"]
    assert result["provenance"] == "degraded"


def test_nothing_left_is_simulated_and_failed(script: Script):
    for name in ALL:
        script.says[name] = ModelError("auth", "no entry")
    result = run()
    assert (result["provenance"], result["stop_reason"]) == ("simulated", "failed")
    assert result["final_output"].startswith("[simulated]")


def test_simulation_runs_whole_and_says_so():
    result = graph.invoke({"question": HARD}, context={"model": "simulation:"})
    assert (result["provenance"], result["stop_reason"]) == ("simulated", "complete")
    assert len(names(result, "simulated")) == 8
    assert result["usage"]["calls"] == 0
    assert result["agreement"] is None
    assert result["error"] is None


def test_refusal_does_not_wake_but_the_draft_is_still_the_answer(script: Script):
    for name in ("reasoning", "creative", "analytical"):
        script.says[name] = "I'm sorry, I cannot answer that."
    result = run()
    assert "synthesis" in names(result, "skipped")
    assert result["final_output"].startswith("I'm sorry")


def test_a_refused_restatement_does_not_silence_an_easy_question(script: Script):
    script.says["perception"] = "I'm sorry, I can't help with that."
    result = run(SIMPLE)
    assert result["provenance"] == "full"
    assert names(result) == ["perception", "reasoning", "synthesis"]


def test_no_dissent_where_the_answer_states_no_verdict(script: Script):
    script.says["synthesis"] = "The answer is 42."
    assert run()["dissent"] == []


def test_a_revision_that_failed_is_none(script: Script):
    script.says["synthesis"] = ["It is a whale.", ModelError("refused_request", "no")]
    script.says["meta_cognitive"] = '[{"quote": "a whale", "problem": "wrong"}]'
    result = run()
    assert result["revised"] is False
    assert result["final_output"] == "It is a whale."
    assert result["provenance"] == "degraded"


def test_high_threshold_wakes_fewer(script: Script):
    script.says["attention"] = '{"creative": 0.8, "analytical": 0.7}'
    assert "analytical" in names(run(threshold=0.75), "skipped")


def test_expert_model_is_used_and_unknown_expert_is_refused(script: Script):
    result = run(expert_models={"synthesis": "other:model"})
    models = {e["name"]: e["model"] for e in result["experts"]}
    assert models["synthesis"] == "other:model"
    assert models["reasoning"] == result["model"] == "scripted:m"
    with pytest.raises(ConfigError, match="nobody"):
        run(expert_models={"nobody": "other:model"})


def test_expert_bound_to_simulation_in_a_real_run_is_shown_to_nobody(script: Script):
    result = run(expert_models={"creative": "simulation:"})
    assert names(result, "simulated") == ["creative"]
    assert all("[simulated]" not in request["user"] for request in script.requests)
    assert result["provenance"] == "degraded"


@pytest.mark.parametrize("bad", ["", "   \n\t", None])
def test_blank_question_is_refused_before_any_call(script: Script, bad):
    with pytest.raises(BlankQuestion):
        graph.invoke({"question": bad}, context={"model": "scripted:m"})
    assert script.requests == []


@pytest.mark.parametrize("bad", [42, ["x"], {"a": 1}, b"x", 1.5, True])
def test_question_that_is_no_text_is_refused(script: Script, bad):
    with pytest.raises(NotText):
        graph.invoke({"question": bad}, context={"model": "scripted:m"})
    assert script.requests == []


@pytest.mark.parametrize(
    "value",
    [{}, {"messages": []}, {"messages": [AIMessage("hello")]}, {"messages": [("user", " ")]}],
)
def test_input_without_a_question_is_a_brain_error(script: Script, value):
    with pytest.raises(BrainError):
        graph.invoke(value, context={"model": "scripted:m"})


def test_picture_alone_is_not_text(script: Script):
    picture = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    with pytest.raises(NotText):
        graph.invoke({"messages": [HumanMessage(picture)]}, context={"model": "scripted:m"})


def test_last_human_message_is_the_question_and_earlier_ones_are_heard(script: Script):
    messages = [("user", "My cat is Ada."), ("assistant", "Hello Ada."), ("user", SIMPLE)]
    result = graph.invoke({"messages": messages}, context={"model": "scripted:m"})
    assert [m.text for m in result["messages"][-2:]] == [SIMPLE, result["final_output"]]
    assert len(result["messages"]) == 4
    assert "My cat is Ada." in script.of("perception")[0]["user"]
    assert "Hello Ada." in script.of("reasoning")[0]["user"]


def test_question_is_appended_to_messages_with_its_answer(script: Script):
    result = run(SIMPLE)
    assert [type(m).__name__ for m in result["messages"]] == ["HumanMessage", "AIMessage"]


def test_second_run_on_a_thread_starts_afresh_and_hears_the_first(script: Script):
    brain = compile_brain(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "t"}}
    context = {"model": "scripted:m"}
    first = brain.invoke({"question": HARD}, config, context=context)
    second = brain.invoke({"messages": [("user", SIMPLE)]}, config, context=context)
    third = brain.invoke({"question": "What does other mean?"}, config, context=context)
    assert first["thread_id"] == "t"
    assert names(second) == names(third) == ["perception", "reasoning", "synthesis"]
    assert second["steps"] == 3
    assert second["usage"]["calls"] == 3
    assert "What does other mean?" in script.of("perception")[-1]["user"]
    assert HARD in script.of("perception")[-1]["user"]
    assert len(third["messages"]) == 6


def test_a_refused_question_does_not_haunt_the_thread(script: Script):
    brain = compile_brain(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "t"}}
    with pytest.raises(BlankQuestion):
        brain.invoke({"question": " "}, config, context={"model": "scripted:m"})
    result = brain.invoke({"messages": [("user", SIMPLE)]}, config, context={"model": "scripted:m"})
    assert result["final_output"]


async def test_ainvoke_invoke_inside_a_loop_and_many_at_once(script: Script):
    context = {"model": "scripted:m"}
    assert (await graph.ainvoke({"question": SIMPLE}, context=context))["provenance"] == "full"
    assert run(SIMPLE)["provenance"] == "full"  # blocks this loop, as in a notebook cell
    questions = [f"Why is number {n} what it is?" for n in range(50)]
    script.says["synthesis"] = lambda request: request["user"].split("\n")[1]
    results = await asyncio.gather(
        *(graph.ainvoke({"question": question}, context=context) for question in questions)
    )
    assert [result["final_output"] for result in results] == questions
    assert all(result["usage"]["calls"] == 8 for result in results)


def test_many_event_loops_in_one_process(script: Script):
    async def once():
        return await graph.ainvoke({"question": SIMPLE}, context={"model": "scripted:m"})

    assert {asyncio.run(once())["provenance"] for _ in range(3)} == {"full"}


def test_question_longer_than_the_context_is_refused_before_any_call(monkeypatch, script: Script):
    from dataclasses import replace

    from swarm_brain.graph.errors import QuestionTooLong
    from swarm_brain.models import choose

    bind = choose.bind
    small = lambda *args: replace(bind(*args), context_tokens=lambda: 1000)  # noqa: E731
    monkeypatch.setattr(choose, "bind", small)
    with pytest.raises(QuestionTooLong, match="1000"):
        run("word " * 2000)
    assert script.requests == []
    assert run("Why? " + "word " * 200)["provenance"] == "full"


def test_prompt_longer_than_the_context_is_trimmed_and_says_so(monkeypatch, script: Script):
    from dataclasses import replace

    from swarm_brain.models import choose

    bind = choose.bind
    small = lambda *args: replace(bind(*args), context_tokens=lambda: 1500)  # noqa: E731
    monkeypatch.setattr(choose, "bind", small)
    script.says["reasoning"] = "reason " * 900
    result = run()
    shown = script.of("synthesis")[0]["user"]
    assert "[...]" in shown
    assert HARD in shown
    assert result["provenance"] == "degraded"
    synthesis = next(e for e in result["experts"] if e["name"] == "synthesis")
    assert "trimmed" in synthesis["error"]


def test_wrong_settings_are_named():
    with pytest.raises(Exception, match="max_steps"):
        run(max_steps=0, model="simulation:")
    with pytest.raises(Exception, match="no_such"):
        run(no_such=1, model="simulation:")


@pytest.mark.parametrize("mode", ["custom", "messages"])
def test_events_and_tokens_are_streamed(script: Script, mode):
    stream = graph.stream({"question": SIMPLE}, context={"model": "scripted:m"}, stream_mode=mode)
    seen = list(stream)
    if mode == "custom":
        kinds = [(e["event"], e["expert"]) for e in seen if e["event"] in ("woken", "answered")]
        assert kinds == [(kind, name) for name in ("perception", "reasoning", "synthesis")
                         for kind in ("woken", "answered")]  # fmt: skip
    else:
        assert {part[1]["langgraph_node"] for part in seen} >= {"perception", "synthesis"}
