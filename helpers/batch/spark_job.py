"""The process of `score --engine spark`: `python -m helpers.batch.spark_job JOB [options of spark-submit]`."""

import functools
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pyspark.sql import SparkSession

from helpers import PROJECT
from helpers.batch import pieces
from helpers.batch.spark import score_pieces

CONFIGURATION = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.executorEnv.PYTHONPATH": str(PROJECT),
    "spark.executorEnv.ORT_DISABLE_TELEMETRY": "1",
    # where a cluster is elsewhere, its own options follow these and win
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
}


def main(job: Path, options: list[str]) -> None:
    pieces.end_with_the_command()
    with opened(options) as do:
        do(job, pieces.unfinished(job))


@contextmanager
def opened(options: list[str]) -> Iterator[Callable[[Path, list[int]], int]]:
    """A session of Spark, as a function of a job and the numbers of its pieces that are to be done."""
    usual = [word for name, value in CONFIGURATION.items() for word in ("--conf", f"{name}={value}")]
    words = ["--master", "local[*]", "--name", "tutorial.py score", *usual, *options, "pyspark-shell"]
    os.environ["PYSPARK_SUBMIT_ARGS"] = shlex.join(words)  # whatever spark-submit takes
    # This Java hands out pieces and little else: it ends before code that is compiled for speed would pay.
    os.environ.setdefault("JDK_JAVA_OPTIONS", "-XX:TieredStopAtLevel=1")
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    spark = SparkSession.builder.getOrCreate()
    try:
        yield functools.partial(score_pieces, spark)
    finally:
        spark.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
