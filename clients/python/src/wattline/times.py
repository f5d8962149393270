"""Times of calls: what Python, numpy and pandas have, as the API writes them.

A time with a zone is an instant. A time without one is what the clock of each asset shows: assets in several zones are
each read on their own clock. The API counts in milliseconds; a finer bound of a range is rounded up, which changes
nothing for samples on whole milliseconds, since a range is ``[start, end)``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone, tzinfo
from typing import Any, Optional, Union

TimeLike = Union[datetime, date, str, Any]
"""A ``datetime``, ``date``, ``pandas.Timestamp``, ``numpy.datetime64``, or a text in ISO 8601."""

IntervalLike = Union[timedelta, int]
"""A ``timedelta``, or a number of the unit that the parameter names."""

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_EPOCH_NAIVE = datetime(1970, 1, 1)
_MILLISECOND = timedelta(milliseconds=1)
_FORM = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?\s?(Z|[+-]\d\d:?\d\d)?)?", re.ASCII
)


def to_datetime(time: TimeLike, *, up: bool = True) -> datetime:
    """Read a time in any of the forms of :data:`TimeLike`; without a zone it stays so.

    Nanoseconds are rounded to a microsecond, up (as bounds of ranges must be) or down (as samples are stored).
    """
    if isinstance(time, str):
        return parse(time)
    if isinstance(time, datetime):
        if time != time:  # pandas.NaT
            raise ValueError("NaT is no time")
        if type(time) is datetime:
            return time
        finer = up and bool(getattr(time, "nanosecond", 0))
        plain = datetime(
            time.year, time.month, time.day, time.hour, time.minute, time.second, time.microsecond,
            time.tzinfo, fold=time.fold,
        )  # fmt: skip
        return plain + timedelta(microseconds=1) if finer else plain
    if isinstance(time, date):
        return datetime(time.year, time.month, time.day)
    if type(time).__module__ == "numpy" and type(time).__name__ == "datetime64":
        nanos = int(time.astype("datetime64[ns]").astype("int64"))
        if nanos == -(2**63):
            raise ValueError("NaT is no time")
        return _EPOCH_NAIVE + timedelta(microseconds=-(-nanos // 1_000) if up else nanos // 1_000)
    raise TypeError(f"{time!r} is no time: expected a datetime, date, Timestamp, datetime64 or a text")


def parse(text: str) -> datetime:
    """Read a time in ISO 8601, with or without an offset; digits beyond microseconds are cut off."""
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no time: expected the form 2024-03-05 08:00:00 or 2024-03-05T08:00:00+08:00")
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    micros = int((fraction or "")[:6].ljust(6, "0"))
    zone: Optional[tzinfo] = None
    if offset == "Z":
        zone = timezone.utc
    elif offset:
        away = timedelta(hours=int(offset[1:3]), minutes=int(offset[-2:]))
        zone = timezone(-away if offset[0] == "-" else away)
    return datetime(int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0), micros, zone)


def from_millis(timestamp_ms: int) -> datetime:
    """Convert a timestamp of an answer to an instant, in UTC."""
    return EPOCH + timedelta(milliseconds=timestamp_ms)


def to_millis(time: datetime) -> int:
    """Convert an instant to milliseconds since the epoch, rounded down."""
    return (time - EPOCH) // _MILLISECOND


def whole(interval: IntervalLike, unit: timedelta, name: str) -> int:
    """Express ``interval`` in ``unit``; a number is that already."""
    if not isinstance(interval, timedelta):
        return int(interval)
    count, rest = divmod(interval, unit)
    if rest:
        raise ValueError(f"{name}: {interval} is no multiple of {unit}")
    return count


@dataclass(frozen=True)
class Range:
    """A half-open range of time, of instants or of what clocks show.

    ``start`` and ``end`` are either both UTC or both without a zone.
    """

    start: datetime
    end: datetime

    @classmethod
    def of(cls, start: TimeLike, end: TimeLike) -> Range:
        """Read the bounds of a call."""
        bounds = [_up_to_millis(_in_utc(to_datetime(bound))) for bound in (start, end)]
        if (bounds[0].tzinfo is None) != (bounds[1].tzinfo is None):
            raise ValueError(
                "start and end must be of one form: both with a zone (instants), or both without (the clock of "
                "each asset)"
            )
        if bounds[1] < bounds[0]:
            raise ValueError(f"the range ends ({bounds[1]}) before it starts ({bounds[0]})")
        return cls(bounds[0], bounds[1])

    @property
    def is_local(self) -> bool:
        """Whether it is of what clocks show."""
        return self.start.tzinfo is None

    def texts(self) -> dict[str, str]:
        """``startTime`` and ``endTime`` as the API takes them."""
        return {"startTime": _text(self.start), "endTime": _text(self.end)}

    def starting(self, start: datetime) -> Range:
        """The part from ``start`` on."""
        return Range(start, self.end)

    def halves(self) -> Optional[tuple[Range, Range]]:
        """Two parts, unless it is too short for that."""
        middle = self.start + (self.end - self.start) / 2
        middle = self._quiet(middle.replace(microsecond=0), timedelta(seconds=1))
        if not self.start < middle < self.end:
            return None
        return Range(self.start, middle), Range(middle, self.end)

    def cut(self, step: timedelta, steps_max: int) -> Iterator[Range]:
        """Parts of at most ``steps_max`` steps each, all of which begin on the grid of ``step`` from the start on."""
        if self.start >= self.end:
            yield self
            return
        # A local day may have an hour more than its clock shows; two changes of clocks at most are near each other.
        slack = -(-timedelta(hours=4) // step) + 1 if self.is_local else 1
        count = max(1, steps_max - slack)
        start = self.start
        while start < self.end:
            end = start + step * count if count < (self.end - start) / step else self.end
            if end < self.end:
                quiet = self._quiet(end, step)
                end = quiet if quiet > start else end
            yield Range(start, end)
            start = end

    def _quiet(self, time: datetime, step: timedelta) -> datetime:
        """Move a local time back, by whole steps, to an hour at which no clock changes, where one is near."""
        if not self.is_local:
            return time
        earlier = time
        while earlier > time - timedelta(hours=6) and earlier > self.start:
            if 4 <= earlier.hour <= 21:
                return earlier
            earlier -= step
        return time


def _in_utc(time: datetime) -> datetime:
    return time if time.tzinfo is None else time.astimezone(timezone.utc)


def _up_to_millis(time: datetime) -> datetime:
    return time + timedelta(microseconds=-time.microsecond % 1_000)


def _text(time: datetime) -> str:
    text = time.strftime("%Y-%m-%d %H:%M:%S")
    # %Y has no leading zeros on some platforms.
    text = text.rjust(19, "0")
    if time.microsecond:
        text += f".{time.microsecond // 1_000:03}"
    return text if time.tzinfo is None else text.replace(" ", "T") + "Z"
