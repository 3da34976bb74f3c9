"""The public names: docs/api.md lists what `__all__` lists, and all of it is documented."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
LISTED = {
    module: re.findall(r"^\| `(\w+)` \| \S", section, re.MULTILINE)
    for module, section in re.findall(r"^### `([\w.]+)`\n(.*?)(?=^### |\Z)", PAGE, re.M | re.S)
}
NAMES = [(module, name) for module, names in LISTED.items() for name in names]
COMPLETE = ("swarm_brain.graph.errors", "swarm_brain.graph.events")  # nothing in them is private


def own_doc(thing: object) -> str:
    """The docstring of a class or function itself, and not of a class that it derives from."""
    return vars(thing).get("__doc__") or "" if inspect.isclass(thing) else thing.__doc__ or ""


def documented(thing: object) -> bool:
    text = own_doc(thing)
    return bool(text) and not text.startswith(f"{getattr(thing, '__name__', '')}(")  # a dataclass's


@pytest.mark.parametrize("module", LISTED)
def test_the_page_lists_what_a_module_exports(module: str):
    assert sorted(LISTED[module]) == sorted(import_module(module).__all__)


def test_the_page_lists_the_modules_that_users_need():
    assert {"swarm_brain", "swarm_brain.graph.brain", "swarm_brain.remote"} <= set(LISTED)
    assert len(NAMES) > 60


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_a_public_name_is_there_and_documented(module: str, name: str):
    thing = getattr(import_module(module), name)
    if inspect.isclass(thing) or inspect.isfunction(thing):
        assert documented(thing)
        members = vars(thing) if inspect.isclass(thing) else {}
        assert [
            member for member, value in members.items()
            if not member.startswith("_") and not own_doc(value)
            and getattr(value, "__qualname__", "") == f"{name}.{member}"  # not a field's default
        ] == []  # fmt: skip


def test_what_is_not_documented_is_noticed():
    bare = type("Bare", (BaseException,), {"method": lambda self: None})
    assert not documented(bare)
    assert documented(test_the_page_lists_what_a_module_exports) is False


@pytest.mark.parametrize("module", COMPLETE)
def test_every_class_of_a_public_module_is_public(module: str):
    loaded = import_module(module)
    defined = {
        name for name, thing in vars(loaded).items()
        if inspect.isclass(thing) and thing.__module__ == module and not name.startswith("_")
    }  # fmt: skip
    assert defined <= set(loaded.__all__)


def test_the_package_gives_what_it_exports_and_lists_it():
    import swarm_brain

    assert set(swarm_brain.__all__) <= set(dir(swarm_brain))
    with pytest.raises(AttributeError, match="no_such_name"):
        swarm_brain.no_such_name  # noqa: B018
    import llm_swarm_brain

    assert llm_swarm_brain.__all__ == ["BrainConfig", "PhiBrain"]
    assert llm_swarm_brain.PhiBrain is swarm_brain.PhiBrain
