"""Reads of many calls, against a server in memory that has the limits of the real one, at a smaller size."""

from __future__ import annotations

import json
import random
from datetime import datetime, timedelta, timezone
from typing import Any, Optional
from zoneinfo import ZoneInfo

import httpx
import pytest

from conftest import Fake, ok, refusal
from wattline import InvalidRequestError, PartialResultWarning, PermissionDeniedError, paging
from wattline.times import from_millis, parse, to_millis

BERLIN = ZoneInfo("Europe/Berlin")
START = datetime(2024, 10, 26, 22, tzinfo=timezone.utc)  # midnight in Berlin before the day of 25 hours
Rows = list[tuple[int, Any]]


def instant(text: str) -> int:
    time = parse(text)
    return to_millis(time if time.tzinfo else time.replace(tzinfo=BERLIN))


def local(ms: int) -> str:
    return from_millis(ms).astimezone(BERLIN).isoformat(timespec="milliseconds")


class Store:
    """Series by asset and point, and calls as the specification describes them (§1.7, §2.4, §2.5)."""

    def __init__(self, series: dict[tuple[str, str], Rows], rows_max: int = 640_000, combinations_max: int = 3_000):
        self.series = series
        self.rows_max = rows_max
        self.combinations_max = combinations_max
        self.unknown: set[str] = set()
        self.calls = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        body = json.loads(request.content)
        assets = body["assetIds"].split(",")
        columns = (body.get("pointIds") or body["pointIdsWithLogic"]).split(",")
        assert body["itemFormat"] == 2
        if len(assets) * len(columns) > self.combinations_max:
            return refusal(80400, "assetIds size times pointIds size is too large to query")
        if len(assets) * len(columns) * body.get("pageSize", 1) > self.rows_max:
            return refusal(80400, "assetIds size times pointIds size times pageSize is too large to query")
        missing = [asset for asset in assets if asset in self.unknown]
        if len(missing) == len(assets):
            return refusal(80401, "none")
        for column in columns:
            known = {point for asset, point in self.series if asset in assets}
            if column.rpartition("(")[2].rstrip(")") not in known:
                return refusal(80400, f"pointId: {column.rpartition('(')[2].rstrip(')')} is not in the model")
        items, total = [], 0
        for asset in assets:
            for column in columns:
                rows = self.read(asset, column, body) if asset not in missing else []
                total += len(rows)
                if rows:
                    items.append(
                        {
                            "assetId": asset,
                            "pointId": column,
                            "timestamp": [time for time, _ in rows],
                            "value": [value for _, value in rows],
                            "localTime": [local(time) for time, _ in rows],
                        }
                    )
        if total > self.rows_max:
            return refusal(80400, f"result set too large: more than {self.rows_max} rows")
        return ok(items, f"no permission for the following assets: {','.join(missing)}" if missing else None)

    def read(self, asset: str, column: str, body: dict[str, Any]) -> Rows:
        if "startTime" not in body:
            return self.series.get((asset, column), [])[-1:]
        begin, end = instant(body["startTime"]), instant(body["endTime"])
        point = column.rpartition("(")[2].rstrip(")")
        everything = self.series.get((asset, point), [])
        rows = [row for row in everything if begin <= row[0] < end]
        if "interval" in body and "pageSize" in body and "boundaryType" not in body:
            step = body["interval"] * 60_000
            sums: dict[int, float] = {}
            for time, value in rows:
                bucket = begin + (time - begin) // step * step
                sums[bucket] = sums.get(bucket, 0) + value
            rows = list(sums.items())
        if body.get("boundaryType") == "outside":
            rows = [r for r in everything if r[0] < begin][-1:] + rows + [r for r in everything if r[0] >= end][:1]
        if "autoInterpolate" in body:
            changes: Rows = []
            for time, value in rows:
                if not changes or changes[-1][1] != value:
                    changes.append((time, value))
            return changes
        if body.get("orderBy") == "timestamp desc":
            rows.reverse()
        return rows[: body["pageSize"]]


def shrink(monkeypatch: pytest.MonkeyPatch, page: int, longer: int, rows: int) -> None:
    monkeypatch.setattr(paging, "PAGE_ROWS", page)
    monkeypatch.setattr(paging, "LONG_PAGE_ROWS", longer)
    monkeypatch.setattr(paging, "ROWS_MAX", rows)
    monkeypatch.setattr("wattline.operations.ROWS_MAX", rows)


def walk(seed: int, count: int, hours: int = 25, same: float = 0.1) -> Rows:
    """Samples at chance times within ``hours``, some in the same millisecond."""
    chance = random.Random(seed)
    times = sorted(chance.randrange(hours * 3_600_000) for _ in range(count))
    for i in range(1, count):
        if chance.random() < same:
            times[i] = times[i - 1]
    return [(to_millis(START) + time, chance.randrange(1000)) for time in times]


def values(store: Store, found: Any) -> dict[tuple[str, str], Rows]:
    return {(one.asset_id, one.point): list(zip(one.timestamps, one.values)) for one in found.series}


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("form", ["instants", "clocks"])
@pytest.mark.parametrize("boundary", ["inside", "outside"])
def test_pages_give_every_sample_once(monkeypatch: pytest.MonkeyPatch, seed: int, form: str, boundary: Any) -> None:
    shrink(monkeypatch, page=7, longer=19, rows=40)
    chance = random.Random(seed)
    assets, points = ["a", "b", "c"], ["p", "q"]
    series = {(a, p): walk(seed * 10 + i, chance.randrange(60)) for i, (a, p) in enumerate(
        (a, p) for a in assets for p in points)}  # fmt: skip
    store = Store(series, rows_max=40)
    start = datetime(2024, 10, 27, 0, 30) if form == "clocks" else START + timedelta(minutes=30)
    end = start + timedelta(hours=24)
    found = Fake(store).client().raw(assets, points, start, end, boundary=boundary)
    begin, stop = (to_millis(t if t.tzinfo else t.replace(tzinfo=BERLIN)) for t in (start, end))
    expected = {}
    for key, rows in series.items():
        inside = [row for row in rows if begin <= row[0] < stop]
        if boundary == "outside":
            inside = [r for r in rows if r[0] < begin][-1:] + inside + [r for r in rows if r[0] >= stop][:1]
        if inside:
            expected[key] = inside
    assert values(store, found) == expected
    assert list(values(store, found)) == list(expected)  # in the order of the request


