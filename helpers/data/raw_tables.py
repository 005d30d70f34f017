"""A table as it stands in a file: its cells, which of them are empty, how its numbers are written.

What reads a file makes a `Reading`, whatever the file is. What the columns mean is `columns`' business.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from helpers.data.numerals import MARKS, SIGNS, plain
from helpers.data.words import DASHES, MISSING

ROWS_TRIED = 1000  # rows of a column from which is told that it holds numbers
MOSTLY = 2 / 3  # share of numbers in a column that holds some words beside them, as "k.A."
_NUMBER = re.compile(r"[+-]?[\d.,]*\d[\d.,]*(?:[eE][+-]?\d+)?")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+(?:\.\d{3})*,(?:\d{1,2}|\d{4,})")  # "1.234,5", never "1,234"
# What stands for "no value": what pandas takes for it in a text, and what other programs write.
NO_VALUE = frozenset(
    "|#N/A|#N/A N/A|#NA|-1.#IND|-1.#QNAN|-NaN|-nan|1.#IND|1.#QNAN|<NA>|N/A|NA|NULL|NaN|None|n/a|nan|null".split("|")
) | {*MISSING}


class DataError(ValueError):
    """A table that cannot be read or used; the message says what, where and what to do."""


class NoSuchLabel(DataError):
    """A table without the column that is to be predicted."""


@dataclass
class Reading:
    """A table as it was read. `said`: what was done, in words.

    first_line: the line that holds the first row, 0 where the file has no lines, or rows of several.
    commas: the columns whose numbers are written with a decimal comma. encoding, delimiter: how a text is written.
    header: the line that names its columns, which files that were joined repeat; "" where those are several.
    ends_open: whether a delimiter ends each row, after the last column. escapes: whether a text's quotation marks have
    a backslash before them, where others double them.
    """

    frame: pd.DataFrame
    name: str
    commas: frozenset[str] = frozenset()
    first_line: int = 2
    encoding: str = "utf-8"
    delimiter: str = ","
    header: str = ""
    ends_open: bool = False
    escapes: bool = False
    said: list[str] = field(default_factory=list)


def read_by(read: Callable, content: bytes, name: str, kind: str):
    """What pandas reads with `read`; `DataError` for whatever the library raises for a file that is none of its own."""
    try:
        return read(io.BytesIO(content))
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(f"{name} is not {kind} file that can be read: {reason}") from None


# ---- cells ----


def is_number(text: str) -> bool:
    """Whether a text looks like a number in one of the usual ways; `numerals.plain` reads it."""
    return bool(_NUMBER.fullmatch(text.strip().strip('"')))


def is_none(cell) -> bool:
    """Whether a cell of a column of any values holds none."""
    return cell is None or cell is pd.NaT or cell is pd.NA or (isinstance(cell, float) and math.isnan(cell))


def without_point(cell) -> str:
    """A cell as a text, a whole number without a point: 2024.0, as a sheet has it, is 2024."""
    return str(int(cell)) if isinstance(cell, float | np.floating) and float(cell).is_integer() else str(cell)


def are_bytes(column: pd.Series) -> bool:
    """Whether a column holds bytes, which may be texts."""
    return isinstance(next(iter(column.dropna()), None), bytes)


def without_absent(frame: pd.DataFrame) -> pd.DataFrame:
    """A table whose texts that stand for no value are missing, as they are in CSV: it may have been one."""
    for at, (_, column) in enumerate(frame.items()):
        absent = _are_among(NO_VALUE - DASHES, column)
        if absent.any():
            frame.isetitem(at, column.astype(object).mask(absent))
    return without_dashes(frame)


def without_dashes(frame: pd.DataFrame) -> pd.DataFrame:
    """A table whose cells of a dash are missing, but where a column holds + and - only."""
    for at, (_, column) in enumerate(frame.items()):
        dashes = _are_among(DASHES, column)
        if dashes.any() and not _are_among(frozenset("+"), column[~dashes].dropna()).all():
            frame.isetitem(at, column.mask(dashes))
    return frame


def _are_among(texts: frozenset[str], column: pd.Series) -> pd.Series:
    """Which cells of a column, of any type, hold one of some texts, with blanks around it or without."""
    if pd.api.types.is_string_dtype(column.dtype) and column.dtype != object:
        return column.str.strip().isin(texts)
    if column.dtype == object or isinstance(column.dtype, pd.CategoricalDtype):
        return column.astype(object).map(lambda cell: isinstance(cell, str) and cell.strip() in texts).astype(bool)
    return pd.Series(False, index=column.index)


# ---- decimal marks ----


def commas_of(frame: pd.DataFrame) -> frozenset[str]:
    """`Reading.commas` of a table in Parquet, Feather or JSON, of which `frame` is the first rows."""
    return commas_in(Reading(without_absent(frame), ""))


def commas_in(reading: Reading) -> frozenset[str]:
    """The columns whose numbers are written with a decimal comma: all of a file that is, but those with a point."""
    texts = {name: _texts_tried(column) for name, column in reading.frame.items()}
    texts = {name: tried for name, tried in texts.items() if tried}
    if not any("," in text or text.count(".") > 1 for tried in texts.values() for text in tried):
        return frozenset()
    mark = _decimal_mark(texts.values(), reading.delimiter)
    other = {",": ".", ".": ","}[mark]
    apart = [name for name, tried in texts.items() if _are_only(tried, other, mark)]
    if mark == ",":
        reading.said.append("numbers are written with a decimal comma")
    if apart:
        as_well = " all the same" if mark == "," else ""
        reading.said.append(f"those of {', '.join(map(repr, apart))} with a decimal {MARKS[other]}{as_well}")
    return frozenset(texts if mark == "," else ()) ^ frozenset(apart)


def _texts_tried(column: pd.Series) -> list[str]:
    """Some texts of a column, those from which is told how numbers are written; none of a column of another type."""
    if not (column.dtype == object or pd.api.types.is_string_dtype(column.dtype)):
        return []
    first = column.dropna().head(ROWS_TRIED).tolist()  # a list at once: Arrow hands out one by one in 20 times as long
    return [text.strip() for text in first] if all(isinstance(each, str) for each in first) else []


def _are_only(texts: list[str], mark: str, other: str) -> bool:
    """Whether texts are numbers with a decimal mark, and not with the other: £27,000.00.

    1,3 alone may be two answers of a survey: for a comma, one has a sign, both marks, or several points.
    """
    if all(plain(text, other) for text in texts) or not all(plain(text, mark) for text in texts):
        return False
    return mark == "." or any(
        plain(text, mark)[1] or "." in text and len(re.findall("[.,]", text)) > 1 for text in texts
    )


def _decimal_mark(columns: Iterable[list[str]], delimiter: str) -> str:
    """ "," where more columns of the file are written with a decimal comma than with a point, else "."."""
    commas = points = 0
    for texts in columns:
        numbers = list(filter(_NUMBER.fullmatch, (text.strip(" \u00a0" + SIGNS) for text in texts)))
        if len(numbers) < MOSTLY * len(texts):
            continue
        comma = any(map(_DECIMAL_COMMA.fullmatch, numbers))
        comma = comma or (delimiter == ";" and any(re.fullmatch(r"[+-]?\d+,\d+", number) for number in numbers))
        commas += comma
        points += not comma and any(re.fullmatch(r"[+-]?\d*\.(?:\d{1,2}|\d{4,})", number) for number in numbers)
    return "," if commas and commas >= points + (delimiter == ",") else "."
