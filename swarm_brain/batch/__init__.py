"""Batches: ask many questions from a file concurrently, and keep its order."""
