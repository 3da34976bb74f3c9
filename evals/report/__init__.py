"""The report of an evaluation: one self-contained HTML page, and a Markdown summary beside it."""

from evals.report.page import render
from evals.report.summary import summary

__all__ = ["render", "summary"]
