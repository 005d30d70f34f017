"""JSON as tables: each way in which a table is written in it, by pandas, by services, by people.

A text comes in, data frames go out, in the order in which they stand there. What is no table is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pandas as pd

# How a text begins that is JSON, and that holds JSON in each of its lines.
LINES = r"\s*(?P<open>[\[{])[^\n]*[\]}]\s*\n\s*(?P=open)"
_APART = re.compile(r"[\s,]*")
BEGINNING = rf'{LINES}|\s*(\[\s*)*\{{\s*["}}]|\s*\[\s*[\[\]]'


def tables_in(text: str) -> Iterator[pd.DataFrame]:
    """The tables in a JSON text, of which each row may be a value of its own.

    Raises `ValueError`, or `RecursionError`, where it is none.
    The columns that were objects within rows and were taken apart stand in `frame.attrs["apart"]`.
    """
    found = list(_values(text))
    return _tables(found[0] if len(found) == 1 else found)


def are_objects_in_lines(text: str) -> bool:
    """Whether a text, of which this is the beginning, holds a row in each line: an object, and no table by itself."""
    if found := re.match(LINES, text):
        return found["open"] == "{"
    if "\n" in text.strip():
        return False
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and bool(value) and not list(_tables(value))


def flat(row: dict) -> dict:
    """A row in which objects are taken apart, as `tables_in` has it: {"a": {"b": 1}} is {"a.b": 1}."""
    if not any(isinstance(value, dict) for value in row.values()):
        return row
    plain = {name: value for name, value in row.items() if not isinstance(value, dict)}
    for name, value in row.items():
        if isinstance(value, dict):
            plain |= {f"{name}.{inner}": cell for inner, cell in flat(value).items()}
    return plain


def _values(text: str) -> Iterator:
    """The values in a text, of which there may be several: in lines, as mongoexport and jq write them."""
    decoder, at = json.JSONDecoder(), 0
    while (at := _APART.match(text, at).end()) < len(text):
        value, at = decoder.raw_decode(text, at)
        yield value


def _tables(found) -> Iterator[pd.DataFrame]:
    """The tables in what JSON holds.

    A list of objects, one for each row, in which objects are taken apart; a list of lists below that of their names, or
    beside it; an object of whole columns, or of rows by their names; any of these within an object.
    """
    if _are_all(found, dict):
        frame = pd.json_normalize(found)
        whole = set().union(*found)
        frame.attrs["apart"] = [name for name in frame.columns if name not in whole]
        yield frame
    elif _are_all(found, list):
        if _are_all(found[0], str):
            yield from _below_names(found[0], found[1:])
    elif isinstance(found, dict):
        for rows in filter(lambda part: _are_all(part, list), found.values()):
            for names in filter(None, map(_names_in, found.values())):
                yield from _below_names(names, rows)
        if _are_all(list(found.values()), list | dict) and not any(_are_all(part, dict) for part in found.values()):
            yield pd.DataFrame({column: pd.Series(values) for column, values in found.items()})
            if _are_all(list(found.values()), dict):
                yield from _tables(list(found.values()))
        for part in found.values():
            if isinstance(part, dict) or _are_all(part, dict):
                yield from _tables(part)


def _are_all(found, kind) -> bool:
    return isinstance(found, list) and bool(found) and all(isinstance(each, kind) for each in found)


def _names_in(found) -> list[str]:
    """Names of columns in a list, which may tell more of each; none where it holds anything else."""
    if _are_all(found, dict):
        found = [next((each[key] for key in ("name", "id", "field") if key in each), None) for each in found]
    return found if _are_all(found, str) else []


def _below_names(names: list[str], rows: list[list]) -> Iterator[pd.DataFrame]:
    if _are_all(rows, list) and {len(row) for row in rows} == {len(names)}:
        yield pd.DataFrame(rows, columns=names)
