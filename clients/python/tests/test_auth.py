"""Tokens and signatures of a client."""

from __future__ import annotations

import json

import httpx
import pytest

from conftest import Fake, ok
from wattline import AuthenticationError, ServiceAccount, TokenError
from wattline.signing import call_signature, token_encryption

ACCOUNT = ServiceAccount("demoKey", "demoSecret")
DENIED = httpx.Response(401, json={"code": 401, "msg": "unknown token", "submsg": None, "data": None})


class Service:
    """A token service and a data service; ``good`` is the token it takes."""

    def __init__(self) -> None:
        self.given = 0
        self.expire = 7200
        self.good = ""
        self.codes: list[int] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path.startswith("/apim-token-service/v2.0/token/"):
            asked = json.loads(request.content)
            assert asked["encryption"] == token_encryption("demoKey", asked["timestamp"], "demoSecret")
            code = self.codes.pop(0) if self.codes else 0
            if code:
                return httpx.Response(200, json={"status": code, "msg": "no", "data": None})
            self.given += 1
            self.good = f"tok-{self.given}"
            token = {"accessToken": self.good, "expire": self.expire}
            return httpx.Response(200, json={"status": 0, "msg": "SUCCESS", "data": token})
        head = request.headers
        shown = head.get("apim-accesstoken") or head.get("authorization", "").removeprefix("Bearer ")
        if shown != self.good:
            return DENIED
        if "apim-accesstoken" in head:
            query = list(request.url.params.multi_items())
            now = int(head["apim-timestamp"])
            assert head["apim-signature"] == call_signature(shown, query, request.content, now, "demoSecret")
        return ok([])


def test_a_token_is_got_once_and_calls_are_signed() -> None:
    service = Service()
    fake = Fake(service)
    client = fake.client(account=ACCOUNT)
    client.latest("a", "p")
    client.latest("b", "q")
    assert [request.url.path.rpartition("/")[2] for request in fake.asked] == ["get", "latest", "latest"]
    assert "authorization" not in fake.asked[1].headers


def test_a_token_alone() -> None:
    fake = Fake(Service())
    fake.client(account=ServiceAccount("demoKey", "demoSecret", sign=False)).latest("a", "p")
    assert fake.asked[1].headers["authorization"] == "Bearer tok-1"
    assert "apim-signature" not in fake.asked[1].headers


def test_a_token_is_refreshed_before_it_ends() -> None:
    service = Service()
    service.expire = 0
    fake = Fake(service)
    client = fake.client(account=ACCOUNT)
    client.latest("a", "p")
    client.latest("a", "p")
    # It cannot be refreshed: another one.
    service.codes = [1203]
    client.latest("a", "p")
    paths = [request.url.path.rpartition("/")[2] for request in fake.asked]
    assert paths == ["get", "latest", "refresh", "latest", "refresh", "get", "latest"]
    assert json.loads(fake.asked[2].content)["accessToken"] == "tok-1"


def test_a_restarted_server_gets_asked_for_another_token() -> None:
    service = Service()
    fake = Fake(service)
    client = fake.client(account=ACCOUNT)
    client.latest("a", "p")
    service.good = "none"
    client.latest("a", "p")
    assert service.given == 2


def test_one_that_is_never_good_ends_with_an_error() -> None:
    service = Service()

    def denies(request: httpx.Request) -> httpx.Response:
        return service(request) if "token" in request.url.path else DENIED

    fake = Fake(denies)
    with pytest.raises(AuthenticationError, match="unknown token"):
        fake.client(account=ACCOUNT).latest("a", "p")
    assert len(fake.asked) == 4


def test_refused_keys(pauses: list[float]) -> None:
    service = Service()
    service.codes = [1001, 1002]
    fake = Fake(service)
    with pytest.raises(TokenError) as raised:
        fake.client(account=ACCOUNT).latest("a", "p")
    assert raised.value.code == 1002
    assert len(pauses) == 1  # 1001: another client asked in the same millisecond


def test_the_operators_token_is_for_sql_and_an_account_for_data() -> None:
    service = Service()

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/sql":
            return httpx.Response(200, json={"columns": [], "rows": []})
        return service(request)

    fake = Fake(answer)
    client = fake.client(account=ACCOUNT, token="operator")
    client.sql("SELECT 1")
    client.latest("a", "p")
    assert fake.asked[0].headers["authorization"] == "Bearer operator"
    assert "authorization" not in fake.asked[2].headers
    alone = Fake(lambda _: ok([]))
    alone.client(token="operator").latest("a", "p")
    assert alone.asked[0].headers["authorization"] == "Bearer operator"


def test_secrets_are_not_shown() -> None:
    assert "demoSecret" not in repr(ACCOUNT)
