"""Metrics for Prometheus, in the default registry, which the LangGraph server shows at /metrics.

No label has the name of an owner, for the LangGraph server shows them to everybody; and none takes
ever new values: of models, whose names are the users' to choose, so many are told apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest
from starlette.responses import Response

from swarm_brain import observers
from swarm_brain.observers import Answered, Finished
from swarm_brain.server import admission
from swarm_brain.server.api_keys import FORWARDED, identify_caller
from swarm_brain.validation import is_loopback

MOST_NAMES = 64  # experts, and models, that are told apart
LONGEST_NAME = 120  # characters
OTHER = "other"
SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60, 120, 300)
BY_CALL = ("expert", "model")


class Names:
    """The first names that come are kept, all later ones are `other`."""

    def __init__(self, most: int = MOST_NAMES) -> None:
        self._most = most
        self._known: set[str] = set()

    def of(self, name: str) -> str:
        """The name as a label."""
        if name not in self._known and len(self._known) < self._most:
            self._known.add(name)
        return name[:LONGEST_NAME] if name in self._known else OTHER


class Metrics:
    """The counters, and how they are fed. Once in a process: the registry takes a name once."""

    def __init__(self) -> None:
        self._experts, self._models = Names(), Names()
        self.calls = Counter("swarm_brain_calls", "Requests sent to models", BY_CALL)
        self.tokens = Counter("swarm_brain_tokens", "Tokens by kind", (*BY_CALL, "kind"))
        self.cost = Counter("swarm_brain_cost_usd", "Dollars that calls cost", BY_CALL)
        self.unpriced = Counter("swarm_brain_unpriced", "Replies of unknown cost", BY_CALL)
        self.latency = Histogram(
            "swarm_brain_latency_seconds", "An expert's time, retries included", BY_CALL,
            buckets=SECONDS,
        )  # fmt: skip
        self.failures = Counter("swarm_brain_failures", "Failed experts", ("expert", "kind"))
        self.runs = Counter("swarm_brain_runs", "Runs that ended", ("provenance", "stop_reason"))
        running = Gauge("swarm_brain_runs_in_flight", "Runs of the OpenAI routes and the page")
        running.set_function(lambda: admission.places.running)
        queued = Gauge("swarm_brain_runs_queued", "Runs of these that wait for a place")
        queued.set_function(lambda: len(admission.places.waiting))

    def observe(self, event: Answered | Finished) -> None:
        """Count what has happened."""
        if isinstance(event, Answered):
            self._answered(event)
        else:
            self.runs.labels(event.result["provenance"], event.result["stop_reason"]).inc()

    def _answered(self, event: Answered) -> None:
        signal = event.signal
        expert = self._experts.of(signal["source"])
        if signal["failure"] is not None:
            self.failures.labels(expert, signal["failure"]).inc()
        if not signal["attempts"]:
            return
        labels = (expert, self._models.of(signal["model"]))
        self.calls.labels(*labels).inc(signal["attempts"])
        self.latency.labels(*labels).observe(signal["latency_s"])
        for kind in ("input", "output", "cached"):
            self.tokens.labels(*labels, kind).inc(signal[f"{kind}_tokens"] or 0)
        if signal["cost_usd"] is not None:
            self.cost.labels(*labels).inc(signal["cost_usd"])
        elif signal["output_tokens"] is not None:
            self.unpriced.labels(*labels).inc()


@lru_cache(maxsize=1)
def _metrics() -> Metrics:
    return Metrics()


def start() -> None:
    """Count from now on. A server calls this when it starts; twice is once."""
    observers.observe(_metrics().observe)


def metrics_response(headers: Mapping[str, str], host: str | None) -> Response:
    """The answer to GET /metrics, with or without a key on this machine, with one elsewhere.

    Raises what `identify_caller` raises.
    """
    if not is_loopback(host) or any(name in headers for name in FORWARDED):
        identify_caller(headers, host)
    return Response(generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
