"""What is not read in pieces as a source: a workbook, JSON that is one value, whatever else training takes.

It is read by training's reader, whole, and so has to fit into memory several times over.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa

from helpers.batch.arrow_files import no_cuts, slices_of
from helpers.batch.lines import is_packed, stream_of
from helpers.batch.sources import Block, Position, Source, key_of, readable
from helpers.batch.values import columns_of
from helpers.data.raw_tables import DataError, Reading
from helpers.data.reading import ARROW, JSON, PARQUET, kind_of, read_table

LARGEST = 256 * 1024**2  # bytes of a file, unpacked; JSON takes 13 times as many in memory
_LOOK = 1024**2


def whole_file(path: Path, keep: Callable[[str], bool], is_feature: Callable[[str], bool]) -> Source:
    """The rows of any file that training takes. keep: whether a column is wanted.

    Raises `DataError` where it is no table, or too large.
    """
    key = key_of(path)
    _check_size(path)
    reading, batch = _read(key, is_feature)
    pick = [name for name in batch.schema.names if keep(name)]
    first = reading.first_line or 1

    def blocks(start: Position, end: int | None = None) -> Iterator[Block]:
        yield from slices_of(_read(key, is_feature)[1].select(pick), 0, start[0], first)

    schema, where = batch.select(pick).schema, "line" if reading.first_line else "row"
    read = readable(path, blocks)
    return Source(path, key, schema, batch.num_rows, where, (0, first), read, no_cuts, commas=reading.commas)


@functools.lru_cache(maxsize=1)  # of one file at a time: it is opened, and its rows are read soon after
def _read(key: tuple, is_feature: Callable[[str], bool]) -> tuple[Reading, pa.RecordBatch]:
    reading = read_table(key[0], is_feature)
    return reading, columns_of(reading.frame)


def _check_size(path: Path) -> None:
    """Raise `DataError` for a file that is too large to be read whole, with the way in which it need not be."""
    size = 0
    with stream_of(path) as stream:
        begins = stream.read(_LOOK)
        kind, piece = kind_of(begins), begins
        while piece and size <= LARGEST:
            size += len(piece)
            piece = stream.read(_LOOK)
    if size > LARGEST:
        todo = "save it as CSV or Parquet, which are read in pieces"
        if kind == JSON:
            todo = "save it with a row in each line (`jq -c '.[]'` does that with a list), which is read in pieces"
        elif kind in (PARQUET, ARROW):
            packed = "unpack it, and it is read in pieces"
            todo = packed if is_packed(path) else "rename one of its columns of one name, and it is read in pieces"
        raise DataError(f"{path} is {kind} of more than {LARGEST // 1024**2} MB, and is read whole: {todo}")
