"""A loaded transformers model as a chat model whose requests run as one batched `generate`.

Message conversion, chat template and the pipeline object are langchain-huggingface's
(`ChatHuggingFace` over `HuggingFacePipeline`). Generation goes past them: the pipeline takes one
set of sampling parameters and one length for all sequences, cuts nothing off at its own stop, counts
no tokens, streams one sequence alone (so do transformers' streamers), and ChatHuggingFace raises
NotImplementedError for an asynchronous call on a pipeline. All of that happens here, in a
LogitsProcessor that draws each sequence's next token by itself.

Imports torch: load this module only once a model is wanted.
"""

from __future__ import annotations

import asyncio
import json
import queue
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import torch
from jinja2.exceptions import TemplateError
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models.chat_models import (
    agenerate_from_stream,
    generate_from_stream,
)
from langchain_core.messages import AIMessageChunk, BaseMessage, HumanMessage, SystemMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_huggingface import ChatHuggingFace, HuggingFacePipeline
from pydantic import PrivateAttr
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from graph.errors import ModelError
from swarm_brain.models.binding import JsonSchema, Sampling
from swarm_brain.models.huggingface_batch import Batcher, Piece, Request, Row, Text

GREEDY_BELOW = 1e-3  # temperatures that leave one token; dividing by them would overflow
LIKELY = 256  # tokens that mostly hold the whole nucleus; sorting the vocabulary costs far more
# One way to write an object, so that a small model cannot fill its reply with white space.
JSON_STYLE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}


class Engine:
    """One loaded model, shared by all who name it: tokens, constraints, and its batches."""

    def __init__(self, pipeline: Any) -> None:
        self.pipeline, self.model = pipeline, pipeline.model
        self.tokenizer = pipeline.tokenizer
        self.ends = ends_of(pipeline)
        config = self.model.config.get_text_config()
        self.vocabulary: int = config.vocab_size
        self.window: int | None = getattr(config, "max_position_embeddings", None)
        # The model's own defaults would be mixed into every call; sampling is as the call says.
        self.model.generation_config = GenerationConfig(
            eos_token_id=sorted(self.ends), pad_token_id=min(self.ends, default=0)
        )
        self._tokenizing = threading.Lock()  # a fast tokenizer refuses to be used twice at once
        self._grammar = constrained(self.tokenizer, self.vocabulary, self.ends)
        self.batcher = Batcher(self._run)

    @property
    def takes_schema(self) -> bool:
        """Whether replies can be held to a JSON schema while they are drawn."""
        return self._grammar is not None

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

    def _run(self, requests: list[Request]) -> None:
        """Answer these requests with one `generate`."""
        # In one order whoever came first: the last digit of a product depends on the row.
        drawn = [
            _Drawn(self, request)
            for request in sorted(requests, key=lambda request: list(request.prompt))
        ]
        longest = max(len(row.request.prompt) for row in drawn)
        ids = torch.zeros(len(drawn), longest, dtype=torch.long)
        seen = torch.zeros_like(ids)
        for at, row in enumerate(drawn):  # filled up on the left, so that all end together
            ids[at, longest - len(row.request.prompt) :] = torch.tensor(row.request.prompt)
            seen[at, longest - len(row.request.prompt) :] = 1
        with torch.inference_mode():
            self.model.generate(
                input_ids=ids.to(self.model.device),
                attention_mask=seen.to(self.model.device),
                max_new_tokens=max(row.request.sampling.max_tokens for row in drawn),
                do_sample=False,  # drawn by _Draw, each sequence by itself
                logits_processor=LogitsProcessorList([_Draw(drawn)]),
                stopping_criteria=StoppingCriteriaList([_Ended(drawn)]),
            )

    def constraint(self, schema: JsonSchema | None) -> Any:
        """A matcher that says which tokens may come next; None without schema or library."""
        return self._grammar(schema) if self._grammar and schema is not None else None


def ends_of(pipeline: Any) -> frozenset[int]:
    """The tokens that end a reply: the model's own and what its template puts behind a turn."""
    tokenizer, ends = pipeline.tokenizer, {pipeline.tokenizer.eos_token_id}
    for config in (pipeline.model.generation_config, pipeline.model.config):
        found = getattr(config, "eos_token_id", None)
        ends |= set(found) if isinstance(found, list | tuple) else {found}
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "xyzzy"}]
    with suppress(TemplateError, ValueError):  # no template, or one that refuses these turns
        tail = tokenizer.apply_chat_template(turns, tokenize=False).rpartition("xyzzy")[2]
        behind = tokenizer.encode(tail, add_special_tokens=False)
        ends |= {token for token in behind[:1] if token in tokenizer.all_special_ids}
    return frozenset(token for token in ends if token is not None)


def constrained(
    tokenizer: Any, vocabulary: int, ends: frozenset[int]
) -> Callable[[JsonSchema], Any] | None:
    """Make matchers of llguidance for this tokenizer; None if it is missing or cannot read it."""
    try:
        import llguidance.hf

        tokens = llguidance.hf.from_tokenizer(tokenizer, vocabulary, eos_token=sorted(ends))
    except (ImportError, ValueError):
        return None

    def matcher(schema: JsonSchema) -> Any:
        grammar = llguidance.LLMatcher.grammar_from_json_schema(
            json.dumps(schema), defaults=JSON_STYLE
        )
        made = llguidance.LLMatcher(tokens, grammar)
        # A schema beyond the library's means: the prompt alone asks, the reader is tolerant.
        return None if made.is_error() else made

    return matcher


