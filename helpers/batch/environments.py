"""Python environments beside this one, for what does not fit into it: engines, and what `bench` holds us against.

A folder and names of packages come in; the folder's Python, with these packages, goes out.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# PySpark comes as sources, 460 MB of jars, of which a wheel is built here. Without this they are compressed, for the
# second until they are unpacked again: half of the time of the whole installation.
UNCOMPRESSED = ["--config-settings-package", "pyspark:--build-option=--compression=stored"]


class NotInstalled(Exception):
    """The message is the installer's last line: why an environment cannot be made."""


def python_in(home: Path) -> Path:
    return home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def is_made(home: Path, packages: list[str]) -> bool:
    """Whether an environment with just these packages, as `make` was told them, is there."""
    return _stamp(home).exists() and _stamp(home).read_text() == _wanted(packages)


def is_there(home: Path) -> bool:
    """Whether an environment of any packages is there, an earlier version's may be."""
    return _stamp(home).exists()


def make(home: Path, packages: list[str]) -> Path:
    """An environment in the folder `home` with `packages`, as pip names them, and nothing done where it is there;
    returns its Python. Raises `NotInstalled`."""
    if is_made(home, packages):
        return python_in(home)
    # Where Python may not keep what it compiles (many images say so), each start would compile all of it anew.
    compiled = ["--compile-bytecode"] if os.environ.get("PYTHONDONTWRITEBYTECODE") else []
    uv = [sys.executable, "-m", "uv"]
    run([*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(home)])
    run([*uv, "pip", "install", "--quiet", *compiled, *UNCOMPRESSED, "--python", str(python_in(home)), *packages])
    _stamp(home).write_text(_wanted(packages))
    return python_in(home)


def run(command: list[str]) -> None:
    """Run an installer; raises `NotInstalled` where it fails."""
    as_text = {"encoding": "utf-8", "errors": "replace"}  # as uv writes, whatever this system's encoding is
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **as_text)
    if done.returncode:
        raise NotInstalled((done.stdout.strip().splitlines() or ["no reason given"])[-1])


def _wanted(packages: list[str]) -> str:
    return "\n".join(packages)


def _stamp(home: Path) -> Path:
    return home / "installed"  # written last: what was interrupted before is made anew
