"""The chat model of `huggingface:`, over an engine that answers in batches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.chat_models import agenerate_from_stream
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import BaseModel, Field, PrivateAttr

from swarm_brain.calls.background_loop import wait_for
from swarm_brain.models.binding import Sampling
from swarm_brain.models.huggingface.batcher import Piece, Request
from swarm_brain.models.huggingface.engine import Engine


class _Arguments(BaseModel):
    """The supported call arguments, and their defaults."""

    max_tokens: int = 256
    temperature: float = 0.7
    top_p: float = 0.9
    seed: int | None = None
    schema_: dict[str, object] | None = Field(None, alias="schema")


class BatchChat(BaseChatModel):
    """A chat model over a batching engine: asynchronous and streaming."""

    model_id: str
    _engine: Engine = PrivateAttr()

    @classmethod
    def over(cls, engine: Engine) -> BatchChat:
        """Return the chat model of a loaded model."""
        chat = cls(model_id=engine.name)
        chat._engine = engine
        return chat

    @property
    def _llm_type(self) -> str:
        return "huggingface"

    def _request(
        self,
        messages: list[BaseMessage],
        stop: Sequence[str] | None,
        deliver: Callable[[Piece | Exception], None],
        arguments: Mapping[str, object],
    ) -> Request:
        """Return the request for the batcher. Tokenising may take milliseconds."""
        asked = _Arguments.model_validate(arguments)
        prompt = self._engine.prompt(messages)
        limit = self._engine.room(prompt, asked.max_tokens)
        sampling = Sampling(asked.temperature, asked.top_p, limit, asked.seed)
        return Request(prompt, sampling, deliver, stop or (), asked.schema_)

    def _chunk(self, request: Request, piece: Piece) -> ChatGenerationChunk:
        message = AIMessageChunk(content=piece.text)
        if piece.finish:
            tokens = len(request.prompt), piece.output_tokens
            message.usage_metadata = UsageMetadata(
                input_tokens=tokens[0], output_tokens=tokens[1], total_tokens=sum(tokens)
            )
            message.response_metadata = {
                "finish_reason": piece.finish,
                "model_name": self.model_id,
            }
            message.chunk_position = "last"
        return ChatGenerationChunk(message=message)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: object,
    ) -> AsyncIterator[ChatGenerationChunk]:
        loop, pieces = asyncio.get_running_loop(), asyncio.Queue[Piece | Exception]()

        def deliver(piece: Piece | Exception) -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(pieces.put_nowait, piece)

        request = await asyncio.to_thread(self._request, messages, stop, deliver, kwargs)
        self._engine.batcher.submit(request)
        try:
            finished = False
            while not finished:
                piece = await pieces.get()
                if isinstance(piece, Exception):
                    raise piece
                finished = piece.finish is not None
                chunk = self._chunk(request, piece)
                if run_manager:
                    await run_manager.on_llm_new_token(piece.text, chunk=chunk)
                yield chunk
        finally:
            request.cancelled = True

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
