"""Tables of any length, read block by block: a file comes in, Arrow record batches of its rows go out.

A `Source` knows the columns of its file, and gives its rows as `Block`s from any place at which a block has ended, so
that what was interrupted goes on from there, and that many read one file, each a piece. A block is decoded by whoever
takes it, in a thread of its own.
"""

from __future__ import annotations

import bz2
import codecs
import csv
import functools
import gzip
import io
import itertools
import lzma
import math
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq

from helpers.data.reading import BLANK, NO_VALUE, DataError, Reading, older_encoding, read_head

BLOCK_ROWS = 65_536
BLOCK_BYTES = 8 * 1024**2  # of a block in memory, so that wide tables come in fewer rows
TEXT_BYTES = 2 * 1024**2  # of a text that are decoded at a time
PIECE_ROWS = 2**19  # of a Parquet file, at least, where whole row groups are as many
PIECE_BYTES = 32 * 1024**2  # of a text, at least
HEAD_BYTES = 256 * 1024  # of a text from which is told how it is written
LONGEST_BLOCK = 2 * TEXT_BYTES  # beyond it a quotation mark that is never closed is taken for a character
QUOTES_TRIED = 8  # places to cut a text at, before more of it is read
COMPRESSED = {b"\x1f\x8b": gzip.GzipFile, b"BZh": bz2.BZ2File, b"\xfd7zXZ\x00": lzma.LZMAFile}

# (place, line): the rows, or bytes of text in UTF-8, that come before; the line, or the row's number, that follows
Position = tuple[int, int]


class Decoded(NamedTuple):
    """A block's rows. `lines(rows)`: where they stand in the file. ragged: lines that hold too few or many fields."""

    batch: pa.RecordBatch
    lines: Callable[[Iterable[int]], list[int]]
    ragged: list[Ragged]


class Ragged(NamedTuple):
    """A line with another number of fields than the header: where it stands, its fields, and how many they are."""

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
    or "row".
    absent, commas: how its texts are written (see `encoding.Encoder`). start: the position of its first row.
    blocks(start, end): its rows from a position up to the next place `end`, None for the end of the file. cuts(): the
    positions at which it can be cut into pieces; none where it can only be read from its beginning.
    """

    path: Path
    key: tuple[str, int, int]
    schema: pa.Schema
    rows: int | None
    where: str
    start: Position
    blocks: Callable[..., Iterator[Block]] = field(repr=False)
    cuts: Callable[[], Iterator[Position]] = field(repr=False)
    absent: frozenset[str] = frozenset()
    commas: frozenset[str] = frozenset()


def open_source(path: Path, is_feature: Callable[[str], bool] = lambda name: False, keep: Iterable[str] = ()) -> Source:
    """The rows of a Parquet file, or of a CSV file in any usual delimiter and encoding, plain, gzip, bz2, xz or zip.

    is_feature: whether a model takes a column. keep: the columns that are wanted beside those, all where none is named.
    Raises `DataError` where the file is none of these or cannot be read.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(8)
        if not magic:
            raise DataError(f"{path} is empty")
        named = frozenset(keep)

        def is_kept(name: str) -> bool:
            return not named or name in named or bool(is_feature(name))

        return _parquet(path, is_kept) if magic[:4] == b"PAR1" else _text(path, is_kept, is_feature)
    except _UNREADABLE as error:
        raise unreadable(path, error) from None


def check_unchanged(sources: Iterable[Source]) -> None:
    """Raise `DataError` where a file is another one than that which was opened: its rows may be of both."""
    for source in sources:
        if not source.path.exists() or _key(source.path) != source.key:
            raise DataError(f"{source.path} was changed while its rows were scored: run the same command again")


def _key(path: Path) -> tuple[str, int, int]:
    stat = path.stat()
    return str(path), stat.st_size, stat.st_mtime_ns


_UNREADABLE = (OSError, EOFError, lzma.LZMAError, zipfile.BadZipFile, pa.ArrowException, UnicodeError)


