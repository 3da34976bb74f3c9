"""Prices of tokens: the user's own, the shipped ones, then `genai-prices`.

An unknown price is None, never 0.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from swarm_brain.config import Price, own_prices

MILLION = 1_000_000
SHIPPED = Path(__file__).with_name("prices.toml")


def price(spec: str, base_url: str, inputs: int, cached: int, outputs: int) -> float | None:
    """Return the dollars of one call; `inputs` includes the cached tokens."""
    stated = own_prices().get(spec) or _shipped().get(spec)
    if stated is None:
        return _from_table(spec.partition(":")[2], base_url, inputs, cached, outputs)
    return at(stated, inputs, cached, outputs)


def at(price: Price, inputs: int, cached: int, outputs: int) -> float:
    """Return the dollars of one call at this price."""
    cached_rate = price.input if price.cached_input is None else price.cached_input
    dollars = (inputs - cached) * price.input + cached * cached_rate + outputs * price.output
    return dollars / MILLION


@lru_cache(maxsize=1)
def _shipped() -> Mapping[str, Price]:
    entries = tomllib.loads(SHIPPED.read_text(encoding="utf-8"))["prices"]
    return {spec: Price.model_validate(entry) for spec, entry in entries.items()}


def _from_table(model: str, base_url: str, inputs: int, cached: int, outputs: int) -> float | None:
    from genai_prices import Usage, calc_price  # slow to import

    usage = Usage(input_tokens=inputs, cache_read_tokens=cached, output_tokens=outputs)
    try:
        return float(calc_price(usage, model, provider_api_url=base_url).total_price)
    except LookupError:
        return None
