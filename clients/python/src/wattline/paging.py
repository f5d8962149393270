"""Calls that together answer what one may not: limits of the data service, and how reads stay within them.

Owns: cutting assets, points and ranges; going on where a page ended; smaller calls where an answer was too large. Does
not own: what a call looks like (:mod:`wattline.operations`).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Callable, Optional, TypeVar, Union

from .calls import Flow
from .errors import ApiError, InvalidRequestError, PermissionDeniedError, ResultTooLargeError, WattlineError
from .results import Series
from .times import EPOCH, Range, from_millis, parse

R = TypeVar("R")

NO_RANGE = Range(EPOCH, EPOCH)
"""The range of calls that have none."""

COMBINATIONS_MAX = 3_000
"""Assets times points of one call."""

ROWS_MAX = 640_000
"""Assets times points times ``pageSize`` of one call."""

FILTER_ASSETS_MAX = 200_000
"""Assets of one call to filter latest values."""

PAGE_ROWS = 10_000
"""Rows of each series that a call asks for at first: 64 series fill an answer then."""

LONG_PAGE_ROWS = 100_000
"""Rows of a series that is read further by itself."""

Answer = tuple[list[Series], tuple[str, ...]]
"""Series, and assets that are not the caller's."""


def names(what: str, given: Union[str, Iterable[str]]) -> list[str]:
    """Read a list of assets or points: each once, in order. A list on the wire has commas, so a name has none."""
    listed = list(dict.fromkeys([given] if isinstance(given, str) else given))
    for name in listed:
        if not isinstance(name, str) or not name.strip() or "," in name:
            raise ValueError(f"{what}: {name!r} is no name")
    if not listed:
        raise ValueError(f"{what}: none are given")
    return listed


