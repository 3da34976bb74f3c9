"""The chat model for OpenAI-compatible endpoints."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_openai.chat_models.base import BaseChatOpenAI
from pydantic import PrivateAttr

from swarm_brain.calls.error_map import Origin, translate


class EndpointChat(BaseChatOpenAI):
    """LangChain's model, with errors translated before a tracer sees them.

    Some endpoints echo the key in their errors. The base class is `BaseChatOpenAI`, because
    `ChatOpenAI` renames `max_tokens`.
    """

    _origin: Origin = PrivateAttr()

    def __init__(self, origin: Origin, **settings: Any) -> None:
        super().__init__(**settings)
        self._origin = origin

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: object,
    ) -> ChatResult:
        try:
            return await super()._agenerate(messages, stop, run_manager, **kwargs)
        except Exception as error:  # noqa: BLE001  translated, not swallowed
            raise translate(error, self._origin) from None

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        *,
        stream_usage: bool | None = None,
        **kwargs: object,
    ) -> AsyncIterator[ChatGenerationChunk]:
        chunks = super()._astream(messages, stop, run_manager, stream_usage=stream_usage, **kwargs)
        try:
            async for chunk in chunks:
                yield chunk
        except Exception as error:  # noqa: BLE001  translated, not swallowed
            raise translate(error, self._origin) from None
