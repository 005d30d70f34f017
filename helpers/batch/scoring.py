"""The one function that scores many rows: an Arrow record batch in, the same rows with their answers out.

`Scorer(predictor)(batch)` adds the columns of `answer_fields`, null where the row was refused; `model_version`;
`notes`, which of its numbers lie outside of their usual range; and `error`, why the row was refused, null
where it was not. Every other column passes through, in its order. A row is answered, noted and refused as the service
does it, to the last bit and word, whichever engine brings it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from helpers.batch.encoding import Encoder
from helpers.batch.named_values import InputEncoder
from helpers.data.inputs import Batch, name_empty
from helpers.data.outputs import ARRAY, CLASSES, NUMBER, ONE_PROBABILITY, Output, as_arrays
from helpers.data.raw_tables import DataError
from helpers.data.refusals import InvalidRequest
from helpers.data.signature import Signature

TEXTS = VERSION, NOTES, ERROR = "model_version", "notes", "error"
ROWS_PER_CALL = (4096, 512, 1)  # tried in this order; a matrix of 4,096 rows stays in a core's cache
TRIED_ROWS = 1024  # random rows on which a block's answers are held against those of single rows


class Scorer:
    """Scores record batches with a predictor (see `predictors.Predictor`); safe to call from several threads.

    absent, commas: how the texts of a CSV file are read (see `Encoder`). passing: the columns that pass through, all
    where none is named. `added`: the columns that it adds.
    rows_per_call: the rows of one call of the model, as many as give the very bits that a single row gets, which is how
    the service calls it. Raises `DataError` for a model that takes something else than a row of a table.
    """

    def __init__(
        self,
        predictor: Callable,
        absent: Iterable[str] = (),
        commas: Iterable[str] = (),
        passing: Collection[str] = (),
    ):
        signature = predictor.signature
        if not isinstance(signature, Signature) and not InputEncoder.takes(signature):
            raise DataError(
                "files are scored by models that take a row of a table, or single numbers and texts: ask the service "
                "of this one"
            )
        self.predictor, self.version, self._passing = predictor, predictor.version, passing
        self.outputs = signature.outputs
        self.encoder = (Encoder if isinstance(signature, Signature) else InputEncoder)(signature, absent, commas)
        texts = [pa.field(name, pa.string()) for name in TEXTS]
        self._like = _numbers(predictor, signature.sample(1))
        self.added = (*answer_fields(self.outputs, [numbers.dtype for numbers in self._like]), *texts)
        self.rows_per_call = rows_per_call(predictor)

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with its answers. Raises `DataError` where its columns are another table's."""
        self.check(batch.schema.names)
        matrix, bad, notes = self.encoder.encode(batch)
        answers, wrong = self._answers(matrix)
        wrong |= bad
        where = np.flatnonzero(wrong)
        errors = _texts(len(wrong), where, [self._reason(batch, int(i), matrix) for i in where])
        noted = [row for row in sorted(notes) if not wrong[row]]
        added = [
            *(
                column
                for output, numbers in zip(self.outputs, answers, strict=True)
                for column in _columns(output, numbers)
            ),
            pa.repeat(self.version, len(wrong)),
            _texts(len(wrong), noted, [notes[row] for row in noted]),
            errors,
        ]
        if len(where):
            refused, count = pa.array(wrong), len(added) - len(TEXTS)
            added[:count] = [pc.if_else(refused, pa.scalar(None, each.type), each) for each in added[:count]]
        batch = batch.select(self._passed(batch.schema.names))
        return pa.RecordBatch.from_arrays([*batch.columns, *added], schema=self.with_answers(batch.schema))

    def with_answers(self, schema: pa.Schema) -> pa.Schema:
        """The columns of a table that was scored."""
        return pa.schema([*schema, *self.added])

    def check(self, names: list[str]) -> None:
        """Raise `DataError` where a table with these columns cannot be scored."""
        self.encoder.columns(names)
        passed = self._passed(names)
        taken = [field.name for field in self.added if field.name in passed]
        if taken:
            raise DataError(
                f"the table has a column {taken[0]!r} already, which scoring adds: name the columns that are to pass "
                "through, without this one (--keep)"
            )

    def _passed(self, names: list[str]) -> list[str]:
        return [name for name in names if name in self._passing] if self._passing else names

    def _answers(self, matrix: np.ndarray | Batch) -> tuple[list[np.ndarray], np.ndarray]:
        """The (k, n) numbers of each output, and a (k,) mask of rows of which one is none that may be answered."""
        answers = [np.empty((len(matrix), one.shape[1]), one.dtype) for one in self._like]
        wrong = np.zeros(len(matrix), bool)
        for start in range(0, len(matrix), self.rows_per_call):
            block = slice(start, start + self.rows_per_call)
            for output, whole, found in zip(
                self.outputs, answers, as_arrays(self.predictor(matrix[block])), strict=True
            ):
                whole[block] = _numbers_of(output, found)
                if self.outputs == ONE_PROBABILITY:
                    wrong[block] = ~np.isfinite(found)
                elif output.problem(found, len(found)):
                    wrong[block] |= [bool(output.problem(found[i : i + 1], 1)) for i in range(len(found))]
        return answers, wrong

    def _reason(self, batch: pa.RecordBatch, i: int, matrix: np.ndarray | Batch) -> str:
        """What is wrong with row `i`, in the service's words: every bad field of it, or the model's answer."""
        try:
            self.encoder.reader.read(self.encoder.row(batch, i))
        except InvalidRequest as error:
            return "; ".join(f"{field}: {what}" for field, what in error.fields.items())
        if empty := list(name_empty(self.predictor.signature, matrix[i : i + 1], None)):
            return "; ".join(f"{field}: {what}" for field, what in empty)
        answers = as_arrays(self.predictor(matrix[i : i + 1]))
        if self.outputs == ONE_PROBABILITY:
            return f"the model answered {answers[0][0]}"
        problems = (output.problem(found, 1) for output, found in zip(self.outputs, answers, strict=True))
        return next(problem for problem in problems if problem)


