"""When a call is made again."""

from __future__ import annotations

import httpx
import pytest

from conftest import Fake, ok
from wattline import (
    NEVER,
    BusyError,
    RequestTimeoutError,
    Retry,
    ServerError,
    TransportError,
    UnavailableError,
    UnreachedError,
)

ROW = {"assetId": "a", "pointId": "p", "timestamp": [1], "value": [2.5]}
BUSY = httpx.Response(429, headers={"retry-after": "7"}, json={"error": {"kind": "busy", "message": "full"}})
WRITTEN = httpx.Response(200, json={"rows": 1, "samples": 1, "rejected": 0, "rejects": []})
CHANGED = httpx.Response(200, json={"tag": "INSERT", "changed": 1, "job": None})


def in_turn(*answers: httpx.Response | Exception) -> Fake:
    left = list(answers)
    return Fake(lambda _: left.pop(0))


def test_waits_double_and_vary_by_half() -> None:
    retry = Retry(attempts=4, first_seconds=1, longest_seconds=3, total_seconds=60)
    assert [retry.wait(n, None, 0, 1.0) for n in (1, 2, 3, 4)] == [1, 2, 3, None]
    assert [retry.wait(n, None, 0, 0.0) for n in (1, 2, 3)] == [0.5, 1, 1.5]
    assert retry.wait(1, 5.0, 0, 0.0) == 5.0
    assert retry.wait(1, None, 59.8, 1.0) is None
    assert NEVER.wait(1, 1.0, 0, 0.0) is None
    with pytest.raises(ValueError, match="attempts"):
        Retry(attempts=0)


def test_a_busy_server_is_asked_again_when_it_said_so(pauses: list[float]) -> None:
    fake = in_turn(BUSY, httpx.Response(503), httpx.ConnectError("refused"), httpx.ReadError("broken"), ok([ROW]))
    assert len(fake.client(Retry()).latest("a", "p")) == 1
    assert len(fake.asked) == 5
    assert pauses[0] == 7.0
    assert all(0 < pause <= 10 for pause in pauses[1:])


def test_patience_ends(pauses: list[float]) -> None:
    with pytest.raises(BusyError, match="full") as raised:
        in_turn(BUSY, BUSY).client(Retry(attempts=2)).latest("a", "p")
    assert raised.value.retry_after == 7.0
    with pytest.raises(UnavailableError):
        in_turn(httpx.Response(503)).client().latest("a", "p")
    with pytest.raises(UnreachedError):
        in_turn(httpx.ConnectError("refused")).client().latest("a", "p")
    with pytest.raises(RequestTimeoutError):
        in_turn(httpx.ReadTimeout("slow")).client().latest("a", "p")


def test_failures_are_not_tried_again(pauses: list[float]) -> None:
    with pytest.raises(ServerError):
        in_turn(httpx.Response(500)).client(Retry()).latest("a", "p")
    assert pauses == []


def test_samples_are_sent_again(pauses: list[float]) -> None:
    fake = in_turn(httpx.ReadError("broken"), httpx.Response(503), WRITTEN)
    assert fake.client(Retry()).write("m", [{"asset_id": "a", "time": 1, "p": 2}]).samples == 1
    assert len({request.content for request in fake.asked}) == 1


def test_changes_are_made_again_only_if_nothing_was_done(pauses: list[float]) -> None:
    fake = in_turn(BUSY, httpx.ConnectError("refused"), CHANGED)
    change = fake.client(Retry()).execute("INSERT INTO t VALUES (1)")
    assert (change.tag, change.changed) == ("INSERT", 1)
    for failure in (httpx.ReadError("broken"), httpx.Response(503)):
        with pytest.raises((TransportError, UnavailableError)):
            in_turn(failure).client(Retry()).execute("  -- why\n DELETE FROM t")
    rows = httpx.Response(200, json={"columns": [{"name": "a", "type": "int64"}], "rows": [[1]], "rows_count": 1})
    fake = in_turn(httpx.ReadError("broken"), rows)
    assert fake.client(Retry()).sql("-- why\n SELECT 1 AS a").rows == [(1,)]
