"""JSON with a row in each line as a source, read in pieces as CSV is.

A row is an object, in which objects are taken apart (`a.b`), as training does. A line that is none is told as a line of
too few fields is. Which columns there are, and of which types, is known only once all rows were seen, so that they are
read twice.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import pandas as pd
import pyarrow as pa

from helpers.batch.lines import Lines, head_of
from helpers.batch.sources import Decoded, Ragged, Source, key_of
from helpers.batch.values import Kinds, as_array
from helpers.data import json_tables
from helpers.data.raw_tables import commas_of

_all_of = msgspec.json.Decoder().decode_lines


def json_lines(path: Path, keep: Callable[[str], bool], schema: pa.Schema | None) -> Source | None:
    """The rows of a file with a JSON object in each line, plain or packed; None for other JSON.

    schema: its columns where they are known, so that they need not be looked for.
    """
    key = key_of(path)
    head, newline = head_of(path)
    encoding = json.detect_encoding(head)
    text = head.decode(encoding, "replace")
    if not json_tables.are_objects_in_lines(text):
        return None
    lines = Lines(path, newline, encoding, quoted=False)
    commas = commas_of(pd.DataFrame(_columns(_rows(text.encode(), 1)[0]), dtype=object))
    if schema is None:
        schema = _schema(lines, keep)

    def decode(content: bytes, line: int) -> Decoded:
        rows, at, ragged = _rows(content, line)
        columns = _columns(rows)
        nothing = [None] * len(rows)
        arrays = [as_array(columns.get(field.name, nothing), field.type) for field in schema]
        return Decoded(pa.RecordBatch.from_arrays(arrays, schema=schema), functools.partial(_at, at), ragged)

    return lines.source(key, schema, decode, commas)


def _schema(lines: Lines, keep: Callable[[str], bool]) -> pa.Schema:
    """The columns of all rows, in the order in which they first occur, each of a type that holds its values."""
    kinds: dict[str, Kinds] = {}
    for content, line, _ in lines.pieces(lines.start):
        for name, values in _columns(_rows(content, line)[0]).items():
            if keep(name):
                kinds.setdefault(name, Kinds()).see(values)
    return pa.schema([(name, kind.type()) for name, kind in kinds.items()])


def _columns(rows: list[dict]) -> dict[str, list]:
    """The values of rows by column, None where a row has none; objects within rows are taken apart."""
    names = dict.fromkeys(itertools.chain.from_iterable(rows))
    columns = {name: [row.get(name) for row in rows] for name in names}
    if any(dict in set(map(type, values)) for values in columns.values()):
        return _columns(list(map(json_tables.flat, rows)))
    return columns


def _rows(content: bytes, line: int) -> tuple[list[dict], list[int], list[Ragged]]:
    """The rows of a text that begins with a line, the lines that they stand in, and the lines that hold none."""
    lines = [(number, text) for number, text in enumerate(content.splitlines(), line) if text.strip()]
    try:  # six times as fast as Python, which takes more for JSON
        rows = _all_of(content)
        if len(rows) == len(lines) and set(map(type, rows)) <= {dict}:
            return rows, [number for number, _ in lines], []
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    rows, at, ragged = [], [], []
    for number, text in lines:
        row, why = _row(text)
        if why:
            ragged.append(Ragged(number, [text.decode("utf-8", "replace")], why))
        else:
            rows.append(row)
            at.append(number)
    return rows, at, ragged


def _row(text: bytes) -> tuple[dict, str]:
    """The row in a line, or why it holds none, in words."""
    try:
        row = json.loads(text.decode("utf-8", "replace").rstrip(" ,"))
    except (ValueError, RecursionError) as error:
        return {}, f"not JSON: {error}"
    return (row, "") if isinstance(row, dict) else ({}, "no JSON object, as a row is one")


def _at(lines: list[int], rows: Iterable[int]) -> list[int]:
    return [lines[row] for row in rows]
