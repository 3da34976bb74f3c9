"""The short names `graph`, `nodes`, `prompts` and `evals` in a checkout.

The four folders stand at the top of the repository, so Python can import them from there as well as
from `swarm_brain`. Loading a module twice would create each of its classes twice, and an `except`
clause would miss half of them. `alias` makes the short name another name of the same module. An
installed wheel has no short names. See docs/decisions/0019.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import CodeType, ModuleType

LONG = "swarm_brain."


def alias(name: str) -> None:
    """Make the top-level package `name` an alias of the one in `swarm_brain`."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    _aliased.add(name)
    sys.modules[name] = import_module(LONG + name)


_aliased: set[str] = set()  # short names in use


class _Finder(MetaPathFinder):
    """A finder that maps `graph.errors` to `swarm_brain.graph.errors`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec for the long name, or None for other names."""
        package, _, rest = fullname.partition(".")
        if package not in _aliased or not rest or (long := find_spec(LONG + fullname)) is None:
            return None
        return ModuleSpec(
            fullname,
            _Loader(long),
            origin=long.origin,
            is_package=long.submodule_search_locations is not None,
        )


class _Loader(InspectLoader):
    """A loader that loads a module under its long name."""

    def __init__(self, spec: ModuleSpec) -> None:
        self._spec = spec

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the module of the long name, importing it if necessary."""
        return import_module(self._spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Restore the module's own spec, which the import system replaced."""
        module.__spec__ = self._spec

    def get_source(self, fullname: str) -> str | None:
        """Return the source text of the module."""
        loader = self._spec.loader
        return loader.get_source(self._spec.name) if isinstance(loader, InspectLoader) else None

    def get_code(self, fullname: str) -> CodeType | None:
        """Return the code of the module, for `python -m`."""
        loader = self._spec.loader
        return loader.get_code(self._spec.name) if isinstance(loader, InspectLoader) else None
