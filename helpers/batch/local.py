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

import pyarrow as pa

from helpers.batch.blocks import BadRow, Done, columns_of, fill, in_words, sorted_out
from helpers.batch.parts import PART_ROWS, Parts
from helpers.batch.scoring import Scorer
from helpers.batch.sources import Block, Source, check_unchanged

AHEAD = 2  # blocks for each thread that are read before they are needed


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

    scorer_of: the scorer for a source, which knows how its texts are written. keep: the columns that pass through, all
    where none is named.
    strict: the first bad row ends the run. progress(rows, rejected) is told of every block. Raises `DataError` for a
    file that cannot be read or is of another table, `BadRow` where strict, OSError where the disk is full; the same
    call goes on with the part that was begun.
    """
    schema, columns = columns_of(sources, scorer_of, keep)
    parts.check(schema, columns)
    parts.sweep()
    with ThreadPoolExecutor(threads) as pool:
        for number, source in enumerate(sources):
            finished = [record for record in parts.records.values() if record["source"] == number]
            if finished and finished[-1]["whole"]:
                continue
            start = tuple(finished[-1]["end"]) if finished else source.start
            work = _work(source, scorer_of(source), schema, columns)
            with _in_order(pool, work, source.blocks(start), AHEAD * threads) as blocks:
                _write(blocks, number, parts, schema, columns, strict, progress)
    check_unchanged(sources)
    parts.publish(schema, columns)


def _write(blocks: Iterator[Done], number: int, parts: Parts, schema, columns, strict: bool, progress) -> None:
    """Write what is scored to one part after another."""
    ahead = next(blocks, None)
    while True:
        with parts.part(schema) as part:
            while ahead is not None and part.rows + part.refused < PART_ROWS:
                if strict and ahead.rejected:
                    raise BadRow(in_words(ahead.rejected[0], columns))
                fill(part, ahead)
                progress(ahead.good.num_rows, len(ahead.rejected))
                end, ahead = ahead.end, next(blocks, None)
            if not (part.rows or part.refused):
                end = (0, 0)
            part.finish(source=number, end=end, whole=ahead is None)
        if ahead is None:
            return


def _work(source: Source, scorer: Scorer, schema: pa.Schema, columns: list[str]) -> Callable[[Block], Done]:
    """What a thread does with a block of `source`; schema, columns: of the rows that it makes of it (`columns_of`)."""

    def work(block: Block) -> Done:
        decoded = block.decode()
        return sorted_out(source, decoded, scorer(decoded.batch), schema, columns, block.end)

    return work


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
