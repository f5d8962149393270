"""SQL over HTTP: statements, and their answers as rows or Arrow.

Owns: the body of a statement and reading its answer. Does not own: sending.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Optional, Union

from .calls import Call, Door, Flow
from .errors import AnswerError, api_error
from .extras import pyarrow
from .times import parse, to_datetime

if TYPE_CHECKING:
    import pyarrow as pa

ARROW = "application/vnd.apache.arrow.stream"

Parameter = Union[None, bool, int, float, str, datetime, date, Any]
"""A parameter: null, a boolean, a number, a text, or a time (which becomes a text)."""

# What only reads may be asked twice.
_READS = re.compile(
    r"(?:\s|--[^\n]*\n|/\*.*?\*/)*\(?\s*(select|with|values|show|explain|table|describe)\b", re.I | re.S
)


class Column(NamedTuple):
    """A column of an answer."""

    name: str
    type: str
    """As SQL people know it: ``float64``, ``text``, ``timestamptz`` …"""


@dataclass(frozen=True)
class Change:
    """What a statement changed."""

    tag: str
    """``INSERT``, ``DELETE``, ``CREATE TABLE``, ``ALTER TABLE`` or ``KILL``."""
    changed: Optional[int]
    """How many rows, where that is known."""
    job: Optional[int]
    """The deletion job of a ``DELETE``."""


@dataclass
class SqlResult:
    """The answer to a statement."""

    columns: list[Column] = field(default_factory=list)
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    """Times are datetimes: with a zone, in UTC, where the column's type has one."""
    change: Optional[Change] = None
    """What the statement changed, if it was of that kind: there are no rows then."""

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self.rows)

    def dicts(self) -> list[dict[str, Any]]:
        """Rows by the names of columns."""
        names = [column.name for column in self.columns]
        return [dict(zip(names, row)) for row in self.rows]


def _call(statement: str, params: Sequence[Parameter], accept: str) -> Call:
    body = {"sql": statement, "params": [_parameter(i, param) for i, param in enumerate(params, 1)]}
    encoded = json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    idempotent = _READS.match(statement) is not None
    return Call("POST", "/sql", "sql", (), encoded, "application/json", accept, Door.OPERATOR, idempotent)


def _parameter(number: int, param: Parameter) -> Union[bool, int, float, str, None]:
    if param is None or isinstance(param, (bool, int, float, str)):
        return param
    if hasattr(param, "item") and type(param).__module__ == "numpy" and type(param).__name__ != "datetime64":
        plain: Union[bool, int, float, str] = param.item()
        return plain
    if isinstance(param, date) and not isinstance(param, datetime):
        return param.isoformat()
    try:
        return to_datetime(param).isoformat()
    except TypeError:
        raise TypeError(f"parameter ${number}: {type(param).__name__} has no form in a statement") from None


def rows(statement: str, params: Sequence[Parameter]) -> Flow[SqlResult]:
    """Run a statement; its rows as Python values."""
    call = _call(statement, params, "application/json")
    response = yield call
    answer = response.json(call.operation)
    if not isinstance(answer, dict):
        raise AnswerError("sql: expected an object")
    if "error" in answer:  # after the first rows the status cannot change any more
        error = answer["error"]
        raise api_error(500, response.status, str(error.get("message")), str(error.get("kind")), "sql")
    if "tag" in answer:
        return SqlResult(change=Change(answer["tag"], answer.get("changed"), answer.get("job")))
    try:
        columns = [Column(column["name"], column["type"]) for column in answer["columns"]]
        read = [_READERS.get(column.type) for column in columns]
        if not any(read):
            return SqlResult(columns, [tuple(row) for row in answer["rows"]])
        return SqlResult(
            columns,
            [
                tuple(value if value is None or f is None else f(value) for f, value in zip(read, row))
                for row in answer["rows"]
            ],
        )
    except (KeyError, TypeError) as error:
        raise AnswerError(f"sql: an answer without {error}") from error


_READERS = {"timestamptz": parse, "timestamp": parse, "date": date.fromisoformat}


def arrow(statement: str, params: Sequence[Parameter]) -> Flow[pa.Table]:
    """Run a statement; its rows as an Arrow table."""
    pa = pyarrow()
    response = yield _call(statement, params, ARROW)
    if not response.headers.get("content-type", "").startswith(ARROW):
        raise AnswerError("sql: the statement changes something and has no rows; use execute()")
    try:
        return pa.ipc.open_stream(response.content).read_all()
    except (pa.ArrowInvalid, OSError) as error:
        raise AnswerError(f"sql: the answer breaks off: {error}") from error


def execute(statement: str, params: Sequence[Parameter]) -> Flow[Change]:
    """Run a statement that changes something."""
    result = yield from rows(statement, params)
    if result.change is None:
        raise AnswerError("sql: the statement has rows and changes nothing; use sql()")
    return result.change
