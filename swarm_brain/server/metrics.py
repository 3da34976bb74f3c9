"""Metrics for Prometheus, in the default registry.

The LangGraph server shows /metrics to everyone, so no label names an owner. Label cardinality is
bounded: users choose model names, so only the first 64 get their own label.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest
from starlette.responses import Response

from swarm_brain import observers
from swarm_brain.observers import ExpertEnded, RunEnded
from swarm_brain.server import admission
from swarm_brain.server.api_keys import FORWARDED, identify_caller
from swarm_brain.validation import is_loopback

MAX_NAMES = 64  # for experts, and for models
MAX_NAME_LENGTH = 120
OTHER = "other"
LATENCY_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60, 120, 300)
CALL_LABELS = ("expert", "model")


class BoundedLabels:
    """Labels of their own for the first names; later ones share `other`."""

    def __init__(self, most: int = MAX_NAMES) -> None:
        self._most = most
        self._known: set[str] = set()

    def label(self, name: str) -> str:
        """Return the label value for a name."""
        if name not in self._known and len(self._known) < self._most:
            self._known.add(name)
        return name[:MAX_NAME_LENGTH] if name in self._known else OTHER


class Metrics:
    """The counters of this process. Create it once per registry."""

    def __init__(self) -> None:
        self._experts, self._models = BoundedLabels(), BoundedLabels()
        self.calls = Counter("swarm_brain_calls", "Requests sent to models", CALL_LABELS)
        self.tokens = Counter("swarm_brain_tokens", "Tokens by kind", (*CALL_LABELS, "kind"))
        self.cost = Counter("swarm_brain_cost_usd", "Dollars that calls cost", CALL_LABELS)
        self.unpriced = Counter("swarm_brain_unpriced", "Replies of unknown cost", CALL_LABELS)
        self.latency = Histogram(
            "swarm_brain_latency_seconds", "An expert's time, retries included", CALL_LABELS,
            buckets=LATENCY_BUCKETS,
        )  # fmt: skip
        self.failures = Counter("swarm_brain_failures", "Failed experts", ("expert", "kind"))
        self.runs = Counter("swarm_brain_runs", "Runs that ended", ("provenance", "stop_reason"))
        running = Gauge("swarm_brain_runs_in_flight", "Runs of the OpenAI routes and the page")
        running.set_function(lambda: admission.slots.running)
        queued = Gauge("swarm_brain_runs_queued", "Runs that wait for a slot")
        queued.set_function(lambda: admission.slots.waiting)

    def observe(self, event: ExpertEnded | RunEnded) -> None:
        """Count an event."""
        if isinstance(event, ExpertEnded):
            self._answered(event)
        else:
            self.runs.labels(event.result["provenance"], event.result["stop_reason"]).inc()

    def _answered(self, event: ExpertEnded) -> None:
        signal = event.signal
        expert = self._experts.label(signal["source"])
        if signal["failure"] is not None:
            self.failures.labels(expert, signal["failure"]).inc()
        if not signal["attempts"]:
            return
        labels = (expert, self._models.label(signal["model"]))
        self.calls.labels(*labels).inc(signal["attempts"])
        self.latency.labels(*labels).observe(signal["latency_s"])
        self.tokens.labels(*labels, "input").inc(signal["input_tokens"] or 0)
        self.tokens.labels(*labels, "output").inc(signal["output_tokens"] or 0)
        self.tokens.labels(*labels, "cached").inc(signal["cached_tokens"] or 0)
        if signal["cost_usd"] is not None:
            self.cost.labels(*labels).inc(signal["cost_usd"])
        elif signal["output_tokens"] is not None:
            self.unpriced.labels(*labels).inc()


@lru_cache(maxsize=1)
def _metrics() -> Metrics:
    return Metrics()


def start() -> None:
    """Start counting. Calling it again has no effect."""
    observers.observe(_metrics().observe)


def metrics_response(headers: Mapping[str, str], host: str | None) -> Response:
    """Return the response to GET /metrics. Only callers on this machine need no key.

    Raise what `identify_caller` raises.
    """
    if not is_loopback(host) or any(name in headers for name in FORWARDED):
        identify_caller(headers, host)
    return Response(generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
