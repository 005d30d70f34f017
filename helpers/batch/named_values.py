"""Columns of an Arrow record batch as the inputs of a model that takes single numbers and texts, each by its name.

What `encoding` is for rows of features: a column is read at once where it holds plain numbers, else each distinct value
once, by the very reader of requests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from helpers.batch.encoding import PLAIN, as_requested, is_numeric, is_text, matched
from helpers.data import images
from helpers.data.input_kinds import MOST_COMPARED, BadValue, is_one_value
from helpers.data.inputs import Batch, InputSignature


class InputEncoder:
    """Encodes record batches for one signature of such inputs. absent, commas: see `encoding.Encoder`."""

    def __init__(self, signature: InputSignature, absent: Iterable[str] = (), commas: Iterable[str] = ()):
        self.signature, self.reader = signature, signature.reader()
        self.absent, self.commas = frozenset(absent), frozenset(commas)

    @staticmethod
    def takes(signature) -> bool:
        """Whether a model of this signature takes what a row of a table holds."""
        return isinstance(signature, InputSignature) and all(map(is_one_value, signature.inputs))

    def columns(self, names: Iterable[str]) -> dict[str, str]:
        """Which column holds each input, as {input: column}; see `Encoder.columns`."""
        return matched(self.reader.field, names, self.signature.names)

    def encode(self, batch: pa.RecordBatch) -> tuple[Batch, np.ndarray, dict[int, str]]:
        """The inputs of a batch of k rows, a (k,) mask of rows that are bad, and notes. See `Encoder.encode`.

        In the place of a bad value stands one that is legal.
        """
        found, bad, notes = self.columns(batch.schema.names), np.zeros(batch.num_rows, bool), {}
        arrays = {
            which: known[0] for which, known in zip(self.signature.inputs, self.signature.sample(1).arrays, strict=True)
        }
        for name, column in found.items():
            which = self.reader.field(name)
            arrays[which] = self._read(which, column, batch.column(column), arrays[which], bad)
            for row, note in _notes(which, arrays[which]):
                said = f"{column}: {note}"
                notes[row] = f"{notes[row]}; {said}" if row in notes else said
        return Batch(arrays.values()), bad, notes

    def row(self, batch: pa.RecordBatch, i: int) -> dict:
        """The inputs of row `i` as a request would hold them."""
        return {
            column: self._plain(self.reader.field(name), column, batch.column(column)[i].as_py())
            for name, column in self.columns(batch.schema.names).items()
        }

    def _read(self, which, column: str, values: pa.Array, legal, bad: np.ndarray) -> np.ndarray:
        """The values of a column as an input takes them, rows first; marks the rows that are bad."""
        if which.kind != "text" and (numbers := self._numbers(which, column, values)) is not None:
            return numbers.reshape(-1, *which.shape)
        try:
            values = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
            distinct = [*values.dictionary.to_pylist(), None]
            codes = values.indices.fill_null(len(distinct) - 1).to_numpy(zero_copy_only=False)
        except pa.ArrowNotImplementedError:  # lists, of which a request may hold one of one value
            distinct, codes = [*values.to_pylist(), None], np.arange(len(values))
        meanings, wrong = [], []
        for value in distinct:
            try:
                meanings.append(which.read(self._plain(which, column, value), images.Allowance()))
                wrong.append(False)
            except BadValue:
                meanings.append(legal)
                wrong.append(True)
        bad |= np.array(wrong)[codes]
        return np.stack(meanings)[codes]

    def _numbers(self, which, column: str, values: pa.Array) -> np.ndarray | None:
        """A column of plain numbers, all of which are legal; None for any other."""
        if is_text(values.type) and column not in self.commas:
            texts = pc.ascii_trim_whitespace(values)
            if len(texts) and pc.all(pc.match_substring_regex(texts, PLAIN), skip_nulls=False).as_py():
                values = texts.cast(pa.float64())
        if not is_numeric(values.type) or pa.types.is_decimal(values.type) or values.null_count or not len(values):
            return None
        try:
            return replace(which, shape=(None,)).read(values.to_pylist(), images.Allowance())
        except BadValue:
            return None

    def _plain(self, which, column: str, value):
        """A cell as a request would hold it; a text as it is, with its blanks."""
        if which.kind == "text":
            return value if isinstance(value, str) else as_requested(value)
        mark = "," if column in self.commas else "."
        return as_requested(value, self.absent, mark=mark if self.absent else "")


def _notes(which, values: np.ndarray) -> Iterator[tuple[int, str]]:
    """Rows with values that the model does not know, and what there is to say of each."""
    if which.known is None:
        return
    said: dict = {}
    for row, value in enumerate(values.reshape(len(values), -1)[:, 0].tolist()):
        if value not in said:
            what = which.note(values[row])
            said[value] = what and what(lambda _: len(said) < MOST_COMPARED)
        if said[value]:
            yield row, said[value]
