"""Files cut into pieces, for engines of many processes: each piece is read, scored and written by whoever gets it.

A `Job` says in plain JSON what is to be done; a `Worker`, in any process that sees the same files, does a piece of it.
A piece becomes parts of the output (see `parts`) under names that order them, so that the rows keep their order, and
a piece that is done again, after a process was lost, is there once.
"""

from __future__ import annotations

import base64
import errno
import functools
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from helpers.batch.blocks import BadRow, columns_of, fill, in_words, sorted_out
from helpers.batch.kinds import open_source
from helpers.batch.parts import PART_ROWS, Parts
from helpers.batch.scoring import VERSION, Scorer
from helpers.batch.sources import Decoded, Position, Source
from helpers.data.raw_tables import DataError
from helpers.export.errors import ArtifactError
from helpers.export.predictors import load_predictor

CHUNK_ROWS, CHUNK_BYTES = 2**17, 32 * 1024**2  # of a record batch that goes from one step of a pipeline to the next
WRONG = "wrong-*"  # notes of what went wrong with a piece: a sentence, or the system's error as the file's ending
TEXTS = b"texts"  # in the metadata of a batch: how its texts are written, as JSON


class Piece(NamedTuple):
    """The rows of the file number `source` from a position up to the next place `end`, None for the file's end."""

    source: int
    start: Position
    end: int | None


@dataclass(frozen=True)
class Job:
    """What is to be scored. Paths are absolute and mean the same to every worker.

    schemas: the columns of each file. keep: the columns that pass through, all where none is named; schema, columns:
    what `columns_of` makes of them. version: the model's. imports: as `load_predictor` takes them.
    """

    files: list[str]
    schemas: list[pa.Schema]
    keep: list[str]
    schema: pa.Schema
    columns: list[str]
    model: str
    imports: tuple[str, str] | None
    version: str
    output: str
    suffix: str
    strict: bool
    pieces: list[Piece]

    def write(self, path: Path) -> None:
        schemas = {"schema": _as_text(self.schema), "schemas": [_as_text(schema) for schema in self.schemas]}
        path.write_text(json.dumps({**vars(self), **schemas}))

    @classmethod
    def of(
        cls,
        sources: list[Source],
        scorer_of: Callable[[Source], Scorer],
        keep: list[str],
        model: Path,
        parts: Parts,
        strict: bool = False,
        imports: tuple[str, str] | None = None,
    ) -> Job:
        """The job that is to score `sources` into `parts`. Raises `DataError` where one is of another table."""
        schema, columns = columns_of(sources, scorer_of, keep)
        files = [str(source.path) for source in sources], [source.schema for source in sources]
        version, output = scorer_of(sources[0]).version, (str(parts.output), parts.suffix)
        return cls(*files, keep, schema, columns, str(model), imports, version, *output, strict, pieces_of(sources))

    @classmethod
    def read(cls, path: Path) -> Job:
        fields = json.loads(path.read_text())
        pieces = [Piece(source, tuple(start), end) for source, start, end in fields.pop("pieces")]
        schema, schemas = _of_text(fields.pop("schema")), [_of_text(text) for text in fields.pop("schemas")]
        return cls(**fields, schema=schema, schemas=schemas, pieces=pieces)


def _as_text(schema: pa.Schema) -> str:
    return base64.b64encode(schema.serialize()).decode()


def _of_text(text: str) -> pa.Schema:
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))


class Chunk(NamedTuple):
    """Some rows of a piece, `place` in their order; `whole`: whether they are its last."""

    piece: int
    place: int
    whole: bool
    decoded: Decoded

    @property
    def name(self) -> str:
        return f"{self.piece:06}-{self.place:04}"


def pieces_of(sources: list[Source]) -> list[Piece]:
    """Every file in pieces, each as long as is worth a process's while."""
    pieces = []
    for number, source in enumerate(sources):
        cuts = list(source.cuts())
        starts, ends = [source.start, *cuts], [*(place for place, _ in cuts), None]
        pieces += [Piece(number, start, end) for start, end in zip(starts, ends, strict=True)]
    return pieces


def finished(parts: Parts) -> set[int]:
    """The pieces of which every row is written."""
    return {record["piece"] for record in parts.records.values() if record["whole"]}


def unfinished(job: Path) -> list[int]:
    """The pieces of a job, which is written in a file, that are still to be done."""
    own = worker(job)
    own.parts.look()
    return sorted(set(range(len(own.job.pieces))) - finished(own.parts))


