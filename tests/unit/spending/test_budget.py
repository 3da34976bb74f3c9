"""Budgets: what the endpoint counts never passes them, and they buy as much as they can."""

from __future__ import annotations

import asyncio
import itertools
import random
import re
import threading
import time
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langgraph.checkpoint.memory import InMemorySaver

from swarm_brain.calls import retry
from swarm_brain.calls.client import Call, ask
from swarm_brain.graph.brain import compile_brain
from swarm_brain.graph.errors import BudgetTooSmall, ConfigError, ModelError
from swarm_brain.graph.loading import load
from swarm_brain.models import choose
from swarm_brain.models.binding import Binding, Sampling
from swarm_brain.models.endpoint import response_format
from swarm_brain.spending import ledger
from swarm_brain.spending.ledger import Amount, Budget, Ledger, close_ledger, open_ledger
from swarm_brain.spending.prompt_bound import prompt_bound
from tests.fakes import asker

HARD = "Why is the subject what it is?"
SIMPLE = "What does subject mean?"
TWENTY = (
    "Why does the old harbour bridge sway in strong winds although its steel deck was "
    "stiffened twice in past years?"
)
INPUT, OUTPUT = 3e-6, 15e-6  # dollars a token
BILLED = ("server", "timeout", "connection", "no_reply")
UNBILLED = ("auth", "not_found", "refused_request", "context_overflow", "rate_limit")
JSON_SAYS = {
    "attention": '{"creative": 0.9, "analytical": 0.9}',
    "meta_cognitive": '{"defects": [{"quote": "word", "problem": "vague"}]}',
}
fresh = itertools.count()


