"""Calls to models: retries, rate limits, errors and the reply cache."""
