"""Variables, swarm-brain.toml, which model is chosen, and what wrong names are told."""

from __future__ import annotations

import ast
import importlib.util
import io
from pathlib import Path

import pytest
from dotenv import dotenv_values

from swarm_brain.config import VARIABLES, config_file, key_for, named_providers, use_keys, variable
from swarm_brain.graph.context import Context
from swarm_brain.graph.errors import BrainError, ConfigError, ModelUnavailable
from swarm_brain.models import choose
from swarm_brain.models.choose import bind
from swarm_brain.models.endpoint import base_of

ROOT = Path(__file__).parents[2]
PACKAGES = ("graph", "nodes", "prompts", "evals", "swarm_brain", "llm_swarm_brain")
EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
KEY = "sk-canary-4711"
READERS = {
    "get": 0,
    "getenv": 0,
    "variable": 0,
    "positive_number": 0,
    "_folder": 0,
    "key_for": 1,
    "setdefault": 0,
    "pop": 0,
}


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    """No variable of ours is set and no swarm-brain.toml is found."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)


def names_read(path: Path) -> set[str]:
    """The variables that a file reads, by literal or by constant; others stand as `?`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    constants = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call | ast.Subscript):
            continue
        given = node.slice if isinstance(node, ast.Subscript) else _argument(node)
        if given is not None and (isinstance(node, ast.Call) or "environ" in ast.dump(node.value)):
            value = given.value if isinstance(given, ast.Constant) else constants.get(_id(given))
            found.add(value if isinstance(value, str) else "?")
    return found


def _id(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _argument(call: ast.Call) -> ast.expr | None:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else _id(call.func)
    place = READERS.get(name)
    ours = name in (
        "variable",
        "key_for",
        "getenv",
        "positive_number",
        "_folder",
    ) or "environ" in ast.dump(call.func)
    return call.args[place] if ours and place is not None and len(call.args) > place else None


def all_read() -> dict[str, set[str]]:
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return {str(path.relative_to(ROOT)): names_read(path) for path in files}


def test_every_variable_that_is_read_is_declared():
    foreign = {"OMP_WAIT_POLICY"}  # OpenMP's own, set for it and not read for us
    read = {file: names - set(VARIABLES) - foreign - {"?"} for file, names in all_read().items()}
    assert {file: names for file, names in read.items() if names} == {}


def test_variables_of_unknown_name_are_read_for_named_providers_only():
    unknown = {file for file, names in all_read().items() if "?" in names}
    named = {
        "config.py",
        "endpoint.py",
        "embedding.py",
        "weights.py",
    }  # weights.py calls dict.get
    assert {Path(file).name for file in unknown} <= named


def test_every_declared_variable_is_read():
    read = set().union(*all_read().values())
    assert {name for name in VARIABLES if not name.startswith("LANGSMITH_")} <= read


def test_env_example_lists_every_variable_with_its_line():
    blocks = [block.splitlines() for block in EXAMPLE.strip().split("\n\n")[1:]]
    assert blocks == [[f"# {line}", f"#{name}="] for name, line in VARIABLES.items()]


def test_env_example_sets_nothing_until_a_line_is_uncommented():
    """Not even to empty: the LangGraph server lets an empty value override an exported one."""
    assert dotenv_values(stream=io.StringIO(EXAMPLE)) == {}
    filled = EXAMPLE.replace("#HYPERBOLIC_API_KEY=", "HYPERBOLIC_API_KEY=abc")
    assert dotenv_values(stream=io.StringIO(filled)) == {"HYPERBOLIC_API_KEY": "abc"}


@pytest.mark.parametrize("empty", [None, "", "  ", "\t"])
def test_empty_means_unset(monkeypatch, empty):
    for name in VARIABLES:
        if empty is not None:
            monkeypatch.setenv(name, empty)
        assert variable(name) is None
    assert key_for("hyperbolic", "HYPERBOLIC_API_KEY") is None
    assert config_file() is None
    assert choose.choose().spec in (choose.EMBEDDED_DEFAULT, "simulation:")


def test_values_are_stripped(monkeypatch):
    monkeypatch.setenv("HYPERBOLIC_API_KEY", f" {KEY}\n")
    assert variable("HYPERBOLIC_API_KEY") == key_for("hyperbolic", "HYPERBOLIC_API_KEY") == KEY


def config(text: str, monkeypatch) -> Path:
    path = Path("lab.toml").resolve()
    path.write_text(text, encoding="utf-8")
    monkeypatch.setenv("SWARM_BRAIN_CONFIG", str(path))
    return path


LAB = '[providers.lab]\nbase_url = "http://lab:8000/v1/chat/completions"\napi_key_env = "LAB_KEY"\n'


def test_a_named_provider(monkeypatch):
    config(LAB + "max_tokens = 99\ncontext_tokens = 4096", monkeypatch)
    assert list(named_providers()) == ["lab"]
    with pytest.raises(ModelUnavailable, match=r"lab: needs a key\. Set LAB_KEY"):
        bind("lab:m")
    monkeypatch.setenv("LAB_KEY", KEY)
    binding = bind("lab:some/model")
    assert (binding.spec, binding.endpoint) == ("lab:some/model", "http://lab:8000/v1")
    assert (binding.max_tokens, binding.context_tokens(), binding.secret) == (99, 4096, KEY)
    with pytest.raises(ConfigError, match="Write lab:MODEL"):
        bind("lab:")
    with pytest.raises(ConfigError, match="lab"):
        bind("nonsense")


def test_places_of_the_file(monkeypatch, tmp_path):
    home = tmp_path / "config" / "swarm-brain" / "swarm-brain.toml"
    home.parent.mkdir(parents=True)
    home.write_text(LAB)
    assert config_file() == home
    Path("swarm-brain.toml").write_text(LAB)
    assert config_file() == Path("swarm-brain.toml")
    path = config(LAB, monkeypatch)
    assert config_file() == path


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[providers.lab", "not TOML"),
        ("\x00", "not TOML"),
        ("[provider.lab]\nbase_url = 'http://x'", "provider: no such setting; known: providers"),
        (LAB + "base_uri = 1", "providers.lab.base_uri: no such setting; known: base_url"),
        ("[providers.lab]\napi_key_env = 'X'", "providers.lab.base_url: Field required"),
        ("[providers.lab]\nbase_url = 5", "providers.lab.base_url"),
        (LAB + "max_tokens = 0", "providers.lab.max_tokens"),
        ("providers = 3", "providers: "),
        ("[providers]\nlab = 'http://x'", "providers.lab: "),
    ],
)
def test_a_wrong_file_is_named_with_its_entry(monkeypatch, text, says):
    path = config(text, monkeypatch)
    with pytest.raises(ConfigError) as caught:
        bind("lab:m")
    assert str(caught.value).startswith(f"{path}: ")
    assert says in str(caught.value)
    assert "max_steps" not in str(caught.value)


