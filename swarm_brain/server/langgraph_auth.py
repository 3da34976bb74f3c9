"""Sign-in at the LangGraph routes: the same keys and limits as everywhere.

`langgraph.json` names it. Threads, runs, assistants, crons and items of the store belong to the key
that made them. Without keys all is local and shared, and only this machine is answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, MutableMapping
from typing import Any, NoReturn

from langgraph_sdk import Auth

from swarm_brain.memory.space import LOCAL_IDENTITY, Namespace, Space
from swarm_brain.server import admission, api_keys
from swarm_brain.server.api_keys import LOCAL, Owner
from swarm_brain.server.problems import Problem

auth = Auth()

OWNER, SHARED = "owner", {"created_by": "system"}
WRITES = ("create", "update", "create_run")
Value = MutableMapping[str, Any]


@auth.authenticate
async def authenticate(
    headers: Mapping[Any, Any], scope: Mapping[str, Any] | None = None
) -> Auth.types.MinimalUserDict:
    """Who sends these headers. Other servers than LangGraph's give nothing but the headers."""
    read = {_text(name).lower(): _text(value) for name, value in headers.items()}
    client = (scope or {}).get("client")
    try:
        owner = await asyncio.to_thread(
            api_keys.identify_caller, read, client[0] if client else None
        )
    except Problem as problem:  # here the server knows 401 and 403, and makes 500 of all others
        _refuse(problem, problem.status if problem.status == 401 else 403)
    user = api_keys.local_user() if owner.name is None else api_keys.User(owner.name)
    return {
        "identity": user.identity,
        "display_name": user.display_name,
        "is_authenticated": user.is_authenticated,
        "permissions": [],
    }


@auth.on
async def nothing_else(ctx: Auth.types.AuthContext, value: Any) -> bool:
    """What no handler here knows is for the local user alone."""
    return _name(ctx) is None


@auth.on.threads
async def threads(ctx: Auth.types.AuthContext, value: Value) -> Any:
    """A thread and its runs are their owner's. A new run counts against the owner's limits."""
    name = _name(ctx)
    if ctx.action == "create_run":
        await _admit(name, value)
    return _own(ctx, name, value)


@auth.on.crons
async def crons(ctx: Auth.types.AuthContext, value: Value) -> Any:
    """A cron is its owner's; each of its runs is created in that name."""
    return _own(ctx, _name(ctx), value)


@auth.on.assistants
async def assistants(ctx: Auth.types.AuthContext, value: Value) -> Any:
    """An assistant is its owner's; those that the server came with are read by all."""
    name = _name(ctx)
    if name is None:
        return None
    if ctx.action in WRITES and "created_by" in (value.get("metadata") or {}):
        raise Auth.exceptions.HTTPException(403, "metadata.created_by: not yours to set.")
    mine = _own(ctx, name, value)
    return {"$or": [mine, SHARED]} if ctx.action in ("read", "search") else mine


@auth.on.store
async def store(ctx: Auth.types.AuthContext, value: Value) -> None:
    """A key reads and writes its own memories; what it searches begins there."""
    if (name := _name(ctx)) is not None:
        value["namespace"] = within(Space.signed_in(name, "").root, value.get("namespace"))


def within(root: Namespace, asked: Any) -> Namespace:
    """The part of a namespace that lies under `root`. Raises HTTPException(403) if there is none.

    What is above it, as when everything is searched, becomes the root itself.
    """
    wanted = tuple(asked or ())
    if wanted[: len(root)] == root:
        return wanted
    if root[: len(wanted)] == wanted:
        return root
    raise Auth.exceptions.HTTPException(403, f"Your part of the store begins with {list(root)}.")


def _own(ctx: Auth.types.AuthContext, name: str | None, value: Value) -> Any:
    """Mark what is written as this owner's; the filter for what is theirs. All is the local user's.

    The mark is put into the dictionary that is there: that is the one that is stored.
    """
    if name is None:
        return None
    if ctx.action in WRITES:
        metadata = value.get("metadata")
        if not isinstance(metadata, dict):
            metadata = value["metadata"] = {}
        metadata[OWNER] = name
    return {OWNER: name}


async def _admit(name: str | None, value: Value) -> None:
    if name is not None and (value.get("webhook") or (value.get("kwargs") or {}).get("webhook")):
        raise Auth.exceptions.HTTPException(403, "webhook: this server calls no addresses.")
    try:
        await admission.check(LOCAL if name is None else await asyncio.to_thread(_owner, name))
    except Problem as problem:
        _refuse(problem)


def _owner(name: str) -> Owner:
    """This owner, unless the key has been taken away since, as from a cron's."""
    found = api_keys.owners().get(name)
    if found is None:
        raise Problem(401, f"There is no key {name} any more.", type="authentication_error")
    return found


def _name(ctx: Auth.types.AuthContext) -> str | None:
    """The owner's name, None for the local user."""
    return None if ctx.user.identity == LOCAL_IDENTITY else ctx.user.identity


def _text(header: Any) -> str:
    """A header as text, whichever way this server gives it."""
    return header.decode("latin-1") if isinstance(header, bytes) else str(header)


def _refuse(problem: Problem, status: int | None = None) -> NoReturn:
    raise Auth.exceptions.HTTPException(
        status_code=status or problem.status, detail=problem.message, headers=problem.headers
    ) from None
