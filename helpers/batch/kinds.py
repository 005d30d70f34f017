"""What a file is decides how its rows are read: in pieces where that can be, else whole, by training's reader."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow as pa

from helpers.batch.arrow_files import arrow_file, arrow_stream, parquet
from helpers.batch.csv_lines import csv_lines
from helpers.batch.json_lines import json_lines
from helpers.batch.lines import HEAD_BYTES, is_packed, stream_of
from helpers.batch.sources import UNREADABLE, Source, unreadable
from helpers.batch.whole_files import whole_file
from helpers.data.raw_tables import DataError
from helpers.data.reading import ARROW, ARROW_STREAM, JSON, PARQUET, TEXT, kind_of


def open_source(
    path: Path,
    is_feature: Callable[[str], bool] = lambda name: False,
    keep: Iterable[str] = (),
    schema: pa.Schema | None = None,
) -> Source:
    """The rows of a file of any kind that training takes (`reading.read_table`), plain, gzip, bz2, xz, zstd or zip.

    is_feature: whether a model takes a column. keep: the columns that are wanted beside those, all where none is named.
    schema: that of the source where the same file was opened before, which spares JSON a look at all rows.
    Raises `DataError` where the file cannot be read.
    """
    named = frozenset(keep)

    def is_kept(name: str) -> bool:
        return not named or name in named or bool(is_feature(name))

    try:
        with stream_of(path) as stream:
            head = stream.read(HEAD_BYTES)
        if not head:
            raise DataError(f"{path} is empty")
        kind, source = kind_of(head), None
        if kind == TEXT:
            source = csv_lines(path, is_kept, is_feature)
        elif kind == JSON:
            source = json_lines(path, is_kept, schema)
        elif kind == ARROW_STREAM:
            source = arrow_stream(path, is_kept, is_feature)
        elif kind in (PARQUET, ARROW) and not is_packed(path):
            source = {PARQUET: parquet, ARROW: arrow_file}[kind](path, is_kept, is_feature)
        return source or whole_file(path, is_kept, is_feature)
    except UNREADABLE as error:
        raise unreadable(path, error) from None
