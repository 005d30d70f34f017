"""The output of a long run, in parts: what is finished is kept, and what is not finished is not seen.

Parts are written to a hidden folder beside the output, by one process or by many that see the same folder. Each that is
finished leaves a record, by which a later run of the same work goes on; written twice, it counts once. Only when all
are there does the output get its name, whole.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import shutil
import uuid
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import filelock
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq

from helpers.batch import joined
from helpers.batch.paths import CSV_GZ, PARQUET, hidden_of, rejected_of, suffix_of
from helpers.data.raw_tables import DataError

PART_ROWS = 2**20  # rows after which a part is finished: as many are scored again after an interruption
GZIP_LEVEL = 3  # a third of the time of the usual 9, and a tenth more bytes


class Parts:
    """The parts of one output. `records` are the records of those that are finished, by name, in order.

    output: a file's name with one of `paths.SUFFIXES`, or one without any for a folder of parts, each in `suffix`.
    key: what the work is (files, model, columns), as JSON has it; parts of any other work are deleted.
    """

    def __init__(self, output: Path, suffix: str, key: dict):
        self.output, self.suffix = output, suffix
        self.one_file = suffix_of(output) is not None
        self.rejected, self.folder = rejected_of(output), hidden_of(output)
        self._key = json.dumps(key, sort_keys=True, indent=1)
        self.records: dict[str, dict] = {}

    @contextmanager
    def opened(self) -> Iterator[Parts]:
        """The hidden folder, kept from other runs meanwhile. Raises `DataError` where another has it.

        At the end it stays only where a part is finished, with which the next run goes on.
        """
        made = [folder for folder in self.output.parents if not folder.exists()]
        self.output.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(f"{self.folder}.lock")
        Path(lock.lock_file).touch()  # where that fails, FileLock may say that another has it
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            raise DataError(f"another run is writing {self.output} at this moment: wait for its end") from None
        try:
            if self.output.exists():  # another run has finished it meanwhile
                raise DataError(f"{self.output} is there already: remove it, or give another name")
            self._take_up()
            yield self
        finally:
            if not any(self.folder.glob("record-*.json")):
                shutil.rmtree(self.folder, ignore_errors=True)
            with suppress(OSError):  # Windows keeps a file that is open
                Path(lock.lock_file).unlink()
            lock.release()
            with suppress(OSError):  # something is in them
                for folder in made:
                    folder.rmdir()

    def _take_up(self) -> None:
        """Read the records of the parts that are finished; delete everything where they are of other work."""
        work = self.folder / "work.json"
        if not work.exists() or work.read_text() != self._key:
            shutil.rmtree(self.folder, ignore_errors=True)
            (self.folder / "rows").mkdir(parents=True)
            work.write_text(self._key)
        self.look()

    def look(self) -> None:
        """Read the records of the parts that have been finished since, whoever has written them."""
        for path in self.folder.glob("record-*.json"):
            name = path.stem.removeprefix("record-")
            if name not in self.records:
                self.records[name] = json.loads(path.read_text())
        self.records = dict(sorted(self.records.items()))

    def forget(self, name: str) -> dict:
        """Let a part be written anew; returns the record that it had."""
        self._file("record", name, ".json").unlink()
        return self.records.pop(name)

    def _file(self, what: str, name: str, suffix: str) -> Path:
        if what == "rows":  # the folder that becomes the output where that is one
            return self.folder / "rows" / f"part-{name}{suffix}"
        return self.folder / f"{what}-{name}{suffix}"

    def check(self, schema: pa.Schema, read: Collection[str]) -> None:
        """Raise `DataError` where a column holds what the output cannot. read: columns of the input."""
        for field in schema:
            if not _can_hold(self.suffix, field):
                kind = "Parquet" if self.suffix == PARQUET else "CSV"
                instead = [] if self.suffix == PARQUET else ["let the output end in .parquet"]
                instead += ["name the columns to --keep"] if field.name in read else []
                raise DataError(
                    f"the column {field.name!r} holds {field.type}, which {kind} cannot: {', or '.join(instead)}"
                )

    @contextmanager
    def part(self, schema: pa.Schema, name: str | None = None) -> Iterator[Part]:
        """A new part to write to, which is kept once its `finish` has been called and forgotten where it was not.

        name: its place among the others, which are sorted by it (default: after them).
        """
        name = f"{len(self.records):05}" if name is None else name
        own = self.folder / f"unfinished-{uuid.uuid4().hex}"  # a cluster may have two processes write the same part
        rows, rejected = own.with_suffix(self.suffix), own.with_suffix(".rejected")
        try:
            with Part(rows, rejected, schema, header=not self.one_file) as part:
                yield part
            if part.record is not None:
                os.replace(rows, self._file("rows", name, self.suffix))
                os.replace(rejected, self._file("rejected", name, ".csv"))
                own.write_text(json.dumps(part.record))
                os.replace(own, self._file("record", name, ".json"))
                self.records[name] = part.record
        finally:
            for left in (rows, rejected, own):  # a disk that is full has no room for it
                left.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Delete what processes that were killed have left of parts; none may be at work on these."""
        for left in self.folder.glob("unfinished-*"):
            left.unlink()

    def publish(self, schema: pa.Schema, columns: list[str]) -> None:
        """Give the output its name, and the rejected rows theirs where there are any; the hidden folder goes."""
        if any(record["rejected"] for record in self.records.values()):
            whole = self.folder / "rejected.csv"
            with whole.open("wb") as file:
                file.write(_csv_line(columns))
                self._append("rejected", ".csv", file)
            os.replace(whole, self.rejected)
        if not self.one_file:
            for number, name in enumerate(self.records):
                numbered = self._file("rows", f"{number:05}", self.suffix)
                if not numbered.exists():  # else it has that name, or got it before an interruption
                    os.replace(self._file("rows", name, self.suffix), numbered)
            os.replace(self.folder / "rows", self.output)
        else:
            os.replace(self._joined(schema), self.output)
        shutil.rmtree(self.folder)

    def _joined(self, schema: pa.Schema) -> Path:
        """All rows in one file, none of them read again: texts follow each other as they are (gzip allows it, too)."""
        parts = [self._file("rows", name, self.suffix) for name in self.records]
        whole = self.folder / f"whole{self.suffix}"
        if self.suffix == PARQUET and len(parts) == 1:
            return parts[0]
        if self.suffix == PARQUET:
            joined.join(parts, whole)
        else:
            header = pa.BufferOutputStream()
            arrow_csv.write_csv(schema.empty_table(), header)
            header = header.getvalue().to_pybytes()
            with whole.open("wb") as file:
                file.write(gzip.compress(header) if self.suffix == CSV_GZ else header)
                self._append("rows", self.suffix, file)
        return whole

    def _append(self, what: str, suffix: str, file: BinaryIO) -> None:
        for name in self.records:
            with self._file(what, name, suffix).open("rb") as part:
                shutil.copyfileobj(part, file, 1024**2)


