"""Identify callers by API keys, which are saved as SHA-256 digests.

A key has 256 random bits, so a plain digest reveals nothing and needs no salt. The file is read
again when it changes: keys can be added or removed while the server runs.
"""

from __future__ import annotations

import hmac
import logging
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import urlsplit

from swarm_brain import config
from swarm_brain.config import KeySettings, open_to_all
from swarm_brain.graph.errors import ConfigError
from swarm_brain.memory.space import LOCAL_IDENTITY
from swarm_brain.server.problems import Problem
from swarm_brain.validation import is_id, is_local, is_loopback

log = logging.getLogger(__name__)

PREFIX = "sb-"
_BEARER = re.compile(r"\s*bearer\s+(\S+)\s*", re.I)
FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "cf-connecting-ip")  # added by proxies
CHALLENGE = {"WWW-Authenticate": "Bearer"}
NO_KEYS = (
    "This server has no API keys, so it answers only its own machine. Create a key with "
    "`swarm-brain serve --new-key NAME`, or set SWARM_BRAIN_OPEN=true."
)
FOREIGN_HOST = (
    "Without API keys this server must be addressed as localhost or 127.0.0.1, and no website "
    "other than Studio may call it."
)
STUDIO = ("https://smith.langchain.com", "https://eu.smith.langchain.com")  # as in langgraph.json


@dataclass(frozen=True)
class Owner:
    """The owner of a request, with their limits (None: unlimited).

    `name` is None for the local user of a server without keys.
    """

    name: str | None = None
    daily_usd: float | None = None
    daily_tokens: int | None = None
    requests_per_minute: int | None = None
    concurrency: int | None = None

    @property
    def user(self) -> User | None:
        """The `langgraph_auth_user` in the config of this owner's runs, if any."""
        if self.name is not None:
            return User(self.name)
        return local_user() if open_to_all() else None


LOCAL = Owner()


@dataclass(frozen=True)
class User:
    """A user in the form of LangGraph's runtime: an object with an `identity`."""

    identity: str
    is_authenticated: bool = True
    permissions: Sequence[str] = ()

    @property
    def display_name(self) -> str:
        """The name to show."""
        return self.identity


def owners() -> Mapping[str, Owner]:
    """Return all owners of keys, by name."""
    return {name: _owner(name, entry) for name, entry in _keys().items()}


def keyed() -> bool:
    """Return whether this server requires a key."""
    return bool(_keys())


def identify(authorization: str | None, api_key: str | None = None) -> Owner:
    """Return the owner of a request's API key.

    The key is in `Authorization: Bearer KEY`, or in `x-api-key: KEY`, as LangGraph's clients send
    it. On a server without keys every caller is LOCAL. Raise Problem(401), or Problem(503) if the
    keys cannot be read.
    """
    known = _keys()
    if not known:
        return LOCAL
    key = _key(authorization, api_key)
    if key is None:
        raise _unauthorized(
            "The API key is missing. Send `Authorization: Bearer KEY`.", "missing_api_key"
        )
    name = _name_of(sha256(key.encode(errors="surrogatepass")).hexdigest(), known)
    if name is None:
        raise _unauthorized("This API key is not known to this server.", "invalid_api_key")
    return _owner(name, known[name])


def _unauthorized(message: str, code: str) -> Problem:
    return Problem(401, message, type="authentication_error", code=code, headers=CHALLENGE)


def identify_caller(headers: Mapping[str, str], host: str | None) -> Owner:
    """Return the owner of a request, by its headers (lower case) and address.

    On a server without keys the request must come from this machine, and not through a proxy on
    it. Raise Problem(401), Problem(403) or Problem(503).
    """
    owner = identify(headers.get("authorization"), headers.get("x-api-key"))
    if owner.name is not None or open_to_all():
        return owner
    if not is_loopback(host) or any(name in headers for name in FORWARDED):
        raise Problem(403, NO_KEYS, type="permission_error", code="no_keys")
    if not _is_local_request(headers):
        raise Problem(403, FOREIGN_HOST, type="permission_error", code="host")
    return owner


def _is_local_request(headers: Mapping[str, str]) -> bool:
    """Return whether a request is for this machine and from no foreign page.

    A page with a name that resolves to this machine (DNS rebinding) shows its own name in `Host`.
    A page that submits a form to this machine is named in `Origin` by the browser.
    """
    host, origin = _hostname(f"//{headers.get('host', '')}"), headers.get("origin")
    own = host is None or is_local(host)
    if origin is None or origin in STUDIO:
        return own
    page = _hostname(origin)
    return own and is_local(page)


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def new_key(name: str) -> tuple[str, str]:
    """Return a new key and its table for `swarm-brain.toml`."""
    if not is_id(name):
        raise ConfigError(f"A key's name has 1 to 64 letters, digits, - or _, not {name!r}.")
    if name in config.key_table():
        raise ConfigError(f"The key {name} already exists; remove its table first.")
    key = PREFIX + secrets.token_urlsafe(32)
    return key, f'[keys.{name}]\nsha256 = "{sha256(key.encode()).hexdigest()}"\n'


def _keys() -> Mapping[str, KeySettings]:
    try:
        return config.key_table()
    except ConfigError as error:
        log.error("No request is answered: %s", error)
        raise Problem(
            503,
            "The settings of this server cannot be read; its log says why.",
            type="server_error",
            code="misconfigured",
        ) from None


def _key(authorization: str | None, api_key: str | None) -> str | None:
    bearer = _BEARER.fullmatch(authorization or "")
    return bearer[1] if bearer else (api_key or "").strip() or None


def _name_of(digest: str, known: Mapping[str, KeySettings]) -> str | None:
    """Return the name of the key with this digest.

    It is compared with all of them, each in constant time, so that timing reveals nothing.
    """
    owner = None
    for name, entry in known.items():
        if hmac.compare_digest(entry.sha256, digest):
            owner = name
    return owner


def _owner(name: str, entry: KeySettings) -> Owner:
    return Owner(name, **entry.model_dump(exclude={"sha256"}))


def local_user() -> User:
    """Return the user that stands for every caller on a server without keys."""
    return User(LOCAL_IDENTITY, is_authenticated=False)
