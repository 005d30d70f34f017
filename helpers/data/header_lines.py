"""The lines of a file that name its columns: below a title, one or several, words or units.

The first lines of a table come in, as texts or as a `Reading` that took one line for the names; names go out.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Callable

import pandas as pd

from helpers.data.numerals import plain
from helpers.data.raw_tables import ROWS_TRIED, Reading, is_number, without_point

MOST_TITLES = 10  # lines above the header
MOST_HEADERS = 3  # lines below the first that name the columns once more: in words, by their units
ROW_NUMBERS = "row number"  # the name that a first column without a name of its own gets
NO_WIDTH = "\u200b"  # that web pages let lines break at


def title_lines(rows: list[list[str]], width: int) -> int:
    """How many of the first rows are a title above the header: at most half of their cells are filled."""
    for i, row in enumerate(rows[: MOST_TITLES + 1]):
        if 2 * sum(bool(cell.strip()) for cell in row) > width:
            return 0 if any(map(is_number, row)) else i  # in that case the header has few names
    return 0


def lines_skipped(lines: int) -> str:
    """What is said of lines above the header."""
    return f"skipped {lines} line{'s' if lines > 1 else ''} before the header"


def take_headers(reading: Reading, holds: Callable[[str], bool]) -> None:
    """Make the first rows a part of the header where they hold no values: what columns mean, their units, a level.

    The names are those of the line that holds most of what is asked for, else of the first one; where that one repeats
    itself, as a level above others does, each name is made of all lines, and so is one that it leaves out.
    """
    count = _further_headers(reading.frame)
    if not count:
        return
    rows = reading.frame.iloc[:count].to_numpy().tolist()
    lines = [list(map(str, reading.frame.columns)), *([_name(cell) for cell in row] for row in rows)]
    joined = [" ".join(dict.fromkeys(filter(None, names))) for names in zip(*_filled(lines), strict=True)]
    is_level = len(set(lines[0])) < len(set(joined)) or "" in lines[0]
    lines[0] = [name or whole for name, whole in zip(lines[0], joined, strict=True)]
    names = max([joined, *lines] if is_level else lines, key=lambda names: sum(map(holds, names)))
    first = reading.first_line - 1
    taken = "joined their words" if names is joined else f"took those of line {first + lines.index(names)}"
    reading.said.append(f"lines {first} to {first + count} name the columns: {taken}")
    reading.frame = reading.frame.iloc[count:].reset_index(drop=True).infer_objects()
    reading.frame.columns = names
    reading.first_line += count


def _further_headers(frame: pd.DataFrame) -> int:
    """How many of the first rows hold no value, but words above columns of numbers, each of which stands there only."""
    for count in range(1, min(MOST_HEADERS, len(frame) - 2) + 1):
        above, below = 0, frame.iloc[count : count + ROWS_TRIED]
        for at, (_, column) in enumerate(frame.iloc[:count].items()):
            first, rest = [_name(cell) for cell in column], below.iloc[:, at].dropna()
            is_named = [bool(text) and plain(text) is None for text in first]
            if rest.astype(str).isin([text for text in first if text]).any():
                break  # they are values
            if len(rest) and all(map(_is_a_number, rest)):
                if not all(named or not text for named, text in zip(is_named, first, strict=True)):
                    break
                above += all(is_named)
        else:
            if above > 1:
                return count + _names_of_no_column(frame.iloc[count:])
    return int(_names_the_unnamed(frame))


def _names_the_unnamed(frame: pd.DataFrame) -> bool:
    """Whether the first row is a level below the names, as surveys are exported: the answers below their question.

    It names what has no name above it, and holds no number, though whole columns do. An answer may stand below, too.
    """
    if len(frame) < 3:
        return False
    first, below = [_name(cell) for cell in frame.iloc[0]], frame.iloc[1 : ROWS_TRIED + 1]
    left_out = [word for word, name in zip(first[1:], frame.columns[1:], strict=True) if not str(name).strip()]
    if any(map(_is_a_number, first)) or not any(left_out):
        return False
    columns = [below.iloc[:, at].dropna() for at in range(len(first))]
    of_numbers = [word for word, rest in zip(first, columns, strict=True) if len(rest) and all(map(_is_a_number, rest))]
    return any(of_numbers) or len(of_numbers) > 1


def _names_of_no_column(frame: pd.DataFrame) -> int:
    """Whether the first row has a word where no numbers stand, and nothing else: what pandas calls the row numbers."""
    first, below = frame.iloc[0], frame.iloc[1 : ROWS_TRIED + 1]
    words = {at: _name(cell) for at, cell in enumerate(first) if _name(cell)}
    is_name = all(word.isalpha() and not (below.iloc[:, at] == word).any() for at, word in words.items())
    return int(len(words) == 1 and is_name and len(below) > 1 and len(frame.columns) > 2)


def _is_a_number(cell) -> bool:
    return any(plain(str(cell), mark) is not None for mark in ".,")


def _name(cell) -> str:
    return "" if pd.isna(cell) else without_point(cell)


def _filled(lines: list[list[str]]) -> list[list[str]]:
    """Lines of names in which a name stands again where cells right of it were merged with its own."""
    upper = [list(itertools.accumulate(line, lambda before, name: name or before)) for line in lines[:-1]]
    return [*upper, lines[-1]]


def called_elsewhere(name: str) -> list[str]:
    """What a row calls a column that has no name: what Python's `csv` does, and what pandas does."""
    numbered = re.fullmatch(r"column (\d{1,6})", name)
    place = int(numbered[1]) - 1 if numbered else 0
    return ["", f"Unnamed: {place}"] if numbered or name == ROW_NUMBERS else []


def clean_names(reading: Reading) -> list[str]:
    """The names of the columns without blanks around them, in Unicode's composed form, each once."""
    names: list[str] = []
    for i, raw in enumerate(reading.frame.columns):
        text = " ".join(map(str, raw)) if isinstance(raw, tuple) else str(raw)  # as pandas has names of several levels
        name = " ".join(unicodedata.normalize("NFC", text).replace(NO_WIDTH, "").split())
        if not name or re.fullmatch(r"Unnamed: \d+", name):
            name = ROW_NUMBERS if i == 0 else f"column {i + 1}"
        if name in names:
            again = next(f"{name} ({k})" for k in range(2, len(names) + 3) if f"{name} ({k})" not in names)
            reading.said.append(f"the column {name!r} stands there twice: the later one is called {again!r}")
            name = again
        names.append(name)
    return names
