"""Results of reads: samples by series, as rows, pandas DataFrames or Arrow tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Optional, Union

from .errors import AnswerError
from .extras import pandas, pyarrow
from .times import from_millis, parse

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Value = Union[float, int, str, list[Any], dict[str, Any], None]
"""A value of a sample. ``None`` where a number is NaN or infinite, or nothing could be interpolated."""

Layout = Literal["long", "wide"]
"""``long``: a row each sample. ``wide``: a row each time of an asset, a column each point."""


class Sample(NamedTuple):
    """One value of a point of an asset."""

    asset_id: str
    point: str
    """The point, or what was made of it, as in ``avg(power)``."""
    time: datetime
    """The instant, in UTC."""
    value: Value
    quality: Optional[int]
    """0 to 9; ``None`` where the point has none, or qualities were not asked for."""
    local_time: Optional[datetime]
    """The same instant on the clock of the asset, with its offset; ``None`` where it was not asked for."""


@dataclass
class Series:
    """The samples of one point of one asset, by time."""

    asset_id: str
    point: str
    timestamps: list[int] = field(default_factory=list)
    """Milliseconds since the epoch."""
    values: list[Value] = field(default_factory=list)
    qualities: Optional[list[Optional[int]]] = None
    local_times: Optional[list[str]] = None
    """What the clock of the asset shows, as ``2024-03-05T08:00:00.000+08:00``."""

    def __len__(self) -> int:
        return len(self.timestamps)

    def __iter__(self) -> Iterator[Sample]:
        for i, timestamp in enumerate(self.timestamps):
            yield Sample(
                self.asset_id,
                self.point,
                from_millis(timestamp),
                self.values[i],
                self.qualities[i] if self.qualities is not None else None,
                parse(self.local_times[i]) if self.local_times is not None else None,
            )

    def part(self, rows: slice) -> Series:
        """Some of its samples."""
        return Series(
            self.asset_id,
            self.point,
            self.timestamps[rows],
            self.values[rows],
            self.qualities[rows] if self.qualities is not None else None,
            self.local_times[rows] if self.local_times is not None else None,
        )

    def extend(self, more: Series) -> None:
        """Append samples that come later."""
        if not self.timestamps:
            self.qualities, self.local_times = more.qualities and [], more.local_times and []
        self.timestamps += more.timestamps
        self.values += more.values
        if self.qualities is not None:
            self.qualities += more.qualities or [None] * len(more)
        if self.local_times is not None:
            self.local_times += more.local_times or []


@dataclass
class SeriesSet:
    """The answer to a read: series in the order of the request, asset by asset. Iterating gives all samples."""

    series: list[Series] = field(default_factory=list)
    refused: tuple[str, ...] = ()
    """Assets that were asked for and are not the caller's."""

    def __len__(self) -> int:
        """How many samples there are."""
        return sum(len(one) for one in self.series)

    def __iter__(self) -> Iterator[Sample]:
        for one in self.series:
            yield from one

    def get(self, asset_id: str, point: str) -> Optional[Series]:
        """The series of a point of an asset, if there are samples of it."""
        found = (one for one in self.series if one.asset_id == asset_id and one.point == point)
        return next(found, None)

    def rows(self) -> list[Sample]:
        """All samples in a list."""
        return list(self)

    def to_pandas(self, layout: Layout = "long", tz: str = "UTC") -> pd.DataFrame:
        """Make a DataFrame (extra ``pandas``); times are in the zone ``tz``."""
        pd = pandas()
        columns = self._columns(layout)
        times = columns.pop("time")
        frame = pd.DataFrame(columns)
        stamps = pd.to_datetime(pd.Series(times, dtype="int64"), unit="ms", utc=True)
        frame.insert(1 if layout == "wide" else 2, "time", stamps.dt.tz_convert(tz))
        return frame

    def to_arrow(self, layout: Layout = "long") -> pa.Table:
        """Make an Arrow table (extra ``arrow``); times are in milliseconds, UTC.

        The long layout has one column for all values, so they must be of one type; the wide one has one for each point.
        """
        pa = pyarrow()
        columns = self._columns(layout)
        arrays = {}
        for name, values in columns.items():
            if name == "time":
                arrays[name] = pa.array(values, pa.timestamp("ms", tz="UTC"))
            elif name in ("asset_id", "point"):
                arrays[name] = pa.array(values, pa.string())
            elif name == "quality" or name.endswith("_quality"):
                arrays[name] = pa.array(values, pa.int8())
            else:
                arrays[name] = _arrow_values(pa, name, values, layout)
        return pa.table(arrays)

    def _columns(self, layout: Layout) -> dict[str, list[Any]]:
        if layout == "long":
            return self._long()
        if layout == "wide":
            return self._wide()
        raise ValueError(f"layout: {layout!r} is neither 'long' nor 'wide'")

    def _long(self) -> dict[str, list[Any]]:
        with_quality = any(one.qualities is not None for one in self.series)
        columns: dict[str, list[Any]] = {"asset_id": [], "point": [], "time": [], "value": []}
        if with_quality:
            columns["quality"] = []
        for one in self.series:
            columns["asset_id"] += [one.asset_id] * len(one)
            columns["point"] += [one.point] * len(one)
            columns["time"] += one.timestamps
            columns["value"] += one.values
            if with_quality:
                columns["quality"] += one.qualities if one.qualities is not None else [None] * len(one)
        return columns

    def _wide(self) -> dict[str, list[Any]]:
        places: dict[tuple[str, int], int] = {}
        order = {asset: i for i, asset in enumerate(dict.fromkeys(one.asset_id for one in self.series))}
        instants = {(order[one.asset_id], time): one.asset_id for one in self.series for time in one.timestamps}
        for place, (asset, time) in enumerate(sorted(instants)):
            places[instants[asset, time], time] = place
        columns: dict[str, list[Any]] = {
            "asset_id": [asset for asset, _ in places],
            "time": [time for _, time in places],
        }
        for one in self.series:
            values = columns.setdefault(one.point, [None] * len(places))
            for time, value in zip(one.timestamps, one.values):
                values[places[one.asset_id, time]] = value
            if one.qualities is not None:
                qualities = columns.setdefault(f"{one.point}_quality", [None] * len(places))
                for time, quality in zip(one.timestamps, one.qualities):
                    qualities[places[one.asset_id, time]] = quality
        return columns


