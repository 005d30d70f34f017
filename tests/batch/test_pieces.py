"""Files in pieces give what the one process gives, whoever does which piece, in which order and how often."""

import gzip
import os
import random
import resource
import subprocess
import sys
from dataclasses import replace

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from batch_tools import ENV, rejected
from conftest import passengers
from pyarrow import feather, ipc

from helpers.batch import arrow_files, lines, local, pieces
from helpers.batch.kinds import open_source
from helpers.batch.parts import Parts
from helpers.batch.pieces import Job, Worker
from helpers.batch.scoring import Scorer
from helpers.data.raw_tables import DataError
from helpers.data.signature import Feature, Signature
from helpers.export.artifacts import export_model
from helpers.export.predictors import load_predictor

ROWS = 6_000


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(arrow_files, "PIECE_ROWS", 700)
    monkeypatch.setattr(lines, "PIECE_BYTES", 40_000)
    monkeypatch.setattr(lines, "TEXT_BYTES", 9_000)
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


def in_one_process(files, model, output, suffix, keep=(), **more) -> None:
    with Parts(output, suffix, {}).opened() as parts:
        local.score_files([open_source(file) for file in files], scorer_of(model), parts, list(keep), threads=2, **more)


def scorer_of(model):
    predictor = load_predictor(model)
    return lambda source: Scorer(predictor, source.absent, source.commas)


def in_pieces(files, model, output, suffix, keep=(), strict=False, **changed) -> Job:
    """Two workers, which know of each other by the files alone, do pieces in any order, some of them twice."""
    with Parts(output, suffix, {}).opened() as parts:
        job = Job.of([open_source(file) for file in files], scorer_of(model), list(keep), model, parts, strict)
        replace(job, **changed).write(parts.folder / "job.json")
        workers = [Worker(Job.read(parts.folder / "job.json")) for _ in range(2)]
        order = list(range(len(job.pieces)))
        random.Random(0).shuffle(order)
        for i, number in enumerate([*order, *order[:5]]):
            workers[i % 2].do(number)
        pieces.raise_what_went_wrong(parts.folder)
        parts.look()
        assert pieces.finished(parts) == set(order)
        parts.publish(job.schema, job.columns)
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


@pytest.fixture
def by_kind(tmp_path):
    """The same rows, some bad, in each kind of file that is read in pieces beside CSV and Parquet, or whole."""
    frame = passengers(ROWS)
    frame.insert(0, "id", np.arange(ROWS))
    frame.loc[frame["id"] % 500 == 3, "gender"] = "nobody"
    text = frame.to_json(orient="records", lines=True)
    (tmp_path / "a.jsonl").write_text(text.replace("\n", "\n\n", 9))
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    feather.write_feather(frame, tmp_path / "c.feather", chunksize=300)
    with ipc.new_stream(str(tmp_path / "d.arrows"), (table := pa.Table.from_pandas(frame)).schema) as stream:
        stream.write_table(table, max_chunksize=300)
    frame.to_json(tmp_path / "e.json", orient="records")
    aligned = frame.replace({"deck crew": '"deck crew"'}).to_string(index=False)
    (tmp_path / "f.txt").write_text(aligned)
    return {path.name: path for path in tmp_path.iterdir()}


@pytest.mark.parametrize("name", ["a.jsonl", "b.jsonl.gz", "c.feather", "d.arrows", "e.json", "f.txt"])
def test_files_of_other_kinds_in_pieces_become_the_same_file(by_kind, small_pieces, passengers_model, tmp_path, name):
    one, many = tmp_path / "one.csv", tmp_path / "many.csv"
    in_one_process([by_kind[name]], passengers_model, one, ".csv")
    job = in_pieces([by_kind[name]], passengers_model, many, ".csv")
    assert len(job.pieces) == {"a.jsonl": 16, "c.feather": 7, "f.txt": 8}.get(name, 1)
    assert many.read_bytes() == one.read_bytes()
    assert rejected(f"{many}.rejected") == rejected(f"{one}.rejected")
    assert len(rejected(f"{many}.rejected")) == 12


