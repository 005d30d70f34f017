"""Scoring under another engine than this process: Apache Beam or Spark, in a process of its own.

A job is written down, the engine's process does its pieces wherever the engine is told to, and this one watches the
parts of the output appear, puts them together and says what went wrong. An engine is found in this environment, or
in one of its own in `build/engines/`, as what Beam pins is not what the notebooks need.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from helpers import PROJECT, wording
from helpers.batch import environments, pieces
from helpers.batch.parts import Parts
from helpers.batch.paths import CannotScore
from helpers.batch.pieces import Job
from helpers.batch.sources import Source, check_unchanged

PACKAGES = {"beam": "apache_beam", "spark": "pyspark"}
NAMES = {"beam": "Apache Beam", "spark": "Apache Spark"}
SIZES = {"beam": 600, "spark": 800}  # MB on the disk of an environment of its own
RUNTIMES = {"litert": ("ai-edge-litert",), "keras": ("tensorflow", "keras")}  # of each of `paths.MORE`
RUNTIME_SIZES = {"litert": 60, "keras": 2050}  # MB more
HOMES = PROJECT / "build" / "engines"
NO_JAVA = "JAVA_GATEWAY_EXITED"  # what PySpark says last where Java has said before why it ended
GLANCE = 0.2  # seconds from one look at what is finished to the next


def python_of(engine: str, backend: str = "") -> str:
    """The Python that has an engine and what runs the model; `CannotScore` says how to get one."""
    if importlib.util.find_spec(PACKAGES[engine]):
        return sys.executable
    home = home_of(engine, backend)
    if environments.is_made(home, _requirements(engine, backend)):
        return str(environments.python_in(home))
    wanting = "is not installed"
    if environments.is_there(home):
        wanting = "is installed with other packages than this version needs"
    elif backend in RUNTIMES and environments.is_there(HOMES / engine):
        wanting = f"is installed without {wording.listed(RUNTIMES[backend])}, which this model needs"
    more = f" --backend {backend}" if backend in RUNTIMES else ""
    raise CannotScore(
        f"{NAMES[engine]} {wanting}: `python3 tutorial.py setup --engine {engine}{more}` "
        f"installs it, into {home.relative_to(PROJECT)} ({SIZES[engine] + RUNTIME_SIZES.get(backend, 0):,} MB)"
    )


def home_of(engine: str, backend: str = "") -> Path:
    """The folder of an engine's own environment, in which more backends than ONNX Runtime and NumPy are another one."""
    return HOMES / (f"{engine}-{backend}" if backend in RUNTIMES else engine)


def install(engine: str, backend: str = "") -> str:
    """Make the environment of an engine, with what `score` imports and this environment's ONNX Runtime, so that the
    answers are the same; returns what was done. Raises `CannotScore` where the packages cannot be had."""
    try:
        environments.make(home_of(engine, backend), _requirements(engine, backend))
    except environments.NotInstalled as error:
        raise CannotScore(f"{NAMES[engine]} cannot be installed: {str(error)[:300]}") from None
    return f"{NAMES[engine]} is installed in {home_of(engine, backend)}."


def _requirements(engine: str, backend: str = "") -> list[str]:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    score = [name for name in project["dependency-groups"]["score"] if name != "onnxruntime"]
    runtimes = ("onnxruntime", *RUNTIMES.get(backend, ()))
    pinned = [f"{name}=={importlib.metadata.version(name)}" for name in runtimes]
    return [*project["project"]["optional-dependencies"][engine], *score, *pinned]


def score_files(
    engine: str,
    options: list[str],
    sources: list[Source],
    scorer_of: Callable,
    parts: Parts,
    keep: list[str],
    model: Path,
    backend: str,
    imports: tuple[str, str] | None,
    strict: bool = False,
    progress: Callable[[int, int], None] = lambda rows, rejected: None,
) -> None:
    """`local.score_files` under an engine; `options` are the engine's own. Raises also `CannotScore` where it fails.

    backend: what runs the model. imports: as `load_predictor` takes them.
    """
    python = python_of(engine, backend)
    if engine == "spark" and not (shutil.which("java") or os.environ.get("JAVA_HOME")):
        raise CannotScore("Spark needs Java 17 or newer: install it (`sudo apt install default-jre-headless`)")
    job = Job.of(sources, scorer_of, keep, model.resolve(), parts, strict, imports)
    parts.check(job.schema, job.columns)
    pieces.forget_what_went_wrong(parts.folder)
    job.write(parts.folder / "job.json")
    while missing := len(job.pieces) - len(done := pieces.finished(parts)):
        for name in [name for name, record in parts.records.items() if record["piece"] not in done]:
            record = parts.forget(name)  # of a piece that is done anew
            progress(-record["rows"], -record["rejected"])
        before = len(parts.records)
        _run(engine, python, options, parts, progress)
        pieces.raise_what_went_wrong(parts.folder)
        if len(parts.records) == before:  # else the engine has lost a worker, and itself with it: it is started again
            raise CannotScore(_why(engine, missing, len(job.pieces), parts.folder / "engine.log"))
    check_unchanged(sources)
    parts.publish(job.schema, job.columns)


def _run(engine: str, python: str, options: list[str], parts: Parts, progress: Callable[[int, int], None]) -> None:
    """Let the engine's process do the job, and tell of each part that appears."""
    path = os.pathsep.join([str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [python, "-m", f"helpers.batch.{engine}_job", str(parts.folder / "job.json"), *options]
    told = set(parts.records)
    with (parts.folder / "engine.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            env=os.environ | {"PYTHONPATH": path},
            stdin=subprocess.PIPE,  # whose end tells it that this process is gone (`pieces.end_with_the_command`)
            stdout=log,
            stderr=log,
            start_new_session=True,  # so that it can be ended with all that it has started
        )
        try:
            ended = False
            while not ended:
                ended = process.poll() is not None
                parts.look()
                for name in parts.records.keys() - told:
                    progress(parts.records[name]["rows"], parts.records[name]["rejected"])
                told |= parts.records.keys()
                if not ended:
                    time.sleep(GLANCE)
        finally:
            _end(process)


def _end(process: subprocess.Popen) -> None:
    """End the engine's process and those of its group."""
    if os.name == "posix":
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGTERM)
    elif process.poll() is None:
        process.terminate()
    process.wait()
    process.stdin.close()


def _why(engine: str, missing: int, count: int, log: Path) -> str:
    """What the engine's error says, in a sentence; the log stays where the next run that fails puts its own."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    errors = [line.strip() for line in lines if "Error" in line or "Exception" in line]
    said = errors or [line.strip() for line in lines if line.strip()] or ["it says nothing"]
    reason = said[0 if NO_JAVA in said[-1] else -1]
    kept = HOMES / f"{engine}.log"
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(log, kept)
    return (
        f"{NAMES[engine]} has left {missing} of {count} pieces undone ({reason[:200]}): see {kept}; "
        "once that is mended, the same command goes on from here"
    )
