"""A loaded transformers model as a chat model whose requests run as one batched `generate`.

Message conversion, chat template and the pipeline object are langchain-huggingface's
(`ChatHuggingFace` over `HuggingFacePipeline`). Generation goes past them: the pipeline takes one
set of sampling parameters and one length for all sequences, counts no tokens and streams one
sequence alone (so do transformers' streamers), and ChatHuggingFace raises NotImplementedError for
an asynchronous call on a pipeline. All of that happens here, in a LogitsProcessor that draws each
sequence's next token by itself.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.chat_models import agenerate_from_stream
from langchain_core.messages import AIMessageChunk, BaseMessage, HumanMessage, SystemMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from pydantic import PrivateAttr

from swarm_brain.calls.background_loop import wait_for
from swarm_brain.graph.errors import ModelError
from swarm_brain.models.binding import JsonSchema, Sampling
from swarm_brain.models.huggingface.batcher import Batcher, Piece, Request, Row, Text
from swarm_brain.models.huggingface.decoding import (
    Constraint,
    Constraints,
    Draw,
    Ended,
    draw,
    ends_of,
    padded,
)

if TYPE_CHECKING:
    import torch

# A step of a small model is many small operations, over which threads only wait for each other: 135
# million parameters take 48 ms a step of six sequences with one thread, 83 ms with four.
PARAMETERS_PER_THREAD = 250_000_000


class Engine:
    """One loaded model, shared by all who name it: tokens, constraints, and its batches."""

    def __init__(self, pipeline: Any, name: str) -> None:
        from langchain_huggingface import ChatHuggingFace, HuggingFacePipeline
        from transformers import GenerationConfig

        self.name, self.model, self.tokenizer = name, pipeline.model, pipeline.tokenizer
        self._chat = ChatHuggingFace(
            llm=HuggingFacePipeline(pipeline=pipeline, model_id=name),
            model_id=name,
            tokenizer=pipeline.tokenizer,
        )
        self.ends = ends_of(pipeline)
        config = self.model.config.get_text_config()
        self.window: int | None = getattr(config, "max_position_embeddings", None)
        # The model's own defaults would be mixed into every call; sampling is as the call says.
        self.model.generation_config = GenerationConfig(
            eos_token_id=sorted(self.ends) or None, pad_token_id=min(self.ends, default=0)
        )
        self._tokenizing = threading.Lock()  # a fast tokenizer refuses to be used twice at once
        self._constraints: Constraints | None = None
        try:
            self._constraints = Constraints(self.tokenizer, config.vocab_size, self.ends)
        except (ImportError, ValueError) as error:  # not installed; no fast tokenizer
            logging.getLogger(__name__).warning("replies are not held to JSON schemas: %s", error)
        self._watch_layers()
        self._rows: list[_Drawn] = []
        self.batcher = Batcher(self._run)

    @property
    def takes_schema(self) -> bool:
        """Whether replies can be held to a JSON schema while they are drawn."""
        return self._constraints is not None

    def prompt(self, messages: Sequence[BaseMessage]) -> list[int]:
        """The tokens of these messages in the model's chat template.

        Models without a system role read its text as the user's. Raises ModelError for messages
        that the template refuses.
        """
        from jinja2.exceptions import TemplateError

        # Content as text: templates of text models take no lists of blocks.
        shown = [message.model_copy(update={"content": message.text}) for message in messages]
        try:
            return self.encode(self._chat._to_chat_prompt(shown))
        except TemplateError as error:
            if not (isinstance(shown[0], SystemMessage) and shown[1:]):
                raise ModelError("refused_request", f"the chat template says: {error}") from None
        joined = HumanMessage(f"{shown[0].text}\n\n{shown[1].text}")
        return self.prompt([joined, *shown[2:]])

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, and nothing around it: a chat template writes its own marks."""
        with self._tokenizing:
            return list(self.tokenizer.encode(text, add_special_tokens=False))

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of these tokens, without marks of the chat template."""
        with self._tokenizing:
            return str(
                self.tokenizer.decode(
                    list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False
                )
            )

    def room(self, prompt: Sequence[int], max_tokens: int) -> int:
        """Tokens a reply to this prompt may have. Raises ModelError if there is no room for one."""
        if self.window is None:
            return max_tokens
        if len(prompt) >= self.window:
            raise ModelError(
                "context_overflow",
                f"the prompt has {len(prompt)} tokens, the model reads {self.window}",
            )
        return min(max_tokens, self.window - len(prompt))

    def constraint(self, schema: JsonSchema | None) -> Constraint | None:
        """What holds a reply to this schema; None without one, or if it cannot be held."""
        if schema is None or self._constraints is None:
            return None
        return self._constraints.hold(schema, lambda text: len(self.encode(text)))

    def _watch_layers(self) -> None:
        from transformers.modeling_layers import GradientCheckpointingLayer

        for layer in self.model.modules():
            if isinstance(layer, GradientCheckpointingLayer):  # what transformers' layers are
                layer.register_forward_pre_hook(self._go_on)

    def _go_on(self, layer: Any, inputs: Any) -> None:
        """Between two layers: long prompts take seconds to read, and all may be cancelled."""
        if self._rows and all(row.done for row in self._rows):
            raise _Abandoned

    def _run(self, requests: list[Request]) -> None:
        """Answer these requests with one `generate`."""
        import torch
        from transformers import LogitsProcessorList, StoppingCriteriaList

        # In one order whoever came first: the last digit of a product depends on the row.
        ordered = sorted(requests, key=lambda request: list(request.prompt))
        self._rows = [_Drawn(self, request) for request in ordered]
        ids, seen = padded([request.prompt for request in ordered])
        longest = max(request.sampling.max_tokens for request in ordered)
        threads = torch.get_num_threads()
        try:
            with torch.inference_mode(), suppress(_Abandoned):
                self.model.generate(
                    input_ids=ids.to(self.model.device),
                    attention_mask=seen.to(self.model.device),
                    max_new_tokens=longest,
                    do_sample=False,  # drawn by Draw, each sequence by itself
                    logits_processor=LogitsProcessorList([Draw(self._rows, self._step_alone)]),
                    stopping_criteria=StoppingCriteriaList([Ended(self._rows)]),
                )
        finally:
            self._rows = []
            torch.set_num_threads(threads)

    def _step_alone(self) -> None:
        """Once the prompts are read, which all processors do together: threads for one step."""
        import torch

        few = 1 + int(self.model.num_parameters()) // PARAMETERS_PER_THREAD
        torch.set_num_threads(min(few, torch.get_num_threads()))


class _Abandoned(Exception):
    """Nobody waits for any reply of the running batch."""


class _Drawn(Row):
    """A row with what its draws need."""

    def __init__(self, engine: Engine, request: Request) -> None:
        import torch

        super().__init__(request, Text(engine.decode, request.stop), engine.ends)
        seed = request.sampling.seed
        self.source = torch.Generator()
        _ = self.source.seed() if seed is None else self.source.manual_seed(seed)
        self.constraint = engine.constraint(request.schema)

    def draw(self, scores: torch.Tensor) -> int:
        """The next token of this sequence, taken and passed on."""
        held = self.constraint
        if held is not None:
            left = self.request.sampling.max_tokens - self.drawn
            scores = scores.masked_fill(~held.allowed(len(scores), left), -math.inf)
        token = draw(scores, self.request.sampling, self.source)
        self.take(token, complete=held is not None and held.take(token))
        return token


class BatchChat(BaseChatModel):
    """A loaded model as a chat model: asynchronous, streaming, counted, in batches."""

    model_id: str
    _engine: Engine = PrivateAttr()

    @classmethod
    def over(cls, engine: Engine) -> BatchChat:
        """The chat model of a loaded model."""
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
        arguments: dict[str, Any],
    ) -> Request:
        """What to ask the batcher for; tokenises, which may take milliseconds."""
        prompt = self._engine.prompt(messages)
        limit = self._engine.room(prompt, arguments.get("max_tokens", 256))
        sampling = Sampling(
            temperature=arguments.get("temperature", 0.7),
            top_p=arguments.get("top_p", 0.9),
            max_tokens=limit,
            seed=arguments.get("seed"),
        )
        schema = arguments.get("schema")
        return Request(prompt, sampling, deliver, stop or (), schema)

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
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        loop, pieces = asyncio.get_running_loop(), asyncio.Queue[Piece | Exception]()

        def deliver(piece: Piece | Exception) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody listens any more
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
        **kwargs: Any,
    ) -> ChatResult:
        return await agenerate_from_stream(self._astream(messages, stop, run_manager, **kwargs))

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return wait_for(self._agenerate(messages, stop, **kwargs))
