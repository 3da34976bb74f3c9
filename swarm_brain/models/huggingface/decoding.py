"""Choose the next token: temperature, nucleus, JSON schema (llguidance).

Imports inside functions, because PyTorch takes seconds and is an extra.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from swarm_brain.models.binding import JsonSchema, Sampling

if TYPE_CHECKING:
    import torch

GREEDY_BELOW = 1e-3  # a temperature that leaves one token; dividing by it would overflow
LIKELY = 256  # tokens that usually hold the whole nucleus; sorting the vocabulary is slow
# A fixed way to write objects, so that a small model cannot fill its reply with white space.
STYLE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
# Near its limit a reply is closed: closing marks first, then marks that lead to the next key.
# Otherwise a small model writes into one string until the limit cuts it off.
CLOSING = ('"}]', '"}],')
RESERVE = 16  # tokens to close what is open then, besides the keys of the schema


class Tokenizer(Protocol):
    """The part of a transformers tokenizer that is used here."""

    def get_vocab(self) -> dict[str, int]:
        """Return the id of each token."""


class Matcher(Protocol):
    """The part of llguidance's LLMatcher that is used here."""

    def compute_bitmask(self) -> bytes:
        """Return a bit for each token that may come next."""

    def consume_token(self, token: int) -> bool:
        """Take a token; return False if it was not allowed."""

    def is_stopped(self) -> bool:
        """Return whether nothing can follow."""


class Constraints:
    """Creates constraints for one tokenizer. Raises ValueError for a slow one."""

    def __init__(self, tokenizer: Tokenizer, vocabulary: int, ends: frozenset[int]) -> None:
        import llguidance.hf

        self.library = llguidance
        self.tokens = llguidance.hf.from_tokenizer(tokenizer, vocabulary, eos_token=sorted(ends))
        self.closing = [_only(tokenizer, vocabulary, marks) for marks in CLOSING]

    def hold(self, schema: JsonSchema, count: Callable[[str], int]) -> Constraint | None:
        """Return a constraint for one reply; None for an unsupported schema."""
        matcher = self.library.LLMatcher
        grammar = matcher.grammar_from_json_schema(json.dumps(schema), defaults=STYLE)
        constraint = matcher(self.tokens, grammar, log_level=0)
        if constraint.is_error():
            return None
        properties = schema.get("properties")
        names = properties if isinstance(properties, Mapping) else {}
        keys = json.dumps(dict.fromkeys(names, 0.5))
        return Constraint(constraint, self.closing, RESERVE + count(keys))


class Constraint:
    """The state of one reply: its allowed next tokens and its completeness."""

    def __init__(self, matcher: Matcher, closing: list[torch.Tensor], reserve: int) -> None:
        self._matcher, self._closing, self._reserve = matcher, closing, reserve

    def allowed(self, size: int, left: int) -> torch.Tensor:
        """Return a mask of `size` tokens, given that `left` more may follow."""
        import torch

        bits = torch.frombuffer(bytearray(self._matcher.compute_bitmask()), dtype=torch.uint8)
        spread = ((bits.unsqueeze(1) >> torch.arange(8, dtype=torch.uint8)) & 1).flatten().bool()
        allowed = torch.zeros(size, dtype=torch.bool)
        allowed[: len(spread)] = spread[:size]
        for closing in self._closing if left <= self._reserve else ():
            narrow = allowed.clone()
            narrow[: len(closing)] &= closing[:size]
            narrow[len(closing) :] = False
            if narrow.any():
                return narrow
        return allowed

    def take(self, token: int) -> bool:
        """Record that this token was drawn; return True once nothing can follow."""
        return not self._matcher.consume_token(token) or bool(self._matcher.is_stopped())


def _only(tokenizer: Tokenizer, vocabulary: int, marks: str) -> torch.Tensor:
    """Return a mask of the tokens that consist of these characters alone."""
    import torch

    only = torch.zeros(vocabulary, dtype=torch.bool)
    for text, token in tokenizer.get_vocab().items():
        if text and token < vocabulary and not text.strip(marks):
            only[token] = True
    return only


def draw(scores: torch.Tensor, sampling: Sampling, source: torch.Generator) -> int:
    """Draw a token by temperature and nucleus from the scores of one sequence."""
    import torch

    if sampling.temperature < GREEDY_BELOW:
        return int(scores.argmax())
    chances = torch.softmax(scores / sampling.temperature, dim=-1)
    for size in (min(LIKELY, len(chances)), len(chances)):
        likely, tokens = chances.topk(size)
        reach = likely.cumsum(0)
        if reach[-1] >= sampling.top_p:
            break
    nucleus = int((reach < sampling.top_p).sum()) + 1
    return int(tokens[torch.multinomial(likely[:nucleus], 1, generator=source)])


def ends_of(pipeline: Any) -> frozenset[int]:
    """Return the tokens that end a reply: the model's and its template's."""
    from jinja2.exceptions import TemplateError

    tokenizer, ends = pipeline.tokenizer, {pipeline.tokenizer.eos_token_id}
    for config in (pipeline.model.generation_config, pipeline.model.config):
        end = getattr(config, "eos_token_id", None)
        ends |= set(end) if isinstance(end, list | tuple) else {end}
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "xyzzy"}]
    with suppress(TemplateError, ValueError):  # no template, or it refuses these turns
        tail = tokenizer.apply_chat_template(turns, tokenize=False).rpartition("xyzzy")[2]
        after = tokenizer.encode(tail, add_special_tokens=False)
        ends |= {token for token in after[:1] if token in tokenizer.all_special_ids}
    return frozenset(token for token in ends if token is not None)


class Drawn(Protocol):
    """One sequence of a running batch."""

    @property
    def done(self) -> bool:
        """Whether further tokens are ignored."""

    def draw(self, scores: torch.Tensor) -> int:
        """Choose, take and return the next token from the scores of all."""


class Draw:
    """A logits processor that draws each sequence's token for `generate`.

    `when_read` is called once, when the prompts have been read.
    """

    def __init__(self, rows: Sequence[Drawn], when_read: Callable[[], None]) -> None:
        self._rows, self._when_read = rows, when_read
        self._started = False

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        import torch

        if not self._started:
            self._started = True
            self._when_read()
        forced = torch.full_like(scores, -torch.inf)
        forced[:, 0] = 0.0  # for sequences that have ended; not used
        here = scores.float().cpu()
        for at, row in enumerate(self._rows):
            if not row.done:
                forced[at, row.draw(here[at])] = 1.0
        return forced


class Ended:
    """A stopping criterion for each sequence: its own stop or limit."""

    def __init__(self, rows: Sequence[Drawn]) -> None:
        self._rows = rows

    def __call__(
        self, input_ids: torch.Tensor, scores: torch.Tensor, **kwargs: object
    ) -> torch.Tensor:
        import torch

        return torch.tensor([row.done for row in self._rows], device=input_ids.device)


def padded(prompts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return prompts as one table, padded on the left, with its mask."""
    import torch

    longest = max(len(prompt) for prompt in prompts)
    ids = torch.zeros(len(prompts), longest, dtype=torch.long)
    real = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt)
        real[row, longest - len(prompt) :] = 1
    return ids, real
