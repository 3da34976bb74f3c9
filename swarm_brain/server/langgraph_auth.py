"""Authenticate at the LangGraph routes, with the same keys and limits.

`langgraph.json` names this file. Threads, runs, assistants, crons and store items belong to the key
that created them. Without keys everything is local and shared, and only this machine is answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, MutableMapping
from typing import Any, NoReturn

from langgraph_sdk import Auth

from swarm_brain.memory.space import Namespace, Space, user_of
from swarm_brain.server import admission, api_keys
from swarm_brain.server.api_keys import LOCAL, Owner
from swarm_brain.server.problems import Problem

auth = Auth()

OWNER, SHARED = "owner", {"created_by": "system"}
WRITES = ("create", "update", "create_run")
Context = Auth.types.AuthContext
Value = MutableMapping[str, object]  # what a request writes or searches for
Filter = dict[str, str]


@auth.authenticate
async def authenticate(
    headers: Mapping[str, str] | Mapping[bytes, bytes], scope: Mapping[str, object] | None = None
) -> Auth.types.MinimalUserDict:
    """Return the user with these headers.

    Servers other than LangGraph's pass no scope.
    """
    plain = {_text(name).lower(): _text(value) for name, value in headers.items()}
    client = (scope or {}).get("client")
    host = client[0] if isinstance(client, tuple | list) else None
    try:
        owner = await asyncio.to_thread(api_keys.identify_caller, plain, host)
    except Problem as problem:  # the server knows 401 and 403 here, and turns all others into 500
        _refuse(problem, problem.status if problem.status == 401 else 403)
    user = owner.user or api_keys.local_user()
    return {
        "identity": user.identity,
        "display_name": user.display_name,
        "is_authenticated": user.is_authenticated,
        "permissions": [],
    }


@auth.on
async def nothing_else(ctx: Context, value: object) -> bool:
    """Allow routes without a handler to the local user only."""
    return _name(ctx) is None


@auth.on.threads
async def threads(ctx: Context, value: Value) -> Filter | None:
    """Keep threads to their owner; a new run counts against the owner's limits."""
    name = _name(ctx)
    if ctx.action == "create_run":
        await _admit(name, value)
    return _own(ctx, name, value)


@auth.on.crons
async def crons(ctx: Context, value: Value) -> Filter | None:
    """Keep crons to their owner, who also owns their runs."""
    return _own(ctx, _name(ctx), value)


@auth.on.assistants
async def assistants(ctx: Context, value: Value) -> Any:  # the SDK's type lacks $or
    """Keep assistants to their owner, but let everyone read the server's own."""
    name = _name(ctx)
    if name is None:
        return None
    metadata = value.get("metadata")
    if ctx.action in WRITES and isinstance(metadata, dict) and "created_by" in metadata:
        raise Auth.exceptions.HTTPException(403, "metadata.created_by cannot be set by a client.")
    own = {OWNER: name}
    _own(ctx, name, value)
    return {"$or": [own, SHARED]} if ctx.action in ("read", "search") else own


@auth.on.store
async def store(ctx: Context, value: Value) -> None:
    """Confine a key to its own memories."""
    if (name := _name(ctx)) is not None:
        value["namespace"] = within(Space.of_user(name, "").root, value.get("namespace"))


def within(root: Namespace, asked: object) -> Namespace:
    """Return the part of a namespace that lies under `root`.

    A namespace above it becomes the root itself, for example in a search of everything. Raise
    HTTPException(403) if they have nothing in common.
    """
    namespace = tuple(asked) if isinstance(asked, tuple | list) else ()
    if namespace[: len(root)] == root:
        return namespace
    if root[: len(namespace)] == namespace:
        return root
    raise Auth.exceptions.HTTPException(403, f"Your part of the store starts with {list(root)}.")


def _own(ctx: Context, name: str | None, value: Value) -> Filter | None:
    """Mark written values as this owner's and return the filter; None: no filter.

    The mark goes into the dictionary that is passed in, because that one is stored.
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
    kwargs = value.get("kwargs")
    if name is not None and (
        value.get("webhook") or (isinstance(kwargs, dict) and kwargs.get("webhook"))
    ):
        raise Auth.exceptions.HTTPException(403, "webhook: not allowed on this server.")
    try:
        await admission.check(LOCAL if name is None else await asyncio.to_thread(_owner, name))
    except Problem as problem:
        _refuse(problem)


def _owner(name: str) -> Owner:
    """Return this owner. Raise Problem(401) if the key no longer exists."""
    owner = api_keys.owners().get(name)
    if owner is None:
        raise Problem(401, f"There is no key {name} any more.", type="authentication_error")
    return owner


def _name(ctx: Context) -> str | None:
    """Return the owner's name, None for the local user."""
    return user_of(ctx.user.identity)


def _text(header: str | bytes) -> str:
    """Return a header as text, from either form that servers pass."""
    return header.decode("latin-1") if isinstance(header, bytes) else str(header)


def _refuse(problem: Problem, status: int | None = None) -> NoReturn:
    raise Auth.exceptions.HTTPException(
        status_code=status or problem.status, detail=problem.message, headers=problem.headers
    ) from None
