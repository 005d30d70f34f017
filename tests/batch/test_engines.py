"""Apache Beam and Spark for real: the same rows to the bit, also where a worker is killed in the middle of the work."""

import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from batch_tools import ENV, KEEPS_NOTHING, command, rejected
from conftest import passengers

from helpers import PROJECT
from helpers.batch import engines
from helpers.batch.paths import CannotScore
from helpers.batch.scoring import Scorer
from helpers.export.predictors import load_predictor
from helpers.serving.serve_command import free_port

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def in_engine(made_once):
    """`in_engine("spark", code, *words)` runs Python code where that engine is, installed where it is missing."""

    def run(engine: str, code: str, *words) -> None:
        ran([python_of(engine, made_once), "-c", code, *map(str, words)], check=True)

    return run


def ran(words: list[str], cwd: Path | None = None, check: bool = False) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=cwd, env=ENV, capture_output=True, text=True, timeout=300, check=check)


def python_of(engine: str, made_once) -> str:
    with pytest.MonkeyPatch.context() as patch:  # an environment that keeps what it compiles is made sooner
        patch.delenv(KEEPS_NOTHING, raising=False)
        made_once(f"engine-{engine}", lambda _: engines.install(engine))
    return engines.python_of(engine)


@pytest.fixture
def people(tmp_path):
    """240 passengers in people.parquet, of whom two cannot be answered."""
    frame = passengers().drop(columns="survived")
    frame.insert(0, "id", np.arange(len(frame)))
    frame.loc[7, "gender"] = "nobody"
    frame.loc[100, "siblings"] = np.nan
    frame.to_parquet(tmp_path / "people.parquet", index=False)
    return tmp_path / "people.parquet"


def check_answers(scored: pa.Table, model, people) -> None:
    """Every row as this process scores it, whatever the order."""
    (batch,) = pq.read_table(people).to_batches()
    expected = pa.Table.from_batches([Scorer(load_predictor(model))(batch)])
    scored = scored.sort_by("id").cast(expected.schema)
    assert scored.equals(expected)
    assert expected["error"].null_count == 238


def check_every_row_once(output, many, model) -> None:
    games, scores = pq.read_table(many), pq.read_table(output)
    assert scores.select(games.column_names).equals(games)
    predictor = load_predictor(model)
    code = sum(games[f"G{i}"].to_numpy().astype(int) << (10 - i) for i in range(1, 11))
    single = np.concatenate([predictor(row[None]) for row in predictor.signature.every_input()])
    np.testing.assert_array_equal(scores["probability"].to_numpy(), single[code])
    assert set(scores["model_version"].unique().to_pylist()) == {predictor.version}


