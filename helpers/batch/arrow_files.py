"""Files whose columns have types as sources: Parquet, and Arrow's own files and streams, which Feather is one of.

Their record batches are handed on as they stand there, in slices of a block.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import ipc

from helpers.batch import paths
from helpers.batch.lines import stream_of
from helpers.batch.sources import BLOCK_BYTES, BLOCK_ROWS, Block, Decoded, Position, Source, key_of, readable
from helpers.data.raw_tables import ROWS_TRIED, commas_of

PIECE_ROWS = 2**19  # of a file, at least, where whole row groups are as many


def parquet(path: Path, keep: Callable[[str], bool], is_feature: Callable[[str], bool]) -> Source | None:
    """The rows of a Parquet file; None where two of the columns that are wanted have one name. keep: whether one is."""
    key = key_of(path)
    with pq.ParquetFile(path) as file:
        names = [name for name in file.schema_arrow.names if keep(name)]
        if len(set(names)) < len(names):
            return None
        schema = _wanted(file.schema_arrow, keep)[1]
        metadata = file.metadata
        groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
        sizes = [group.num_rows for group in groups]
        ends = list(itertools.accumulate(sizes))
        size = sum(group.total_byte_size for group in groups) / max(1, metadata.num_rows)
        texts = _texts_to_try(file.schema_arrow, is_feature)
        first = next(file.iter_batches(ROWS_TRIED, columns=texts), None) if texts else None
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
                    yield _block_of(_in_types(wanted, schema), at - batch.num_rows + done)
                if at >= end:
                    return

    cuts = functools.partial(_cuts, sizes)
    return _source(path, key, schema, metadata.num_rows, blocks, cuts, first)


def arrow_file(path: Path, keep: Callable[[str], bool], is_feature: Callable[[str], bool]) -> Source | None:
    """The rows of a file of Arrow's record batches, or of Feather; None where two wanted columns have one name."""
    key = key_of(path)
    with pa.memory_map(str(path)) as file:
        reader = ipc.open_file(file)
        at, schema = _wanted(reader.schema, keep)
        if at is None:
            return None
        rows = reader.count_rows() if hasattr(reader, "count_rows") else None  # from PyArrow 26 on, which Beam has not
        first = _first(reader.schema, is_feature, lambda names: _batches_of(path, names))

    @functools.cache
    def sizes() -> list[int]:
        return [batch.num_rows for batch in _batches_of(path, [0])]  # of one column, as the footer does not tell

    def blocks(start: Position, end: int | None = None) -> Iterator[Block]:
        skipped = before = 0
        for size in sizes() if start[0] else ():
            if before + size > start[0]:
                break
            skipped, before = skipped + 1, before + size
        for batch in _batches_of(path, at, skipped):
            yield from _slices(batch, schema, before, start[0], end)
            before += batch.num_rows
            if end is not None and before >= end:
                return

    def cuts() -> Iterator[Position]:
        return _cuts(sizes())

    return _source(path, key, schema, rows, blocks, cuts, first)


def arrow_stream(path: Path, keep: Callable[[str], bool], is_feature: Callable[[str], bool]) -> Source | None:
    """The same of a stream of record batches, plain or packed, which can only be read from its beginning."""
    key = key_of(path)

    def batches(at: list[int]) -> Iterator[pa.RecordBatch]:
        with stream_of(path) as file, ipc.open_stream(file, options=ipc.IpcReadOptions(included_fields=at)) as reader:
            yield from reader

    with stream_of(path) as file, ipc.open_stream(file) as reader:
        whole = reader.schema
    at, schema = _wanted(whole, keep)
    if at is None:
        return None
    first = _first(whole, is_feature, batches)

    def blocks(start: Position, end: int | None = None) -> Iterator[Block]:
        before = 0
        for batch in batches(at):
            yield from _slices(batch, schema, before, start[0], end)
            before += batch.num_rows

    return _source(path, key, schema, None, blocks, no_cuts, first)


def _source(path: Path, key: tuple, schema: pa.Schema, rows: int | None, blocks, cuts, first) -> Source:
    """first: some rows of its texts, from which is told how numbers are written in them."""
    commas = commas_of(first.to_pandas()) if first else frozenset()
    read = readable(path, blocks)
    return Source(path, key, schema, rows, "row", (0, 1), read, cuts, commas=commas, like=paths.PARQUET)