@dataclass
class Meter:
    """An endpoint that bills what it truly counted: `share` of the prompt's bound, and each word.

    `tokens` and `usd` are its bill, failed requests included where it bills them. `words` draws the
    length of a reply, never longer than asked for; `fails` the kind of a failure or None.
    """

    share: float = 1.0
    words: Any = lambda expert, most: most
    fails: Any = lambda expert: None
    says: Any = lambda expert: None
    before: Any = None
    reports: bool = True
    exaggerates: float = 1.0
    tokens: int = 0
    usd: float = 0.0
    sent: list[tuple[str, int]] = field(default_factory=list)
    priced: bool = True
    max_tokens: int = 2048

    def __post_init__(self) -> None:
        self.lock = threading.Lock()
        self.binding = Binding(
            spec="metered:model",
            endpoint=f"http://metered{next(fresh)}",
            tuned=lambda sampling: SimpleNamespace(
                ainvoke=lambda messages, config=None, **_: self.reply(messages, sampling)
            ),
            max_tokens=self.max_tokens,
            schema_arguments=response_format,
            price=lambda i, _, o: i * INPUT + o * OUTPUT if self.priced else None,
        )

    @property
    def askers(self) -> list[str]:
        return [expert for expert, _ in self.sent]

    def bill(self, prompt: int, reply: int) -> None:
        with self.lock:
            self.tokens += prompt + reply
            self.usd += prompt * INPUT + reply * OUTPUT

    async def reply(self, messages: Any, sampling: Sampling) -> AIMessage:
        texts = [message.text for message in messages]
        expert = asker(texts[0])
        self.sent.append((expert, sampling.max_tokens))
        if self.before is not None:
            await self.before(expert)
        else:
            await asyncio.sleep(0)  # siblings overlap
        bound = sum(-(-len(t.encode()) // 2) if t.isascii() else len(t.encode()) for t in texts)
        prompt = int(min(prompt_bound(self.binding, texts), bound + 32) * self.share)
        kind = self.fails(expert)
        if kind is not None:
            if kind in BILLED:
                self.bill(prompt, sampling.max_tokens)
            raise ModelError(kind, f"{kind} of {expert}")
        text = self.says(expert)
        count = self.words(expert, sampling.max_tokens) if text is None else len(text.split())
        text = " ".join(["word"] * count) if text is None else text
        self.bill(prompt, count)
        usage: Any = None
        if self.reports:
            said = int(prompt * self.exaggerates)
            usage = {"input_tokens": said, "output_tokens": count, "total_tokens": said + count}
        return AIMessage(text, usage_metadata=usage, response_metadata={"finish_reason": "stop"})


@pytest.fixture(autouse=True, scope="module")
def _patched():
    """Every model is the meter in use, no retry is waited for, no daily limit is set."""
    patch = pytest.MonkeyPatch()
    patch.setattr(choose, "bind", lambda spec, base_url=None: IN_USE[0].binding)
    patch.setattr(retry, "pause", lambda attempts, retry_after: 0)
    patch.delenv("SWARM_BRAIN_DAILY_USD", raising=False)
    yield
    patch.undo()


IN_USE: list[Meter] = []


@pytest.fixture(scope="module")
def brains(tmp_path_factory) -> dict[str, Any]:
    """The shipped eight; with a ninth, gated; and twenty-four experts in five waves."""
    folder = tmp_path_factory.mktemp("topologies")

    def expert(kind: str, source: str, **fields: Any) -> dict[str, Any]:
        return {"kind": kind, "woken_by": [{"from": source, "effort": "high"}], **fields}

    ninth = {"ninth": expert("proposer", "attention", gated=True, hears=["memory"])}
    more = {f"proposer{n}": expert("proposer", "attention", gated=n % 2 == 0) for n in range(11)}
    more |= {f"intake{n}": expert("intake", "begin") for n in range(3)}
    more |= {f"critic{n}": expert("critic", "synthesis") for n in range(2)}
    found = {"eight": compile_brain()}
    for name, experts in {"nine": ninth, "many": more}.items():
        for own in experts:
            (folder / f"{own}.md").write_text(f"# Expert: {own} (does its part)\n\nDo it well.")
        path = folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump({"extends": "eight", "experts": experts}))
        topology = load(path)
        assert len(topology.experts) == {"nine": 9, "many": 24}[name]
        found[name] = compile_brain(topology)
    return found


def run(brain: Any, meter: Meter, question: str = HARD, **context: Any) -> dict[str, Any]:
    IN_USE[:] = [meter]
    return brain.invoke({"question": question}, context={"model": "metered:model", **context})


def holds(meter: Meter, budget_tokens: int | None, budget_usd: float | None) -> None:
    assert budget_tokens is None or meter.tokens <= budget_tokens
    assert budget_usd is None or meter.usd <= budget_usd * (1 + 1e-9)
    assert all(most >= 64 for _, most in meter.sent)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    name=st.sampled_from(["eight", "nine", "many"]),
    tokens=st.one_of(st.none(), st.integers(1, 4_000), st.integers(2_000, 120_000)),
    usd=st.one_of(st.none(), st.floats(1e-4, 0.5)),
    share=st.floats(0.1, 1.0),
    longest=st.floats(0.0, 1.0),
    failing=st.floats(0.0, 0.6),
    kinds=st.lists(st.sampled_from(BILLED + UNBILLED), min_size=1, unique=True),
    attempts=st.integers(1, 3),
    question=st.sampled_from([HARD, SIMPLE, TWENTY, HARD * 40, "Warum ist 日本 so schön? <&>"]),
    seed=st.integers(0, 2**16),
)
@example("eight", 1_500, None, 1.0, 1.0, 0.0, ["server"], 3, TWENTY, 1)
@example("eight", 9_000, None, 1.0, 1.0, 0.8, ["server"], 3, HARD, 3)
@example("eight", 6_000, None, 1.0, 1.0, 0.9, ["no_reply"], 3, HARD, 4)
@example("many", None, 0.08, 1.0, 1.0, 0.7, ["server", "timeout"], 3, HARD, 5)
@example("many", 20_000, None, 1.0, 1.0, 1.0, ["server"], 3, HARD, 6)
@example("many", 40_000, 0.1, 1.0, 1.0, 0.3, list(BILLED), 3, HARD, 2)
def test_spend_never_passes_the_budget_by_a_token(
    brains, name, tokens, usd, share, longest, failing, kinds, attempts, question, seed
):
    dice = random.Random(seed)

    def words(expert: str, most: int) -> int:
        return dice.randint(0, int(most * longest))

    def fails(expert: str) -> str | None:
        return dice.choice(kinds) if dice.random() < failing else None

    def says(expert: str) -> str | None:
        return JSON_SAYS.get(expert)

    meter, before = Meter(share, words, fails, says), set(ledger._ledgers)
    limits = {"budget_tokens": tokens, "budget_usd": usd}
    try:
        result = run(brains[name], meter, question, max_attempts=attempts, **limits)
    except BudgetTooSmall:
        assert meter.sent == []
        return
    holds(meter, tokens, usd)
    assert result["usage"]["calls"] == len(meter.sent) > 0
    assert result["final_output"].strip()
    assert set(ledger._ledgers) == before
    if result["stop_reason"] == "budget":
        assert result["provenance"] in ("degraded", "simulated")
    if result["provenance"] == "simulated":
        assert result["final_output"].startswith("[simulated]")


