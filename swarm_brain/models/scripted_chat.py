"""`scripted:FILE`: a model that replies from a file, for tests."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.chat_models import agenerate_from_stream
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import BaseModel

from swarm_brain.calls.background_loop import wait_for
from swarm_brain.graph.errors import ModelError
from swarm_brain.models.binding import Binding, estimate_tokens
from swarm_brain.models.script import STATUS, ScriptEntry, open_script

MAX_TOKENS = 2048
BYTES_PER_TOKEN = 4  # as in `estimate_tokens`


@dataclass(frozen=True)
class ScriptedReply:
    """A script's reply to one request, and the usage to report."""

    text: str
    input_tokens: int
    output_tokens: int
    finish_reason: str = "stop"
    delay: float = 0.0
    error: ModelError | None = None


class ScriptedChat(BaseChatModel):
    """A chat model that streams scripted replies; subclasses define `respond`."""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def respond(
        self, messages: Sequence[BaseMessage], arguments: Mapping[str, object]
    ) -> ScriptedReply:
        """Return the reply to a request with these call arguments. Raises ModelError."""
        raise NotImplementedError

    async def arespond(
        self, messages: Sequence[BaseMessage], arguments: Mapping[str, object]
    ) -> ScriptedReply:
        """Return what `respond` returns. Override it where `respond` blocks."""
        return self.respond(messages, arguments)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: object,
    ) -> AsyncIterator[ChatGenerationChunk]:
        reply = await self.arespond(messages, kwargs)
        await asyncio.sleep(reply.delay)
        if reply.error:
            raise reply.error
        for word in re.findall(r"\s*\S+|\s+", reply.text):
            chunk = ChatGenerationChunk(message=AIMessageChunk(content=word))
            if run_manager:
                await run_manager.on_llm_new_token(word, chunk=chunk)
            yield chunk
        yield ChatGenerationChunk(message=_end(reply))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: object,
    ) -> ChatResult:
        return await agenerate_from_stream(self._astream(messages, stop, run_manager, **kwargs))

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: object,
    ) -> ChatResult:
        return wait_for(self._agenerate(messages, stop, None, **kwargs))


def _end(reply: ScriptedReply) -> AIMessageChunk:
    """Return the last chunk of a stream: usage and finish reason."""
    total = reply.input_tokens + reply.output_tokens
    return AIMessageChunk(
        content="",
        usage_metadata=UsageMetadata(
            input_tokens=reply.input_tokens, output_tokens=reply.output_tokens, total_tokens=total
        ),
        response_metadata={"finish_reason": reply.finish_reason},
        chunk_position="last",
    )


class FileChat(ScriptedChat):
    """A chat model that replies from the script at `place`."""

    place: str

    def respond(
        self, messages: Sequence[BaseMessage], arguments: Mapping[str, object]
    ) -> ScriptedReply:
        """Return the reply of the first entry that fits, cut off at `max_tokens`."""
        asked, script = _Arguments.model_validate(arguments), open_script(self.place)
        prompt = "\n".join(message.text for message in messages)
        entry, use = script.take(asked.expert, prompt, asked.run)
        texts = entry.reply or ("",)
        text = texts[min(use, len(texts) - 1)]  # the last one of a list repeats
        counted = entry.output_tokens  # whoever states a count wants the whole reply
        cut = text if counted is not None else _first(text, asked.max_tokens)
        return ScriptedReply(
            cut,
            entry.input_tokens or sum(estimate_tokens(message.text) for message in messages),
            estimate_tokens(cut) if counted is None else counted,
            "stop" if cut == text else "length",
            entry.delay,
            _failure(script.name, entry),
        )


def _failure(name: str, entry: ScriptEntry) -> ModelError | None:
    if entry.error is None:
        return None
    return ModelError(
        entry.error,
        f"{name}: a scripted failure ({entry.error})",
        status=STATUS.get(entry.error),
        retry_after=entry.retry_after,
    )


class _Arguments(BaseModel):
    """The call arguments that this model reads; a JSON schema is not among them."""

    expert: str = ""
    run: str | None = None
    max_tokens: int = MAX_TOKENS


def _first(text: str, tokens: int) -> str:
    return text.encode()[: tokens * BYTES_PER_TOKEN].decode(errors="ignore")


def bind(place: str, base_url: str | None = None) -> Binding:
    """Bind `scripted:FILE`. Raises ModelUnavailable or ConfigError."""
    script, chat = open_script(place), FileChat(place=place)
    return Binding(
        spec=script.name,
        endpoint=f"{script.name}#{script.digest}",
        tuned=lambda sampling: chat.bind(max_tokens=sampling.max_tokens),
        max_tokens=MAX_TOKENS,
        count_tokens=estimate_tokens,
        schema_arguments=lambda name, schema: {"schema": schema},
        call_arguments=lambda label, run: {"expert": label, "run": run},
        price=lambda *_: 0.0,
        states_end=True,
    )
