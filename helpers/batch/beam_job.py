"""The process of `score --engine beam`: `python -m helpers.batch.beam_job JOB [options of Beam]`."""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from helpers.batch import pieces
from helpers.batch.beam import score_pieces

# Beam's runner on one machine. "DirectRunner" would first ask the network for another one, Prism.
HERE = "--runner=apache_beam.runners.portability.fn_api_runner.fn_runner.FnApiRunner"


def main(job: Path, options: list[str]) -> None:
    pieces.end_with_the_command()
    threading.excepthook = _end_where_a_worker_was_lost
    with opened(options) as do:
        do(job, pieces.unfinished(job))


@contextmanager
def opened(options: list[str]) -> Iterator[Callable[[Path, list[int]], None]]:
    """Beam as a function of a job and the numbers of its pieces that are to be done, a pipeline for each call."""

    def do(job: Path, numbers: list[int]) -> None:
        with beam.Pipeline(options=PipelineOptions([HERE, *options], save_main_session=False)) as pipeline:
            score_pieces(pipeline, job, numbers)

    yield do


def _end_where_a_worker_was_lost(args: threading.ExceptHookArgs) -> None:
    """Beam's runner on one machine would wait for ever for the answer of a worker process that was killed."""
    threading.__excepthook__(args)
    if args.thread is not None and args.thread.name == "run_worker":
        os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
