"""The folder of an export, replaced by real processes that are killed, and read by another while it is replaced."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import PROJECT
from helpers.data.signature import Signature
from helpers.export.artifacts import export_model
from helpers.export.errors import ArtifactError
from helpers.export.folder import check_replaceable, is_export, replacing
from helpers.export.predictors import load_predictor
from helpers.export.versions import versions

posix_only = pytest.mark.skipif(os.name != "posix", reason="SIGKILL is a signal of POSIX systems")
needs_strace = pytest.mark.skipif(not shutil.which("strace"), reason="strace, which kills at a system call, is missing")

WRITER = """
import os, shutil, signal, sys
from pathlib import Path
from helpers.export.folder import replacing

directory, times, kill_at, *sources = sys.argv[1:]

def kill_at_change(event, arguments, seen=[]):
    writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    if writes or event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir"):
        seen.append(event)
        if len(seen) == int(kill_at):
            os.kill(os.getpid(), signal.SIGKILL)

if int(kill_at):
    sys.addaudithook(kill_at_change)
for i in range(int(times)):
    with replacing(Path(directory)) as scratch:
        shutil.copytree(sources[i % len(sources)], scratch, dirs_exist_ok=True)
"""
WITHOUT_EXCHANGE = "inject=renameat2:error=EINVAL"  # a file system that cannot exchange two folders


def writer(directory, *sources, times=1, kill_at=0, strace=()):
    """Replaces `directory` by the exports `sources` in turn; killed at the change to the disk of number `kill_at`."""
    expressions = ("trace=rename,renameat,renameat2", *strace) if strace else ()
    tracer = ["strace", "-f", "-qq", "-o", os.devnull] if strace else []
    for expression in expressions:
        tracer += ["-e", expression]
    command = [*tracer, sys.executable, "-c", WRITER, *map(str, (directory, times, kill_at, *sources))]
    return subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def old(trained, tmp_path_factory):
    """An export of a trained model, small enough to be written many times."""
    directory = tmp_path_factory.mktemp("old") / "games"
    export_model(trained, directory, formats=("npz",))
    return directory


@pytest.fixture(scope="module")
def new(sample, tmp_path_factory):
    """Another model of the same features."""
    from helpers.model.training import build_classifier

    directory = tmp_path_factory.mktemp("new") / "games"
    signature = Signature.from_table(sample.drop(columns="label"))
    export_model(build_classifier(10, seed=5), directory, signature=signature, formats=("npz",))
    return directory


@pytest.fixture
def games(old, tmp_path):
    return shutil.copytree(old, tmp_path / "models" / "games")


def version(directory: Path) -> str:
    return load_predictor(directory, "numpy").version


def is_killed(process: subprocess.Popen) -> bool:
    """Whether a writer was killed; it may fail in no other way."""
    code = process.wait(timeout=60)
    assert code in (0, -signal.SIGKILL, 128 + signal.SIGKILL)
    return code != 0


def check_after_kill(games: Path, old: Path, new: Path) -> str:
    """What was killed has left one of the two, and the next export clears the rest. Returns which it was."""
    found = version(games)
    assert found in (version(old), version(new))
    assert writer(games, new).wait() == 0
    assert [(each.version, each.place) for each in versions(games)] == [
        (version(new), "current"),
        (version(old), "before"),
    ]
    assert {path.name for path in games.parent.iterdir()} == {"games", ".games.versions"}
    assert len(list((games.parent / ".games.versions").iterdir())) == 1
    shutil.rmtree(games.parent / ".games.versions")
    return found


# ---- killed ----


@pytest.mark.slow
@posix_only
def test_killed_at_any_change_to_the_disk_it_leaves_the_old_one_or_the_new_one(old, new, games):
    found, kill_at = [], 1
    while is_killed(writer(games, new, kill_at=kill_at)):
        assert (games / "card.json").exists() and (games / "model.npz").exists()
        found.append(check_after_kill(games, old, new))
        shutil.rmtree(games)
        shutil.copytree(old, games)
        kill_at += 1
    assert {*found} == {version(old), version(new)}
    assert found == sorted(found, key=[version(old), version(new)].index)  # once there, the new one stays


@pytest.mark.slow
@posix_only
def test_killed_at_the_first_export_it_leaves_the_new_one_or_none(new, tmp_path):
    games, kill_at = tmp_path / "models" / "games", 1
    while is_killed(writer(games, new, kill_at=kill_at)):
        assert not games.exists() or version(games) == version(new)
        assert writer(games, new).wait() == 0
        assert list(games.parent.iterdir()) == [games]
        shutil.rmtree(games.parent, ignore_errors=True)
        kill_at += 1
    assert kill_at > 4 and version(games) == version(new)


@pytest.mark.slow
@needs_strace
@pytest.mark.parametrize(
    ("strace", "call", "calls"),
    [((), "renameat2", 1), ((), "rename,renameat", 1), ((WITHOUT_EXCHANGE,), "rename,renameat", 3)],
    ids=["the exchange", "besides the exchange", "without exchange"],
)
def test_killed_at_each_system_call_that_renames(old, new, games, strace, call, calls):
    killed = 0
    while is_killed(writer(games, new, strace=(*strace, f"inject={call}:signal=KILL:when={killed + 1}"))):
        check_after_kill(games, old, new)
        shutil.rmtree(games)
        shutil.copytree(old, games)
        killed += 1
    assert killed == calls
    assert version(games) == version(new)


@needs_strace
def test_between_two_renames_the_old_one_is_read_and_served_under_its_name(old, new, games):
    assert is_killed(writer(games, new, strace=(WITHOUT_EXCHANGE, "inject=rename,renameat:signal=KILL:when=3")))
    assert not games.exists()  # killed where neither stands there
    assert is_export(games) and version(games) == version(old)


# ---- at once ----


@pytest.mark.slow
@pytest.mark.parametrize("exchange", [True, pytest.param(False, marks=needs_strace)], ids=["exchange", "two renames"])
def test_two_processes_export_at_once_while_a_third_reads(old, new, games, exchange):
    strace = () if exchange else (WITHOUT_EXCHANGE,)
    legal, seen = {version(old), version(new)}, set()
    writers = [writer(games, *sources, times=40, strace=strace) for sources in ((old, new), (new, old))]
    while any(process.poll() is None for process in writers):
        seen.add(version(games))
    assert [process.wait() for process in writers] == [0, 0]
    assert seen == legal
    assert {each.version for each in versions(games)} == legal
    assert {path.name for path in games.parent.iterdir()} == {"games", ".games.versions"}


def test_who_waits_for_another_says_so(games, tmp_path):
    program = (
        "import sys\nfrom pathlib import Path\nfrom helpers.export.folder import replacing\n"
        "with replacing(Path(sys.argv[1])) as scratch:\n    (scratch / 'model.npz').write_text('second')"
    )
    with replacing(games) as scratch:
        (scratch / "model.npz").write_text("first")
        command = [sys.executable, "-c", program, str(games)]
        second = subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.PIPE, text=True)
        assert second.stderr.readline() == "Another process is exporting to games/: waiting for it.\n"
        assert second.poll() is None
        (scratch / "card.json").write_text(
            json.dumps({"files": {"model.npz": {}}, "signature": {"features": [{"name": "a"}]}})
        )
    second.communicate(timeout=30)
    assert (games / "model.npz").read_text() == "second"


# ---- what is nobody's to replace ----


@pytest.mark.parametrize(
    "files",
    [
        {"model.keras": "the user's own"},
        {"model.keras": "the user's own", "card.json": "{"},
        {"model.keras": "the user's own", "card.json": '{"title": "of another program"}'},
        {".git": "years of work"},
        {"thesis.txt": "years of work"},
    ],
    ids=" ".join,
)
def test_a_folder_without_a_card_of_ours_is_not_replaced(files, tmp_path):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ArtifactError, match="holds other files"):
        check_replaceable(tmp_path)
    with pytest.raises(ArtifactError, match="holds other files"), replacing(tmp_path):
        pass
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == files


def test_a_card_that_is_nested_too_deeply_is_none_of_ours(tmp_path):
    (tmp_path / "card.json").write_text("[" * 10**5)
    assert not is_export(tmp_path)


def test_a_file_beside_an_export_is_not_lost(games):
    (games / "notes.md").write_text("mine")
    with pytest.raises(ArtifactError, match=r"holds other files \(notes.md\)"):
        check_replaceable(games)


def test_what_was_put_there_in_the_meantime_is_not_lost(games):
    with pytest.raises(ArtifactError, match=r"holds other files \(notes.md\)"), replacing(games):
        (games / "notes.md").write_text("mine")
    assert (games / "notes.md").read_text() == "mine" and is_export(games)


def test_what_systems_leave_in_folders_is_no_obstacle(games, new):
    (games / ".DS_Store").write_text("")
    with replacing(games) as scratch:
        shutil.copytree(new, scratch, dirs_exist_ok=True)
    assert version(games) == version(new)


@posix_only
def test_a_link_to_an_export_stays_a_link(games, new, tmp_path):
    link = tmp_path / "elsewhere"
    link.symlink_to(games)
    with replacing(link) as scratch:
        shutil.copytree(new, scratch, dirs_exist_ok=True)
    assert link.is_symlink() and version(link) == version(games) == version(new)


def test_folders_of_other_models_are_not_cleared(games, new):
    beside = games.with_name(".games.new-1234abcd.new-00000000")  # of a model named games.new-1234abcd
    beside.mkdir()
    (games.parent / ".games.new-0123abcd").mkdir()  # what a killed export of games has left
    with replacing(games) as scratch:
        shutil.copytree(new, scratch, dirs_exist_ok=True)
    assert {path.name for path in games.parent.iterdir()} == {beside.name, "games", ".games.versions"}
