"""Batches: rows are read one by one, answered side by side, kept, and told in order."""

from __future__ import annotations

import asyncio
import io
import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from swarm_brain.batch import rows as reading
from swarm_brain.batch.budget import BatchBudget
from swarm_brain.batch.journal import Journal, open_journal
from swarm_brain.batch.output import Stream, Total
from swarm_brain.batch.rows import Row, Rows, index
from swarm_brain.batch.runner import ALL_FAIL, MOST_FAILURES, OVER_BUDGET, Batch, ask, run
from swarm_brain.cli.app import app
from swarm_brain.cli.terminal import batch as batching
from swarm_brain.graph.errors import BlankQuestion, ConfigError, ModelUnavailable, ServerError
from swarm_brain.graph.state import RESULT_KEYS
from swarm_brain.spending.ledger import Amount

HEAD = {"questions": "abc", "settings": {"model": "m:n"}}


def rows_of(*lines: bytes | str, **common: Any) -> Rows:
    data = b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines)
    return index(io.BytesIO(data), common)


def questions(count: int) -> Rows:
    return rows_of(*(json.dumps(f"Question {n}?") for n in range(count)))


# -- rows


def test_a_row_is_a_text_a_question_or_a_chat():
    chat = [{"role": "user", "content": "Hi"}, {"role": "user", "content": "Why?"}]
    rows = rows_of(
        '"Why?"',
        '{"question": "Why?", "id": 7, "settings": {"effort": "low"}, "metadata": {"a": [1]}}',
        json.dumps({"messages": chat, "id": "x"}),
    )
    assert [rows.at(n) for n in range(3)] == [
        Row(1, {"question": "Why?"}),
        Row(2, {"question": "Why?"}, {"effort": "low"}, 7, {"a": [1]}),
        Row(3, {"messages": chat}, id="x"),
    ]
    assert rows.at(2).text.split() == ["Hi", "Why?"]
    assert rows.bad == 0


BAD = {
    b"not json": "not JSON",
    b'{"question": "x"': "not JSON",
    b"7": "not a question",
    b"[]": "not a question",
    b"{}": "either question or messages",
    b'{"question": "x", "messages": []}': "either question or messages",
    b'{"question": "x", "answer": "y", "b": 1}': "unknown keys answer, b; known:",
    b'{"question": " \\n"}': "empty",
    b'""': "empty",
    b'{"question": 7}': "must be text",
    b'{"question": null}': "empty",
    b'{"messages": "x"}': "a list of messages",
    b'{"messages": []}': "empty",
    b'{"messages": [7]}': "message",
    b'{"messages": [{"role": "tool", "content": "x"}]}': "tool_call_id",
    b'{"messages": [{"role": "nobody", "content": "x"}]}': "nobody",
    b'{"messages": [{"role": "assistant", "content": "x"}]}': "empty",
    b'{"question": "a\\ud800b"}': "lone surrogate",
    b'{"question": "x", "metadata": "\\udfff"}': "lone surrogate",
    b'{"question": "x", "metadata": NaN}': "not JSON compliant",
    b'{"question": "x", "metadata": 1e999}': "not JSON compliant",
    b'"caf\xe9"': "not UTF-8",
    b'{"question": "x", "id": [1]}': "id:",
    b'{"question": "x", "id": true}': "id:",
    b'{"question": "x", "settings": []}': "settings:",
    b'{"question": "x", "settings": {"effort": "huge"}}': "effort",
    b'{"question": "x", "settings": {"efort": "low"}}': "no such setting",
    b'{"question": "x", "settings": {"pause_before": ["memory"]}}': "pause_before",
    b'{"question": "x", "settings": {"use_memory": true}}': "use_memory",
    b"[" * 100_000: "nested too deeply",
}


@pytest.mark.parametrize(("line", "why"), BAD.items(), ids=[line[:60] for line in BAD])
def test_a_bad_row_is_told_with_its_line_and_ends_nothing(line, why):
    rows = rows_of('"good"', "", line, '"good"')
    assert (len(rows), rows.bad) == (3, 1)
    (told,) = rows.problems
    assert told.startswith("line 3: ")
    assert why in told
    assert "\n" not in told
    assert rows.at(1).problem == told.removeprefix("line 3: ")
    assert rows.at(2) == Row(4, {"question": "good"})


