"""The report of an evaluation: one self-contained HTML page, and a Markdown summary beside it."""

from swarm_brain.evals.report.page import render
from swarm_brain.evals.report.summary import summary

__all__ = ["render", "summary"]
