"""One exchange with a server: what is sent, what comes back, and when that is a refusal.

Pure: nothing here opens a connection. Operations are generators that yield :class:`Call` and are sent
:class:`Response`; :mod:`wattline.session` turns them into steps, which the two clients carry out.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Optional, TypeVar

from .errors import AnswerError, ApiError, BusyError, UnavailableError, api_error

T = TypeVar("T")


class Door(enum.Enum):
    """Who lets a call in."""

    DATA_SERVICE = enum.auto()
    """Service accounts, or the operator."""
    OPERATOR = enum.auto()
    """The operator: SQL, writes."""
    TOKEN = enum.auto()
    """Nobody: the request itself proves who asks."""


@dataclass(frozen=True)
class Call:
    """A request, but for what proves who makes it."""

    method: str
    path: str
    operation: str
    """What it is called in errors."""
    query: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    content_type: str = "application/json"
    accept: str = "application/json"
    door: Door = Door.DATA_SERVICE
    idempotent: bool = True
    """Whether it does no harm to send it again, although it may have been carried out."""


@dataclass(frozen=True)
class Response:
    """An answer, whole. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""

    def json(self, operation: str) -> Any:
        """Read the body as JSON."""
        try:
            return json.loads(self.content)
        except ValueError as error:
            raise AnswerError(
                f"{operation}: status {self.status}, and the body is no JSON: {self.content[:200]!r}"
            ) from error


Flow = Generator[Call, Response, T]
"""An operation: what it asks, what it is told, what comes of it."""


def is_refusal(response: Response) -> bool:
    """Whether HTTP says that there is no result."""
    return not 200 <= response.status < 300


def refused(call: Call, response: Response) -> ApiError:
    """Make the error of an answer that HTTP calls a refusal."""
    code, reason, detail = response.status, f"HTTP status {response.status}", None
    try:
        body = json.loads(response.content)
    except ValueError:
        body = None
    if isinstance(body, dict):
        error = body.get("error")
        if isinstance(error, dict):  # /sql and /api
            reason = str(error.get("message", reason))
            if "line" in error:
                detail = f"line {error['line']}, column {error.get('column')}"
        elif isinstance(body.get("msg"), str):  # the envelope of the data service
            code = _code(body, response.status)
            reason, detail = body["msg"], body.get("submsg")
    made = api_error(code, response.status, reason, detail, call.operation)
    if isinstance(made, (BusyError, UnavailableError)):
        made.retry_after = retry_after(response)
    return made


def retry_after(response: Response) -> Optional[float]:
    """Read ``Retry-After`` where it is a number of seconds, as this server writes it."""
    try:
        return max(0.0, float(response.headers.get("retry-after", "")))
    except ValueError:
        return None


def data_of(call: Call, response: Response) -> tuple[Any, Optional[str]]:
    """Take ``data`` and ``submsg`` out of the envelope of the data service, v2.1 or v2.0."""
    body = response.json(call.operation)
    if not isinstance(body, dict):
        raise AnswerError(f"{call.operation}: expected an object, got {type(body).__name__}")
    code = _code(body, -1)
    if code != 0:
        raise api_error(code, response.status, str(body.get("msg")), body.get("submsg"), call.operation)
    submsg = body.get("submsg")
    return body.get("data"), submsg if isinstance(submsg, str) else None


def _code(body: Mapping[str, Any], default: int) -> int:
    code = body.get("code", body.get("status", default))
    return code if isinstance(code, int) else default
