"""Sign-in at LangGraph's routes, called as LangGraph's server and as Aegra call it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph_sdk import Auth

from swarm_brain.config import VARIABLES
from swarm_brain.memory.space import Space
from swarm_brain.server import langgraph_auth
from swarm_brain.server.langgraph_auth import authenticate, within

Refused = Auth.exceptions.HTTPException
HERE, THERE = {"client": ("127.0.0.1", 5)}, {"client": ("10.0.0.1", 5)}
ROOT = ("swarm-brain", "~40~ada~40~")


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name in ("CONFIG", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def keyed() -> None:
    digest = hashlib.sha256(b"sb-a").hexdigest()
    Path("swarm-brain.toml").write_text(
        f'[keys.ada]\nsha256 = "{digest}"\nrequests_per_minute = 1\n'
    )


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer sb-a"},
        {b"authorization": b"Bearer sb-a"},
        {"Authorization": "bearer sb-a"},
        {"X-Api-Key": "sb-a"},
        {b"x-api-key": b"sb-a"},
    ],
)
async def test_headers_are_read_however_a_server_gives_them(keyed, headers):
    user = await authenticate(headers)
    assert (user["identity"], user["is_authenticated"]) == ("ada", True)
    assert "sb-a" not in str(user)


async def test_without_keys_this_machine_is_local_and_others_are_told_what_to_do(monkeypatch):
    assert (await authenticate({}, HERE))["identity"] == "(local)"
    for scope in (THERE, {"client": None}, None):
        with pytest.raises(Refused, match="SWARM_BRAIN_OPEN") as caught:
            await authenticate({}, scope)
        assert caught.value.status_code == 403
    monkeypatch.setenv("SWARM_BRAIN_OPEN", "true")
    user = await authenticate({}, None)
    assert (user["identity"], user["is_authenticated"]) == ("(local)", False)


def asking(name: str, resource: str, action: str) -> Any:
    return SimpleNamespace(user=SimpleNamespace(identity=name), resource=resource, action=action)


async def test_the_local_user_sees_and_keeps_all(keyed):
    value: dict[str, Any] = {"metadata": {}}
    for resource in ("threads", "assistants", "crons", "store"):
        handler = getattr(langgraph_auth, resource)
        assert await handler(asking("(local)", resource, "create"), value) is None
    assert await langgraph_auth.nothing_else(asking("(local)", "new", "create"), value) is True
    assert value == {"metadata": {}}


async def test_what_nobody_thought_of_is_not_for_keys():
    assert await langgraph_auth.nothing_else(asking("ada", "new", "create"), {}) is False


async def test_the_mark_goes_into_the_dictionary_that_is_stored():
    metadata: dict[str, Any] = {"owner": "bob"}
    for value in ({"metadata": metadata}, {"metadata": None}, {}):
        filters = await langgraph_auth.threads(asking("ada", "threads", "create"), value)
        assert filters == {"owner": "ada"}
        assert value["metadata"]["owner"] == "ada"
    assert metadata == {"owner": "ada"}


async def test_a_run_counts_and_a_key_that_is_gone_begins_none(keyed):
    ctx = asking("ada", "threads", "create_run")
    await langgraph_auth.threads(ctx, {})
    with pytest.raises(Refused) as caught:
        await langgraph_auth.threads(ctx, {})
    assert caught.value.status_code == 429
    assert 1 <= int(caught.value.headers["Retry-After"]) <= 60
    with pytest.raises(Refused, match="no key bob"):
        await langgraph_auth.threads(asking("bob", "threads", "create_run"), {})
    for value in ({"webhook": "http://x"}, {"kwargs": {"webhook": "http://x"}}):
        with pytest.raises(Refused, match="webhook"):
            await langgraph_auth.threads(ctx, value)


@settings(deadline=None)
@given(st.lists(st.sampled_from([*ROOT, "~40~bob~40~", "local", "default", "x"]), max_size=4))
def test_what_is_read_always_lies_under_the_owners_root(asked):
    try:
        found = within(ROOT, asked)
    except Refused as error:
        assert error.status_code == 403  # noqa: PT017
        assert tuple(asked) != ROOT[: len(asked)]
        return
    assert found[: len(ROOT)] == ROOT
    assert tuple(asked) in (found, ROOT[: len(asked)])


@settings(deadline=None)
@given(st.text("abAB01_-", min_size=1, max_size=64), st.text("abAB01_-", min_size=1, max_size=64))
def test_nobodys_root_is_the_beginning_of_anothers(one, other):
    """Stores match prefixes as text, some ignoring case."""
    first, second = (".".join(Space.of_user(n, "").root).lower() for n in (one, other))
    assert first == second if one == other else not second.startswith(first)
