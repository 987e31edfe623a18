"""Replies of our own in the shape that clients of OpenAI's protocol read."""

from __future__ import annotations

import math
from collections.abc import Mapping

from starlette.responses import JSONResponse

__all__ = ["error_body", "refusal"]

_TYPES = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}


def error_body(status: int, message: str, code: str, param: str | None = None) -> dict[str, object]:
    kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def refusal(
    status: int,
    message: str,
    code: str,
    *,
    param: str | None = None,
    retry_after_s: float | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Return an error as OpenAI's clients raise it."""
    wait = {} if retry_after_s is None else {"retry-after": str(max(1, math.ceil(retry_after_s)))}
    return JSONResponse(error_body(status, message, code, param), status, {**(headers or {}), **wait})
