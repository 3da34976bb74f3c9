"""Behaviour checks, which may be reported to LangSmith."""
