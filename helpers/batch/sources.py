"""A file of rows as all engines know it: its columns, and its rows block by block, from wherever a block has ended.

A `Source` knows the columns of its file, and gives its rows as `Block`s from any place at which a block has ended, so
that what was interrupted goes on from there, and that many read one file, each a piece. A block is decoded by whoever
takes it, in a thread of its own.
"""

from __future__ import annotations

import gzip
import lzma
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from helpers.batch import paths
from helpers.data.raw_tables import NO_VALUE, DataError

BLOCK_ROWS = 65_536
BLOCK_BYTES = 8 * 1024**2  # of a block in memory, so that wide tables come in fewer rows

# (place, line): the rows, or bytes of text in UTF-8, that come before; the line, or the row's number, that follows
Position = tuple[int, int]


class Decoded(NamedTuple):
    """A block's rows. `lines(rows)`: where they stand in the file. ragged: lines that hold none."""

    batch: pa.RecordBatch
    lines: Callable[[Iterable[int]], list[int]]
    ragged: list[Ragged]


class Ragged(NamedTuple):
    """A line that holds no row, but too many fields, say: where it stands, its cells, and why it is none."""

    line: int
    cells: list[str]
    reason: str


class Block(NamedTuple):
    """Rows that are still to be decoded, which `decode()` does, and where the file goes on after them."""

    decode: Callable[[], Decoded]
    end: Position


@dataclass
class Source:
    """A file of rows.

    key: its path, bytes and time of change. schema: its columns. rows: how many, where the file says so. where: "line"
    or "row". start: the position of its first row. blocks(start, end): its rows from a position up to the next place
    `end`, None for the end of the file. cuts(): the positions at which it can be cut into pieces; none where it can
    only be read from its beginning. absent, commas: how its texts are written (see `encoding.Encoder`). like: the
    ending of an output that holds what it holds.
    """

    path: Path
    key: tuple[str, int, int]
    schema: pa.Schema
    rows: int | None
    where: str
    start: Position
    blocks: Callable[..., Iterator[Block]] = field(repr=False)
    cuts: Callable[[], Iterator[Position]] = field(repr=False)
    absent: frozenset[str] = NO_VALUE
    commas: frozenset[str] = frozenset()
    like: str = paths.CSV


def check_unchanged(sources: Iterable[Source]) -> None:
    """Raise `DataError` where a file is another one than that which was opened: its rows may be of both."""
    for source in sources:
        if not source.path.exists() or key_of(source.path) != source.key:
            raise DataError(f"{source.path} was changed while its rows were scored: run the same command again")


def key_of(path: Path) -> tuple[str, int, int]:
    stat = path.stat()
    return str(path), stat.st_size, stat.st_mtime_ns


UNREADABLE = (OSError, EOFError, lzma.LZMAError, zipfile.BadZipFile, pa.ArrowException, UnicodeError)


def unreadable(path: Path, error: Exception) -> DataError:
    """What a file's error means to the person who named the file."""
    reason = getattr(error, "strerror", None) or (str(error).strip().splitlines() or [type(error).__name__])[0]
    damaged = not isinstance(error, OSError) or isinstance(error, gzip.BadGzipFile)
    return DataError(f"{path} cannot be read: {reason}" + ("; it is damaged or cut short, get it again" * damaged))


def readable(path: Path, blocks: Callable[..., Iterator[Block]]) -> Callable[..., Iterator[Block]]:
    """`Source.blocks` with what goes wrong in reading as a `DataError`."""

    def read(start: Position, end: int | None = None) -> Iterator[Block]:
        try:
            yield from blocks(start, end)
        except UNREADABLE as error:
            raise unreadable(path, error) from None

    return read