@pytest.mark.parametrize(
    "text", [f"[providers.lab]\napi_key = '{KEY}'", LAB + f"api_key = '{KEY}'"]
)
def test_a_key_written_into_the_file_is_not_shown(monkeypatch, text):
    config(text, monkeypatch)
    with pytest.raises(ConfigError, match="api_key") as caught:
        named_providers()
    assert KEY not in str(caught.value)


def test_a_missing_file_is_named(monkeypatch):
    monkeypatch.setenv("SWARM_BRAIN_CONFIG", "/no/such.toml")
    with pytest.raises(ConfigError, match=r"SWARM_BRAIN_CONFIG names /no/such\.toml"):
        bind("lab:m")


def installed(monkeypatch, package):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == package or None)


def test_order_of_choice(monkeypatch):
    installed(monkeypatch, None)
    assert choose.choose().spec == "simulation:"
    assert "swarm-brain[embedded]" in choose.choose().reason
    installed(monkeypatch, "xllamacpp")
    assert choose.choose().spec == "embedded:smollm2-135m"
    with use_keys({"hyperbolic": KEY}):
        assert choose.choose().spec.startswith("hyperbolic:")
    monkeypatch.setenv("HYPERBOLIC_API_KEY", KEY)
    assert choose.choose() == (
        "hyperbolic:meta-llama/Meta-Llama-3.1-405B-Instruct",
        "HYPERBOLIC_API_KEY is set",
    )
    monkeypatch.setenv("SWARM_BRAIN_MODEL", "lab:m")
    assert choose.choose() == ("lab:m", "SWARM_BRAIN_MODEL names it")
    assert choose.choose("simulation:") == ("simulation:", "you named it")


