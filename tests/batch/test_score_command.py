"""`tutorial.py score`: files of any usual kind in, whole files out, bad rows named by line, nothing lost on the way."""

import gzip
import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from batch_tools import ENV, KEEPS_NOTHING, command, forked, rejected
from conftest import passengers
from notebook_tools import copy_project, environment_in

from helpers.batch.parts import Parts
from helpers.data.raw_tables import DataError
from helpers.data.signature import Feature, Signature
from helpers.export.artifacts import export_model
from helpers.export.predictors import load_predictor

pytestmark = pytest.mark.slow  # each starts processes, or a model of its own


@pytest.fixture
def score(passengers_model, tmp_path):
    """`score` as it is typed in a folder of its own, with the model of the passengers unless another is named."""

    def score(*words) -> subprocess.CompletedProcess:
        return forked(command(*words, model=passengers_model), tmp_path, timeout=120)

    return score


def test_the_model_of_the_sample_is_not_trained_for_a_table_that_it_does_not_take(people, tmp_path):
    project = copy_project(tmp_path / "tutorial")
    words = [sys.executable, "-m", "helpers", "score", str(tmp_path / "people.csv"), str(tmp_path / "scores.csv")]
    run = {"cwd": project, "env": environment_in(project), "capture_output": True, "text": True}
    done = subprocess.run(words, check=False, **run)
    assert "the table lacks 'G1', 'G2'" in refused(done) and "or choose another --model" in done.stderr
    assert not (project / "models").exists() and not (tmp_path / "scores.csv").exists()


HEADER = "Größe,gender,class,smoker,siblings\n".encode()


@pytest.fixture
def people(tmp_path):
    """240 passengers with an id, in people.csv; they are returned with what the model answers to each."""
    frame = passengers().drop(columns="survived")
    frame.insert(0, "id", np.arange(len(frame)))
    frame.to_csv(tmp_path / "people.csv", index=False)
    return frame


def answers(model, frame: pd.DataFrame) -> np.ndarray:
    predictor = load_predictor(model)
    return np.concatenate([predictor(row[None]) for row in predictor.signature.encode(frame)])


def refused(done: subprocess.CompletedProcess) -> str:
    assert done.returncode == 2, done
    assert done.stdout == ""
    (sentence,) = [line for line in done.stderr.splitlines() if "rows/s" not in line]
    return sentence


def test_a_csv_comes_out_with_its_columns_the_probability_and_the_version(score, people, passengers_model, tmp_path):
    done = score("people.csv", "scores.csv")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("240 rows scored, ") and str(tmp_path / "scores.csv") in done.stdout
    scores = pd.read_csv(tmp_path / "scores.csv", dtype={"model_version": str})  # some versions look like numbers
    pd.testing.assert_frame_equal(scores[people.columns], people)
    np.testing.assert_array_equal(scores["probability"].to_numpy(np.float32), answers(passengers_model, people))
    assert set(scores["model_version"]) == {load_predictor(passengers_model).version}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["people.csv", "scores.csv"]


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("people.csv.gz", lambda frame: gzip.compress(frame.to_csv(index=False).encode())),
        ("semicolon.csv", lambda frame: frame.to_csv(index=False, sep=";", decimal=",").encode("cp1252")),
        ("excel.txt", lambda frame: frame.to_csv(index=False, sep="\t").encode("utf-16")),
        ("windows.csv", lambda frame: b"\xef\xbb\xbf" + frame.to_csv(index=False, lineterminator="\r\n").encode()),
        ("comment.csv", lambda frame: b"# exported\n\n" + frame.to_csv(index=False, na_rep="NA").encode()),
        (
            "signs.csv",
            lambda frame: (
                frame.assign(Größe=frame["Größe"].map("{} %".format, na_action="ignore")).to_csv(index=False).encode()
            ),
        ),
        ("blanks.txt", lambda frame: frame.to_csv(index=False, sep=" ", na_rep="NA").encode()),
        ("ruled.csv", lambda frame: re.sub("\n", "\n--,---,--\n", frame.to_csv(index=False), count=1).encode()),
        ("texts.parquet", lambda frame: frame.astype(str).where(frame.notna(), "?").to_parquet()),
        ("title.csv", lambda frame: b"Passengers, 1912\n\n" + frame.to_csv(index=False).encode()),
        ("r.csv", lambda frame: frame.to_csv(index=True).encode().lstrip(b",")),
        ("open.csv", lambda frame: frame.to_csv(index=False).replace("\n", ",\n").replace(",\n", "\n", 1).encode()),
    ],
)
def test_a_csv_is_read_as_the_training_reads_it(score, people, passengers_model, tmp_path, name, write):
    (tmp_path / name).write_bytes(write(people))
    assert score(name, "scores.parquet").returncode == 0
    scores = pq.read_table(tmp_path / "scores.parquet")
    assert scores["id"].to_pylist() == [str(i) for i in range(240)]
    np.testing.assert_array_equal(scores["probability"].to_numpy(), answers(passengers_model, people))
    assert not (tmp_path / "scores.parquet.rejected").exists()


