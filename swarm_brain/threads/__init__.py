"""Saved threads: where their checkpoints are, what happened in them, and running on from there."""
