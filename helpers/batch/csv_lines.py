"""CSV in any usual delimiter and encoding as a source: its texts are decoded by PyArrow, a piece of lines at a time."""

from __future__ import annotations

import csv
import functools
import io
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as arrow_csv

from helpers.batch.lines import LONGEST_BLOCK, Lines, head_of
from helpers.batch.sources import Decoded, Ragged, Source, key_of, unreadable
from helpers.data.raw_tables import Reading
from helpers.data.reading import read_head
from helpers.data.text_tables import BLANK, older_encoding

MOST_LINES = 1  # further ones that a row with too few fields may take: of more, a quotation mark is missing
# A text in quotation marks, which keeps its blanks, or those that fill up a column, or begin or end a line.
_BLANKS = re.compile(rb'("[^"]*")|^ +| +(?=\r?$)|(?<= ) +', re.MULTILINE)


def csv_lines(path: Path, keep: Callable[[str], bool], is_feature: Callable[[str], bool]) -> Source:
    """The rows of a CSV file, plain or packed. keep: whether a column is wanted."""
    key = key_of(path)
    head, newline = head_of(path)
    layout = read_head(head, str(path), lambda name: bool(is_feature(name)))
    lines = Lines(path, newline, layout.encoding, layout.first_line, escapes=layout.escapes)
    names = list(layout.frame.columns)
    pick = [name for name in names if keep(name)]
    schema = pa.schema([(name, pa.string()) for name in pick])
    fields = [*names, ""] if layout.ends_open else names
    convert = arrow_csv.ConvertOptions(column_types=schema, include_columns=pick, strings_can_be_null=False)
    as_training = _simplified(layout)

    def decode(content: bytes, line: int, is_padded: bool = False) -> Decoded:
        content = content if is_padded else as_training(content)
        if not content.strip():
            return Decoded(pa.RecordBatch.from_pylist([], schema=schema), lambda rows: [], [])
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
            return decode(content.decode(older_encoding(content), "replace").encode(), line, is_padded)
        if ragged and not is_padded:
            return decode(_padded(content, layout.delimiter, names, len(fields)), line, is_padded=True)
        batch = _one_batch(table)
        if content.count(b'"') % 2:  # Arrow passes over a last record whose quotation is never closed
            records = sum(1 for _ in _records(content, line, layout.delimiter))
            ragged += range(batch.num_rows + len(ragged), records)
        lines = functools.partial(_lines_of, content, line, layout.delimiter, frozenset(ragged))
        return Decoded(batch, lines, _ragged(ragged, content, line, layout.delimiter, names))

    return lines.source(key, schema, decode, layout.commas)


def _simplified(layout: Reading) -> Callable[[bytes], bytes]:
    """What makes a text, line by line, one that PyArrow reads as training does."""
    delimiter, header = layout.delimiter.encode(), layout.header.encode()
    again = re.compile(rb"^(\xef\xbb\xbf)?" + re.escape(header) + rb"(?=\r?$)", re.MULTILINE)
    opened = re.compile(re.escape(delimiter) + rb' +"')
    before_a_mark = re.compile(rb'("[^"]*")|(?<=' + re.escape(delimiter) + rb') +(?=")')

    def simplified(content: bytes) -> bytes:
        if layout.delimiter == BLANK:
            content = _BLANKS.sub(rb"\1", content)
        elif opened.search(content):
            content = before_a_mark.sub(rb"\1", content)
        if header and header in content:  # of the next one of files that were joined: an empty line, which is no row
            content = again.sub(b"", content)
        return content

    return simplified


def _one_batch(table: pa.Table) -> pa.RecordBatch:
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)


def _lines_of(content: bytes, line: int, delimiter: str, left_out: frozenset[int], rows: Iterable[int]) -> list[int]:
    """The lines of the file in which rows of a block stand; the records `left_out` are none of its rows."""
    rows = list(rows)
    if not rows:
        return []
    kept = [start for i, (start, _, _) in enumerate(_records(content, line, delimiter)) if i not in left_out]
    return [kept[row] for row in rows]


def _ragged(found: list[int], content: bytes, line: int, delimiter: str, names: list[str]) -> list[Ragged]:
    if not found:
        return []
    records = _records(content, line, delimiter)
    wanted, at = set(found), []
    for i, (start, end, cells) in enumerate(records):
        if i in wanted:
            if _is_remark(cells, names):
                continue
            reason = f"{len(cells)} field{'s' * (len(cells) != 1)} where the header has {len(names)}"
            if (swallowed := end - start) > MOST_LINES:
                reason += f"; a quotation mark that is opened there takes in {swallowed:,} lines: is one missing?"
            at.append(Ragged(start, cells, reason))
    return at


def _padded(content: bytes, delimiter: str, names: list[str], width: int) -> bytes:
    """A text whose rows have as many fields as the header: training, too, takes those that lack for missing values.

    Further ones are taken off where they are empty.
    """
    lines, records = content.splitlines(keepends=True), list(_records(content, 0, delimiter))
    if content.count(b'"') % 2:
        records.pop()  # its quotation is never closed
    for start, end, cells in records:
        if len(cells) == width or end - start > MOST_LINES or _is_remark(cells, names):
            continue
        mark, row = delimiter.encode(), lines[end].rstrip(b"\r\n")
        ending = lines[end][len(row) :]
        if len(cells) == 1 and not cells[0].strip():
            row = b""
        elif len(cells) < width:
            row += (width - len(cells)) * mark
        elif not any(cell.strip() for cell in cells[width:]):
            row = re.sub(rb'(%s *("" *)?){%d}$' % (re.escape(mark), len(cells) - width), b"", row)
        lines[end] = row + ending
    return b"".join(lines)


def _is_remark(cells: list[str], names: list[str]) -> bool:
    """Whether a line among the rows is a comment, as training sees it."""
    return cells[0].startswith("#") and len(cells) < len(names)


def _records(content: bytes, line: int, delimiter: str) -> Iterator[tuple[int, int, list[str]]]:
    """Each record of a text that is not an empty line: the lines that it begins and ends with, and its cells."""
    csv.field_size_limit(max(csv.field_size_limit(), 2 * LONGEST_BLOCK))  # of all readers, as the module has it
    reader = csv.reader(io.StringIO(content.decode("utf-8", "replace"), newline=""), delimiter=delimiter)
    while True:
        start = line + reader.line_num
        try:
            cells = next(reader)
        except StopIteration:
            return
        if cells:
            yield start, line + reader.line_num - 1, cells