def _block_of(batch: pa.RecordBatch, before: int, first: int = 1) -> Block:
    """A block of rows that are there already, after `before` others, of which the first is number `first`."""
    after = before + batch.num_rows
    lines = functools.partial(_row_numbers, before + first)
    return Block(lambda: Decoded(batch, lines, []), (after, after + first))


def slices_of(batch: pa.RecordBatch, before: int, start: int, first: int = 1) -> Iterator[Block]:
    """The rows of a batch, before which `before` others come, as blocks; those before the row `start` are left out."""
    size = batch.nbytes / max(1, batch.num_rows)
    rows = int(min(BLOCK_ROWS, max(1, BLOCK_BYTES // max(1, size))))
    for at in range(max(0, start - before), batch.num_rows, rows):
        yield _block_of(batch.slice(at, rows), before + at, first)


def _row_numbers(first: int, rows: Iterable[int]) -> list[int]:
    return [first + row for row in rows]


def no_cuts() -> Iterator[Position]:
    return iter(())


def _cuts(sizes: list[int]) -> Iterator[Position]:
    """Where rows in groups of these sizes are cut into pieces."""
    last, rows = 0, sum(sizes)
    for at in itertools.accumulate(sizes):
        while at - last >= PIECE_ROWS:
            # a group is cut only where it is large: whoever reads its end decodes its beginning in vain
            last = at if at - last < 4 * PIECE_ROWS else last + 2 * PIECE_ROWS
            if last < rows:
                yield last, last + 1


# ---- Arrow's own ----


def _batches_of(path: Path, at: list[int], skipped: int = 0) -> Iterator[pa.RecordBatch]:
    """The record batches of a file, without the first ones, of the columns at some places."""
    options = ipc.IpcReadOptions(included_fields=at, use_threads=False)
    with pa.memory_map(str(path)) as file:
        reader = ipc.open_file(file, options=options)
        for i in range(skipped, reader.num_record_batches):
            yield reader.get_batch(i)


def _wanted(schema: pa.Schema, keep: Callable[[str], bool]) -> tuple[list[int] | None, pa.Schema]:
    """The places of the columns that are wanted, None where two have one name, and these with types of every file."""
    at = [i for i, name in enumerate(schema.names) if keep(name)]
    fields = [field.with_type(_usual(field.type)) for field in map(schema.field, at)]
    names = [field.name for field in fields]
    return (at if len(set(names)) == len(names) else None), pa.schema(fields)


def _slices(batch: pa.RecordBatch, schema: pa.Schema, before: int, start: int, end: int | None) -> Iterator[Block]:
    """The rows of a batch from the row `start` of the file up to `end`, in blocks, in the types of `schema`."""
    if end is not None:
        batch = batch.slice(0, max(0, end - before))
    if before + batch.num_rows <= start:
        return
    yield from slices_of(_in_types(batch, schema), before, start)


def _in_types(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    if batch.schema.equals(schema):
        return batch
    columns = [column.cast(field.type) for field, column in zip(schema, batch.columns, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _usual(kind: pa.DataType) -> pa.DataType:
    """The type that Parquet and CSV have for a column of Arrow's, of which a view is a way to lie in memory."""
    if pa.types.is_dictionary(kind):
        return pa.dictionary(kind.index_type, _usual(kind.value_type), kind.ordered)
    if pa.types.is_struct(kind):
        return pa.struct([each.with_type(_usual(each.type)) for each in kind])
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        list_of = pa.list_ if pa.types.is_list(kind) else pa.large_list
        return list_of(kind.value_field.with_type(_usual(kind.value_type)))
    return {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}.get(kind, kind)


# ---- how numbers are written in texts ----


def _texts_to_try(schema: pa.Schema, is_feature: Callable[[str], bool]) -> list[str]:
    """The columns of texts, by which training tells how numbers are written in them; none where no feature is one."""

    def is_text(kind: pa.DataType) -> bool:
        if pa.types.is_dictionary(kind):
            return is_text(kind.value_type)
        return any(each(kind) for each in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))

    texts = [field.name for field in schema if is_text(field.type)]
    return texts if any(map(is_feature, texts)) else []


def _first(schema: pa.Schema, is_feature, batches: Callable[[list[int]], Iterator[pa.RecordBatch]]):
    texts = _texts_to_try(schema, is_feature)
    first = next(batches([i for i, name in enumerate(schema.names) if name in texts]), None) if texts else None
    return first and first.slice(0, ROWS_TRIED)
