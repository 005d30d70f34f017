"""A sheet of an Excel workbook becomes a `Reading`: the one that is looked for, with what stands around its table."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.data.header_lines import MOST_TITLES, clean_names, lines_skipped, take_headers, title_lines
from helpers.data.raw_tables import ROWS_TRIED, DataError, Reading, read_by, without_dashes, without_point
from helpers.data.words import DASHES, MISSING
from helpers.wording import listed


def workbook(content: bytes, name: str, wanted: Callable[[str], bool]) -> Reading:
    """The table of the sheet with most of the columns that are wanted; else of the first with rows, hidden ones last.

    Raises `DataError` where no sheet holds one, or where the column that is wanted was never computed.
    """
    absent = [text for text in MISSING if text not in DASHES]

    def read(file: io.BytesIO) -> dict[str, pd.DataFrame]:
        with pd.ExcelFile(file) as book:
            shown = [sheet.title for sheet in book.book.worksheets if sheet.sheet_state == "visible"]
            sheets = pd.read_excel(book, sheet_name=None, header=None, na_values=absent)
        return {title: sheets[title] for title in sorted(sheets, key=lambda title: title not in shown)}

    sheets = read_by(read, content, name, "an Excel")
    readings = {title: _of_sheet(sheet, name) for title, sheet in sheets.items()}
    for reading in readings.values():
        take_headers(reading, wanted)
    filled = [title for title, reading in readings.items() if len(reading.frame)]
    if not filled:
        raise DataError(f"{name} has no sheet with a header and rows")
    found = {title: [name for name in clean_names(readings[title]) if wanted(name)] for title in filled}
    title = max(filled, key=lambda title: len(found[title]))
    column = next(iter(found[title]), "")
    reading = readings[title]
    _check_formulas(reading, content, title, column)
    if len(sheets) > 1:
        which = f"that holds {column!r}" if column else "that holds rows"
        others = [each for each in filled if each != title and column in found[each]] if column else []
        more = f"; so do{'es' * (len(others) == 1)} {listed(map(repr, others))}" if others else ""
        reading.said.append(f"read the sheet {title!r}, the first of {len(sheets)} {which}{more}")
    return reading


def _of_sheet(sheet: pd.DataFrame, name: str) -> Reading:
    """The table in a sheet, which may have empty cells around it, and a title above it."""
    reading = Reading(sheet, name)
    there = sheet.notna()
    if not there.to_numpy().any():
        return reading
    rows, columns = (np.flatnonzero(there.to_numpy().any(axis=axis)) for axis in (1, 0))
    sheet = sheet.iloc[rows[0] :, columns[0] : columns[-1] + 1]
    first = [["" if pd.isna(cell) else str(cell) for cell in row] for row in sheet.head(MOST_TITLES + 1).to_numpy()]
    titles = title_lines(first, sheet.shape[1])
    header, body = sheet.iloc[titles], sheet.iloc[titles + 1 :]
    reading.frame = without_dashes(body.infer_objects().reset_index(drop=True))
    reading.frame.columns = ["" if pd.isna(cell) else without_point(cell) for cell in header]
    reading.first_line = int(header.name) + 2
    if titles:
        reading.said.append(lines_skipped(titles))
    return reading


def _check_formulas(reading: Reading, content: bytes, title: str, label: str) -> None:
    """Say, or refuse for the label, that formulas have no values: programs write them so, Excel computes them."""
    empty = reading.frame.columns[reading.frame.isna().all()].tolist()
    if not empty:
        return
    from openpyxl import load_workbook

    rows = load_workbook(io.BytesIO(content), read_only=True)[title].iter_rows(max_row=ROWS_TRIED)
    if any(cell.data_type == "f" for row in rows for cell in row):
        told = f"has formulas that were never computed ({listed(empty)}): open it in Excel or LibreOffice, and save it"
        if label in empty:
            raise DataError(f"{reading.name} {told}")
        reading.said.append(f"{Path(reading.name).name} {told}")
