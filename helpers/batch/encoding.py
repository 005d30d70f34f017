"""Columns of an Arrow record batch become the matrix that a model takes, by the rules of requests, without a row loop.

A record batch comes in, the (k, m) float32 matrix goes out, and which of its rows are bad. Numbers are checked and
scaled as arrays. Of every other column each distinct value is read once, by the very reader of requests, and spread
over the rows that hold it: a value means here what it means to the service.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Collection, Iterable
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from helpers.data import numerals
from helpers.data.fields import LARGEST, LONGEST_NUMBER
from helpers.data.raw_tables import DataError
from helpers.data.signature import REAL, Signature

MOST_REMEMBERED = 100_000  # values of a column whose meaning is kept from one batch to the next

# What Arrow and Python read as the same number; whatever else may be one is left to the reader of requests.
PLAIN = rf"^-?[0-9]{{1,{LONGEST_NUMBER // 2}}}(\.[0-9]{{1,{LONGEST_NUMBER // 4}}})?$"
_DECIMAL_COMMA = re.compile(r"^[+-]?([1-9][0-9]{0,2}(\.[0-9]{3})+|[0-9]+)(,[0-9]+)?$")


class Encoder:
    """Encodes record batches for one signature.

    absent: texts that stand for no value, as "NA" does in a CSV file, whose numbers are read as those of the table that
    a model is trained on; none where texts are what a request holds. commas: columns whose numbers are written with a
    decimal comma. Safe to call from several threads at once.
    """

    def __init__(self, signature: Signature, absent: Iterable[str] = (), commas: Iterable[str] = ()):
        self.signature, self.reader = signature, signature.reader()
        self.absent = frozenset(absent)
        self.commas = frozenset(field.name for name in commas if (field := self.reader.field(name)))
        self._known: dict[str, dict] = {name: {} for name in signature.names}

    def columns(self, names: Iterable[str]) -> dict[str, str]:
        """Which column of a table holds each feature, as {feature: column}; matched as the service matches names.

        Raises `DataError` where a feature is not there that the model needs, or two columns could be it.
        """
        return matched(self.reader.field, names, [f.name for f in self.signature.features if not f.missing])

    def encode(self, batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray, dict[int, str]]:
        """The (k, m) float32 matrix of a batch of k rows, a (k,) mask of rows that are bad, and notes on some rows.

        A bad row's part of the matrix means nothing, nor does its note. A note names the numbers that lie outside of
        their range, in the service's words. Raises `DataError` where the columns are another table's.
        """
        found = self.columns(batch.schema.names)
        matrix = np.zeros((batch.num_rows, self.signature.width), np.float32)
        bad, notes = np.zeros(batch.num_rows, bool), {}
        for name in [*found, *(name for name in self.signature.names if name not in found)]:
            field = self.reader.field(name)
            part = matrix[:, field.at : field.at + field.width]
            if name not in found:
                part[:] = self._meaning(field, None)[0]
                continue
            for row, note in self._encode(field, batch.column(found[name]), part, bad):
                said = f"{found[name]}: {note}"
                notes[row] = f"{notes[row]}; {said}" if row in notes else said
        return matrix, bad, notes

    def row(self, batch: pa.RecordBatch, i: int) -> dict:
        """The features of row `i` as a request would hold them: whatever stands for no value is None."""
        found = self.columns(batch.schema.names)
        return {
            column: self._plain(self.reader.field(name), batch.column(column)[i].as_py())
            for name, column in found.items()
        }

    # ---- one column ----

    # Each fills a feature's columns of the matrix, marks its bad rows, and returns rows with a note on each.

    def _encode(self, field, values: pa.Array, part: np.ndarray, bad: np.ndarray) -> Iterable[tuple[int, str]]:
        is_number = is_numeric(values.type) and not (field.feature.kind == REAL and pa.types.is_boolean(values.type))
        if not field.feature.values and is_number:
            return self._encode_numbers(field, values, part, bad)
        if is_text(values.type) and field.feature.kind == REAL:
            return self._encode_texts_of_numbers(field, values, part, bad)
        return self._encode_distinct(field, values, part, bad)

    def _encode_numbers(self, field, values: pa.Array, part, bad, there=True) -> list[tuple[int, str]]:
        """there: a mask of the values that are meant, where the others only take their place."""
        feature = field.feature
        if values.null_count or not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
            values = values.cast(pa.float64(), safe=False)  # bits and decimals as numbers, NaN where one is missing
        numbers = values.to_numpy(zero_copy_only=False)
        if feature.kind == REAL:
            numbers = numbers.astype(np.float64, copy=False)
            usual = np.abs(numbers) <= LARGEST
            if feature.whole:
                usual = (numbers >= feature.low) & (numbers <= feature.high) & (numbers == np.floor(numbers))
            with np.errstate(over="ignore", invalid="ignore"):
                part[:, 0] = feature.scaled(numbers)
        else:
            usual = (numbers == 0) | (numbers == 1)
            part[:, 0] = numbers
        outside = self._outside(feature, numbers, part[:, 0]) & usual & there if feature.kind == REAL else None
        if not usual.all():
            absent = np.isnan(numbers)
            if feature.missing and absent.any():
                part[absent] = self._meaning(field, None)[0]
                usual |= absent
            bad |= ~usual
        if outside is None or not outside.any():
            return []
        rows = np.flatnonzero(outside)
        notes = [self._meaning(field, number)[2] for number in numbers[rows].tolist()]
        return [(row, note) for row, note in zip(rows.tolist(), notes, strict=True) if note]

    @staticmethod
    def _outside(feature, numbers: np.ndarray, scaled: np.ndarray) -> np.ndarray:
        """Which numbers may lie outside of their range, also as the model takes them, in float32."""
        low, high = (np.float32(feature.scaled(end)) for end in (feature.low, feature.high))
        usual = (numbers >= feature.low) & (numbers <= feature.high)
        return ~(usual | ((scaled >= low) & (scaled <= high)))

    def _encode_texts_of_numbers(self, field, texts: pa.Array, part, bad) -> list[tuple[int, str]]:
        """Plain decimals are parsed as a column; what is none goes the way of distinct values."""
        texts = pc.ascii_trim_whitespace(texts)
        if field.name in self.commas:
            written = pc.match_substring_regex(texts, _DECIMAL_COMMA.pattern)
            point = pc.replace_substring(pc.replace_substring(texts, ".", ""), ",", ".")
            texts = pc.if_else(pc.fill_null(written, False), point, texts)
        plain = pc.fill_null(pc.match_substring_regex(texts, PLAIN), False)
        numbers = pc.if_else(plain, texts, pa.scalar("0", texts.type)).cast(pa.float64())
        others = ~plain.to_numpy(zero_copy_only=False)
        notes = self._encode_numbers(field, numbers, part, bad, ~others)
        if others.any():
            where = np.flatnonzero(others)
            rest, wrong = np.zeros((len(where), field.width), np.float32), np.zeros(len(where), bool)
            found = self._encode_distinct(field, texts.filter(pa.array(others)), rest, wrong)
            notes += [(int(where[row]), note) for row, note in found]
            part[where] = rest
            bad[where] |= wrong
        return notes

    def _encode_distinct(self, field, values: pa.Array, part, bad) -> list[tuple[int, str]]:
        """Read each distinct value once, and spread what it means over the rows that hold it."""
        if not pa.types.is_dictionary(values.type):
            try:
                values = values.dictionary_encode()
            except pa.ArrowNotImplementedError:  # lists and structures: no value of a feature is one
                bad |= True
                return []
        distinct = [*values.dictionary.to_pylist(), None]
        meanings = [self._meaning(field, value) for value in distinct]
        codes = values.indices.fill_null(len(distinct) - 1).to_numpy(zero_copy_only=False)
        part[:] = np.array([filled for filled, _, _ in meanings])[codes]
        wrong = np.array([problem for _, problem, _ in meanings])
        if wrong.any():
            bad |= wrong[codes]
        noted = np.array([note is not None for _, _, note in meanings])
        rows = np.flatnonzero(noted[codes]).tolist() if noted.any() else []
        return [(row, meanings[codes[row]][2]) for row in rows]

    def _meaning(self, field, value) -> tuple[np.ndarray, bool, str | None]:
        """What a value fills a feature's (width,) columns with, whether the reader of requests refuses it, its note."""
        known = self._known[field.name]
        key = (type(value), value)
        if key not in known:
            row = np.zeros(self.signature.width, np.float32)
            problem, note = field.read(self._plain(field, value), row)
            if len(known) >= MOST_REMEMBERED:
                known.clear()
            known[key] = row[field.at : field.at + field.width], problem is not None, note
        return known[key]

    def _plain(self, field, value):
        """A cell as a request would hold it: None where it stands for no value."""
        mark = "," if field.name in self.commas else "."
        mark = mark if self.absent and field.feature.kind == REAL else ""
        return as_requested(value, self.absent, field.plain, mark)


