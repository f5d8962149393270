"""Answers as rows, DataFrames and Arrow tables; SQL; bodies of writes."""

from __future__ import annotations

import inspect
import json
from datetime import date, datetime, timedelta, timezone
from typing import Any

import httpx
import pytest

import wattline
from conftest import Fake, ok, refusal
from wattline import AnswerError, AsyncClient, Client, Sample, SamplesRejectedError, Series, SeriesSet
from wattline.samples import BODY_BYTES

UTC = timezone.utc
AT = 1709596800000  # 2024-03-05T00:00:00Z

SET = SeriesSet(
    [
        Series("b", "power", [AT, AT + 1000], [1.5, None], [0, None], ["2024-03-05T08:00:00.000+08:00"] * 2),
        Series("b", "state", [AT + 1000], [3]),
        Series("a", "power", [AT], [2.5], [9]),
    ]
)


def saying(answer: httpx.Response) -> Fake:
    return Fake(lambda _: answer)


def test_rows() -> None:
    assert len(SET) == 4
    first = SET.rows()[0]
    assert first == Sample("b", "power", datetime(2024, 3, 5, tzinfo=UTC), 1.5, 0, first.local_time)
    assert first.local_time is not None
    assert first.local_time.utcoffset() == timedelta(hours=8)
    assert first.local_time == first.time
    found = SET.get("a", "power")
    assert found is not None
    assert found.values == [2.5]
    assert SET.get("a", "state") is None


def test_data_frames() -> None:
    pd = pytest.importorskip("pandas")
    long = SET.to_pandas(tz="Asia/Shanghai")
    assert list(long.columns) == ["asset_id", "point", "time", "value", "quality"]
    assert long["time"][0] == pd.Timestamp("2024-03-05 08:00", tz="Asia/Shanghai")
    wide = SET.to_pandas("wide")
    assert list(wide.columns) == ["asset_id", "time", "power", "power_quality", "state"]
    assert wide["asset_id"].tolist() == ["b", "b", "a"]
    assert wide["power"].tolist()[::2] == [1.5, 2.5]
    assert wide["state"][1] == 3
    empty = SeriesSet().to_pandas()
    assert list(empty.columns) == ["asset_id", "point", "time", "value"]
    assert str(empty["time"].dt.tz) == "UTC"


def test_arrow_tables() -> None:
    pa = pytest.importorskip("pyarrow")
    long = SET.to_arrow()
    assert long.schema.field("time").type == pa.timestamp("ms", tz="UTC")
    assert long.schema.field("value").type == pa.float64()
    assert long.column("value").to_pylist() == [1.5, None, 3.0, 2.5]
    wide = SET.to_arrow("wide")
    assert wide.schema.field("state").type == pa.int64()
    assert wide.column("power_quality").to_pylist() == [0, None, 9]
    mixed = SeriesSet([Series("a", "p", [AT], ["text"]), Series("a", "q", [AT], [1])])
    with pytest.raises(ValueError, match="wide"):
        mixed.to_arrow()
    assert mixed.to_arrow("wide").column("p").to_pylist() == ["text"]


def test_answers_that_are_no_answers() -> None:
    for answer in (
        httpx.Response(200, content=b"<html>"),
        httpx.Response(200, json=[]),
        ok([{"assetId": "a"}]),
        ok([{"assetId": "a", "pointId": "p", "timestamp": [1, 2], "value": [1]}]),
        httpx.Response(200, json={"code": 0, "data": None}),
    ):
        with pytest.raises(AnswerError):
            saying(answer).client().latest("a", "p")


def test_refusals_have_their_class_and_say_what_was_called() -> None:
    with pytest.raises(wattline.InvalidRequestError, match="latest: Refused: startTime is required") as raised:
        Fake(lambda _: refusal(80400, "startTime is required")).client().latest("a", "p")
    assert (raised.value.code, raised.value.detail) == (80400, "startTime is required")
    by_status = {
        400: wattline.InvalidRequestError, 401: wattline.AuthenticationError, 403: wattline.PermissionDeniedError,
        404: wattline.NotFoundError, 409: wattline.ConflictError, 413: wattline.BodyTooLargeError,
        415: wattline.UnsupportedError, 422: wattline.LimitError, 429: wattline.BusyError,
        499: wattline.CancelledError, 500: wattline.ServerError, 503: wattline.UnavailableError,
        507: wattline.StorageFullError, 418: wattline.ApiError,
    }  # fmt: skip
    for status, kind in by_status.items():
        error = {"kind": "x", "message": "no column pwoer", "line": 1, "column": 8}
        answer = httpx.Response(status, json={"error": error})
        with pytest.raises(kind, match="no column pwoer: line 1, column 8"):
            saying(answer).client().sql("SELECT pwoer")


