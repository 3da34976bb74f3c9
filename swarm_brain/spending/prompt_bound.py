"""An upper bound for the tokens of a prompt.

With a tokenizer it is exact, plus the overhead of the chat template. Without one it comes from the
text: half a token per ASCII byte (English has about four bytes per token, digits and code down to
two) and one token per other byte. If an endpoint reports more than the bound, the largest ratio it
has shown corrects all later bounds.
"""

from __future__ import annotations

from collections.abc import Sequence

from swarm_brain.models.binding import Binding

TEMPLATE_TOKENS = 16  # that a chat template adds to each message, at most

_ratios: dict[str, float] = {}


def prompt_bound(binding: Binding, texts: Sequence[str]) -> int:
    """Return the most tokens that these messages may have.

    Blocks if the tokenizer is remote.
    """
    ratio = _ratios.get(binding.endpoint, 1.0)
    return -(-int(_uncorrected(binding, texts) * ratio * 1000) // 1000)


def learn(binding: Binding, texts: Sequence[str], reported: int) -> None:
    """Correct later bounds by the endpoint's count."""
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