class Worker:
    """Does pieces of a job. What is wrong with a file or a row is noted for whoever has given the job, not raised."""

    def __init__(self, job: Job):
        self.job = job
        self.parts = Parts(Path(job.output), job.suffix, {})
        self.predictor = load_predictor(job.model, imports=job.imports)
        self.scorer = functools.cache(functools.partial(Scorer, self.predictor, passing=job.keep))
        self.source = functools.cache(self._source)

    def _source(self, number: int) -> Source:
        path, is_feature = Path(self.job.files[number]), self.predictor.signature.reader().field
        return open_source(path, is_feature, self.job.keep, self.job.schemas[number])

    def scorer_of(self, source: Source) -> Scorer:
        return self.scorer(source.absent, source.commas)

    def chunks(self, number: int, rows: int = CHUNK_ROWS) -> Iterator[Chunk]:
        """The rows of a piece, some at a time; at least one chunk, which may be empty."""
        piece, place, ahead = self.job.pieces[number], 0, []
        source = self.source(piece.source)
        for block in source.blocks(piece.start, piece.end):
            if _are_enough(ahead, rows):
                yield Chunk(number, place, False, _joined(ahead))
                place, ahead = place + 1, []
            ahead.append(block.decode())
        nothing = Decoded(pa.RecordBatch.from_pylist([], schema=source.schema), _no_lines, [])
        yield Chunk(number, place, True, _joined(ahead) if ahead else nothing)

    def batch(self, chunk: Chunk) -> pa.RecordBatch:
        """The rows of a chunk as `score` takes them: with a note of how their texts are written."""
        source = self.source(self.job.pieces[chunk.piece].source)
        batch = chunk.decoded.batch
        texts = json.dumps([sorted(source.absent), sorted(source.commas)])
        return batch.replace_schema_metadata({**(batch.schema.metadata or {}), TEXTS: texts.encode()})

    def write(self, chunk: Chunk, scored: pa.RecordBatch) -> int:
        """Write a chunk that was scored as a part of the output; returns its rows."""
        job, version = self.job, scored.column(VERSION)
        if len(version) and version[0].as_py() != job.version:
            raise DataError(f"the model in {job.model} was replaced while rows were scored: run the same command again")
        with self.parts.part(job.schema, chunk.name) as part:
            source = self.source(job.pieces[chunk.piece].source)
            done = sorted_out(source, chunk.decoded, scored, job.schema, job.columns, (0, 0))
            if job.strict and done.rejected:
                raise BadRow(in_words(done.rejected[0], job.columns))
            fill(part, done)
            part.finish(piece=chunk.piece, whole=chunk.whole)
        return chunk.decoded.batch.num_rows

    def do(self, number: int) -> int:
        """Read, score and write a piece; returns its rows."""
        rows = 0
        with self.noting(number) as goes_on:
            if goes_on:
                for chunk in self.chunks(number, PART_ROWS):
                    rows += self.write(chunk, score(self.scorer, self.batch(chunk)))
        return rows

    def noting(self, number: int) -> _Noting:
        return _Noting(self.parts.folder, number)


class _Noting:
    """Notes what goes wrong in the `with` block with a piece, whose value is whether there is any use in going on."""

    def __init__(self, folder: Path, number: int):
        self.folder, self.number = folder, number

    def __enter__(self) -> bool:
        return not any(self.folder.glob(WRONG))

    def __exit__(self, kind, error, traceback) -> bool:
        if not isinstance(error, DataError | ArtifactError | OSError):
            return False
        note = self.folder / f"wrong-{self.number:06}.txt"
        with suppress(OSError):
            if not isinstance(error, OSError):
                try:
                    note.write_text(str(error), encoding="utf-8")
                    return True
                except OSError as full:
                    error = full
            note.unlink(missing_ok=True)
            note.with_suffix(f".{error.errno or errno.EIO}").touch()  # on a full disk there is place for a name alone
            return True
        return False


def end_with_the_command() -> None:
    """Let this engine end, with all that it has started, once the command that started it is gone, however it ended."""

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 1):  # not by sys.stdin, whose lock a thread may not hold as Python ends
            pass
        if os.name == "posix":
            os.killpg(0, signal.SIGTERM)  # the engine leads a group of its own
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def forget_what_went_wrong(folder: Path) -> None:
    for note in folder.glob(WRONG):
        note.unlink()


def raise_what_went_wrong(folder: Path) -> None:
    """Raise `DataError` or OSError, of the first piece that has one."""
    for note in sorted(folder.glob(WRONG)):
        if note.suffix == ".txt":
            raise DataError(note.read_text(encoding="utf-8"))
        raise OSError(int(note.suffix[1:]), os.strerror(int(note.suffix[1:])))


@functools.cache
def worker(job: Path) -> Worker:
    """The worker of this process for the job that is written in a file."""
    return Worker(Job.read(job))


def score(scorer, batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with its answers, read as its metadata say; `scorer(absent, commas)` is the `Scorer` for that."""
    metadata = dict(batch.schema.metadata or {})
    absent, commas = map(frozenset, json.loads(metadata.pop(TEXTS, b"[[], []]")))
    return scorer(absent, commas)(batch.replace_schema_metadata(metadata or None))


def _are_enough(decoded: list[Decoded], rows: int) -> bool:
    if not decoded:
        return False
    size = sum(each.batch.nbytes for each in decoded)
    return sum(each.batch.num_rows for each in decoded) >= rows or size >= CHUNK_BYTES


def _joined(decoded: list[Decoded]) -> Decoded:
    """Blocks of a file that follow each other as one."""
    if len(decoded) == 1:
        return decoded[0]
    lines = functools.partial(_lines, [(each.batch.num_rows, each.lines) for each in decoded])
    batch = pa.concat_batches([each.batch for each in decoded])
    return Decoded(batch, lines, [ragged for each in decoded for ragged in each.ragged])


def _lines(blocks: list[tuple], rows: Iterable[int]) -> list[int]:
    found, rows, before = [], list(rows), 0
    for count, lines in blocks:
        found += lines([row - before for row in rows if before <= row < before + count])
        before += count
    return found


def _no_lines(rows: Iterable[int]) -> list[int]:
    return []
