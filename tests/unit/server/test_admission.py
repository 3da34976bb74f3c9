"""Who may start a run: the daily quota, the rate, slots and their queue."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm_brain.config import VARIABLES
from swarm_brain.graph.errors import ModelError
from swarm_brain.server import admission
from swarm_brain.server.admission import MINUTE, RunSlots, admit, arrive, pause
from swarm_brain.server.api_keys import LOCAL, Owner, owners
from swarm_brain.server.problems import Problem
from swarm_brain.spending import quota
from swarm_brain.spending.ledger import Amount


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name in ("CONFIG", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(admission, "slots", RunSlots())


def keyed(limits: str = "", server: str = "") -> Owner:
    digest = hashlib.sha256(b"sb-a").hexdigest()
    Path("swarm-brain.toml").write_text(
        f'[keys.ada]\nsha256 = "{digest}"\n{limits}\n[server]\n{server}\n'
    )
    return owners()["ada"]


async def refused(owner: Owner, code: str) -> int:
    """The Retry-After, in seconds, of the refusal that this owner's next run meets."""
    with pytest.raises(Problem) as caught:
        async with admit(owner):
            pass
    assert (caught.value.status, caught.value.code) == (429, code)
    return int(caught.value.headers["Retry-After"])


# ---- the pace


def test_a_minute_has_so_many_requests_and_no_more():
    times = [0.0, 0.0, 10.0, 59.9, 60.1, 60.2, 69.0, 71.0]
    assert [arrive("ada", 3, 1000 + t) == 0 for t in times] == [
        True, True, True, False, True, True, False, True,
    ]  # fmt: skip
    assert arrive("ada", 3, 1071.0) == pytest.approx(49.1)
    assert arrive("bob", 3, 1071.0) == 0


@settings(deadline=None)
@given(st.lists(st.floats(0, 20), max_size=60), st.integers(1, 5))
def test_no_minute_ever_has_more_and_nobody_waits_without_need(gaps, per_minute):
    """By the pure decision alone, as `arrive` applies it to what is written down."""
    now, let_in = 1e6, []
    for gap in gaps:
        now += gap
        nth = let_in[-per_minute] if len(let_in) >= per_minute else None
        wait = pause(nth, now)
        recent = [at for at in let_in if at > now - MINUTE]
        assert (wait == 0) == (len(recent) < per_minute)
        assert 0 <= wait <= MINUTE
        if wait == 0:
            let_in.append(now)
        else:
            assert pause(nth, now + wait) == pytest.approx(0, abs=1e-6)


def test_a_clock_that_is_ahead_keeps_nobody_out_for_long():
    assert pause(1e9, 0.0) == MINUTE


async def test_too_many_in_a_minute_are_told_when_to_come_back():
    ada = keyed("requests_per_minute = 2")
    for _ in range(2):
        async with admit(ada):
            pass
    assert 55 <= await refused(ada, "rate_limit_exceeded") <= 60
    async with admit(LOCAL):
        pass


# ---- the day


async def test_a_day_that_is_spent_ends_at_midnight():
    ada = keyed("daily_tokens = 100")
    booking = quota.reserve("ada", Amount(100, None))
    wait = await refused(ada, "insufficient_quota")
    assert 0 < wait <= 24 * 3600
    quota.settle(booking, Amount(99, None))
    async with admit(ada):
        pass


def test_midnight_is_utc():
    assert quota.seconds_to_midnight(datetime(2026, 2, 28, 23, 59, 59, 1, UTC)) == 1
    assert quota.seconds_to_midnight(datetime(2026, 2, 28, 0, 0, 0, 0, UTC)) == 86_400


def test_each_payer_has_a_day_of_their_own_and_all_have_one_together(monkeypatch):
    ada = keyed("daily_usd = 1.0\ndaily_tokens = 1000")
    monkeypatch.setenv("SWARM_BRAIN_DAILY_USD", "1.5")
    quota.reserve(ada.name, Amount(10, 0.7))
    with pytest.raises(ModelError, match=r"keys\.ada: the 1 dollars"):
        quota.reserve(ada.name, Amount(10, 0.7))
    with pytest.raises(ModelError, match=r"keys\.ada: the 1000 tokens"):
        quota.reserve(ada.name, Amount(991, 0.1))
    quota.reserve(None, Amount(10**9, 0.7))
    with pytest.raises(ModelError, match="SWARM_BRAIN_DAILY_USD"):
        quota.reserve(ada.name, Amount(1, 0.2))
    # What one account refuses is booked on none.
    assert quota.used(None).usd == pytest.approx(1.4)
    assert (quota.used("ada").usd, quota.used("ada").tokens) == (pytest.approx(0.7), 10)
    assert quota.left("ada").usd == pytest.approx(0.1)


