"""Everything wrong that a person can type: one sentence, exit code 2, and not a byte changed on disk.

The commands are typed in a folder with a person's own things, into a copy of the project in which nothing is set up.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import nbformat
import notebook_tools as tools
import pytest

from helpers import PROJECT
from helpers.export import served
from helpers.export.kept import BEFORE, keep, version_of
from helpers.tools import command_line, option_values

# What is typed, and a part of what is said. TAKEN is a port that another program has, OLD a version of a model that
# takes other features (titanic), or the same ones in another range (churn).
WRONG = [
    ("rnu", "did you mean run?"),
    ("--version", "there is no command '--version'"),
    ("Run", "there is no command 'Run'"),
    ("run mine.csv", "did you mean --data mine.csv?"),
    ("run --dta mine.csv", "did you mean --data?"),
    ("run --dat mine.csv", "there is no option --dat"),
    ("run --help=yes", "--help"),
    ("run --data", "needs a value"),
    ("run --data=", "give it a value"),
    ("run --data nowhere.csv", "there is no file nowhere.csv"),
    ("run --data ~nobody-has-this-name/mine.csv", "there is no file"),
    ("run --data empty.csv", "empty.csv is empty"),
    ("run --data folder", "folder is a folder"),
    ("run --data ftp://example.org/mine.csv", "is no http address"),
    ("run --data https://", "is no http address"),
    ("run --data mine.csv --label", "needs a value"),
    ("run --data mine.csv --label=", "give it a value"),
    ("run --data foreign.csv", "foreign/ holds other files (thesis.txt)"),
    ("run --data mine.csv --positive=", "give it a value"),
    ("run --data mine.csv --display-name=", "give it a value"),
    ("run --data mine.csv --drop=", "give it a value"),
    ("run --data mine.csv --as zip", "'zip' is not like zip=category"),
    ("train", "it needs a table: add --data"),
    ("train mine.csv", "did you mean --data mine.csv?"),
    ("train --help=yes", "--help"),
    ("train --data mien.csv", "there is no file mien.csv (did you mean mine.csv?)"),
    ("train --data nowhere.csv", "there is no file nowhere.csv"),
    ("train --data mine.csv --lable age", "did you mean --label?"),
    ("train --data mine.csv --label=", "give it a value"),
    ("train --data mine.csv --positive", "needs a value"),
    ("train --data mine.csv --display-name", "needs a value"),
    ("train --data mine.csv --drop", "needs a value"),
    ("train --data mine.csv --as age=colour", "the kinds are number, yes/no, category"),
    ("train --data mine.csv --as =number", "'=number' is not like zip=category"),
    ("train --data mine.csv --model=", "a model needs a name"),
    ("train --data mine.csv --model foreign", "foreign/ holds other files (thesis.txt)"),
    ("train --data mine.csv --model ./mine.csv", "mine.csv is a file"),
    ("train --data mine.csv --replace=yes", "--replace"),
    ("train --data mine.csv --report figures.txt", "let it end in .html"),
    ("train --data mine.csv --report mine.csv/figures.html", "is a file, not a folder"),
    ("lab nowhere.ipynb", "there is no file nowhere.ipynb"),
    ("lab --no-browser broken.ipynb", "broken.ipynb is not a notebook"),
    ("serve titanic", "did you mean --model titanic?"),
    ("serve nowhere.keras", "there is no file nowhere.keras"),
    ("serve --to mine", "--to is for a model's file: name the file"),
    ("serve --features a,b", "--features is for a model's file"),
    ("serve net.h5 --to=", "a model needs a name"),
    ("serve net.h5 --to foreign", "foreign/ holds other files (thesis.txt)"),
    ("serve net.h5 --features=", "give it a value"),
    ("serve net.h5 --like nowhere.csv", "there is no file nowhere.csv"),
    ("serve net.h5 --classes=", "give it a value"),
    ("serve net.h5 --classes labels.txt", "there is no file labels.txt"),
    ("serve net.h5 --classes blank", "blank does not hold the names of classes"),
    ("serve net.h5 --label=", "give it a value"),
    ("serve net.h5 --pixels 0..2", "is none of 0..255"),
    ("serve net.h5 --takes video", "is none of row, array, image"),
    ("serve net.h5 --import my-layers", "'my-layers' is no name of a module"),
    ("serve net.h5 --replace=yes", "--replace"),
    ("export", "it needs FILE, a Keras file"),
    ("export nowhere.keras", "there is no file nowhere.keras"),
    ("export folder", "folder is a folder without a saved_model.pb"),
    ("export served", "served/ holds the SavedModel 2: give served/2"),
    ("export empty.onnx", "empty.onnx is empty"),
    ("serve folder", "folder is a folder without a saved_model.pb"),
    ("export net.h5 --weights nowhere.h5", "there is no file nowhere.h5"),
    ("serve net.h5 --weights folder", "folder is a folder, not a file of weights"),
    ("export net.h5 --help=yes", "--help"),
    ("export net.h5 --tot mine", "did you mean --to?"),
    ("export net.h5 --to=", "a model needs a name"),
    ("export net.h5 --features=", "give it a value"),
    ("export net.h5 --features a, b", "--features takes names with commas and no blanks between, as in a,b"),
    ("export net.h5 --features a a", "as in a,a"),
    ("export net.h5 --like folder", "folder is a folder"),
    ("export net.h5 --classes empty.txt", "there is no file empty.txt"),
    ("export net.h5 --label", "needs a value"),
    ("export net.h5 --pixels", "needs a value"),
    ("export net.h5 --takes rows", "is none of row, array, image"),
    ("export net.h5 --import a/b", "'a/b' is no name of a module"),
    ("export net.h5 --replace=yes", "--replace"),
    ("serve --prot 5000", "did you mean --port?"),
    ("serve --help=yes", "--help"),
    ("serve --port", "needs a value"),
    ("serve --port 70000", "'70000' is not a whole number from 0 to 65535"),
    ("serve --port -1", "'-1' is not a whole number"),
    ("serve --port http", "'http' is not a whole number"),
    ("serve --port 5000.5", "'5000.5' is not a whole number"),
    ("serve --port TAKEN", "cannot listen on 127.0.0.1:TAKEN"),
    ("serve --port TAKEN", "0 takes one that is free"),
    ("serve --port TAKEN --host localhost", "cannot listen on 127.0.0.1:TAKEN"),
    ("serve --workers 0", "'0' is not a whole number from 1"),
    ("serve --workers -2", "'-2' is not a whole number from 1"),
    ("serve --workers 1000000", "'1000000' is not a whole number from 1"),
    ("serve --max-body 0", "'0' is not a whole number from 1"),
    ("serve --max-body 101", "'101' is not a whole number from 1 to 100"),
    ("serve --workers many", "'many' is not a whole number"),
    ("serve --host", "needs a value"),
    ("serve --host=", "give it a value"),
    ("serve --host no.such.host.invalid", "is no address of this machine"),
    ("serve --host 127.0.0.256", "is no address of this machine"),
    ("serve --host http://localhost", "is no address of this machine"),
    ("serve --host 203.0.113.7 --port 0", "cannot listen on 203.0.113.7, which is no address of this machine"),
    ("serve --backend tensorflow", "is none of onnx, litert, numpy, keras"),
    ("serve --api-key-file nowhere", "there is no file nowhere"),
    ("serve --api-key-file folder", "folder is a folder"),
    ("serve --api-key-file empty.csv", "empty.csv is empty"),
    ("serve --api-key-file blank", "blank is empty: write the key into it"),
    ("serve --api-key-file binary", "binary cannot be read"),
    ("serve --access-log=yes", "--access-log"),
    ("serve --allow-host", "needs a value"),
    ("serve --allow-host http://service.example", "is no name of a machine: give one like service.example"),
    ("serve --allow-host service.example:5000", "is no name of a machine"),
    ("serve --allow-origin localhost:3000", "is no origin: give one like http://localhost:3000"),
    ("serve --strict=yes", "--strict"),
    ("serve --unseen maybe", "is none of refuse, answer"),
    ("serve --model", "needs a value"),
    ("serve --model=", "a model has a name or a path"),
    ("serve --model typo", "there is no model 'typo': the models here are churn, games, größe, metrics, titanic"),
    ("serve --model ./titanic", "there is no model './titanic'"),
    ("serve --model foreign", "has no card.json"),
    ("serve --model folder", "holds model.keras, but no card.json"),
    ("serve --model .", "but no card.json that says what the model takes"),
    ("serve --model mine.csv", "mine.csv is a table"),
    ("serve mine.csv", "mine.csv is a table, and a model is served: train one with"),
    ("export mine.csv", "mine.csv is a table"),
    ("train --data net.onnx", "net.onnx is a model, and a table is wanted: serve it with"),
    ("export net.h5 --like net.onnx", "net.onnx is a model, and a table is wanted"),
    ("serve --model net.h5", "net.h5 is a Keras file"),
    ("serve --model net.onnx", "net.onnx is a model's file alone"),
    ("serve --model blank", "blank is a file"),
    ("serve --model games --model ./games", "there is no model './games'"),
    (
        "serve --model games --model titanic --model games",
        "two models would answer at /games: give one of them another",
    ),
    ("serve --model games --model metrics", "/metrics is the service's own"),
    ("serve --model games --model größe", "/größe is no address"),
    ("serve --model games@abc", "games has no version 'abc': there is"),
    ("serve --shadow games", "games is a model: name one of its versions, as in games@5f2e"),
    ("serve --shadow games@abc", "games has no version 'abc'"),
    ("serve --shadow titanic@OLD", "stands beside the model titanic: add --model titanic"),
    ("serve --model titanic@OLD --shadow titanic@OLD", "is the version that answers already: name another one"),
    ("serve --model titanic --shadow titanic@OLD", "cannot stand beside"),
    ("serve --model titanic --canary titanic@OLD=10", "it takes other features"),
    ("serve --model churn --shadow churn@OLD --shadow churn@OLD", "--shadow names two versions of churn"),
    ("serve --canary games@abc=10", "games has no version 'abc'"),
    ("serve --canary games@abc", "is not like games@5f2e=10, which lets that version answer 10 % of the callers"),
    ("serve --canary games@abc=100", "is not like games@5f2e=10"),
    ("serve --canary games@abc=nan", "is not like games@5f2e=10"),
    ("serve --canary games=10", "games is a model: name one of its versions"),
    ("serve net.h5 --model games", "a model's file is served by itself"),
    ("models rolback titanic", "'rolback' is none of rollback, promote (did you mean rollback?)"),
    ("models rollback titanic metrics", "titanic has no version 'metrics'"),
    ("models list", "is none of rollback, promote"),
    ("models --help=yes", "--help"),
    (
        "models rollback",
        "rollback needs the name of a model: the models here are churn, games, größe, metrics, titanic",
    ),
    ("models promote", "promote needs the name of a model"),
    ("models rollback typo", "there is no model 'typo'"),
    ("models rollback games", "games has no version before the current one: it has not been replaced yet"),
    ("models promote games", "games has no version beside the current one: `train --beside` and `export --beside`"),
    ("models rollback games abc", "games has no version 'abc': there is"),
    ("models rollback games@abc", "games has no version 'abc': there is"),
    ("models rollback games@", "games has no version ''"),
    ("models promote games titanic", "games has no version 'titanic'"),
    ("models rollback games abc def", "'def' is none of its options"),
    ("train --data mine.csv --beside=yes", "--beside"),
    ("train --data mine.csv --beside", "there is no model mine that this could wait beside: name it with --model"),
    ("train --data mine.csv --to mine", "there is no option --to (did you mean --model?)"),
    ("export net.h5 --beside=yes", "--beside"),
    ("export net.h5 --beside", "there is no model net that this could wait beside: name it with --to"),
    ("export net.h5 --model mine", "there is no option --model (did you mean --to?)"),
    ("score mine.csv scores.csv --model games@abc", "games has no version 'abc'"),
    ("bench --model games@abc", "games has no version 'abc'"),
    ("gate", "it needs what to hold the model against: --golden FILE, --data TABLE, or both"),
    ("gate titanic", "did you mean --model titanic?"),
    ("gate --help=yes", "--help"),
    ("gate --model typo --golden golden.json", "there is no model 'typo'"),
    ("gate --model games@abc --golden golden.json", "games has no version 'abc'"),
    ("gate --golden", "needs a value"),
    ("gate --golden nowhere.json", "there is no file nowhere.json"),
    ("gate --golden /dev/zero", "zero is not valid JSON"),
    ("gate --golden blank", "blank is not valid JSON"),
    ("gate --golden whole.ipynb", "whole.ipynb is no list of golden requests"),
    ("gate --golden binary", "binary is no text in UTF-8, and so no list of golden requests, as [{"),
    ("gate --data nowhere.csv", "there is no file nowhere.csv"),
    ("gate --draft golden.txt --data mine.csv", "let it end in .json"),
    ("gate --draft golden.json --data mine.csv", "golden.json is there already"),
    ("gate --draft new.json", "--draft takes the rows of --data TABLE"),
    ("gate --import my-layers --golden golden.json", "'my-layers' is no name of a module"),
    ("gate --label age --golden golden.json", "--label names a column of --data TABLE"),
    ("gate --positive yes --golden golden.json", "--positive names a value of --data TABLE"),
    ("score mine.csv scores.csv --engine flink", "'flink' is none of beam, spark"),
    ("score mine.csv scores.csv --engine=", "'' is none of beam, spark"),
    ("score mine.csv scores.csv -- --runner=FlinkRunner", "follows --, where an engine's options stand"),
    ("score mine.csv scores.csv --engine beam --threads 2", "--threads is for this process alone"),
    ("score mine.csv scores.csv --import my-layers", "'my-layers' is no name of a module"),
    ("score mine.csv scores.csv --engine beam --runner=FlinkRunner", "there is no option --runner"),
    ("bench --batches many", "'many' is not a whole number from 100000 to"),
    ("bench --batches 10", "'10' is not a whole number from 100000 to"),
    ("setup --engine flink", "'flink' is none of beam, spark"),
    ("setup --backend keras", "--backend goes into the environment of an engine: name that with --engine"),
    ("export /dev/zero", "/dev/zero is a device or a pipe, not a file on the disk"),
    ("export net.h5 --weights /dev/null", "/dev/null is a device or a pipe, not a file on the disk"),
    ("score", "it needs INPUT, CSV"),
    ("score mine.csv", "it needs OUTPUT, a .parquet"),
    ("score --help=yes", "--help"),
    ("score net.onnx scores.csv", "net.onnx is a model, and a table is wanted: serve it with `"),
    ("score nowhere.csv scores.csv", "there is no file nowhere.csv"),
    ("score *.parquet scores.csv", "there is no file *.parquet"),
    ("score empty.csv scores.csv", "empty.csv is empty: leave it out, or give it a header and rows"),
    ("score mine.csv /dev/null", "/dev/null is neither a file nor a folder: name one that is to be made"),
    ("score /dev/null scores.csv", "/dev/null is no ordinary file"),
    ("score mine.csv scores.xlsx", "scores.xlsx ends in none of .parquet, .csv, .csv.gz"),
    ("score mine.csv mine.csv", "mine.csv is there already"),
    ("score mine.csv folder", "folder is there already"),
    ("score mine.csv blank/scores.csv", "blank is a file, not a folder"),
    ("score mine.csv scores.csv --model typo", "there is no model 'typo'"),
    ("score mine.csv scores.csv --model foreign.csv", "foreign.csv is a table"),
    ("score mine.csv scores.csv --keep", "needs a value"),
    ("score mine.csv scores.csv --keep=", "give it a value"),
    ("score mine.csv scores.csv --threads 0", "'0' is not a whole number from 1"),
    ("score mine.csv scores.csv --strict=yes", "--strict"),
    ("score mine.csv scores.csv --egnine beam", "there is no option --egnine"),
    ("lambda games", "did you mean --model games?"),
    ("lambda --help=yes", "--help"),
    ("lambda --model typo", "there is no model 'typo'"),
    ("lambda --model net.h5", "net.h5 is a Keras file"),
    ("lambda --arch i386", "is none of x86_64, arm64"),
    ("lambda --backend keras", "is none of onnx, litert, numpy"),
    ("lambda --to", "needs a value"),
    ("lambda --to games.tar", "games.tar is not the name of a zip"),
    ("lambda --run=yes", "--run"),
    ("lambda --to blank/games.zip", "blank is a file, not a folder"),
    ("test tests/nowhere.py", "there is no file tests/nowhere.py"),
    ("test -x tests/nowhere.py::test_it", "there is no file tests/nowhere.py"),
    ("bench titanic", "did you mean --model titanic?"),
    ("bench --help=yes", "--help"),
    ("bench --model typo", "there is no model 'typo'"),
    ("bench --model net.h5", "net.h5 is a Keras file"),
    ("bench --seconds 0", "'0' is not a number of seconds"),
    ("bench --seconds nan", "'nan' is not a number of seconds"),
    ("bench --seconds inf", "'inf' is not a number of seconds"),
    ("bench --seconds soon", "'soon' is not a number of seconds"),
    ("bench --rounds 0", "'0' is not a whole number from 1"),
    ("bench --epochs -1", "'-1' is not a whole number from 1"),
    ("bench --publish=yes", "--publish"),
    ("bench --peers=yes", "--peers"),
    ("bench --output mine.csv", "is a file, not a folder"),
    ("bench --output mine.csv/deeper", "is a file, not a folder"),
    ("doctor", "it needs URL, for example http://127.0.0.1:5000"),
    ("doctor --help=yes http://127.0.0.1", "--help"),
    ("doctor ftp://127.0.0.1", "is no http URL"),
    ("doctor http:/127.0.0.1:99999", "Port out of range"),
    ("doctor http://127.0.0.1:99999", "is no URL"),
    ("doctor http://127.0.0.1 http://127.0.0.2", "'http://127.0.0.2' is none of its options"),
    ("doctor http://127.0.0.1 --timeout 0", "'0' is not a number of seconds"),
    ("doctor http://127.0.0.1 --timeout -3", "'-3' is not a number of seconds"),
    ("renew nowhere.ipynb", "there is no file nowhere.ipynb"),
    ("renew folder", "folder is a folder"),
    ("renew mine.csv", "mine.csv is not a notebook"),
    ("renew whole.ipynb broken.ipynb", "broken.ipynb is not a notebook"),
    ("renew --all", "there is no option --all"),
    ("renew --help=yes", "--help"),
    ("setup now", "'now' is none of its options"),
    ("setup --force", "there is no option --force"),
    ("setup --help=yes", "--help"),
]


@pytest.fixture(scope="module")
def project(exported, tmp_path_factory) -> Path:
    """A copy of the project with two models, and in `models/` a folder that is none."""
    project = tools.copy_project(tmp_path_factory.mktemp("clone") / "tutorial")
    shutil.copy(PROJECT / "tutorial.py", project)
    for name in ("games", "titanic", "metrics", "größe", "churn"):
        shutil.copytree(exported, project / "models" / name)
    keep_another(project / "models" / "titanic", takes="age")
    keep_another(project / "models" / "churn", takes="G1")
    (project / "models" / "foreign").mkdir()
    (project / "models" / "foreign" / "thesis.txt").write_text("years of work")
    return project


OLD = {}  # the versions that `keep_another` has made, by the model's name


def keep_another(model: Path, takes: str) -> None:
    """Keep as a version before `model` one whose first feature has the name `takes`, and another range."""
    card = json.loads((model / "card.json").read_text())
    card["signature"]["features"][0] |= {"name": takes, "kind": "real", "high": 80.0}
    shutil.copytree(model, model.parent / "old")
    (model.parent / "old" / "card.json").write_text(json.dumps(card))
    OLD[model.name] = version_of(card)
    keep(model.parent / "old", model, OLD[model.name], BEFORE)
    shutil.rmtree(model.parent / "old")


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> Path:
    """A folder that a person stands in, with things of their own."""
    here = tmp_path_factory.mktemp("here")
    (here / "folder").mkdir()
    (here / "served" / "2").mkdir(parents=True)
    (here / "served" / "2" / "saved_model.pb").touch()
    (here / "empty.onnx").touch()
    for name in ("folder/model.keras", "net.h5", "net.onnx", "broken.ipynb"):
        (here / name).write_text("the user's own")
    (here / "mine.csv").write_text("age,label\n1,0\n2,1\n")
    (here / "foreign.csv").write_text("age,label\n1,0\n2,1\n")
    (here / "other.csv").write_text("age,label\n" + "30,0\n41,1\n" * 20)
    (here / "golden.json").write_text('[{"request": {"age": 1}, "at_least": 0.5}]')
    (here / "empty.csv").write_text("")
    (here / "blank").write_text("\n")
    (here / "binary").write_bytes(b"\xff\xff\x00\x01")
    nbformat.write(nbformat.v4.new_notebook(), here / "whole.ipynb")
    return here


@pytest.fixture(scope="module")
def taken():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield str(server.getsockname()[1])


def listing(*folders: Path) -> dict[Path, tuple[int, ...]]:
    """Every file and folder in `folders`, with what changes whenever somebody writes to it, be it the same bytes."""
    return {
        path: (there.st_mode, there.st_ino, there.st_size, there.st_mtime_ns, there.st_ctime_ns)
        for folder in folders
        for path in folder.rglob("*")
        for there in [path.lstat()]
    }


def type_in(here: Path, *command, **more: str) -> subprocess.CompletedProcess:
    run = {"capture_output": True, "text": True, "timeout": 120, "env": {**os.environ, **more}}
    return subprocess.run([sys.executable, *map(str, command)], cwd=here, check=False, **run)


def refused(done: subprocess.CompletedProcess) -> str:
    """The one sentence that was said."""
    assert done.returncode == 2, done
    assert done.stdout == ""
    (sentence,) = done.stderr.splitlines()
    assert re.match(r"[\w.]+: \S", sentence)
    return sentence


@pytest.mark.slow
@pytest.mark.parametrize(("typed", "says"), WRONG, ids=[typed for typed, _ in WRONG])
def test_what_cannot_be_meant_is_said_and_changes_nothing(project, here, taken, typed, says):
    before = listing(project, here)
    typed = re.sub(r"(\w+)@OLD", lambda name: f"{name[1]}@{OLD[name[1]]}", typed).replace("TAKEN", taken)
    done = type_in(here, project / "tutorial.py", *typed.split(" "))
    assert says.replace("TAKEN", taken) in refused(done)
    assert listing(project, here) == before


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("command", "code"), [(["-m", "helpers", "models"], 128 + 13), ([PROJECT / "tutorial.py"], 1)], ids=["models", ""]
)
def test_output_that_nobody_reads_any_more_ends_a_command_without_a_stack_trace(here, command, code, unbuffered):
    reader, writer = os.pipe()
    os.close(reader)
    environment = tools.environment_in(PROJECT, PYTHONUNBUFFERED=unbuffered)
    run = {"cwd": here, "env": environment, "stdout": writer, "stderr": subprocess.PIPE, "text": True}
    done = subprocess.run([sys.executable, *command], check=False, **run)
    os.close(writer)
    assert (done.returncode, done.stderr) == (code, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no disk that is always full")
def test_output_that_finds_the_disk_full_ends_a_command_with_a_sentence(here):
    environment = tools.environment_in(PROJECT, PYTHONUNBUFFERED="1")
    with open("/dev/full", "w") as full:
        run = {"cwd": here, "env": environment, "stdout": full, "stderr": subprocess.PIPE, "text": True}
        done = subprocess.run([sys.executable, "-m", "helpers", "models"], check=False, **run)
    assert done.returncode == 1
    assert re.fullmatch(r"models: the output could not be written whole: .*\n", done.stderr)


@pytest.mark.skipif(os.name != "posix", reason="a shell of POSIX")
def test_a_stream_that_is_closed_or_has_no_sign_for_a_letter_ends_nothing(here):
    code = "import helpers, sys; print('Größe'); sys.stderr.isatty(); print(open('file', 'w').fileno() > 2)"
    command = ["sh", "-c", 'exec "$@" <&- 2>&-', "sh", sys.executable, "-c", code]
    environment = tools.environment_in(PROJECT, PYTHONIOENCODING="ascii")
    done = subprocess.run(command, check=False, cwd=here, env=environment, stdout=subprocess.PIPE, text=True)
    assert (done.returncode, done.stdout) == (0, "Gr\\xf6\\xdfe\nTrue\n")


def test_who_has_the_port_is_said_and_where_the_service_is(project, here, taken, free_port):
    with served.recorded(project / "models" / "games", "127.0.0.1", int(taken)):
        busy = type_in(here, project / "tutorial.py", "serve", "--port", taken)
        elsewhere = type_in(here, "-m", "helpers", "doctor", f"http://127.0.0.1:{free_port}", PYTHONPATH=str(project))
    said = refused(busy)
    assert f"on 127.0.0.1:{taken}: `serve` answers there with models/games already (process {os.getpid()}" in said
    assert f"nothing listens on port {free_port}" in elsewhere.stderr and elsewhere.returncode == 1
    assert elsewhere.stderr.endswith(f"`serve` answers at http://127.0.0.1:{taken}.\n")
    assert "models/games" not in refused(type_in(here, project / "tutorial.py", "serve", "--port", taken))


def test_no_command_and_no_option_is_left_out():
    """What the list above lacks: an option that is new must be typed wrongly, too."""
    for command in command_line.COMMANDS:
        typed = " ".join(words for words, _ in WRONG if words.split(" ")[0] == command)
        assert typed, f"no wrong way to type {command}"
        parser = command_line.parser_of(command)
        left_out = [name for name in parser.names if not parser.hands_on and name not in re.split(r"[ =]", typed)]
        assert not left_out, f"{command} {left_out}"


def test_the_backends_are_those_that_there_are():
    from helpers.export.predictors import BACKENDS

    assert sorted(command_line.BACKENDS) == sorted(BACKENDS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("run --data mine.csv --label churned", "has no column 'churned'"),
        ("run --data binary", "binary has a header but no rows"),
        ("train --data mine.csv", "mine.csv has 1 row whose 'label' is 1, among 2: at least 10 are needed"),
        ("train --data mine.csv --label age --drop size", "the table has no column 'size'; its columns are label"),
        ("train --data mine.csv --positive 3", "label 'label' never is '3': choose its positive value from 0, 1"),
        ("train --data other.csv --model titanic", "models/titanic holds another model"),
        ("run --label churned", "has no column 'churned'"),
        ("gate --data mine.csv", "the table has no column 'G1'"),
    ],
)
def test_a_table_that_cannot_be_used_is_said_before_anything_is_written(project, here, typed, says):
    before = listing(project, here)
    more = {"PYTHONPATH": str(project), "PYTHONDONTWRITEBYTECODE": "1"}
    assert says in refused(type_in(here, "-m", "helpers", *typed.split(" "), **more))
    assert listing(project, here) == before


@pytest.mark.parametrize("command", ["run", "serve", "bench"])
def test_a_folder_of_the_users_in_the_default_models_place_is_not_written_to(here, tmp_path, command):
    project = tools.copy_project(tmp_path / "tutorial")
    shutil.copy(PROJECT / "tutorial.py", project)
    (project / "models" / "games").mkdir(parents=True)
    (project / "models" / "games" / "model.keras").write_text("the user's own")
    before = listing(project, here)
    assert "model.keras" in refused(type_in(here, project / "tutorial.py", command))
    assert listing(project, here) == before


def test_a_file_in_the_place_of_the_report_is_not_lost(here, tmp_path):
    project = tools.copy_project(tmp_path / "tutorial")
    shutil.copy(PROJECT / "tutorial.py", project)
    (project / "build").write_text("the user's own")
    for command in ("run", "bench"):
        assert "build is a file, not a folder" in refused(type_in(here, project / "tutorial.py", command))
    assert (project / "build").read_text() == "the user's own"


def test_the_choices_of_an_option_are_those_of_the_module_that_knows_them():
    """The command line keeps them itself, as it starts without that module's packages."""
    from helpers.data import columns, images
    from helpers.export import detection

    assert tuple(images.PIXELS) == command_line.PIXELS
    assert detection.TAKES == command_line.TAKES
    assert set(columns.KINDS) == set(option_values.KINDS)
