"""Writing samples: rows or tables into bodies for ``/api/v1/models/{model}/samples``.

Owns: the forms of rows and times, cutting what is long. Does not own: sending.

Sending samples again is harmless, so a write is repeated as a read is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timezone, tzinfo
from typing import Any, NamedTuple, Optional, Union
from urllib.parse import quote
from zoneinfo import ZoneInfo

from .calls import Call, Door, Flow, Response
from .errors import AnswerError, SamplesRejectedError
from .extras import pyarrow
from .sql import ARROW
from .times import EPOCH, to_datetime

Data = Any
"""Rows as mappings, a ``pandas.DataFrame``, or a ``pyarrow`` table, record batch or reader."""

Zone = Union[str, tzinfo, None]

NDJSON = "application/x-ndjson"

BODY_BYTES = 8 << 20
"""A body is sent when it has this many bytes: few enough to repeat it, many enough for the server's batches."""

BATCH_BYTES = 8 << 20
"""Bytes of an Arrow record batch: the server takes 32 MiB (``http.batch_max``)."""


class Reject(NamedTuple):
    """A sample, or a row, that was refused."""

    row: int
    """Which row of the input, from 0."""
    field: str
    """Which column; empty where the whole row is refused."""
    reason: str


@dataclass
class WriteResult:
    """What became of what was written."""

    rows: int = 0
    """Rows that were taken."""
    samples: int = 0
    """Samples that are durable and visible to the next query."""
    rejected: int = 0
    """What was refused, all of it."""
    rejects: list[Reject] = field(default_factory=list)
    """The first of them."""


def write(model: str, org: str, data: Data, zone: Zone, strict: bool) -> Flow[WriteResult]:
    """Write ``data`` to ``model``, in as many requests as it takes."""
    zone = ZoneInfo(zone) if isinstance(zone, str) else zone
    result, done = WriteResult(), 0
    for body in _bodies(data, zone):
        path = f"/api/v1/models/{quote(model, safe='')}/samples"
        call = Call("POST", path, "samples", (("org", org),), body.content, body.kind, door=Door.OPERATOR)
        _add(result, call, (yield call), done)
        done += body.rows
    if strict and result.rejected:
        raise SamplesRejectedError(result)
    return result


class _Body(NamedTuple):
    content: bytes
    kind: str
    rows: int


def _add(result: WriteResult, call: Call, response: Response, done: int) -> None:
    answer = response.json(call.operation)
    try:
        result.rows += answer["rows"]
        result.samples += answer["samples"]
        result.rejected += answer["rejected"]
        result.rejects += [Reject(r["row"] + done, r["field"], r["reason"]) for r in answer["rejects"]]
    except (KeyError, TypeError) as error:
        raise AnswerError(f"{call.operation}: an answer without {error}") from error


def _bodies(data: Data, zone: Optional[tzinfo]) -> Iterator[_Body]:
    module = type(data).__module__.partition(".")[0]
    if module == "pandas":
        pa = pyarrow()
        return _arrow_bodies(pa, pa.Table.from_pandas(data, preserve_index=False), zone)
    if module == "pyarrow":
        return _arrow_bodies(pyarrow(), data, zone)
    if isinstance(data, Mapping) or not isinstance(data, Iterable):
        raise TypeError("data: expected rows (mappings), a DataFrame, or an Arrow table")
    return _line_bodies(data, zone)


def _line_bodies(rows: Iterable[Mapping[str, Any]], zone: Optional[tzinfo]) -> Iterator[_Body]:
    lines: list[bytes] = []
    size = 0
    for number, row in enumerate(rows):
        line = _line(number, row, zone)
        lines.append(line)
        size += len(line) + 1
        if size >= BODY_BYTES:
            yield _Body(b"\n".join(lines), NDJSON, len(lines))
            lines, size = [], 0
    if lines:
        yield _Body(b"\n".join(lines), NDJSON, len(lines))


def _line(number: int, row: Mapping[str, Any], zone: Optional[tzinfo]) -> bytes:
    try:
        plain = {name: value for name, value in row.items() if value is not None}
        if not isinstance(plain.get("time"), int):
            plain["time"] = _instant(plain.get("time"), zone).isoformat()
        return json.dumps(plain, default=_json_value, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        raise type(error)(f"row {number}: {error}") from error


def _instant(time: Any, zone: Optional[tzinfo]) -> datetime:
    if time is None:
        raise ValueError("time is missing")
    instant = to_datetime(time, up=False)
    if instant.tzinfo is None:
        if zone is None:
            raise ValueError(f"time {instant} has no zone; give one, or write(…, zone=…)")
        instant = instant.replace(tzinfo=zone)
    return instant.astimezone(timezone.utc)


def _json_value(value: Any) -> Any:
    if isinstance(value, datetime):
        # A TIMESTAMP is sent as milliseconds in a text, a DATE as it is written.
        if value.tzinfo is not None:
            return str((value - EPOCH).days * 86_400_000 + (value - EPOCH).seconds * 1_000 + value.microsecond // 1_000)
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, date):
        return value.strftime("%Y-%m-%d 00:00:00")
    if hasattr(value, "item"):  # numpy's scalars
        return value.item()
    raise TypeError(f"{type(value).__name__} is no value of a sample")


def _arrow_bodies(pa: Any, data: Any, zone: Optional[tzinfo]) -> Iterator[_Body]:
    batches = data.to_batches() if isinstance(data, pa.Table) else [data] if isinstance(data, pa.RecordBatch) else data
    for batch in batches:
        if batch.num_rows == 0:
            continue
        batch = _with_instants(pa, batch, zone)
        rows = max(1, min(65_536, BATCH_BYTES * batch.num_rows // max(1, batch.nbytes)))
        for start in range(0, batch.num_rows, rows):
            part = batch.slice(start, rows)
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, part.schema) as writer:
                writer.write_batch(part)
            yield _Body(sink.getvalue().to_pybytes(), ARROW, part.num_rows)


def _with_instants(pa: Any, batch: Any, zone: Optional[tzinfo]) -> Any:
    """Give the times of a batch a zone."""
    place = batch.schema.get_field_index("time")
    kind = batch.schema.field(place).type if place >= 0 else None
    if kind is None or not pa.types.is_timestamp(kind) or kind.tz is not None:
        return batch
    if zone is None:
        raise ValueError("time: the column has no zone; give it one, or write(…, zone=…)")
    import pyarrow.compute as pc

    name = str(zone).replace("UTC+", "+").replace("UTC-", "-")
    times = pc.assume_timezone(batch.column(place), name, ambiguous="earliest", nonexistent="latest")
    return pa.RecordBatch.from_arrays(
        [times if i == place else batch.column(i) for i in range(batch.num_columns)],
        names=batch.schema.names,
    )
