"""The code keeps its size and its types: short functions, short files, few `Any`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.unit.test_imports import MODULES, ROOT

FUNCTION_LINES, FILE_LINES, ANY_PER_1000 = 40, 300, 12
IGNORE = re.compile(r"#\s*type:\s*ignore(?:\[[^\]]*\])?(?P<reason>.*)")


@cache
def source(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def lines_of(path: Path) -> int:
    return source(path).count("\n")


def long_functions(name: str, code: str) -> list[str]:
    """Every function that has more lines than it may, decorators apart."""
    return [
        f"{name}:{node.name}"
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno + 1 > FUNCTION_LINES
    ]


def any_count(code: str) -> int:
    """How often the name `Any` is used, imports apart."""
    return sum(
        isinstance(node, ast.Name) and node.id == "Any" for node in ast.walk(ast.parse(code))
    )


def bare_ignores(name: str, code: str) -> Iterator[str]:
    """Every `type: ignore` without a comment that says why, behind it or on the line above."""
    above = ""
    for number, line in enumerate(code.splitlines(), start=1):
        match = IGNORE.search(line)
        if match and not match["reason"].strip(" #") and not above.lstrip().startswith("#"):
            yield f"{name}:{number}"
        above = line


def test_the_measures_find_what_they_measure():
    long = "def f():\n" + "    pass\n" * FUNCTION_LINES
    assert long_functions("sample", long) == ["sample:f"]
    assert long_functions("sample", long.removesuffix("    pass\n")) == []
    assert any_count("from typing import Any\nx: dict[str, Any]\ny: Any = 'Any'\n") == 2
    bare = "x = 1  # type: ignore[misc]\n"
    assert list(bare_ignores("sample", bare)) == ["sample:1"]
    assert list(bare_ignores("sample", bare.replace("\n", "  # why\n"))) == []
    assert list(bare_ignores("sample", f"# Why.\n{bare}")) == []


def test_no_function_is_long():
    assert [f for name, path in MODULES.items() for f in long_functions(name, source(path))] == []


def test_no_file_is_long():
    assert [name for name, path in MODULES.items() if lines_of(path) > FILE_LINES] == []


def test_any_is_rare():
    lines = sum(lines_of(path) for path in MODULES.values())
    uses = sum(any_count(source(path)) for path in MODULES.values())
    assert 1000 * uses / lines <= ANY_PER_1000


def test_every_ignored_type_says_why():
    folders = [*MODULES.items()] + [
        (path.name, path)
        for folder in ("benchmarks", "docs")
        for path in (ROOT / folder).glob("*.py")
    ]
    assert [f for name, path in folders for f in bare_ignores(name, source(path))] == []