def test_durations_and_dead_checks() -> None:
    durations = [{"status": 0, "duration": 2273000}, {"status": "Unknown", "duration": 30000}]
    item = {"assetId": "a", "pointId": "p", "scanEndTimestamp": AT, "durations": durations}
    [lasted] = Fake(lambda _: ok([item])).client().di_duration("a", "p", "2024-03-05", "2024-03-06", status=[0, 1])
    assert lasted.durations == {0: timedelta(seconds=2273)}
    assert lasted.unknown == timedelta(seconds=30)
    assert lasted.scan_end == datetime(2024, 3, 5, tzinfo=UTC)
    dead = {"assetId": "a", "pointId": "p", "duration": 735000, "judgeResult": True, "lastChangedValue": 7.9}
    fake = Fake(lambda _: ok([{**dead, "lastChangedTimestamp": AT}]))
    [check] = fake.client().check_dead([("a", "p", timedelta(minutes=10))])
    assert (check.is_dead, check.unchanged_for) == (True, timedelta(seconds=735))
    assert fake.bodies() == [{"payload": [{"assetId": "a", "pointId": "p", "interval": 600000}]}]


def test_sql_values_have_their_types() -> None:
    columns = [("t", "timestamptz"), ("n", "timestamp"), ("d", "date"), ("x", "float64")]
    body = {
        "columns": [{"name": name, "type": kind} for name, kind in columns],
        "rows": [["2026-01-01T00:00:00.000000001Z", "2026-01-01T00:00:00", "2026-01-01", None]],
        "rows_count": 1,
    }
    fake = Fake(lambda _: httpx.Response(200, json=body))
    result = fake.client().sql("SELECT $1", [datetime(2026, 1, 1, tzinfo=UTC)])
    assert result.rows == [(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1), date(2026, 1, 1), None)]
    assert result.dicts()[0]["x"] is None
    assert fake.bodies()[0]["params"] == ["2026-01-01T00:00:00+00:00"]
    broken = {**body, "rows_count": None, "error": {"kind": "limit", "message": "too much"}}
    with pytest.raises(wattline.ApiError, match="too much"):
        Fake(lambda _: httpx.Response(200, json=broken)).client().sql("SELECT 1")


def written(request: httpx.Request) -> httpx.Response:
    rows = len(request.content.split(b"\n"))
    rejects = [{"row": rows - 1, "field": "p", "reason": "expected a number"}]
    return httpx.Response(200, json={"rows": rows, "samples": rows - 1, "rejected": 1, "rejects": rejects})


def test_rows_are_written_in_bodies_of_some_megabytes() -> None:
    fake = Fake(written)
    text = "x" * 1000
    rows = ({"asset_id": "a", "time": datetime(2024, 3, 5, tzinfo=UTC), "p": text, "q": None} for _ in range(20_000))
    result = fake.client().write("m/1", rows, strict=False)
    assert fake.asked[0].url.raw_path == b"/api/v1/models/m%2F1/samples?org=default"
    assert result.rows == 20_000
    assert len(fake.asked) == 3
    assert all(len(request.content) <= BODY_BYTES + 2_000 for request in fake.asked)
    assert [reject.row for reject in result.rejects][-1] == 19_999  # of the whole input
    first = json.loads(fake.asked[0].content.split(b"\n")[0])
    assert first == {"asset_id": "a", "time": "2024-03-05T00:00:00+00:00", "p": text}


def test_times_of_samples_need_a_zone() -> None:
    row: dict[str, Any] = {"asset_id": "a", "time": datetime(2024, 3, 5, 8), "p": 1}
    fake = Fake(written)
    with pytest.raises(ValueError, match="row 0: time 2024-03-05 08:00:00 has no zone"):
        fake.client().write("m", [row])
    with pytest.raises(SamplesRejectedError, match="row 0, p: expected a number") as raised:
        fake.client().write("m", [row], zone="Asia/Shanghai")
    assert raised.value.result.samples == 0
    assert json.loads(fake.asked[0].content)["time"] == "2024-03-05T00:00:00+00:00"
    for wrong in ({"asset_id": "a", "p": 1}, {**row, "p": float("nan")}, {**row, "p": object()}):
        with pytest.raises((ValueError, TypeError), match="row 0"):
            fake.client().write("m", [wrong], zone="UTC")
    with pytest.raises(TypeError, match="rows"):
        fake.client().write("m", row)


def test_both_clients_have_the_same_methods() -> None:
    def methods(client: type) -> dict[str, inspect.Signature]:
        own = inspect.getmembers(client, inspect.isfunction)
        return {name: inspect.signature(method) for name, method in own if not name.startswith("_")}

    assert methods(Client) == methods(AsyncClient)
    for name, method in inspect.getmembers(AsyncClient, inspect.isfunction):
        assert name.startswith("__") or inspect.iscoroutinefunction(method), name
