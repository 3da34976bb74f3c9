"""Turn a run's result into a chat completion. Pure."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from swarm_brain.graph.events import Answered, Begun, Event, Finished, Started, Woken
from swarm_brain.graph.loading import load
from swarm_brain.server.admission import day_spent
from swarm_brain.server.openai_schema import ChatRequest
from swarm_brain.server.problems import Problem
from swarm_brain.server.question import Question

APART = ("final_output", "usage", "thread_id")  # stated in other parts of a reply


def completion(
    request: ChatRequest, question: Question, events: Sequence[Event], finished: Finished
) -> dict[str, Any]:
    """Return the body of a chat completion. Raises Problem without an answer."""
    started = started_of(events[0])
    check(request, question, finished)
    text, reason = ending(request, finished)
    message = {"role": "assistant", "content": text}
    if request.swarm and request.swarm.reasoning:
        message["reasoning_content"] = _reasoning(question.topology, events)
    choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": None}
    return {
        **frame(request, started, "chat.completion"),
        "choices": [choice],
        "usage": usage(finished),
        "swarm": swarm(started, finished),
    }


def started_of(event: Event) -> Started:
    """Return the `started` event of a run."""
    if event["event"] != "started":
        raise TypeError(f"a run begins with `started`, not with `{event['event']}`")
    return event


def _reasoning(topology: str, events: Sequence[Event]) -> str:
    author, text = "", ""
    for event in events:
        if event["event"] == "begun":
            author = answering(topology, event)
        elif event["event"] == "woken" or event["event"] == "answered":
            text += progress(event, author)
    return text


def answering(topology: str, begun: Begun) -> str:
    """Return the expert that writes the answer of a run."""
    return load(topology).answering(begun["max_steps"]).name


def progress(event: Woken | Answered, author: str) -> str:
    """Return an expert's start or text for readers; `author` writes the answer."""
    if event["event"] == "woken":
        edges = ", ".join(
            f"{edge['from']} ({edge['activation']:.2f})" for edge in event["woken_by"]
        )
        return f"[step {event['step']}] {event['expert']} is woken by {edges}\n"
    if event["expert"] == author or not event["content"].strip():
        return ""
    status = "" if event["status"] == "ok" else f" ({event['status']})"
    return f"\n[step {event['step']}] {event['expert']}{status}:\n{event['content'].strip()}\n\n"


def frame(request: ChatRequest, started: Started, kind: str) -> dict[str, Any]:
    """Return the fields that a completion and all its chunks share."""
    return {
        "id": f"chatcmpl-{started['run']}",
        "object": kind,
        "created": int(time.time()),
        "model": request.model,
    }


def check(request: ChatRequest, question: Question, finished: Finished) -> None:
    """Raise Problem if no model wrote the answer, or its form is wrong.

    On the provider `simulation:` the labelled simulation is the requested answer.
    """
    result = finished["result"]
    error = result["error"] or "no model answered"
    if result["provenance"] == "simulated" and not finished["all_simulated"]:
        reason = result["stop_reason"]
        if reason == "budget" and not _has_budget(question):
            raise day_spent(f"No model answered: {error}.")
        status, code = {
            "deadline": (504, "deadline"),
            "budget": (429, "budget_exceeded"),
        }.get(reason, (502, "no_answer"))
        raise _not_again(status, f"No model answered: {error}", code)
    if formed(request) and not finished["all_simulated"] and not _is_json(result["final_output"]):
        raise _not_again(502, f"The answer does not have the requested form: {error}", "form")


def _not_again(status: int, message: str, code: str) -> Problem:
    """Return a problem that tells OpenAI's clients not to retry, and pay, again."""
    headers = {"x-should-retry": "false"}
    return Problem(status, message, type="server_error", code=code, headers=headers)


def _has_budget(question: Question) -> bool:
    """Return whether the request has its own budget, apart from the day's."""
    context = question.context
    return context.budget_tokens is not None or context.budget_usd is not None


def formed(request: ChatRequest) -> bool:
    """Return whether the answer must be JSON."""
    return request.response_format is not None and request.response_format.type != "text"


def _is_json(text: str) -> bool:
    """Return whether the answer is synthesis's JSON, which then fits its schema."""
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def ending(request: ChatRequest, finished: Finished) -> tuple[str, str]:
    """Return the answer up to a stop sequence, and its finish reason."""
    text = finished["result"]["final_output"]
    if (at := first_stop(text, request.stops)) is not None:
        return text[:at].rstrip(), "stop"
    limit, tokens = request.answer_tokens, finished["answer_tokens"]
    return text, "length" if limit and tokens and tokens >= limit else "stop"


def first_stop(text: str, stops: Sequence[str]) -> int | None:
    """Return the position of the first stop sequence in the text, or None."""
    places = [at for stop in stops if (at := text.find(stop)) >= 0]
    return min(places, default=None)


def usage(finished: Finished) -> dict[str, Any] | None:
    """Return the run's tokens in OpenAI's form; None if unknown.

    The experts' words before the answer count as reasoning.
    """
    total = finished["result"]["usage"]
    inputs, outputs = total["input_tokens"], total["output_tokens"]
    if inputs is None or outputs is None:
        return None
    answer = min(finished["answer_tokens"] or 0, outputs)
    return {
        "prompt_tokens": inputs,
        "completion_tokens": outputs,
        "total_tokens": inputs + outputs,
        "prompt_tokens_details": {"cached_tokens": total["cached_tokens"] or 0},
        "completion_tokens_details": {"reasoning_tokens": outputs - answer},
    }


def swarm(started: Started, finished: Finished) -> dict[str, Any]:
    """Return the field `swarm`: experts, origin of the answer, costs."""
    result = finished["result"]
    return {
        "thread": started["thread"],
        "run": started["run"],
        **{key: value for key, value in result.items() if key not in APART},
        "defects": finished["defects"],
        "calls": result["usage"]["calls"],
        "cost_usd": result["usage"]["cost_usd"],
    }


def headers(started: Started, finished: Finished | None = None) -> Mapping[str, str]:
    """Return the headers of a completion; a stream has fewer."""
    known = {"x-request-id": started["run"], "x-swarm-run": started["run"]}
    if started["thread"] is not None:
        known["x-swarm-thread"] = started["thread"]
    if finished is not None:
        result = finished["result"]
        known["x-swarm-provenance"] = result["provenance"]
        cost = result["usage"]["cost_usd"]
        known["x-swarm-cost-usd"] = "unknown" if cost is None else f"{cost:.8f}"
    return known
