"""Parquet files of the same columns become one file, of which the row groups are copied byte by byte.

No row is decoded. Only the footers, which say where everything stands, are read and written anew: they are structures
of Thrift in its compact protocol (thrift-compact-protocol.md of apache/thrift), with the fields that have a number in
`src/main/thrift/parquet.thrift` of apache/parquet-format.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

MAGIC = b"PAR1"
COPIED = 1024**2  # bytes at a time

# A structure is {number of a field: (kind, value)}, a list (kind of its elements, elements), a bool in a structure
# is its kind alone, and what has a fixed width stays as the bytes that it is.
YES, NO, BYTE, INT16, INT32, INT64, DOUBLE, BINARY, LIST, SET, _, STRUCT = range(1, 13)
WIDTHS = {YES: 1, NO: 1, BYTE: 1, DOUBLE: 8}

ROWS, GROUPS = 3, 4  # of FileMetaData
COLUMNS, GROUP_AT, ORDINAL = 1, 5, 7  # of RowGroup
COLUMN = 3  # of ColumnChunk, the ColumnMetaData
CHUNK_PLACES = (2, 4, 6)  # of ColumnChunk: of itself, its offset index, its column index
PAGE_PLACES = (9, 10, 11, 14)  # of ColumnMetaData: of its data, its index, its dictionary, its Bloom filter


def join(parts: Iterable[Path], whole: Path) -> None:
    """Write the rows of `parts`, in their order, to `whole`. All have the schema and the metadata of the first."""
    footer: dict | None = None
    with whole.open("wb") as file:
        file.write(MAGIC)
        for path in parts:
            moved = file.tell() - len(MAGIC)
            with path.open("rb") as part:
                own, end = _footer(part)
                part.seek(len(MAGIC))
                shutil.copyfileobj(part, file, COPIED)
            file.seek(moved + end)  # the next one takes the place of the footer
            for group in own[GROUPS][1][1]:
                _move(group, moved)
            if footer is None:
                footer = own
            else:
                footer[ROWS] = INT64, footer[ROWS][1] + own[ROWS][1]
                footer[GROUPS] = LIST, (STRUCT, footer[GROUPS][1][1] + own[GROUPS][1][1])
        start = file.tell()
        _write(file, STRUCT, footer)
        file.write((file.tell() - start).to_bytes(4, "little") + MAGIC)
        file.truncate()


def _footer(file: BinaryIO) -> tuple[dict, int]:
    """The footer of a file, and the byte at which it begins."""
    tail = 4 + len(MAGIC)
    file.seek(-tail, os.SEEK_END)
    length = int.from_bytes(file.read(4), "little")
    start = file.seek(-tail - length, os.SEEK_END)
    return _read(io.BytesIO(file.read(length)), STRUCT), start


def _move(group: dict, by: int) -> None:
    """Let a row group stand `by` bytes later."""
    group.pop(ORDINAL, None)  # it may be left out, and has an end at 32,767
    _shift(group, (GROUP_AT,), by)
    for chunk in group[COLUMNS][1][1]:
        _shift(chunk, CHUNK_PLACES, by)
        _shift(chunk[COLUMN][1], PAGE_PLACES, by)


def _shift(fields: dict, places: Iterable[int], by: int) -> None:
    for place in places:
        if place in fields and fields[place][1]:  # 0 stands for no place
            fields[place] = INT64, fields[place][1] + by


# ---- Thrift's compact protocol ----


def _read(stream: BinaryIO, kind: int):
    if kind in (INT16, INT32, INT64):
        number = _read_length(stream)
        return (number >> 1) ^ -(number & 1)
    if kind == BINARY:
        return stream.read(_read_length(stream))
    if kind in (LIST, SET):
        head = stream.read(1)[0]
        count = _read_length(stream) if head >> 4 == 15 else head >> 4
        return head & 15, [_read(stream, head & 15) for _ in range(count)]
    if kind != STRUCT:
        return stream.read(WIDTHS[kind])
    fields, number = {}, 0
    while head := stream.read(1)[0]:
        kind = head & 15
        number = number + (head >> 4) if head >> 4 else _read(stream, INT16)
        fields[number] = kind, None if kind in (YES, NO) else _read(stream, kind)
    return fields


def _write(stream: BinaryIO, kind: int, value) -> None:
    if kind in (INT16, INT32, INT64):
        _write_length(stream, value << 1 if value >= 0 else (-value << 1) - 1)
    elif kind == BINARY:
        _write_length(stream, len(value))
        stream.write(value)
    elif kind in (LIST, SET):
        of, elements = value
        stream.write(bytes([min(len(elements), 15) << 4 | of]))
        if len(elements) >= 15:
            _write_length(stream, len(elements))
        for each in elements:
            _write(stream, of, each)
    elif kind == STRUCT:
        before = 0
        for number, (of, each) in value.items():
            step = number - before
            stream.write(bytes([(step if 0 < step < 16 else 0) << 4 | of]))
            if not 0 < step < 16:
                _write(stream, INT16, number)
            if of not in (YES, NO):
                _write(stream, of, each)
            before = number
        stream.write(b"\0")
    else:
        stream.write(value)


def _read_length(stream: BinaryIO) -> int:
    value = shift = 0
    while (byte := stream.read(1)[0]) > 127:
        value |= (byte & 127) << shift
        shift += 7
    return value | byte << shift


def _write_length(stream: BinaryIO, value: int) -> None:
    while value > 127:
        stream.write(bytes([value & 127 | 128]))
        value >>= 7
    stream.write(bytes([value]))