def unreadable(path: Path, error: Exception) -> DataError:
    """What a file's error means to the person who named the file."""
    reason = getattr(error, "strerror", None) or (str(error).strip().splitlines() or [type(error).__name__])[0]
    damaged = not isinstance(error, OSError) or isinstance(error, gzip.BadGzipFile)
    return DataError(f"{path} cannot be read: {reason}" + ("; it is damaged or cut short, get it again" * damaged))


# ---- Parquet ----


def _parquet(path: Path, keep: Callable[[str], bool]) -> Source:
    key = _key(path)
    with pq.ParquetFile(path) as file:
        names = [name for name in file.schema_arrow.names if keep(name)]
        if twice := [name for name in names if names.count(name) > 1]:
            raise DataError(f"{path} has two columns {twice[0]!r}: rename one")
        schema = pa.schema([file.schema_arrow.field(name) for name in names])
        metadata = file.metadata
        groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
        sizes = [group.num_rows for group in groups]
        ends = list(itertools.accumulate(sizes))
        size = sum(group.total_byte_size for group in groups) / max(1, metadata.num_rows)
    rows_at_a_time = int(min(BLOCK_ROWS, max(1, BLOCK_BYTES // max(1, size))))

    def blocks(start: Position, end: int | None = None) -> Iterator[Block]:
        end = metadata.num_rows if end is None else end
        at, first = 0, 0
        while first < len(sizes) and at + sizes[first] <= start[0]:
            at += sizes[first]
            first += 1
        with pq.ParquetFile(path, buffer_size=1024**2) as file:
            groups = [i for i in range(first, len(sizes)) if ends[i] - sizes[i] < end]
            for batch in file.iter_batches(rows_at_a_time, row_groups=groups, columns=names, use_threads=False):
                done = max(0, start[0] - at)  # rows of the row group's beginning that were scored before
                wanted = batch.slice(done, max(0, end - at - done))
                at += batch.num_rows
                if wanted.num_rows:
                    before = at - batch.num_rows + done
                    after = before + wanted.num_rows
                    yield Block(_decoded(wanted, before), (after, after + 1))
                if at >= end:
                    return

    def cuts() -> Iterator[Position]:
        last = 0
        for at in ends:
            while at - last >= PIECE_ROWS:
                # a row group is cut only where it is large: whoever reads its end decodes its beginning in vain
                last = at if at - last < 4 * PIECE_ROWS else last + 2 * PIECE_ROWS
                if last < metadata.num_rows:
                    yield last, last + 1

    return Source(path, key, schema, metadata.num_rows, "row", (0, 1), _reading(path, blocks), cuts, NO_VALUE)


def _decoded(batch: pa.RecordBatch, before: int) -> Callable[[], Decoded]:
    return lambda: Decoded(batch, functools.partial(_row_numbers, before), [])


def _row_numbers(before: int, rows: Iterable[int]) -> list[int]:
    return [before + row + 1 for row in rows]


def _reading(path: Path, blocks: Callable[..., Iterator[Block]]) -> Callable[..., Iterator[Block]]:
    """`blocks` with what goes wrong in reading as a `DataError`."""

    def read(start: Position, end: int | None = None) -> Iterator[Block]:
        try:
            yield from blocks(start, end)
        except _UNREADABLE as error:
            raise unreadable(path, error) from None

    return read


# ---- text ----


def _layout(head: bytes, path: Path, is_feature: Callable[[str], bool]) -> Reading:
    """How the text is written, told from its first lines; `DataError` where pyarrow cannot read it in pieces."""
    layout = read_head(head, str(path), lambda name: bool(is_feature(" ".join(name.split()))))
    if layout.delimiter == BLANK and re.search(rb"(?m)^ |  ", head):
        raise DataError(f"{path} fills its columns up with blanks, and is read in pieces here: save it as CSV")
    if layout.escapes:
        raise DataError(
            f"{path} has backslashes before the quotation marks within texts, and is read in pieces here: double the "
            "marks instead, as in Spark's option escape='\"'"
        )
    return layout


def _text(path: Path, keep: Callable[[str], bool], is_feature: Callable[[str], bool]) -> Source:
    key = _key(path)
    with _unpacked(path) as stream:
        head = stream.read(HEAD_BYTES)
    newline = b"\n" if b"\n" in head else b"\r"
    whole = next(_whole_lines([head], newline, str(path))) if len(head) == HEAD_BYTES else head
    layout = _layout(whole, path, is_feature)
    names = list(layout.frame.columns)
    pick = [name for name in names if keep(name)]
    schema = pa.schema([(name, pa.string()) for name in pick])
    fields = [*names, ""] if layout.ends_open else names
    convert = arrow_csv.ConvertOptions(column_types=schema, include_columns=pick, strings_can_be_null=False)

    def decode(content: bytes, line: int) -> Decoded:
        ragged: list[int] = []  # the numbers of such records among those of the block, from 0

        def note(row) -> str:
            ragged.append(row.number - 1)
            return "skip"

        parse = arrow_csv.ParseOptions(
            delimiter=layout.delimiter, newlines_in_values=b'"' in content, invalid_row_handler=note
        )
        read = arrow_csv.ReadOptions(column_names=fields, use_threads=False, block_size=len(content) + 1)
        try:
            table = arrow_csv.read_csv(pa.BufferReader(content), read, parse, convert)
        except pa.ArrowInvalid as error:
            if "UTF" not in str(error).upper():
                raise unreadable(path, error) from None
            return decode(content.decode(older_encoding(content), "replace").encode(), line)
        batch = _one_batch(table)
        if content.count(b'"') % 2:  # Arrow passes over a last record whose quotation is never closed
            records = sum(1 for _ in _records(content, line, layout.delimiter))
            ragged += range(batch.num_rows + len(ragged), records)
        lines = functools.partial(_lines_of, content, line, layout.delimiter, frozenset(ragged))
        return Decoded(batch, lines, _ragged(ragged, content, line, layout.delimiter, names))

    def blocks(start: Position, end: int | None = None) -> Iterator[Block]:
        for piece, before, after in _pieces(start, end):
            if before >= layout.first_line and piece.strip():
                yield Block(_later(decode, piece, before), after)

    def _pieces(start: Position, end: int | None) -> Iterator[tuple[bytes, int, Position]]:
        """The text from `start` in pieces of whole lines: the line that each begins with, and the position after it."""
        with _unpacked(path) as stream:
            at, line = 0, 1
            if start[0] and can_seek:
                at, line = start
                stream.seek(at)
            limit = None if end is None else end - at
            for content in _whole_lines(_as_utf8(stream, layout.encoding, limit), newline, str(path)):
                for piece in _without_header(content, line, layout.first_line, newline):
                    at += len(piece)
                    before, line = line, line + piece.count(newline)
                    if at > start[0]:
                        yield piece, before, (at, line)

    def cuts() -> Iterator[Position]:
        last = 0
        for _, _, after in _pieces((0, 1), None) if can_seek else ():
            if after[0] - last >= PIECE_BYTES:
                last = after[0]
                yield after

    can_seek = layout.encoding == "utf-8" and not _is_packed(path)  # a packed text can only be read from its beginning
    at_first_row = (0, layout.first_line)
    return Source(path, key, schema, None, "line", at_first_row, _reading(path, blocks), cuts, NO_VALUE, layout.commas)


def _one_batch(table: pa.Table) -> pa.RecordBatch:
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)


def _later(decode: Callable[[bytes, int], Decoded], content: bytes, line: int) -> Callable[[], Decoded]:
    return lambda: decode(content, line)


def _unpacked(path: Path) -> BinaryIO:
    """The content of a file as a stream, unpacked where it is compressed."""
    with path.open("rb") as file:
        magic = file.read(8)
    for sign, kind in COMPRESSED.items():
        if magic.startswith(sign):
            return kind(path)
    if not magic.startswith(b"PK\x03\x04"):
        return path.open("rb")
    archive = zipfile.ZipFile(path)
    members = [member for member in archive.infolist() if not member.is_dir()]
    if "[Content_Types].xml" in archive.namelist():
        raise DataError(f"{path} is an Excel workbook, which is read whole: save it as CSV or Parquet")
    if len(members) != 1:
        raise DataError(f"{path} holds {len(members)} files: unpack it into a folder, and give that")
    return archive.open(members[0])


def _is_packed(path: Path) -> bool:
    with path.open("rb") as file:
        magic = file.read(8)
    return magic.startswith((*COMPRESSED, b"PK\x03\x04"))


def _as_utf8(stream: BinaryIO, encoding: str, limit: int | None = None) -> Iterator[bytes]:
    """A text in pieces, in UTF-8, up to `limit` bytes. What turns out later to be no UTF-8 is seen to in decoding."""
    decoder = codecs.getincrementaldecoder(encoding)() if encoding != "utf-8" else None
    left = math.inf if limit is None else limit
    while piece := stream.read(min(TEXT_BYTES, left)):
        left -= len(piece)
        yield decoder.decode(piece).encode() if decoder else piece
    if decoder:
        yield decoder.decode(b"", final=True).encode()


def _whole_lines(pieces: Iterable[bytes], newline: bytes, name: str) -> Iterator[bytes]:
    """A text in pieces that end where a line ends, and no quotation is open."""
    rest = b""
    for piece in pieces:
        rest += piece
        end = rest.rfind(newline) + 1
        for _ in range(QUOTES_TRIED):
            if rest.count(b'"', 0, end) % 2 == 0:
                break
            end = rest.rfind(newline, 0, rest.rfind(b'"', 0, end)) + 1  # before the line that opens the quotation
        else:
            end = 0
        if not end and len(rest) >= LONGEST_BLOCK:
            end = rest.rfind(newline) + 1
            if not end:
                raise DataError(
                    f"a line of {name} is longer than {LONGEST_BLOCK // 1024**2} MB: it is no table of lines"
                )
        if end:
            yield rest[:end]
            rest = rest[end:]
    if rest:
        yield rest


def _without_header(content: bytes, line: int, first_line: int, newline: bytes) -> list[bytes]:
    """A piece of text that begins with `line`, cut in two before the line of the first row where that is within."""
    end = 0
    for _ in range(line, first_line):
        found = content.find(newline, end)
        end = len(content) if found < 0 else found + 1
    return [piece for piece in (content[:end], content[end:]) if piece]


def _lines_of(content: bytes, line: int, delimiter: str, left_out: frozenset[int], rows: Iterable[int]) -> list[int]:
    """The lines of the file in which rows of a block stand; the records `left_out` are none of its rows."""
    rows = list(rows)
    if not rows:
        return []
    kept = [start for i, (start, _) in enumerate(_records(content, line, delimiter)) if i not in left_out]
    return [kept[row] for row in rows]


def _ragged(found: list[int], content: bytes, line: int, delimiter: str, names: list[str]) -> list[Ragged]:
    if not found:
        return []
    records = _records(content, line, delimiter)
    wanted, at = set(found), []
    for i, (start, cells) in enumerate(records):
        if i in wanted:
            reason = f"{len(cells)} field{'s' * (len(cells) != 1)} where the header has {len(names)}"
            if (swallowed := sum(cell.count("\n") for cell in cells)) > 1:
                reason += f"; a quotation mark that is opened there takes in {swallowed:,} lines: is one missing?"
            at.append(Ragged(start, cells, reason))
    return at


def _records(content: bytes, line: int, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Each record of a text that is not an empty line: the line that it begins with, and its cells."""
    csv.field_size_limit(max(csv.field_size_limit(), 2 * LONGEST_BLOCK))  # of all readers, as the module has it
    reader = csv.reader(io.StringIO(content.decode("utf-8", "replace"), newline=""), delimiter=delimiter)
    while True:
        start = line + reader.line_num
        try:
            cells = next(reader)
        except StopIteration:
            return
        if cells:
            yield start, cells
