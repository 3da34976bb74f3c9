"""`eval`: run the experiments of `swarm_brain.evals`."""

from __future__ import annotations

import sys

import typer

from swarm_brain.graph.errors import ConfigError

app = typer.Typer(help="Run the philosophy battery, or compare ways of answering.")
PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@app.command(context_settings=PASSED_ON)
def philosophy(context: typer.Context) -> None:
    """Ask 40 questions in 8 levels. --help lists the options."""
    _run("swarm_brain.evals.philosophy", context.args)


@app.command(context_settings=PASSED_ON)
def compare(context: typer.Context) -> None:
    """Compare ways of answering at equal tokens. --help lists the options."""
    _run("swarm_brain.evals.compare", context.args)


def _run(module: str, words: list[str]) -> None:
    """Run a module's own command line. Raises ConfigError without the extra `evals`."""
    # The evals import scipy, which is slow.
    from importlib import import_module
    from importlib.util import find_spec

    if missing := [name for name in ("scipy", "matplotlib") if find_spec(name) is None]:
        raise ConfigError(f"The evals need {', '.join(missing)}: pip install 'swarm-brain[evals]'.")
    sys.argv = [f"swarm-brain eval {module.rpartition('.')[2]}", *words]
    import_module(module).app(args=words, prog_name=sys.argv[0])
