"""Settings from the environment and from `swarm-brain.toml`.

Variables are read on each call; a blank one counts as unset. The file is parsed once and again when
it has changed.
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

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from swarm_brain.graph.errors import ConfigError
from swarm_brain.validation import ID_PATTERN

APP, FILE_NAME = "swarm-brain", "swarm-brain.toml"

# Every environment variable that is read, with its line in .env.example.
VARIABLES: Mapping[str, str] = {
    "HYPERBOLIC_API_KEY": "key for Hyperbolic; with it Llama 3.1 405B answers by default",
    "HYPERBOLIC_API_URL": "another endpoint for hyperbolic:, base URL or full .../chat/completions",
    "HYPERBOLIC_RPM": "requests per minute that your Hyperbolic plan allows: 5 (Basic), 120 (Pro)",
    "OPENAI_COMPATIBLE_BASE_URL": "endpoint for openai-compatible:, e.g. http://localhost:11434/v1",
    "OPENAI_COMPATIBLE_API_KEY": "key for openai-compatible:, if it needs one",
    "SWARM_BRAIN_MODEL": "the default model, as provider:model",
    "SWARM_BRAIN_CONFIG": "path of swarm-brain.toml; default: this folder, then your config folder",
    "SWARM_BRAIN_CACHE_DIR": "folder for downloaded models; default: your cache folder",
    "SWARM_BRAIN_DATA_DIR": "folder for threads and memories; default: your data folder",
    "SWARM_BRAIN_DATABASE_URL": "Postgres for threads and memories, instead of files: postgresql://",
    "SWARM_BRAIN_EMBEDDER": "embedder of memories: wordllama (default), provider:model or off",
    "SWARM_BRAIN_DAILY_USD": "dollars that all runs here may cost in a day (UTC)",
    "SWARM_BRAIN_OPEN": "true: a server without keys answers every caller, not this machine only",
    "SWARM_BRAIN_KEY": "key for a Swarm Brain server that requires one (ask --url)",
    "HF_ENDPOINT": "address of the Hugging Face hub or of a mirror; default: the hub itself",
    "LANGSMITH_TRACING": "true sends traces to LangSmith",
    "LANGSMITH_API_KEY": "key for LangSmith",
    "LANGSMITH_HIDE_INPUTS": "true hides prompts from LangSmith; outputs contain the question too",
    "LANGSMITH_HIDE_OUTPUTS": "true hides replies and the answer keys of evals from LangSmith",
}

_keys: ContextVar[Mapping[str, str]] = ContextVar("swarm_brain_keys", default={})  # noqa: B039


def variable(name: str) -> str | None:
    """Return the value of a variable in VARIABLES; None if unset or blank."""
    assert name in VARIABLES, f"{name} is not declared in VARIABLES"  # noqa: S101
    return (os.environ.get(name) or "").strip() or None


def data_folder() -> Path:
    """Return the folder for this user's threads, memories and accounts."""
    return _folder("SWARM_BRAIN_DATA_DIR") or platformdirs.user_data_path(APP)


def cache_folder() -> Path:
    """Return the folder for downloaded models and cached replies."""
    return _folder("SWARM_BRAIN_CACHE_DIR") or platformdirs.user_cache_path(APP)


def user_config_file() -> Path:
    """Return the path of this user's own `swarm-brain.toml`; it may not exist."""
    return platformdirs.user_config_path(APP) / FILE_NAME


def _folder(name: str) -> Path | None:
    value = variable(name)
    return Path(value).expanduser() if value else None


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
    """Return the provider's key, from `use_keys` or else from the environment."""
    if key := _keys.get().get(provider):
        return key
    if variable_name is None:
        return None
    return (os.environ.get(variable_name) or "").strip() or None


