"""Which token comes next: temperature and nucleus, and what a JSON schema allows (llguidance)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from swarm_brain.models.binding import JsonSchema, Sampling

if TYPE_CHECKING:
    import torch

GREEDY_BELOW = 1e-3  # temperatures that leave one token; dividing by them would overflow
LIKELY = 256  # tokens that mostly hold the whole nucleus; sorting the vocabulary costs far more
# One way to write an object, so that a small model cannot fill its reply with white space.
STYLE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
# Towards its limit a reply is brought to an end: what closes comes first, then what goes on to the
# next key. Otherwise a small model writes into one string until the limit cuts it off.
CLOSING = ('"}]', '"}],')
RESERVE = 16  # tokens for what is open when that begins, beside the keys of the schema


class Constraints:
    """Makes constraints for one tokenizer. Raises ValueError for one that is no fast tokenizer."""

    def __init__(self, tokenizer: Any, vocabulary: int, ends: frozenset[int]) -> None:
        import llguidance.hf

        self.library = llguidance
        self.tokens = llguidance.hf.from_tokenizer(tokenizer, vocabulary, eos_token=sorted(ends))
        self.closing = [_only(tokenizer, vocabulary, marks) for marks in CLOSING]

    def hold(self, schema: JsonSchema, count: Callable[[str], int]) -> Constraint | None:
        """A constraint for one reply; None for a schema that is beyond the library."""
        matcher = self.library.LLMatcher
        grammar = matcher.grammar_from_json_schema(json.dumps(schema), defaults=STYLE)
        made = matcher(self.tokens, grammar, log_level=0)
        if made.is_error():
            return None
        keys = json.dumps(dict.fromkeys(schema.get("properties", ()), 0.5))
        return Constraint(made, self.closing, RESERVE + count(keys))


class Constraint:
    """The state of one reply: what may come next, and whether it is complete."""

    def __init__(self, matcher: Any, closing: list[torch.Tensor], reserve: int) -> None:
        self._matcher, self._closing, self._reserve = matcher, closing, reserve

    def allowed(self, size: int, left: int) -> torch.Tensor:
        """A bool for each of `size` tokens, when the reply may have `left` more of them."""
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
        """Note that this token was drawn; True once nothing can follow."""
        return not self._matcher.consume_token(token) or bool(self._matcher.is_stopped())


def _only(tokenizer: Any, vocabulary: int, marks: str) -> torch.Tensor:
    """Which tokens are made of these characters alone."""
    import torch

    found = torch.zeros(vocabulary, dtype=torch.bool)
    for text, token in tokenizer.get_vocab().items():
        if text and token < vocabulary and not text.strip(marks):
            found[token] = True
    return found


def draw(scores: torch.Tensor, sampling: Sampling, source: torch.Generator) -> int:
    """A token by temperature and nucleus, from the scores of one sequence."""
    import torch

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


def ends_of(pipeline: Any) -> frozenset[int]:
    """The tokens that end a reply: the model's own and what its template puts behind a turn."""
    from jinja2.exceptions import TemplateError

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


class Drawn(Protocol):
    """One sequence of a running batch."""

    @property
    def done(self) -> bool:
        """Whether no further token of it matters."""

    def draw(self, scores: torch.Tensor) -> int:
        """Choose the next token from the scores of all, take it and say which it is."""


class Draw:
    """A logits processor: draws for each sequence by itself, so that `generate` has no choice.

    `when_read` is called once, when the prompts have been read.
    """

    def __init__(self, rows: Sequence[Drawn], when_read: Callable[[], None]) -> None:
        self._rows, self._when_read = rows, when_read
        self._begun = False

    def __call__(self, input_ids: Any, scores: torch.Tensor) -> torch.Tensor:
        import torch

        if not self._begun:
            self._begun = True
            self._when_read()
        forced = torch.full_like(scores, -torch.inf)
        forced[:, 0] = 0.0  # for those that have ended; nobody looks
        here = scores.float().cpu()
        for at, row in enumerate(self._rows):
            if not row.done:
                forced[at, row.draw(here[at])] = 1.0
        return forced


class Ended:
    """A stopping criterion: which sequences have ended, each at its own stop or limit."""

    def __init__(self, rows: Sequence[Drawn]) -> None:
        self._rows = rows

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> torch.Tensor:
        import torch

        return torch.tensor([row.done for row in self._rows], device=input_ids.device)


def padded(prompts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Prompts as one table, filled up on the left so that all end together, and which are real."""
    import torch

    longest = max(len(prompt) for prompt in prompts)
    ids = torch.zeros(len(prompts), longest, dtype=torch.long)
    real = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt)
        real[row, longest - len(prompt) :] = 1
    return ids, real
