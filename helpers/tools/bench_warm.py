"""The process in which `bench --batches` times an engine that has started: `python -m helpers.tools.bench_warm ENGINE
FEW MANY MODEL OUTPUT`, by the Python of the engine's environment.

One session scores the file FEW, once for every core so that each has its worker, then MANY into OUTPUT; the seconds
of the second, from the input's footer to the output's name, are printed.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from helpers.batch import pieces
from helpers.batch.kinds import open_source
from helpers.batch.parts import Parts
from helpers.batch.paths import PARQUET
from helpers.batch.pieces import Job
from helpers.batch.scoring import Scorer
from helpers.export.predictors import load_predictor


def main(engine: str, few: Path, many: Path, model: Path, output: Path) -> None:
    job_module = importlib.import_module(f"helpers.batch.{engine}_job")
    with job_module.opened([]) as do:
        score(do, [few] * (os.cpu_count() or 1), model, output.with_name(f"{output.stem}-few{PARQUET}"))
        started = time.perf_counter()
        score(do, [many], model, output)
        print(time.perf_counter() - started)


def score(do: Callable[[Path, list[int]], object], files: list[Path], model: Path, output: Path) -> None:
    """Score Parquet files into one; do(job, numbers) does the pieces of a job."""
    sources = [open_source(file) for file in files]
    scorer = Scorer(load_predictor(model))
    with Parts(output, PARQUET, {}).opened() as parts:
        job, path = Job.of(sources, lambda source: scorer, [], model, parts), parts.folder / "job.json"
        job.write(path)
        do(path, list(range(len(job.pieces))))
        parts.look()
        pieces.raise_what_went_wrong(parts.folder)
        if len(pieces.finished(parts)) < len(job.pieces):
            raise RuntimeError(f"the engine has left pieces of {output} undone")
        parts.publish(job.schema, job.columns)


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))
