"""Questions with or without a key: reading them from files, and their prompts."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal, TypeVar

from swarm_brain.evals.cases.extract.numbers import read
from swarm_brain.graph.errors import ConfigError

_T = TypeVar("_T", str, int)
JsonRow = dict[str, object]
QuestionKind = Literal["open", "choice", "numeric", "text"]

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
ENDINGS: dict[QuestionKind, str] = {
    "open": "",
    "choice": 'End with a last line "Answer: <letter>".',
    "numeric": 'End with a last line "Answer: <number>".',
    "text": 'End with a last line "Answer: <your answer>", and nothing else on that line.',
}
_SPLITS = ("_test", "_dev", "_val")  # how the published MMLU files end
_CSV_FIELDS = 6


@dataclass(frozen=True, kw_only=True)
class Example:
    """One question; `answer` is a letter for a choice and None for an open question.

    `group` names the subset it belongs to, such as "syllogism" or a subject.
    """

    id: str
    question: str
    kind: QuestionKind
    answer: str | None = None
    choices: tuple[str, ...] = ()
    level: int | None = None
    level_name: str | None = None
    rubric: tuple[str, ...] = ()
    source: str | None = None
    difficulty: int | None = None
    group: str = ""

    @property
    def letters(self) -> str:
        """Return the letters of its choices."""
        return LETTERS[: len(self.choices)]


def prompt(example: Example) -> str:
    """Return the prompt: the question, its choices, and the form of the answer."""
    choices = [f"{letter}) {text}" for letter, text in zip(LETTERS, example.choices, strict=False)]
    parts = [example.question, "\n".join(choices), ENDINGS[example.kind]]
    return "\n\n".join(part for part in parts if part)


def content_hash(examples: Iterable[Example]) -> str:
    """Return a hash of 16 hexadecimal digits that ignores the examples' order."""
    rows = sorted(to_json(example) for example in examples)
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16]


def to_json(example: Example) -> str:
    """Return the line of a dataset file that `load` reads back as the same example."""
    unset = {field.name: field.default for field in fields(Example)}
    row = {name: value for name, value in asdict(example).items() if value != unset[name]}
    return json.dumps(row, ensure_ascii=False)


def load(path: Path) -> list[Example]:
    """Load the examples of a JSONL file, or of a CSV file in MMLU's form.

    JSONL rows are {"question", "answer"}. Multiple choice adds "choices". An open question has
    "rubric" and no answer. Raises ConfigError with the file, the line and the problem.
    """
    text = _text(path)
    rows = _csv_rows(path, text) if path.suffix.lower() == ".csv" else _json_rows(path, text)
    examples: dict[str, Example] = {}
    for line, row in rows:
        try:
            example = _example(row, f"{path.stem}-{line}", _subset(path))
        except ValueError as fault:
            raise ConfigError(f"{path}, line {line}: {fault}") from None
        if example.id in examples:
            raise ConfigError(f"{path}, line {line}: the id {example.id!r} is used twice.")
        examples[example.id] = example
    if not examples:
        raise ConfigError(f"{path}: the file holds no question.")
    return list(examples.values())


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}, line {line}: is not UTF-8; save the file as UTF-8.") from None


def _subset(path: Path) -> str:
    for ending in _SPLITS:
        if path.stem.endswith(ending):
            return path.stem.removesuffix(ending)
    return path.stem


def _json_rows(path: Path, text: str) -> Iterator[tuple[int, JsonRow]]:
    # Not splitlines(): JSON strings may hold U+2028, which is no end of a line.
    for line, row in enumerate(text.split("\n"), 1):
        if not row.strip():
            continue
        try:
            value = json.loads(row)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{path}, line {line}: is not JSON ({error}).") from None
        if not isinstance(value, dict):
            raise ConfigError(f"{path}, line {line}: must be an object with question and answer.")
        yield line, value


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, JsonRow]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in reader:
            if not row:
                continue
            if len(row) != _CSV_FIELDS:
                raise ConfigError(
                    f"{path}, line {reader.line_num}: has {len(row)} fields, not the "
                    f"{_CSV_FIELDS} of MMLU: question, four choices, answer letter."
                )
            question, *choices, answer = row
            yield (
                reader.line_num,
                {
                    "question": question,
                    "choices": choices,
                    "answer": answer,
                },
            )
    except csv.Error as error:
        raise ConfigError(f"{path}, line {reader.line_num}: is not CSV ({error}).") from None


