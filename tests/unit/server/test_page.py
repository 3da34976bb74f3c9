"""The page as it is committed: small, whole, and on its own."""

from __future__ import annotations

import gzip
import re
import runpy

from tests.integration.processes import REPO

WIRE = runpy.run_path(str(REPO / "docs/wire.py"))
STATIC = REPO / "swarm_brain/server/static"
MOST_BYTES = 150_000  # gzip, scripts and styles
KNOWN = ("http://www.w3.org/",)  # names of XML, which nobody asks for


def files(*endings: str) -> dict[str, str]:
    return {path.name: path.read_text() for path in STATIC.rglob("*") if path.suffix in endings}


def test_it_loads_nothing_from_elsewhere_and_has_no_inline_script():
    (index,) = files(".html").values()
    assert re.findall(r"<script(?![^>]*\bsrc=)", index) == []
    assert re.findall(r"<style|\sstyle=|\son\w+=", index) == []
    addresses = [
        found
        for text in files(".html", ".css", ".js", ".svg").values()
        for found in re.findall(r"(?:https?:)?//[a-z][\w.-]+\.[a-z]{2,}[^\s\"'`)]*", text)
    ]
    assert [found for found in addresses if not found.startswith(KNOWN)] == []


def test_all_that_it_names_is_there_and_small():
    (index,) = files(".html").values()
    named = re.findall(r'(?:src|href)="page/([^"]+)"', index)
    assert len(named) == 3
    assert all((STATIC / name).is_file() for name in named)
    packed = sum(len(gzip.compress(text.encode())) for text in files(".css", ".js").values())
    assert packed < MOST_BYTES


def test_the_licences_of_what_is_bundled_are_kept():
    licences = (STATIC / "LICENSES.md").read_text()
    for name in ("eventsource-parser", "preact", "@preact/signals", "@preact/signals-core"):
        assert f"## {name} " in licences
    assert licences.count("Permission is hereby granted") >= 2


def test_the_types_of_its_events_are_those_that_the_server_sends():
    assert WIRE["FILE"].read_text(encoding="utf-8") == WIRE["wire"](), "run `make page-types`"
