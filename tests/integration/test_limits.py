"""Rate, concurrency and Retry-After over real HTTP, at an endpoint that enforces its limits."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage, SystemMessage

from swarm_brain.calls.client import Call, Reply, ask
from swarm_brain.graph.brain import graph
from swarm_brain.models import choose
from swarm_brain.models.binding import Sampling
from tests import fakes
from tests.fakes import Endpoint, Script, endpoint

pytestmark = [pytest.mark.alone, pytest.mark.timeout(60)]

RPM = 1200
BURST = RPM / 4
GRAIN = 0.05  # seconds by which clocks of asker and endpoint may differ here
BUSY = (429, {"Retry-After": "1"}, '{"error": {"message": "slow down"}}')


class Handler(fakes._Handler):
    """An endpoint that notes when each request came and went, and may refuse it.

    `refuse(number)` tells whether the request with this number, from 0, is refused with BUSY;
    `seconds(number)` how long it takes.
    """

    lock = threading.Lock()
    came: list[float] = []  # noqa: RUF012  emptied for each test
    gone: dict[int, float] = {}  # noqa: RUF012
    refused: list[int] = []  # noqa: RUF012
    busy, most_busy = 0, 0
    refuse: Callable[[int], bool] = staticmethod(lambda number: False)
    seconds: Callable[[int], float] = staticmethod(lambda number: 0.0)

    def do_POST(self) -> None:
        kind = Handler
        with kind.lock:
            number = len(kind.came)
            kind.came.append(time.monotonic())
            kind.busy += 1
            kind.most_busy = max(kind.most_busy, kind.busy)
            self.refused_now = kind.refuse(number)
            if self.refused_now:
                kind.refused.append(number)
        time.sleep(kind.seconds(number))
        with kind.lock:
            kind.busy -= 1
            kind.gone[number] = time.monotonic()
        super().do_POST()

    def _send(self, status: int, headers: dict[str, str], text: str) -> None:
        super()._send(*(BUSY if self.refused_now else (status, headers, text)))


class Bucket:
    """The endpoint's own limit: RPM with a burst of a quarter of a minute."""

    def __init__(self) -> None:
        self.tokens, self.filled = BURST, time.monotonic()

    def left(self) -> float:
        now = time.monotonic()
        self.tokens = min(BURST, self.tokens + (now - self.filled) * RPM / 60)
        self.filled = now
        return self.tokens

    def refuse(self, number: int) -> bool:
        if self.left() < 1:
            return True
        self.tokens -= 1
        return False


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """Serve under the name `lab`, with the limits that are given."""

    @contextmanager
    def serve(**limits: Any) -> Iterator[Endpoint]:
        with endpoint(Script()) as running:
            settings = [f'base_url = "{running.url}"', *(f"{k} = {v}" for k, v in limits.items())]
            (tmp_path / "swarm-brain.toml").write_text("\n".join(["[providers.lab]", *settings]))
            yield running

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fakes, "_Handler", Handler)
    Handler.came, Handler.gone, Handler.refused = [], {}, []
    Handler.busy = Handler.most_busy = 0
    Handler.refuse = staticmethod(lambda number: False)
    Handler.seconds = staticmethod(lambda number: 0.0)
    return serve


fresh = itertools.count()


async def one(spec: str = "lab:m", **fields: Any) -> Reply:
    """One call past the graph."""
    messages = [SystemMessage("# Expert: caller (x)"), HumanMessage(f"Why {next(fresh)}?")]
    settings = {"timeout": 10.0, "max_attempts": 3, "label": "caller", **fields}
    return await ask(choose.bind(spec), Call(messages, Sampling(0.7, 0.9, 64), **settings))


async def many(count: int, **fields: Any) -> list[Reply]:
    return await asyncio.gather(*(one(**fields) for _ in range(count)))


