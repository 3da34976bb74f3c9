"""Record files that were cut off, broken or begun with other settings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from swarm_brain.evals.record_file import RecordFile
from swarm_brain.graph.errors import ConfigError
from tests.evals.samples import HEAD, lines, opened, row


@pytest.mark.parametrize("cut", [1, 2, 40, 41, 42, 43])
def test_a_half_written_line_is_cut_off(tmp_path: Path, cut: int):
    """Wherever it was cut, in the middle of a letter too."""
    records = opened(tmp_path)
    for number in range(3):
        records.add(row(f"q{number}", text="naïve ✓ \u2028 \x85 " * 3))
    whole = records.path.read_bytes()
    os.truncate(records.path, len(whole) - cut)
    again = opened(tmp_path, resume=True)
    assert [key[1] for key in again.by_key] == ["q0", "q1"]
    again.add(row("q2", text="anew"))
    assert [line["id"] for line in lines(records.path)[1:]] == ["q0", "q1", "q2"]


def test_separators_within_answers_end_no_line(tmp_path: Path):
    records = opened(tmp_path)
    text = "one\u2028two\u2029three\x85four\x0bfive\x1csix\r\nseven"
    records.add(row("q0", text=text))
    records.add(row("q1", text="next"))
    again = opened(tmp_path, resume=True)
    assert [known["text"] for known in again.of("single")] == [text, "next"]


def test_a_file_that_is_whole_is_not_touched(tmp_path: Path):
    records = opened(tmp_path)
    records.add(row("q0"))
    before = records.path.stat().st_mtime_ns, records.path.read_bytes()
    opened(tmp_path, resume=True)
    assert (records.path.stat().st_mtime_ns, records.path.read_bytes()) == before


def test_a_broken_line_in_the_middle_is_named(tmp_path: Path):
    records = opened(tmp_path)
    records.add(row("q0"))
    with records.path.open("a") as file:
        file.write("{half\n")
    records.add(row("q1"))
    with pytest.raises(ConfigError, match="line 3: is not JSON"):
        opened(tmp_path, resume=True)
    assert "q1" in records.path.read_text("utf-8"), "and nothing is lost"


@pytest.mark.parametrize("content", ["", "{}\n", '{"id": "x"}\n', "[1]\n", "half"])
def test_a_file_that_holds_no_experiment_is_refused(tmp_path: Path, content: str):
    (tmp_path / "answers.jsonl").write_text(content)
    with pytest.raises(ConfigError, match="holds no experiment"):
        opened(tmp_path, resume=True)


def test_other_settings_are_refused_by_name(tmp_path: Path):
    records = opened(tmp_path)
    other = {**HEAD, "dataset": "def", "budget_tokens": 400}
    with pytest.raises(ConfigError) as caught:
        RecordFile.open(records.path, other, resume=True)
    assert "dataset was 'abc', is 'def'" in str(caught.value)
    assert "budget_tokens was None, is 400" in str(caught.value)
    assert "settings was" not in str(caught.value)


def test_changed_settings_are_named_one_by_one(tmp_path: Path):
    records = opened(tmp_path)
    other = {**HEAD, "settings": {"model": "scripted:other", "seed": 1}}
    with pytest.raises(ConfigError) as caught:
        RecordFile.open(records.path, other, resume=True)
    assert "settings.model was 'scripted:model', is 'scripted:other'" in str(caught.value)
    assert "settings.seed was None, is 1" in str(caught.value)


def test_an_existing_file_is_refused_without_resume(tmp_path: Path):
    before = opened(tmp_path).path.read_bytes()
    with pytest.raises(ConfigError, match="--resume"):
        opened(tmp_path)
    assert (tmp_path / "answers.jsonl").read_bytes() == before


def test_resume_without_a_file_begins_one(tmp_path: Path):
    assert opened(tmp_path / "new" / "folder", resume=True).path.exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        RecordFile.open(tmp_path / "file" / "answers.jsonl", {}, resume=False)
