"""What the wheel installs: one importable name, however it is built and wherever it is used."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.integration.processes import REPO, free_port, healthy, plain_environment, process, until

LINKED = ("graph", "nodes", "prompts", "evals")
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv*", "node_modules", "__pycache__", ".*_cache", ".hypothesis", "*.egg-info",
    "dist", "build", "results", "eval-results", ".langgraph_api",
)  # fmt: skip
JUNK = (
    ".env", "graph/.env", "graph/__pycache__/state.cpython-311.pyc", "prompts/__pycache__/x.pyc",
    "swarm_brain/page/node_modules/react/index.js", "dist/old.whl", "results/run.json",
)  # fmt: skip


def copy_checkout(to: Path) -> Path:
    """Copy the repository, links as links, and leave junk in it as work does."""
    shutil.copytree(REPO, to, symlinks=True, ignore=NOT_COPIED)
    for name in JUNK:
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        (to / name).write_text("junk")
    return to


def without_links(to: Path, *, as_text: bool) -> Path:
    """A checkout whose links Git wrote as text files (core.symlinks=false), or that lost them."""
    copy_checkout(to)
    for name in LINKED:
        link = to / "swarm_brain" / name
        link.unlink()
        if as_text:
            link.write_text(f"../{name}")
    return to


def copy_of_the_dockerfile(to: Path) -> Path:
    """The files that the Dockerfile's first stage copies, as `docker build` would see them."""
    stage = (REPO / "Dockerfile").read_text().split("FROM ")[1]
    copied = [shlex.split(line)[1:-1] for line in stage.splitlines() if line.startswith("COPY")]
    for name in (name for names in copied for name in names):
        source = REPO / name
        if source.is_dir():
            shutil.copytree(source, to / name, symlinks=True, ignore=NOT_COPIED)
        else:
            to.mkdir(exist_ok=True)
            shutil.copy(source, to / name)
    return to


def unpacked_sdist(to: Path) -> Path:
    """The sdist of a checkout, unpacked."""
    checkout = copy_checkout(to / "checkout")
    build(checkout, "sdist", to / "dist")
    (archive,) = (to / "dist").glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        assert not [member.name for member in opened if member.issym() or member.islnk()]
        opened.extractall(to, filter="data")
    (unpacked,) = to.glob("swarm_brain-*")
    return unpacked


SOURCES: dict[str, Callable[[Path], Path]] = {
    "checkout": copy_checkout,
    "sdist": unpacked_sdist,
    "dockerfile": copy_of_the_dockerfile,
    "links as text": lambda to: without_links(to, as_text=True),
    "links missing": lambda to: without_links(to, as_text=False),
}


def build(source: Path, target: str, to: Path) -> None:
    """Build with the project's backend, which is installed: nothing is downloaded."""
    run(sys.executable, "-m", "hatchling", "build", "-t", target, "-d", to, cwd=source)


def run(*command: str | Path, cwd: Path, fails: bool = False, **variables: str) -> str:
    """Run a command and return what it printed."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=plain_environment(cwd / "home", PYTHONDONTWRITEBYTECODE="1", **variables),
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (done.returncode != 0) == fails, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout + (done.stderr if fails else "")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each way's name to the wheel that was built that way."""
    built = {}
    for name, make in SOURCES.items():
        folder = tmp_path_factory.mktemp("source")
        build(make(folder / "source"), "wheel", folder / "wheel")
        (built[name],) = (folder / "wheel").glob("*.whl")
    return built


