"""What tokens cost, from the open price table `genai-prices`. Unknown is None, never 0."""

from __future__ import annotations


def price(model: str, base_url: str, inputs: int, cached: int, outputs: int) -> float | None:
    """Dollars for one call at this endpoint; `inputs` counts the cached tokens too."""
    from genai_prices import Usage, calc_price

    usage = Usage(input_tokens=inputs, cache_read_tokens=cached, output_tokens=outputs)
    try:
        return float(calc_price(usage, model, provider_api_url=base_url).total_price)
    except LookupError:
        return None
