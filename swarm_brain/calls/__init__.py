"""Calls: one model call, from request to reply: retries, rate limits, errors, cache."""
