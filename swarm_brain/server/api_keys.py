"""Who asks: the keys of `swarm-brain.toml`, kept as SHA-256 digests.

A key has 256 random bits, so a plain digest gives nothing away and needs no salt. The file is read
again when it has changed: a key can be added or taken away while the server runs.
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
from swarm_brain.validation import is_local, is_loopback

log = logging.getLogger(__name__)

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
PREFIX = "sb-"
_BEARER = re.compile(r"\s*bearer\s+(\S+)\s*", re.I)
FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "cf-connecting-ip")  # what proxies add
CHALLENGE = {"WWW-Authenticate": "Bearer"}
NO_KEYS = (
    "This server has no keys, so it answers only its own machine. Its owner can make a key with "
    "`swarm-brain serve --new-key NAME`, or set SWARM_BRAIN_OPEN=true."
)


ELSEWHERE = (
    "Without keys this server answers to localhost and 127.0.0.1, by no other name, and to no page "
    "of elsewhere but Studio."
)
STUDIO = ("https://smith.langchain.com", "https://eu.smith.langchain.com")  # as in langgraph.json


@dataclass(frozen=True)
class Owner:
    """Whom a request belongs to, and what they may take; None: not limited.

    `name` is None for the local user of a server without keys.
    """

    name: str | None = None
    daily_usd: float | None = None
    daily_tokens: int | None = None
    requests_per_minute: int | None = None
    concurrency: int | None = None

    @property
    def user(self) -> User | None:
        """The `langgraph_auth_user` of this owner's runs, in `configurable`; None: leave it out."""
        if self.name is not None:
            return User(self.name)
        return local_user() if open_to_all() else None


LOCAL = Owner()


@dataclass(frozen=True)
class User:
    """A user as LangGraph's runtime takes them: it wants an object with an `identity`."""

    identity: str
    is_authenticated: bool = True
    permissions: Sequence[str] = ()

    @property
    def display_name(self) -> str:
        """The same name, for people."""
        return self.identity


def owners() -> Mapping[str, Owner]:
    """All who have a key, by name."""
    return {name: _owner(name, entry) for name, entry in _keys().items()}


def keyed() -> bool:
    """Whether a key is needed here."""
    return bool(_keys())


def identify(authorization: str | None, api_key: str | None = None) -> Owner:
    """Whose key this is: `Authorization: Bearer KEY`, else `x-api-key: KEY` as LangGraph's clients
    send it. Everybody is LOCAL where there are no keys.

    Raises Problem(401), or Problem(503) where the keys cannot be read.
    """
    known = _keys()
    if not known:
        return LOCAL
    given = _given(authorization, api_key)
    if given is None:
        raise Problem(
            401,
            "No key was given. Send `Authorization: Bearer KEY`.",
            type="authentication_error",
            code="missing_api_key",
            headers=CHALLENGE,
        )
    name = _named(sha256(given.encode(errors="surrogatepass")).hexdigest(), known)
    if name is None:
        raise Problem(
            401,
            "This key is not known here.",
            type="authentication_error",
            code="invalid_api_key",
            headers=CHALLENGE,
        )
    return _owner(name, known[name])


def identify_caller(headers: Mapping[str, str], host: str | None) -> Owner:
    """The same for a request with these headers (lower case) from this address, None if unknown.

    Where there are no keys, it must come from this machine, and not through a proxy on it.
    Raises Problem(401), Problem(403) or Problem(503).
    """
    owner = identify(headers.get("authorization"), headers.get("x-api-key"))
    if owner.name is not None or open_to_all():
        return owner
    if not is_loopback(host) or any(name in headers for name in FORWARDED):
        raise Problem(403, NO_KEYS, type="permission_error", code="no_keys")
    if not _asks_here(headers):
        raise Problem(403, ELSEWHERE, type="permission_error", code="host")
    return owner


def _asks_here(headers: Mapping[str, str]) -> bool:
    """Whether a request names this machine as its host and comes from no page of elsewhere.

    A page that has got its own name to lead here (DNS rebinding) names itself as the host; one that
    sends a form here is named by the browser as its origin.
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
    """A new key, and the table that belongs into `swarm-brain.toml`. Raises ConfigError."""
    if not NAME.fullmatch(name):
        raise ConfigError(f"A key's name has 1 to 64 letters, digits, - or _, not {name!r}.")
    if name in config.key_table():
        raise ConfigError(f"There is a key {name} already; take its table away first.")
    key = PREFIX + secrets.token_urlsafe(32)
    return key, f'[keys.{name}]\nsha256 = "{sha256(key.encode()).hexdigest()}"\n'


def _keys() -> Mapping[str, KeySettings]:
    try:
        return config.key_table()
    except ConfigError as error:
        log.error("no request is answered: %s", error)
        raise Problem(
            503,
            "The settings of this server cannot be read; its owner finds the reason in its log.",
            type="server_error",
            code="misconfigured",
        ) from None


def _given(authorization: str | None, api_key: str | None) -> str | None:
    bearer = _BEARER.fullmatch(authorization or "")
    return bearer[1] if bearer else (api_key or "").strip() or None


def _named(digest: str, known: Mapping[str, KeySettings]) -> str | None:
    """Whose digest this is. All are compared, each in constant time, so that the time taken says
    nothing about which comes near."""
    found = None
    for name, entry in known.items():
        if hmac.compare_digest(entry.sha256, digest):
            found = name
    return found


def _owner(name: str, entry: KeySettings) -> Owner:
    return Owner(name, **entry.model_dump(exclude={"sha256"}))


def local_user() -> User:
    """Everybody on a server without keys, where a user must have a name."""
    return User(LOCAL_IDENTITY, is_authenticated=False)