def test_only_the_first_bad_rows_are_told():
    rows = rows_of(*["x"] * 50)
    assert rows.bad == 50
    assert len(rows.problems) == reading.SHOWN


def test_a_rows_own_settings_are_checked_together_with_those_of_all():
    rows = rows_of('{"question": "x", "settings": {"seed": 1}}', model="m:n", effort="low")
    assert rows.bad == 0


def test_lines_are_found_whatever_ends_them(monkeypatch):
    monkeypatch.setattr(reading, "MOST_BYTES", 30)
    long = json.dumps("y" * 100)
    rows = index(io.BytesIO(f'\ufeff"a"\r\n\r\n{long}\n"\u2028b"\n"c"'.encode()), {})
    assert [rows.at(n).line for n in range(4)] == [1, 3, 4, 5]
    assert [rows.at(n).input.get("question") for n in (3, 0, 2)] == ["c", "a", "\u2028b"]
    assert rows.at(1).problem == "longer than 30 bytes"


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_no_bytes_break_the_reading(lines):
    rows = rows_of(*lines)
    for n in range(len(rows)):
        rows.at(n)


# -- running


class Scripted:
    """Answers in its own time; `plan` gives each question's exception, or its answer's changes."""

    def __init__(self, plan=None, waits=(), worst: Amount | None = None) -> None:
        self.plan, self.waits, self.asked = plan or {}, list(waits), []
        self.weighs: list[int] = []  # how long it takes to say each row's worst case
        self.of_worst = worst or Amount(100, 0.0)
        self.settings: list[dict[str, Any]] = []

    async def ask(self, row: Row, settings: Any) -> dict[str, Any]:
        question = row.input["question"]
        self.asked.append(question)
        self.settings.append(dict(settings))
        for _ in range(self.waits.pop() if self.waits else 0):
            await asyncio.sleep(0)
        found = self.plan.get(question, {})
        if isinstance(found, BaseException):
            raise found
        usage = {"calls": 1, "input_tokens": 30, "output_tokens": 10, "cost_usd": 0.0}
        result = dict.fromkeys(RESULT_KEYS) | {"final_output": f"To {question}"}
        return result | {"provenance": "full", "stop_reason": "complete", "usage": usage} | found

    async def worst(self, row: Row, settings: Any) -> Amount:
        for _ in range(self.weighs.pop() if self.weighs else 0):
            await asyncio.sleep(0)
        return self.of_worst


def batch_of(rows: Rows, asker: Scripted, journal: Journal | None = None, **more: Any) -> Batch:
    journal = journal or open_journal(None, len(rows), HEAD, resume=False)
    more = {"budget": BatchBudget()} | more
    return Batch(rows, journal, asker, {}, **more)


@given(st.lists(st.integers(0, 7), min_size=1, max_size=30), st.integers(1, 9), st.data())
@settings(deadline=None, max_examples=60)
def test_answers_stand_in_the_files_order_and_failures_in_their_place(waits, concurrency, data):
    names = [f"Question {n}?" for n in range(len(waits))]
    failing = data.draw(st.sets(st.sampled_from(names), max_size=MOST_FAILURES - 1))
    asker = Scripted(dict.fromkeys(failing, ServerError("u", "away")), waits)
    batch = batch_of(questions(len(waits)), asker, concurrency=concurrency)
    asyncio.run(run(batch))
    answers = list(batch.answers())
    assert [answer["line"] for answer in answers] == list(range(1, len(waits) + 1))
    assert sorted(asker.asked) == sorted(names)
    for name, answer in zip(names, answers, strict=True):
        if name in failing:
            assert (answer["status"], answer["final_output"]) == ("failed", None)
            assert "away" in answer["error"]
        else:
            assert (answer["status"], answer["final_output"]) == ("answered", f"To {name}")


class Killed(BaseException):
    """The process ends here."""