def test_bad_rows_are_named_by_their_line_with_the_reason_and_the_others_are_scored(score, tmp_path):
    lines = [
        "id,Größe,gender,class,smoker,siblings,remark",
        '1,170,female,2nd,no,0,"two',
        'lines"',
        "2,tall,female,2nd,no,0,",
        "",
        "3,170,femal,steerage,no,,",
        "4,170,female,2nd,no",
        "5,170,female,2nd,no,0,a,b",
        "6,170,FEMALE,2nd,n,99,last",
    ]
    (tmp_path / "mine.csv").write_text("\n".join(lines), encoding="utf-8")
    done = score("mine.csv", "scores.csv")
    assert done.returncode == 0 and "no row was scored" not in done.stdout
    assert f"4 rows rejected, each with the reason: {tmp_path / 'scores.csv.rejected'}" in done.stdout
    assert "1 row holds a value that the model was not trained on: see the column notes" in done.stdout
    scores = pd.read_csv(tmp_path / "scores.csv")
    assert scores["id"].tolist() == [1, 6]
    assert pd.isna(scores["notes"][0]) and scores["notes"][1].startswith("siblings: 99 is outside of 0 to 4")
    bad = rejected(tmp_path / "scores.csv.rejected")
    assert [(row["line"], row["id"], row["reason"]) for row in bad] == [
        ("4", "2", "Größe: not a number"),
        (
            "6",
            "3",
            "gender: must be one of female, male; did you mean female?; class: must be one of 1st, 2nd, deck crew; "
            "siblings: missing",
        ),
        ("7", "4", "siblings: missing"),
        ("8", "5", "8 fields where the header has 7"),
    ]
    assert {row["file"] for row in bad} == {str(tmp_path / "mine.csv")}


def test_where_no_row_was_scored_it_is_said_why(score, people, tmp_path):
    people.assign(gender="unknown").to_csv(tmp_path / "people.csv", index=False)
    done = score("people.csv", "scores.csv")
    assert done.returncode == 0 and done.stdout.startswith("0 rows scored")
    assert "no row was scored; of the first one it says: gender: must be one of female, male\n" in done.stdout


def test_strict_stops_at_the_first_bad_row_and_publishes_nothing(score, people, tmp_path):
    people.loc[7, "gender"] = "unknown"
    people.to_csv(tmp_path / "people.csv", index=False)
    sentence = refused(score("people.csv", "scores.csv", "--strict"))
    assert "people.csv, line 9: gender: must be one of female, male" in sentence
    assert not (tmp_path / "scores.csv").exists()


def test_a_folder_and_a_pattern_become_a_folder_of_parts(score, people, passengers_model, tmp_path):
    (tmp_path / "in" / "deeper").mkdir(parents=True)
    people[:100].to_parquet(tmp_path / "in" / "a.parquet", row_group_size=30)
    people[100:].to_parquet(tmp_path / "in" / "deeper" / "b.parquet")
    (tmp_path / "in" / "_SUCCESS").touch()
    for words in (["in"], ["in/**/*.parquet"], ["in/a.parquet", "in/deeper/b.parquet"]):
        output = tmp_path / f"out{len(list(tmp_path.glob('out*')))}"
        done = score(*words, output.name, "--keep", "id")
        assert done.returncode == 0, done.stderr
        scores = pd.read_parquet(output)
        assert list(scores.columns) == ["id", "probability", "model_version", "notes"]
        assert scores["id"].tolist() == list(range(240))
        np.testing.assert_array_equal(scores["probability"], answers(passengers_model, people))


