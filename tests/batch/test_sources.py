"""Tables of any length are read block by block: every row once, with its line, from wherever a block has ended."""

import gzip
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers.batch import lines, sources
from helpers.batch.kinds import open_source
from helpers.batch.paths import CannotScore, files_of
from helpers.data.raw_tables import DataError
from helpers.data.reading import read_table


def read(source, start=None) -> tuple[list[dict], list[int], list[tuple[int, int]]]:
    """The rows, their lines, and the positions after each block."""
    rows, lines, ends = [], [], []
    for block in source.blocks(start or source.start):
        decoded = block.decode()
        rows += decoded.batch.to_pylist()
        lines += decoded.lines(range(decoded.batch.num_rows))
        ends.append(block.end)
    return rows, lines, ends


@pytest.fixture
def long_csv(tmp_path):
    """A CSV of some blocks, with texts over two lines, empty lines and long rows; and the line of each good row."""
    text, at, line = ["id,remark,weight\n"], [], 2
    for i in range(200_000):
        if i % 1009 == 0:
            text.append("\n")
            line += 1
        if i % 5003 == 0:
            text.append("1,2,3,long\n")
            line += 1
        remark = f'"said ""{i}"",\nand left"' if i % 97 == 0 else f"remark {i}"
        text.append(f"{i},{remark},{i / 7:.3f}\n")
        at.append(line)
        line += text[-1].count("\n")
    path = tmp_path / "long.csv"
    path.write_text("".join(text), encoding="utf-8", newline="")
    return path, at


def test_every_row_of_a_long_csv_is_there_once_with_its_line(long_csv):
    path, at = long_csv
    rows, lines, ends = read(open_source(path))
    assert len(ends) > 2
    assert [row["id"] for row in rows] == [str(i) for i in range(200_000)]
    assert rows[97]["remark"] == 'said "97",\nand left'
    assert lines == at


@pytest.mark.slow
def test_a_csv_goes_on_after_any_block(long_csv):
    path, _ = long_csv
    packed = path.with_suffix(".csv.gz")
    packed.write_bytes(gzip.compress(path.read_bytes(), 1))
    for source in (open_source(path), open_source(packed)):
        rows, lines, ends = read(source)
        for end in ends:
            later, lines_later, _ = read(source, end)
            assert later == rows[len(rows) - len(later) :]
            assert lines_later == lines[len(lines) - len(later) :]
        assert later == []


def test_long_rows_are_told_with_their_lines(long_csv):
    path, at = long_csv
    source = open_source(path)
    ragged = [row for block in source.blocks(source.start) for row in block.decode().ragged]
    assert [row.line for row in ragged] == [at[i] - 1 for i in range(0, 200_000, 5003)]
    assert {row.reason for row in ragged} == {"4 fields where the header has 3"}


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_rows_that_end_early_or_late_are_those_of_training(tmp_path, newline):
    lines = ["id,remark,weight", "1,a,2", '2,"b', 'c"', "3", "# a remark", "  ", '4,"d,e"', '5,,7,, "" ']
    (tmp_path / "short.csv").write_text(newline.join(lines), newline="")
    rows, at, _ = read(open_source(tmp_path / "short.csv"))
    trained = read_table(tmp_path / "short.csv").frame.fillna("").to_dict("records")
    assert trained == [{**row, "remark": row["remark"].replace(newline, "\n")} for row in rows]
    assert [row["id"] for row in rows] == ["1", "2", "3", "4", "5"] and at == [2, 3, 5, 8, 9]


@pytest.mark.parametrize("line", ['5,15" screen,1\n', '"6,never closed,2\n'])
def test_a_stray_quotation_mark_costs_no_other_block(tmp_path, line):
    rows = [f"{i},plain,1\n" for i in range(900_000)]
    rows[10] = line
    (tmp_path / "stray.csv").write_text("id,remark,weight\n" + "".join(rows))
    source = open_source(tmp_path / "stray.csv")
    blocks = [block.decode() for block in source.blocks(source.start)]
    ragged = [row for block in blocks for row in block.ragged]
    assert blocks[0].batch["id"].to_pylist()[:10] == [str(i) for i in range(10)]
    assert [row.line for row in ragged] == [12] * line.startswith('"')
    assert all("a quotation mark that is opened there takes in" in row.reason for row in ragged)
    last = blocks[-1]
    assert last.batch["id"].to_pylist()[-1] == "899999"
    assert last.lines([last.batch.num_rows - 1]) == [900_001]


