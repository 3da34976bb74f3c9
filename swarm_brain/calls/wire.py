"""One request on the wire: send it, time it, read its errors and its usage."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import merge_configs

from swarm_brain.calls import error_map
from swarm_brain.calls.request import Call
from swarm_brain.graph.errors import ModelError, ModelUnavailable
from swarm_brain.models.binding import Binding, Sampling


async def send(
    binding: Binding,
    call: Call,
    sampling: Sampling,
    config: RunnableConfig,
    shown: Callable[[], None],
    arguments: dict[str, Any],
) -> AIMessage:
    """Send one request and return its message; call `shown` once words stream.

    Raises ModelError for anything the vendor raises.
    """
    try:
        async with asyncio.timeout(call.timeout) as deadline:
            watch = _Watch(shown, deadline, call.timeout)
            message: object = await binding.tuned(sampling).ainvoke(
                list(call.messages),
                merge_configs(config, {"callbacks": [watch]}),
                **binding.call_arguments(call.label, call.run),
                **arguments,
            )
            if not isinstance(message, AIMessage):  # a provider of another package
                what = type(message).__name__
                raise ModelError("no_reply", f"{binding.spec}: returned a {what}, not an AIMessage")
            return message
    except (ModelError, ModelUnavailable) as error:
        raise error_map.as_model_error(error) from None
    except TimeoutError:
        raise ModelError(
            "timeout", f"{binding.spec}: no answer within {call.timeout:g} s"
        ) from None
    except Exception as error:  # noqa: BLE001  any vendor's error is translated here
        raise error_map.translate(error, binding.origin) from None


class _Watch(AsyncCallbackHandler):
    """Extends the deadline with every streamed token."""

    def __init__(
        self, shown: Callable[[], None], deadline: asyncio.Timeout, timeout: float
    ) -> None:
        self._shown, self._deadline, self._timeout = shown, deadline, timeout

    async def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
        """Extend the deadline, because a continuing stream has not timed out."""
        if token:
            self._shown()
        if not self._deadline.expired():
            self._deadline.reschedule(asyncio.get_running_loop().time() + self._timeout)


def usage(message: AIMessage) -> tuple[int, int, int | None] | None:
    """Return input, output and cached tokens as reported; None if implausible."""
    reported: Any = message.usage_metadata
    if not reported:
        return None
    inputs, outputs = reported.get("input_tokens"), reported.get("output_tokens")
    if not _counts(inputs) or not _counts(outputs) or inputs == 0:
        return None
    details = reported.get("input_token_details")
    cached = details.get("cache_read") if isinstance(details, dict) else None
    return inputs, outputs, cached if _counts(cached) and cached <= inputs else None


def _counts(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
