"""`scripted:FILE`: replies from a file, as users write them for their own tests."""

from __future__ import annotations

import asyncio
import json
import re
import time
from pathlib import Path

import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage, SystemMessage

from swarm_brain.calls.client import ask
from swarm_brain.calls.request import Call, Reply
from swarm_brain.calls.retry import RETRYABLE_KINDS
from swarm_brain.graph.brain import graph
from swarm_brain.graph.context import make_context
from swarm_brain.graph.errors import BrainError, ConfigError, ExpertFailed
from swarm_brain.models.binding import Sampling
from swarm_brain.models.choose import bind, choose
from swarm_brain.nodes import access

ROOT = Path(__file__).parents[3]
HARD = "Why does the harbour bridge sway?"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The working folder, where the scripts are."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def script(text: str, name: str = "replies.yaml") -> str:
    """Write a script; the model that it is."""
    Path(name).write_text(text, encoding="utf-8")
    return f"scripted:{name}"


def reply_to(model: str, prompt: str = "A question.", **settings) -> Reply:
    """One call to a scripted model, by default with a single attempt."""
    messages = [SystemMessage("# Expert: reasoning"), HumanMessage(prompt)]
    options = {"timeout": 5.0, "max_attempts": 1, "label": "reasoning", **settings}
    sampling = Sampling(0.7, 0.9, options.pop("max_tokens", 512))
    return asyncio.run(ask(bind(model), Call(messages, sampling, **options)))


def ask_graph(model: str, question: str = HARD, **settings):
    return graph.invoke({"question": question}, context={"model": model, **settings})


def test_the_example_of_the_documentation():
    """docs/testing.md, written to files and run."""
    text = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    (replies,) = re.findall(r"```yaml\n(.*?)```", text, re.S)
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    script(replies)
    defined: dict[str, object] = {}
    exec(compile(code, "test_bridge.py", "exec"), defined)
    tests = [value for name, value in defined.items() if name.startswith("test_")]
    assert len(tests) == 1
    tests[0]()


def test_every_key_of_an_entry_is_documented():
    from swarm_brain.models.script import ScriptEntry

    text = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
    table = "\n".join(line for line in text.splitlines() if line.startswith("| `"))
    assert [name for name in ScriptEntry.model_fields if f"`{name}`" not in table] == []


@pytest.mark.parametrize("form", ["- reply: {a: 1}", '[\n\t{"reply": {"a": 1}}\n]'])
def test_yaml_and_json_are_read(form):
    assert reply_to(script(form)).text == '{"a": 1}'


def test_the_first_entry_that_fits_answers():
    model = script(
        "- {expert: creative, reply: not this}\n"
        "- {match: tide, reply: about tides}\n"
        "- {expert: reasoning, match: '/br[ia]dge$/', reply: about bridges}\n"
        "- {reply: anything else}\n"
    )
    assert reply_to(model, "What is a tide?").text == "about tides"
    assert reply_to(model, "Which bridge").text == "about bridges"
    assert reply_to(model, "Which bridge", label="memory").text == "anything else"
    assert reply_to(model, "(bridge).").text == "anything else"


def test_a_reply_counts_as_a_models_answer():
    model = script("- {expert: meta_cognitive, reply: {defects: []}}\n- reply: 'So. Verdict: 4'")
    result = ask_graph(model, "What is two and two?", effort="low")
    assert (result["provenance"], result["model"]) == ("full", model)
    assert result["usage"]["cost_usd"] == 0
    assert {expert["model"] for expert in result["experts"]} == {model}


def test_a_request_without_an_entry_fails_and_names_the_prompt():
    model = script("- {match: never, reply: x}")
    reply = reply_to(model, f"Where {'is ' * 200}the end?")
    said = str(reply.error)
    assert said.startswith(
        f"{model} has no entry for this request. Add one with `expert: reasoning`"
    )
    assert "# Expert: reasoning" in said
    assert "the end?" in said
    assert len(said) < 400
    with pytest.raises(ExpertFailed, match="has no entry for this request"):
        ask_graph(model, effort="high", on_error="raise")


def test_lists_are_used_one_by_one_and_by_each_run_for_itself():
    model = script("- reply: [one, two, {n: 3}]")
    said = [reply_to(model, run="a").text for _ in range(4)]
    assert said == ["one", "two", '{"n": 3}', '{"n": 3}']
    assert reply_to(model, run="b").text == "one"


def test_a_retry_gets_the_next_reply():
    model = script("- {error: server, retry_after: 0, times: 2}\n- reply: at last")
    reply = reply_to(model, run="r", max_attempts=3)
    assert (reply.text, reply.attempts, reply.errors) == ("at last", 3, 2)
    failed = reply_to(model, run="s", max_attempts=2)
    assert (failed.error.kind, failed.error.status, failed.text) == ("server", 500, "")


@pytest.mark.parametrize(
    ("kind", "retryable"),
    [("auth", False), ("not_found", False), ("context_overflow", False), ("rate_limit", True),
     ("timeout", True), ("connection", True), ("no_reply", True), ("unavailable", False)],
)  # fmt: skip
def test_failures_are_those_of_real_endpoints(kind, retryable):
    reply = reply_to(script(f"- error: {kind}"))
    assert (reply.error.kind, reply.error.kind in RETRYABLE_KINDS) == (kind, retryable)
    assert "scripted:replies.yaml" in str(reply.error)


def test_an_endpoint_that_refuses_the_schema_is_asked_in_plain_text():
    model = script("- {error: refused_request, times: 1}\n- reply: {a: 1}")
    reply = reply_to(model, run="r", schema={"type": "object", "properties": {}})
    assert (reply.text, reply.attempts) == ('{"a": 1}', 2)


