"""The asynchronous client."""

from __future__ import annotations

import asyncio
import ssl
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


class AsyncClient:
    """A asynchronous client of one organization, with the methods of :class:`wattline.Client`.

    It keeps connections open, and tasks of one event loop may share it; close it, or use it in a ``async with`` block.

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
        transport: Optional[httpx.AsyncBaseTransport] = None,
    ) -> None:
        self._scope = Scope(org)
        self._session = Session(account, token, retry)
        self._http = httpx.AsyncClient(**settings(url, timeout), verify=verify, transport=transport)

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        await self.close()

    async def _run(self, flow: Flow[T]) -> T:
        """Carry out the steps of an operation."""
        steps = self._session.steps(flow)
        try:
            step = next(steps)
            while True:
                if isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                    step = steps.send(None)
                    continue
                try:
                    response = received(await self._exchange(step))
                except httpx.RequestError as error:
                    step = steps.throw(failed(step.call, error))
                else:
                    step = steps.send(response)
        except StopIteration as stop:
            result: T = stop.value
            note(result.refused if isinstance(result, SeriesSet) else ())
            return result

    async def _exchange(self, step: Exchange) -> httpx.Response:
        return await self._http.request(**step.request())

    # The methods are those of Client, one by one; a test compares them. What arguments mean is told there.

    # --- newest values

    async def latest(
        self,
        assets: Names,
        points: Names,
        *,
        model: Optional[str] = None,
        time_window: Optional[IntervalLike] = None,
        with_local_time: bool = False,
    ) -> SeriesSet:
        """Read the newest value of each point."""
        return await self._run(
            operations.latest(self._scope, "latest", assets, points, model, time_window, with_local_time)
        )

    async def filter_latest(
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
        """Read the newest values that meet a condition."""
        return await self._run(
            operations.filter_latest(self._scope, model, assets, point, operator, value, time_window, with_local_time)
        )

    async def last_changed(
        self, assets: Names, points: Names, *, model: Optional[str] = None, with_local_time: bool = False
    ) -> SeriesSet:
        """Read since when values are what they are (policy LAST_CHANGED)."""
        return await self._run(
            operations.latest(self._scope, "data/last-changed", assets, points, model, None, with_local_time)
        )

    async def check_dead(self, checks: Iterable[tuple[str, str, IntervalLike]]) -> list[DeadCheck]:
        """Tell whether values have not changed for longer than they may."""
        found, refused = await self._run(operations.check_dead(self._scope, checks))
        note(refused)
        return found

    # --- history

    async def ai(
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
        return await self._samples("ai", assets, points, start, end, model, limit, "asc", params)

    async def generic(
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
        return await self._samples("generic", assets, points, start, end, model, limit, "asc", params)

    async def raw(
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
        """Read values of every storage type, in ``[start, end)``."""
        params = operations.boundary_params(boundary, interval, interpolation, with_quality)
        return await self._samples("raw", assets, points, start, end, model, limit, order, params)

    async def unified_raw(
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
        return await self._samples("unified-raw", assets, points, start, end, model, limit, order, params)

    async def unformatted(
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
        return await self._samples("unformatted", assets, point, start, end, model, limit, order, {})

    async def ai_normalized(
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
        """Read minute values (AI_NORMALIZED), or aggregates of them by interval."""
        return await self._run(
            operations.aggregates(self._scope, "ai-normalized", assets, points, start, end, functions, interval, model)
        )

    async def electric_power(
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
        return await self._run(
            operations.aggregates(self._scope, "electric-power", assets, points, start, end, functions, interval, model)
        )

    async def current_day(self, assets: Names, points: Names, *, model: Optional[str] = None) -> SeriesSet:
        """Read the energy since midnight at the asset (PI); the series are called ``sum(energy)``."""
        return await self._run(operations.current_day(self._scope, assets, points, model))

    async def di(
        self,
        assets: Names,
        points: Names,
        start: TimeLike,
        end: TimeLike,
        *,
        interpolate: bool = False,
        model: Optional[str] = None,
    ) -> SeriesSet:
        """Read changes of status (DI)."""
        return await self._run(operations.status_changes(self._scope, assets, points, start, end, interpolate, model))

    async def di_duration(
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
        """Read how long each status lasted (DI), in the first 640,000 records of each series."""
        found, refused = await self._run(
            operations.status_durations(self._scope, assets, points, start, end, status, with_unknown, model)
        )
        note(refused)
        return found

    async def storage_types(self, models: Names, points: Optional[Names] = None) -> dict[str, dict[str, list[str]]]:
        """Tell how points are stored: by model and point, ``AI_RAW``, ``AI_NORMALIZED``, ``DI``, ``PI`` …"""
        return await self._run(operations.storage_types(self._scope, models, points))

    # --- SQL

    async def sql(self, statement: str, params: Sequence[Parameter] = ()) -> SqlResult:
        """Run a statement; rows as Python values. Parameters are ``$1``, ``$2`` … in the statement."""
        return await self._run(sql.rows(statement, params))

    async def sql_arrow(self, statement: str, params: Sequence[Parameter] = ()) -> pa.Table:
        """Run a statement; rows as an Arrow table (extra ``arrow``)."""
        return await self._run(sql.arrow(statement, params))

    async def sql_pandas(self, statement: str, params: Sequence[Parameter] = ()) -> pd.DataFrame:
        """Run a statement; rows as a DataFrame (extra ``pandas``)."""
        return (await self._run(sql.arrow(statement, params))).to_pandas()

    async def execute(self, statement: str, params: Sequence[Parameter] = ()) -> Change:
        """Run a statement that changes something: ``INSERT``, ``DELETE``, ``CREATE TABLE`` …"""
        return await self._run(sql.execute(statement, params))

    # --- writing

    async def write(self, model: str, data: Data, *, zone: Zone = None, strict: bool = True) -> WriteResult:
        """Write samples. When this returns they are durable, and visible to the next query."""
        return await self._run(samples.write(model, self._scope.org, data, zone, strict))

    async def _samples(
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
        return await self._run(
            operations.samples(self._scope, path, assets, points, start, end, model, limit, order, params)
        )
