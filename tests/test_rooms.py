"""The rooms of helpers/ keep to their order: each imports from those below it only, and none stands outside."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from helpers import PROJECT

[CONTRACT] = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
ROOMS = [name for name in CONTRACT["layers"] if (PROJECT / "helpers" / name).is_dir()]


def lint_imports(folder: Path) -> subprocess.CompletedProcess:
    """import-linter on the package `helpers` in `folder`, by the contract in the pyproject.toml there."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path) -> Path:
    """A copy of the package and its contract, to be changed."""
    shutil.copytree(PROJECT / "helpers", tmp_path / "helpers", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    return tmp_path


def test_each_room_imports_from_the_rooms_below_it_only():
    done = lint_imports(PROJECT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 kept, 0 broken" in done.stdout


def test_an_upward_import_is_found_in_every_room(copy):
    for above, room in zip(ROOMS, ROOMS[1:], strict=False):
        (copy / "helpers" / room / "upward.py").write_text(f"import helpers.{above}\n")
    done = lint_imports(copy)
    assert done.returncode == 1
    for above, room in zip(ROOMS, ROOMS[1:], strict=False):
        assert f"helpers.{room}.upward -> helpers.{above}" in done.stdout


def test_a_room_or_a_module_that_the_contract_does_not_name_is_found(copy):
    (copy / "helpers" / "attic").mkdir()
    (copy / "helpers" / "attic" / "__init__.py").touch()
    (copy / "helpers" / "cellar.py").touch()
    done = lint_imports(copy)
    assert done.returncode == 1
    assert "attic" in done.stdout and "cellar" in done.stdout


def test_the_tests_have_the_same_rooms():
    folders = {path.name for path in (PROJECT / "tests").iterdir() if any(path.glob("test_*.py"))}
    assert folders <= set(ROOMS)
