"""Files of every kind that training takes are scored as the service answers their rows, one for one."""

import bz2
import csv
import gzip
import json
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from batch_tools import rejected
from conftest import as_requests, passengers
from pyarrow import feather, ipc

from helpers.batch import local, whole_files
from helpers.batch.kinds import open_source
from helpers.batch.parts import Parts
from helpers.batch.scoring import Scorer
from helpers.data.raw_tables import DataError
from helpers.data.tables import load_table
from helpers.export.predictors import load_predictor
from helpers.serving.services import create_predict_app


@pytest.fixture(scope="module")
def predictor(passengers_model):
    return load_predictor(passengers_model)


@pytest.fixture(scope="module")
def client(predictor):
    return create_predict_app(predictor).test_client()


@pytest.fixture
def score(predictor, tmp_path):
    """`score(file)`: the rows with their answers, in the order of the file."""

    def score(*files, keep=(), output="scores.parquet", **more) -> pa.Table:
        sources = [open_source(file, predictor.signature.reader().field, keep) for file in files]
        scorer_of = lambda source: Scorer(predictor, source.absent, source.commas, keep)  # noqa: E731
        with Parts(tmp_path / output, ".parquet", {}).opened() as parts:
            local.score_files(sources, scorer_of, parts, list(keep), threads=2, **more)
        return pq.read_table(tmp_path / output)

    return score


def records(frame: pd.DataFrame) -> list[dict]:
    return json.loads(frame.to_json(orient="records"))


def in_lines(rows, end: str = "\n") -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + end for row in rows)


def below_names(frame: pd.DataFrame) -> list[list]:
    return [list(frame.columns), *json.loads(frame.to_json(orient="values"))]


def aligned(frame: pd.DataFrame, **how) -> str:
    return frame.replace({"deck crew": '"deck crew"'}).to_string(na_rep="NA", **how)


def by_spark(frame: pd.DataFrame) -> str:
    """CSV with a column of texts in which a backslash stands before a quotation mark."""
    lines = frame.to_csv(index=False).splitlines()
    return "\n".join([f"remark,{lines[0]}", *(f'"say \\"{i}\\", or",{line}' for i, line in enumerate(lines[1:]))])


def by_excel(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False, lineterminator="\r\n").encode("utf-8-sig").removesuffix(b"\r\n")


def with_marks(frame: pd.DataFrame) -> str:
    """CSV as people write it, with a blank before each text in quotation marks, which holds commas and more marks."""
    frame = frame.assign(remark=[f'he said, "{i}, or  no", "' for i in range(len(frame))])
    return frame.to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC).replace(',"', ',  "')


def in_arrow(frame: pd.DataFrame, texts=None) -> pa.Table:
    table = pa.Table.from_pandas(frame)
    if texts is not None:
        kinds = [texts if pa.types.is_large_string(field.type) else field.type for field in table.schema]
        table = table.cast(pa.schema(list(zip(table.schema.names, kinds, strict=True))))
    return table


def arrow(frame: pd.DataFrame, path, texts=None, new=ipc.new_file) -> None:
    table = in_arrow(frame, texts)
    with new(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=70)


