"""The one function that scores many rows: an Arrow record batch in, the same rows with their answers out.

`Scorer(predictor)(batch)` adds three columns: `probability`, float32, null where the row was refused; `model_version`;
and `error`, why the row was refused, null where it was not. Every other column passes through, in its order. A row is
answered and refused as the service answers and refuses it, to the last bit and word, whichever engine brings it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pyarrow as pa

from helpers.batch.encoding import Encoder
from helpers.data.outputs import ONE_PROBABILITY
from helpers.data.parameters import InvalidRequest
from helpers.data.reading import DataError

PROBABILITY, VERSION, ERROR = "probability", "model_version", "error"
ADDED = (pa.field(PROBABILITY, pa.float32()), pa.field(VERSION, pa.string()), pa.field(ERROR, pa.string()))
ROWS_PER_CALL = (4096, 512, 1)  # tried in this order; a matrix of 4,096 rows stays in a core's cache
TRIED_ROWS = 1024  # random rows on which a block's answers are held against those of single rows


class Scorer:
    """Scores record batches with a predictor (see `predictors.Predictor`); safe to call from several threads.

    absent, decimal: how the texts of a CSV file are read (see `Encoder`). rows_per_call: the rows of one call of the
    model, as many as give the very bits that a single row gets, which is how the service calls it.
    """

    def __init__(self, predictor: Callable[[np.ndarray], np.ndarray], absent: Iterable[str] = (), decimal: str = "."):
        if predictor.signature.outputs != ONE_PROBABILITY:
            raise DataError(
                "files are scored by models that answer a row of a table with one probability: ask its service"
            )
        self.predictor, self.version = predictor, predictor.version
        self.encoder = Encoder(predictor.signature, absent, decimal)
        self.rows_per_call = rows_per_call(predictor)

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with its answers. Raises `DataError` where its columns are another table's."""
        self.check(batch.schema.names)
        matrix, bad = self.encoder.encode(batch)
        answers = self._answers(matrix)
        errors = pa.nulls(len(bad), pa.string())
        wrong = bad | ~np.isfinite(answers)
        if wrong.any():
            texts = np.full(len(wrong), None, object)
            texts[wrong] = [self._reason(batch, int(i), answers[i]) for i in np.flatnonzero(wrong)]
            errors = pa.array(texts, pa.string())
        added = [pa.array(answers, mask=wrong), pa.repeat(self.version, len(bad)), errors]
        return pa.RecordBatch.from_arrays([*batch.columns, *added], schema=self.with_answers(batch.schema))

    def with_answers(self, schema: pa.Schema) -> pa.Schema:
        """The columns of a table that was scored."""
        return pa.schema([*schema, *ADDED])

    def check(self, names: list[str]) -> None:
        """Raise `DataError` where a table with these columns cannot be scored."""
        self.encoder.columns(names)
        taken = [field.name for field in ADDED if field.name in names]
        if taken:
            raise DataError(f"the table has a column {taken[0]!r} already, which scoring adds: rename it")

    def _answers(self, matrix: np.ndarray) -> np.ndarray:
        answers = np.empty(len(matrix), np.float32)
        for start in range(0, len(matrix), self.rows_per_call):
            answers[start : start + self.rows_per_call] = self.predictor(matrix[start : start + self.rows_per_call])
        return answers

    def _reason(self, batch: pa.RecordBatch, i: int, answer: float) -> str:
        """What is wrong with row `i`, in the service's words: every bad field of it."""
        try:
            self.encoder.reader.read(self.encoder.row(batch, i))
        except InvalidRequest as error:
            return "; ".join(f"{field}: {what}" for field, what in error.fields.items())
        return f"the model answered {answer}"


def rows_per_call(predictor: Callable[[np.ndarray], np.ndarray]) -> int:
    """The largest block of rows whose answers equal, bit by bit, the answers to the same rows one at a time.

    Which sum is formed in which order is the business of a runtime and its processor: it is tried, on random rows.
    """
    rows = predictor.signature.sample(TRIED_ROWS)
    single = np.concatenate([predictor(rows[i : i + 1]) for i in range(len(rows))])
    for size in ROWS_PER_CALL[:-1]:
        filled = np.resize(rows, (size, rows.shape[1]))
        ends = [filled[:n] for n in (2, 3, 5, 17, size - 1, size)]  # the last block of a batch may be of any size
        if all(np.array_equal(predictor(block), np.resize(single, len(block))) for block in ends):
            return size
    return ROWS_PER_CALL[-1]
