"""The error type of all routes, with the fields of an OpenAI error."""

from __future__ import annotations

from collections.abc import Mapping


class Problem(Exception):
    """An error response: status, message and headers. It must never contain a key."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type
        self.param = param
        self.code = code
        self.headers = dict(headers or {})
