"""A block of a file becomes its rows with their answers, and those that were rejected: the same under every engine.

Decoded rows and what the scorer made of them come in, what is to be written goes out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from helpers import wording
from helpers.batch.encoding import listed
from helpers.batch.parts import Part
from helpers.batch.scoring import ERROR, NOTES, Scorer
from helpers.batch.sources import Decoded, Position, Source
from helpers.data.raw_tables import DataError


class BadRow(DataError):
    """A row that cannot be answered, where none may be passed over."""


class Done(NamedTuple):
    """A block that was scored: its good rows with their answers, and the cells of those rejected, in order."""

    good: pa.RecordBatch
    rejected: list[list]
    end: Position


def columns_of(
    sources: list[Source], scorer_of: Callable[[Source], Scorer], keep: list[str]
) -> tuple[pa.Schema, list[str]]:
    """The columns of the output, in which `keep` pass through, and the names of those of the table of rejected rows.

    keep: none where all do, which every file has to have then. Raises `DataError` where a file is of another table.
    """
    first = sources[0]
    names = keep or first.schema.names
    for source in sources:
        try:
            scorer_of(source).check(source.schema.names)
        except DataError as error:
            raise DataError(f"{source.path}: {error}") from None
        if keep:
            _check_columns(source, keep, "which --keep names")
        else:
            _check_columns(source, names, f"which {first.path} has: {_CHOOSE}")
            _check_columns(first, source.schema.names, f"which {source.path} has: {_CHOOSE}")
    passing = pa.schema([_one_field(name, sources) for name in names])
    written = [field for field in scorer_of(first).with_answers(passing) if field.name != ERROR]
    read = dict.fromkeys(name for source in sources for name in source.schema.names)
    return pa.schema(written), ["file", first.where, "reason", *read]


_CHOOSE = "say by --keep which columns are to pass through"


def _check_columns(source: Source, names: list[str], why: str) -> None:
    if lacking := [name for name in names if name not in source.schema.names]:
        meant = wording.meant(lacking[0], source.schema.names) if len(lacking) == 1 else ""
        raise DataError(f"{source.path} has no column {listed(lacking)}{meant}, {why}")


def _one_field(name: str, sources: list[Source]) -> pa.Field:
    """A column as the output has it: in a type that holds the values of every file, text where no other does."""
    fields = [source.schema.field(name) for source in sources]
    try:
        return pa.unify_schemas([pa.schema([field]) for field in fields], promote_options="permissive").field(0)
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        if nested := [field for field in fields if pa.types.is_nested(field.type)]:
            raise DataError(
                f"the column {name!r} holds {nested[0].type} in one file and something else in another: {_CHOOSE}"
            ) from None
        return pa.field(name, pa.string())


def sorted_out(source: Source, decoded: Decoded, scored: pa.RecordBatch, written: pa.Schema, columns, end) -> Done:
    """A block that was scored: its good rows in the columns `written`, the bad ones in those of `columns_of`."""
    errors = scored.column(ERROR)
    good = scored if errors.null_count == len(errors) else scored.filter(errors.is_null())
    return Done(_cast(good.select(written.names), written, source), _rejected(source, decoded, scored, columns), end)


def _cast(batch: pa.RecordBatch, schema: pa.Schema, source: Source) -> pa.RecordBatch:
    if batch.schema.equals(schema):
        return batch
    try:
        return batch.cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{source.path} holds what cannot be written beside the other files: {reason}") from None


def _rejected(source: Source, decoded: Decoded, scored: pa.RecordBatch, columns: list[str]) -> list[list]:
    """The bad rows of a block as lines of the table of rejected rows, in the order of the file."""
    bad = np.flatnonzero(~scored.column(ERROR).is_null().to_numpy(zero_copy_only=False))
    rejected = [[str(source.path), row.line, row.reason, *row.cells] for row in decoded.ragged]
    reasons = scored.column(ERROR).take(pa.array(bad)).to_pylist()
    cells = decoded.batch.take(pa.array(bad)).to_pylist()
    for line, reason, row in zip(decoded.lines(bad.tolist()), reasons, cells, strict=True):
        rejected.append([str(source.path), line, reason, *map(row.get, columns[3:])])
    return sorted(rejected, key=lambda row: row[1]) if decoded.ragged else rejected


def fill(part: Part, done: Done) -> None:
    """Write a block to a part."""
    part.write(done.good, noted=done.good.num_rows - done.good.column(NOTES).null_count)
    for cells in done.rejected:
        part.reject(cells)


def in_words(rejected: list, columns: list[str]) -> str:
    """A rejected row as one sentence."""
    file, line, reason, *_ = rejected
    return f"{file}, {columns[1]} {line}: {reason}"