@pytest.mark.parametrize("budget", [Budget(tokens=3_000), Budget(usd=0.02)], ids=["tokens", "usd"])
def test_spend_is_bounded_where_the_endpoint_reports_no_usage(budget):
    """The true count is at most the bound, but nobody tells us what it is."""
    meter, account = Meter(reports=False, words=lambda expert, most: 10), Ledger(budget)
    replies = [direct(meter, account, text="8391 2043 " * 40, most=64) for _ in range(30)]
    assert replies[0].error is None
    assert replies[0].estimated
    assert account.spent.tokens >= meter.tokens
    assert replies[-1].error.kind == "budget"
    holds(meter, budget.tokens, budget.usd)


@pytest.mark.parametrize("usage", [(-500, 5), (5, -500)])
def test_negative_usage_gives_no_credit(usage):
    meter = Meter()
    account = Ledger(Budget(tokens=5_000))

    async def lying(messages: Any, sampling: Sampling) -> AIMessage:
        used = {"input_tokens": usage[0], "output_tokens": usage[1], "total_tokens": sum(usage)}
        return AIMessage("So.", usage_metadata=used, response_metadata={"finish_reason": "stop"})

    meter.reply = lying  # type: ignore[method-assign]
    direct(meter, account)
    assert account.spent.tokens >= 0


# ---- What a small budget buys


@pytest.mark.parametrize("effort", ["low", "high", "auto"])
@pytest.mark.parametrize("share", [0.3, 1.0])
def test_fifteen_hundred_tokens_suffice_for_twenty_words(brains, effort, share):
    assert len(TWENTY.split()) == 20
    meter = Meter(share)
    result = run(brains["eight"], meter, TWENTY, budget_tokens=1_500, effort=effort)
    assert meter.tokens <= 1_500
    assert set(result["final_output"].split()) == {"word"}  # the model's own
    assert (result["provenance"], result["stop_reason"]) == ("degraded", "budget")


def named_minimum(error: BudgetTooSmall) -> str:
    found = re.search(r"one call needs ([\d.e+-]+?)\.?(?: |$)", str(error))
    assert found, str(error)
    return found[1]


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    question=st.text(
        st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=90
    ).filter(str.strip),
    kind=st.sampled_from(["budget_tokens", "budget_usd"]),
    effort=st.sampled_from(["low", "high"]),
    name=st.sampled_from(["eight", "many"]),
)
@example('<question from="x">' * 20, "budget_tokens", "low", "eight")
@example(TWENTY, "budget_usd", "high", "eight")
def test_too_small_a_budget_calls_nobody_and_the_minimum_it_names_suffices(
    brains, question, kind, effort, name
):
    meter = Meter()
    little = 50 if kind == "budget_tokens" else 1e-6
    with pytest.raises(BudgetTooSmall, match=kind) as refused:
        run(brains[name], meter, question, effort=effort, **{kind: little})
    assert meter.sent == []
    minimum = named_minimum(refused.value)
    least = int(minimum) if kind == "budget_tokens" else float(minimum)
    result = run(brains[name], meter, question, effort=effort, **{kind: least})
    assert meter.askers == ["reasoning"]
    assert set(result["final_output"].split()) == {"word"}
    assert (result["provenance"], result["stop_reason"]) == ("degraded", "budget")
    holds(meter, *((least, None) if kind == "budget_tokens" else (None, least)))


