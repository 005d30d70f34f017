"""The rows of a CSV text become the rows of a matrix, column by column, by the rules of requests.

Without pandas or pyarrow, which a service does not load. A text comes in, `Rows` goes out. Plain numbers are read as an
array; of everything else each distinct value of a column is read once, by the reader of requests, and spread over the
rows that hold it: a value means here what it means in a request.
"""

from __future__ import annotations

import csv
import io
import re

import numpy as np

from helpers.data.fields import LONGEST_NUMBER
from helpers.data.inputs import InputReader
from helpers.data.parameters import Reader, Rows
from helpers.data.refusals import InvalidRequest, Named

# A column of numbers in plain decimals, each followed by a line's end; any other goes through the reader of requests.
_PLAIN = re.compile(rf"(?:-?[0-9]{{1,{LONGEST_NUMBER // 4}}}(?:\.[0-9]{{1,{LONGEST_NUMBER // 4}}})?\n)*", re.ASCII)


def read_csv(reader: Reader | InputReader, text: str) -> Rows:
    """The rows of a CSV text: with a line of names first, in any order, or without, in the order of the features.

    A cell without a text is a missing value. A reader of inputs, each of which is one value, gets them by name.
    Raises `InvalidRequest` naming every bad field, by rows counted from 0.
    """
    try:
        lines = [line for line in csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline="")) if line]
    except csv.Error as error:
        raise InvalidRequest(f"the body is not valid CSV: {error}") from None
    fields = header(reader, lines[0]) if lines else None
    if fields is None:
        fields = reader.fields
    else:
        del lines[0]
    if not lines:
        raise InvalidRequest("there are no rows: send at least one line of values")
    try:
        columns = list(zip(*lines, strict=True))
    except ValueError:
        columns = []
    if len(columns) != len(fields):
        i, line = next((i, line) for i, line in enumerate(lines) if len(line) != len(fields))
        names = ", ".join(field.name if field else "one that is not taken" for field in fields[:12])
        more = ", ..." if len(fields) > 12 else ""
        whole = ",".join(line)  # decimal commas cut a line of another mark, too, in fewer places
        other = next((mark for mark in ";\t|" if whole.count(mark) >= len(line)), "")
        separate = f"; separate them by commas, not by {other!r}" if other else ""
        raise InvalidRequest(
            f"row {i} has {len(line)} values, where {len(fields)} are wanted: {names}{more}{separate}",
            {f"[{i}]": f"must have {len(fields)} values"},
        )
    if not isinstance(reader, Reader):
        names = [field.name for field in fields]
        return reader.read([dict(zip(names, line, strict=True)) for line in lines])
    matrix, problems, notes = np.zeros((len(lines), reader.width), np.float32), Named(), Named()
    by_field = dict(zip(fields, columns, strict=True))
    for field in reader.fields:
        part = matrix[:, field.at : field.at + field.width]
        column = by_field.get(field)
        if column is None:  # only a header may lack one
            column = ("",) * len(lines)
        _read(reader, field, column, part, problems, notes)
    problems.refuse()
    return Rows(matrix, notes.named())


def header(reader: Reader | InputReader, cells: list[str]) -> list | None:
    """The features that the first line names, in its order, None for what passes; None where it holds values."""
    fields = [reader.field(cell.strip()) for cell in cells]
    if not all(field or reader.passes(cell) for field, cell in zip(fields, cells, strict=True)) or not any(fields):
        return None
    repeated = {field.name: "repeated" for field in fields if field and fields.count(field) > 1}
    if repeated:
        raise InvalidRequest(f"the first line names {', '.join(repeated)} twice", repeated)
    return fields


def _read(reader: Reader, field, column: tuple[str, ...], part: np.ndarray, problems: Named, notes: Named) -> None:
    """Fill a feature's part of the matrix; what is wrong or to be noted is named by row."""
    feature = field.feature
    lines = "\n".join(column) + "\n"
    if field.takes_numbers and lines.count("\n") == len(column) and _PLAIN.fullmatch(lines):  # a cell may hold an end
        numbers = np.array(list(map(float, column)))
        usual = (numbers >= feature.low) & (numbers <= feature.high)
        part[:, 0] = feature.scaled(numbers)
        others = np.flatnonzero(~usual).tolist()
    else:
        others = range(len(column))
    if not others:
        return
    places = {text: place for place, text in enumerate(dict.fromkeys(column[i] for i in others))}
    filled, said, row = np.zeros((len(places), field.width), np.float32), [], np.zeros(reader.width, np.float32)
    for text, place in places.items():
        row[:] = 0
        said.append(field.read(text, row))
        filled[place] = row[field.at : field.at + field.width]
    codes = [places[column[i]] for i in others]
    part[others if isinstance(others, list) else slice(None)] = filled[codes]
    if any(problem or note for problem, note in said):
        for i, code in zip(others, codes, strict=True):
            problem, note = said[code]
            if problem:
                problems.add(f"[{i}].{field.name}", problem)
            elif note:
                notes.add(f"[{i}].{field.name}", note)
