"""Files in pieces give what the one process gives, whoever does which piece, in which order and how often."""

import random

import numpy as np
import pyarrow.parquet as pq
import pytest
from batch_tools import rejected
from conftest import passengers

from helpers.batch import local, pieces, sources
from helpers.batch.parts import Parts
from helpers.batch.pieces import Job, Worker
from helpers.batch.sources import open_source
from helpers.data.reading import DataError

ROWS = 6_000


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(sources, "PIECE_ROWS", 700)
    monkeypatch.setattr(sources, "PIECE_BYTES", 40_000)
    monkeypatch.setattr(sources, "TEXT_BYTES", 9_000)
    monkeypatch.setattr(pieces, "PART_ROWS", 1_000)


@pytest.fixture
def files(tmp_path):
    """Two CSV files, one of them packed, with texts over two lines, bad values and short rows."""
    frame = passengers(ROWS)
    frame.insert(0, "id", np.arange(ROWS))
    frame["remark"] = [f'"{i}",\nagain' if i % 7 == 0 else f"remark {i}" for i in range(ROWS)]
    frame.loc[frame["id"] % 500 == 3, "gender"] = "nobody"
    head, tail = tmp_path / "a.csv", tmp_path / "b.csv.gz"
    lines = frame[: ROWS // 2].to_csv(index=False)
    head.write_text(lines + "1,2\n" + frame[ROWS // 2 : ROWS - 500].to_csv(index=False, header=False))
    frame[ROWS - 500 :].to_csv(tail, index=False)
    return [head, tail]


@pytest.fixture
def parquet(tmp_path):
    frame = passengers(ROWS)
    frame.insert(0, "id", np.arange(ROWS))
    frame.loc[frame["id"] % 500 == 3, "gender"] = None
    frame[:5_500].to_parquet(tmp_path / "a.parquet", row_group_size=4_000)  # one that is cut in pieces, and one not
    frame[5_500:].to_parquet(tmp_path / "b.parquet", row_group_size=30)
    return [tmp_path / "a.parquet", tmp_path / "b.parquet"]


def in_one_process(files, model, output, suffix) -> None:
    worker = Worker(_job(files, model, output, suffix))
    with Parts(output, suffix, {}).opened() as parts:
        all_sources = [worker.source(i) for i in range(len(files))]
        local.score_files(all_sources, worker.scorer_of, parts, worker.job.keep, threads=2)


def _job(files, model, output, suffix, strict=False) -> Job:
    every = [open_source(file) for file in files]
    names, cut = every[0].schema.names, pieces.pieces_of(every)
    return Job([str(file) for file in files], [], names, str(model), str(output), suffix, strict, cut)


def in_pieces(files, model, output, suffix, strict=False) -> Job:
    """Two workers, which know of each other by the files alone, do pieces in any order, some of them twice."""
    job = _job(files, model, output, suffix, strict)
    with Parts(output, suffix, {}).opened() as parts:
        job.write(parts.folder / "job.json")
        workers = [Worker(Job.read(parts.folder / "job.json")) for _ in range(2)]
        order = list(range(len(job.pieces)))
        random.Random(0).shuffle(order)
        for i, number in enumerate([*order, *order[:5]]):
            workers[i % 2].do(number)
        pieces.raise_what_went_wrong(parts.folder)
        parts.look()
        assert pieces.finished(parts) == set(order)
        parts.publish(workers[0].schema, workers[0].columns)
    return job


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_texts_in_pieces_become_the_same_file_to_the_byte(files, small_pieces, passengers_model, tmp_path, suffix):
    one, many = tmp_path / f"one{suffix}", tmp_path / f"many{suffix}"
    in_one_process(files, passengers_model, one, suffix)
    job = in_pieces(files, passengers_model, many, suffix)
    assert sum(piece.source == 0 for piece in job.pieces) > 5
    assert sum(piece.source == 1 for piece in job.pieces) == 1  # a packed text can only be read from its beginning
    if suffix == ".csv":
        assert many.read_bytes() == one.read_bytes()
    else:
        assert pq.read_table(many).equals(pq.read_table(one))
    assert rejected(f"{many}.rejected") == rejected(f"{one}.rejected")
    assert len(rejected(f"{many}.rejected")) == 13


def test_parquet_in_pieces_becomes_the_same_rows_in_the_same_order(parquet, small_pieces, passengers_model, tmp_path):
    one, many = tmp_path / "one.parquet", tmp_path / "many"
    in_one_process(parquet, passengers_model, one, ".parquet")
    job = in_pieces(parquet, passengers_model, many, ".parquet")
    assert len(job.pieces) == 4
    names = sorted(path.name for path in many.iterdir())
    assert names == [f"part-{i:05}.parquet" for i in range(len(names))]
    assert pq.read_table(many).equals(pq.read_table(one))
    assert rejected(f"{many}.rejected") == rejected(f"{one}.rejected")


def test_the_first_bad_row_where_none_may_be_is_said_and_nothing_published(files, passengers_model, tmp_path):
    with pytest.raises(DataError, match=r"a\.csv, line 6: gender: must be one of female, male"):
        in_pieces(files, passengers_model, tmp_path / "scores.csv", ".csv", strict=True)
    assert not (tmp_path / "scores.csv").exists()


def test_every_way_to_cut_gives_every_row_and_line_once(files, monkeypatch):
    monkeypatch.setattr(sources, "TEXT_BYTES", 5_000)
    source = open_source(files[0])
    whole = _rows(source, source.start, None)
    for size in (1, 12_345, 100_000):
        monkeypatch.setattr(sources, "PIECE_BYTES", size)
        cuts = list(source.cuts())
        starts, ends = [source.start, *cuts], [*(place for place, _ in cuts), None]
        found = [row for start, end in zip(starts, ends, strict=True) for row in _rows(source, start, end)]
        assert found == whole


def _rows(source, start, end) -> list[tuple]:
    found = []
    for block in source.blocks(start, end):
        decoded = block.decode()
        lines = decoded.lines(range(decoded.batch.num_rows))
        found += zip(lines, decoded.batch.column("id").to_pylist(), strict=True)
        found += [(row.line, row.reason) for row in decoded.ragged]
    return sorted(found)