@given(st.integers(1, 20), st.integers(0, 19), st.integers(1, 5), st.integers(0, 400))
@settings(deadline=None, max_examples=60)
def test_what_is_answered_is_not_asked_again_whenever_it_was_killed(count, at, concurrency, torn):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal"
        rows = questions(count)
        journal = open_journal(path, count, HEAD, resume=False)
        dying = Scripted({f"Question {at}?": Killed()})
        try:
            asyncio.run(run(batch_of(rows, dying, journal, concurrency=concurrency)))
        except BaseExceptionGroup:
            assert at < count
        journal.close()
        data = path.read_bytes()
        head = data.index(b"\n") + 1
        path.write_bytes(data[: max(head, len(data) - torn)])  # the last line was being written
        lines = path.read_bytes().split(b"\n")[1:-1]
        kept = {json.loads(line)["row"] for line in lines}

        again = open_journal(path, count, HEAD, resume=True)
        asker = Scripted()
        batch = batch_of(rows, asker, again, concurrency=concurrency)
        asyncio.run(run(batch))
        assert sorted(asker.asked) == sorted(
            f"Question {n}?" for n in range(count) if n not in kept
        )
        assert [a["final_output"] for a in batch.answers()] == [
            f"To Question {n}?" for n in range(count)
        ]
        again.close()


async def test_a_bad_row_is_an_answer_and_nobody_is_asked():
    asker = Scripted()
    batch = batch_of(rows_of('"a"', "x", '"b"'), asker)
    await run(batch)
    assert asker.asked == ["a", "b"]
    assert [answer["status"] for answer in batch.answers()] == ["answered", "failed", "answered"]
    bad = list(batch.answers())[1]
    assert "not JSON" in bad["error"]
    assert (bad["line"], bad["usage"]["input_tokens"], bad["usage"]["cost_usd"]) == (2, 0, 0.0)
    assert set(RESULT_KEYS) <= set(bad)


@pytest.mark.parametrize(
    ("fault", "told", "tokens"),
    [
        (BlankQuestion(), "empty", 0),
        (ModelUnavailable("no weights"), "no weights", 0),
        (ServerError("u", "away"), "away", None),
        (ZeroDivisionError("what?"), "ZeroDivisionError: what?", None),
    ],
)
async def test_whatever_fails_is_told_in_its_row(fault, told, tokens):
    batch = batch_of(questions(3), Scripted({"Question 1?": fault}))
    await run(batch)
    one, failed, other = batch.answers()
    assert one["status"] == other["status"] == "answered"
    assert (failed["status"], failed["usage"]["input_tokens"]) == ("failed", tokens)
    assert told in failed["error"]


async def test_a_strict_run_that_failed_is_a_failed_row():
    strict = {"stop_reason": "failed", "error": "an expert failed"}
    batch = batch_of(questions(1), Scripted({"Question 0?": strict}))
    await run(batch)
    (answer,) = batch.answers()
    assert (answer["status"], answer["error"]) == ("failed", "an expert failed")


async def test_where_nothing_is_answered_the_rest_is_not_sent():
    class Down(Scripted):
        async def ask(self, row: Row, settings: Any) -> dict[str, Any]:
            self.asked.append(row)
            raise ServerError("u", "away")

    asker = Down()
    batch = batch_of(questions(100), asker, concurrency=1)
    await run(batch)
    assert len(asker.asked) == MOST_FAILURES
    assert batch.stopped == ALL_FAIL
    last = list(batch.answers())[-1]
    assert (last["status"], last["error"]) == ("not sent", f"not sent: {ALL_FAIL}")


async def test_failed_and_simulated_rows_are_asked_again_only_where_that_is_wanted(tmp_path):
    rows = questions(4)
    plan = {"Question 1?": ServerError("u", "away"), "Question 2?": {"provenance": "simulated"}}
    journal = open_journal(tmp_path / "j", 4, HEAD, resume=False)
    await run(batch_of(rows, Scripted(plan), journal))
    for retry, asked in ((False, []), (True, ["Question 1?", "Question 2?"]), (True, [])):
        journal = open_journal(tmp_path / "j", 4, HEAD, resume=True)
        asker = Scripted()
        batch = batch_of(rows, asker, journal, retry_failed=retry)
        await run(batch)
        assert sorted(asker.asked) == asked
    assert {answer["status"] for answer in batch.answers()} == {"answered"}