def test_a_delay_is_waited_for_and_can_time_out():
    model = script("- {delay: 0.2, reply: late}")
    started = time.monotonic()
    assert reply_to(model).text == "late"
    assert time.monotonic() - started >= 0.2
    assert reply_to(model, timeout=0.05).error.kind == "timeout"


def test_tokens_are_estimated_unless_they_are_stated():
    reply = reply_to(script("- reply: eight by", "short.yaml"), "abcd")
    assert (reply.input_tokens, reply.output_tokens, reply.estimated) == (6, 2, False)
    stated = reply_to(script("- {reply: x, input_tokens: 70, output_tokens: 30}"))
    assert (stated.input_tokens, stated.output_tokens) == (70, 30)


def test_a_reply_is_cut_off_at_max_tokens():
    assert reply_to(script("- reply: abcdefghij"), max_tokens=2).text == "abcdefgh"
    whole = reply_to(script("- {reply: abcdefghij, output_tokens: 9}"), max_tokens=2)
    assert whole.text == "abcdefghij"


def test_replies_stream_word_by_word():
    model = script("- reply: one two  three")
    parts = graph.stream(
        {"question": "What is a tide?"},
        context={"model": model, "effort": "low"},
        stream_mode="messages",
    )
    words = [chunk.text for chunk, about in parts if isinstance(chunk, AIMessageChunk)]
    assert words[:3] == ["one", " two", "  three"]


def test_runs_at_the_same_time_do_not_disturb_each_other():
    model = script("- {expert: synthesis, reply: [first, second]}\n- {delay: 0.01, reply: word}")
    context = {"model": model, "effort": "low", "max_revisions": 0}

    async def all_of_them():
        asked = [graph.ainvoke({"question": HARD}, context=context) for _ in range(8)]
        return await asyncio.gather(*asked)

    answers = [result["final_output"] for result in asyncio.run(all_of_them())]
    assert answers == ["first"] * 8


def test_a_file_that_changes_is_read_again():
    model = script("- reply: old")
    assert reply_to(model).text == "old"
    assert reply_to(script("- reply: new")).text == "new"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- repl: x", "replies.yaml, entry 1: unknown key `repl`; known: expert, match, reply"),
        ("- reply: x\n- {reply: y, error: server}", "entry 2: write either `reply` or `error`"),
        ("- expert: memory", "entry 1: write either `reply` or `error`"),
        ("- reply: 42", "reply: write text (in quotes"),
        ("- reply: []", "reply: write text (in quotes"),
        ("- reply: [x, 3]", "reply: write text (in quotes"),
        ("- {reply: x, match: /(/}", "match: not a regular expression"),
        ("- {reply: x, match: ''}", "match: write text that the prompt contains"),
        ("- {reply: x, delay: soon}", "delay: "),
        ("- {reply: x, times: 0}", "times: "),
        ("- {reply: x, expert: 3}", "expert: "),
        ("- {reply: x, retry_after: 1}", "`retry_after` needs `error`"),
        ("- error: tired", "error: write one of auth, not_found"),
        ("- word", "entry 1: write a mapping"),
        ("reply: x", "write a list of entries"),
        ("", "write a list of entries"),
        ("- reply: [", "replies.yaml is not YAML or JSON"),
        ("\x00", "replies.yaml is not YAML or JSON"),
        ("- reply: a\n  reply: b", "'reply' is stated twice in line 1"),
        ('[\n{"reply": "a", "reply": "b"}]', "'reply' is stated twice in line 2"),
        ("- reply: {d: 2020-99-99}", "replies.yaml is not YAML or JSON: month must be"),
        ("- reply: {2020-01-01: a}", "entry 1: reply: write an object that JSON can express"),
        ("[" * 2_000, "replies.yaml is not YAML or JSON: it is nested too deeply"),
    ],
)
def test_a_wrong_file_is_told_what_and_where(text, says):
    with pytest.raises(ConfigError) as caught:
        bind(script(text))
    assert says in str(caught.value)
    with pytest.raises(ConfigError):  # before anything is asked
        ask_graph("scripted:replies.yaml")


def test_the_text_of_a_wrong_file_is_not_shown():
    with pytest.raises(ConfigError) as caught:
        bind(script("- reply: x\n  secret-4711: [\n"))
    assert "4711" not in str(caught.value)


@pytest.mark.parametrize("place", ["", "nowhere.yaml", "."])
def test_a_missing_file_is_told_what_to_write(place):
    with pytest.raises(BrainError, match=r"cannot be read .* Write scripted:FILE"):
        bind(f"scripted:{place}")


def test_auto_never_chooses_it(monkeypatch):
    monkeypatch.delenv("SWARM_BRAIN_MODEL", raising=False)
    script("- reply: x")
    assert not choose().spec.startswith("scripted:")


def test_callers_with_a_key_may_not_name_a_file(monkeypatch):
    script("- reply: x")
    with pytest.raises(ConfigError, match="this server offers auto"):
        access.check(make_context({"model": "scripted:/etc/hosts"}), "ada")
    Path("swarm-brain.toml").write_text('[server]\nmodels = ["scripted:replies.yaml"]\n')
    access.check(make_context({"model": "scripted:replies.yaml"}), "ada")


def test_the_cache_does_not_outlive_a_change_of_the_file():
    model = script("- reply: old")
    assert ask_graph(model, effort="low", cache="memory")["final_output"] == "old"
    script("- reply: new")
    assert ask_graph(model, effort="low", cache="memory")["final_output"] == "new"


def test_json_of_the_result_names_the_file_as_it_was_given(folder):
    result = ask_graph(script("- reply: x"), effort="low")
    assert str(folder) not in json.dumps(result, default=str)
