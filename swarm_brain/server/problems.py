"""An error that a route answers with, in the shape that clients of OpenAI read."""

from __future__ import annotations

from collections.abc import Mapping


class Problem(Exception):
    """What is wrong with a request, as status, words and headers. Never carries a key."""

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