def killing(typed: list[str], folder, when: str, is_victim) -> subprocess.CompletedProcess:
    """Run a command, and kill a process that is at work for it once a file like `when` is there."""
    process = subprocess.Popen(typed, cwd=folder, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not any(folder.glob(when)):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    victim = next(each for each in psutil.process_iter(["cmdline"]) if each.info["cmdline"] and is_victim(each))
    victim.kill()
    out, err = process.communicate(timeout=300)
    return subprocess.CompletedProcess(typed, process.returncode, out, err)


# ---- Beam ----

BEAM = """
import sys
import apache_beam as beam, pyarrow as pa, pyarrow.parquet as pq
from apache_beam import FlatMap
from apache_beam.io import ReadFromParquetBatched
from apache_beam.ml.inference.base import RunInference
from helpers.batch.beam import BatchHandler
from helpers.batch.beam_job import HERE
people, model, output = sys.argv[1:]
schema = pq.read_schema(people).remove_metadata()
schema = schema.append(pa.field("probability", pa.float32()))
for name in ("model_version", "notes", "error"):
    schema = schema.append(pa.field(name, pa.string()))
write = beam.Map(lambda batch: pa.Table.from_batches([batch])) | beam.io.WriteToParquetBatched(output, schema=schema)
with beam.Pipeline(argv=[HERE]) as pipeline:
    README
"""


def of_readme(begins: str, lines: int, **instead: str) -> str:
    """Lines of the README's code as one, without their comments; `instead` of a string in it stands what is given."""
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    start = text.index(f"    {begins}")
    shown = " ".join(re.sub(r"  +# .*", "", line).strip() for line in text[start:].splitlines()[:lines])
    for written, here in instead.items():
        assert written in shown, shown
        shown = shown.replace(written, here)
    return shown


def test_a_pipeline_of_beam_takes_the_function_as_a_model_handler(in_engine, people, passengers_model, tmp_path):
    (tmp_path / "out").mkdir()
    shown = of_readme(
        "(pipeline |", 2, **{'"gs://bucket/players*"': "people", '"models/games"': "model", "...": "write"}
    )
    in_engine("beam", BEAM.replace("README", shown), people, passengers_model, tmp_path / "out" / "scores")
    check_answers(pq.read_table(tmp_path / "out"), passengers_model, people)


def test_beam_writes_what_the_one_process_writes(made_once, people, passengers_model, tmp_path):
    python_of("beam", made_once)
    frame = pq.read_table(people).to_pandas()
    (tmp_path / "people.csv").write_text(frame.to_csv(index=False) + "1,2\n")
    for output, engine in (("here.csv", ""), ("beam.csv", "beam")):
        typed = command("people.csv", output, model=passengers_model, engine=engine)
        done = ran(typed, tmp_path)
        assert done.returncode == 0, done.stderr
        assert "238 rows scored, " in done.stdout and "3 rows rejected, each with the reason: " in done.stdout
    assert (tmp_path / "beam.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()
    assert rejected(tmp_path / "beam.csv.rejected") == rejected(tmp_path / "here.csv.rejected")
    assert not list(tmp_path.glob(".*"))


def test_beam_takes_every_kind_of_file_that_this_process_takes(made_once, people, passengers_model, tmp_path):
    python_of("beam", made_once)
    frame, files = pq.read_table(people).to_pandas(), tmp_path / "in"
    files.mkdir()
    frame.to_json(files / "a.jsonl", orient="records", lines=True)
    frame.to_json(files / "b.json", orient="records")
    frame.to_feather(files / "c.feather")
    frame.to_excel(files / "d.xlsx", index=False)
    for output, engine in (("here.parquet", ""), ("beam.parquet", "beam")):
        done = ran(command("in", output, "--keep", "id", model=passengers_model, engine=engine), tmp_path)
        assert done.returncode == 0 and "952 rows scored, " in done.stdout, done.stderr
    assert pq.read_table(tmp_path / "beam.parquet").equals(pq.read_table(tmp_path / "here.parquet"))
    assert rejected(tmp_path / "beam.parquet.rejected") == rejected(tmp_path / "here.parquet.rejected")


def test_beam_goes_on_where_one_of_its_two_worker_processes_is_killed(made_once, many, exported, tmp_path):
    python_of("beam", made_once)
    two = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")
    done = killing(
        command(many, "scores", model=exported, engine="beam", options=two),
        tmp_path,
        ".scores.parts/record-*.json",
        lambda each: "apache_beam.runners.worker.sdk_worker_main" in each.info["cmdline"] and is_below(each, tmp_path),
    )
    assert done.returncode == 0, done.stderr
    check_every_row_once(tmp_path / "scores", many, exported)


def is_below(process: psutil.Process, folder) -> bool:
    """Whether a process works for the command that was typed in a folder, and not for another test."""
    try:
        return any(parent.cwd() == str(folder) for parent in [process, *process.parents()])
    except psutil.Error:
        return False


# ---- Spark ----

BRIEFLY = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"  # for Java, which ends here before code compiled for speed pays

SPARK = """
import os, sys
from pyspark.sql import SparkSession
from helpers.batch.spark import scored
people, model, master, output, java = sys.argv[1:]
os.environ |= {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1", "JDK_JAVA_OPTIONS": java}
here = SparkSession.builder.master(master).config("spark.driver.host", "127.0.0.1").config("spark.cores.max", "1")
here = here.config("spark.executor.extraJavaOptions", java)
spark = here.config("spark.sql.warehouse.dir", output).getOrCreate()
spark.read.parquet(people).repartition(3).createOrReplaceTempView("players")
README
"""


@pytest.fixture(scope="module")
def master(made_once, tmp_path_factory):
    """The address of a Spark master on this machine with two workers, each of a core."""
    python = python_of("spark", made_once)
    folder = tmp_path_factory.mktemp("spark")
    where = "import pyspark, pathlib; print(pathlib.Path(pyspark.__file__).parent)"
    home = subprocess.run([python, "-c", where], capture_output=True, text=True, check=True).stdout.strip()
    spark_class = [f"{home}/bin/spark-class"]
    port = free_port("127.0.0.1", 0)
    here = ["--host", "127.0.0.1", "--webui-port", "0"]
    settings = ENV | {"SPARK_HOME": home, "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_NO_DAEMONIZE": "1"}
    settings["SPARK_DAEMON_JAVA_OPTS"] = BRIEFLY
    commands = [["org.apache.spark.deploy.master.Master", *here, "--port", str(port)]]
    worker = ["org.apache.spark.deploy.worker.Worker", *here, "--cores", "1", "--memory", "1g"]
    commands += [[*worker, "--work-dir", str(folder / f"work{i}"), f"spark://127.0.0.1:{port}"] for i in (1, 2)]
    with ExitStack() as stack:
        for i, each in enumerate(commands):
            log = stack.enter_context((folder / f"log{i}").open("wb"))
            process = subprocess.Popen(
                [*spark_class, *each], env=settings, stdout=log, stderr=log, start_new_session=True
            )
            stack.callback(process.wait)
            stack.callback(os.killpg, process.pid, signal.SIGKILL)
        log = folder / "log0"
        while log.read_bytes().count(b"Registering worker") < 2:
            time.sleep(0.1)
        yield f"spark://127.0.0.1:{port}"


def test_spark_has_every_row_once_where_an_executor_is_killed_in_the_middle(master, many, exported, tmp_path):
    options = ["--master", master, "--conf", "spark.executor.memory=512m"]
    for java in ("driver", "executor"):
        options += ["--conf", f"spark.{java}.extraJavaOptions={BRIEFLY}"]
    done = killing(
        command(many, "scores", model=exported, engine="spark", options=options),
        tmp_path,
        ".scores.parts/unfinished-*",
        lambda each: (
            "org.apache.spark.executor.CoarseGrainedExecutorBackend" in each.info["cmdline"]
            and any(master.removeprefix("spark://").split(":")[1] in word for word in parent_words(each))
        ),
    )
    assert done.returncode == 0, done.stderr
    check_every_row_once(tmp_path / "scores", many, exported)


def parent_words(process: psutil.Process) -> list[str]:
    try:
        return process.parent().cmdline()
    except (psutil.Error, AttributeError):
        return []


def test_a_table_of_spark_gets_the_same_answers(master, in_engine, people, passengers_model, tmp_path):
    shown = of_readme("scored(spark", 1, **{'"models/games"': "model"})
    in_engine("spark", SPARK.replace("README", shown), people, passengers_model, master, tmp_path, BRIEFLY)
    check_answers(pq.read_table(tmp_path / "scores"), passengers_model, people)


# ---- what they take ----

README = (PROJECT / "README.md").read_text(encoding="utf-8")
MEMORY = re.search(
    r"process takes less than ([\d.]+) GB, Beam less than ([\d.]+) GB, and Spark on two cores less than ([\d.]+) GB",
    " ".join(README.split()),
)


@pytest.mark.parametrize(
    ("engine", "said", "options"), [("", 1, ()), ("beam", 2, ()), ("spark", 3, ("--master", "local[2]"))]
)
def test_memory_stays_below_what_the_readme_says(engine, said, options, made_once, many, exported, tmp_path):
    if engine:
        python_of(engine, made_once)
    typed = command(many, "scores.parquet", model=exported, engine=engine, options=options)
    process = subprocess.Popen(typed, cwd=tmp_path, env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    most = 0
    while process.poll() is None:
        most = max(most, memory_of(psutil.Process(process.pid)))
        time.sleep(0.5)  # to ask takes nearly as long
    assert process.returncode == 0
    assert 50e6 < most < float(MEMORY[said]) * 1e9
    assert pq.ParquetFile(tmp_path / "scores.parquet").metadata.num_rows == 3_500_000


def memory_of(process: psutil.Process) -> int:
    """Bytes that a process and those below it take; what they share counts once, where the system tells."""
    bytes_ = 0
    with suppress(psutil.Error):
        for each in [process, *process.children(recursive=True)]:
            with suppress(psutil.Error):
                info = each.memory_full_info()
                bytes_ += getattr(info, "pss", info.uss)
    return bytes_


@pytest.mark.parametrize("engine", engines.PACKAGES)
def test_an_engine_takes_some_of_the_disk_as_is_said(engine, made_once):
    python_of(engine, made_once)
    taken = sum(path.lstat().st_blocks * 512 for path in (engines.HOMES / engine).rglob("*")) / 1e6
    assert engines.SIZES[engine] / 1.6 < taken < engines.SIZES[engine] * 1.4  # blocks differ between file systems
    assert re.search(rf"setup --engine {engine} +# {engines.SIZES[engine]} MB", README)


# ---- neither ----


@pytest.mark.parametrize("engine", engines.PACKAGES)
def test_an_engine_that_is_missing_is_one_sentence_with_the_line_that_installs_it(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "HOMES", engines.PROJECT / "build" / "nowhere")
    for backend, more in {"onnx": "", "keras": " --backend keras"}.items():
        line = f"`python3 tutorial.py setup --engine {engine}{more}` installs"
        with pytest.raises(CannotScore, match=f"is not installed: {line}"):
            engines.python_of(engine, backend)


def test_the_session_in_which_a_warm_engine_is_timed_writes_what_scoring_writes(
    made_once, people, passengers_model, tmp_path
):
    python, output = python_of("beam", made_once), tmp_path / "out.parquet"
    words = ["beam", people, people, passengers_model, output]
    typed = [python, "-m", "helpers.tools.bench_warm", *map(str, words)]
    assert float(ran(typed, check=True).stdout) > 0
    ran(command(people, "here.parquet", model=passengers_model), tmp_path, check=True)
    here = pq.read_table(tmp_path / "here.parquet")
    assert pq.read_table(output).equals(here) and here.num_rows == 238
    few = pq.read_table(tmp_path / "out-few.parquet")
    assert few.num_rows == 238 * os.cpu_count() and few.slice(0, 238).equals(here)


def test_options_that_an_engine_does_not_take_are_said_in_its_words(made_once, people, passengers_model, tmp_path):
    python_of("beam", made_once)
    typed = command(people, "s.csv", model=passengers_model, engine="beam", options=["--runner=NoSuchRunner"])
    done = ran(typed, tmp_path)
    assert done.returncode == 2
    assert "score: Apache Beam has left 1 of 1 pieces undone (" in done.stderr and "NoSuchRunner" in done.stderr
    assert f"see {engines.HOMES / 'beam.log'}; once that is mended, the same command goes on" in done.stderr
    assert "NoSuchRunner" in (engines.HOMES / "beam.log").read_text(encoding="utf-8")
    assert not list(tmp_path.glob(".*"))


def test_why_java_ended_is_said_and_not_that_python_missed_it(tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "HOMES", tmp_path)
    log = "Error: Unrecognized option: --mastr\n  raise Error(\nRuntimeError: [JAVA_GATEWAY_EXITED] Java gateway"
    (tmp_path / "engine.log").write_text(log)
    assert "undone (Error: Unrecognized option: --mastr): see" in engines._why("spark", 1, 1, tmp_path / "engine.log")


def test_an_engine_installed_for_an_earlier_version_is_told_to_be_installed_again(tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "HOMES", engines.PROJECT / "build" / tmp_path.name)
    (engines.HOMES / "beam").mkdir(parents=True)
    (engines.HOMES / "beam" / "installed").write_text("apache-beam\nonnxruntime==1.0")
    try:
        with pytest.raises(CannotScore, match="with other packages than this version needs: `python3 tutor"):
            engines.python_of("beam")
    finally:
        shutil.rmtree(engines.HOMES)
