"""What tokens cost: the user's own prices, then ours, then the open table `genai-prices`.

Unknown is None, never 0.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from swarm_brain.config import Price, own_prices

MILLION = 1_000_000
OURS = Path(__file__).with_name("prices.toml")


def price(spec: str, base_url: str, inputs: int, cached: int, outputs: int) -> float | None:
    """Dollars for one call; `inputs` counts the cached tokens too."""
    known = own_prices().get(spec) or _shipped().get(spec)
    if known is None:
        return _from_table(spec.partition(":")[2], base_url, inputs, cached, outputs)
    return by(known, inputs, cached, outputs)


def by(known: Price, inputs: int, cached: int, outputs: int) -> float:
    """Dollars for one call at this price."""
    cached_rate = known.input if known.cached_input is None else known.cached_input
    dollars = (inputs - cached) * known.input + cached * cached_rate + outputs * known.output
    return dollars / MILLION


@lru_cache(maxsize=1)
def _shipped() -> Mapping[str, Price]:
    entries = tomllib.loads(OURS.read_text(encoding="utf-8"))["prices"]
    return {spec: Price.model_validate(entry) for spec, entry in entries.items()}


def _from_table(model: str, base_url: str, inputs: int, cached: int, outputs: int) -> float | None:
    from genai_prices import Usage, calc_price

    usage = Usage(input_tokens=inputs, cache_read_tokens=cached, output_tokens=outputs)
    try:
        return float(calc_price(usage, model, provider_api_url=base_url).total_price)
    except LookupError:
        return None
