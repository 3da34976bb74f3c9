"""A loaded transformers model whose requests run as one batched `generate`.

Message conversion, chat template and the pipeline object are those of langchain-huggingface
(`ChatHuggingFace` over `HuggingFacePipeline`). Generation is not: the pipeline has one set of
sampling parameters and one length for all sequences, counts no tokens and streams only one sequence
(as transformers' streamers do), and ChatHuggingFace raises NotImplementedError for asynchronous
calls. Here a LogitsProcessor draws the next token of each sequence instead.

Imports inside functions, because PyTorch takes seconds and is an extra.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from swarm_brain.graph.errors import ModelError
from swarm_brain.models.binding import JsonSchema
from swarm_brain.models.huggingface.batcher import Batcher, Generation, ReplyText, Request
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

# A step of a small model is many small operations at which threads mostly wait for each other: 135
# million parameters take 48 ms per step of six sequences with one thread, 83 ms with four.
PARAMETERS_PER_THREAD = 250_000_000


class Engine:
    """One loaded model, shared by all its bindings."""

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
        # The model's own defaults would apply to every call; the call alone decides the sampling.
        self.model.generation_config = GenerationConfig(
            eos_token_id=sorted(self.ends) or None, pad_token_id=min(self.ends, default=0)
        )
        self._tokenizing = threading.Lock()  # a fast tokenizer refuses concurrent use
        self._constraints: Constraints | None = None
        try:
            self._constraints = Constraints(self.tokenizer, config.vocab_size, self.ends)
        except (ImportError, ValueError) as error:  # not installed, or not a fast tokenizer
            logging.getLogger(__name__).warning("replies do not follow JSON schemas: %s", error)
        self._watch_layers()
        self._rows: list[_Drawing] = []
        self.batcher = Batcher(self._run)

    @property
    def takes_schema(self) -> bool:
        """Whether replies can be constrained to a JSON schema."""
        return self._constraints is not None

    def prompt(self, messages: Sequence[BaseMessage]) -> list[int]:
        """Return the tokens of these messages in the model's chat template.

        Without a system role, its text becomes part of the user's message. Raises ModelError for
        messages that the template refuses.
        """
        from jinja2.exceptions import TemplateError

        # Content as text: templates of text models do not accept lists of blocks.
        shown = [message.model_copy(update={"content": message.text}) for message in messages]
        try:
            return self.encode(self._chat._to_chat_prompt(shown))
        except TemplateError as error:
            if not (isinstance(shown[0], SystemMessage) and shown[1:]):
                raise ModelError("refused_request", f"the chat template says: {error}") from None
        joined = HumanMessage(f"{shown[0].text}\n\n{shown[1].text}")
        return self.prompt([joined, *shown[2:]])

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text, without special tokens around it."""
        with self._tokenizing:
            return list(self.tokenizer.encode(text, add_special_tokens=False))

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of these tokens, without marks of the chat template."""
        with self._tokenizing:
            return str(
                self.tokenizer.decode(
                    list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False
                )
            )

    def room(self, prompt: Sequence[int], max_tokens: int) -> int:
        """Return the tokens left for a reply. Raises ModelError if there are none."""
        if self.window is None:
            return max_tokens
        if len(prompt) >= self.window:
            raise ModelError(
                "context_overflow",
                f"the prompt has {len(prompt)} tokens, the model's context {self.window}",
            )
        return min(max_tokens, self.window - len(prompt))

    def constraint(self, schema: JsonSchema | None) -> Constraint | None:
        """Return the constraint for this schema; None without one or if unsupported."""
        if schema is None or self._constraints is None:
            return None
        return self._constraints.hold(schema, lambda text: len(self.encode(text)))

    def _watch_layers(self) -> None:
        from transformers.modeling_layers import GradientCheckpointingLayer

        for layer in self.model.modules():
            if isinstance(layer, GradientCheckpointingLayer):  # what transformers' layers are
                layer.register_forward_pre_hook(self._stop_if_done)

    def _stop_if_done(self, layer: object, inputs: object) -> None:
        """Stop between two layers if all are cancelled, even while reading a prompt."""
        if self._rows and all(row.done for row in self._rows):
            raise _Abandoned

    def _run(self, requests: list[Request]) -> None:
        """Answer these requests with one call of `generate`."""
        import torch
        from transformers import LogitsProcessorList, StoppingCriteriaList

        # In a fixed order, because the last digit of a product depends on the row.
        ordered = sorted(requests, key=lambda request: list(request.prompt))
        self._rows = [_Drawing(self, request) for request in ordered]
        ids, seen = padded([request.prompt for request in ordered])
        longest = max(request.sampling.max_tokens for request in ordered)
        threads = torch.get_num_threads()
        try:
            with torch.inference_mode(), suppress(_Abandoned):
                self.model.generate(
                    input_ids=ids.to(self.model.device),
                    attention_mask=seen.to(self.model.device),
                    max_new_tokens=longest,
                    do_sample=False,  # Draw draws for each sequence
                    logits_processor=LogitsProcessorList([Draw(self._rows, self._step_alone)]),
                    stopping_criteria=StoppingCriteriaList([Ended(self._rows)]),
                )
        finally:
            self._rows = []
            torch.set_num_threads(threads)

    def _step_alone(self) -> None:
        """Use fewer threads once the prompts are read; reading uses all CPUs."""
        import torch

        few = 1 + int(self.model.num_parameters()) // PARAMETERS_PER_THREAD
        torch.set_num_threads(min(few, torch.get_num_threads()))


class _Abandoned(Exception):
    """All replies of the running batch are cancelled."""


class _Drawing(Generation):
    """A generation that draws its own tokens."""

    def __init__(self, engine: Engine, request: Request) -> None:
        import torch

        super().__init__(request, ReplyText(engine.decode, request.stop), engine.ends)
        seed = request.sampling.seed
        self.source = torch.Generator()
        _ = self.source.seed() if seed is None else self.source.manual_seed(seed)
        self.constraint = engine.constraint(request.schema)

    def draw(self, scores: torch.Tensor) -> int:
        """Draw the next token, take it and return it."""
        constraint = self.constraint
        if constraint is not None:
            left = self.request.sampling.max_tokens - self.drawn
            scores = scores.masked_fill(~constraint.allowed(len(scores), left), -math.inf)
        token = draw(scores, self.request.sampling, self.source)
        self.take(token, complete=constraint is not None and constraint.take(token))
        return token