class _Drawn(Row):
    """A row with what its draws need."""

    def __init__(self, engine: Engine, request: Request) -> None:
        super().__init__(request, Text(engine.decode, request.stop), engine.ends)
        seed = request.sampling.seed
        self.source = torch.Generator()
        _ = self.source.seed() if seed is None else self.source.manual_seed(seed)
        self.matcher = engine.constraint(request.schema)

    def draw(self, scores: torch.Tensor) -> int:
        """The next token of this sequence, taken and passed on."""
        if self.matcher is not None:
            scores = scores.masked_fill(~self._allowed(len(scores)), -torch.inf)
        token = draw(scores, self.request.sampling, self.source)
        complete = False
        if self.matcher is not None and token not in self.ends:
            complete = not self.matcher.consume_token(token) or self.matcher.is_stopped()
        self.take(token, complete)
        return token

    def _allowed(self, size: int) -> torch.Tensor:
        """One bool for each token of the vocabulary."""
        bits = torch.frombuffer(bytearray(self.matcher.compute_bitmask()), dtype=torch.uint8)
        spread = (bits.unsqueeze(1) >> torch.arange(8, dtype=torch.uint8)) & 1
        allowed = torch.zeros(size, dtype=torch.bool)
        flat = spread.flatten()[:size].bool()
        allowed[: len(flat)] = flat
        return allowed


def draw(scores: torch.Tensor, sampling: Sampling, source: torch.Generator) -> int:
    """A token by temperature and nucleus, from the scores of one sequence."""
    if sampling.temperature < GREEDY_BELOW:
        return int(scores.argmax())
    chances = torch.softmax(scores / sampling.temperature, dim=-1)
    for size in (min(LIKELY, len(chances)), len(chances)):
        likely, tokens = chances.topk(size)
        reach = likely.cumsum(0)
        if reach[-1] >= sampling.top_p:
            break
    kept = int((reach < sampling.top_p).sum()) + 1
    return int(tokens[torch.multinomial(likely[:kept], 1, generator=source)])


class _Draw(LogitsProcessor):  # type: ignore[misc]  # transformers is untyped here
    """Draws for each sequence by itself and leaves `generate` nothing to choose."""

    def __init__(self, rows: Sequence[_Drawn]) -> None:
        self._rows = rows

    def __call__(self, input_ids: Any, scores: torch.Tensor) -> torch.Tensor:
        forced = torch.full_like(scores, -torch.inf)
        forced[:, 0] = 0.0  # for those that have ended; nobody looks
        here = scores.float().cpu()
        for at, row in enumerate(self._rows):
            if not row.done:
                forced[at, row.draw(here[at])] = 1.0
        return forced


class _Ended(StoppingCriteria):  # type: ignore[misc]
    """Which sequences have ended, each at its own stop or limit."""

    def __init__(self, rows: Sequence[_Drawn]) -> None:
        self._rows = rows

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> torch.Tensor:
        return torch.tensor([row.done for row in self._rows], device=input_ids.device)


class BatchChat(ChatHuggingFace):  # type: ignore[misc]
    """ChatHuggingFace over a pipeline, asynchronous, streaming, counted, in batches."""

    _engine: Engine = PrivateAttr()

    @classmethod
    def over(cls, engine: Engine, name: str) -> BatchChat:
        """The chat model of a loaded model; `name` is what traces call it."""
        pipeline = HuggingFacePipeline(pipeline=engine.pipeline, model_id=name)
        chat = cls(llm=pipeline, model_id=name, tokenizer=engine.tokenizer)
        chat._engine = engine
        return chat

    def _to_chatml_format(self, message: BaseMessage) -> dict[str, Any]:
        """Content as text: templates of text models take no lists of blocks."""
        return {**super()._to_chatml_format(message), "content": message.text}

    def _to_chat_prompt(self, messages: list[BaseMessage]) -> str:
        """The chat template's text; models without a system role read its text as the user's."""
        try:
            return str(super()._to_chat_prompt(messages))
        except TemplateError:
            first, *rest = messages
            if not (isinstance(first, SystemMessage) and rest):
                raise
            joined = HumanMessage(f"{first.text}\n\n{rest[0].text}")
            return str(super()._to_chat_prompt([joined, *rest[1:]]))

    def _request(
        self,
        messages: list[BaseMessage],
        stop: Sequence[str] | None,
        deliver: Callable[[Piece | Exception], None],
        arguments: dict[str, Any],
    ) -> Request:
        """What to ask the batcher for; tokenises, which may take milliseconds."""
        prompt = self._engine.encode(self._to_chat_prompt(messages))
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
        stream: bool | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return await agenerate_from_stream(self._astream(messages, stop, run_manager, **kwargs))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        pieces = queue.SimpleQueue[Piece | Exception]()
        request = self._request(messages, stop, pieces.put, kwargs)
        self._engine.batcher.submit(request)
        try:
            finished = False
            while not finished:
                piece = pieces.get()
                if isinstance(piece, Exception):
                    raise piece
                finished = piece.finish is not None
                chunk = self._chunk(request, piece)
                if run_manager:
                    run_manager.on_llm_new_token(piece.text, chunk=chunk)
                yield chunk
        finally:
            request.cancelled = True

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        stream: bool | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return generate_from_stream(self._stream(messages, stop, run_manager, **kwargs))
