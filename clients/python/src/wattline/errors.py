"""What can go wrong, by what the caller should do about it.

Every error of this package is a :class:`WattlineError`. What a server answered is an :class:`ApiError` of the class
that belongs to its code; what never became an answer is a :class:`TransportError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    from .samples import WriteResult


class WattlineError(Exception):
    """The base of all errors of this package."""


class TransportError(WattlineError):
    """There is no answer: no connection, or one that broke."""


class UnreachedError(TransportError):
    """The server was not reached: nothing can have been done."""


class RequestTimeoutError(TransportError):
    """There was no answer in time."""


class AnswerError(WattlineError):
    """An answer that is not what the server is documented to send."""


class ApiError(WattlineError):
    """The server refused, or failed.

    Attributes:
        code: the code of the answer's envelope, or HTTP's status where there is none.
        status: HTTP's status.
        reason: the server's message.
        detail: what is wrong in particular, where the server says so.
        operation: what was called.

    """

    def __init__(self, code: int, status: int, reason: str, detail: Optional[str] = None, operation: str = "") -> None:
        self.code = code
        self.status = status
        self.reason = reason
        self.detail = detail
        self.operation = operation
        text = f"{reason}: {detail}" if detail else reason
        super().__init__(f"{operation}: {text} (code {code})" if operation else f"{text} (code {code})")


class InvalidRequestError(ApiError):
    """A parameter is missing or wrong (80400; 400). Fix the call."""


class ResultTooLargeError(InvalidRequestError):
    """The answer would be too large: 640,000 rows, 64 MiB of texts, 128 MiB in all. Reads make smaller calls first."""


class AuthenticationError(ApiError):
    """The caller did not prove who they are (401)."""


class TokenError(AuthenticationError):
    """No token was given for these keys (codes 1001 to 1204)."""


class PermissionDeniedError(ApiError):
    """None of the assets, or the model, is the caller's (80401; 403)."""


class NotFoundError(ApiError):
    """It does not exist (404)."""


class ConflictError(ApiError):
    """It contradicts what exists (409)."""


class BodyTooLargeError(ApiError):
    """Too much was sent at once (413)."""


class UnsupportedError(ApiError):
    """The server does not know this form (405, 415): it may be older than this package."""


class LimitError(ApiError):
    """A statement passed a limit of time, memory or rows (408, 422). Ask for less."""


class CancelledError(ApiError):
    """Somebody ended the statement with KILL (499)."""


class BusyError(ApiError):
    """The server is busy (429), and was so at every attempt.

    Attributes:
        retry_after: after how many seconds the server wanted to be asked again, where it said so.

    """

    retry_after: Optional[float] = None


class UnavailableError(ApiError):
    """The server starts, stops or took too long (503), and did so at every attempt."""

    retry_after: Optional[float] = None


class ServerError(ApiError):
    """The server failed (80500; 500). Its log says why."""


class StorageFullError(ApiError):
    """The server's disk is full (507)."""


class SamplesRejectedError(WattlineError):
    """Some samples were refused; all others are stored.

    Attributes:
        result: what was written, and what was refused and why.

    """

    def __init__(self, result: WriteResult) -> None:
        self.result = result
        first = result.rejects[0] if result.rejects else None
        example = f": row {first.row}, {first.field or 'the whole row'}: {first.reason}" if first else ""
        super().__init__(f"{result.rejected} refused, {result.samples} samples stored{example}")


class PartialResultWarning(UserWarning):
    """Some of the assets asked for are not the caller's; the answer is of the others."""


_BY_CODE: dict[int, type[ApiError]] = {
    80400: InvalidRequestError,
    80401: PermissionDeniedError,
    80500: ServerError,
    400: InvalidRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    405: UnsupportedError,
    408: LimitError,
    409: ConflictError,
    413: BodyTooLargeError,
    415: UnsupportedError,
    422: LimitError,
    429: BusyError,
    499: CancelledError,
    500: ServerError,
    503: UnavailableError,
    507: StorageFullError,
}

# v2.1 has one code for all that is wrong with a request; this is how the refusal of a large answer begins.
_TOO_LARGE = "result set too large"


def api_error(code: int, status: int, reason: str, detail: Optional[str] = None, operation: str = "") -> ApiError:
    """Make the error of a refusal, of the class that belongs to its code."""
    kind = _BY_CODE.get(code) or _BY_CODE.get(status) or ApiError
    if kind is InvalidRequestError and _TOO_LARGE in (detail or reason):
        kind = ResultTooLargeError
    return kind(code, status, reason, detail, operation)
