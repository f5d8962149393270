"""Against the real server: every operation, with figures worked out by hand."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

import wattline
from conftest import Real
from wattline import AsyncClient, Client, ServiceAccount

BERLIN = ZoneInfo("Europe/Berlin")
UTC = timezone.utc
# Midnight in Berlin before the day of 25 hours.
MIDNIGHT = datetime(2024, 10, 27, tzinfo=BERLIN).astimezone(UTC)
NEXT = datetime(2024, 10, 28, tzinfo=BERLIN).astimezone(UTC)

MODEL = {
    "modelId": "pyturbine",
    "points": {
        "wind": {"dataType": "DOUBLE", "signalType": "AI", "hasQuality": True},
        "state": {"dataType": "INT", "signalType": "DI"},
        "energy": {"dataType": "DOUBLE", "signalType": "PI"},
        "note": {"dataType": "STRING", "signalType": "Generic"},
    },
}

numbers = itertools.count()


class Fleet:
    """A model with two assets in Berlin, of which a day of minutes is known: at minute i, wind is i."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self.url = url
        self.model = f"pyturbine{next(numbers)}"
        http = httpx.Client(base_url=url, headers=headers)

        def made(path: str, body: Any) -> Any:
            answer = http.post(f"/api/v1/{path}", json=body)
            assert answer.status_code == 201, answer.text
            return answer.json()

        made("models", {**MODEL, "modelId": self.model})
        made("products", {"modelId": self.model, "productKey": self.model})
        devices = [
            {
                "productKey": self.model,
                "deviceKey": f"d{i}",
                "assetId": f"{self.model}-{i}",
                "timezone": "Europe/Berlin",
            }
            for i in range(2)
        ]
        self.assets = [device["assetId"] for device in made("devices", devices)]
        self.keys = made("service-accounts", {"name": self.model})
        http.close()

    def rows(self) -> Iterator[dict[str, Any]]:
        for asset in self.assets:
            for minute in range(25 * 60):
                row = {"asset_id": asset, "time": MIDNIGHT + timedelta(minutes=minute), "wind": float(minute)}
                if minute % 60 == 0:
                    row.update(energy=0.5, state=minute // 60 % 2, wind_quality=3)
                yield row


@pytest.fixture(scope="module")
def guarded(real: Real) -> Iterator[tuple[Client, Fleet]]:
    """A client with a service account for data and the operator's token for the rest, and its fleet."""
    fleet = Fleet(real.guarded_url, {"authorization": f"Bearer {real.operator_token}"})
    account = ServiceAccount(fleet.keys["accessKey"], fleet.keys["secretKey"])
    with Client(real.guarded_url, account=account, token=real.operator_token) as client:
        result = client.write(fleet.model, fleet.rows())
        assert (result.rows, result.samples, result.rejected) == (3_000, 3_000 + 100, 0)
        yield client, fleet


def test_newest_values(guarded: tuple[Client, Fleet]) -> None:
    client, fleet = guarded
    found = client.latest(fleet.assets, ["wind", "state"], with_local_time=True)
    assert [(s.asset_id, s.point, s.value) for s in found] == [
        (asset, point, value) for asset in fleet.assets for point, value in (("wind", 1499.0), ("state", 0))
    ]
    wind = found.rows()[0]
    assert wind.time == NEXT - timedelta(minutes=1)
    assert wind.local_time is not None
    assert wind.local_time.utcoffset() == timedelta(hours=1)
    assert len(client.latest(fleet.assets, "wind", time_window=timedelta(hours=1))) == 0
    met = client.filter_latest(fleet.model, fleet.assets, "wind", "between", [1499, 2000])
    assert [one.asset_id for one in met.series] == fleet.assets
    assert client.filter_latest(fleet.model, None, "wind", "ge", 1499).rows() == met.rows()
    assert len(client.filter_latest(fleet.model, fleet.assets, "state", "in", [5, 6])) == 0


def test_history_of_instants_and_of_clocks(guarded: tuple[Client, Fleet], monkeypatch: pytest.MonkeyPatch) -> None:
    client, fleet = guarded
    day = client.raw(fleet.assets, "wind", MIDNIGHT, NEXT)
    assert [len(one) for one in day.series] == [1500, 1500]
    assert sum(s.value for s in day if isinstance(s.value, float)) == 2 * 1499 * 1500 / 2
    local = client.raw(fleet.assets, "wind", datetime(2024, 10, 27), datetime(2024, 10, 28))
    assert local.rows() == day.rows()
    # Small pages, begun and ended within the hour that comes twice, give the same.
    monkeypatch.setattr("wattline.paging.PAGE_ROWS", 37)
    monkeypatch.setattr("wattline.paging.LONG_PAGE_ROWS", 50)
    for start, end in [(MIDNIGHT, NEXT), (datetime(2024, 10, 27), datetime(2024, 10, 28))]:
        assert client.raw(fleet.assets, ["wind", "note"], start, end).rows() == day.rows()
    ends = client.ai(fleet.assets[0], "wind", MIDNIGHT + timedelta(minutes=10), NEXT, boundary="outside", limit=2)
    assert [s.value for s in ends] == [9.0, 10.0]
    newest = client.raw(fleet.assets[0], "wind", MIDNIGHT, NEXT, order="desc", limit=2, with_quality=True)
    assert [(s.value, s.quality) for s in newest] == [(1499.0, 0), (1498.0, 0)]
    sampled = client.raw(
        fleet.assets[0], "wind", MIDNIGHT, MIDNIGHT + timedelta(minutes=2), boundary="sample", interval=30
    )
    assert [s.value for s in sampled] == [0.0, 0.5, 1.0, 1.5]


def test_aggregates_on_a_day_of_25_hours(guarded: tuple[Client, Fleet], monkeypatch: pytest.MonkeyPatch) -> None:
    client, fleet = guarded
    days = client.ai_normalized(
        fleet.assets, "wind", "2024-10-27", "2024-10-29", functions=["count", "avg"], interval=timedelta(days=1)
    )
    assert [(one.point, one.values) for one in days.series[:2]] == [("count(wind)", [1500]), ("avg(wind)", [749.5])]
    ten = client.ai_normalized(fleet.assets[0], "wind", MIDNIGHT, NEXT, functions="sum", interval=10)
    assert len(ten) == 150
    assert ten.rows()[149].value == sum(range(1490, 1500))
    monkeypatch.setattr("wattline.paging.PAGE_ROWS", 60)
    for start, end in [(MIDNIGHT, NEXT), (datetime(2024, 10, 27), datetime(2024, 10, 28))]:
        whole = client.ai_normalized(fleet.assets[0], "wind", start, end, functions="sum", interval=10)
        assert sum(s.value for s in whole if isinstance(s.value, float)) == 1499 * 1500 / 2
        # Local buckets of the hour that comes twice are of that hour's length more.
        assert len(whole) == (150 if start.tzinfo else len(whole))
    minutes = client.ai_normalized(fleet.assets[0], "wind", MIDNIGHT, MIDNIGHT + timedelta(hours=3))
    assert [s.value for s in minutes] == [float(i) for i in range(180)]
    energy = client.electric_power(fleet.assets, "energy", MIDNIGHT, NEXT, functions="sum", interval=1440)
    assert [one.values for one in energy.series] == [[12.0, 0.5]] * 2
    assert len(client.current_day(fleet.assets, "energy")) == 0


def test_today(guarded: tuple[Client, Fleet]) -> None:
    client, fleet = guarded
    now = datetime.now(UTC)
    client.write(fleet.model, [{"asset_id": fleet.assets[1], "time": now, "energy": 2.5}])
    [today] = client.current_day(fleet.assets, "energy").series
    assert (today.asset_id, today.point, today.values) == (fleet.assets[1], "sum(energy)", [2.5])


def test_states(guarded: tuple[Client, Fleet]) -> None:
    client, fleet = guarded
    changes = client.di(fleet.assets, "state", MIDNIGHT + timedelta(minutes=30), NEXT, interpolate=True)
    assert [s.value for s in changes.series[0]] == [i % 2 for i in range(25)]
    assert changes.rows()[0].time == MIDNIGHT + timedelta(minutes=30)
    lasted = client.di_duration(fleet.assets[0], "state", MIDNIGHT, NEXT)
    assert lasted[0].durations == {0: timedelta(hours=12), 1: timedelta(hours=12)}
    assert lasted[0].scan_end == MIDNIGHT + timedelta(hours=24)


def test_the_rest(guarded: tuple[Client, Fleet]) -> None:
    client, fleet = guarded
    client.write(fleet.model, [{"asset_id": fleet.assets[0], "time": MIDNIGHT, "note": "yaw, limit"}])
    start, end = MIDNIGHT, MIDNIGHT + timedelta(minutes=1)
    assert [s.value for s in client.generic(fleet.assets, "note", start, end)] == ["yaw, limit"]
    assert [s.value for s in client.unified_raw(fleet.assets[0], ["wind", "reg"], start, end)] == [0.0]
    assert len(client.unformatted(fleet.assets, "reg", start, end)) == 0
    assert len(client.last_changed(fleet.assets, "state")) == 0  # no policy keeps that
    assert client.check_dead([(fleet.assets[0], "wind", 600_000)]) == []
    assert client.storage_types(fleet.model, ["wind", "state"]) == {fleet.model: {"wind": ["AI_RAW"], "state": ["DI"]}}


def test_what_is_not_the_callers(guarded: tuple[Client, Fleet]) -> None:
    client, fleet = guarded
    with pytest.warns(wattline.PartialResultWarning, match="nobody"):
        assert client.latest([fleet.assets[0], "nobody"], "wind").refused == ("nobody",)
    with pytest.raises(wattline.PermissionDeniedError):
        client.latest("nobody", "wind")
    with pytest.raises(wattline.InvalidRequestError, match="not in the model"):
        client.latest(fleet.assets, "nothing")


def test_access(real: Real, guarded: tuple[Client, Fleet]) -> None:
    _, fleet = guarded
    keys = fleet.keys["accessKey"], fleet.keys["secretKey"]
    with Client(real.guarded_url) as nobody:
        with pytest.raises(wattline.AuthenticationError):
            nobody.latest(fleet.assets, "wind")
        with pytest.raises(wattline.AuthenticationError):
            nobody.sql("SELECT 1")
    with Client(real.guarded_url, account=ServiceAccount(keys[0], "wrong")) as wrong:
        with pytest.raises(wattline.TokenError) as raised:
            wrong.latest(fleet.assets, "wind")
        assert raised.value.code == 1003
    with Client(real.guarded_url, account=ServiceAccount(*keys, sign=False)) as bearer:
        assert len(bearer.latest(fleet.assets, "wind")) == 2
        # Lost or ended: another one, without the caller's knowing.
        bearer._session.credentials._token = wattline.auth.Token("ended", float("inf"))
        assert len(bearer.latest(fleet.assets, "wind")) == 2
        bearer._session.credentials._token = wattline.auth.Token("ended", 0.0)
        assert len(bearer.latest(fleet.assets, "wind")) == 2
    with Client(real.guarded_url, token=real.operator_token) as operator:
        assert len(operator.latest(fleet.assets, "wind")) == 2


def test_statements(guarded: tuple[Client, Fleet]) -> None:
    client, fleet = guarded
    text = f"SELECT time, wind FROM {fleet.model} WHERE asset_id = $1 AND time >= $2 ORDER BY time LIMIT 2"  # noqa: S608
    result = client.sql(text, [fleet.assets[0], MIDNIGHT])
    assert [column.name for column in result.columns] == ["time", "wind"]
    assert result.rows == [(MIDNIGHT, 0.0), (MIDNIGHT + timedelta(minutes=1), 1.0)]
    with pytest.raises(wattline.InvalidRequestError, match="pwoer"):
        client.sql(f"SELECT pwoer FROM {fleet.model}")  # noqa: S608
    insert = f"INSERT INTO {fleet.model} (asset_id, time, energy) VALUES ($1, '2023-01-01T00:00:00Z', 1)"  # noqa: S608
    change = client.execute(insert, [fleet.assets[0]])
    assert (change.tag, change.changed) == ("INSERT", 1)
    with pytest.raises(wattline.AnswerError, match="changes nothing"):
        client.execute("SELECT 1")


def test_tables(guarded: tuple[Client, Fleet]) -> None:
    pd, pa = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    client, fleet = guarded
    day = client.raw(fleet.assets, ["wind", "state"], MIDNIGHT, NEXT).to_pandas("wide", tz="Europe/Berlin")
    assert day.groupby("asset_id")["wind"].sum().tolist() == [1499 * 1500 / 2] * 2
    # Back under other times: as a DataFrame, and as Arrow.
    later = day.assign(time=day["time"] + pd.Timedelta(days=365))
    assert client.write(fleet.model, later).samples == 3_050
    text = f"SELECT asset_id, sum(wind) AS s FROM {fleet.model} WHERE time >= $1 GROUP BY 1 ORDER BY 1"  # noqa: S608
    frame = client.sql_pandas(text, [MIDNIGHT + timedelta(days=365)])
    assert frame["s"].tolist() == [1499 * 1500 / 2] * 2
    table = client.sql_arrow(f"SELECT asset_id, time, wind FROM {fleet.model} WHERE wind >= $1", [100])  # noqa: S608
    assert isinstance(table, pa.Table)
    assert client.write(fleet.model, table).rows == table.num_rows == 4 * 1400
    with pytest.raises(wattline.AnswerError, match="execute"):
        client.sql_arrow(f"DELETE FROM {fleet.model} WHERE time < '1999-01-01T00:00:00Z'")  # noqa: S608
    naive = later.assign(time=later["time"].dt.tz_localize(None))
    with pytest.raises(ValueError, match="zone"):
        client.write(fleet.model, naive)
    assert client.write(fleet.model, naive[naive["time"] < "2025-10-26 02:00"], zone="Europe/Berlin").rejected == 0


def test_refused_samples(guarded: tuple[Client, Fleet]) -> None:
    client, fleet = guarded
    old = datetime(2020, 1, 1, tzinfo=UTC)
    rows = [
        {"asset_id": fleet.assets[0], "time": old, "energy": 1.0},
        {"asset_id": fleet.assets[0], "time": old, "wind": "much"},
        {"asset_id": "nobody", "time": old, "wind": 1.0},
    ]
    with pytest.raises(wattline.SamplesRejectedError) as raised:
        client.write(fleet.model, rows)
    assert [(reject.row, reject.field) for reject in raised.value.result.rejects] == [(1, "wind"), (2, "asset_id")]
    assert len(client.raw(fleet.assets[0], "energy", old, old + timedelta(seconds=1))) == 1
    with pytest.raises(wattline.NotFoundError):
        client.write("nothing", rows[:1])


def test_an_asynchronous_client(real: Real, guarded: tuple[Client, Fleet]) -> None:
    _, fleet = guarded
    account = ServiceAccount(fleet.keys["accessKey"], fleet.keys["secretKey"])

    async def ask() -> tuple[list[int], list[Any]]:
        async with AsyncClient(real.guarded_url, account=account, token=real.operator_token) as client:
            days = [MIDNIGHT + timedelta(hours=hour) for hour in range(5)]
            read = [client.raw(fleet.assets, "wind", day, day + timedelta(hours=1)) for day in days]
            counts = [len(found) for found in await asyncio.gather(*read)]
            return counts, (await client.sql("SELECT 1 AS one")).rows

    assert asyncio.run(ask()) == ([120] * 5, [(1,)])


def test_threads_share_a_client(guarded: tuple[Client, Fleet]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    client, fleet = guarded
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda _: len(client.latest(fleet.assets, ["wind", "state"])), range(40))
        assert list(found) == [4] * 40