def test_embedded_weights_that_cannot_be_had_become_a_simulation_only_by_auto(monkeypatch):
    installed(monkeypatch, "xllamacpp")

    def gone(spec, base_url=None, real=bind):
        if spec.startswith("embedded:"):
            raise ModelUnavailable("no weights.", "Go online.")
        return real(spec, base_url)

    monkeypatch.setattr(choose, "bind", gone)
    binding, reason = choose.bind_chosen("auto")
    assert (binding.simulated, reason) == (True, "no weights. Go online.")
    with pytest.raises(ModelUnavailable, match="Go online"):
        choose.bind_chosen("embedded:smollm2-135m")


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("https://api.hyperbolic.xyz/v1", "https://api.hyperbolic.xyz/v1"),
        ("https://api.hyperbolic.xyz/v1/", "https://api.hyperbolic.xyz/v1"),
        ("https://api.hyperbolic.xyz/v1/chat/completions", "https://api.hyperbolic.xyz/v1"),
        (" http://localhost:11434/v1/chat/completions/ ", "http://localhost:11434/v1"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
        ("http://host", "http://host"),
    ],
)
def test_base_and_full_url(url, base, monkeypatch):
    assert base_of(url) == base
    monkeypatch.setenv("HYPERBOLIC_API_URL", url)
    monkeypatch.setenv("HYPERBOLIC_API_KEY", KEY)
    assert bind("hyperbolic:").endpoint == base


@pytest.mark.parametrize(
    "url",
    ["", "localhost:11434/v1", "ftp://host/v1", "http://", "http:///v1", "http://[::1/v1",
     "http://host:port/v1", "http://host:99999/v1", "not a url"],
)  # fmt: skip
def test_what_is_no_address_is_refused_before_any_call(url):
    with pytest.raises(ConfigError, match="address"):
        bind("openai-compatible:m", url)


@pytest.mark.parametrize(
    ("spec", "fix"),
    [
        ("", "Write provider:model; providers are hyperbolic"),
        (":", "Write provider:model"),
        (":m", "Write provider:model"),
        ("nonsense", "Write provider:model"),
        ("nosuch:m", "There are hyperbolic"),
        ("nosuch:", "Write nosuch:MODEL"),
        ("openai-compatible:m", "OPENAI_COMPATIBLE_BASE_URL"),
        ("hyperbolic:", "Set HYPERBOLIC_API_KEY"),
        ("embedded:nope", "Known names: smollm2-135m"),
        ("embedded:/no/such.gguf", "/no/such.gguf"),
        ("huggingface:", "Write huggingface:"),
        ("anthropic:claude", "pip install langchain-anthropic"),
    ],
)
def test_nonsense_names_are_told_the_fix(spec, fix):
    with pytest.raises(BrainError) as caught:
        bind(spec)
    assert fix in str(caught.value)


def test_an_endpoint_without_a_model_is_told_so():
    with pytest.raises(ConfigError, match="Write openai-compatible:MODEL"):
        bind("openai-compatible:", "http://localhost:1/v1")


def test_hyperbolic_is_bound_as_the_issue_says(monkeypatch):
    monkeypatch.setenv("HYPERBOLIC_API_KEY", KEY)
    binding = bind("hyperbolic:")
    assert binding.spec == "hyperbolic:meta-llama/Meta-Llama-3.1-405B-Instruct"
    assert (binding.max_tokens, binding.takes_schema) == (2048, True)
    assert KEY not in repr(binding)


def test_a_key_given_in_the_process_wins_inside_its_block_only(monkeypatch):
    monkeypatch.setenv("HYPERBOLIC_API_KEY", "from the environment")
    with use_keys({"hyperbolic": KEY}):
        assert key_for("hyperbolic", "HYPERBOLIC_API_KEY") == KEY
        with use_keys({"lab": "other"}):
            assert (key_for("hyperbolic", None), key_for("lab", None)) == (KEY, "other")
        assert bind("hyperbolic:").secret == KEY
        assert KEY not in repr(Context(model="hyperbolic:"))
    assert key_for("hyperbolic", "HYPERBOLIC_API_KEY") == "from the environment"
    assert key_for("hyperbolic", None) is None


def test_no_setting_of_a_run_can_hold_a_key():
    assert [name for name in Context.model_fields if "key" in name or "secret" in name] == []
    with pytest.raises(ValueError, match="api_key"):
        Context(api_key=KEY)


def test_a_hard_question_reads_the_file_once(monkeypatch):
    from swarm_brain.graph.brain import graph

    path, reads, read = config(LAB, monkeypatch), [], Path.read_bytes

    def counting(self):
        reads.append(self)
        return read(self)

    monkeypatch.setattr(Path, "read_bytes", counting)
    Path("replies.json").write_text('[{"reply": {"defects": []}}]', encoding="utf-8")
    context = {"model": "scripted:replies.json", "effort": "high"}
    result = graph.invoke({"question": "Why?"}, context=context)
    assert result["usage"]["calls"] == 8
    assert reads.count(path) == 1
    path.write_text(LAB + "max_tokens = 99\n")
    assert named_providers()["lab"].max_tokens == 99
    assert reads.count(path) == 2
