"""The scripted model of the unit tests; sockets stay open, for LangSmith may be told."""

from tests.unit.conftest import script

__all__ = ["script"]
