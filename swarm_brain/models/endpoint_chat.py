"""The chat model for OpenAI-compatible endpoints."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_openai.chat_models.base import BaseChatOpenAI
from pydantic import PrivateAttr

from swarm_brain.calls.error_map import Origin, translate


class EndpointChat(BaseChatOpenAI):
    """LangChain's model, its errors translated before any tracer is told of them.

    Some endpoints echo the key in their errors. `BaseChatOpenAI` rather than `ChatOpenAI`, because
    it sends `max_tokens` under that name.
    """

    _origin: Origin = PrivateAttr()

    def __init__(self, origin: Origin, **settings: Any) -> None:
        super().__init__(**settings)
        self._origin = origin

    async def _agenerate(self, *args: Any, **kwargs: Any) -> ChatResult:
        try:
            return await super()._agenerate(*args, **kwargs)
        except Exception as error:  # noqa: BLE001  translated, not swallowed
            raise translate(error, self._origin) from None

    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        try:
            async for chunk in super()._astream(*args, **kwargs):
                yield chunk
        except Exception as error:  # noqa: BLE001  translated, not swallowed
            raise translate(error, self._origin) from None
