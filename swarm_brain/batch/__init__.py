"""Batches: many questions from a file, asked concurrently, answered in the file's order."""
