"""Listing models, and fetching weights with a progress bar."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table
from rich.text import Text

from swarm_brain.config import named_providers
from swarm_brain.graph.errors import ConfigError
from swarm_brain.models import embedded_weights
from swarm_brain.models.choose import EMBEDDED_DEFAULT, choose
from swarm_brain.models.providers import PROVIDERS


def fetch(spec: str, console: Console) -> Path:
    """The path of an embedded model's weights, fetched with a progress bar if need be."""
    provider, _, model = spec.partition(":")
    if provider != "embedded":
        known = ", ".join(f"embedded:{name}" for name in embedded_weights.CATALOG)
        raise ConfigError(f"{spec!r} cannot be pulled; what can: {known}")
    model = model or EMBEDDED_DEFAULT.partition(":")[2]
    if (path := embedded_weights.resolve(model)) is not None:
        return path
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(f"Fetching {model}", total=None)

        def show_bytes(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        return embedded_weights.fetch(model, show_bytes)


def show(console: Console) -> None:
    """Print providers, weights and what `auto` would take."""
    table = Table(title="Providers", title_justify="left")
    table.add_column("provider:", style="bold")
    table.add_column("what it is")
    for name, text in PROVIDERS.items():
        table.add_row(f"{name}:", text)
    for name, settings in named_providers().items():
        table.add_row(Text(f"{name}:"), Text(f"{settings.base_url} (swarm-brain.toml)"))
    table.add_row("anthropic:, openai:, ollama: ...", "through LangChain, with its own package")
    console.print(table)
    for name, entry in embedded_weights.CATALOG.items():
        path = embedded_weights.cached(name)
        state = str(path) if path else f"not fetched ({entry.size_bytes / 1e6:.0f} MB)"
        console.print(Text(f"embedded:{name}: {state}"), soft_wrap=True)
    chosen = choose()
    console.print(Text(f"auto takes {chosen.spec}: {chosen.reason}"), soft_wrap=True)