def categories(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.astype({"gender": "category", "class": "category"})


def archive(frame: pd.DataFrame, path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("people.json", frame.to_json(orient="records"))
        file.writestr("__MACOSX/._people.json", "of the Finder")


KINDS = {
    "lines.jsonl": lambda f, p: p.write_text(in_lines(records(f))),
    "lines.jsonl.gz": lambda f, p: p.write_bytes(gzip.compress(in_lines(records(f)).encode())),
    "utf16.jsonl": lambda f, p: p.write_bytes(in_lines(records(f), "\r\n").encode("utf-16")),
    "texts.jsonl": lambda f, p: p.write_text(in_lines(records(f.astype(str)))),
    "records.json": lambda f, p: f.to_json(p, orient="records"),
    "columns.json": lambda f, p: f.to_json(p, orient="columns"),
    "split.json": lambda f, p: f.to_json(p, orient="split"),
    "names.json": lambda f, p: p.write_text(json.dumps(below_names(f))),
    "arrays.jsonl": lambda f, p: p.write_text(in_lines(below_names(f))),
    "commas.jsonl": lambda f, p: p.write_text(in_lines(records(f), ",\n")),
    "indented.json": lambda f, p: p.write_text("\n".join(json.dumps(row, indent=1) for row in records(f))),
    "answer.json": lambda f, p: p.write_text(json.dumps({"meta": {"n": 3, "class": [1]}, "data": records(f)})),
    "records.json.bz2": lambda f, p: p.write_bytes(bz2.compress(f.to_json(orient="records").encode())),
    "archive.zip": archive,
    "people.feather": lambda f, p: f.to_feather(p),
    "categories.feather": lambda f, p: feather.write_feather(categories(f), p, chunksize=70),
    "views.arrow": lambda f, p: arrow(f, p, pa.string_view()),
    "ids.arrow": lambda f, p: arrow(f, p, pa.dictionary(pa.uint32(), pa.string_view())),
    "views.parquet": lambda f, p: pq.write_table(in_arrow(f, pa.string_view()), p),
    "stream.arrows": lambda f, p: arrow(f, p, new=ipc.new_stream),
    "twice.parquet": lambda f, p: pq.write_table(
        pa.Table.from_pandas(f.assign(again=f["id"])).rename_columns([*f.columns, "id"]), p
    ),
    "commas.parquet": lambda f, p: f.assign(Größe=f["Größe"].map("{:.2f}".format).str.replace(".", ",")).to_parquet(p),
    "people.parquet.gz": lambda f, p: p.write_bytes(gzip.compress(f.to_parquet())),
    "people.xlsx": lambda f, p: f.to_excel(p, index=False),
    "aligned.txt": lambda f, p: p.write_text(aligned(f, index=False)),
    "numbered.txt": lambda f, p: p.write_text(aligned(f)),
    "spark.csv": lambda f, p: p.write_text(by_spark(f)),
    "joined.csv": lambda f, p: p.write_bytes(b"\r\n".join(map(by_excel, (f[:90], f[90:95], f[95:])))),
    "remarks.csv": lambda f, p: p.write_text(f.to_csv(index=False).replace("\n", "\n# a remark, in two fields\n")),
    "marks.csv": lambda f, p: p.write_text(with_marks(f)),
    "excel.txt": lambda f, p: p.write_bytes(pd.concat([f] * 40).to_csv(index=False, sep="\t").encode("utf-16")),
}


@pytest.mark.parametrize("name", KINDS)
def test_training_scoring_and_the_service_read_the_same_rows(name, predictor, client, score, tmp_path):
    people = passengers(200)
    people.insert(0, "id", np.random.default_rng(0).permutation(200))
    KINDS[name](people, tmp_path / name)
    trained = load_table(tmp_path / name, "survived", treat_as={"id": "number"}).frame
    assert trained["id"].tolist()[:200] == people["id"].tolist()

    scores = score(tmp_path / name, keep=["id", "survived"])
    assert [int(each) for each in scores["id"].to_pylist()] == trained["id"].tolist()
    assert [each == "yes" for each in scores["survived"].to_pylist()] == (trained["survived"] == 1).tolist()
    assert not list(tmp_path.glob("*.rejected"))
    features = trained[list(predictor.signature.names)]
    single = np.concatenate([predictor(row[None]) for row in predictor.signature.encode(features)])
    np.testing.assert_array_equal(scores["probability"].to_numpy(), single)
    answer = client.post("/predict", json={"instances": as_requests(features[:200])}).get_json()
    asked = np.array(answer["predictions"], np.float32)
    np.testing.assert_array_equal(scores["probability"].to_numpy()[:200], asked)


def test_a_damaged_line_and_a_bad_row_of_json_in_lines_are_named_by_their_line(score, tmp_path):
    rows = records(passengers(8).drop(columns="survived"))
    del rows[3]["gender"]
    lines = in_lines(rows).splitlines()
    lines[5] = lines[5][:20]
    lines[6:6] = ["", "[1, 2]"]
    (tmp_path / "people.jsonl").write_text("\n".join(lines))
    scores = score(tmp_path / "people.jsonl")
    assert scores.num_rows == 6 and scores.column_names[:5] == list(rows[0])
    bad = rejected(tmp_path / "scores.parquet.rejected")
    assert [(row["line"], row["reason"].split(":")[0]) for row in bad] == [
        ("4", "gender"),
        ("6", "not JSON"),
        ("8", "no JSON object, as a row is one"),
    ]


def read(path) -> list[dict]:
    source = open_source(path)
    return [row for block in source.blocks(source.start) for row in block.decode().batch.to_pylist()]


def test_columns_of_json_hold_what_all_its_rows_hold(tmp_path):
    rows = [
        {"id": 2**60 + 1, "key": 1, "at": {"x": 1, "y": {"z": True}}, "tags": ["a", 1], "size": 1},
        {"id": None, "key": "1b", "at": {"x": 2.5, "y": {}}, "tags": None, "size": 2**70},
        {"key": 2.0, "late": "\ud800", "at": {}, "size": float("nan")},
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    first, second, third = read(tmp_path / "rows.jsonl")
    nothing = {"at.x": None, "at.y.z": None, "tags": None, "late": None}
    assert first == nothing | {
        **{"id": 2**60 + 1, "key": "1", "at.x": 1.0, "at.y.z": True, "tags": '["a", 1]', "size": "1"}
    }
    assert second == nothing | {"id": None, "key": "1b", "at.x": 2.5, "size": str(2**70)}
    assert third == nothing | {"id": None, "key": "2", "late": "?", "size": "nan"}
    assert list(first)[:2] == ["id", "key"]


def test_objects_within_rows_are_taken_apart_as_training_does(tmp_path):
    rows = [{"a": i, "in": {"b": str(i), "deeper": {"c": i / 3}}, "d": None, "last": True} for i in range(5)]
    (tmp_path / "rows.jsonl").write_text(in_lines(rows))
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    assert read(tmp_path / "rows.jsonl") == read(tmp_path / "rows.json")
    assert list(read(tmp_path / "rows.jsonl")[0]) == ["a", "d", "last", "in.b", "in.deeper.c"]


def test_one_row_alone_in_a_file_is_scored(score, tmp_path):
    (row,) = records(passengers(1))
    (tmp_path / "one.json").write_text(json.dumps(row))
    assert score(tmp_path / "one.json").num_rows == 1


def test_a_file_too_large_to_be_read_whole_is_told_how_it_need_not_be(tmp_path, monkeypatch):
    monkeypatch.setattr(whole_files, "LARGEST", 1024**2)
    frame = pd.concat([passengers()] * 60)
    (tmp_path / "people.json.gz").write_bytes(gzip.compress(frame.to_json(orient="records").encode()))
    numbers = np.random.default_rng(0).random((2, 80_000))
    pq.write_table(pa.table(list(numbers), names=["a", "b"]), tmp_path / "once.parquet")
    (tmp_path / "once.parquet.gz").write_bytes(gzip.compress((tmp_path / "once.parquet").read_bytes(), 1))
    pq.write_table(pa.table(list(numbers), names=["a", "a"]), tmp_path / "twice.parquet")
    told = {
        "people.json.gz": "is JSON of more than 1 MB, and is read whole: save it with a row in each line",
        "once.parquet.gz": "is Parquet of more than 1 MB, and is read whole: unpack it",
        "twice.parquet": "is Parquet of more than 1 MB, and is read whole: rename one of its columns of one name",
    }
    for name, says in told.items():
        with pytest.raises(DataError, match=says):
            open_source(tmp_path / name)


def test_the_sheet_or_the_table_of_most_features_is_scored(predictor, score, tmp_path):
    people = passengers(30)
    with pd.ExcelWriter(tmp_path / "book.xlsx") as book:
        pd.DataFrame({"class": ["1st"], "meaning": ["forward"]}).to_excel(book, sheet_name="Codes", index=False)
        people.to_excel(book, sheet_name="People", index=False)
    tables = {"codes": [{"class": "1st", "meaning": "forward"}], "people": records(people)}
    (tmp_path / "tables.json").write_text(json.dumps(tables))
    assert score(tmp_path / "book.xlsx").equals(score(tmp_path / "tables.json", output="others.parquet"))


def test_views_within_columns_pass_through_beside_a_row_that_is_rejected(score, tmp_path):
    people = pa.Table.from_pandas(passengers(3).assign(gender=["male", "none", "female"]))
    for name, kind in {"a": pa.list_(pa.string_view()), "b": pa.struct([("c", pa.string_view())])}.items():
        people = people.append_column(name, pa.array([["x"]] * 3 if name == "a" else [{"c": "x"}] * 3, kind))
    with ipc.new_file(str(tmp_path / "people.arrow"), people.schema) as writer:
        writer.write_table(people)
    scores = score(tmp_path / "people.arrow")
    assert (scores["a"].to_pylist(), scores["b"].to_pylist()) == ([["x"]] * 2, [{"c": "x"}] * 2)


def test_a_column_of_a_type_that_parquet_has_none_for_is_named(score, tmp_path):
    people = pa.Table.from_pandas(passengers(3))
    spans = pa.array([None] * 3, pa.month_day_nano_interval())
    feather.write_feather(people.append_column("span", spans), tmp_path / "people.feather")
    with pytest.raises(DataError, match="the column 'span' holds month_day_nano_interval, which Parquet cannot: name"):
        score(tmp_path / "people.feather")
    assert score(tmp_path / "people.feather", keep=["gender"]).num_rows == 3