def test_missing_and_bad_cells_of_parquet_are_rejected_by_row(score, people, tmp_path):
    people["siblings"] = people["siblings"].astype(float)
    people.loc[200, "siblings"] = np.nan
    people.to_parquet(tmp_path / "people.parquet", row_group_size=50)
    assert score("people.parquet", "scores.csv.gz").returncode == 0
    assert pd.read_csv(tmp_path / "scores.csv.gz")["id"].tolist() == [i for i in range(240) if i != 200]
    (row,) = rejected(tmp_path / "scores.csv.gz.rejected")
    assert (row["row"], row["id"], row["reason"]) == ("201", "200", "siblings: missing")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("other.csv", b"a,b\n1,2\n", "the table lacks 'gender', 'class', 'smoker', 'siblings'"),
        ("cut.csv.gz", gzip.compress(HEADER + b"170,male,2nd,no,1\n" * 90_000)[:-20], "cut.csv.gz cannot be read"),
        ("noise.parquet", b"PAR1" + bytes(500), "noise.parquet cannot be read"),
        ("picture.png", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4, "it holds binary data"),
        ("header.csv", b"a,b\n", "the table lacks 'gender'"),
    ],
)
def test_what_cannot_be_scored_is_one_sentence_and_leaves_no_output(score, tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    assert says in refused(score(name, "scores.csv"))
    assert not (tmp_path / "scores.csv").exists()


def test_a_second_file_of_another_table_is_named(score, people, tmp_path):
    (tmp_path / "z.csv").write_text("a,b\n1,2\n")
    assert "z.csv" in refused(score("people.csv", "z.csv", "scores.csv"))


def test_lists_and_bytes_pass_through_to_parquet_and_are_named_where_csv_cannot_hold_them(score, people, tmp_path):
    people["visits"] = [[i, i + 1] for i in range(240)]
    people["key"] = [bytes([i, 255]) for i in range(240)]
    people["class"] = people["class"].astype("category")
    people.to_parquet(tmp_path / "people.parquet")
    assert "the column 'visits' holds list<" in refused(score("people.parquet", "scores.csv"))
    assert "the column 'key' holds binary" in refused(score("people.parquet", "scores.csv", "--keep", "id,key"))
    assert score("people.parquet", "scores.parquet").returncode == 0
    assert pq.read_table(tmp_path / "scores.parquet").select(["visits", "key"]).to_pylist()[3] == {
        "visits": [3, 4],
        "key": b"\x03\xff",
    }
    assert score("people.parquet", "scores.csv", "--keep", "id,class").returncode == 0
    assert pd.read_csv(tmp_path / "scores.csv")["class"].tolist() == people["class"].tolist()


def test_an_array_that_the_model_answers_is_not_told_to_be_left_out_by_keep(tmp_path):
    parts, numbers = Parts(tmp_path / "scores.csv", ".csv", {}), pa.list_(pa.float32())
    for name, says in {"visits": ", or name the columns to --keep$", "prediction": "end in .parquet$"}.items():
        with pytest.raises(DataError, match=f"the column '{name}' holds list.*{says}"):
            parts.check(pa.schema([(name, numbers)]), ["file", "row", "reason", "visits"])


def test_a_column_to_keep_that_is_not_there_is_named(score, people):
    assert "people.csv has no column 'ident', which --keep names" in refused(
        score("people.csv", "s.csv", "--keep", "ident")
    )


@pytest.mark.skipif(os.name != "posix", reason="limits of a process are POSIX's")
def test_a_feature_that_is_called_as_an_answer_is_scored_where_it_does_not_pass_through(trained, score, tmp_path):
    features = tuple(Feature(name, "real", 0, 1) for name in ("probability", "notes", *"abcdefgh"))
    export_model(trained, tmp_path / "own", signature=Signature(features), formats=("onnx",))
    table = pd.DataFrame(np.eye(10)[:3], columns=[feature.name for feature in features])
    table.to_csv(tmp_path / "rows.csv", index=False)
    said = refused(score("rows.csv", "scores.csv", "--model", "own"))
    assert "has a column 'probability' already, which scoring adds: name the columns" in said
    done = score("rows.csv", "scores.csv", "--model", "own", "--keep", "a,b")
    assert done.returncode == 0, done.stderr
    scores = pd.read_csv(tmp_path / "scores.csv")
    assert list(scores.columns) == ["a", "b", "probability", "model_version", "notes"]
    np.testing.assert_allclose(
        scores["probability"], load_predictor(tmp_path / "own")(np.eye(10, dtype="f")[:3]), atol=1e-7
    )


def test_what_cannot_be_scored_leaves_nothing_behind(score, people, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    assert "(did you mean gender?)" in refused(score("people.csv", "new/deep er/scores.csv", "--keep", "Gendr"))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_disk_that_takes_no_more_is_one_sentence_and_the_same_command_goes_on(
    score, people, passengers_model, tmp_path
):
    typed = command("people.csv", "scores.csv", model=passengers_model)
    limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))}
    env = ENV | {KEEPS_NOTHING: "1"}  # of what it compiles, which would be cut off for all that come after it
    done = subprocess.run(typed, cwd=tmp_path, env=env, capture_output=True, text=True, check=False, **limit)
    assert "cannot be written (File too large): make the folder" in refused(done)
    assert not (tmp_path / "scores.csv").exists()
    assert score("people.csv", "scores.csv").returncode == 0
    assert len(pd.read_csv(tmp_path / "scores.csv")) == 240


