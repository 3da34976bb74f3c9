"""The report of an experiment: one HTML page and a Markdown summary."""

from swarm_brain.evals.report.page import render
from swarm_brain.evals.report.summary import summary

__all__ = ["render", "summary"]
