"""Options derived from the fields of Context: which there are, and what they make of values."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import typer
from pydantic import Field
from typer.testing import CliRunner

from swarm_brain.cli import options
from swarm_brain.cli.app import app
from swarm_brain.cli.options import BUDGETS, UNATTENDED, settings_of, with_settings
from swarm_brain.evals import compare, philosophy
from swarm_brain.graph import context as context_module
from swarm_brain.graph.context import Context
from swarm_brain.graph.errors import ConfigError

# The options that version 0.1.0 had; none of them may go.
BEFORE = {
    ("ask",): "model base-url expert-model max-steps effort max-tokens temperature top-p seed "
    "timeout budget-tokens budget-usd budget-seconds cache topology dry-run thread no-save "
    "pause-before no-memory memory-space no-workspace url strict json debug",
    ("chat",): "thread model base-url effort max-tokens budget-tokens budget-usd topology no-save",
    ("batch",): "output url concurrency resume retry-failed budget-tokens budget-usd model "
    "base-url effort max-tokens seed setting topology",
    ("doctor",): "model base-url",
    ("serve",): "host port grace new-key",
    ("threads", "resume"): "json budget-tokens budget-usd budget-seconds decide sees",
    ("memory", "consolidate"): "model base-url tokens space json",
}


def command(*words):
    """The command of these words, as typer builds it."""
    found = typer.main.get_command(app)
    for word in words:
        found = found.commands[word]
    return found


def flags(*words):
    """Every option of a command."""
    found = command(*words)
    parameters = found.get_params(found.make_context("test", [], resilient_parsing=True))
    return [flag for p in parameters for flag in (*p.opts, *p.secondary_opts) if flag[:2] == "--"]


@pytest.mark.parametrize("words", BEFORE, ids=" ".join)
def test_no_option_is_lost_and_none_is_there_twice(words):
    found = flags(*words)
    assert {f"--{name}" for name in BEFORE[words].split()} <= set(found)
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("words", [("ask",), ("chat",)], ids=" ".join)
def test_every_field_is_an_option(words):
    assert {options.flag(name) for name in Context.model_fields} <= set(flags(*words))


def test_batch_has_the_settings_that_mean_something_for_a_row():
    settings = options.all_settings().values()
    assert {options.flag(s.name) for s in settings if not s.within(UNATTENDED)} <= set(
        flags("batch")
    )
    assert not {"--memory", "--recall-limit", "--pause-before", "--budget-seconds"} & set(
        flags("batch")
    )


def test_resume_takes_the_budgets_and_no_other_setting():
    derived = {options.flag(name) for name in Context.model_fields} & set(
        flags("threads", "resume")
    )
    assert derived == {options.flag(name) for name in BUDGETS}


def test_a_new_field_is_an_option_with_panel_bounds_and_default(monkeypatch):
    class Larger(Context):
        patience: int = Field(3, ge=1, le=9, title="Reply: patience", description="Wait so long.")

    monkeypatch.setattr(context_module, "Context", Larger)
    options.all_settings.cache_clear()
    try:
        for one, words in (
            (app, ["ask"]),
            (app, ["chat"]),
            (app, ["batch"]),
            (compare.app, []),
            (philosophy.app, []),
        ):
            shown = CliRunner().invoke(one, [*words, "--help"], env={"COLUMNS": "200"}).output
            panel = shown[shown.index("─ Reply ") : shown.index("─ Experts ")]
            assert "--patience" in panel
            assert "Wait so long. (from 1 to 9, default: 3)" in panel
        assert run("--patience", "5") == {"patience": 5}
        with pytest.raises(ConfigError, match=r"--patience: .* less than or equal to 9, got '10'"):
            run("--patience", "10")
    finally:
        options.all_settings.cache_clear()


def run(*words, **with_):
    """The settings that a command is given with these words."""
    seen = {}
    one = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

    @one.command(cls=with_settings(**with_))
    def ask(context: typer.Context) -> None:
        seen.update(settings_of(context))

    done = CliRunner().invoke(one, list(words))
    if done.exception:
        raise done.exception
    return seen


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        ("", {}),
        ("--max-steps 3 --temperature 0.2", {"max_steps": 3, "temperature": 0.2}),
        ("--no-memory --workspace", {"use_memory": False, "use_global_workspace": True}),
        ("--pause-before a --pause-before b", {"pause_before": ["a", "b"]}),
        ("--expert-model a=x:y --expert-model b=z:", {"expert_models": {"a": "x:y", "b": "z:"}}),
        ("--on-error skip --effort low", {"on_error": "skip", "effort": "low"}),
    ],
)
def test_values_are_what_their_fields_hold(words, settings):
    assert run(*words.split()) == settings
    assert json.loads(json.dumps(settings)) == settings


def test_a_json_schema_is_given_as_text_or_as_a_file(tmp_path):
    schema = {"type": "object", "properties": {"verdict": {"type": "string"}}}
    path = tmp_path / "schema.json"
    path.write_text(json.dumps(schema))
    assert run("--answer-schema", json.dumps(schema)) == {"answer_schema": schema}
    assert run("--answer-schema", str(path)) == {"answer_schema": schema}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--max-steps", "many"], "--max-steps: .*valid integer.*'many'"),
        (["--max-steps", "0"], "--max-steps: .*greater than or equal to 1, got '0'"),
        (["--budget-usd", "nan"], "--budget-usd: .*, got 'nan'"),
        (["--effort", "big"], "--effort: .*'auto', 'low' or 'high', got 'big'"),
        (["--expert-model", "synthesis"], "--expert-model 'synthesis': write NAME=VALUE"),
        (["--memory-space", " "], "--memory-space: .*at least 1 character"),
        (["--memory-space", "\udcff"], "--memory-space must be UTF-8"),
        (["--pause-before", "\udcff"], "--pause-before must be UTF-8"),
        (["--answer-schema", "no/such.json"], "--answer-schema: no/such.json cannot be read"),
        (["--answer-schema", "{"], "--answer-schema: '{' is not JSON"),
        (["--answer-schema", '{"type": 5}'], "--answer-schema: "),
        (["--seed", "-1", "--top-p", "2"], "--top-p: .*\n--seed: "),
    ],
)
def test_a_wrong_value_is_refused_by_the_options_name(words, message):
    with pytest.raises(ConfigError, match=message):
        run(*words)


def test_a_wrong_value_with_json_is_one_object_and_an_error():
    done = CliRunner().invoke(app, ["ask", "Why?", "--max-steps", "0", "--json"])
    assert isinstance(done.exception, ConfigError)
    assert json.loads(done.stdout)["error"].startswith("--max-steps: ")


def test_defaults_of_a_command_replace_those_of_context():
    assert run(defaults={"effort": "high"}) == {"effort": "high"}
    assert run("--effort", "low", defaults={"effort": "high"}) == {"effort": "low"}


def test_the_list_of_commands_is_shown_without_importing_what_is_slow():
    code = (
        "import sys; sys.argv[1:] = ['--help']\n"
        "try:\n    from swarm_brain.cli import main; main()\n"
        "except SystemExit:\n    print([m for m in sys.modules if m in "
        "('swarm_brain.graph.context', 'langgraph', 'langchain_core')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]"