def matched(field_of: Callable, names: Iterable[str], needed: Iterable[str]) -> dict[str, str]:
    """Which column of a table holds what a model takes, as {name: column}. field_of: of a reader of requests.

    Raises `DataError` where one of those is not there that are needed, or two columns could be it.
    """
    found: dict[str, str] = {}
    names = list(names)
    for name in names:
        field = field_of(name)
        if field is None:
            continue
        if field.name in found:
            raise DataError(f"the columns {found[field.name]!r} and {name!r} both are {field.name!r}: rename one")
        found[field.name] = name
    lacking = [name for name in needed if name not in found]
    if lacking:
        there = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
        raise DataError(
            f"the table lacks {listed(lacking)}, which the model takes: its columns are {there}; "
            "name them as the model's table does, or choose another --model"
        )
    return found


def as_requested(value, absent: Collection[str] = (), known: Collection[str] = (), mark: str = ""):
    """A cell as a request would hold it: None where it stands for no value, as the texts of `absent` do.

    known: texts that are values all the same. mark: the decimal mark of a number that training would read in a text; ""
    where a text is what it says.
    """
    if isinstance(value, Decimal):
        return float(value)  # as JSON has it
    if isinstance(value, float) and np.isnan(value):
        return None
    if isinstance(value, bytes):
        with contextlib.suppress(UnicodeDecodeError):  # what is no text stays bytes, which are no value
            value = value.decode()
    if isinstance(value, str):
        text = value.strip()
        if text in absent and text not in known:
            return None
        if mark and (found := numerals.plain(text, mark)):
            return found[0]
        return text
    return value


def is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def is_numeric(kind: pa.DataType) -> bool:
    kinds = pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal
    return any(is_kind(kind) for is_kind in kinds)


def listed(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:6]))
    return shown + (f" and {len(names) - 6} more columns" if len(names) > 6 else "")
