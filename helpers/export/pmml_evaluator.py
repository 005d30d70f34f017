"""PMML files evaluated in Java, by PMML4S, whose jars the package pypmml brings; Java itself must be there.

The proof that a `model.pmml` answers like Keras comes from here: an evaluator that shares no line with our writer. The
Java machine lives in the process that loads a file, and cannot be ended before it, so `evaluate` takes one of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from helpers import PROJECT

JAVA = "install one (on Debian and Ubuntu `sudo apt install default-jre-headless`, on a Mac `brew install openjdk`)"

# A machine that answers some thousand rows and ends: the second compiler would cost it more time than it saves.
SHORT_LIVED = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]


def lacking() -> str:
    """Why no PMML file can be evaluated here, and what to do about it; "" where one can."""
    try:
        import jpype
        import pypmml  # noqa: F401
    except ImportError as error:
        return f"it takes the package {error.name}: `pip install pypmml`, then export it again"
    try:
        jpype.getDefaultJVMPath()
    except ValueError:  # none is found, or none of this processor
        return f"it takes Java: {JAVA}, then export it again"
    return ""


def load(path: Path) -> Callable[[Sequence[dict]], np.ndarray]:
    """The function that a PMML file holds: rows of names and values in, (k,) or for classes (k, m) float64 out.

    None is a missing value; NaN is the answer to a row that has none. Starts Java in this process where it does not
    run yet. Raises pypmml's `PMMLError` for a file that is no PMML.
    """
    from pypmml import Model
    from pypmml.base import PMMLContext

    PMMLContext.getOrCreate(gateway="jpype", java_opts=SHORT_LIVED)  # the other gateway listens on a port, for anybody
    model = Model.fromString(path.read_text(encoding="utf-8"))

    def answer(rows: Sequence[dict]) -> np.ndarray:
        names = list(rows[0])
        table = {"columns": names, "data": [[row[name] for name in names] for row in rows]}
        found = json.loads(model.predict(json.dumps(table)))["data"]
        answers = np.array([row[1:] if len(row) > 1 else row for row in found], dtype=np.float64)  # without the class
        return answers[:, 0] if answers.shape[1] == 1 else answers

    return answer


def evaluate(path: Path, rows: Sequence[dict]) -> np.ndarray:
    """The answers of a PMML file to `rows`, as `load` gives them, from a process of its own; RuntimeError."""
    code = "import sys; from helpers.export.pmml_evaluator import _main; _main(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path.resolve())],
        input=json.dumps(list(rows)),
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["Java ended without a word"])[-1])
    return np.array(json.loads(done.stdout), dtype=np.float64)


def _main(path: str) -> None:
    json.dump(load(Path(path))(json.load(sys.stdin)).tolist(), sys.stdout)
