"""Times of all kinds, on days of 23 and 25 hours too."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from wattline.times import Range, from_millis, parse, to_datetime, to_millis, whole

BERLIN = ZoneInfo("Europe/Berlin")
UTC = timezone.utc


def texts(start: Any, end: Any) -> tuple[str, str]:
    written = Range.of(start, end).texts()
    return written["startTime"], written["endTime"]


def test_times_without_a_zone_are_what_clocks_show() -> None:
    assert texts(datetime(2024, 3, 5, 8), datetime(2024, 3, 5, 9, 0, 0, 250_000)) == (
        "2024-03-05 08:00:00",
        "2024-03-05 09:00:00.250",
    )
    assert texts(date(2024, 3, 5), "2024-03-06") == ("2024-03-05 00:00:00", "2024-03-06 00:00:00")
    assert texts("2024-03-05 08:00:00", "2024-03-05T08:00:01.5") == ("2024-03-05 08:00:00", "2024-03-05 08:00:01.500")


def test_times_with_a_zone_are_instants() -> None:
    start = datetime(2024, 3, 5, 8, tzinfo=timezone(timedelta(hours=8)))
    assert texts(start, "2024-03-05T09:00:00+08:00") == ("2024-03-05T00:00:00Z", "2024-03-05T01:00:00Z")


def test_a_day_of_25_hours() -> None:
    # Berlin, 2024-10-27: 03:00 summer time is 02:00 again; 02:30 comes twice.
    first = datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN)
    second = first.replace(fold=1)
    assert texts(first, second) == ("2024-10-27T00:30:00Z", "2024-10-27T01:30:00Z")
    day = Range.of(datetime(2024, 10, 27, tzinfo=BERLIN), datetime(2024, 10, 28, tzinfo=BERLIN))
    assert day.end - day.start == timedelta(hours=25)
    local = Range.of(datetime(2024, 10, 27), datetime(2024, 10, 28))
    assert local.is_local
    assert local.texts() == {"startTime": "2024-10-27 00:00:00", "endTime": "2024-10-28 00:00:00"}


def test_a_day_of_23_hours() -> None:
    day = Range.of(datetime(2024, 3, 31, tzinfo=BERLIN), datetime(2024, 4, 1, tzinfo=BERLIN))
    assert day.texts() == {"startTime": "2024-03-30T23:00:00Z", "endTime": "2024-03-31T22:00:00Z"}


def test_bounds_are_rounded_up_to_milliseconds() -> None:
    assert texts(datetime(2024, 3, 5, 8, 0, 0, 1), datetime(2024, 3, 5, 8, 0, 0, 999_001)) == (
        "2024-03-05 08:00:00.001",
        "2024-03-05 08:00:01",
    )


def test_numpy_and_pandas() -> None:
    np = pytest.importorskip("numpy")
    pd = pytest.importorskip("pandas")
    assert to_datetime(np.datetime64("2024-03-05T08:00:00")) == datetime(2024, 3, 5, 8)
    assert to_datetime(np.datetime64("2024-03-05T08:00:00.000000001")) == datetime(2024, 3, 5, 8, 0, 0, 1)
    assert to_datetime(np.datetime64("2024-03-05")) == datetime(2024, 3, 5)
    assert to_datetime(pd.Timestamp("2024-03-05 08:00:00.000000001")) == datetime(2024, 3, 5, 8, 0, 0, 1)
    assert to_datetime(pd.Timestamp("2024-03-05 08:00:00.000000001"), up=False) == datetime(2024, 3, 5, 8)
    fold = pd.Timestamp("2024-10-27 01:30", tz="UTC").tz_convert("Europe/Berlin")
    assert texts(fold, fold + pd.Timedelta(hours=1)) == ("2024-10-27T01:30:00Z", "2024-10-27T02:30:00Z")
    for missing in (pd.NaT, np.datetime64("NaT")):
        with pytest.raises(ValueError, match="NaT"):
            to_datetime(missing)


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="one form"):
        Range.of(datetime(2024, 3, 5), datetime(2024, 3, 6, tzinfo=UTC))
    with pytest.raises(ValueError, match="before it starts"):
        Range.of(datetime(2024, 3, 6), datetime(2024, 3, 5))
    with pytest.raises(ValueError, match="is no time"):
        Range.of("05.03.2024", "06.03.2024")
    with pytest.raises(TypeError, match="is no time"):
        Range.of(1709596800000, 1709600400000)


def test_texts_are_read_as_they_come() -> None:
    assert parse("2024-03-05T08:00:00.123456789Z") == datetime(2024, 3, 5, 8, 0, 0, 123_456, UTC)
    assert parse("2024-03-05T08:00:00-0330").utcoffset() == -timedelta(hours=3, minutes=30)
    assert to_millis(from_millis(1709596800123)) == 1709596800123
    assert from_millis(1709596800000) == datetime(2024, 3, 5, tzinfo=UTC)


def test_intervals() -> None:
    minute = timedelta(minutes=1)
    assert (whole(10, minute, "x"), whole(timedelta(hours=2), minute, "x")) == (10, 120)
    with pytest.raises(ValueError, match="no multiple"):
        whole(timedelta(seconds=90), minute, "x")


def test_a_cut_range_keeps_its_grid_and_its_ends() -> None:
    for start, end, step in [
        (datetime(2024, 1, 1, 0, 7, tzinfo=UTC), datetime(2024, 2, 9, 3, 1, tzinfo=UTC), timedelta(minutes=7)),
        (datetime(2024, 10, 20, 22, 30), datetime(2024, 11, 20), timedelta(minutes=10)),
        (datetime(2024, 3, 30, 1), datetime(2024, 4, 2, 1, 30), timedelta(days=1)),
    ]:
        parts = list(Range(start, end).cut(step, 100))
        assert (parts[0].start, parts[-1].end) == (start, end)
        for before, after in zip(parts, parts[1:]):
            assert before.end == after.start
            assert (after.start - start) % step == timedelta(0)
        # On a clock that is set back in this part, it has an hour more than its length.
        hour = timedelta(hours=1) if start.tzinfo is None else timedelta(0)
        assert all((part.end - part.start + hour) / step <= 100 for part in parts)


def test_a_local_range_is_not_cut_where_clocks_change() -> None:
    parts = list(Range(datetime(2024, 10, 1), datetime(2024, 12, 1)).cut(timedelta(minutes=30), 52))
    assert all(4 <= part.start.hour <= 21 for part in parts[1:])