def _arrow_values(pa: Any, name: str, values: Sequence[Value], layout: Layout) -> Any:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        return pa.array(values, pa.float64())
    if len(kinds) > 1:
        advice = "; layout='wide' has a column for each point" if layout == "long" else ""
        raise ValueError(f"{name}: values of several types make no Arrow column{advice}")
    return pa.array(values, pa.float64() if not kinds else None)


@dataclass(frozen=True)
class StateDurations:
    """How long a point was in which state."""

    asset_id: str
    point: str
    durations: dict[Union[int, str], timedelta]
    """By state, in the order of the answer."""
    unknown: Optional[timedelta]
    """For how long the state is not known; ``None`` where it is known all the time, or this was not asked for."""
    scan_end: datetime
    """The time of the last record: what comes after it in the range is not counted."""


@dataclass(frozen=True)
class DeadCheck:
    """Whether a point has not changed for longer than it may."""

    asset_id: str
    point: str
    is_dead: bool
    unchanged_for: timedelta
    last_changed_value: Value
    last_changed: datetime


def read_series(operation: str, data: Any) -> list[Series]:
    """Read items in columns (``itemFormat`` 2)."""
    series = []
    for item in items_of(operation, data):
        try:
            one = Series(item["assetId"], item["pointId"], item["timestamp"], item["value"])
            one.qualities = item.get("dataQuality")
            one.local_times = item.get("localTime")
        except (KeyError, TypeError) as error:
            raise AnswerError(f"{operation}: an item without {error}") from error
        lengths = {len(one.timestamps), len(one.values)}
        lengths.update(len(column) for column in (one.qualities, one.local_times) if column is not None)
        if len(lengths) != 1:
            raise AnswerError(f"{operation}: columns of {sorted(lengths)} rows")
        series.append(one)
    return series


def items_of(operation: str, data: Any) -> list[Any]:
    """Take the list of items out of ``data``."""
    if not isinstance(data, dict) or not isinstance(data.get("items"), list):
        raise AnswerError(f"{operation}: the answer has no items")
    items: list[Any] = data["items"]
    return items