def test_a_reservation_is_settled_on_its_own_day(monkeypatch):
    keyed("daily_tokens = 100")
    monkeypatch.setattr(quota, "today", lambda: "2026-01-01")
    booking = quota.reserve("ada", Amount(100, 0.0))
    monkeypatch.setattr(quota, "today", lambda: "2026-01-02")
    quota.reserve("ada", Amount(90, 0.0))
    quota.settle(booking, Amount(5, 0.0))
    assert quota.used("ada").tokens == 90


def test_a_key_that_was_taken_away_pays_for_nothing():
    keyed("daily_tokens = 100")
    with pytest.raises(ModelError, match="the key bob no longer exists") as caught:
        quota.reserve("bob", Amount(1, 0.0))
    assert caught.value.kind == "budget"


def test_without_keys_a_user_of_another_sign_in_is_not_limited():
    assert quota.reserve("somebody", Amount(1, None)) is None


# ---- slots


async def test_an_owner_has_so_many_runs_at_once():
    ada = keyed("concurrency = 2")
    async with admit(ada), admit(ada):
        assert await refused(ada, "concurrency_limit_exceeded") >= 1
        async with admit(LOCAL):
            pass
    async with admit(ada):
        pass
    assert not admission.slots._by_owner


async def test_who_waits_counts_as_the_owners_too():
    ada = keyed("concurrency = 2", "concurrency = 1")
    async with admit(ada):
        waiting = asyncio.create_task(enter(ada))
        await settled()
        await refused(ada, "concurrency_limit_exceeded")
    await waiting


async def test_the_queue_is_first_come_first_served_and_has_an_end():
    ada = keyed(server="concurrency = 1\nqueue = 2")
    order: list[int] = []
    async with admit(ada):
        tasks = []
        for number in range(2):
            tasks.append(asyncio.create_task(enter(ada, order, number)))
            await settled()
        await refused(ada, "server_busy")
        assert (admission.slots.running, admission.slots.waiting) == (1, 2)
    await asyncio.gather(*tasks)
    assert order == [0, 1]
    assert (admission.slots.running, admission.slots.waiting) == (0, 0)
    assert not admission.slots._by_owner


async def enter(owner: Owner, order: list[int] | None = None, number: int = 0) -> None:
    async with admit(owner):
        if order is not None:
            order.append(number)


async def settled() -> None:
    """Until threads have answered and tasks have come as far as they can."""
    for _ in range(20):
        await asyncio.sleep(0.005)


async def test_who_gives_up_waiting_leaves_the_queue():
    slots = RunSlots()
    async with slots.one(1, 5):
        task = asyncio.create_task(stay(slots))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert not slots.waiting
    assert slots.running == 0


async def test_a_slot_given_to_one_who_gives_up_goes_to_the_next():
    slots = RunSlots()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(slots.one(1, 5))
        first, second = (asyncio.create_task(stay(slots)) for _ in range(2))
        await asyncio.sleep(0)
        await stack.aclose()  # the first of them is given the place here,
        first.cancel()  # and gives up before it has noticed
        await asyncio.gather(first, return_exceptions=True)
        await asyncio.wait_for(second, 1)
    assert slots.running == 0


async def stay(slots: RunSlots) -> None:
    async with slots.one(1, 5):
        await asyncio.sleep(0)


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 7)), max_size=40), st.integers(1, 3))
def test_there_are_never_more_runs_than_slots(moves, most):
    """Runs begin, end and are cancelled in any order; no slot is lost, none is given twice."""

    async def play() -> None:
        slots, inside, peak = RunSlots(), 0, 0
        tasks: list[tuple[asyncio.Task[None], asyncio.Event]] = []

        async def run(done: asyncio.Event) -> None:
            nonlocal inside, peak
            async with slots.one(most, 100):
                inside += 1
                peak = max(peak, inside)
                try:
                    await done.wait()
                finally:
                    inside -= 1

        for begins, which in moves:
            if begins or not tasks:
                done = asyncio.Event()
                tasks.append((asyncio.create_task(run(done)), done))
            elif which % 2:
                tasks[which % len(tasks)][0].cancel()
            else:
                tasks[which % len(tasks)][1].set()
            if which < 5:
                await asyncio.sleep(0)
        for _, done in tasks:
            done.set()
        ends = await asyncio.gather(*(task for task, _ in tasks), return_exceptions=True)
        assert all(end is None or isinstance(end, asyncio.CancelledError) for end in ends)
        assert peak <= most
        assert (slots.running, slots.waiting) == (0, 0)

    asyncio.run(play())
