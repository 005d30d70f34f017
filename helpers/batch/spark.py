"""Apache Spark: the same function by `mapInArrow`, in which rows come and go as record batches, never one by one.

`scored(frame, "models/games")` is a Spark table with its answers, wherever its rows come from.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructType

from helpers.batch import pieces
from helpers.batch.scoring import Scorer
from helpers.export.predictors import load_predictor

BATCH_ROWS = 65_536  # of a record batch that Spark hands over, instead of its 10,000


def scored(frame: DataFrame, model: str | Path) -> DataFrame:
    """The table with the columns that `Scorer` adds. `model`: an exported model's folder, which every worker sees.

    Raises `DataError` where its columns are another table's.
    """
    scorer = _scorer(str(model))
    scorer.check(frame.columns)
    added = from_arrow_schema(scorer.with_answers(pa.schema([])))
    frame.sparkSession.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", BATCH_ROWS)
    return frame.mapInArrow(_scoring(str(model)), StructType([*frame.schema.fields, *added.fields]))


def _scoring(model: str) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def score(batches):
        return map(_scorer(model), batches)

    return score


@functools.cache
def _scorer(model: str) -> Scorer:
    """The scorer of this process, which Spark keeps for all pieces that it gets."""
    return Scorer(load_predictor(model))


def score_pieces(spark: SparkSession, job: Path, numbers: list[int]) -> int:
    """What `tutorial.py score --engine spark` does, a task for each piece of files; returns how many rows it saw."""

    def score(batches):
        for batch in batches:
            rows = [pieces.worker(job).do(numbers[i]) for i in batch.column("id").to_pylist()]
            yield pa.RecordBatch.from_pydict({"rows": rows})

    tasks = spark.range(0, len(numbers), numPartitions=len(numbers))
    return sum(row.rows for row in tasks.mapInArrow(score, "rows long").collect())
