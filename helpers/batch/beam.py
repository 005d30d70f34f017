"""Apache Beam: the same function as a `ModelHandler` for `RunInference`, one record batch an element.

`RunInference(BatchHandler("models/games"))` takes a PCollection of `pyarrow.RecordBatch` and returns them with their
answers. The model travels with the handler, so that a worker needs this package and its imports, but no file. Which
runner does the work is an option of the pipeline: `--runner=DataflowRunner`, `FlinkRunner`, `SparkRunner`.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
from apache_beam.ml.inference.base import KeyedModelHandler, ModelHandler, RunInference

from helpers.batch import pieces
from helpers.batch.pieces import Chunk
from helpers.batch.scoring import Scorer
from helpers.export.predictors import load_predictor

MOST_BYTES = 100 * 1024**2  # of a model that travels with the pipeline


class BatchHandler(ModelHandler[pa.RecordBatch, pa.RecordBatch, Callable]):
    """Scores record batches with the exported model in a folder, which is read here, where the pipeline is made.

    imports: as `load_predictor` takes them; each worker has to see that module.
    """

    def __init__(self, model: str | Path, imports: tuple[str, str] | None = None):
        super().__init__()
        self._imports = imports
        with load_predictor(model, imports=imports) as predictor:  # what is wrong with it is told here, not by a worker
            files = ["card.json", predictor.file]
        self._files = {name: (Path(model) / name).read_bytes() for name in files}
        if sum(map(len, self._files.values())) > MOST_BYTES:
            raise ValueError(
                f"the model in {model} is too large to travel with a pipeline: put it into its workers' image"
            )

    def load_model(self) -> Callable[..., Scorer]:
        with tempfile.TemporaryDirectory() as folder:
            for name, content in self._files.items():
                (Path(folder) / name).write_bytes(content)
            return functools.cache(functools.partial(Scorer, load_predictor(folder, imports=self._imports)))

    def run_inference(
        self, batch: Sequence[pa.RecordBatch], model: Callable[..., Scorer], inference_args=None
    ) -> Iterator[pa.RecordBatch]:
        for each in batch:
            yield pieces.score(model, each)

    def batch_elements_kwargs(self) -> dict:
        return {"min_batch_size": 1, "max_batch_size": 1}  # an element is a batch already

    def get_num_bytes(self, batch: Sequence[pa.RecordBatch]) -> int:
        return sum(each.nbytes for each in batch)  # the default pickles every element to measure it


def score_pieces(pipeline: beam.Pipeline, job: Path, numbers: Iterable[int]) -> beam.PCollection:
    """The pipeline of `tutorial.py score --engine beam`: pieces of files are read, scored and written as parts."""
    told = pieces.Job.read(job)
    return (
        pipeline
        | "pieces" >> beam.Create(list(numbers))
        | "spread" >> beam.Reshuffle()
        | "read" >> beam.FlatMap(_read, job)
        | "score" >> RunInference(KeyedModelHandler(BatchHandler(told.model, told.imports)))
        | "write" >> beam.Map(_write, job)
    )


def _read(number: int, job: Path) -> Iterator[tuple[Chunk, pa.RecordBatch]]:
    worker = pieces.worker(job)
    with worker.noting(number) as goes_on:
        if goes_on:
            for chunk in worker.chunks(number):
                yield chunk, worker.batch(chunk)


def _write(element: tuple[Chunk, pa.RecordBatch], job: Path) -> int:
    chunk, scored = element
    worker = pieces.worker(job)
    with worker.noting(chunk.piece) as goes_on:
        return worker.write(chunk, scored) if goes_on else 0
    return 0
