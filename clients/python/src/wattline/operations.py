"""The operations of the data service, as generators of calls.

Owns: the parameters of each operation as the API takes them, and reading what it answers. Does not own: how many
calls a read takes (:mod:`wattline.paging`), sending them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal, Optional, Union

from .calls import Call, Flow, data_of
from .errors import AnswerError
from .paging import (
    COMBINATIONS_MAX,
    FILTER_ASSETS_MAX,
    ROWS_MAX,
    Answer,
    Ask,
    Gathered,
    Piece,
    at_once,
    buckets,
    changes,
    groups,
    names,
    newest,
    pages,
)
from .results import DeadCheck, SeriesSet, StateDurations, items_of, read_series
from .times import IntervalLike, Range, TimeLike, from_millis, whole

Names = Union[str, Iterable[str]]
"""One name, or several."""

Boundary = Literal["inside", "outside", "interpolated", "sample"]
Interpolation = Literal["linear", "previous", "near", "after"]
Order = Literal["asc", "desc"]
Operator = Literal["eq", "nq", "gt", "ge", "lt", "le", "between", "in"]
Function = Literal["count", "avg", "sum", "max", "min", "first", "last"]
Operand = Union[float, int, str, bool]

_REFUSED = "no permission for the following assets: "
_MINUTE = timedelta(minutes=1)
_MILLISECOND = timedelta(milliseconds=1)


class Scope:
    """What every call of a client says: the organization, and a model if it is restricted to one."""

    def __init__(self, org: str) -> None:
        self.org = org

    def call(self, path: str, params: Mapping[str, Any]) -> Call:
        """Make a call of v2.1."""
        body = {name: value for name, value in params.items() if value is not None}
        encoded = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
        return Call("POST", f"/tsdb-service/v2.1/{path}", path, (("orgId", self.org),), encoded)


def _ask(call: Call) -> Flow[tuple[Any, tuple[str, ...]]]:
    data, submsg = data_of(call, (yield call))
    refused: tuple[str, ...] = ()
    if submsg is not None and submsg.startswith(_REFUSED):
        refused = tuple(submsg[len(_REFUSED) :].split(","))
    return data, refused


def _asking(scope: Scope, path: str, params: Mapping[str, Any], points_name: str, paged: bool) -> Ask:
    """How a piece of a read over a range is asked for."""

    def ask(piece: Piece) -> Flow[Answer]:
        body = {
            "assetIds": ",".join(piece.assets),
            points_name: ",".join(piece.points),
            **piece.range.texts(),
            **params,
            "localTimeAccuracy": True,
            "localTimeFormat": 1,
            "itemFormat": 2,
        }
        if paged:
            body["pageSize"] = piece.page
        if not piece.first and "autoInterpolate" in body:
            body["autoInterpolate"] = False
        data, refused = yield from _ask(scope.call(path, body))
        return read_series(path, data), refused

    return ask


def latest(
    scope: Scope,
    path: str,
    assets: Names,
    points: Names,
    model: Optional[str],
    time_window: Optional[IntervalLike],
    with_local_time: bool,
) -> Flow[SeriesSet]:
    """``latest`` and ``data/last-changed``."""
    asset_list, point_list = names("assets", assets), names("points", points)
    params = {"modelId": model, **_latest_params(time_window, with_local_time)}
    ask = _asking_newest(scope, path, params, "pointIds")
    return SeriesSet(*(yield from at_once(ask, asset_list, point_list, COMBINATIONS_MAX)))


def _asking_newest(scope: Scope, path: str, params: Mapping[str, Any], points_name: str) -> Ask:
    """How a piece of a read of one row a series is asked for."""

    def ask(piece: Piece) -> Flow[Answer]:
        body = {"assetIds": ",".join(piece.assets), points_name: ",".join(piece.points), **params}
        data, refused = yield from _ask(scope.call(path, body))
        return read_series(path, data), refused

    return ask


def _latest_params(time_window: Optional[IntervalLike], with_local_time: bool) -> dict[str, Any]:
    params: dict[str, Any] = {"itemFormat": 2}
    if time_window is not None:
        params["timeWindow"] = whole(time_window, _MINUTE, "time_window")
    if with_local_time:
        params.update(ifWithLocalTime=True, localTimeAccuracy=True, localTimeFormat=1)
    return params


def filter_latest(
    scope: Scope,
    model: str,
    assets: Optional[Names],
    point: str,
    operator: Operator,
    value: Union[Operand, Sequence[Operand]],
    time_window: Optional[IntervalLike],
    with_local_time: bool,
) -> Flow[SeriesSet]:
    """``latest/filter``."""
    [name] = names("point", point)
    params = {
        "modelId": model,
        "operator": operator,
        "valueFilter": _operands(value),
        **_latest_params(time_window, with_local_time),
    }
    if assets is None:
        data, _ = yield from _ask(scope.call("latest/filter", {"pointId": name, **params}))
        return SeriesSet(read_series("latest/filter", data))
    asset_list = names("assets", assets)
    ask = _asking_newest(scope, "latest/filter", params, "pointId")
    return SeriesSet(*(yield from at_once(ask, asset_list, [name], FILTER_ASSETS_MAX)))


def _operands(value: Union[Operand, Sequence[Operand]]) -> str:
    several = [value] if isinstance(value, (str, bool, int, float)) else list(value)
    texts = []
    for one in several:
        text = str(int(one)) if isinstance(one, bool) else str(one)
        if "," in text or not text.strip():
            raise ValueError(f"value: {text!r} cannot be one of a list with commas")
        texts.append(text.strip())
    return ",".join(texts)


def samples(
    scope: Scope,
    path: str,
    assets: Names,
    points: Names,
    start: TimeLike,
    end: TimeLike,
    model: Optional[str],
    limit: Optional[int],
    order: Order,
    params: Mapping[str, Any],
) -> Flow[SeriesSet]:
    """``ai``, ``generic``, ``raw``, ``unified-raw`` and ``unformatted``."""
    asset_list, point_list = names("assets", assets), names("points", points)
    within = Range.of(start, end)
    if limit is not None and limit < 1:
        raise ValueError("limit: at least 1")
    if order not in ("asc", "desc"):
        raise ValueError(f"order: {order!r} is neither 'asc' nor 'desc'")
    if order == "asc":
        ask = _asking(scope, path, {"modelId": model, **params}, "pointIds", paged=True)
        return SeriesSet(*(yield from pages(ask, asset_list, point_list, within, limit)))
    if limit is not None and limit <= ROWS_MAX:
        descending = {"modelId": model, **params, "orderBy": "timestamp desc"}
        ask = _asking(scope, path, descending, "pointIds", paged=True)
        return SeriesSet(*(yield from newest(ask, asset_list, point_list, within, limit)))
    # No page holds so many: everything, from its end.
    ask = _asking(scope, path, {"modelId": model, **params}, "pointIds", paged=True)
    series, refused = yield from pages(ask, asset_list, point_list, within, None)
    return SeriesSet([one.part(slice(None, None, -1)).part(slice(0, limit)) for one in series], refused)


def boundary_params(
    boundary: Boundary, interval: Optional[IntervalLike], interpolation: Interpolation, with_quality: bool
) -> dict[str, Any]:
    """What ``ai``, ``generic``, ``raw`` and ``unified-raw`` have in common."""
    if boundary != "sample" and interval is not None:
        raise ValueError("interval: only with boundary='sample'")
    params: dict[str, Any] = {"boundaryType": boundary, "withQuality": with_quality}
    if boundary == "sample":
        params["interval"] = 60 if interval is None else whole(interval, timedelta(seconds=1), "interval")
        params["interpolation"] = interpolation
    return params


def aggregates(
    scope: Scope,
    path: str,
    assets: Names,
    points: Names,
    start: TimeLike,
    end: TimeLike,
    functions: Union[Function, Iterable[Function], None],
    interval: Optional[IntervalLike],
    model: Optional[str],
) -> Flow[SeriesSet]:
    """``ai-normalized`` and ``electric-power``."""
    asset_list, point_list = names("assets", assets), names("points", points)
    within = Range.of(start, end)
    minutes = 0 if interval is None else whole(interval, _MINUTE, "interval")
    if not 0 <= minutes <= 1440:
        raise ValueError(f"interval: {minutes} minutes are not from 0 to 1440")
    if (functions is None) != (minutes == 0):
        raise ValueError("functions and interval belong together; without both, stored values are read")
    columns = point_list
    if functions is not None:
        named = names("functions", functions)
        columns = [f"{function}({point})" for point in point_list for function in named]
    params = {"modelId": model, "interval": minutes}
    ask = _asking(scope, path, params, "pointIdsWithLogic", paged=True)
    step = timedelta(minutes=max(1, minutes))
    return SeriesSet(*(yield from buckets(ask, asset_list, columns, within, step)))


def current_day(scope: Scope, assets: Names, points: Names, model: Optional[str]) -> Flow[SeriesSet]:
    """``electric-power/current-day``."""
    asset_list, point_list = names("assets", assets), names("points", points)
    params = {"modelId": model, "localTimeAccuracy": True, "localTimeFormat": 1, "itemFormat": 2}
    ask = _asking_newest(scope, "electric-power/current-day", params, "pointIds")
    sums = [f"sum({point})" for point in point_list]
    return SeriesSet(*(yield from at_once(ask, asset_list, point_list, COMBINATIONS_MAX, sums)))


def status_changes(
    scope: Scope,
    assets: Names,
    points: Names,
    start: TimeLike,
    end: TimeLike,
    interpolate: bool,
    model: Optional[str],
) -> Flow[SeriesSet]:
    """``di``."""
    asset_list, point_list = names("assets", assets), names("points", points)
    params = {"modelId": model, "autoInterpolate": interpolate}
    ask = _asking(scope, "di", params, "pointIds", paged=False)
    return SeriesSet(*(yield from changes(ask, asset_list, point_list, Range.of(start, end))))


def status_durations(
    scope: Scope,
    assets: Names,
    points: Names,
    start: TimeLike,
    end: TimeLike,
    status: Union[int, str, Iterable[Union[int, str]], None],
    with_unknown: Optional[bool],
    model: Optional[str],
) -> Flow[tuple[list[StateDurations], tuple[str, ...]]]:
    """``di/duration``."""
    path = "di/duration"
    asset_list, point_list = names("assets", assets), names("points", points)
    within = Range.of(start, end)
    states: Optional[str] = None
    if status is not None:
        states = _operands([status] if isinstance(status, (int, str)) else list(status))
    params = {"modelId": model, **within.texts(), "status": states, "ifWithUnknown": with_unknown}

    def ask(piece: Piece) -> Flow[tuple[list[StateDurations], tuple[str, ...]]]:
        body = {"assetIds": ",".join(piece.assets), "pointIds": ",".join(piece.points), **params}
        data, refused = yield from _ask(scope.call(path, body))
        return [_durations(path, item) for item in items_of(path, data)], refused

    gathered = Gathered(asset_list, point_list)
    found: list[StateDurations] = []
    for some_assets, some_points in groups(asset_list, point_list, COMBINATIONS_MAX):
        found += yield from gathered.ask(ask, Piece(some_assets, some_points))
    gathered.check()
    return found, tuple(gathered.refused)


def _durations(path: str, item: Any) -> StateDurations:
    try:
        lasted = {each["status"]: each["duration"] * _MILLISECOND for each in item["durations"]}
        unknown = lasted.pop("Unknown", None)
        end = from_millis(item["scanEndTimestamp"])
        return StateDurations(item["assetId"], item["pointId"], lasted, unknown, end)
    except (KeyError, TypeError) as error:
        raise AnswerError(f"{path}: an item without {error}") from error


def check_dead(
    scope: Scope, checks: Iterable[tuple[str, str, IntervalLike]]
) -> Flow[tuple[list[DeadCheck], tuple[str, ...]]]:
    """``data/latest/check-dead``."""
    path = "data/latest/check-dead"
    payload = [
        {"assetId": asset, "pointId": point, "interval": whole(interval, _MILLISECOND, "interval")}
        for asset, point, interval in checks
    ]
    if not payload:
        raise ValueError("checks: none are given")
    found: list[DeadCheck] = []
    refused: dict[str, None] = {}
    for at in range(0, len(payload), COMBINATIONS_MAX):
        data, not_ours = yield from _ask(scope.call(path, {"payload": payload[at : at + COMBINATIONS_MAX]}))
        refused.update(dict.fromkeys(not_ours))
        found += [_dead(path, item) for item in items_of(path, data)]
    return found, tuple(refused)


def _dead(path: str, item: Any) -> DeadCheck:
    try:
        return DeadCheck(
            item["assetId"],
            item["pointId"],
            item["judgeResult"],
            item["duration"] * _MILLISECOND,
            item["lastChangedValue"],
            from_millis(item["lastChangedTimestamp"]),
        )
    except (KeyError, TypeError) as error:
        raise AnswerError(f"{path}: an item without {error}") from error


def storage_types(scope: Scope, models: Names, points: Optional[Names]) -> Flow[dict[str, dict[str, list[str]]]]:
    """``/tsdb-policy/v2.0/policies``."""
    query = [("orgId", scope.org), ("modelIds", ",".join(names("models", models)))]
    if points is not None:
        query.append(("measurepoints", ",".join(names("points", points))))
    call = Call("GET", "/tsdb-policy/v2.0/policies", "policies", tuple(query))
    data, _ = data_of(call, (yield call))
    try:
        return {model["modelId"]: dict(model["tsdb_metadata"]) for model in data}
    except (KeyError, TypeError, ValueError) as error:
        raise AnswerError(f"{call.operation}: a model without {error}") from error