@pytest.mark.parametrize("limit", [1, 3, 20, 45, 1000])
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_the_first_and_the_newest_samples(monkeypatch: pytest.MonkeyPatch, limit: int, order: Any) -> None:
    shrink(monkeypatch, page=7, longer=19, rows=40)
    series = {("a", "p"): walk(1, 100, same=0), ("b", "p"): walk(2, 30, same=0)}
    store = Store(series, rows_max=40)
    found = Fake(store).client().raw(["a", "b"], "p", START, START + timedelta(days=2), limit=limit, order=order)
    ordered = {key: rows if order == "asc" else rows[::-1] for key, rows in series.items()}
    assert values(store, found) == {key: rows[:limit] for key, rows in ordered.items()}


def test_one_call_where_one_is_enough() -> None:
    store = Store({("a", "p"): walk(1, 900)})
    assert len(Fake(store).client().raw("a", "p", START, START + timedelta(days=2))) == 900
    assert store.calls == 1


def test_buckets_stay_on_their_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch, page=16, longer=19, rows=40)
    rows = walk(3, 2_000, hours=24 * 5)
    store = Store({("a", "p"): rows, ("b", "p"): rows}, rows_max=40)
    start, step = START + timedelta(minutes=3), 7 * 60_000
    end = start + timedelta(days=4)
    found = Fake(store).client().ai_normalized(["a", "b"], "p", start, end, functions="sum", interval=7)
    sums: dict[int, int] = {}
    begin = to_millis(start)
    for time, value in rows:
        if begin <= time < to_millis(end):
            bucket = begin + (time - begin) // step * step
            sums[bucket] = sums.get(bucket, 0) + value
    assert values(store, found) == {("a", "sum(p)"): list(sums.items()), ("b", "sum(p)"): list(sums.items())}
    assert store.calls > 10


def test_changes_of_cut_ranges_join(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: Rows = [(to_millis(START) + i * 60_000, i // 9 % 3) for i in range(1_000)]
    store = Store({("a", "p"): rows, ("b", "p"): rows}, rows_max=30)
    found = Fake(store).client().di(["a", "b"], "p", START, START + timedelta(days=1), interpolate=True)
    changes = [row for before, row in zip([(0, None), *rows], rows) if row[1] != before[1]]
    assert values(store, found) == {("a", "p"): changes, ("b", "p"): changes}


def test_combinations_are_cut() -> None:
    assets, points = [f"a{i}" for i in range(700)], [f"p{i}" for i in range(10)]
    store = Store({(a, p): [(1, i)] for i, (a, p) in enumerate((a, p) for a in assets for p in points)})
    found = Fake(store).client().latest(assets, points)
    assert [one.values[0] for one in found.series] == list(range(7_000))
    assert store.calls == 3
    assert list(paging.groups(["a", "b"], ["p", "q", "r"], 2)) == [
        (["a"], ["p", "q"]), (["a"], ["r"]), (["b"], ["p", "q"]), (["b"], ["r"])]  # fmt: skip


def test_parts_that_are_refused_do_not_refuse_the_whole() -> None:
    assets = [f"a{i}" for i in range(40)]
    series: dict[tuple[str, str], Rows] = {(a, "p"): [(1, 1)] for a in assets}
    series.update({(a, "q"): [(1, 2)] for a in assets[:5]})
    store = Store(series, combinations_max=20)
    store.unknown = set(assets[20:])
    client = Fake(store).client()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wattline.operations.COMBINATIONS_MAX", 20)
        with pytest.warns(PartialResultWarning, match="a20, a21") as warned:
            found = client.latest(assets, ["p", "q"])
        assert warned[0].filename == __file__
        assert found.refused == tuple(assets[20:])
        assert len(found) == 25
        store.unknown = set(assets)
        with pytest.raises(PermissionDeniedError):
            client.latest(assets, ["p", "q"])
        store.unknown = set()
        with pytest.raises(InvalidRequestError, match="nothing is not in the model"):
            client.latest(assets, ["p", "nothing"])


def test_names_are_checked() -> None:
    client = Fake(lambda _: ok([])).client()
    nobody: list[str] = []
    for bad in ("a,b", "", nobody):
        with pytest.raises(ValueError, match=r"no name|none are given"):
            client.latest(bad, "p")
    with pytest.raises(ValueError, match="belong together"):
        client.ai_normalized("a", "p", START, START, interval=10)
    with pytest.raises(ValueError, match="belong together"):
        client.ai_normalized("a", "p", START, START, functions="avg")


def test_no_progress_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch, page=4, longer=8, rows=10)
    store = Store({("a", "p"): [(to_millis(START), i) for i in range(50)]}, rows_max=10)
    limit: Optional[int] = None
    with pytest.raises(Exception, match="within a millisecond"):
        Fake(store).client().raw("a", "p", START, START + timedelta(days=1), limit=limit)
