"""Values of Python become a column of Arrow, in the narrowest of a few types that holds them all.

JSON and workbooks say no type for a column, and one may hold numbers beside texts: it is one of texts then, as
training takes it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable

import pandas as pd
import pyarrow as pa

from helpers.data.raw_tables import is_none, without_point

_WHOLE = range(-(2**63), 2**63)  # numbers that Arrow holds as such
_TYPES = {bool: pa.bool_(), int: pa.int64(), float: pa.float64()}


class Kinds:
    """The kinds of values that a column has been seen to hold."""

    def __init__(self):
        self._seen: set[type] = set()

    def see(self, values: list) -> None:
        kinds = set(map(type, values)) - {type(None)}
        if int in kinds:
            whole = [value for value in values if type(value) is int]
            kinds |= {str} if min(whole) not in _WHOLE or max(whole) not in _WHOLE else set()
        self._seen |= kinds

    def type(self) -> pa.DataType:
        if self._seen == {int, float}:
            return pa.float64()
        return _TYPES.get(next(iter(self._seen)), pa.string()) if len(self._seen) == 1 else pa.string()


def as_array(values: Iterable, kind: pa.DataType) -> pa.Array:
    """Values as a column of a type that `Kinds` told."""
    try:
        return pa.array(values, kind)
    except (pa.ArrowTypeError, UnicodeEncodeError):  # JSON can write half of a pair, which UTF-8 cannot
        texts = [None if value is None else as_text(value) for value in values]
        return pa.array([text and text.encode("utf-8", "replace").decode() for text in texts], kind)


def as_text(value) -> str:
    """A value as training reads it among texts; lists and objects as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return without_point(value)


def columns_of(frame: pd.DataFrame) -> pa.RecordBatch:
    """The columns of a data frame, those without a type of their own in that of their values."""
    columns = [_column(series) for _, series in frame.items()]
    return pa.RecordBatch.from_arrays(columns, names=list(map(str, frame.columns)))


def _column(series: pd.Series) -> pa.Array:
    if series.dtype != object:
        column = pa.Array.from_pandas(series)
        return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    values = [None if is_none(value) else value for value in series]
    (kinds := Kinds()).see(values)
    if kinds.type() == pa.string() and not any(isinstance(value, str | list | dict) for value in values):
        with contextlib.suppress(pa.ArrowException, OverflowError):
            return pa.array(values)  # dates, decimals, bytes
    return as_array(values, kinds.type())
