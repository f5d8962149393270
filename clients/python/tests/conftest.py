"""What tests share: a server that answers from memory, and the real one where there is one."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import Any, Callable, Union

import httpx
import pytest

from wattline import NEVER, Client, Retry

Answer = Union[httpx.Response, Exception]


@dataclass
class Fake:
    """A server: what it was asked, and how it answers."""

    answer: Callable[[httpx.Request], Answer]
    asked: list[httpx.Request] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answer(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(request.content) for request in self.asked]

    def client(self, retry: Retry = NEVER, **options: Any) -> Client:
        return Client("http://fake", retry=retry, transport=httpx.MockTransport(self), **options)


def ok(items: list[Any], submsg: Any = None) -> httpx.Response:
    return httpx.Response(200, json={"code": 0, "msg": "OK", "submsg": submsg, "data": {"items": items}})


def refusal(code: int, submsg: str, status: int = 200) -> httpx.Response:
    return httpx.Response(status, json={"code": code, "msg": "Refused", "submsg": submsg, "data": None})


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that clients make, which take no time."""
    made: list[float] = []
    monkeypatch.setattr("wattline.client.time.sleep", made.append)
    return made


@dataclass(frozen=True)
class Real:
    """The real server."""

    url: str
    """One where nobody has to prove anything, at first."""
    guarded_url: str
    """One with an operator's token."""
    operator_token: str


@pytest.fixture(scope="session")
def real() -> Real:
    """The real server; tests that want it are left out where there is none."""
    names = ("WATTLINE_TEST_URL", "WATTLINE_TEST_GUARDED_URL", "WATTLINE_TEST_TOKEN")
    values = [os.environ.get(name, "") for name in names]
    if not all(values):
        pytest.skip("no server: WATTLINE_TEST_URL is not set (the repository's end-to-end tests set it)")
    return Real(*values)
