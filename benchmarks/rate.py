"""Ask forty hard questions of an endpoint that allows sixty requests a minute."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from dataclasses import replace
from typing import Any

from swarm_brain.calls.rate_limit import Pace
from swarm_brain.graph.brain import graph
from swarm_brain.models import choose
from tests.fakes import Script, endpoint

RPM, QUESTIONS, CALLS = 60, 40, 8
BURST = max(10, RPM // 4)


class Meter:
    """A sliding minute that refuses requests beyond its allowance."""

    def __init__(self, rpm: int, burst: int) -> None:
        self.rate, self.burst = rpm / 60, burst
        self.level, self.filled = float(burst), time.monotonic()
        self.seen: deque[float] = deque()
        self.refused = 0
        self.lock = threading.Lock()

    def admit(self) -> bool:
        """Return whether one more request is within the allowance."""
        with self.lock:
            now = time.monotonic()
            self.level = min(self.burst, self.level + (now - self.filled) * self.rate)
            self.filled = now
            self.seen.append(now)
            if self.level < 1:
                self.refused += 1
                return False
            self.level -= 1
            return True


def metered(meter: Meter) -> Script:
    """Return a model with the usual replies, or a 429 beyond the allowance."""
    script = Script()

    def limited(says: Any) -> Any:
        return lambda _: says if meter.admit() else (429, {"Retry-After": "1"}, "{}")

    script.says = {name: limited(text) for name, text in script.says.items()}
    return script


def main() -> None:
    """Print the rate reached and the share of requests refused."""
    meter = Meter(RPM, BURST)
    bind = choose.bind
    choose.bind = lambda *args: replace(bind(*args), pace=Pace(rpm=RPM))
    try:
        with endpoint(metered(meter)) as served:
            started = time.monotonic()
            asyncio.run(ask_all(served.url))
            seconds = time.monotonic() - started
    finally:
        choose.bind = bind
    allowed = BURST + seconds * RPM / 60
    print(
        f"{len(meter.seen)} requests in {seconds:.0f} s: {len(meter.seen) / allowed:.1%} of the "
        f"allowed {RPM} a minute with a burst of {BURST} (target > 90 %), "
        f"{meter.refused / len(meter.seen):.2%} refused (target < 1 %)"
    )


async def ask_all(url: str) -> None:
    """Ask all questions at once."""
    context = {"model": "openai-compatible:paced", "base_url": url, "max_revisions": 0}
    await asyncio.gather(
        *(
            graph.ainvoke({"question": f"Why is number {n} what it is?"}, context=context)
            for n in range(QUESTIONS)
        )
    )