def _example(row: JsonRow, default_id: str, subset: str) -> Example:
    """Read one row. Raises ValueError for a missing or wrong field."""
    choices = _choices(row.get("choices", row.get("options")))
    is_open = "answer" not in row and ("rubric" in row or row.get("kind") == "open")
    answer = None if is_open else _answer(row, choices)
    return Example(
        id=_optional(row, "id", str) or default_id,
        question=_required_text(row, "question"),
        kind=_kind(answer, choices),
        answer=answer,
        choices=choices,
        level=_optional(row, "level", int),
        level_name=_optional(row, "level_name", str),
        rubric=_texts(row.get("rubric", []), "rubric"),
        source=_optional(row, "source", str),
        difficulty=_optional(row, "difficulty", int),
        group=_optional(row, "group", str) or _optional(row, "subject", str) or subset,
    )


def _kind(answer: str | None, choices: Sequence[str]) -> QuestionKind:
    if answer is None:
        return "open"
    if choices:
        return "choice"
    return "text" if read(answer) is None else "numeric"


def _required_text(row: JsonRow, name: str) -> str:
    value = row.get(name)
    if value is None:
        raise ValueError(f"{name!r} is missing.")
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name!r} must be text that is not blank.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name!r} contains half a surrogate pair.") from None
    return value.strip()


def _optional(row: JsonRow, name: str, kind: type[_T]) -> _T | None:
    value = row.get(name)
    if value is None or (isinstance(value, kind) and not isinstance(value, bool)):
        return value
    raise ValueError(f"{name!r} must be {'text' if kind is str else 'a whole number'}.")


def _texts(value: object, name: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(v, str) and v.strip() for v in value):
        raise ValueError(f"{name!r} must be a list of texts that are not blank.")
    return tuple(text.strip() for text in value)


def _choices(value: object) -> tuple[str, ...]:
    """Read the choices, a list or an object {"A": ...}, in order of their letters."""
    if value is None:
        return ()
    if isinstance(value, dict):
        if list(value) != list(LETTERS[: len(value)]):
            raise ValueError("the keys of 'choices' must be A, B, C and so on.")
        value = list(value.values())
    if not isinstance(value, list) or not 2 <= len(value) <= len(LETTERS):
        raise ValueError(f"'choices' must be a list of 2 to {len(LETTERS)} texts.")
    numbers = (int, float)
    texts = [str(v) if isinstance(v, numbers) and not isinstance(v, bool) else v for v in value]
    return _texts(texts, "choices")


def _answer(row: JsonRow, choices: tuple[str, ...]) -> str:
    value = row.get("answer")
    if choices and isinstance(value, int) and not isinstance(value, bool):
        if not 0 <= value < len(choices):
            raise ValueError(
                f"the answer is choice {value}, counted from 0, but there are {len(choices)}."
            )
        return LETTERS[value]
    if isinstance(value, bool | int | float):
        return str(value).lower()
    text = _required_text(row, "answer")
    if choices:
        return _letter(text, choices)
    # GSM8K: the worked solution, then a line with the key
    key = text.rpartition("####")[2].strip()
    if not key:
        raise ValueError("nothing follows the '####' of the answer.")
    return key


def _letter(answer: str, choices: tuple[str, ...]) -> str:
    """Return the letter of an answer stated as a letter, a choice's text or an index."""
    letters = LETTERS[: len(choices)]
    named = {letter for letter, text in zip(letters, choices, strict=True) if text == answer}
    if len(answer) == 1 and answer.upper() in letters:
        named.add(answer.upper())
    if not named and answer.isdecimal() and int(answer) < len(choices):
        named.add(letters[int(answer)])
    if len(named) > 1:
        raise ValueError(f"the answer {answer!r} names several choices; give its letter.")
    if not named:
        raise ValueError(f"the answer {answer!r} is neither one of {letters} nor a choice's text.")
    return named.pop()
