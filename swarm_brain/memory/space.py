"""Whose memories: the namespaces of one user and one brain in a store."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from swarm_brain.graph.state import MemoryKind

ROOT = "swarm-brain"
LONGEST = 100  # characters of a label; databases bound what they index
LOCAL_USER = "local"  # where nobody has signed in: the command line, Python, a server without keys
LOCAL_IDENTITY = "(local)"  # what a server without keys calls its users; no key has such a name
Namespace = tuple[str, ...]


@dataclass(frozen=True)
class Space:
    """The memories of one user (who has signed in at a server, else `local`) under one name."""

    user: str = LOCAL_USER
    name: str = "default"

    @classmethod
    def signed_in(cls, identity: str, name: str) -> Space:
        """The memories of somebody who has signed in; one called `local` is not the local user.

        The second @ ends the name: stores match labels by their beginnings, and nobody's may be
        the beginning of another's.
        """
        return cls(f"@{identity}@", name)

    @property
    def root(self) -> Namespace:
        """Where all that is this user's begins, whatever its name."""
        return (ROOT, _label(self.user))

    def of(self, kind: MemoryKind) -> Namespace:
        """Where memories of this kind are."""
        return (*self.root, _label(self.name), f"{kind}s")

    @property
    def unconsolidated(self) -> Namespace:
        """Keys of the episodes that no consolidation has read yet."""
        return (*self.root, _label(self.name), "unconsolidated")

    def calls(self, run_id: str) -> Namespace:
        """Return the namespace of an unfinished run's reservations (spending/reservations.py)."""
        return (*self.root, "calls", _label(run_id))


def _label(text: str) -> str:
    """Text as a label that stores keep apart: they match prefixes, some with LIKE, some ignoring
    case, and refuse periods. So everything but a-z, 0-9 and - is written as ~code point~, and of
    what is too long a hash stands in its place."""
    label = re.sub(r"[^a-z0-9-]", lambda found: f"~{ord(found[0]):x}~", text) or "~"
    if len(label) <= LONGEST:
        return label
    return f"~~{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()}"