class Part:
    """A part that is being written: `write` rows, `reject` others, then `finish` it."""

    def __init__(self, rows: Path, rejected: Path, schema: pa.Schema, header: bool):
        self.record: dict | None = None
        self.rows = self.noted = self.refused = 0
        with ExitStack() as opened:
            self._reject = csv.writer(opened.enter_context(rejected.open("w", encoding="utf-8", newline="")))
            file = opened.enter_context(rows.open("wb"))
            if rows.name.endswith(CSV_GZ):
                file = opened.enter_context(gzip.GzipFile("", "wb", GZIP_LEVEL, file))
            if rows.name.endswith(PARQUET):
                self._writer = _parquet_writer(file, schema)
            else:
                options = arrow_csv.WriteOptions(include_header=header)
                self._writer = arrow_csv.CSVWriter(file, schema, write_options=options)
            opened.callback(self._writer.close)
            self._opened = opened.pop_all()

    def __enter__(self) -> Part:
        return self

    def __exit__(self, *exc) -> None:
        self._opened.close()

    def write(self, batch: pa.RecordBatch, noted: int = 0) -> None:
        self.rows += batch.num_rows
        self.noted += noted
        self._writer.write_batch(batch)

    def reject(self, cells: list) -> None:
        self.refused += 1
        self._reject.writerow(cells)

    def finish(self, **record) -> None:
        self.record = {**record, "rows": self.rows, "noted": self.noted, "rejected": self.refused}


def _can_hold(suffix: str, field: pa.Field) -> bool:
    """Whether a kind of file has a place for a column, which is tried."""
    types, schema = pa.types, pa.schema([field.with_nullable(True)])
    are_bytes = types.is_binary(field.type), types.is_large_binary(field.type), types.is_fixed_size_binary(field.type)
    if suffix != PARQUET and any(are_bytes):  # they need not be a text
        return False
    try:
        open_writer = _parquet_writer if suffix == PARQUET else arrow_csv.CSVWriter
        with open_writer(pa.BufferOutputStream(), schema) as writer:
            writer.write_batch(pa.RecordBatch.from_arrays([pa.nulls(1, field.type)], schema=schema))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
        return False
    return True


def _parquet_writer(file, schema: pa.Schema) -> pq.ParquetWriter:
    """A writer that looks for repeated values where they are likely: in measured numbers and ids it costs time only."""
    rarely = (pa.types.is_floating, pa.types.is_int64, pa.types.is_uint64)
    repeated = [field.name for field in schema if not any(is_kind(field.type) for is_kind in rarely)]
    return pq.ParquetWriter(file, schema, use_dictionary=repeated)


def _csv_line(cells: list[str]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerow(cells)
    return text.getvalue().encode()
