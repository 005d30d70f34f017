"""`tutorial.py` in a copy of the repository: it sets up what is needed, once, or says in one sentence what to do.

The copies have a lock of two small packages, so that each builds a real environment in seconds; that the whole lock
installs is shown by this test run itself, which `tutorial.py test` has started from it.
"""

import ast
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers import PROJECT
from helpers.tools import command_line

POSIX = os.name == "posix"


@pytest.fixture
def copy(tmp_path):
    """The launcher's part of the repository in a path with spaces, with a lock that installs in seconds."""
    root = tmp_path / "a path with spaces"
    shutil.copytree(PROJECT / "helpers", root / "helpers", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("tutorial.py", "pyproject.toml", "README.md"):
        shutil.copy(PROJECT / name, root)
    write_lock(root, "uv", "tqdm")
    return root


def write_lock(root: Path, *packages: str) -> None:
    pins = (PROJECT / "requirements.lock").read_text()
    lines = [re.search(rf"^{package}==\S+", pins, re.MULTILINE)[0] for package in packages]
    (root / "requirements.lock").write_text("\n".join(lines) + "\n")


def launch(root, *arguments, python=(sys.executable,), cwd=None, **environment):
    return subprocess.run(
        [*python, str(root / "tutorial.py"), *arguments],
        cwd=cwd or root.parent,
        env={**os.environ, **environment},
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )


def refusal(result) -> str:
    """The one sentence with which the launcher gave up."""
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("tutorial.py: ")
    return last


def test_alone_it_prints_help_and_sets_up_nothing(copy):
    result = launch(copy, PYTHONOPTIMIZE="2")  # which leaves docstrings out
    assert result.returncode == 0
    for command in command_line.COMMANDS:
        assert re.search(rf"^  {command} ", result.stdout, re.MULTILINE)
    assert not (copy / ".venv").exists()


def test_an_unknown_command_is_named(copy):
    assert "no command 'rnu'" in refusal(launch(copy, "rnu"))


@pytest.mark.slow
@pytest.mark.parametrize("command", command_line.COMMANDS)
def test_the_help_of_a_command_is_shown_with_nothing_set_up(copy, command):
    before = sorted(copy.rglob("*"))
    for option in ("--help", "-h"):
        result = launch(copy, command, option)
        assert (result.returncode, result.stderr) == (0, "")
        assert result.stdout.startswith(f"usage: python3 tutorial.py {command}")
    assert sorted(copy.rglob("*")) == before


def test_options_that_cannot_be_meant_are_refused_with_nothing_set_up(copy):
    before = sorted(copy.rglob("*"))
    for arguments in (["serve", "--port", "70000"], ["run", "--data", "nowhere.csv"], ["renew", "nowhere.ipynb"]):
        result = launch(copy, *arguments)
        assert result.returncode == 2 and result.stderr.startswith(f"{arguments[0]}: ")
    assert sorted(copy.rglob("*")) == before


def interrupt_set_up(copy: Path) -> None:
    """Kill the set-up when its environment begins to be there."""
    interrupted = subprocess.Popen(
        [sys.executable, str(copy / "tutorial.py"), "setup"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not (copy / ".venv" / "pyvenv.cfg").exists():
        time.sleep(0.01)
    os.killpg(interrupted.pid, signal.SIGKILL)
    interrupted.wait()


@pytest.mark.slow
def test_it_finishes_an_interrupted_set_up_and_sets_up_again_only_when_the_lock_changed(copy, tmp_path):
    stamp = copy / ".venv" / "installed.sha256"
    if POSIX:  # SIGKILL is a signal of its systems
        interrupt_set_up(copy)
    assert not stamp.exists()
    first = launch(copy, "setup", cwd=tmp_path, PYTHONDONTWRITEBYTECODE="1")
    assert first.returncode == 0, first.stderr
    assert list((copy / ".venv").rglob("tqdm/__pycache__/*.pyc"))  # no start would keep it
    assert list((copy / "helpers").glob("__pycache__/*.pyc"))
    assert str(copy / ".venv") in first.stdout
    installed = stamp.stat().st_mtime_ns

    unreachable = {"PIP_INDEX_URL": "http://127.0.0.1:9/", "UV_INDEX_URL": "http://127.0.0.1:9/"}
    second = launch(copy, "setup", **unreachable)
    assert (second.returncode, second.stderr, stamp.stat().st_mtime_ns) == (0, "", installed)

    write_lock(copy, "uv", "tqdm", "itsdangerous")
    third = launch(copy, "setup")
    assert third.returncode == 0, third.stderr
    assert list((copy / ".venv").rglob("itsdangerous/__init__.py"))


@pytest.mark.slow
def test_pip_installs_where_uv_will_not_and_where_it_shall(copy):
    write_lock(copy, "tqdm")
    elsewhere = {"PIP_USER": "1", "PIP_TARGET": str(copy / "elsewhere")}
    result = launch(copy, "setup", UV_PYTHON="none", UV_CONFIG_FILE=str(copy / "there-is-none.toml"), **elsewhere)
    assert "trying pip" in result.stderr
    assert result.returncode == 0, result.stderr
    assert list((copy / ".venv").rglob("tqdm/__init__.py"))


@pytest.mark.slow
def test_no_network_is_said_in_a_sentence_and_leaves_no_finished_environment(copy):
    nowhere = "http://127.0.0.1:9/simple"
    result = launch(
        copy,
        "run",
        PIP_INDEX_URL=nowhere,
        PIP_EXTRA_INDEX_URL="",
        PIP_FIND_LINKS="",
        PIP_CONFIG_FILE=os.devnull,
        PIP_RETRIES="0",
        PIP_NO_CACHE_DIR="1",
    )
    assert "check the network" in refusal(result)
    assert not (copy / ".venv" / "installed.sha256").exists()


def test_an_environment_that_cannot_be_written_to_is_said_in_a_sentence(copy):
    (copy / ".venv").write_text("in its place, as the superuser, too, may write to every folder")
    assert "make the folder writable" in refusal(launch(copy, "models"))


def test_a_python_without_venv_is_told_what_to_install(copy, tmp_path):
    (tmp_path / "stripped").mkdir()
    (tmp_path / "stripped" / "ensurepip.py").write_text("raise ImportError('as on Debian without python3-venv')\n")
    result = launch(copy, "run", PYTHONPATH=str(tmp_path / "stripped"))
    assert "sudo apt install python3-venv" in refusal(result)


def test_a_python_that_is_too_old_is_told_so(copy):
    old = (
        "import sys, runpy; sys.version_info = (3, 8, 10); sys.argv = sys.argv[1:]; "
        "runpy.run_path(sys.argv[0], None, '__main__')"
    )
    for arguments in (["run"], ["serve", "--help"], ["serve", "--port", "70000"]):
        said = refusal(launch(copy, *arguments, python=(sys.executable, "-c", old)))
        assert "Python 3.11 or newer is needed" in said
    nodes = [*ast.walk(ast.parse((copy / "tutorial.py").read_text(encoding="utf-8"), feature_version=(3, 6)))]
    assert not any(isinstance(node, ast.arg) and isinstance(node.annotation, ast.Subscript) for node in nodes)
    assert not any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in nodes)


def test_a_launcher_without_the_rest_of_the_project_says_so(copy):
    shutil.rmtree(copy / "helpers")
    assert "does not hold the rest of the project: clone all of it" in refusal(launch(copy, "run"))


@pytest.mark.skipif(not POSIX, reason="no path of Windows holds one")
def test_a_path_that_no_environment_can_lie_in_is_said_in_a_sentence(copy):
    parted = copy.rename(copy.with_name("a:b"))
    assert "move it to a path without a ':'" in refusal(launch(parted, "models"))


@pytest.mark.skipif(not POSIX or os.geteuid() != 0, reason="a file system of its own can be mounted by root only")
def test_a_full_disk_is_said_in_a_sentence(copy, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", disk], check=False, capture_output=True
    ).returncode:
        pytest.skip("this system does not let root mount a file system")
    try:
        shutil.copytree(copy, disk / "copy")
        assert "less than 5 GB free" in refusal(launch(disk / "copy", "run"))
    finally:
        subprocess.run(["umount", disk], check=True)
