"""A run's result as a chat completion: the answer, what it took, and how far to trust it. Pure."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from swarm_brain.graph.loading import load
from swarm_brain.runs.stream import Event
from swarm_brain.server.admission import day_spent
from swarm_brain.server.openai_schema import ChatRequest, question_of
from swarm_brain.server.problems import Problem

APART = ("final_output", "usage", "thread_id")  # of a result, what stands elsewhere in the reply


def completion(request: ChatRequest, topology: str, events: Sequence[Event]) -> dict[str, Any]:
    """The body of a chat completion. Raises Problem if no model gave an answer."""
    started, finished = events[0], events[-1]
    check(request, finished)
    text, why = ending(request, finished)
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if request.swarm and request.swarm.reasoning:
        message["reasoning_content"] = _thoughts(topology, events)
    choice = {"index": 0, "message": message, "finish_reason": why, "logprobs": None}
    return {
        **frame(request, started, "chat.completion"),
        "choices": [choice],
        "usage": usage(finished),
        "swarm": told(started, finished),
    }


def _thoughts(topology: str, events: Sequence[Event]) -> str:
    writer = next(answering(topology, e) for e in events if e["event"] == "begun")
    return "".join(progress(e, writer) for e in events if e["event"] in ("woken", "said"))


def answering(topology: str, begun: Event) -> str:
    """Who writes the answer: synthesis, or whoever runs alone."""
    lone = begun["max_steps"] == 1 and begun["woken"]
    return begun["woken"][0] if lone else load(topology).synthesis.name


def progress(event: Event, answering: str) -> str:
    """An expert's waking and words, as one reads them."""
    if event["event"] == "woken":
        by = ", ".join(f"{edge['from']} ({edge['activation']:.2f})" for edge in event["woken_by"])
        return f"[step {event['step']}] {event['expert']} is woken by {by}\n"
    if event["expert"] == answering or not event["content"].strip():
        return ""
    status = "" if event["status"] == "ok" else f" ({event['status']})"
    return f"\n[step {event['step']}] {event['expert']}{status}:\n{event['content'].strip()}\n\n"


def frame(request: ChatRequest, started: Event, kind: str) -> dict[str, Any]:
    """What a completion and each piece of it begin with."""
    return {
        "id": f"chatcmpl-{started['run']}",
        "object": kind,
        "created": int(time.time()),
        "model": request.model,
    }


def check(request: ChatRequest, finished: Event) -> None:
    """Raise Problem if there is no answer that a model wrote, or none in the form asked for.

    On the provider `simulation:` the labelled simulation is what was asked for.
    """
    result = finished["result"]
    error = result["error"] or "no model answered"
    if result["provenance"] == "simulated" and not finished["all_simulated"]:
        stop = result["stop_reason"]
        if stop == "budget" and not _budgeted(request):
            raise day_spent(f"No model answered: {error}.")
        status, code = {
            "deadline": (504, "deadline"),
            "budget": (429, "budget_exceeded"),
        }.get(stop, (502, "no_answer"))
        raise _paid_for(status, f"No model answered: {error}", code)
    if formed(request) and not finished["all_simulated"] and not _is_json(result["final_output"]):
        raise _paid_for(502, f"The answer has not the form asked for: {error}", "form")


def _paid_for(status: int, message: str, code: str) -> Problem:
    """What OpenAI's clients would ask again by themselves, and pay again."""
    again = {"x-should-retry": "false"}
    return Problem(status, message, type="server_error", code=code, headers=again)


def _budgeted(request: ChatRequest) -> bool:
    """Whether the request has a budget of its own; if not, only the day's can be used up."""
    context = question_of(request).context
    return context.budget_tokens is not None or context.budget_usd is not None


def formed(request: ChatRequest) -> bool:
    """Whether the answer is to be JSON."""
    return request.response_format is not None and request.response_format.type != "text"


def _is_json(text: str) -> bool:
    """Whether it is the JSON that synthesis wrote: it is kept only if it fits its schema."""
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def ending(request: ChatRequest, finished: Event) -> tuple[str, str]:
    """The answer up to a word that ends it, and why it ends: `stop` or `length`."""
    text: str = finished["result"]["final_output"]
    if (at := first_stop(text, request.stops)) is not None:
        return text[:at].rstrip(), "stop"
    most, tokens = request.answer_tokens, finished["answer_tokens"]
    return text, "length" if most and tokens and tokens >= most else "stop"


def first_stop(text: str, stops: Sequence[str]) -> int | None:
    """Where the first of these stands in the text, None if none does."""
    found = [at for stop in stops if (at := text.find(stop)) >= 0]
    return min(found, default=None)


def usage(finished: Event) -> dict[str, Any] | None:
    """All tokens of the run as OpenAI counts them; None if they are unknown.

    What the experts wrote on the way is what OpenAI calls reasoning.
    """
    took = finished["result"]["usage"]
    if took["input_tokens"] is None or took["output_tokens"] is None:
        return None
    answer = min(finished["answer_tokens"] or 0, took["output_tokens"])
    return {
        "prompt_tokens": took["input_tokens"],
        "completion_tokens": took["output_tokens"],
        "total_tokens": took["input_tokens"] + took["output_tokens"],
        "prompt_tokens_details": {"cached_tokens": took["cached_tokens"] or 0},
        "completion_tokens_details": {"reasoning_tokens": took["output_tokens"] - answer},
    }


def told(started: Event, finished: Event) -> dict[str, Any]:
    """The field `swarm`: who said what on the way, how the answer came about, what it cost."""
    result = finished["result"]
    return {
        "thread": started["thread"],
        "run": started["run"],
        **{key: value for key, value in result.items() if key not in APART},
        "defects": finished["defects"],
        "calls": result["usage"]["calls"],
        "cost_usd": result["usage"]["cost_usd"],
    }


def headers(started: Event, finished: Event | None = None) -> Mapping[str, str]:
    """What can be said in headers: of a stream only what is known when it begins."""
    known = {"x-request-id": started["run"], "x-swarm-run": started["run"]}
    if started["thread"] is not None:
        known["x-swarm-thread"] = started["thread"]
    if finished is not None:
        result = finished["result"]
        known["x-swarm-provenance"] = result["provenance"]
        cost = result["usage"]["cost_usd"]
        known["x-swarm-cost-usd"] = "unknown" if cost is None else f"{cost:.8f}"
    return known
