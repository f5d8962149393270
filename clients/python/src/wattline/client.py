"""The blocking client."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Optional, TypeVar, Union

import httpx

from . import operations, samples, sql
from .auth import ServiceAccount
from .calls import Flow
from .operations import (
    Boundary,
    Function,
    Interpolation,
    Names,
    Operand,
    Operator,
    Order,
    Scope,
)
from .results import DeadCheck, SeriesSet, StateDurations
from .retry import Pause, Retry
from .samples import Data, WriteResult, Zone
from .session import Exchange, Session
from .sql import Change, Parameter, SqlResult
from .times import IntervalLike, TimeLike
from .wire import failed, note, received, settings

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

T = TypeVar("T")


class Client:
    """A blocking client of one organization.

    It keeps connections open, and threads may share it; close it, or use it in a ``with`` block.

    Args:
        url: where the server's HTTP is, as in ``http://localhost:8080``.
        org: the organization whose data is read and written.
        account: the service account that calls the data service.
        token: the operator's token (``http.token``): for SQL and writes, and for the data service where there is no
            account.
        timeout: seconds that connecting, or any silence of the server, may last; or an ``httpx.Timeout``.
        retry: how persistent it is.
        verify: whether certificates are checked, or an ``ssl.SSLContext`` to check them with.
        transport: another transport of httpx, as for tests.

    """

    def __init__(
        self,
        url: str,
        *,
        org: str = "default",
        account: Optional[ServiceAccount] = None,
        token: Optional[str] = None,
        timeout: Union[float, httpx.Timeout] = 60.0,
        retry: Retry = Retry(),  # noqa: B008 - it is frozen
        verify: Union[bool, ssl.SSLContext] = True,
        transport: Optional[httpx.BaseTransport] = None,
    ) -> None:
        self._scope = Scope(org)
        self._session = Session(account, token, retry)
        self._http = httpx.Client(**settings(url, timeout), verify=verify, transport=transport)

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()

    def _run(self, flow: Flow[T]) -> T:
        """Carry out the steps of an operation."""
        steps = self._session.steps(flow)
        try:
            step = next(steps)
            while True:
                if isinstance(step, Pause):
                    time.sleep(step.seconds)
                    step = steps.send(None)
                    continue
                try:
                    response = received(self._exchange(step))
                except httpx.RequestError as error:
                    step = steps.throw(failed(step.call, error))
                else:
                    step = steps.send(response)
        except StopIteration as stop:
            result: T = stop.value
            note(result.refused if isinstance(result, SeriesSet) else ())
            return result

    def _exchange(self, step: Exchange) -> httpx.Response:
        return self._http.request(**step.request())

    # --- newest values

    def latest(
        self,
        assets: Names,
        points: Names,
        *,
        model: Optional[str] = None,
        time_window: Optional[IntervalLike] = None,
        with_local_time: bool = False,
    ) -> SeriesSet:
        """Read the newest value of each point.

        Args:
            assets: asset ids, any number of them.
            points: points of their models.
            model: only assets of this model, or of one that inherits from it; others are an error.
            time_window: only values of the last so many minutes (a number, or a ``timedelta``).
            with_local_time: also what the clock of the asset showed.

        """
        return self._run(operations.latest(self._scope, "latest", assets, points, model, time_window, with_local_time))

    def filter_latest(
        self,
        model: str,
        assets: Optional[Names],
        point: str,
        operator: Operator,
        value: Union[Operand, Sequence[Operand]],
        *,
        time_window: Optional[IntervalLike] = None,
        with_local_time: bool = False,
    ) -> SeriesSet:
        """Read the newest values that meet a condition.

        As in ``filter_latest("turbine", ids, "power", "gt", 1500)``. ``between`` takes two values, both inside; ``in``
        any number. Where ``assets`` is ``None``, all assets of the model are looked at.
        """
        return self._run(
            operations.filter_latest(self._scope, model, assets, point, operator, value, time_window, with_local_time)
        )

    def last_changed(
        self, assets: Names, points: Names, *, model: Optional[str] = None, with_local_time: bool = False
    ) -> SeriesSet:
        """Read since when values are what they are (policy LAST_CHANGED)."""
        return self._run(
            operations.latest(self._scope, "data/last-changed", assets, points, model, None, with_local_time)
        )

    def check_dead(self, checks: Iterable[tuple[str, str, IntervalLike]]) -> list[DeadCheck]:
        """Tell whether values have not changed for longer than they may.

        Args:
            checks: asset, point, and how long it may stay unchanged: a ``timedelta``, or milliseconds.

        """
        found, refused = self._run(operations.check_dead(self._scope, checks))
        note(refused)
        return found

    # --- history

    def ai(
        self,
        assets: Names,
        points: Names,
        start: TimeLike,
        end: TimeLike,
        *,
        limit: Optional[int] = None,
        model: Optional[str] = None,
        with_quality: bool = False,
        boundary: Boundary = "inside",
        interval: Optional[IntervalLike] = None,
        interpolation: Interpolation = "linear",
    ) -> SeriesSet:
        """Read measured values as they were sent (AI_RAW). The arguments are those of :meth:`raw`."""
        params = operations.boundary_params(boundary, interval, interpolation, with_quality)
        return self._samples("ai", assets, points, start, end, model, limit, "asc", params)

    def generic(
        self,
        assets: Names,
        points: Names,
        start: TimeLike,
        end: TimeLike,
        *,
        limit: Optional[int] = None,
        model: Optional[str] = None,
        with_quality: bool = False,
        boundary: Boundary = "inside",
        interval: Optional[IntervalLike] = None,
        interpolation: Interpolation = "linear",
    ) -> SeriesSet:
        """Read values of any type (GENERIC). The arguments are those of :meth:`raw`."""
        params = operations.boundary_params(boundary, interval, interpolation, with_quality)
        return self._samples("generic", assets, points, start, end, model, limit, "asc", params)

    def raw(
        self,
        assets: Names,
        points: Names,
        start: TimeLike,
        end: TimeLike,
        *,
        limit: Optional[int] = None,
        order: Order = "asc",
        model: Optional[str] = None,
        with_quality: bool = False,
        boundary: Boundary = "inside",
        interval: Optional[IntervalLike] = None,
        interpolation: Interpolation = "linear",
    ) -> SeriesSet:
        """Read values of every storage type, in ``[start, end)``.

        As many calls are made as it takes: neither assets times points nor rows have a limit here but memory.

        Args:
            assets: asset ids.
            points: points of their models.
            start: with a zone, an instant; without, what the clock of each asset shows.
            end: in the same form; not inside.
            limit: samples of each series at most: the first ones in the order asked for.
            order: of time.
            model: only assets of this model, or of one that inherits from it.
            with_quality: also qualities.
            boundary: ``outside`` adds the neighbours of the range, ``interpolated`` calculated values at its ends;
                ``sample`` gives calculated values alone, every ``interval``.
            interval: seconds, or a ``timedelta``; 60 seconds where it is not given.
            interpolation: how ``sample`` calculates.

        """
        params = operations.boundary_params(boundary, interval, interpolation, with_quality)
        return self._samples("raw", assets, points, start, end, model, limit, order, params)

    def unified_raw(
        self,
        assets: Names,
        points: Names,
        start: TimeLike,
        end: TimeLike,
        *,
        limit: Optional[int] = None,
        order: Order = "asc",
        model: Optional[str] = None,
        with_quality: bool = False,
        boundary: Boundary = "inside",
        interval: Optional[IntervalLike] = None,
        interpolation: Interpolation = "linear",
    ) -> SeriesSet:
        """Read values of points inside and outside the model. The arguments are those of :meth:`raw`."""
        params = operations.boundary_params(boundary, interval, interpolation, with_quality)
        return self._samples("unified-raw", assets, points, start, end, model, limit, order, params)

    def unformatted(
        self,
        assets: Names,
        point: str,
        start: TimeLike,
        end: TimeLike,
        *,
        limit: Optional[int] = None,
        order: Order = "asc",
        model: Optional[str] = None,
    ) -> SeriesSet:
        """Read values of one point outside the model. The arguments are those of :meth:`raw`."""
        return self._samples("unformatted", assets, point, start, end, model, limit, order, {})

    def ai_normalized(
        self,
        assets: Names,
        points: Names,
        start: TimeLike,
        end: TimeLike,
        *,
        functions: Union[Function, Iterable[Function], None] = None,
        interval: Optional[IntervalLike] = None,
        model: Optional[str] = None,
    ) -> SeriesSet:
        """Read minute values (AI_NORMALIZED), or aggregates of them by interval.

        Args:
            assets: asset ids.
            points: points of their models.
            start: as in :meth:`raw`; the grid of buckets begins here.
            end: as in :meth:`raw`.
            functions: ``count``, ``avg``, ``sum``, ``max``, ``min``, ``first``, ``last``; each of each point. The
                series are called ``avg(power)`` then, and a bucket has the time of its start.
            interval: minutes of a bucket, up to a day, or a ``timedelta``. On local times a day is from midnight to
                midnight, whatever clocks do.
            model: only assets of this model, or of one that inherits from it.

        """
        return self._run(
            operations.aggregates(self._scope, "ai-normalized", assets, points, start, end, functions, interval, model)
        )

    def electric_power(
        self,
        assets: Names,
        points: Names,
        start: TimeLike,
        end: TimeLike,
        *,
        functions: Union[Function, Iterable[Function], None] = None,
        interval: Optional[IntervalLike] = None,
        model: Optional[str] = None,
    ) -> SeriesSet:
        """Read energy (PI), or aggregates of it by interval. The arguments are those of :meth:`ai_normalized`."""
        return self._run(
            operations.aggregates(self._scope, "electric-power", assets, points, start, end, functions, interval, model)
        )

    def current_day(self, assets: Names, points: Names, *, model: Optional[str] = None) -> SeriesSet:
        """Read the energy since midnight at the asset (PI); the series are called ``sum(energy)``."""
        return self._run(operations.current_day(self._scope, assets, points, model))

    def di(
        self,
        assets: Names,
        points: Names,
        start: TimeLike,
        end: TimeLike,
        *,
        interpolate: bool = False,
        model: Optional[str] = None,
    ) -> SeriesSet:
        """Read changes of status (DI).

        ``interpolate`` adds the status at the start, of up to 30 days before.
        """
        return self._run(operations.status_changes(self._scope, assets, points, start, end, interpolate, model))

    def di_duration(
        self,
        assets: Names,
        points: Names,
        start: TimeLike,
        end: TimeLike,
        *,
        status: Union[int, str, Iterable[Union[int, str]], None] = None,
        with_unknown: Optional[bool] = None,
        model: Optional[str] = None,
    ) -> list[StateDurations]:
        """Read how long each status lasted (DI), in the first 640,000 records of each series.

        ``status``: only these. ``with_unknown``: also for how long it is not known; by default where ``status`` is not
        given.
        """
        found, refused = self._run(
            operations.status_durations(self._scope, assets, points, start, end, status, with_unknown, model)
        )
        note(refused)
        return found

    def storage_types(self, models: Names, points: Optional[Names] = None) -> dict[str, dict[str, list[str]]]:
        """Tell how points are stored: by model and point, ``AI_RAW``, ``AI_NORMALIZED``, ``DI``, ``PI`` …"""
        return self._run(operations.storage_types(self._scope, models, points))

    # --- SQL

    def sql(self, statement: str, params: Sequence[Parameter] = ()) -> SqlResult:
        """Run a statement; rows as Python values. Parameters are ``$1``, ``$2`` … in the statement."""
        return self._run(sql.rows(statement, params))

    def sql_arrow(self, statement: str, params: Sequence[Parameter] = ()) -> pa.Table:
        """Run a statement; rows as an Arrow table (extra ``arrow``)."""
        return self._run(sql.arrow(statement, params))

    def sql_pandas(self, statement: str, params: Sequence[Parameter] = ()) -> pd.DataFrame:
        """Run a statement; rows as a DataFrame (extra ``pandas``)."""
        return self._run(sql.arrow(statement, params)).to_pandas()

    def execute(self, statement: str, params: Sequence[Parameter] = ()) -> Change:
        """Run a statement that changes something: ``INSERT``, ``DELETE``, ``CREATE TABLE`` …"""
        return self._run(sql.execute(statement, params))

    # --- writing

    def write(self, model: str, data: Data, *, zone: Zone = None, strict: bool = True) -> WriteResult:
        """Write samples. When this returns they are durable, and visible to the next query.

        Columns are ``asset_id`` (or ``product_key`` and ``device_key``), ``time``, points by their names, and
        ``<point>_quality`` where wanted. What is null is no sample. Writing the same again is harmless.

        Args:
            model: the model of the assets.
            data: rows as mappings, a ``pandas.DataFrame``, or a ``pyarrow`` table, batch or reader.
            zone: how times without a zone are meant; without it they are refused. A number is milliseconds since the
                epoch.
            strict: raise :class:`SamplesRejectedError` where some were refused; all others are stored either way.

        """
        return self._run(samples.write(model, self._scope.org, data, zone, strict))

    def _samples(
        self,
        path: str,
        assets: Names,
        points: Names,
        start: TimeLike,
        end: TimeLike,
        model: Optional[str],
        limit: Optional[int],
        order: Order,
        params: Mapping[str, Any],
    ) -> SeriesSet:
        return self._run(operations.samples(self._scope, path, assets, points, start, end, model, limit, order, params))
