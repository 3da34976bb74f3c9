"""What the environment and `swarm-brain.toml` may say. Read when asked, never before.

An empty variable counts as unset.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from swarm_brain.graph.errors import ConfigError

# Every variable that this project reads, with the line that .env.example shows for it.
VARIABLES: Mapping[str, str] = {
    "HYPERBOLIC_API_KEY": "key for Hyperbolic; with it Llama 3.1 405B answers by default",
    "HYPERBOLIC_API_URL": "another endpoint for hyperbolic:, base URL or full .../chat/completions",
    "HYPERBOLIC_RPM": "requests per minute that your Hyperbolic plan allows: 5 (Basic), 120 (Pro)",
    "OPENAI_COMPATIBLE_BASE_URL": "endpoint for openai-compatible:, e.g. http://localhost:11434/v1",
    "OPENAI_COMPATIBLE_API_KEY": "key for openai-compatible:, if it wants one",
    "SWARM_BRAIN_MODEL": "model used when none is named, as provider:model",
    "SWARM_BRAIN_CONFIG": "path of swarm-brain.toml; default: this folder, then your config folder",
    "SWARM_BRAIN_CACHE_DIR": "folder for downloaded models; default: your cache folder",
    "SWARM_BRAIN_DATA_DIR": "folder for threads and memories; default: your data folder",
    "SWARM_BRAIN_DATABASE_URL": "Postgres for threads and memories, instead of files: postgresql://",
    "SWARM_BRAIN_EMBEDDER": "who embeds memories: wordllama (default), provider:model or off",
    "SWARM_BRAIN_DAILY_USD": "dollars that all runs here may cost in a day (UTC)",
    "SWARM_BRAIN_OPEN": "true: a server without keys answers everybody who reaches it",
    "SWARM_BRAIN_KEY": "key for a server of Swarm Brain that wants one (ask --url)",
    "HF_ENDPOINT": "address of the Hugging Face hub or of a mirror; default: the hub itself",
    "LANGSMITH_TRACING": "true sends traces to LangSmith",
    "LANGSMITH_API_KEY": "key for LangSmith",
    "LANGSMITH_HIDE_INPUTS": "true sends LangSmith no prompts; the question is in outputs too",
    "LANGSMITH_HIDE_OUTPUTS": "true sends LangSmith no replies and no keys of questions",
}

_keys: ContextVar[Mapping[str, str]] = ContextVar("swarm_brain_keys", default={})  # noqa: B039


def variable(name: str) -> str | None:
    """The value of a variable of VARIABLES, None if unset or blank."""
    assert name in VARIABLES, f"{name} is not declared in VARIABLES"  # noqa: S101
    return (os.environ.get(name) or "").strip() or None


def data_folder() -> Path:
    """Where this user's threads, memories and accounts are kept."""
    if override := variable("SWARM_BRAIN_DATA_DIR"):
        return Path(override).expanduser()
    from platformdirs import user_data_path

    return user_data_path("swarm-brain")


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


class Price(BaseModel):
    """Dollars for a million tokens; cached input costs what input costs unless it is stated."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached_input: float | None = Field(None, ge=0)


class ProviderSettings(BaseModel):
    """A `[providers.NAME]` table: an OpenAI-compatible endpoint under a name of the user's own.

    `rpm` and `concurrency` limit requests per minute and at once; `price` is for all its models.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: str
    api_key_env: str | None = None
    max_tokens: int = Field(1024, ge=16)
    context_tokens: int | None = Field(None, ge=256)
    rpm: float | None = Field(None, gt=0)
    concurrency: int | None = Field(None, ge=1)
    price: Price | None = None


class KeySettings(BaseModel):
    """A `[keys.NAME]` table: who may ask a server, by the digest of their key, and how much.

    `daily_usd` and `daily_tokens` are for a day (UTC); `concurrency` counts runs at once.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    daily_usd: float | None = Field(None, gt=0, allow_inf_nan=False)
    daily_tokens: int | None = Field(None, ge=1)
    requests_per_minute: int | None = Field(None, ge=1)
    concurrency: int | None = Field(None, ge=1)


class ServerSettings(BaseModel):
    """The `[server]` table: what a server takes on, and which models a key may name.

    `concurrency` runs at once in one process, `queue` more wait for a place. A stream that has
    nothing to tell sends a comment each `keep_alive_seconds`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    concurrency: int = Field(default=16, ge=1)
    queue: int = Field(default=64, ge=0)
    max_body_bytes: int = Field(default=1_000_000, ge=1_000)
    keep_alive_seconds: int = Field(default=10, ge=1)
    models: tuple[str, ...] = ()


KeyName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    providers: dict[str, ProviderSettings] = {}
    prices: dict[str, Price] = {}
    keys: dict[KeyName, KeySettings] = {}
    server: ServerSettings = ServerSettings()


def named_providers() -> Mapping[str, ProviderSettings]:
    """The providers of `swarm-brain.toml`. Raises ConfigError naming the file and the entry."""
    return _file().providers


def own_prices() -> Mapping[str, Price]:
    """Prices that the user states in `[prices."provider:model"]`; they override all others."""
    return _file().prices


def key_table() -> Mapping[str, KeySettings]:
    """Who may ask a server, by name; nobody where it has no keys."""
    return _file().keys


def server_settings() -> ServerSettings:
    """What a server takes on."""
    return _file().server


def open_to_all() -> bool:
    """Whether a server without keys answers those who are not on its machine."""
    return (variable("SWARM_BRAIN_OPEN") or "").lower() == "true"


def requests_per_minute(name: str) -> float | None:
    """The value of a variable such as HYPERBOLIC_RPM. Raises ConfigError if it is no number."""
    return positive_number(name, variable(name))


def positive_number(name: str, value: str | None) -> float | None:
    """A variable's value as a number above 0, None if unset."""
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ConfigError(f"{name} is {value!r}; it must be a number above 0.")
    return number


def _file() -> _File:
    path = config_file()
    if path is None:
        return _File()
    try:
        state = path.stat()
        return _parsed(path.resolve(), (state.st_mtime_ns, state.st_ino, state.st_size))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


@lru_cache(maxsize=8)
def _parsed(path: Path, changed: tuple[int, ...]) -> _File:
    """The file's content; read again when it has changed."""
    return _read(path, path.read_bytes())


def _read(path: Path, content: bytes) -> _File:
    try:
        return _File.model_validate(tomllib.loads(content.decode()))
    except ValidationError as error:
        raise ConfigError(f"{path}: {_problems(error)}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None


def check_text(path: Path, content: bytes) -> None:
    """Raise ConfigError if this could not be the content of that `swarm-brain.toml`."""
    _read(path, content)


def _known(place: tuple[int | str, ...]) -> Iterable[str]:
    """The keys that may stand where an unknown one stands."""
    if len(place) == 1:
        return _File.model_fields
    if place[0] in ("keys", "server"):
        return (KeySettings if place[0] == "keys" else ServerSettings).model_fields
    priced = place[0] == "prices" or "price" in place[:-1]
    return Price.model_fields if priced else ProviderSettings.model_fields


def _problems(error: ValidationError) -> str:
    """What is wrong where, without the values: somebody may have written a key there."""
    lines = []
    for item in error.errors(include_url=False, include_input=False):
        field = ".".join(str(part) for part in item["loc"])
        known = _known(item["loc"])
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