def names_in(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return sorted(archive.namelist())


def code_of_the_repository() -> set[str]:
    """Every file that belongs into a wheel, under the name that it has there."""
    found = set()
    for package in ("swarm_brain", "llm_swarm_brain", *LINKED):
        for path in (REPO / package).rglob("*"):
            name = path.relative_to(REPO)
            if path.is_file() and "__pycache__" not in name.parts and name.parts[1] != "page":
                found.add(f"swarm_brain/{name}" if package in LINKED else str(name))
    return found


def test_a_wheel_has_two_top_level_names(wheels: dict[str, Path]):
    names = names_in(wheels["checkout"])
    version = wheels["checkout"].name.split("-")[1]
    tops = {"swarm_brain", "llm_swarm_brain", f"swarm_brain-{version}.dist-info"}
    assert {name.split("/")[0] for name in names} == tops


def test_a_wheel_has_all_code_and_data_and_nothing_else(wheels: dict[str, Path]):
    names = {name for name in names_in(wheels["checkout"]) if ".dist-info/" not in name}
    assert names == code_of_the_repository()
    assert "swarm_brain/prompts/synthesis.md" in names
    assert "swarm_brain/graph/topologies/eight.yaml" in names
    assert "swarm_brain/server/static/index.html" in names
    assert "swarm_brain/evals/datasets/effort.jsonl" in names


def test_a_wheel_says_that_it_is_typed_and_under_which_licence(wheels: dict[str, Path]):
    names = names_in(wheels["checkout"])
    assert {"swarm_brain/py.typed", "llm_swarm_brain/py.typed"} <= set(names)
    assert [name for name in names if name.endswith(".dist-info/licenses/LICENSE")]


@pytest.mark.parametrize("way", [name for name in SOURCES if name != "checkout"])
def test_a_wheel_is_the_same_however_it_is_built(wheels: dict[str, Path], way: str):
    assert names_in(wheels[way]) == names_in(wheels["checkout"])


# ---- installed, beside a user's own files of the same names

OWN = "raise SystemExit('the own {name}')\n"


@pytest.fixture(scope="module")
def bin_folder(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a fresh environment with the wheel in it.

    Its dependencies are those of the environment that runs the tests.
    """
    folder = tmp_path_factory.mktemp("fresh") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    programs = folder / ("Scripts" if sys.platform == "win32" else "bin")
    run(sys.executable, "-m", "pip", "-q", "--disable-pip-version-check",
        "--python", programs / "python", "install", "--no-deps", "--no-index", wheels["sdist"],
        cwd=folder.parent)  # fmt: skip
    site = Path(run(programs / "python", "-c", "import site; print(site.getsitepackages()[0])",
                    cwd=folder.parent).strip())  # fmt: skip
    dependencies = [path for path in sys.path if path.endswith("site-packages")]
    (site / "dependencies.pth").write_text("\n".join(dependencies))
    return programs


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a user's own graph.py, nodes.py, prompts.py and evals.py."""
    for name in LINKED:
        (tmp_path / f"{name}.py").write_text(OWN.format(name=name))
    return tmp_path


@pytest.mark.parametrize("name", LINKED)
def test_a_users_own_module_wins(bin_folder: Path, project: Path, name: str):
    told = run(bin_folder / "python", "-c", f"import {name}", cwd=project, fails=True)
    assert told.strip() == f"the own {name}"


@pytest.mark.parametrize("name", LINKED)
def test_without_one_there_is_no_such_name(bin_folder: Path, tmp_path: Path, name: str):
    told = run(bin_folder / "python", "-c", f"import {name}", cwd=tmp_path, fails=True)
    assert f"No module named '{name}'" in told


def test_installed_it_answers_from_python(bin_folder: Path, project: Path):
    code = (
        "import swarm_brain, llm_swarm_brain\n"
        "from swarm_brain.graph.brain import graph\n"
        "result = graph.invoke({'question': 'Why is it so?'}, context={'model': 'simulation:'})\n"
        "print(swarm_brain.__file__)\n"
        "print(len(result['experts']), result['provenance'])\n"
    )
    where, answer = run(bin_folder / "python", "-c", code, cwd=project).splitlines()
    assert Path(where).is_relative_to(bin_folder.parent)
    assert answer == "8 simulated"


@pytest.mark.slow
def test_installed_it_asks_and_draws(bin_folder: Path, project: Path):
    command = bin_folder / "swarm-brain"
    run(command, "graph", "--svg", "eight.svg", cwd=project)
    assert "meta_cognitive" in (project / "eight.svg").read_text()
    asked = subprocess.run(
        [command, "ask", "Why is it so?", "--model", "simulation:", "--no-save", "--json"],
        cwd=project,
        env=plain_environment(project),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert asked.returncode == 3, asked.stderr  # the labelled simulation answered
    assert '"provenance": "simulated"' in asked.stdout


@pytest.mark.slow
def test_installed_it_serves_the_page(bin_folder: Path, project: Path):
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    command = (bin_folder / "swarm-brain", "serve", "--port", str(port))
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with process(*command, cwd=project, env=plain_environment(project), **quiet) as child:
        until(lambda: healthy(f"{url}healthz"), 30, child)
        page = httpx.get(url, trust_env=False)
        script = page.text.partition('src="')[2].partition('"')[0]
        assert "<title>Swarm Brain" in page.text
        assert healthy(url + script.removeprefix("/").removeprefix("./"))


@pytest.mark.slow
def test_installed_it_runs_the_evals(bin_folder: Path, project: Path):
    run(bin_folder / "swarm-brain", "eval", "philosophy", "--quick", "--end-level", "1",
        "--model", "simulation:", "--output", "battery.json", cwd=project)  # fmt: skip
    assert '"level"' in (project / "battery.json").read_text()
    module = ("-m", "swarm_brain.evals.philosophy", "--help")
    assert "--quick" in run(bin_folder / "python", *module, cwd=project)


# ---- typed, for mypy and for pyright

TYPED = """
from llm_swarm_brain import PhiBrain as Old
from swarm_brain import PhiBrain
from swarm_brain.graph.brain import compile_brain, graph
from swarm_brain.remote import connect

local = graph.invoke({"question": "Why?"}, context={"model": "simulation:"})
other = compile_brain().invoke({"question": "Why?"})
remote = connect("http://127.0.0.1:2024").invoke({"question": "Why?"})
thought = PhiBrain().think("Why?")
old = Old().think("Why?")


async def ask() -> None:
    local = await graph.ainvoke({"question": "Why?"})
    remote = await connect("http://127.0.0.1:2024").ainvoke({"question": "Why?"})
    thought = await PhiBrain().athink("Why?")
    print(local["experts"][0]["name"], remote["usage"]["calls"], thought["provenance"])
    print(local["final_outptu"])
    print(remote["final_outptu"])
    print(thought["final_outptu"])


print(local["final_output"], other["notes"], remote["verdict"], thought["usage"], old["error"])
print(local["final_outptu"])
print(local["usage"]["call"])
print(local["experts"][0]["nmae"])
print(other["final_outptu"])
print(remote["final_outptu"])
print(thought["final_outptu"])
print(old["final_outptu"])
graph.invoke({"qeustion": "Why?"})
"""
WRONG = [
    number for number, line in enumerate(TYPED.splitlines(), 1)
    if any(word in line for word in ("outptu", '"call"', "nmae", "qeustion"))
]  # fmt: skip
CHECKERS = {
    "mypy": ("-m", "mypy", "--strict", "--python-executable"),
    "pyright": ("-m", "pyright", "--pythonpath"),
}


@pytest.mark.slow
@pytest.mark.parametrize("checker", CHECKERS)
def test_a_misspelt_key_is_an_error_and_nothing_else_is(
    bin_folder: Path, tmp_path: Path, checker: str
):
    """In an environment with the wheel, which py.typed makes a typed package."""
    (tmp_path / "use.py").write_text(TYPED)
    command = (sys.executable, *CHECKERS[checker], bin_folder / "python", "use.py")
    told = run(*command, cwd=tmp_path, fails=True)
    errors = [line for line in told.splitlines() if re.search(r"use\.py:\d+.*\berror:", line)]
    assert sorted({int(line.split("use.py:")[1].split(":")[0]) for line in errors}) == WRONG, told
    assert re.search(rf"Found {len(errors)} errors? |^{len(errors)} errors?,", told, re.MULTILINE)


# ---- a checkout, where the short names exist as well

CHECKOUTS: dict[str, Callable[[Path], Path]] = {
    "links": lambda to: REPO,
    "links as text": SOURCES["links as text"],
    "links missing": SOURCES["links missing"],
}
KINDS = [
    "links",
    pytest.param("links as text", marks=pytest.mark.slow),
    pytest.param("links missing", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("kind", KINDS)
def test_short_names_of_a_checkout_are_the_same_modules(kind: str, tmp_path: Path):
    checkout = CHECKOUTS[kind](tmp_path / "checkout")
    code = (
        "from graph.brain import graph\n"
        "import graph.errors as short, nodes.begin, prompts, evals.philosophy, swarm_brain\n"
        "from swarm_brain.graph import brain, errors\n"
        "from swarm_brain.nodes import begin\n"
        "from swarm_brain.evals import philosophy\n"
        "assert short is errors and graph is brain.graph\n"
        "assert nodes.begin is begin and evals.philosophy is philosophy\n"
        "assert prompts is swarm_brain.prompts\n"
        "try:\n"
        "    graph.invoke({'question': ' '}, context={'model': 'simulation:'})\n"
        "except errors.BlankQuestion as error:\n"
        "    assert type(error) is short.BlankQuestion\n"
        "    print(swarm_brain.__file__)\n"
    )
    told = run(sys.executable, "-c", code, cwd=checkout)
    assert told.strip() == str(checkout / "swarm_brain" / "__init__.py")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_evals_of_a_checkout_run_by_their_short_name(kind: str, tmp_path: Path):
    checkout = CHECKOUTS[kind](tmp_path / "checkout")
    assert "--quick" in run(sys.executable, "-m", "evals.philosophy", "--help", cwd=checkout)
