"""Checks of the installation, with a fix for each problem."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Callable
from importlib import metadata
from urllib.parse import urlsplit

from langchain_core.messages import HumanMessage, SystemMessage
from rich.console import Console
from rich.text import Text

from swarm_brain.calls.client import ask
from swarm_brain.calls.request import Call
from swarm_brain.cli.options import Settings
from swarm_brain.cli.terminal.text import printable
from swarm_brain.config import config_file, variable
from swarm_brain.graph.context import make_context
from swarm_brain.graph.errors import BrainError, ModelError
from swarm_brain.memory.opening import close_store, open_store, searching
from swarm_brain.models import choose
from swarm_brain.models.binding import Binding, Sampling
from swarm_brain.models.endpoint import HYPERBOLIC_URL
from swarm_brain.version import __version__

Line = Callable[[bool | None, str], None]
SECONDS = 30.0
TOKENS = 16
PACKAGES = (
    "langgraph",
    "langchain-core",
    "langchain-openai",
    "langsmith",
    "xllamacpp",
    "wordllama",
    "transformers",
    "torch",
)
ADVICE = {
    "auth": "The endpoint refuses the key: check HYPERBOLIC_API_KEY (or your provider's variable).",
    "not_found": "The endpoint does not know this model: check the name after `provider:`.",
    "connection": "Nothing answers at this address: check it, the network and any proxy.",
    "timeout": "The endpoint did not answer in time: try again, or use another one.",
    "rate_limit": "The endpoint limits your requests: wait, or raise your plan.",
    "server": "The endpoint has an internal error: try again later.",
    "refused_request": "The endpoint refuses the request: see its message above.",
}


async def examine(settings: Settings) -> bool:
    """Print one line for each check. Return whether a model answered."""
    context = make_context(settings)
    console = Console(highlight=False)

    def line(good: bool | None, text: str) -> None:
        mark = {True: ("ok  ", "green"), False: ("FAIL", "red"), None: ("    ", "")}[good]
        console.print(Text.assemble(mark, " ", printable(text)), soft_wrap=True)

    line(None, f"swarm-brain {__version__}, Python {platform.python_version()}")
    line(None, ", ".join(f"{name} {_version(name)}" for name in PACKAGES))
    line(None, f"swarm-brain.toml: {config_file() or 'none'}")
    line(None, f"HYPERBOLIC_API_KEY: {'set' if variable('HYPERBOLIC_API_KEY') else 'not set'}")
    if variable("SWARM_BRAIN_DATABASE_URL"):
        line(*await asyncio.to_thread(_database))
    choice = choose.choose(context.model)
    line(None, f"model: {choice.spec} ({choice.reason})")
    try:
        binding = await asyncio.to_thread(choose.bind, choice.spec, context.base_url)
    except BrainError as error:
        line(False, str(error))
        return False
    line(None, f"endpoint: {binding.endpoint}")
    if urlsplit(binding.endpoint).hostname == urlsplit(HYPERBOLIC_URL).hostname:
        line(None, _hyperbolic_pace(binding))
    if binding.spec.startswith("scripted:"):
        line(True, "replies come from this file; no model is asked")
        return True
    return await _answers(binding, line)


def _database() -> tuple[bool, str]:
    """Return whether the database can be used, and how memories are searched in it."""
    try:
        store = open_store()
    except BrainError as error:
        return False, str(error)
    close_store(store)
    return True, f"SWARM_BRAIN_DATABASE_URL: memories are searched {searching(store)}"


async def _answers(binding: Binding, line: Line) -> bool:
    """Ask the model for one word. Return whether it answered."""
    if binding.simulated:
        line(False, "only a simulation would answer: set HYPERBOLIC_API_KEY, or pip install "
             "'swarm-brain[embedded]'")  # fmt: skip
        return False
    messages = [SystemMessage("Reply with one word."), HumanMessage("Say yes.")]
    sampling = Sampling(temperature=0.0, top_p=1.0, max_tokens=TOKENS)
    call = Call(messages, sampling, timeout=SECONDS, max_attempts=1, label="doctor")
    reply = await ask(binding, call)
    if isinstance(reply.error, ModelError):
        line(False, f"{reply.error}")
        line(None, ADVICE.get(reply.error.kind, ""))
        return False
    line(True, f"the model answers within {reply.latency_s:.1f} s")
    return True


def _hyperbolic_pace(binding: Binding) -> str:
    if binding.pace.rpm is None:
        return "HYPERBOLIC_RPM: not set; recommended: 5 with the Basic plan, 120 with Pro"
    return f"HYPERBOLIC_RPM: {binding.pace.rpm:g} requests a minute"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
