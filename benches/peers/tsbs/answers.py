"""Answers in one form, and whether two are the same.

Texts, times and values that are only looked up or compared (`same`: a maximum, a last value, a row) must agree exactly.
Computed ones (`near`: averages) may differ by `COMPUTED` of their value, since engines add up in different orders.
VictoriaMetrics keeps numbers as decimals of about twelve digits, so its values may differ by `VICTORIA`.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as compute

from tsbs.questions import Question

COMPUTED = 1e-12
VICTORIA = 1e-11


def canonical(answer: pa.Table, question: Question) -> pa.Table:
    """Its columns as text, microseconds and doubles, ordered by texts and times, however the engine names
    or orders them."""
    kinds = question.columns
    if answer.num_columns != len(kinds):
        raise AssertionError(f"{answer.num_columns} columns came, {len(kinds)} were asked for")
    columns = {str(i): column(answer.column(i), kind) for i, kind in enumerate(kinds)}
    table = pa.table(columns)
    # Numbers last: rows of equal texts and times (several at most) are then told apart by them.
    keys = [str(i) for i, kind in enumerate(kinds) if kind in ("text", "time")]
    keys += [name for name in table.column_names if name not in keys]
    return table.sort_by([(key, "ascending") for key in keys])


def column(values: pa.ChunkedArray, kind: str) -> pa.ChunkedArray:
    if kind == "text":
        if pa.types.is_dictionary(values.type):
            values = compute.cast(values, values.type.value_type)
        return values.cast(pa.string())
    if kind == "time":
        return microseconds(values)
    return values.cast(pa.float64())


def microseconds(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """ClickHouse's DateTime comes as seconds, JSON's times as text, days as dates."""
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        texts = values.to_numpy(zero_copy_only=False).astype(str)
        return pa.chunked_array([pa.array(np.char.rstrip(texts, "Z").astype("datetime64[us]").astype(np.int64))])
    if pa.types.is_integer(values.type):
        return compute.multiply(values.cast(pa.int64()), 1_000_000)
    return values.cast(pa.timestamp("us")).cast(pa.int64())


def difference(want: pa.Table, got: pa.Table, question: Question, tolerance: float = 0.0) -> str | None:
    """What differs, or nothing. `tolerance` is that of an engine which does not keep numbers exactly."""
    if want.num_rows != got.num_rows:
        return f"{got.num_rows} rows instead of {want.num_rows}"
    for i, kind in enumerate(question.columns):
        a, b = want.column(i), got.column(i)
        if kind in ("text", "time"):
            if not a.combine_chunks().equals(b.combine_chunks()):
                return f"column {i} ({kind}) differs"
            continue
        x, y = a.to_numpy(), b.to_numpy()
        allowed = max(tolerance, COMPUTED if kind == "near" else 0.0)
        off = np.abs(x - y) > allowed * np.abs(x)
        off |= np.isnan(x) != np.isnan(y)
        if off.any():
            row = int(np.argmax(off))
            return f"column {i} differs in {int(off.sum())} rows, first {x[row]!r} and {y[row]!r}"
    return None
