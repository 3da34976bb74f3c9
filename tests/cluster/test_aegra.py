"""Our langgraph.json on many machines: Aegra's workers over one PostgreSQL and one Redis."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from swarm_brain.graph.loading import load
from tests.cluster.aegra import Aegra, Worker
from tests.cluster.questions import CALLS, Asked, answered, ask, marker, questions, results
from tests.fakes import Endpoint, asker

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

FIFTY = 50
GAIN = 1.6  # of a second worker; 2 is what it can bring, less what the last round leaves idle
ANSWER = "The subject is what all of this says.\nVerdict: 42"
Call = tuple[str, str]  # a question's marker and the expert who asks


@pytest.fixture(scope="module")
def workers(aegra: Aegra) -> Iterator[list[Worker]]:
    with aegra.worker() as first, aegra.worker() as second:
        yield [first, second]


def asked_of(served: Endpoint) -> Counter[Call]:
    """How often the endpoint was asked for each call, whether or not it has replied."""
    prompts = [[message["content"] for message in body["messages"]] for body in served.bodies]
    return Counter((marker(user), asker(system)) for system, user in prompts)


def earlier(begun: Counter[Call]) -> set[Call]:
    """The calls of waves that a later wave of the same question had followed."""
    levels = load("eight").levels
    reached: dict[str, int] = {}
    for number, who in begun:
        reached[number] = max(reached.get(number, 0), levels[who])
    return {(number, who) for number, who in begun if levels[who] < reached[number]}


# ---- more workers


def seconds_for_fifty(workers: list[Worker]) -> float:
    """How long fifty questions take, once every worker has loaded what it needs."""
    results(workers[0], ask(workers, questions(2 * len(workers))), 60)
    found, took = results(workers[0], ask(workers, questions(FIFTY)), 120)
    assert [state["provenance"] for state in found.values()] == ["full"] * FIFTY
    return took


def test_a_second_worker_brings_what_it_can(aegra: Aegra):
    with aegra.worker(WORKER_QUEUE_KEY="throughput") as first:
        before = aegra.bytes_kept()
        alone = seconds_for_fifty([first])
        asked = FIFTY + 2
        print(
            f"\none worker: {first.processor_seconds() / asked:.2f} s of processor a question "
            f"(its start included), {first.most_memory() / 1e6:.0f} MB at most, "
            f"{(aegra.bytes_kept() - before) / asked / 1e3:.0f} kB a question in PostgreSQL"
        )
        with aegra.worker(WORKER_QUEUE_KEY="throughput") as second:
            together = seconds_for_fifty([first, second])
    print(f"{FIFTY} questions: one worker {alone:.1f} s, two {together:.1f} s")
    assert alone / together >= GAIN


# ---- a worker is killed


@dataclass
class Killed:
    """What was known when a worker was killed among fifty questions."""

    asked: Asked
    held: set[str]  # the questions whose runs it held
    begun: Counter[Call]  # all calls that the endpoint had been asked for
    kept: set[Call]  # calls of its runs whose replies were in the database


@pytest.fixture(scope="module")
def killed(aegra: Aegra, workers: list[Worker], served: Endpoint) -> Killed:
    """Fifty questions to two workers, of which one is killed in the middle."""
    survivor, victim = workers
    before = len(served.script.requests)
    asked = ask(workers, questions(FIFTY))
    while len(served.script.requests) < before + 60:  # of the 88 of the first sixteen questions
        time.sleep(0.02)
    victim.kill()
    begun = asked_of(served)
    threads = aegra.runs_of(victim)
    held = {text for text, thread in asked.threads.items() if thread in threads}
    kept = {
        (marker(text), expert)
        for text in held
        for expert in answered(survivor, asked.threads[text])
    }
    return Killed(asked, held, begun, kept)


def test_after_a_kill_every_question_ends_and_no_finished_call_is_repeated(
    killed: Killed, workers: list[Worker], served: Endpoint
):
    found, took = results(workers[0], killed.asked, 120)
    calls = asked_of(served)
    own = {marker(text) for text in killed.asked.threads}
    repeated = {call: count for call, count in calls.items() if call[0] in own and count > 1}
    print(f"\nkilled with {len(killed.held)} runs, {len(killed.kept)} of their calls finished; "
          f"{len(repeated)} not yet kept, asked again; all ended after {took:.1f} s")  # fmt: skip

    assert {state["final_output"] for state in found.values()} == {ANSWER}
    assert {state["provenance"] for state in found.values()} == {"full"}
    assert killed.held
    assert killed.kept, "no finished call was at stake"
    assert repeated, "no call was in flight"
    assert not killed.kept & set(repeated)
    assert not earlier(killed.begun) & set(repeated)
    lost = {marker(text) for text in killed.held}
    assert all(call[0] in lost and killed.begun[call] == 1 for call in repeated)
    assert set(repeated.values()) == {2}
    for text, state in found.items():
        told = {entry["name"]: entry for entry in state["experts"]}
        made = {who: count for (number, who), count in calls.items() if number == marker(text)}
        assert len(made) == CALLS[state["effort"]]
        # What a crash took is counted; a request may have died between its note and its sending.
        assert all(told[who]["attempts"] >= count for who, count in made.items())
        assert state["usage"]["calls"] >= sum(made.values())
        if text not in killed.held:
            assert state["usage"]["calls"] == sum(made.values()) == CALLS[state["effort"]]


def test_what_calls_had_reserved_is_cleared_when_all_has_ended(aegra: Aegra, killed: Killed):
    sql = "SELECT prefix FROM store WHERE prefix LIKE '%.calls.%'"
    assert aegra.postgres.execute(sql, aegra.database) == []