@pytest.mark.parametrize("bound", [1, 3])
async def test_so_many_are_asked_at_once(bound):
    now, most = 0, 0

    class Watching(Scripted):
        async def ask(self, row: Row, settings: Any) -> dict[str, Any]:
            nonlocal now, most
            now += 1
            most = max(most, now)
            await asyncio.sleep(0.01)
            now -= 1
            return await super().ask(row, settings)

    await run(batch_of(questions(9), Watching(), concurrency=bound))
    assert most == bound


# -- the journal


def test_another_batch_is_refused_by_name(tmp_path):
    open_journal(tmp_path / "j", 3, HEAD, resume=False).close()
    with pytest.raises(ConfigError, match="--resume"):
        open_journal(tmp_path / "j", 3, HEAD, resume=False)
    other = {"questions": "def", "settings": {"model": "m:n", "seed": 1}}
    with pytest.raises(ConfigError) as caught:
        open_journal(tmp_path / "j", 3, other, resume=True)
    assert "questions was 'abc', is 'def'" in str(caught.value)
    assert "settings.seed was None, is 1" in str(caught.value)
    assert "model" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "{}\n", "[1]\n", '{"experiment": {}}\n', "half"])
def test_what_is_no_journal_is_refused(tmp_path, content):
    (tmp_path / "j").write_text(content)
    with pytest.raises(ConfigError, match="holds no batch"):
        open_journal(tmp_path / "j", 3, HEAD, resume=True)


# -- the budget


@given(
    st.integers(0, 1000),
    st.integers(1, 5),
    st.integers(1, 300),
    st.lists(st.integers(0, 300), min_size=1, max_size=25),
)
@settings(deadline=None, max_examples=80)
def test_a_batch_never_spends_more_than_its_budget(limit, concurrency, worst, spends):
    plan, spent = {}, [min(spend, worst) for spend in spends]
    for n, tokens in enumerate(spent):
        usage = {"calls": 1, "input_tokens": tokens, "output_tokens": 0, "cost_usd": tokens / 100}
        plan[f"Question {n}?"] = {"usage": usage}
    asker = Scripted(plan, [2] * len(spends), Amount(worst, worst / 100))
    asker.weighs = [n % 5 for n in spends]
    budget = BatchBudget(limit, limit / 100)
    batch = batch_of(questions(len(spends)), asker, budget=budget, concurrency=concurrency)
    asyncio.run(run(batch))
    answers = list(batch.answers())
    sent = [n for n, answer in enumerate(answers) if answer["status"] == "answered"]
    assert sum(spent[n] for n in sent) == budget.spent.tokens <= limit
    assert sent == list(range(len(sent)))  # it stops; it does not pick the cheap ones
    if len(sent) < len(spends):
        assert batch.stopped == OVER_BUDGET
        assert budget.spent.tokens + worst > limit or budget.spent.usd + worst / 100 > limit / 100
        assert {a["error"] for a in answers[len(sent) :]} == {"not sent: budget"}
    assert all(s["budget_tokens"] == worst for s in asker.settings)


async def test_what_was_in_flight_counts_as_spent_in_the_next_session(tmp_path):
    rows = questions(3)
    journal = open_journal(tmp_path / "j", 3, HEAD, resume=False)
    dying = Scripted({"Question 1?": Killed()}, worst=Amount(100, 0.5))
    with pytest.raises(BaseExceptionGroup):
        await run(batch_of(rows, dying, journal, budget=BatchBudget(1000), concurrency=1))
    journal.close()
    journal = open_journal(tmp_path / "j", 3, HEAD, resume=True)
    assert journal.charged.tokens == 40 + 100
    asker = Scripted(worst=Amount(100, 0.5))
    batch = batch_of(rows, asker, journal, budget=BatchBudget(230, spent=journal.charged))
    await run(batch)
    assert asker.asked == []
    assert str(batch.budget) == "90 of 230 tokens are left, the next row may take 100"


async def test_a_row_without_a_price_fails_where_dollars_are_limited():
    batch = batch_of(questions(1), Scripted(worst=Amount(100, None)), budget=BatchBudget(usd=1.0))
    await run(batch)
    (answer,) = batch.answers()
    assert "no known price" in answer["error"]


