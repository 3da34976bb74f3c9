"""Providers that other packages add, installed as a user installs them."""

from __future__ import annotations

import importlib
import logging
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from swarm_brain.cli.app import app
from swarm_brain.graph.brain import graph
from swarm_brain.graph.errors import BrainError, ConfigError, ModelUnavailable
from swarm_brain.models.choose import bind

DOCUMENTATION = Path(__file__).parents[3] / "docs" / "providers.md"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a package with one module and these providers by pip, in a folder on the path."""

    def install(name: str, code: str, providers: dict[str, str]) -> None:
        wheel = build(tmp_path, name, code, providers)
        target = tmp_path / name
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
        subprocess.run([*command, "--target", target, wheel], check=True)
        monkeypatch.syspath_prepend(target)
        importlib.invalidate_caches()

    yield install
    for name in [name for name in sys.modules if name.startswith("swarm_brain_")]:
        del sys.modules[name]


def build(folder: Path, name: str, code: str, providers: dict[str, str]) -> Path:
    """A wheel of one module."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    points = "".join(f"{key} = {value}\n" for key, value in providers.items())
    files = {
        f"{name}.py": code,
        f"{name}-1.0.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{name}-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
        f"{name}-1.0.dist-info/entry_points.txt": f"[swarm_brain.providers]\n{points}",
    }
    record = f"{name}-1.0.dist-info/RECORD"
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in files.items():
            wheel.writestr(file, text)
        wheel.writestr(record, "".join(f"{file},,\n" for file in [*files, record]))
    return path


@pytest.fixture
def parrot(install):
    """The package of the documentation."""
    text = DOCUMENTATION.read_text(encoding="utf-8")
    (project,) = re.findall(r"```toml\n(.*?)```", text, re.S)
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    install(
        "swarm_brain_parrot",
        code,
        tomllib.loads(project)["project"]["entry-points"]["swarm_brain.providers"],
    )


def test_the_provider_of_the_documentation_answers(parrot):
    context = {"model": "parrot:grey", "effort": "low"}
    result = graph.invoke({"question": "What is a neap tide?"}, context=context)
    assert (result["model"], result["provenance"]) == ("parrot:grey", "full")
    assert result["final_output"] == "Pretty Polly."
    assert bind("parrot:grey", "http://cage/v1").endpoint == "http://cage/v1"
    with pytest.raises(ModelUnavailable, match="Write parrot:grey"):
        bind("parrot:blue")


def test_it_is_listed_without_being_loaded(parrot):
    listed = CliRunner().invoke(app, ["models", "list"])
    assert "added by the package swarm_brain_parrot" in " ".join(listed.output.split())
    assert "swarm_brain_parrot" not in sys.modules
    with pytest.raises(ConfigError, match=r"providers are hyperbolic, .*, parrot and"):
        bind("nonsense")


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import nowhere_at_all", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("def other(): ...", "AttributeError"),
        ("def bind(model): ...", "TypeError"),
        ("def bind(model, base_url): return 5", "must return a Binding, not int"),
        ("def bind(model, base_url): 1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_broken_package_is_named_and_disturbs_nobody(install, code, says):
    install("swarm_brain_broken", code, {"broken": "swarm_brain_broken:bind"})
    with pytest.raises(BrainError) as caught:
        bind("broken:m")
    assert says in str(caught.value)
    assert "the package swarm_brain_broken" in str(caught.value)
    assert bind("simulation:").simulated
    with pytest.raises(ConfigError, match="'other' is not a provider"):
        bind("other:m")


def test_a_model_that_returns_no_reply_is_a_failed_call(install):
    code = """
from langchain_core.language_models import ParrotFakeChatModel
from swarm_brain.models.binding import Binding

def bind(model, base_url):
    return Binding(model, "echo", lambda sampling: ParrotFakeChatModel(), 512)
"""
    install("swarm_brain_echo", code, {"echo": "swarm_brain_echo:bind"})
    context = {"model": "echo:m", "effort": "low", "max_attempts": 1}
    result = graph.invoke({"question": "What is a neap tide?"}, context=context)
    assert result["stop_reason"] == "failed"
    assert "echo:m: returned a HumanMessage, not an AIMessage" in result["experts"][0]["error"]


def test_a_shipped_name_cannot_be_overridden(install, caplog):
    code = "def bind(model, base_url): raise AssertionError"
    providers = {"simulation": "swarm_brain_thief:bind", "thief": "swarm_brain_thief:bind"}
    install("swarm_brain_thief", code, providers)
    assert bind("simulation:").simulated
    with caplog.at_level(logging.WARNING), pytest.raises(ModelUnavailable, match="AssertionError"):
        bind("thief:m")
    assert "provider simulation of swarm_brain_thief is ignored" in caplog.text


def test_a_table_of_the_user_comes_first(parrot, tmp_path, monkeypatch):
    path = tmp_path / "own.toml"
    path.write_text('[providers.parrot]\nbase_url = "http://mine/v1"\n')
    monkeypatch.setenv("SWARM_BRAIN_CONFIG", str(path))
    assert bind("parrot:grey").endpoint == "http://mine/v1"