@pytest.mark.parametrize("name", ["a.jsonl", "b.jsonl.gz", "c.feather", "d.arrows", "e.json", "f.txt"])
def test_files_of_other_kinds_go_on_after_any_block(by_kind, small_pieces, monkeypatch, name):
    monkeypatch.setattr(arrow_files, "BLOCK_ROWS", 130)
    source = open_source(by_kind[name])
    rows = _rows(source, source.start, None)
    ends = [block.end for block in source.blocks(source.start)]
    assert len(rows) == ROWS and len(ends) > 3
    for end in ends[:: len(ends) // 7 + 1]:
        later = _rows(source, end, None)
        assert 0 < len(later) and later == rows[-len(later) :]
    assert not _rows(source, ends[-1], None)


@pytest.fixture
def unlike(tmp_path):
    """Three files of people: numbers; texts in another order, of which one is bad; categories, and no "Größe"."""
    frame = passengers(90)
    frame.insert(0, "id", np.arange(90))
    frame["gender"] = frame["gender"].astype("category")
    frame[:30].astype({"gender": str}).to_parquet(tmp_path / "a.parquet")
    texts = frame[30:60].astype({"id": str, "siblings": str})[frame.columns[::-1]]
    texts.loc[[33, 44], "id"], texts.loc[44, "siblings"] = "one more", "many"
    texts.to_csv(tmp_path / "b.csv", index=False)
    frame[60:].drop(columns="Größe").to_parquet(tmp_path / "c.parquet")
    return [tmp_path / name for name in ("a.parquet", "b.csv", "c.parquet")]


@pytest.mark.parametrize("score", [in_one_process, in_pieces])
def test_files_that_hold_their_columns_otherwise_are_scored_as_each_alone(unlike, passengers_model, tmp_path, score):
    with pytest.raises(DataError, match=r"c\.parquet has no column 'Größe', which .*a\.parquet has: say by --keep"):
        score(unlike, passengers_model, tmp_path / "all.parquet", ".parquet")
    score(unlike, passengers_model, tmp_path / "scores.parquet", ".parquet", keep=["id"])
    for i, file in enumerate(unlike):
        score([file], passengers_model, tmp_path / f"{i}.parquet", ".parquet", keep=["id"])
    alone = [pq.read_table(tmp_path / f"{i}.parquet") for i in range(3)]
    scores = pq.read_table(tmp_path / "scores.parquet")
    assert scores.equals(pa.concat_tables([table.cast(scores.schema) for table in alone]))
    assert scores["id"].to_pylist() == [{33: "one more"}.get(i, str(i)) for i in range(90) if i != 44]
    (bad,) = rejected(tmp_path / "scores.parquet.rejected")
    assert (bad["file"], bad["siblings"], bad["reason"]) == (str(unlike[1]), "many", "siblings: not a number")


def test_an_input_or_a_model_that_is_changed_meanwhile_is_named(unlike, passengers_model, tmp_path):
    with pytest.raises(DataError, match=r"a\.parquet was changed while its rows were scored"):
        change = lambda rows, rejected: os.utime(unlike[0], (0, 0))  # noqa: E731
        in_one_process(unlike[:1], passengers_model, tmp_path / "one.parquet", ".parquet", progress=change)
    with pytest.raises(DataError, match="the model in .* was replaced while rows were scored"):
        in_pieces(unlike[:1], passengers_model, tmp_path / "many.parquet", ".parquet", version="another")
    assert not list(tmp_path.glob("[om]*.parquet"))


def test_a_full_disk_is_said_where_not_even_a_sentence_can_be_written_to_it(unlike, passengers_model, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Parts(tmp_path / "scores.parquet", ".parquet", {}).opened() as parts:
        job = Job.of([open_source(unlike[0])], scorer_of(passengers_model), [], passengers_model, parts)
        job.write(parts.folder / "job.json")
        worker = Worker(Job.read(parts.folder / "job.json"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
        try:
            worker.do(0)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        with pytest.raises(OSError, match="File too large"):
            pieces.raise_what_went_wrong(parts.folder)


def test_the_first_bad_row_where_none_may_be_is_said_and_nothing_published(files, passengers_model, tmp_path):
    with pytest.raises(DataError, match=r"a\.csv, line 6: gender: must be one of female, male"):
        in_pieces(files, passengers_model, tmp_path / "scores.csv", ".csv", strict=True)
    assert not (tmp_path / "scores.csv").exists()


OWN_LAYER = """
import keras
@keras.saving.register_keras_serializable(package="pieces")
class Halving(keras.layers.Layer):
    def call(self, rows):
        return rows / 2
"""


def test_a_worker_imports_the_layers_of_one_s_own_that_keras_needs(tmp_path, monkeypatch):
    import keras

    exec(OWN_LAYER, space := {})
    model = keras.Sequential([keras.Input((3,)), space["Halving"](), keras.layers.Dense(1)])
    features = tuple(Feature(name, "real", 0, 1) for name in "abc")
    export_model(model, tmp_path / "model", Signature(features), formats=("keras",))
    pq.write_table(pa.table({name: np.random.default_rng(0).random(20) for name in "abc"}), tmp_path / "rows.parquet")
    (tmp_path / "layers_of_a_worker.py").write_text(OWN_LAYER)
    monkeypatch.setattr(sys, "path", [*sys.path])
    imports = ("layers_of_a_worker", str(tmp_path))
    with Parts(tmp_path / "scores.parquet", ".parquet", {}).opened() as parts:
        sources, scorer = [open_source(tmp_path / "rows.parquet")], scorer_of(tmp_path / "model")
        job = Job.of(sources, scorer, [], tmp_path / "model", parts, imports=imports)
        job.write(parts.folder / "job.json")
        keras.saving.get_custom_objects().pop("pieces>Halving")  # the worker is another process, which knows no such
        assert Worker(Job.read(parts.folder / "job.json")).do(0) == 20
        pieces.raise_what_went_wrong(parts.folder)
        parts.look()
        parts.publish(job.schema, job.columns)
    assert pq.read_table(tmp_path / "scores.parquet").num_rows == 20


def test_what_is_left_of_a_part_takes_no_room_on_a_disk_that_was_full(unlike, passengers_model, tmp_path):
    batch, seen = pa.record_batch({"id": [1, 2]}), []
    with Parts(tmp_path / "scores.parquet", ".parquet", {}).opened() as parts:
        with pytest.raises(OSError), parts.part(batch.schema) as part:
            part.write(batch)
            raise OSError
        assert not list(parts.folder.glob("unfinished-*"))
        (parts.folder / "unfinished-by-one-that-was-killed").touch()
        look = lambda *_: seen.extend(parts.folder.glob("unfinished-by-*"))  # noqa: E731
        sources = [open_source(unlike[0])]
        local.score_files(sources, scorer_of(passengers_model), parts, [], threads=1, progress=look)
    assert not seen and pq.read_table(tmp_path / "scores.parquet").num_rows


def test_a_folder_that_was_interrupted_at_its_last_step_still_gets_its_name(tmp_path):
    batch = pa.record_batch({"id": [1, 2]})
    with Parts(tmp_path / "scores", ".parquet", {}).opened() as parts:
        for name in ("000000-0000", "000001-0000"):
            with parts.part(batch.schema, name) as part:
                part.write(batch)
                part.finish()
        rows = parts.folder / "rows"
        os.replace(rows / "part-000000-0000.parquet", rows / "part-00000.parquet")  # then it was killed
    with Parts(tmp_path / "scores", ".parquet", {}).opened() as parts:
        parts.publish(batch.schema, [])
    assert pq.read_table(tmp_path / "scores")["id"].to_pylist() == [1, 2, 1, 2]


ENGINE = """
import subprocess, sys
from helpers.batch import pieces
pieces.end_with_the_command()
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(worker.pid, flush=True)
worker.wait()
"""


@pytest.mark.slow
def test_an_engine_and_what_it_has_started_end_with_the_command_that_started_it():
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", ENGINE], env=ENV, start_new_session=True, **pipes) as engine:
        worker = psutil.Process(int(engine.stdout.readline()))
        engine.stdin.close()  # as where the command is killed
        engine.wait(30)
        worker.wait(30)


def test_every_way_to_cut_gives_every_row_and_line_once(files, monkeypatch):
    monkeypatch.setattr(lines, "TEXT_BYTES", 5_000)
    source = open_source(files[0])
    whole = _rows(source, source.start, None)
    for size in (1, 12_345, 100_000):
        monkeypatch.setattr(lines, "PIECE_BYTES", size)
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
