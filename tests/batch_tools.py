"""`score` as it is typed, and what its tests read of an output."""

import csv
import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from helpers import PROJECT

KEEPS_NOTHING = "PYTHONDONTWRITEBYTECODE"
ENV = {k: v for k, v in os.environ.items() if k != KEEPS_NOTHING} | {"PYTHONPATH": str(PROJECT)}
IMPORTED = ("local", "parts", "score_command", "scoring", "kinds")  # by each `score`, with pandas and PyArrow


def command(*words, model, engine: str = "", options=()) -> list[str]:
    named = [] if "--model" in words else ["--model", str(model)]
    with_engine = ["--engine", engine, "--", *map(str, options)] if engine else []
    return [sys.executable, "-m", "helpers", "score", *map(str, words), *named, *with_engine]


def forked(typed: list[str], cwd: Path, timeout: float) -> subprocess.CompletedProcess[str]:
    """What `subprocess.run` gives of a `command`, in a process that has the modules of `score` from the start.

    To import them takes a second, and the rest a tenth of one: it is a fork of a process that did nothing else.
    """
    if not hasattr(os, "fork"):
        run = {"capture_output": True, "text": True, "env": ENV}
        return subprocess.run(typed, cwd=cwd, timeout=timeout, check=False, **run)
    context = multiprocessing.get_context("forkserver")
    modules = ["onnxruntime", "helpers.__main__", *(f"helpers.batch.{name}" for name in IMPORTED)]
    context.set_forkserver_preload(modules)
    with tempfile.TemporaryDirectory() as folder:
        said = [Path(folder) / "stdout", Path(folder) / "stderr"]
        process = context.Process(target=_be, args=(typed[typed.index("score") :], cwd, said))
        process.start()
        process.join(timeout)
        if process.is_alive():
            process.kill()
            raise subprocess.TimeoutExpired(typed, timeout)
        return subprocess.CompletedProcess(typed, process.exitcode, *(path.read_text("utf-8") for path in said))


def _be(words: list[str], cwd: Path, said: list[Path]) -> None:
    for stream, path in zip((sys.stdout, sys.stderr), said, strict=True):
        with open(path, "w") as file:
            os.dup2(file.fileno(), stream.fileno())
    os.chdir(cwd)
    from helpers.__main__ import main

    sys.exit(main(words))


def rejected(path) -> list[dict]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
