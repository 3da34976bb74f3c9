"""List models, and fetch weights with a progress bar."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from swarm_brain.config import named_providers
from swarm_brain.graph.errors import ConfigError
from swarm_brain.models import embedded_weights
from swarm_brain.models.choose import EMBEDDED_NAME, choose
from swarm_brain.models.prepare import fetch
from swarm_brain.models.providers import PROVIDERS, of, plugins
from swarm_brain.progress import downloads


def fetch_shown(spec: str, console: Console) -> Path:
    """Fetch an embedded model's weights with a progress bar and return their path."""
    provider, _, model = spec.partition(":")
    if provider != "embedded":
        known = ", ".join(f"embedded:{name}" for name in embedded_weights.CATALOG)
        raise ConfigError(f"{spec!r} cannot be fetched. Choose one of {known}.")
    with downloads(console) as progress:
        return fetch(model or EMBEDDED_NAME, progress)


def show(console: Console) -> None:
    """Print providers, weights, and the model that `auto` would choose."""
    table = Table(title="Providers", title_justify="left")
    table.add_column("provider:", style="bold")
    table.add_column("what it is")
    for name, (text, *_) in PROVIDERS.items():
        table.add_row(f"{name}:", text)
    for name, settings in named_providers().items():
        table.add_row(Text(f"{name}:"), Text(f"{settings.base_url} (swarm-brain.toml)"))
    for name, point in plugins().items():
        table.add_row(Text(f"{name}:"), Text(f"added by the package {of(point)}"))
    table.add_row(
        "anthropic:, openai:, ollama: ...", "through LangChain; each needs its own package"
    )
    console.print(table)
    for name, entry in embedded_weights.CATALOG.items():
        path = embedded_weights.cached(name)
        state = str(path) if path else f"not fetched ({entry.size_bytes / 1e6:.0f} MB)"
        console.print(Text(f"embedded:{name}: {state}"), soft_wrap=True)
    chosen = choose()
    console.print(Text(f"auto uses {chosen.spec}: {chosen.reason}"), soft_wrap=True)
