"""Environments beside this one: made once, ready to start, and a sentence where they cannot be made."""

import os
import subprocess
import sys

import pytest

from helpers import PROJECT
from helpers.batch import environments

SMALL = "itsdangerous"  # a package without any other

pytestmark = pytest.mark.slow


def test_an_environment_is_made_once_and_compiled_where_no_start_would_keep_it(tmp_path, monkeypatch):
    home = tmp_path / "env"
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    assert not environments.is_there(home)
    python = environments.make(home, [SMALL])
    assert environments.is_made(home, [SMALL]) and not environments.is_made(home, [SMALL, SMALL])
    assert environments.is_there(home) and python == environments.python_in(home)
    assert list(home.rglob(f"{SMALL}/__pycache__/*.pyc"))
    subprocess.run([python, "-c", f"import {SMALL}"], check=True)

    (home / "mark").touch()
    monkeypatch.setenv("UV_OFFLINE", "1")
    environments.make(home, [SMALL])
    assert (home / "mark").exists()


def test_what_cannot_be_installed_is_said_and_leaves_nothing_that_looks_made(tmp_path, monkeypatch):
    monkeypatch.setenv("UV_OFFLINE", "1")
    with pytest.raises(environments.NotInstalled, match="not-a-package"):
        environments.make(tmp_path / "env", [str(tmp_path / "not-a-package")])
    assert not environments.is_there(tmp_path / "env")


@pytest.mark.parametrize(
    "program",
    [
        "from helpers.batch import environments as e\ntry: e.run(says)\nexcept e.NotInstalled as it: print(ascii(it))",
        "import tutorial; print(ascii(tutorial.run(*says).stderr))",
    ],
    ids=["an environment", "the launcher"],
)
def test_what_an_installer_says_is_read_whatever_this_system_s_encoding_is(program):
    wrote = "import sys; sys.stderr.buffer.write(bytes([195, 151]) + b' no such package'); sys.exit(1)"  # as uv does
    ascii_only = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", f"import sys; says = [sys.executable, '-c', {wrote!r}]\n{program}"]
    done = subprocess.run(command, cwd=PROJECT, env=ascii_only, capture_output=True, text=True, check=False)
    assert "\\xd7 no such package" in done.stdout, done.stderr
