"""Saved threads: their storage and their contents."""