async def test_where_usage_is_unknown_the_worst_case_counts():
    unknown = {"usage": dict.fromkeys(("input_tokens", "output_tokens", "cost_usd"))}
    budget = BatchBudget(1000)
    asker = Scripted({"Question 0?": unknown})
    await run(batch_of(questions(2), asker, budget=budget, concurrency=1))
    assert budget.spent.tokens == 100 + 40
    assert Counter(asker.asked) == Counter(["Question 0?", "Question 1?"])


# -- the command


SIMULATED = {"model": "simulation:"}


def command(folder: Path, content: str | None, given: dict[str, Any], **more: Any) -> int:
    """What the command does with a file of this content, in this process."""
    path = folder / "q.jsonl"
    if content is not None:
        path.write_text(content)
    wanted = {"output": folder / "a.jsonl"} | more
    return batching.answer(batching.BatchRequest(path, settings=given, **wanted))


@pytest.mark.parametrize(
    ("content", "given", "more", "told"),
    [
        ("x\n", SIMULATED, {}, "No row can be asked: line 1: not JSON"),
        ("", SIMULATED, {}, "the file is empty"),
        (None, SIMULATED, {}, "cannot be read"),
        ('"a"', {"model": "nonsense"}, {}, "provider:model"),
        ('"a"', {"effort": "big"}, {}, "effort"),
        ('"a"', {"pause_before": ["memory"]}, {}, "pause_before"),
        ('"a"', SIMULATED, {"topology": "none"}, "none"),
        ('"a"', SIMULATED, {"output": batching.STREAM, "resume": True}, "--output"),
        ('"a"', {}, {"url": "http://h", "topology": "eight"}, "--topology"),
        ('"a"', {}, {"url": "http://h", "budget": (9, None)}, "--setting budget_tokens="),
        ('"a"', {}, {"url": "h"}, "not a server.s address"),
    ],
)
def test_wrong_usage_sends_nothing_and_leaves_nothing(tmp_path, content, given, more, told):
    with pytest.raises(ConfigError, match=told):
        command(tmp_path, content, given, **more)
    assert {path.name for path in tmp_path.iterdir()} <= {"q.jsonl"}


def test_a_folder_is_no_file_of_questions():
    done = CliRunner().invoke(app, ["batch", "/"])
    assert isinstance(done.exception, ConfigError)
    assert "not a file" in str(done.exception)


def test_the_simulations_answers_end_with_a_code_of_their_own(tmp_path):
    assert command(tmp_path, '"a"\n"b"\n', SIMULATED) == 3
    found = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [(row["line"], row["provenance"]) for row in found] == [
        (1, "simulated"),
        (2, "simulated"),
    ]
    with pytest.raises(ConfigError, match=r"exists\. Name another --output, or continue it"):
        command(tmp_path, None, SIMULATED)
    with pytest.raises(ConfigError, match=r"exists\. Name another --output, or delete it"):
        command(tmp_path, None, SIMULATED, resume=True)


def test_answers_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
    def torn(total: Any, answer: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("swarm_brain.batch.output.Total.add", torn)
    with pytest.raises(OSError, match="No space"):
        command(tmp_path, '"a"\n', SIMULATED)
    assert {path.name for path in tmp_path.iterdir()} == {"q.jsonl", "a.jsonl.journal"}
    monkeypatch.undo()
    assert command(tmp_path, None, SIMULATED, resume=True) == 3
    assert {path.name for path in tmp_path.iterdir()} == {"q.jsonl", "a.jsonl"}


def test_standard_output_has_each_answer_as_soon_as_all_before_it_are_there(capsysbinary):
    rows = questions(3)
    order = []

    async def late() -> None:
        journal = open_journal(None, 3, HEAD, resume=False)
        batch = batch_of(rows, Scripted(), journal)
        stream = Stream(batch, Total())
        for number in (1, 0, 2):
            answer = await ask(batch.backend, rows.at(number), {})
            await journal.add(number, answer, Amount())
            stream.flush()
            order.append(
                [json.loads(one)["line"] for one in capsysbinary.readouterr().out.splitlines()]
            )

    asyncio.run(late())
    assert order == [[], [1, 2], [3]]
