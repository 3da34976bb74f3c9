"""The namespaces of one user's memories in a store."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from swarm_brain.graph.state import MemoryKind

ROOT = "swarm-brain"
MAX_LABEL = 100  # characters; databases limit the length of what they index
LOCAL_USER = "local"  # nobody has signed in: the command line, Python, a server without keys
LOCAL_IDENTITY = "(local)"  # the identity of users of a server without keys; no key can have it
Namespace = tuple[str, ...]


def user_of(identity: str | None) -> str | None:
    """Return the name of a signed-in user; None for the local user."""
    return None if identity == LOCAL_IDENTITY else identity


@dataclass(frozen=True)
class Space:
    """One user's memories under one name."""

    user: str = LOCAL_USER
    name: str = "default"

    @classmethod
    def of_user(cls, user: str | None, name: str) -> Space:
        """Return the memory space of a user; None is the local user.

        A signed-in user named `local` is another user. The second @ ends the name: stores match
        labels by prefix, and no user's label may be the prefix of another's.
        """
        return cls(LOCAL_USER if user is None else f"@{user}@", name)

    @property
    def root(self) -> Namespace:
        """The namespace above all of this user's memories."""
        return (ROOT, _label(self.user))

    def of(self, kind: MemoryKind) -> Namespace:
        """Return the namespace of memories of this kind."""
        return (*self.root, _label(self.name), f"{kind}s")

    @property
    def unconsolidated(self) -> Namespace:
        """The namespace of the keys of episodes that are not consolidated yet."""
        return (*self.root, _label(self.name), "unconsolidated")

    def calls(self, run_id: str) -> Namespace:
        """Return the namespace of an unfinished run's reservations."""
        return (*self.root, "calls", _label(run_id))


def _label(text: str) -> str:
    """Return text as a label that no store confuses with another.

    Stores match prefixes, some with LIKE, some ignoring case, and refuse periods. So every
    character but a-z, 0-9 and - becomes ~code point~, and a label that is too long its hash.
    """
    label = re.sub(r"[^a-z0-9-]", lambda match: f"~{ord(match[0]):x}~", text) or "~"
    if len(label) <= MAX_LABEL:
        return label
    return f"~~{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()}"
