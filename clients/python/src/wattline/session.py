"""From operations to steps: proving who calls, attempts, tokens that ended.

An operation yields calls. :meth:`Session.steps` turns it into exchanges and pauses, which a client carries out:
blocking or not. So there is one code for both kinds of client.
"""

from __future__ import annotations

import random
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Callable, Optional, TypeVar, Union

from .auth import Credentials, ServiceAccount
from .calls import Call, Flow, Response, is_refusal, refused, retry_after
from .errors import AuthenticationError, TransportError, UnreachedError
from .retry import Pause, Retry

T = TypeVar("T")


@dataclass(frozen=True)
class Exchange:
    """A step: send this, and bring the answer."""

    call: Call
    headers: dict[str, str]

    def request(self) -> dict[str, Any]:
        """Make the arguments of httpx's ``request``."""
        call = self.call
        headers = {**self.headers, "accept": call.accept}
        if call.method != "GET":
            headers["content-type"] = call.content_type
        return {
            "method": call.method,
            "url": call.path,
            "params": list(call.query),
            "content": call.body or None,
            "headers": headers,
        }


Step = Union[Exchange, Pause]
Steps = Generator[Step, Optional[Response], T]


class Session:
    """What all operations of a client share."""

    def __init__(
        self,
        account: Optional[ServiceAccount],
        operator_token: Optional[str],
        retry: Retry,
        clock: Callable[[], float] = time.monotonic,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.credentials = Credentials(account, operator_token, clock, wall_ms)
        self._retry = retry
        self._clock = clock
        self._chance = chance

    def steps(self, flow: Flow[T]) -> Steps[T]:
        """Carry an operation through."""
        try:
            call = next(flow)
            while True:
                try:
                    response = yield from self._authorized(call)
                except Exception as error:
                    call = flow.throw(error)
                else:
                    call = flow.send(response)
        except StopIteration as stop:
            result: T = stop.value
            return result

    def _authorized(self, call: Call) -> Steps[Response]:
        """Make a call; once more where its token was not good any more (the server was restarted)."""
        if not self.credentials.uses_account(call):
            return (yield from self._attempts(call))
        yield from self._fresh()
        shown = self.credentials.token
        try:
            return (yield from self._attempts(call))
        except AuthenticationError:
            self.credentials.forget(shown)
            yield from self._fresh()
            return (yield from self._attempts(call))

    def _fresh(self) -> Steps[None]:
        wanted = self.credentials.fresh()
        try:
            step = next(wanted)
            while True:
                if isinstance(step, Pause):
                    yield step
                    step = next(wanted)
                    continue
                try:
                    response = yield from self._attempts(step)
                except Exception as error:
                    step = wanted.throw(error)
                else:
                    step = wanted.send(response)
        except StopIteration:
            return

    def _attempts(self, call: Call) -> Steps[Response]:
        begin = self._clock()
        attempt = 0
        while True:
            attempt += 1
            asked_for: Optional[float] = None
            error: Exception
            try:
                response = yield Exchange(call, self.credentials.headers(call))
            except UnreachedError as unreached:
                error, again = unreached, True
            except TransportError as broken:
                error, again = broken, call.idempotent
            else:
                if response is None:
                    raise AssertionError("an exchange has an answer")
                if not is_refusal(response):
                    return response
                error = refused(call, response)
                again = response.status == 429 or (response.status == 503 and call.idempotent)
                asked_for = retry_after(response)
            wait = self._retry.wait(attempt, asked_for, self._clock() - begin, self._chance()) if again else None
            if wait is None:
                raise error
            yield Pause(wait)
