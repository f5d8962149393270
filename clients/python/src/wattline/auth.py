"""Who calls: service accounts with tokens and signed calls, or the operator's token.

Owns: which headers prove it, and when a new token is needed. Does not own: sending anything.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Callable, Optional, Union

from .calls import Call, Door, Response, is_refusal, refused
from .errors import AnswerError, TokenError
from .retry import Pause
from .signing import call_signature, token_encryption

TOKEN_PATH = "/apim-token-service/v2.0/token/"  # noqa: S105

# A token is replaced this long before it ends, so that none ends on its way.
_MARGIN_SECONDS = 60.0

# The same account in the same millisecond, from somewhere else.
_DUPLICATE = 1001
_DUPLICATES_MAX = 10


@dataclass(frozen=True)
class ServiceAccount:
    """The keys of a service account, as ``wattline service-account create`` shows them.

    Each call is signed. With ``sign=False`` a call shows its token alone, which is enough where the connection is
    encrypted or local, and saves hashing every body.
    """

    access_key: str
    secret: str = field(repr=False)
    sign: bool = True


@dataclass
class Token:
    """An access token, and until when it is good by the clock of whoever got it."""

    text: str = field(repr=False)
    good_until: float


TokenStep = Union[Call, Pause]


class Credentials:
    """What a client proves itself with. Threads may share it: two that ask at once get the same token."""

    def __init__(
        self,
        account: Optional[ServiceAccount],
        operator_token: Optional[str],
        clock: Callable[[], float],
        wall_ms: Callable[[], int],
    ) -> None:
        self.account = account
        self._operator_token = operator_token
        self._clock = clock
        self._wall_ms = wall_ms
        self._token: Optional[Token] = None

    def uses_account(self, call: Call) -> bool:
        """Whether a token of the service account is needed for ``call``."""
        return call.door is Door.DATA_SERVICE and self.account is not None

    def forget(self, token: Optional[str]) -> None:
        """Give up a token that the server does not take any more, unless it was replaced already."""
        if self._token is not None and self._token.text == token:
            self._token = None

    @property
    def token(self) -> Optional[str]:
        """The token that calls show at present."""
        return self._token.text if self._token is not None else None

    def fresh(self) -> Generator[TokenStep, Response, None]:
        """Get a token where there is none, and another one where it is about to end."""
        if self.account is None:
            return
        known = self._token
        if known is not None and self._clock() < known.good_until:
            return
        if known is not None:
            try:
                self._token = yield from self._ask("refresh", self.account, known.text)
                return
            except TokenError:
                pass  # it has ended, or the server was restarted
        self._token = yield from self._ask("get", self.account, None)

    def _ask(self, what: str, account: ServiceAccount, known: Optional[str]) -> Generator[TokenStep, Response, Token]:
        for _ in range(_DUPLICATES_MAX):
            asked_at = self._clock()
            now = self._wall_ms()
            body = {
                "appKey": account.access_key,
                "encryption": token_encryption(account.access_key, now, account.secret),
                "timestamp": now,
            }
            if known is not None:
                body["accessToken"] = known
            call = Call("POST", TOKEN_PATH + what, f"token/{what}", body=json.dumps(body).encode(), door=Door.TOKEN)
            response = yield call
            if is_refusal(response):
                raise refused(call, response)
            answer = response.json(call.operation)
            code = answer.get("status", answer.get("code")) if isinstance(answer, dict) else None
            if code == _DUPLICATE:
                yield Pause(0.003)
                continue
            if code != 0:
                reason = str(answer.get("msg")) if isinstance(answer, dict) else "no answer of the token service"
                raise TokenError(code if isinstance(code, int) else -1, response.status, reason, None, call.operation)
            try:
                text, seconds = str(answer["data"]["accessToken"]), float(answer["data"]["expire"])
            except (KeyError, TypeError, ValueError) as error:
                raise AnswerError(f"{call.operation}: the answer has no token") from error
            return Token(text, asked_at + max(0.0, seconds - min(_MARGIN_SECONDS, seconds / 2)))
        raise TokenError(_DUPLICATE, 200, "others ask for this account's token all the time", None, f"token/{what}")

    def headers(self, call: Call) -> dict[str, str]:
        """Make the headers that prove who makes ``call``, now."""
        if self.uses_account(call) and self.account is not None and self._token is not None:
            token = self._token.text
            if not self.account.sign:
                return {"authorization": f"Bearer {token}"}
            now = self._wall_ms()
            signature = call_signature(token, call.query, call.body, now, self.account.secret)
            return {"apim-accesstoken": token, "apim-timestamp": str(now), "apim-signature": signature}
        if call.door is not Door.TOKEN and self._operator_token is not None:
            return {"authorization": f"Bearer {self._operator_token}"}
        return {}
