"""The engine of one process: files are read, scored on every core and written, in their order, in bounded memory.

Sources and a scorer come in, an output in parts goes out. Arrow and ONNX Runtime let go of the interpreter's lock, so
threads are enough: this one reads and writes, the others decode, encode and predict.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from helpers.batch.parts import Part, Parts
from helpers.batch.scoring import ERROR, Scorer, with_answers
from helpers.batch.sources import Block, Decoded, Position, Source
from helpers.data.reading import DataError

PART_ROWS = 2**20  # rows after which a part is finished: as many are scored again after an interruption
AHEAD = 2  # blocks for each thread that are read before they are needed


class BadRow(DataError):
    """A row that cannot be answered, where none may be passed over."""


class Done(NamedTuple):
    """A block that was scored: its good rows with their answers, and the cells of those rejected, in order."""

    good: pa.RecordBatch
    rejected: list[list]
    end: Position


def score_files(
    sources: list[Source],
    scorer_of: Callable[[Source], Scorer],
    parts: Parts,
    keep: list[str],
    threads: int,
    strict: bool = False,
    progress: Callable[[int, int], None] = lambda rows, rejected: None,
) -> None:
    """Score `sources`, which have the same columns, into `parts`, and publish these.

    scorer_of: the scorer for a source, which knows how its texts are written. keep: the columns that pass through.
    strict: the first bad row ends the run. progress(rows, rejected) is told of every block. Raises `DataError` for a
    file that cannot be read or is of another table, `BadRow` where strict, OSError where the disk is full; the same
    call goes on with the part that was begun.
    """
    schema = _without_error(with_answers(pa.schema([sources[0].schema.field(name) for name in keep])))
    columns = ["file", sources[0].where, "reason", *sources[0].schema.names]
    parts.check(schema)
    for source in sources:
        _check(source, scorer_of(source))
    with ThreadPoolExecutor(threads) as pool:
        for number, source in enumerate(sources):
            finished = [record for record in parts.records if record["source"] == number]
            if finished and finished[-1]["whole"]:
                continue
            start = tuple(finished[-1]["end"]) if finished else source.start
            work = _work(source, sources[0].schema, scorer_of(source), schema.names)
            with _in_order(pool, work, source.blocks(start), AHEAD * threads) as blocks:
                _write(blocks, number, parts, schema, columns, strict, progress)
    parts.publish(schema, columns)


def _check(source: Source, scorer: Scorer) -> None:
    """Raise `DataError` where a file is of another table, before anything is written."""
    try:
        scorer.check(source.schema.names)
    except DataError as error:
        raise DataError(f"{source.path}: {error}") from None


def _write(blocks: Iterator[Done], number: int, parts: Parts, schema, columns, strict: bool, progress) -> None:
    """Write what is scored to one part after another."""
    ahead = next(blocks, None)
    while True:
        with parts.part(schema) as part:
            while ahead is not None and part.rows + part.refused < PART_ROWS:
                if strict and ahead.rejected:
                    file, line, reason, *_ = ahead.rejected[0]
                    raise BadRow(f"{file}, {columns[1]} {line}: {reason}")
                _fill(part, ahead)
                progress(ahead.good.num_rows, len(ahead.rejected))
                end, ahead = ahead.end, next(blocks, None)
            if not (part.rows or part.refused):
                end = (0, 0)
            part.finish(source=number, end=end, whole=ahead is None)
        if ahead is None:
            return


def _fill(part: Part, done: Done) -> None:
    part.write(done.good)
    for cells in done.rejected:
        part.reject(cells)


def _work(source: Source, schema: pa.Schema, scorer: Scorer, written: list[str]) -> Callable[[Block], Done]:
    """What a thread does with a block of `source`, whose columns become those of `schema`; `written` are kept."""

    def work(block: Block) -> Done:
        decoded = block.decode()
        scored = scorer(_as(schema, decoded.batch, source))
        errors = scored.column(ERROR)
        good = scored if errors.null_count == len(errors) else scored.filter(errors.is_null())
        return Done(good.select(written), _rejected(source, decoded, scored), block.end)

    return work


def _as(schema: pa.Schema, batch: pa.RecordBatch, source: Source) -> pa.RecordBatch:
    """The batch with the columns of the first file, in their order and types."""
    if batch.schema.equals(schema):
        return batch
    try:
        return batch.select(schema.names).cast(schema)
    except (KeyError, pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        reason = str(error).splitlines()[0].strip("'\"")
        raise DataError(f"{source.path} does not have the columns of the first file: {reason}") from None


def _rejected(source: Source, decoded: Decoded, scored: pa.RecordBatch) -> list[list]:
    """The bad rows of a block as lines of the table of rejected rows, in the order of the file."""
    bad = np.flatnonzero(~scored.column(ERROR).is_null().to_numpy(zero_copy_only=False))
    rejected = [[str(source.path), row.line, row.reason, *row.cells] for row in decoded.ragged]
    reasons = scored.column(ERROR).take(pa.array(bad)).to_pylist()
    cells = decoded.batch.take(pa.array(bad)).to_pylist()
    for line, reason, row in zip(decoded.lines(bad.tolist()), reasons, cells, strict=True):
        rejected.append([str(source.path), line, reason, *row.values()])
    return sorted(rejected, key=lambda row: row[1]) if decoded.ragged else rejected


def _without_error(schema: pa.Schema) -> pa.Schema:
    return pa.schema([field for field in schema if field.name != ERROR])


@contextmanager
def _in_order(pool: ThreadPoolExecutor, work: Callable, items: Iterable, ahead: int) -> Iterator[Iterator]:
    """The results of `work` on each item in their order, never more than `ahead` of them at once."""
    items, futures = iter(items), deque[Future]()

    def results() -> Iterator:
        futures.extend(pool.submit(work, item) for item in itertools.islice(items, ahead))
        while futures:
            result = futures.popleft().result()
            futures.extend(pool.submit(work, item) for item in itertools.islice(items, 1))
            yield result

    try:
        yield results()
    finally:
        for future in futures:
            future.cancel()
