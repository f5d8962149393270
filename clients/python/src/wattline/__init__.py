"""Client of Wattline, a time-series database for energy and industrial IoT.

Reading order: :mod:`~wattline.client` and :mod:`~wattline.aio` carry out steps; :mod:`~wattline.session` makes steps of
calls (who calls, attempts); :mod:`~wattline.operations`, :mod:`~wattline.sql` and :mod:`~wattline.samples` make calls
of what is asked; :mod:`~wattline.paging` keeps reads within the limits of a call; :mod:`~wattline.results` is what
comes back. Only the two clients and :mod:`~wattline.wire` know httpx, and only the clients send.
"""

from __future__ import annotations

from ._version import __version__
from .aio import AsyncClient
from .auth import ServiceAccount
from .client import Client
from .errors import (
    AnswerError,
    ApiError,
    AuthenticationError,
    BodyTooLargeError,
    BusyError,
    CancelledError,
    ConflictError,
    InvalidRequestError,
    LimitError,
    NotFoundError,
    PartialResultWarning,
    PermissionDeniedError,
    RequestTimeoutError,
    ResultTooLargeError,
    SamplesRejectedError,
    ServerError,
    StorageFullError,
    TokenError,
    TransportError,
    UnavailableError,
    UnreachedError,
    UnsupportedError,
    WattlineError,
)
from .results import DeadCheck, Sample, Series, SeriesSet, StateDurations
from .retry import NEVER, Retry
from .samples import Reject, WriteResult
from .sql import Change, Column, SqlResult

__all__ = [
    "NEVER",
    "AnswerError",
    "ApiError",
    "AsyncClient",
    "AuthenticationError",
    "BodyTooLargeError",
    "BusyError",
    "CancelledError",
    "Change",
    "Client",
    "Column",
    "ConflictError",
    "DeadCheck",
    "InvalidRequestError",
    "LimitError",
    "NotFoundError",
    "PartialResultWarning",
    "PermissionDeniedError",
    "Reject",
    "RequestTimeoutError",
    "ResultTooLargeError",
    "Retry",
    "Sample",
    "SamplesRejectedError",
    "Series",
    "SeriesSet",
    "ServerError",
    "ServiceAccount",
    "SqlResult",
    "StateDurations",
    "StorageFullError",
    "TokenError",
    "TransportError",
    "UnavailableError",
    "UnreachedError",
    "UnsupportedError",
    "WattlineError",
    "WriteResult",
    "__version__",
]