def groups(assets: Sequence[str], points: Sequence[str], most: int) -> Iterator[tuple[list[str], list[str]]]:
    """Cut assets and points into groups of at most ``most`` combinations."""
    points_each = min(len(points), most)
    assets_each = max(1, most // points_each)
    for a in range(0, len(assets), assets_each):
        for p in range(0, len(points), points_each):
            yield list(assets[a : a + assets_each]), list(points[p : p + points_each])


@dataclass(frozen=True)
class Piece:
    """What one call asks for."""

    assets: list[str]
    points: list[str]
    range: Range = NO_RANGE
    page: int = 1
    first: bool = True
    """Whether it begins where the whole read begins."""

    @property
    def combinations(self) -> int:
        """Assets times points."""
        return len(self.assets) * len(self.points)

    def split(self) -> Optional[list[Piece]]:
        """Two pieces with half the combinations each, unless there is one only."""
        if len(self.assets) > 1:
            half = len(self.assets) // 2
            return [replace(self, assets=self.assets[:half]), replace(self, assets=self.assets[half:])]
        if len(self.points) > 1:
            half = len(self.points) // 2
            return [replace(self, points=self.points[:half]), replace(self, points=self.points[half:])]
        return None


Ask = Callable[[Piece], Flow[Answer]]

_UNKNOWN_POINT = re.compile(r"\w+: (.+) is not in the model")


@dataclass
class Gathered:
    """What comes of the calls of one read, as if it were one call.

    A call about a part of the assets may be refused where one about all of them is not: none of these assets is the
    caller's, or none of them has one of the points. That refuses the read only where it is so of all parts.
    """

    assets: list[str]
    points: list[str]
    found: dict[tuple[str, str], Series] = field(default_factory=dict)
    refused: dict[str, None] = field(default_factory=dict)
    _answered: set[str] = field(default_factory=set)
    _denied: Optional[ApiError] = None
    _unknown: dict[str, ApiError] = field(default_factory=dict)

    def ask(self, ask: Callable[[Piece], Flow[tuple[list[R], tuple[str, ...]]]], piece: Piece) -> Flow[list[R]]:
        """Make the call for ``piece``."""
        is_part = len(piece.assets) < len(self.assets) or len(piece.points) < len(self.points)
        while True:
            try:
                answer, refused = yield from ask(piece)
            except PermissionDeniedError as error:
                if not is_part:
                    raise
                self._denied = error
                self.refused.update(dict.fromkeys(piece.assets))
                return []
            except InvalidRequestError as error:
                unknown = _UNKNOWN_POINT.fullmatch(error.detail or "")
                left = [p for p in piece.points if unknown and p != unknown[1] and not p.endswith(f"({unknown[1]})")]
                if not is_part or unknown is None or len(left) == len(piece.points):
                    raise
                self._unknown.update(dict.fromkeys(set(piece.points) - set(left), error))
                if not left:
                    return []
                piece = replace(piece, points=left)
            else:
                self._answered.update(piece.points)
                self.refused.update(dict.fromkeys(refused))
                return answer

    def check(self) -> None:
        """Raise what was refused of all parts."""
        if self._denied is not None and not self._answered and not self._unknown:
            raise self._denied
        for point, error in self._unknown.items():
            if point not in self._answered:
                raise error

    def take(self, one: Series) -> None:
        """Append a part of a series."""
        if len(one) == 0:
            return
        self.found.setdefault((one.asset_id, one.point), Series(one.asset_id, one.point)).extend(one)

    def ordered(self, points: Optional[Sequence[str]] = None) -> Answer:
        """All series, by asset and point."""
        self.check()
        called = self.points if points is None else points
        series = [self.found[asset, p] for asset in self.assets for p in called if (asset, p) in self.found]
        return series, tuple(self.refused)


def at_once(
    ask: Ask, assets: list[str], points: list[str], most: int, called: Optional[Sequence[str]] = None
) -> Flow[Answer]:
    """Read what has a row a series: as many calls as combinations need. ``called``: what answers call the points."""
    gathered = Gathered(assets, points)
    for some_assets, some_points in groups(assets, points, most):
        for one in (yield from gathered.ask(ask, Piece(some_assets, some_points))):
            gathered.take(one)
    return gathered.ordered(called)


def pages(ask: Ask, assets: list[str], points: list[str], within: Range, limit: Optional[int]) -> Flow[Answer]:
    """Read ascending samples, as many of each series as there are, or the first ``limit`` of them."""
    gathered = Gathered(assets, points)
    page = PAGE_ROWS if limit is None else max(1, min(PAGE_ROWS, limit))
    together = min(COMBINATIONS_MAX, ROWS_MAX // page)
    pieces = deque(Piece(a, p, within, page) for a, p in groups(assets, points, together))
    while pieces:
        piece = pieces.popleft()
        try:
            series = yield from gathered.ask(ask, piece)
        except ResultTooLargeError:
            pieces.extendleft(reversed(_smaller(piece)))
            continue
        for one in series:
            further = _take_page(gathered, one, piece, limit)
            if further is not None:
                pieces.appendleft(further)
    return gathered.ordered()


def _smaller(piece: Piece) -> list[Piece]:
    halves = piece.split()
    if halves is not None:
        return halves
    if piece.page <= 2:
        raise WattlineError(f"one sample of {piece.assets[0]} is too large for an answer")
    return [replace(piece, page=max(2, piece.page // 4))]


def _take_page(gathered: Gathered, one: Series, piece: Piece, limit: Optional[int]) -> Optional[Piece]:
    """Take what a page holds; what to ask next of this series, if there may be more."""
    known = gathered.found.get((one.asset_id, one.point))
    have = 0 if known is None else len(known)
    size = len(one)
    if known is not None and size:
        # The local time that a page began with may be shown twice; then it began an hour early.
        new = next((i for i, time in enumerate(one.timestamps) if time > known.timestamps[-1]), size)
        one = one.part(slice(new, None))
    if limit is not None and have + len(one) >= limit:
        gathered.take(one.part(slice(0, limit - have)))
        return None
    if size < piece.page or _is_past(one, piece):
        gathered.take(one)
        return None
    # Samples finer than milliseconds may share the last timestamp with some that the page has no room for.
    last = one.timestamps[-1] if one.timestamps else None
    kept = next((i for i, time in enumerate(one.timestamps) if time == last), 0)
    gathered.take(one.part(slice(0, kept)))
    if kept == 0:
        if piece.page >= ROWS_MAX:
            raise WattlineError(
                f"{one.asset_id}, {one.point}: more than {ROWS_MAX} samples within a millisecond, or within an hour "
                "that the clock shows twice (give times with a zone there)"
            )
        page = min(ROWS_MAX, max(piece.page * 8, LONG_PAGE_ROWS))
        return replace(piece, assets=[one.asset_id], points=[_name_of(one, piece)], page=page)
    start = _clock(one, kept, piece.range)
    if limit is not None:
        # One more for a neighbour before the start, which is known already.
        page = min(LONG_PAGE_ROWS, limit - have - kept + 1)
    else:
        page = LONG_PAGE_ROWS if piece.page >= PAGE_ROWS else piece.page
    return Piece([one.asset_id], [_name_of(one, piece)], piece.range.starting(start), page, first=False)


def _name_of(one: Series, piece: Piece) -> str:
    return one.point if one.point in piece.points else piece.points[0]


def _is_past(one: Series, piece: Piece) -> bool:
    """Whether the page ended with the neighbour after the range (``boundary="outside"``)."""
    if not one.timestamps:
        return False
    return _clock(one, len(one) - 1, piece.range) >= piece.range.end


def _clock(one: Series, row: int, within: Range) -> datetime:
    """The time of a row in the form of a range."""
    if not within.is_local:
        return from_millis(one.timestamps[row])
    if one.local_times is None:
        raise AssertionError("ranges are always answered with local times")
    return parse(one.local_times[row]).replace(tzinfo=None)


def newest(ask: Ask, assets: list[str], points: list[str], within: Range, limit: int) -> Flow[Answer]:
    """Read the newest ``limit`` samples of each series, which one page each can hold, newest first."""
    gathered = Gathered(assets, points)
    together = min(COMBINATIONS_MAX, ROWS_MAX // limit)
    pieces = deque(Piece(a, p, within, limit) for a, p in groups(assets, points, together))
    while pieces:
        piece = pieces.popleft()
        try:
            series = yield from gathered.ask(ask, piece)
        except ResultTooLargeError:
            halves = piece.split()
            if halves is None:
                raise
            pieces.extendleft(reversed(halves))
            continue
        for one in series:
            gathered.take(one)
    return gathered.ordered()


def buckets(ask: Ask, assets: list[str], columns: list[str], within: Range, step: timedelta) -> Flow[Answer]:
    """Read aggregates, whose number a range bounds: each call is asked for no more than an answer may hold."""
    gathered = Gathered(assets, columns)
    most = max(1, -(-(within.end - within.start) // step))
    if within.is_local:
        most += -(-timedelta(hours=4) // step) + 1
    # As many buckets as there are, or a page of them; then as many series as fit beside.
    page = min(most + 1, PAGE_ROWS)
    together = min(COMBINATIONS_MAX, ROWS_MAX // page)
    pieces = deque(
        Piece(a, c, part, page) for a, c in groups(assets, columns, together) for part in within.cut(step, page)
    )
    while pieces:
        piece = pieces.popleft()
        try:
            series = yield from gathered.ask(ask, piece)
        except ResultTooLargeError:
            halves = piece.split()
            if halves is None:
                raise
            pieces.extendleft(reversed(halves))
            continue
        for one in series:
            gathered.take(one)
    return gathered.ordered()


def changes(ask: Ask, assets: list[str], points: list[str], within: Range) -> Flow[Answer]:
    """Read changes of status, which have no page: where an answer is too large, fewer series or a shorter range."""
    gathered = Gathered(assets, points)
    pieces = deque(Piece(a, p, within, ROWS_MAX) for a, p in groups(assets, points, COMBINATIONS_MAX))
    while pieces:
        piece = pieces.popleft()
        try:
            series = yield from gathered.ask(ask, piece)
        except ResultTooLargeError:
            smaller = piece.split()
            if smaller is None:
                halves = piece.range.halves()
                if halves is None:
                    raise
                early, late = halves
                smaller = [replace(piece, range=early), replace(piece, range=late, first=False)]
            pieces.extendleft(reversed(smaller))
            continue
        for one in series:
            known = gathered.found.get((one.asset_id, one.point))
            # The first record of a range is always there, whether it is a change or not.
            if known is not None and len(one) and one.values[0] == known.values[-1]:
                one = one.part(slice(1, None))
            gathered.take(one)
    return gathered.ordered()