def answer_fields(outputs: Iterable[Output], dtypes: Iterable[np.dtype]) -> list[pa.Field]:
    """The columns of a model's answers, as the service names them. dtypes: of the numbers of each output.

    A probability is `probability`, a number `value`; classes are `prediction`, the best one, its `probability`, and
    `probability_NAME` for each; an array is `prediction`, a list. Of several outputs each name follows the output's.
    """
    outputs, fields = list(outputs), []
    for output, dtype in zip(outputs, dtypes, strict=True):
        number = pa.from_numpy_dtype(dtype)
        before = f"{output.name}_" if len(outputs) > 1 else ""
        if output.kind == CLASSES:
            names = ["probability", *(f"probability_{name}" for name in output.classes)]
            columns = [("prediction", pa.string()), *((name, number) for name in names)]
        elif output.kind == ARRAY:
            columns = [("prediction", pa.list_(number))]
        else:
            columns = [("value" if output.kind == NUMBER else "probability", number)]
        fields += [pa.field(before + name, kind) for name, kind in columns]
    return fields


def rows_per_call(predictor: Callable) -> int:
    """The largest block of rows whose answers equal, bit by bit, the answers to the same rows one at a time.

    Which sum is formed in which order is the business of a runtime and its processor: it is tried, on random rows.
    """
    rows = predictor.signature.sample(TRIED_ROWS)
    single = np.concatenate([np.hstack(_numbers(predictor, rows[i : i + 1])) for i in range(len(rows))])
    for size in ROWS_PER_CALL[:-1]:
        filled = rows[np.resize(np.arange(len(rows)), size)]
        expected = np.resize(single, (size, single.shape[1]))
        ends = (2, 3, 5, 17, size - 1, size)  # the last block of a batch may be of any size
        if all(np.array_equal(np.hstack(_numbers(predictor, filled[:n])), expected[:n]) for n in ends):
            return size
    return ROWS_PER_CALL[-1]


def _numbers(predictor: Callable, rows: np.ndarray) -> list[np.ndarray]:
    """The (k, n) numbers of each output."""
    found = as_arrays(predictor(rows))
    return [_numbers_of(output, each) for output, each in zip(predictor.signature.outputs, found, strict=True)]


def _numbers_of(output: Output, answers: np.ndarray) -> np.ndarray:
    """The (k, n) numbers that an answer is told in: of classes the probability of each."""
    return output.probabilities(answers) if output.kind == CLASSES else answers.reshape(len(answers), -1)


def _columns(output: Output, numbers: np.ndarray) -> list[pa.Array]:
    """The columns of an output's numbers, those of `answer_fields`."""
    if output.kind == CLASSES:
        best = numbers.argmax(axis=1) if len(numbers) else np.zeros(0, np.int64)
        names = pa.array(output.classes, pa.string()).take(pa.array(best))
        every = [pa.array(np.ascontiguousarray(column)) for column in numbers.T]
        return [names, pa.array(numbers[np.arange(len(best)), best]), *every]
    if output.kind == ARRAY:
        ends = np.arange(len(numbers) + 1, dtype=np.int32) * numbers.shape[1]
        return [pa.ListArray.from_arrays(pa.array(ends), pa.array(numbers.reshape(-1)))]
    return [pa.array(numbers[:, 0])]


def _texts(count: int, where: Iterable[int], texts: list[str]) -> pa.Array:
    """A column of `count` texts, of which those at `where` are there."""
    if not texts:
        return pa.nulls(count, pa.string())
    every = np.full(count, None, object)
    every[where] = texts
    return pa.array(every, pa.string())