async def few_at_a_time(count: int) -> None:
    """Six at once: three hundred at once would leave long after the gate has let them through."""
    for _ in range(count // 6):
        await many(6)


def questions(count: int, **context: Any) -> list[dict[str, Any]]:
    async def all_of_them() -> list[dict[str, Any]]:
        return await asyncio.gather(
            *(
                graph.ainvoke(
                    {"question": f"Why is number {n} what it is?"},
                    context={"model": "lab:m", "effort": "high", **context},
                )
                for n in range(count)
            )
        )

    return asyncio.run(all_of_them())


def test_forty_questions_at_the_allowed_rate_and_hardly_one_refused(lab):
    """The burst is used up first, unrefused; then the rate itself is measured."""
    with lab(rpm=RPM):
        asyncio.run(one())  # what a first call takes longer is no part of the rate
        bucket = Bucket()
        Handler.refuse = bucket.refuse
        asyncio.run(few_at_a_time(int(BURST)))
        assert Handler.refused == []
        left, before, started = bucket.left(), len(Handler.came), time.monotonic()
        results = questions(40)
        seconds = Handler.came[-1] - started
    assert {result["provenance"] for result in results} == {"full"}
    sent = len(Handler.came) - before
    assert sent - len(Handler.refused) == 320
    assert len(Handler.refused) < 0.01 * sent
    assert 320 / (left + seconds * RPM / 60) > 0.9


def test_without_pacing_the_same_endpoint_does_refuse(lab):
    """So the test above can fail."""
    bucket = Bucket()
    bucket.tokens = 1
    Handler.refuse = bucket.refuse
    with lab():
        replies = asyncio.run(many(60, max_attempts=1))
    assert len(Handler.refused) >= 5
    assert {reply.error.kind for reply in replies if reply.error} == {"rate_limit"}


@pytest.mark.parametrize("rpm", [60, 300])
def test_rate_of_hyperbolic_is_kept_after_its_burst(lab, monkeypatch, rpm):
    """A quarter of a minute's allowance at once, at least ten, then one by one."""
    burst, more = max(10, rpm // 4), 2 if rpm == 60 else 6
    with lab() as served:
        monkeypatch.setenv("HYPERBOLIC_API_URL", served.url)
        monkeypatch.setenv("HYPERBOLIC_API_KEY", "key")
        monkeypatch.setenv("HYPERBOLIC_RPM", str(rpm))
        started = time.monotonic()
        asyncio.run(many(burst + more, spec="hyperbolic:m"))
    came = sorted(Handler.came)
    assert len(came) == burst + more
    for number, moment in enumerate(came):  # from when they were asked: they may arrive late
        assert moment - started >= (number + 1 - burst) / (rpm / 60) - 0.5
    assert came[-1] - came[0] < (more + 1) / (rpm / 60) + 3


def test_small_allowance_has_a_burst_of_ten(lab):
    with lab(rpm=5):
        started = time.monotonic()
        replies = asyncio.run(many(10))
        assert time.monotonic() - started < 5
    assert all(reply.error is None for reply in replies)


@pytest.mark.parametrize("limit", [1, 3])
def test_concurrency_is_held_and_used(lab, limit):
    Handler.seconds = staticmethod(lambda number: 0.02)
    with lab(concurrency=limit):
        results = questions(3)
    assert {result["provenance"] for result in results} == {"full"}
    assert len(Handler.came) == 24
    assert Handler.most_busy == limit


def test_unlimited_endpoint_is_asked_as_fast_as_experts_come(lab):
    Handler.seconds = staticmethod(lambda number: 0.3)
    with lab():
        questions(4)
    assert Handler.most_busy >= 6


def test_limits_are_shared_by_threads_and_event_loops(lab):
    Handler.seconds = staticmethod(lambda number: 0.02)
    results: list[dict[str, Any]] = []
    with lab(concurrency=2, rpm=RPM):
        asyncio.run(many(int(BURST) - 10))
        Handler.most_busy = 0
        before, started = len(Handler.came), time.monotonic()

        def asks() -> None:
            results.extend(questions(1))

        def invokes() -> None:
            question = {"question": "Why is a thread what it is?"}
            results.append(graph.invoke(question, context={"model": "lab:m"}))

        threads = [threading.Thread(target=work) for work in [asks, asks, invokes, invokes]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        seconds = Handler.came[-1] - started
    assert [result["provenance"] for result in results] == ["full"] * 4
    assert len(Handler.came) - before == 32
    assert Handler.most_busy == 2
    whole = Handler.came[-1] - Handler.came[0]
    assert len(Handler.came) <= BURST + (whole + GRAIN) * RPM / 60
    assert seconds < 60


def test_two_names_of_one_endpoint_share_its_limits(lab, monkeypatch):
    """Limits are kept by endpoint, not by provider."""
    Handler.seconds = staticmethod(lambda number: 0.1)
    with lab(concurrency=1) as served:
        monkeypatch.setenv("OPENAI_COMPATIBLE_BASE_URL", served.url)

        async def both() -> None:
            specs = ["lab:m", "openai-compatible:m"] * 3
            await asyncio.gather(*(one(spec) for spec in specs))

        asyncio.run(both())
    assert Handler.most_busy == 1


# ---- 429 with Retry-After


def after_refusal(serve: Any, work: Callable[[], Any], scout: float = 0.3) -> tuple[float, int]:
    """The first request is refused for a second; then `work` asks. When, and the next request."""
    Handler.refuse = staticmethod(lambda number: number == 0)
    Handler.seconds = staticmethod(lambda number: scout if number == 1 else 0.0)
    with serve():
        first = threading.Thread(target=lambda: asyncio.run(one()))
        first.start()
        while 0 not in Handler.gone:
            time.sleep(0.005)
        time.sleep(0.1)
        work()
        first.join(20)
        assert not first.is_alive()
    return Handler.gone[0], len(Handler.came)


async def until(what: Callable[[], object]) -> None:
    while not what():
        await asyncio.sleep(0.005)


async def ended(number: int) -> None:
    """Wait until this request's reply was sent, and read."""
    await until(lambda: number in Handler.gone)
    await asyncio.sleep(0.1)


def calls(count: int) -> list[Reply]:
    replies = asyncio.run(many(count))
    assert all(reply.error is None for reply in replies)
    return replies


def experts() -> None:
    assert [result["provenance"] for result in questions(2)] == ["full", "full"]


def from_threads() -> None:
    threads = [threading.Thread(target=calls, args=(2,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


@pytest.mark.parametrize(
    ("work", "count"),
    [(lambda: calls(8), 10), (from_threads, 10), (experts, 18)],
    ids=["calls", "threads", "experts"],
)
def test_a_refusal_holds_everybody_and_then_one_goes_alone(lab, work, count):
    refused_at, sent = after_refusal(lab, work)
    assert sent == count
    assert Handler.came[1] >= refused_at + 1 - GRAIN  # nobody in the second it asked for
    assert Handler.came[2] >= Handler.gone[1]  # the scout was alone
    assert Handler.came[1] < refused_at + 5


def test_other_endpoints_are_not_held(lab):
    with endpoint(Script()) as other:

        def elsewhere() -> None:
            started = time.monotonic()
            spec, url = "openai-compatible:m", other.url
            binding = choose.bind(spec, url)
            messages = [SystemMessage("# Expert: caller (x)"), HumanMessage("Why?")]
            call = Call(messages, Sampling(0.7, 0.9, 64), timeout=5, max_attempts=1, label="x")
            assert asyncio.run(ask(binding, call)).error is None
            assert time.monotonic() - started < 0.7

        after_refusal(lab, elsewhere)


def test_a_refused_scout_holds_everybody_once_more_and_nobody_for_ever(lab):
    """The endpoint refuses twice in a row, while others wait behind the scout."""
    Handler.refuse = staticmethod(lambda number: number in (0, 1))
    Handler.seconds = staticmethod(lambda number: 0.2)
    with lab():

        async def all_of_them() -> list[Reply]:
            first = asyncio.create_task(one())
            await ended(0)
            async with asyncio.timeout(20):
                return [*await many(4), await first]

        replies = asyncio.run(all_of_them())
    assert all(reply.error is None for reply in replies)
    assert len(Handler.came) == 7
    assert Handler.came[2] >= Handler.gone[1] + 1 - GRAIN
    assert Handler.came[3] >= Handler.gone[2]


def test_always_refused_ends_for_all_callers(lab):
    Handler.refuse = staticmethod(lambda number: True)
    with lab():

        async def all_of_them() -> list[Reply]:
            async with asyncio.timeout(30):
                return await many(3, max_attempts=2)

        replies = asyncio.run(all_of_them())
    assert [reply.error.kind for reply in replies if reply.error] == ["rate_limit"] * 3
    assert len(Handler.came) == 6


def test_an_older_reply_does_not_lift_a_refusal(lab):
    """A request that was under way before the refusal ends well after it."""
    Handler.refuse = staticmethod(lambda number: number == 1)
    Handler.seconds = staticmethod(lambda number: {0: 0.8, 2: 0.3}.get(number, 0.0))
    with lab():

        async def all_of_them() -> None:
            older = asyncio.create_task(one())
            await until(lambda: Handler.came)
            refused = asyncio.create_task(one())
            await ended(1)
            await many(4)
            await asyncio.gather(older, refused)

        asyncio.run(all_of_them())
    assert Handler.gone[0] > Handler.gone[1]
    assert Handler.came[2] >= Handler.gone[1] + 1 - GRAIN
    assert Handler.came[3] >= Handler.gone[2]  # the scout was alone


def test_a_scout_that_is_given_up_leaves_the_way_to_the_next(lab):
    """Who waits may be cancelled, by Ctrl-C or a closed stream."""
    Handler.refuse = staticmethod(lambda number: number == 0)
    Handler.seconds = staticmethod(lambda number: 0.3)
    with lab():

        async def all_of_them() -> Reply:
            first = asyncio.create_task(one())
            await ended(0)
            waiting = asyncio.create_task(one())
            await asyncio.sleep(0.1)
            last = asyncio.create_task(one())
            await asyncio.sleep(0.8)  # one of the first two is the scout now
            first.cancel()
            waiting.cancel()
            async with asyncio.timeout(20):
                return await last

        assert asyncio.run(all_of_them()).error is None


@pytest.mark.parametrize("retry_after", ["soon", "nan", "-1", "Wed, 99 Nov 2025 07:28:00 GMT"])
def test_unreadable_retry_after_holds_nobody_for_long(lab, monkeypatch, retry_after):
    headers = {"Retry-After": retry_after}
    monkeypatch.setattr(f"{__name__}.BUSY", (429, headers, "{}"))
    Handler.refuse = staticmethod(lambda number: number == 0)
    with lab():
        started = time.monotonic()
        assert asyncio.run(one()).attempts == 2
        assert time.monotonic() - started < 5


def test_time_budget_ends_the_wait_that_an_endpoint_asks_for(lab, monkeypatch):
    """Retry-After may ask for a minute; budget_seconds is a hard limit."""
    monkeypatch.setattr(f"{__name__}.BUSY", (429, {"Retry-After": "8"}, "{}"))
    Handler.refuse = staticmethod(lambda number: True)
    with lab():
        started = time.monotonic()
        (result,) = questions(1, budget_seconds=2)
        assert time.monotonic() - started < 6
    assert (result["provenance"], result["stop_reason"]) == ("simulated", "deadline")
