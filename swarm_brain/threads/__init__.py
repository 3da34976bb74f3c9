"""Saved threads: where their checkpoints are, and what they hold."""
