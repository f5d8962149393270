"""What both clients say to httpx, and how they read what it says.

Owns: everything that depends on httpx but for sending itself.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable
from types import FrameType
from typing import Any, Optional, Union

import httpx

from . import _version
from .calls import Call, Response
from .errors import PartialResultWarning, RequestTimeoutError, TransportError, UnreachedError

# Where connections are refused or nobody answers, the server has seen nothing.
_UNREACHED = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


def settings(url: str, timeout: Union[float, httpx.Timeout]) -> dict[str, Any]:
    """Arguments of both kinds of httpx client."""
    return {
        "base_url": url.rstrip("/"),
        "timeout": timeout,
        "headers": {"user-agent": f"wattline-python/{_version.__version__}"},
        "follow_redirects": False,
    }


def received(response: httpx.Response) -> Response:
    """An answer of httpx as operations know it."""
    return Response(response.status_code, response.headers, response.content)


def failed(call: Call, error: httpx.RequestError) -> TransportError:
    """An error of httpx as callers know it."""
    kind = TransportError
    if isinstance(error, _UNREACHED):
        kind = UnreachedError
    elif isinstance(error, httpx.TimeoutException):
        kind = RequestTimeoutError
    made = kind(f"{call.operation}: {error or type(error).__name__}")
    made.__cause__ = error
    return made


def note(refused: Iterable[str]) -> None:
    """Warn the caller of a client's method where an answer is of a part of the assets only."""
    names = list(refused)
    if not names:
        return
    some = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    frame: Optional[FrameType] = sys._getframe(1)
    level = 2
    while frame is not None and str(frame.f_globals.get("__name__")).startswith("wattline."):
        frame, level = frame.f_back, level + 1
    warnings.warn(f"no permission for these assets: {some}", PartialResultWarning, stacklevel=level)
