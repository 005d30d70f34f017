"""Environments beside this one: made once, ready to start, and a sentence where they cannot be made."""

import subprocess

import pytest

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
