"""`eval`: the commands of `evals`, which is imported when one is run."""

from __future__ import annotations

import sys

import typer

from swarm_brain.graph.errors import ConfigError

app = typer.Typer(help="Evals: the philosophy battery, and arms against each other.")
PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@app.command(context_settings=PASSED_ON)
def philosophy(context: typer.Context) -> None:
    """Ask a battery of 40 questions in 8 levels; --help lists the options."""
    _run("swarm_brain.evals.philosophy", context.args)


@app.command(context_settings=PASSED_ON)
def compare(context: typer.Context) -> None:
    """Compare ways of answering at equal tokens; --help lists the options."""
    _run("swarm_brain.evals.compare", context.args)


def _run(module: str, words: list[str]) -> None:
    """Run the module's own command with these arguments. Raises ConfigError without the extra."""
    from importlib import import_module
    from importlib.util import find_spec

    if missing := [name for name in ("scipy", "matplotlib") if find_spec(name) is None]:
        raise ConfigError(
            f"{', '.join(missing)} is not installed (pip install 'swarm-brain[evals]')."
        )
    sys.argv = [f"swarm-brain eval {module.rpartition('.')[2]}", *words]
    import_module(module).app(args=words, prog_name=sys.argv[0])