def test_one_token_less_than_the_minimum_is_refused(brains):
    meter = Meter()
    with pytest.raises(BudgetTooSmall) as refused:
        run(brains["eight"], meter, budget_tokens=50)
    least = int(named_minimum(refused.value))
    with pytest.raises(BudgetTooSmall, match=f"is {least - 1}, one call needs {least}"):
        run(brains["eight"], meter, budget_tokens=least - 1)
    assert meter.sent == []


def test_ever_larger_budgets_buy_ever_more_until_nothing_is_cut(brains):
    calls, longest = [], []
    for budget in (1_500, 3_000, 6_000, 12_000, 400_000):
        meter = Meter(words=lambda expert, most: 20, says=lambda e: JSON_SAYS.get(e))
        result = run(brains["eight"], meter, budget_tokens=budget, max_revisions=0)
        calls.append(len(meter.sent))
        longest.append(max(most for _, most in meter.sent))
        whole = len(meter.sent) == 8
        assert result["provenance"] == ("full" if whole else "degraded")
        assert result["stop_reason"] == ("complete" if whole else "budget")
    assert calls == sorted(calls)
    assert (calls[-1], longest[-1]) == (8, 2048)
    assert 1 <= calls[0] < 8
    assert 64 <= longest[0] < 2048


def test_a_reply_that_uses_up_a_lowered_limit_is_a_cut(brains):
    """All eight are asked, but in fewer words than each would have had."""
    meter = Meter(says=lambda expert: JSON_SAYS.get(expert))
    result = run(brains["eight"], meter, budget_tokens=30_000, max_revisions=0)
    assert len(meter.sent) == 8
    assert max(most for _, most in meter.sent) < 2048
    assert (result["provenance"], result["stop_reason"]) == ("degraded", "budget")
    holds(meter, 30_000, None)


def test_budget_in_dollars_of_an_unknown_price_is_refused_before_any_call(brains):
    meter = Meter(priced=False)
    with pytest.raises(ConfigError, match=r"budget_usd: the price of metered:model is unknown"):
        run(brains["eight"], meter, budget_usd=100)
    assert meter.sent == []
    assert run(brains["eight"], meter, budget_tokens=400_000)["usage"]["cost_usd"] is None


def test_an_endpoint_that_reports_more_than_the_bound_stops_the_run_and_is_named(brains):
    meter = Meter(exaggerates=30.0)
    result = run(brains["eight"], meter, SIMPLE, budget_tokens=20_000)
    assert meter.askers == ["perception"]
    assert f"{meter.binding.endpoint} reported" in result["error"]
    assert "no further calls" in result["error"]
    assert (result["provenance"], result["stop_reason"]) == ("simulated", "budget")


def test_later_bounds_are_corrected_by_what_the_endpoint_reported(brains):
    meter = Meter(exaggerates=3.0, words=lambda expert, most: 20)
    first = run(brains["eight"], meter, SIMPLE, budget_tokens=20_000)
    assert first["stop_reason"] in ("budget", "complete")
    before = len(meter.sent)
    second = run(brains["eight"], meter, SIMPLE, budget_tokens=20_000)
    assert len(meter.sent) - before == 3
    assert second["provenance"] == "full"
    assert second["usage"]["input_tokens"] + second["usage"]["output_tokens"] <= 20_000


# ---- The ledger


def direct(meter: Meter, account: Ledger, *, text: str = "Why?", most: int = 400, **fields: Any):
    return asyncio.run(_direct(meter, account, text, most, **fields))


async def _direct(meter: Meter, account: Ledger, text: str, most: int, **fields: Any):
    messages = [SystemMessage("# Expert: x (y)"), HumanMessage(text)]
    defaults = {"timeout": 5.0, "max_attempts": 1, "label": "x", "ledger": account}
    return await ask(meter.binding, Call(messages, Sampling(0.7, 0.9, most), **defaults | fields))