def test_a_file_without_lines_is_no_table(tmp_path):
    (tmp_path / "one.csv").write_bytes(b"id,name\n" + b"1," * 4_000_000)
    with pytest.raises(DataError, match="one.csv is longer than 4 MB"):
        read(open_source(tmp_path / "one.csv"))


def test_letters_of_an_older_encoding_that_come_late_are_read(tmp_path):
    content = b"id,name\n" + b"1,Anna\n" * 400_000 + "2,Zoë\n".encode("cp1252")
    (tmp_path / "late.csv").write_bytes(content)
    rows, _, _ = read(open_source(tmp_path / "late.csv"))
    assert len(rows) == 400_001
    assert rows[-1] == {"id": "2", "name": "Zoë"}


def test_parquet_goes_on_within_a_row_group(tmp_path):
    frame = pd.DataFrame({"id": np.arange(200_000), "text": np.arange(200_000).astype(str)})
    frame.to_parquet(tmp_path / "rows.parquet", row_group_size=90_000)
    source = open_source(tmp_path / "rows.parquet")
    rows, numbers, ends = read(source)
    assert [row["id"] for row in rows] == list(range(200_000))
    assert numbers == list(range(1, 200_001))
    for end in ends:
        later, numbers_later, _ = read(source, end)
        assert later == rows[end[0] :] and numbers_later == numbers[end[0] :]


def test_wide_rows_come_in_smaller_blocks(tmp_path):
    words = "".join(map(chr, range(33, 126))) * 200
    wide = pa.table({"id": np.arange(3000), "text": [f"{words}{i}" for i in range(3000)]})
    pq.write_table(wide, tmp_path / "wide.parquet", compression="none", use_dictionary=False)
    source = open_source(tmp_path / "wide.parquet")
    sizes = [block.decode().batch.nbytes for block in source.blocks(source.start)]
    assert len(sizes) > 3 and max(sizes) < 2 * sources.BLOCK_BYTES


def test_a_parquet_file_with_a_name_twice_is_read_as_training_reads_it(tmp_path):
    pq.write_table(pa.table([[1], [2], [3]], names=["id", "a", "id"]), tmp_path / "twice.parquet")
    assert read(open_source(tmp_path / "twice.parquet"))[0] == [{"id": 1, "a": 2, "id (2)": 3}]


def test_only_columns_that_are_wanted_are_read(tmp_path):
    frame = pd.DataFrame({"a": [1], "b": [2], "c": [3]})
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_csv(tmp_path / "t.csv", index=False)
    for name in ("t.parquet", "t.csv"):
        source = open_source(tmp_path / name, keep=("c", "a"))
        assert [list(row) for row in read(source)[0]] == [["a", "c"]]


def test_what_is_no_table_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a.csv", "a\n1\n")
        archive.writestr("b.csv", "a\n1\n")
    with zipfile.ZipFile(tmp_path / "open.ods", "w") as archive:
        archive.writestr("content.xml", "")
    (tmp_path / "error.json").write_text("[[1, 2], [3]]")
    kinds = {"two.zip": "holds 2 files", "open.ods": "an OpenDocument file", "error.json": "is JSON, but no table"}
    for name, says in kinds.items():
        with pytest.raises(DataError, match=says):
            open_source(tmp_path / name)


def test_a_block_that_holds_the_header_again_and_nothing_else_has_no_row(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "TEXT_BYTES", 8)
    (tmp_path / "joined.csv").write_text("id,age\n100,200\nid,age\n300,400\nid,age")
    rows, at, ends = read(open_source(tmp_path / "joined.csv"))
    assert rows == [{"id": "100", "age": "200"}, {"id": "300", "age": "400"}] and at == [2, 4] and len(ends) == 4


def test_files_are_named_by_path_folder_and_pattern_each_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.csv", "a.csv", ".hidden.csv", "_SUCCESS"):
        (tmp_path / name).write_text("x")
    assert [path.name for path in files_of(["."])] == ["a.csv", "b.csv"]
    assert [path.name for path in files_of(["b.csv", "*.csv"])] == ["b.csv", "a.csv"]
    assert files_of([f"../{tmp_path.name}/a.csv", "a.csv"]) == [tmp_path / "a.csv"]
    (tmp_path / "nothing").mkdir()
    with pytest.raises(CannotScore, match="the folder nothing holds no file"):
        files_of(["nothing"])
