"""How many tokens a prompt has at most.

Exact where the binding has a tokenizer, plus the chat template's overhead. Elsewhere an upper bound
from the text: half a token for each ASCII byte (English has about four bytes to a token, digits and
code up to one in two), one token for each other byte. An endpoint that reports more teaches us: the
largest ratio of reported to bounded tokens that it has shown corrects all later bounds.
"""

from __future__ import annotations

from collections.abc import Sequence

from swarm_brain.models.binding import Binding

TEMPLATE_TOKENS = 16  # of a chat template around each message, rounded up

_ratios: dict[str, float] = {}


def prompt_bound(binding: Binding, texts: Sequence[str]) -> int:
    """Tokens of a prompt made of these messages at most. Blocks where the tokenizer is remote."""
    ratio = _ratios.get(binding.endpoint, 1.0)
    return -(-int(_uncorrected(binding, texts) * ratio * 1000) // 1000)


def learn(binding: Binding, texts: Sequence[str], reported: int) -> None:
    """Take note of what the endpoint counted."""
    if binding.count_tokens is None:
        ratio = reported / _uncorrected(binding, texts)
        _ratios[binding.endpoint] = max(_ratios.get(binding.endpoint, 1.0), ratio)


def _uncorrected(binding: Binding, texts: Sequence[str]) -> int:
    count = binding.count_tokens or _from_text
    return sum(count(text) + TEMPLATE_TOKENS for text in texts)


def _from_text(text: str) -> int:
    size = len(text.encode())
    ascii_bytes = sum(character.isascii() for character in text)
    return -(-ascii_bytes // 2) + size - ascii_bytes
