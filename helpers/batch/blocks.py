"""A block of a file becomes its rows with their answers, and those that were rejected: the same under every engine.

Decoded rows and what the scorer made of them come in, what is to be written goes out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from helpers.batch.parts import Part
from helpers.batch.scoring import ERROR, NOTES, Scorer
from helpers.batch.sources import Decoded, Position, Source
from helpers.data.reading import DataError


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

    Raises `DataError` where a file is of another table.
    """
    for source in sources:
        try:
            scorer_of(source).check(source.schema.names)
        except DataError as error:
            raise DataError(f"{source.path}: {error}") from None
    first = sources[0]
    scored = scorer_of(first).with_answers(pa.schema([first.schema.field(name) for name in keep]))
    written = pa.schema([field for field in scored if field.name != ERROR])
    return written, ["file", first.where, "reason", *first.schema.names]


def aligned(schema: pa.Schema, batch: pa.RecordBatch, source: Source) -> pa.RecordBatch:
    """The batch with the columns of the first file, in their order and types."""
    if batch.schema.equals(schema):
        return batch
    try:
        return batch.select(schema.names).cast(schema)
    except (KeyError, pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        reason = str(error).splitlines()[0].strip("'\"")
        raise DataError(f"{source.path} does not have the columns of the first file: {reason}") from None


def sorted_out(source: Source, decoded: Decoded, scored: pa.RecordBatch, written: list[str], end: Position) -> Done:
    """The good rows of a block that was scored, of which the columns `written` are kept, and the bad ones."""
    errors = scored.column(ERROR)
    good = scored if errors.null_count == len(errors) else scored.filter(errors.is_null())
    return Done(good.select(written), _rejected(source, decoded, scored), end)


def _rejected(source: Source, decoded: Decoded, scored: pa.RecordBatch) -> list[list]:
    """The bad rows of a block as lines of the table of rejected rows, in the order of the file."""
    bad = np.flatnonzero(~scored.column(ERROR).is_null().to_numpy(zero_copy_only=False))
    rejected = [[str(source.path), row.line, row.reason, *row.cells] for row in decoded.ragged]
    reasons = scored.column(ERROR).take(pa.array(bad)).to_pylist()
    cells = decoded.batch.take(pa.array(bad)).to_pylist()
    for line, reason, row in zip(decoded.lines(bad.tolist()), reasons, cells, strict=True):
        rejected.append([str(source.path), line, reason, *row.values()])
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