class Price(BaseModel):
    """Dollars per million tokens. Cached input defaults to the price of input."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached_input: float | None = Field(None, ge=0)


class ProviderSettings(BaseModel):
    """A `[providers.NAME]` table: an OpenAI-compatible endpoint.

    `rpm` limits requests per minute, `concurrency` requests at once; `price` is for all its models.
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
    """A `[keys.NAME]` table: the digest and the limits of a server's API key.

    `daily_usd` and `daily_tokens` are per day (UTC); `concurrency` counts runs at once.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    daily_usd: float | None = Field(None, gt=0, allow_inf_nan=False)
    daily_tokens: int | None = Field(None, ge=1)
    requests_per_minute: int | None = Field(None, ge=1)
    concurrency: int | None = Field(None, ge=1)


class ServerSettings(BaseModel):
    """The `[server]` table: the load a server accepts, and the models a key may name.

    At most `concurrency` runs execute at once in a process, and at most `queue` more wait. An idle
    stream sends a comment every `keep_alive_seconds`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    concurrency: int = Field(default=16, ge=1)
    queue: int = Field(default=64, ge=0)
    max_body_bytes: int = Field(default=1_000_000, ge=1_000)
    keep_alive_seconds: int = Field(default=10, ge=1)
    models: tuple[str, ...] = ()


KeyName = Annotated[str, StringConstraints(pattern=ID_PATTERN)]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    providers: dict[str, ProviderSettings] = {}
    prices: dict[str, Price] = {}
    keys: dict[KeyName, KeySettings] = {}
    server: ServerSettings = ServerSettings()


def named_providers() -> Mapping[str, ProviderSettings]:
    """Return the `[providers]` tables. Raises ConfigError."""
    return _file().providers


def own_prices() -> Mapping[str, Price]:
    """Return the `[prices."provider:model"]` tables; they override all other prices."""
    return _file().prices


def key_table() -> Mapping[str, KeySettings]:
    """Return the `[keys]` tables by name; empty for a server without keys."""
    return _file().keys


def server_settings() -> ServerSettings:
    """Return the `[server]` table."""
    return _file().server


def open_to_all() -> bool:
    """Return whether a server without keys answers requests from other machines."""
    return (variable("SWARM_BRAIN_OPEN") or "").lower() == "true"


def positive_number(name: str) -> float | None:
    """Return a variable's value as a number above 0, or None if it is unset.

    Raises ConfigError for any other value.
    """
    value = variable(name)
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ConfigError(f"{name} is {value!r}; it must be a number above 0.")
    return number


def config_file() -> Path | None:
    """Return the path of the `swarm-brain.toml` in use, or None."""
    if path := _folder("SWARM_BRAIN_CONFIG"):
        if not path.is_file():
            raise ConfigError(f"SWARM_BRAIN_CONFIG names {path}, which is not a file.")
        return path
    places = (Path(FILE_NAME), user_config_file())
    return next((path for path in places if path.is_file()), None)


def check_text(path: Path, content: bytes) -> None:
    """Raise ConfigError unless `content` is a valid `swarm-brain.toml`."""
    _parse(path, content)


def _file() -> _File:
    path = config_file()
    if path is None:
        return _File()
    try:
        stat = path.stat()
        return _read(path.resolve(), stat.st_mtime_ns, stat.st_ino, stat.st_size)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


@lru_cache(maxsize=8)
def _read(path: Path, *version: int) -> _File:
    """Read and parse the file; `version` differs after each change of it."""
    return _parse(path, path.read_bytes())


def _parse(path: Path, content: bytes) -> _File:
    try:
        return _File.model_validate(tomllib.loads(content.decode()))
    except ValidationError as error:
        raise ConfigError(f"{path}: {_problems(error)}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None


def _problems(error: ValidationError) -> str:
    """Return the wrong entries with reasons, but without values, which may be keys."""
    lines = []
    for item in error.errors(include_url=False, include_input=False):
        place = item["loc"]
        problem = item["msg"]
        if item["type"] == "extra_forbidden":
            problem = f"no such setting; known: {', '.join(_known(place))}"
        lines.append(f"{'.'.join(str(part) for part in place)}: {problem}")
    return "; ".join(lines)


def _known(place: tuple[int | str, ...]) -> Iterable[str]:
    """Return the allowed keys at the place of an unknown one."""
    if len(place) == 1:
        return _File.model_fields
    if place[0] in ("keys", "server"):
        return (KeySettings if place[0] == "keys" else ServerSettings).model_fields
    priced = place[0] == "prices" or "price" in place[:-1]
    return Price.model_fields if priced else ProviderSettings.model_fields
