"""What the environment and `swarm-brain.toml` may say about models. Read when asked, never before.

An empty variable counts as unset.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from graph.errors import ConfigError

# Every variable that this project reads, with the line that .env.example shows for it.
VARIABLES: Mapping[str, str] = {
    "HYPERBOLIC_API_KEY": "key for Hyperbolic; with it Llama 3.1 405B answers by default",
    "HYPERBOLIC_API_URL": "another endpoint for hyperbolic:, base URL or full .../chat/completions",
    "OPENAI_COMPATIBLE_BASE_URL": "endpoint for openai-compatible:, e.g. http://localhost:11434/v1",
    "OPENAI_COMPATIBLE_API_KEY": "key for openai-compatible:, if it wants one",
    "SWARM_BRAIN_MODEL": "model used when none is named, as provider:model",
    "SWARM_BRAIN_CONFIG": "path of swarm-brain.toml; default: this folder, then your config folder",
    "SWARM_BRAIN_CACHE_DIR": "folder for downloaded models; default: your cache folder",
    "HF_ENDPOINT": "address of the Hugging Face hub or of a mirror; default: the hub itself",
    "LANGSMITH_TRACING": "true sends traces to LangSmith",
    "LANGSMITH_API_KEY": "key for LangSmith",
}

_keys: ContextVar[Mapping[str, str]] = ContextVar("swarm_brain_keys", default={})  # noqa: B039


def variable(name: str) -> str | None:
    """The value of a variable of VARIABLES, None if unset or blank."""
    assert name in VARIABLES, f"{name} is not declared in VARIABLES"  # noqa: S101
    return (os.environ.get(name) or "").strip() or None


@contextmanager
def use_keys(keys: Mapping[str, str]) -> Iterator[None]:
    """Use these API keys (provider to key) for all runs started inside the block.

    They stay in this process: neither state nor Context nor `configurable` ever holds them.
    """
    token = _keys.set({**_keys.get(), **keys})
    try:
        yield
    finally:
        _keys.reset(token)


def key_for(provider: str, variable_name: str | None) -> str | None:
    """The key given for this provider by `use_keys`, else the one in the environment."""
    given = _keys.get().get(provider)
    if given:
        return given
    if variable_name is None:
        return None
    return (os.environ.get(variable_name) or "").strip() or None


class ProviderSettings(BaseModel):
    """A `[providers.NAME]` table: an OpenAI-compatible endpoint under a name of the user's own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: str
    api_key_env: str | None = None
    max_tokens: int = Field(1024, ge=16)
    context_tokens: int | None = Field(None, ge=256)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    providers: dict[str, ProviderSettings] = {}


def named_providers() -> Mapping[str, ProviderSettings]:
    """The providers of `swarm-brain.toml`. Raises ConfigError naming the file and the entry."""
    path = config_file()
    if path is None:
        return {}
    try:
        return _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).providers
    except ValidationError as error:
        raise ConfigError(f"{path}: {_problems(error)}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


def _problems(error: ValidationError) -> str:
    """What is wrong where, without the values: somebody may have written a key there."""
    lines = []
    for item in error.errors(include_url=False, include_input=False):
        field = ".".join(str(part) for part in item["loc"])
        known = _File.model_fields if len(item["loc"]) == 1 else ProviderSettings.model_fields
        unknown = item["type"] == "extra_forbidden"
        said = f"no such setting; known are {', '.join(known)}" if unknown else item["msg"]
        lines.append(f"{field}: {said}")
    return "; ".join(lines)


def config_file() -> Path | None:
    """The `swarm-brain.toml` in force, None if there is none."""
    if named := variable("SWARM_BRAIN_CONFIG"):
        path = Path(named).expanduser()
        if not path.is_file():
            raise ConfigError(f"SWARM_BRAIN_CONFIG names {path}, which is no file.")
        return path
    from platformdirs import user_config_path

    places = (Path("swarm-brain.toml"), user_config_path("swarm-brain") / "swarm-brain.toml")
    return next((path for path in places if path.is_file()), None)