def test_a_run_that_was_killed_goes_on_where_it_was_with_every_row_once(many, exported, tmp_path):
    typed = command(many, "scores", model=exported)
    process = subprocess.Popen(typed, cwd=tmp_path, env=ENV, stderr=subprocess.DEVNULL)
    first = tmp_path / ".scores.parts" / "record-00000.json"
    while not first.exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "scores").exists()
    kept = (tmp_path / ".scores.parts" / "rows" / "part-00000.parquet").stat().st_mtime_ns

    done = subprocess.run(typed, cwd=tmp_path, env=ENV, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert " of them in an earlier run, " in done.stdout
    parts = sorted((tmp_path / "scores").iterdir())
    assert parts[0].stat().st_mtime_ns == kept
    scores = pq.read_table(tmp_path / "scores")
    np.testing.assert_array_equal(scores["id"].to_numpy(), np.arange(3_500_000))
    predictor = load_predictor(exported)
    code = sum(scores[f"G{i}"].to_numpy().astype(int) << (10 - i) for i in range(1, 11))
    single = np.concatenate([predictor(row[None]) for row in predictor.signature.every_input()])
    np.testing.assert_array_equal(scores["probability"].to_numpy(), single[code])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scores"]


def test_parts_of_an_input_that_has_changed_are_scored_anew(score, people, tmp_path):
    people.loc[239, "gender"] = "unknown"
    people.to_csv(tmp_path / "people.csv", index=False)
    refused(score("people.csv", "scores.csv", "--strict"))
    people[:100].to_csv(tmp_path / "people.csv", index=False)
    done = score("people.csv", "scores.csv")
    assert done.stdout.startswith("100 rows scored, "), done


def test_two_runs_do_not_write_the_same_output_at_once(score, people, tmp_path):
    with Parts(tmp_path / "scores.csv", ".csv", {}).opened():
        assert "another run is writing" in refused(score("people.csv", "scores.csv"))
    assert score("people.csv", "scores.csv").returncode == 0


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no folder in which nobody can write")
def test_a_folder_in_which_no_file_can_be_written_is_named(score, people, tmp_path):
    people.to_csv(tmp_path / "people.csv", index=False)
    assert re.search("/proc.* writ", refused(score("people.csv", "/proc/scores.csv")))


def test_an_output_that_is_there_is_not_written_over(score, people, tmp_path):
    (tmp_path / "scores.csv").write_text("years of work")
    assert "scores.csv is there already" in refused(score("people.csv", "scores.csv"))
    with pytest.raises(DataError, match="is there already"), Parts(tmp_path / "scores.csv", ".csv", {}).opened():
        pass  # another run has finished it between this one's check and its start
    assert (tmp_path / "scores.csv").read_text() == "years of work"
