"""Runs: one way to run the brain and to watch it, live or saved."""