@pytest.mark.parametrize("threads", [False, True])
def test_parallel_calls_cannot_reserve_the_same_balance(threads):
    meter, account = Meter(), Ledger(Budget(tokens=1_000))
    replies: list[Any] = []

    async def eight() -> None:
        replies.extend(await asyncio.gather(*(_direct(meter, account, "Why?", 400)
                                              for _ in range(2 if threads else 8))))  # fmt: skip

    workers = [threading.Thread(target=lambda: asyncio.run(eight())) for _ in range(4)]
    for worker in workers if threads else workers[:1]:
        worker.start()
    for worker in workers if threads else workers[:1]:
        worker.join()
    well = [reply for reply in replies if reply.error is None]
    assert len(replies) == 8
    assert len(well) == len(meter.sent) >= 2
    assert {reply.error.kind for reply in replies if reply.error} == {"budget"}
    assert {reply.attempts for reply in replies if reply.error} == {0}
    assert meter.tokens == account.spent.tokens <= 1_000
    assert account.reserved.tokens == 0
    assert account.reserved.usd == pytest.approx(0, abs=1e-12)


def test_reservations_from_many_threads_add_up():
    account, together = Ledger(Budget(tokens=1_000, usd=1.0)), threading.Barrier(16)
    got: list[int] = []
    kinds: set[str] = set()

    def reserve() -> None:
        together.wait()
        for _ in range(20):
            try:
                account.reserve(Amount(7, 0.001), answering=False)
                got.append(1)
            except ModelError as error:
                kinds.add(error.kind)

    workers = [threading.Thread(target=reserve) for _ in range(16)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(got) == 1_000 // 7
    assert kinds == {"budget"}
    assert account.reserved.tokens == 994


def test_no_reply_is_asked_for_in_fewer_than_sixty_four_tokens():
    texts = ["# Expert: x (y)", "Why?"]
    bound = prompt_bound(Meter().binding, texts)
    for left, asked in [(63, []), (64, [64]), (65, [65]), (500, [400])]:
        meter = Meter()
        reply = direct(meter, Ledger(Budget(tokens=bound + left)))
        assert [most for _, most in meter.sent] == asked
        assert (reply.error is None) == bool(asked)


def test_what_the_answer_needs_is_out_of_others_reach():
    meter, account = Meter(), Ledger(Budget(tokens=600), answer=Amount(550, 0.0))
    assert direct(meter, account).error.kind == "budget"
    assert meter.sent == []
    reply = direct(meter, account, answering=True)
    assert reply.error is None
    assert 64 <= meter.sent[0][1] <= 600


def test_the_answer_is_written_though_drafts_take_all_they_can(brains):
    """Every draft fails after it was billed in full; synthesis still has its share."""
    meter = Meter(fails=lambda expert: None if expert == "synthesis" else "no_reply")
    result = run(brains["eight"], meter, budget_tokens=8_000, effort="low", max_steps=2)
    assert meter.askers[-1] == "synthesis"
    assert set(result["final_output"].split()) == {"word"}
    assert result["provenance"] == "degraded"
    holds(meter, 8_000, None)


@pytest.mark.parametrize("kind", BILLED + UNBILLED)
def test_failures_are_charged_if_somebody_may_have_billed_them(kind):
    meter, account = Meter(fails=lambda expert: kind), Ledger(Budget(tokens=5_000))
    reply = direct(meter, account)
    assert account.spent.tokens == meter.tokens == reply.charged.tokens
    assert (meter.tokens > 0) == (kind in BILLED)
    assert account.reserved.tokens == 0


def test_cancelled_call_is_charged_and_leaves_no_reservation():
    begun = threading.Event()

    async def hang(expert: str) -> None:
        begun.set()
        await asyncio.sleep(30)

    meter, account = Meter(before=hang), Ledger(Budget(tokens=5_000))

    async def cancelled() -> None:
        task = asyncio.create_task(_direct(meter, account, "Why?", 400))
        assert await asyncio.to_thread(begun.wait, 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    deadline = time.monotonic() + 5
    while account.reserved.tokens and time.monotonic() < deadline:
        time.sleep(0.01)
    assert account.reserved.tokens == 0
    assert account.spent.tokens >= 400


def test_reopened_ledger_starts_from_what_was_charged():
    budget = Budget(tokens=1_000)
    opened = open_ledger("run", budget, Amount(), Amount(100))
    opened.spent += Amount(300)
    assert open_ledger("run", budget, Amount(), Amount(100)) is opened
    close_ledger("run")
    again = open_ledger("run", budget, Amount(900), Amount())
    try:
        assert again.affordable_tokens(answering=True) == 100
        with pytest.raises(ModelError, match="up to 101 needed, 100 left"):
            again.reserve(Amount(101), answering=True)
    finally:
        close_ledger("run")


@pytest.mark.parametrize("restarted", [False, True])
def test_resumed_run_goes_on_from_its_signals_charges(brains, restarted):
    """Also in a process that has never heard of the run, and failures were charged too."""
    seen: dict[str, int] = {}

    async def look(expert: str) -> None:
        seen[expert] = next(iter(ledger._ledgers.values())).spent.tokens

    def fails(expert: str) -> str | None:
        return "no_reply" if expert == "creative" else None

    meter = Meter(0.5, words=lambda expert, most: most // 2, fails=fails, before=look)
    IN_USE[:] = [meter]
    ledger._ledgers.clear()
    brain = compile_brain(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "t"}}
    context = {"model": "metered:model", "budget_tokens": 30_000, "max_attempts": 1}
    brain.invoke({"question": HARD}, config, context=context, interrupt_before=["synthesis"])
    signals = brain.get_state(config).values["signals"]
    charged = sum(signal["charged_tokens"] for signal in signals)
    assert len(meter.sent) == 6
    assert charged >= meter.tokens > 2_000
    if restarted:
        ledger._ledgers.clear()
    result = brain.invoke(None, config, context=context)
    assert seen["synthesis"] == charged
    assert meter.tokens <= 30_000
    assert len(meter.sent) == result["usage"]["calls"] == 8
    assert ledger._ledgers == {}


# ---- Time


def sleeper(*slow: str, seconds: float = 30.0) -> Any:
    async def before(expert: str) -> None:
        await asyncio.sleep(seconds if expert in slow else 0)

    return before


def test_time_used_up_gives_the_best_answer_so_far(brains):
    meter = Meter(before=sleeper("synthesis"), words=lambda expert, most: 20)
    started = time.monotonic()
    result = run(brains["eight"], meter, SIMPLE, budget_seconds=1.0)
    assert time.monotonic() - started < 3
    assert set(result["final_output"].split()) == {"word"}
    assert (result["provenance"], result["stop_reason"]) == ("degraded", "deadline")
    assert "budget_seconds" in result["error"]


def test_time_is_kept_for_the_answer(brains):
    meter = Meter(before=sleeper("reasoning"), words=lambda expert, most: 20)
    result = run(brains["eight"], meter, SIMPLE, budget_seconds=1.0)
    assert meter.askers[-1] == "synthesis"
    assert set(result["final_output"].split()) == {"word"}
    assert (result["provenance"], result["stop_reason"]) == ("degraded", "deadline")


def test_no_time_for_anybody_is_said(brains):
    everybody = ("perception", "attention", "memory", "reasoning", "creative", "analytical",
                 "synthesis")  # fmt: skip
    started = time.monotonic()
    result = run(brains["eight"], Meter(before=sleeper(*everybody)), budget_seconds=0.8)
    assert time.monotonic() - started < 3
    assert (result["provenance"], result["stop_reason"]) == ("simulated", "deadline")
    assert result["final_output"].startswith("[simulated]")


def test_pauses_between_retries_are_within_the_time(brains, monkeypatch):
    monkeypatch.setattr(retry, "pause", lambda attempts, retry_after: 8.0)
    started = time.monotonic()
    result = run(brains["eight"], Meter(fails=lambda expert: "server"), SIMPLE, budget_seconds=1.0)
    assert time.monotonic() - started < 4
    assert result["stop_reason"] == "deadline"
