"""A table in a file becomes a pandas DataFrame of texts, whatever program wrote the file.

A path or an http(s) address comes in. What goes out is a `Reading`: the cells as they stand in the file (Parquet and
Excel keep their types), the decimal mark, and a sentence for everything that was done to the file on the way. What the
columns mean is `columns`' business. What cannot be read is a `DataError` of one sentence that names the cause.
"""

from __future__ import annotations

import bz2
import codecs
import contextlib
import csv
import gzip
import io
import itertools
import json
import lzma
import re
import unicodedata
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import requests

from helpers import proxy_for
from helpers.data import json_tables
from helpers.data.numerals import MARKS, SIGNS, plain
from helpers.data.parameters import DASHES, MISSING
from helpers.wording import listed, no_file

TIMEOUT = 20  # seconds for a connection, and between two pieces of an answer
LARGEST = 4 * 1024**3  # bytes that a compressed file may grow to
DELIMITERS = ",;\t|"
BLANK = " "  # a delimiter where no other is: R's write.table, tables whose columns stand below each other
LINES_TRIED = 200  # lines from which the delimiter is told
LONGEST_FIELD = 2**31 - 1
MOST_TITLES = 10  # lines above the header
MOST_HEADERS = 3  # lines below the first that name the columns once more: in words, by their units
ROWS_TRIED = 1000  # rows of a column from which is told that it holds numbers
MOSTLY = 2 / 3  # share of numbers in a column that holds some words beside them, as "k.A."

HEAD = 1000  # bytes of a file from which is told that it is JSON

ROW_NUMBERS = "row number"  # the name that a first column without a name of its own gets

_NUMBER = re.compile(r"[+-]?[\d.,]*\d[\d.,]*(?:[eE][+-]?\d+)?")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+(?:\.\d{3})*,(?:\d{1,2}|\d{4,})")  # "1.234,5", never "1,234"

MARK, NO_WIDTH = "\ufeff", "\u200b"  # that Unicode begins files with; that web pages let lines break at
_ESCAPED = re.compile(r'(?m)(?:^|[,;\t|])"[^"\n]*\\"(?![,;\t|\r\n]|$)')  # "say \"no\"", as Spark and MySQL write it
_RULE = re.compile(r"[-=+|,;\t ]*(--|==)[-=+|,;\t ]*")  # a line below the names, as sqlcmd and psql draw it

_CODED = "save it as CSV or Parquet with the program that wrote it"

# What a file is once it is unpacked, and how it begins; JSON and other texts are told apart by more than a sign.
PARQUET, ARROW, OLD_FEATHER, ARROW_STREAM, EXCEL = "Parquet", "Arrow", "old Feather", "Arrow stream", "Excel"
JSON, TEXT = "JSON", "text"
_SIGNS = {b"PAR1": PARQUET, b"ARROW1": ARROW, b"FEA1": OLD_FEATHER, b"\xff\xff\xff\xff": ARROW_STREAM}
_SIGNS[_ZIP := b"PK\x03\x04"] = EXCEL

_COMPRESSED = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}

# What stands for "no value": what pandas takes for it in a text, and what other programs write.
NO_VALUE = frozenset(
    "|#N/A|#N/A N/A|#NA|-1.#IND|-1.#QNAN|-NaN|-nan|1.#IND|1.#QNAN|<NA>|N/A|NA|NULL|NaN|None|n/a|nan|null".split("|")
) | {*MISSING}

# How a file begins that is no table in text, and what it is.
_NO_TEXT = {
    rb"\xd0\xcf\x11\xe0": "an Excel file of the old kind (.xls), or with a password: save it as .xlsx without, or CSV",
    rb"ORC": "an ORC file: save it as Parquet, by `pandas.read_orc(...).to_parquet(...)`",
    rb"\s*\|[^\n]*\|\s*\n\|[-:| ]+\|\s*\n|\s*\+[-=+]+\+\s*\n\|": (
        "a table drawn for reading: save it as CSV where it was made"
    ),
    rb"(?i)\s*<(!doctype|html|table)": "a page of the web: give the address or the file of the table itself",
    rb"\s*<\?xml": "XML: save it as CSV, by `pandas.read_xml(...).to_csv(..., index=False)`",
    rb"(?i)(\s*%[^\n]*\n)*\s*@relation\b": f"an ARFF file, as Weka has them: {_CODED}",
    rb"version https://git-lfs": "a pointer of Git LFS, not the table: get that by `git lfs pull`",
    rb"SQLite format 3": "an SQLite database: save the table in it as CSV",
    rb"\x89HDF": (
        "an HDF5 file: save it as Parquet, by `pandas.read_hdf(...).to_parquet(...)`, or where it is a Keras model "
        "serve it, by `python3 tutorial.py serve FILE`"
    ),
    rb"\x80[\x02-\x05]": "a pickle of Python: save it as Parquet, by `pandas.read_pickle(...).to_parquet(...)`",
    rb"\x93NUMPY": "an array of NumPy, without names of columns: save it as CSV, with a first line that names them",
    rb"<stata_dta>|[\x70-\x73][\x01\x02]\x01": (
        "a Stata file: save it as Parquet, by `pandas.read_stata(...).to_parquet(...)`"
    ),
    rb"\0{12}\xc2\xea\x81\x60": "a SAS file: save it as Parquet, by `pandas.read_sas(...).to_parquet(...)`",
    rb"\$FL[23]": f"an SPSS file: {_CODED}",
    rb"RD[AX]\d\n|X\n\0\0": "a file of R: save it as CSV, by `write.csv(..., row.names = FALSE)`",
    rb"%PDF": "a PDF: save the table in it as CSV",
    rb"7z\xbc\xaf|Rar!|\x28\xb5\x2f\xfd|\x04\x22\x4d\x18": (
        "packed in a way that is not read here: unpack it, and give the table in it"
    ),
    rb"(?s).{257}ustar": "a tar archive: unpack it, and give the table in it",
}


# What a zip archive is that has such a member.
_NO_TABLE_IN_ZIP = {
    "content.xml": "an OpenDocument file, as LibreOffice writes it: save it as .xlsx or CSV",
    "xl/workbook.bin": "an Excel file in binary (.xlsb): save it as .xlsx or CSV",
    "word/document.xml": "a document of Word: save the table in it as CSV",
    "ppt/presentation.xml": "a presentation of PowerPoint: save the table in it as CSV",
    "Index/Document.iwa": "a file of Apple's Numbers or Pages: export it as Excel or CSV",
    "model.weights.h5": "a Keras model: serve it, by `python3 tutorial.py serve FILE`",
}


class DataError(ValueError):
    """A table that cannot be read or used; the message says what, where and what to do."""


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


def read_table(source: str | Path, holds: str | Callable[[str], bool] = "") -> Reading:
    """The table at `source`: CSV with any usual delimiter and encoding, Excel, Parquet, Feather or JSON.

    Each plain or compressed (gzip, bz2, xz, zip), from a path or an address.

    holds: the name of a column, or whether a column is looked for, by which a sheet of several is chosen, and a line of
    names. Raises `DataError` for what is no table.
    """

    def wanted(column: str) -> bool:
        name = " ".join(column.split())
        return name.casefold() == holds.casefold() if isinstance(holds, str) else bool(holds(name))

    if urlsplit(str(source)).scheme in ("http", "https"):
        content, name = download(str(source)), str(source)
    else:
        content, name = _content_of(Path(source).expanduser()), str(source)
    content, inside = _unpacked(content, name)
    kind = kind_of(content)
    if kind == PARQUET:
        reading = Reading(_parsed(_parquet, content, name, "a Parquet"), name, first_line=0)
    elif kind in (ARROW, OLD_FEATHER):
        reading = Reading(_parsed(pd.read_feather, content, name, "a Feather"), name, first_line=0)
    elif kind == ARROW_STREAM:
        reading = Reading(_parsed(_arrow_stream, content, name, "an Arrow"), name, first_line=0)
    elif kind == EXCEL:
        reading = _excel(content, name, wanted)
    elif kind == JSON:
        reading = _json(content, name, wanted)
    else:
        reading = _text(content, name)
        _take_headers(reading, wanted)
    if inside:
        reading.said.insert(0, f"read {inside} from {Path(name).name}")
    if reading.frame.empty:
        raise DataError(f"{name} has a header but no rows: give a table that has some")
    reading.frame.columns = _clean_names(reading)
    reading.commas = _with_commas(reading)
    return reading


def read_head(head: bytes, name: str, holds: Callable[[str], bool] = lambda name: False) -> Reading:
    """How a text is written, told from its first lines: `head` is as much of it as the caller cares to look at.

    holds: whether a column of this name is looked for, by which a line of names is chosen where there are several.
    Raises `DataError` for what is no table. Rows with too few or too many fields are none of its business.
    """
    reading = _text(head, name, ragged="skip")
    _take_headers(reading, holds)
    reading.frame.columns = _clean_names(reading)
    reading.commas = _with_commas(reading)
    return reading


def kind_of(content: bytes) -> str:
    """What a file is, of which `content` is the beginning, unpacked: one of `PARQUET`, ..., `TEXT`."""
    for sign, kind in _SIGNS.items():
        if content.startswith(sign):
            return kind
    head = content[:HEAD].decode(json.detect_encoding(content), "replace")
    return JSON if re.match(json_tables.BEGINNING, head) else TEXT


def commas_of(frame: pd.DataFrame) -> frozenset[str]:
    """`Reading.commas` of a table in Parquet, Feather or JSON, of which `frame` is the first rows."""
    return _with_commas(Reading(_without_absent(frame), ""))


def download(url: str) -> bytes:
    """The content at `url`; raises `DataError` where it cannot be had."""
    try:
        answer = requests.get(url, timeout=TIMEOUT)
        answer.raise_for_status()
        return answer.content
    except requests.HTTPError:
        raise DataError(f"{url} answered {answer.status_code} {answer.reason}: check the address") from None
    except requests.Timeout:
        raise DataError(f"{url} did not answer within {TIMEOUT} s: try again, or use the sample") from None
    except requests.RequestException as error:
        parts = urlsplit(url)
        proxy = proxy_for(parts.scheme, parts.hostname or "")
        through = f", through the proxy that {proxy} names" if proxy else ""
        why = f"{type(error).__name__}{through}"
        raise DataError(f"{url} cannot be reached ({why}): check the network, or use the sample") from None


# ---- bytes ----


def _content_of(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise DataError(f"{path} is a folder: give the path of one table, a CSV, Excel, Parquet or JSON file")
        if path.exists() and not path.is_file():
            raise DataError(f"{path} is no ordinary file: give the path of a CSV, Excel, Parquet or JSON file")
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(f'{no_file(str(path))}: give "sample", "article", or the path or address of a table') from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None


def unpacked(file: Path | BinaryIO, begins: bytes, name: str) -> tuple[BinaryIO | None, str]:
    """What a compressed file holds, as a stream, and the name inside where it has one of its own; else (None, "").

    begins: its first bytes. Raises `DataError` for an archive that holds no table, or several files.
    """
    for sign, opened in _COMPRESSED.items():
        if begins.startswith(sign):
            return opened(file), ""
    if not begins.startswith(_ZIP):
        return None, ""
    archive = zipfile.ZipFile(file)
    for member, what in _NO_TABLE_IN_ZIP.items():
        if member in archive.namelist():
            raise DataError(f"{name} is {what}")
    if "[Content_Types].xml" in archive.namelist():  # an Excel workbook is a zip archive as well
        return None, ""
    members = [m for m in archive.infolist() if not m.is_dir() and not m.filename.startswith(("__MACOSX", "."))]
    if len(members) != 1:
        names = ", ".join(member.filename for member in members[:4]) or "nothing"
        raise DataError(f"{name} holds {len(members)} files ({names}): unpack it, and give the one to use")
    if members[0].flag_bits & 1:
        raise DataError(f"{name} has a password: unpack it, and give the file in it")
    return archive.open(members[0]), members[0].filename


def _unpacked(content: bytes, name: str) -> tuple[bytes, str]:
    """What a compressed file holds, and the name inside where it has one of its own; other content as it is."""
    try:
        stream, inside = unpacked(io.BytesIO(content), content[:8], name)
        return (_bounded(stream, name) if stream else content), inside
    except (OSError, EOFError, lzma.LZMAError, zipfile.BadZipFile, RuntimeError) as error:
        raise DataError(f"{name} is damaged or cut short ({error}): get it again") from None


def _bounded(stream: BinaryIO, name: str) -> bytes:
    content = stream.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise DataError(f"{name} unpacks to more than {LARGEST // 1024**3} GB: unpack it, and take a part of it")
    return content


# ---- JSON ----


def _json(content: bytes, name: str, wanted: Callable[[str], bool]) -> Reading:
    """The first table in it that holds most of the columns which are wanted, else the largest."""
    said: list[str] = []
    text = _decode(content, _encoding(content, name, said), name)
    try:
        tables = list(json_tables.tables_in(text))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name} is not JSON that can be read: {error}") from None
    if not tables:
        raise DataError(
            f'{name} is JSON, but no table: give a list of objects, one for each row, as [{{"age": 22}}, ...]'
        )
    holding = [sum(map(wanted, map(str, table.columns))) for table in tables]
    largest = max(tables, key=lambda table: table.size)
    frame = tables[holding.index(max(holding))] if any(holding) else largest
    if apart := frame.attrs.pop("apart", []):
        said.append(f"objects within rows are taken apart: {listed(apart)}")
    return Reading(_without_absent(frame.reset_index(drop=True)), name, first_line=0, said=said)


# ---- Parquet, Feather and Excel ----


def _parsed(read: Callable[[io.BytesIO], pd.DataFrame], content: bytes, name: str, kind: str) -> pd.DataFrame:
    """What `read` reads, its texts as those of any table; `DataError` for a file of its kind that cannot be read."""
    frame = _read(read, content, name, kind)
    frame = frame.reset_index(drop=frame.index.names == [None])  # an index with a name is a column of the file
    for at, (_, column) in enumerate(frame.items()):
        if are_bytes(column):  # as Spark and Impala may write texts
            with contextlib.suppress(UnicodeDecodeError):
                frame.isetitem(at, column.astype(object).map(bytes.decode, na_action="ignore"))
    return _without_absent(frame)


def _read(read: Callable, content: bytes, name: str, kind: str):
    """What pandas reads with `read`; `DataError` for whatever the library raises for a file that is none of its own."""
    try:
        return read(io.BytesIO(content))
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(f"{name} is not {kind} file that can be read: {reason}") from None


def _parquet(file: io.BytesIO) -> pd.DataFrame:
    from pyarrow import parquet

    return parquet.ParquetFile(file).read().to_pandas()  # pandas itself reads none with a name twice


def _arrow_stream(file: io.BytesIO) -> pd.DataFrame:
    from pyarrow import ipc

    return ipc.open_stream(file).read_pandas()


def _without_absent(frame: pd.DataFrame) -> pd.DataFrame:
    """A table whose texts that stand for no value are missing, as they are in CSV: it may have been one."""
    for at, (_, column) in enumerate(frame.items()):
        absent = _are_among(NO_VALUE - DASHES, column)
        if absent.any():
            frame.isetitem(at, column.astype(object).mask(absent))
    return _without_dashes(frame)


def _are_among(texts: frozenset[str], column: pd.Series) -> pd.Series:
    """Which cells of a column, of any type, hold one of some texts, with blanks around it or without."""
    if pd.api.types.is_string_dtype(column.dtype) and column.dtype != object:
        return column.str.strip().isin(texts)
    if column.dtype == object or isinstance(column.dtype, pd.CategoricalDtype):
        return column.astype(object).map(lambda cell: isinstance(cell, str) and cell.strip() in texts).astype(bool)
    return pd.Series(False, index=column.index)


def are_bytes(column: pd.Series) -> bool:
    """Whether a column holds bytes, which may be texts."""
    return isinstance(next(iter(column.dropna()), None), bytes)


def _excel(content: bytes, name: str, wanted: Callable[[str], bool]) -> Reading:
    absent = [text for text in MISSING if text not in DASHES]

    def read(file: io.BytesIO) -> dict[str, pd.DataFrame]:
        with pd.ExcelFile(file) as book:
            shown = [sheet.title for sheet in book.book.worksheets if sheet.sheet_state == "visible"]
            sheets = pd.read_excel(book, sheet_name=None, header=None, na_values=absent)
        return {title: sheets[title] for title in sorted(sheets, key=lambda title: title not in shown)}

    sheets = _read(read, content, name, "an Excel")
    readings = {title: _of_sheet(sheet, name) for title, sheet in sheets.items()}
    for reading in readings.values():
        _take_headers(reading, wanted)
    filled = [title for title, reading in readings.items() if len(reading.frame)]
    if not filled:
        raise DataError(f"{name} has no sheet with a header and rows")
    found = {title: [name for name in _clean_names(readings[title]) if wanted(name)] for title in filled}
    title = max(filled, key=lambda title: len(found[title]))
    column = next(iter(found[title]), "")
    reading = readings[title]
    _check_formulas(reading, content, title, column)
    if len(sheets) > 1:
        which = f"that holds {column!r}" if column else "that holds rows"
        reading.said.append(f"read the sheet {title!r}, the first of {len(sheets)} {which}")
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


def _shown(cell) -> str:
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def _of_sheet(sheet: pd.DataFrame, name: str) -> Reading:
    """The table in a sheet, which may have empty cells around it, and a title above it."""
    reading = Reading(sheet, name)
    there = sheet.notna()
    if not there.to_numpy().any():
        return reading
    rows, columns = (np.flatnonzero(there.to_numpy().any(axis=axis)) for axis in (1, 0))
    sheet = sheet.iloc[rows[0] :, columns[0] : columns[-1] + 1]
    first = [["" if pd.isna(cell) else str(cell) for cell in row] for row in sheet.head(MOST_TITLES + 1).to_numpy()]
    titles = _titles(first, sheet.shape[1])
    header, body = sheet.iloc[titles], sheet.iloc[titles + 1 :]
    reading.frame = _without_dashes(body.infer_objects().reset_index(drop=True))
    reading.frame.columns = ["" if pd.isna(cell) else _shown(cell) for cell in header]
    reading.first_line = int(header.name) + 2
    if titles:
        reading.said.append(_skipped(titles))
    return reading


# ---- headers of several lines ----


def _take_headers(reading: Reading, holds: Callable[[str], bool]) -> None:
    """Make the first rows a part of the header where they hold no values: what columns mean, their units, a level.

    The names are those of the line that holds most of what is asked for, else of the first one; where that one repeats
    itself, as a level above others does, each name is made of all lines.
    """
    count = _further_headers(reading.frame)
    if not count:
        return
    rows = reading.frame.iloc[:count].to_numpy().tolist()
    lines = [list(map(str, reading.frame.columns)), *([_name(cell) for cell in row] for row in rows)]
    joined = [" ".join(dict.fromkeys(filter(None, names))) for names in zip(*_filled(lines), strict=True)]
    is_level = len(set(lines[0])) < len(set(joined))
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
    return 0


def _names_of_no_column(frame: pd.DataFrame) -> int:
    """Whether the first row has a word where no numbers stand, and nothing else: what pandas calls the row numbers."""
    first, below = frame.iloc[0], frame.iloc[1 : ROWS_TRIED + 1]
    words = {at: _name(cell) for at, cell in enumerate(first) if _name(cell)}
    is_name = all(word.isalpha() and not (below.iloc[:, at] == word).any() for at, word in words.items())
    return int(len(words) == 1 and is_name and len(below) > 1 and len(frame.columns) > 2)


def _is_a_number(cell) -> bool:
    return any(plain(str(cell), mark) is not None for mark in ".,")


def _name(cell) -> str:
    return "" if pd.isna(cell) else _shown(cell)


def _filled(lines: list[list[str]]) -> list[list[str]]:
    """Lines of names in which a name stands again where cells right of it were merged with its own."""
    upper = [list(itertools.accumulate(line, lambda before, name: name or before)) for line in lines[:-1]]
    return [*upper, lines[-1]]


# ---- text ----


def _text(content: bytes, name: str, ragged: str = "error") -> Reading:
    """ragged: what becomes of a row with more fields than the header: "error" or "skip"."""
    for start, what in _NO_TEXT.items():
        if re.match(start, content):
            raise DataError(f"{name} is {what}")
    reading = Reading(pd.DataFrame(), name)
    reading.encoding = _encoding(content, name, reading.said)
    text = _decode(content, reading.encoding, name).replace(MARK, "")  # within files that were joined, too
    reading.escapes = bool(_ESCAPED.search(text))
    if reading.escapes:
        text = text.replace('\\"', '""')
    lines = re.split(r"\r\n|\r|\n", text)  # at no other sign: texts may hold those that Unicode ends lines with
    skipped, delimiter = _before_the_header(lines)
    if skipped < len(lines):
        lines[skipped] = lines[skipped].removeprefix("#")  # of a header that is written as a comment
    tried = range(skipped, min(skipped + LINES_TRIED, len(lines)))
    at = [i for i in tried if lines[i].strip() and not _RULE.fullmatch(lines[i])]
    if not at:
        raise DataError(f"{name} is empty: it needs a header line with column names, and rows")
    delimiter = reading.delimiter = delimiter or _delimiter([lines[i] for i in at])
    if delimiter == BLANK:
        lines = [line.strip(BLANK) for line in lines]
    first = [next(_fields([lines[i]], delimiter)) for i in at]
    is_whole = 0 if lines[at[0]].count('"') % 2 else len(first)  # or a name has a line's end in it
    titles = _titles(first[:is_whole], Counter(map(len, first)).most_common(1)[0][0])
    skipped = at[titles]
    sample = [lines[i] for i in at[titles:]]
    if skipped:
        reading.said.append(_skipped(skipped))
    if delimiter != ",":
        shown = {"\t": "tabs", BLANK: "blanks"}.get(delimiter, repr(delimiter))
        reading.said.append(f"columns are separated by {shown}")
    header, taken, options = _header(sample, delimiter, reading)
    reading.header = lines[skipped] if taken == 1 and len(header) > 1 else ""
    taken += bool(_RULE.fullmatch("".join(lines[skipped + taken : skipped + taken + 1])))
    reading.first_line, reading.ends_open = skipped + taken + 1, "usecols" in options
    rows = _rows(lines[skipped : skipped + taken], lines[skipped + taken :], delimiter, len(header), reading.said)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pd.errors.ParserWarning)  # of fields that it cuts off: see below
            frame = pd.read_csv(
                io.StringIO("\n".join(rows)),
                sep=delimiter,
                header=None,
                names=range(len(header)),
                dtype=str,
                skipinitialspace=True,
                na_values=[text for text in MISSING if text not in DASHES],
                on_bad_lines=ragged,
                quoting=csv.QUOTE_NONE if ragged == "skip" and "".join(lines).count('"') % 2 else csv.QUOTE_MINIMAL,
                **options,
            )
    except pd.errors.ParserError as error:
        raise DataError(_ragged(str(error), name, skipped + taken, len(header))) from None
    if ragged == "error":
        _check_widths(rows, delimiter, len(header), name, skipped + taken)
    reading.frame = _without_dashes(frame)
    reading.frame.columns = header
    return reading


def _skipped(lines: int) -> str:
    return f"skipped {lines} line{'s' if lines > 1 else ''} before the header"


def _rows(header: list[str], lines: list[str], delimiter: str, width: int, said: list[str]) -> list[str]:
    """The lines below the header without comments, and without the header again, as files that were joined have it."""
    rows, remarks, headers, is_open = [], 0, 0, False
    for line in lines:
        if not is_open and _is_remark(line, delimiter, width):
            remarks += 1
        elif not is_open and width > 1 and [line] == header:
            headers += 1
        else:
            rows.append(line)
            is_open ^= line.count('"') % 2 == 1  # a text in quotation marks may hold such lines
    if remarks:
        said.append(f"skipped {remarks} comment lines among the rows")
    if headers:
        said.append(f"skipped {headers} line{'s' * (headers > 1)} among the rows that repeat the header")
    return rows


def _without_dashes(frame: pd.DataFrame) -> pd.DataFrame:
    """A table whose cells of a dash are missing, but where a column holds + and - only."""
    for at, (_, column) in enumerate(frame.items()):
        dashes = _are_among(DASHES, column)
        if dashes.any() and not _are_among(frozenset("+"), column[~dashes].dropna()).all():
            frame.isetitem(at, column.mask(dashes))
    return frame


def _titles(rows: list[list[str]], width: int) -> int:
    """How many of the first rows are a title above the header: at most half of their cells are filled."""
    for i, row in enumerate(rows[: MOST_TITLES + 1]):
        if 2 * sum(bool(cell.strip()) for cell in row) > width:
            return 0 if any(map(_is_number, row)) else i  # in that case the header has few names
    return 0


def _encoding(content: bytes, name: str, said: list[str]) -> str:
    """How a file's text is encoded: in UTF-8, UTF-16 or one of the older encodings, which is said."""
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF32_LE, "utf-32"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if content.startswith(mark):
            return encoding
    nulls = content[:2000].count(b"\0")
    if nulls:
        even = content[:2000:2].count(b"\0")
        are_halves = min(even, nulls - even) < 0.05 * nulls and nulls > 0.2 * min(len(content), 2000)
        if are_halves and len(content) % 2 == 0:  # Latin letters in UTF-16 without its mark
            return "utf-16-be" if even > nulls / 2 else "utf-16-le"
        raise DataError(f"{name} is not a table in text: it holds binary data; save it as CSV, Excel or Parquet")
    try:
        content.decode("utf-8")
        return "utf-8"
    except UnicodeDecodeError:
        pass
    encoding = older_encoding(content)
    said.append(f"read as {encoding}, as it is not UTF-8")
    return encoding


def _decode(content: bytes, encoding: str, name: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        raise DataError(f"{name} is not text in {encoding.upper()}: save it as CSV in UTF-8") from None


def older_encoding(content: bytes) -> str:
    """The likeliest encoding of text that is not UTF-8; Windows' Western one where the letters do not tell it apart."""
    from charset_normalizer import from_bytes

    usual = ["cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "shift_jis", "gb18030", "big5", "euc_kr"]
    start = content[:200_000]
    found = from_bytes(start, cp_isolation=usual).best()
    few = sum(byte > 127 for byte in start) < 40
    try:
        content.decode("cp1252")
    except UnicodeDecodeError:
        return found.encoding if found else "latin-1"
    if found is None or few or start.decode(found.encoding, "replace") == start.decode("cp1252"):
        return "cp1252"
    return found.encoding


def _before_the_header(lines: list[str]) -> tuple[int, str]:
    """How many lines stand before the header (comments, empty lines), and the delimiter where `sep=` names it."""
    skipped, delimiter = 0, ""
    for line in lines:
        named = re.fullmatch(r'"?sep=(.)"?\s*', line)
        if named:
            delimiter = named[1]
        elif line.strip(" \t,;|") and not line.startswith("#"):
            break
        skipped += 1
    comment = lines[skipped - 1] if 0 < skipped < len(lines) else ""
    if comment.startswith("#") and _is_header_of(comment[1:], lines[skipped]):
        return skipped - 1, delimiter  # "#a,b,label": the header itself is written as a comment
    return skipped, delimiter


def _is_remark(line: str, delimiter: str, width: int) -> bool:
    """Whether a line among the rows is a comment: it begins with #, and is no row."""
    return line.startswith("#") and line.count(delimiter) + 1 < width


def _is_header_of(comment: str, row: str) -> bool:
    for delimiter in (*DELIMITERS, None):  # None for blanks
        names, cells = comment.split(delimiter), row.split(delimiter)
        if len(names) == len(cells) > 1:
            return any(map(_is_number, cells)) and not any(map(_is_number, names))
    return False


def _is_number(text: str) -> bool:
    return bool(_NUMBER.fullmatch(text.strip().strip('"')))


def _fields(lines: list[str], delimiter: str) -> Iterator[list[str]]:
    csv.field_size_limit(LONGEST_FIELD)  # of all readers, as the module has it; a line of many names may be one field
    return csv.reader((f"{line}\n" for line in lines), delimiter=delimiter, skipinitialspace=True)


def _delimiter(lines: list[str]) -> str:
    """The character that cuts the lines into the same number of fields, more than one; a comma where none does.

    Of several it is the one that cuts the header, too, and not the comma, which may stand in numbers and in names.
    """
    best, best_score = ",", (0.0, 0, False, 0)
    for delimiter in DELIMITERS:
        counts = [len(row) for row in _fields(lines, delimiter)]
        width, times = Counter(counts).most_common(1)[0]
        # the header may be one field shorter or longer: R's row names, a comma at the end of each row
        first = counts[: MOST_TITLES + 1]
        header = next((at for at, count in enumerate(first) if abs(count - width) <= 1 and count > 1), None)
        if width > 1 and header is not None:
            score = (round(times / len(counts), 1), -header, delimiter != ",", width)
            if score > best_score:
                best, best_score = delimiter, score
    cuts_the_first_line = best_score[-1] and not best_score[1]
    return best if cuts_the_first_line or not _are_apart_by_blanks(lines) else BLANK


def _are_apart_by_blanks(lines: list[str]) -> bool:
    """Whether blanks cut each line below the header into as many fields, of which one holds numbers only.

    A text of several words, alone in its column, is not taken apart. R's header has no name for the row names.
    """
    header, *rows = _fields([line.strip(BLANK) for line in lines], BLANK)
    if len({len(row) for row in rows}) != 1 or len(header) < 2 or not 0 <= len(rows[0]) - len(header) <= 1:
        return False
    return any(all(map(_is_number, column)) for column in zip(*rows, strict=True))


def _header(sample: list[str], delimiter: str, reading: Reading) -> tuple[list[str], int, dict]:
    """The names of the columns, how many lines they take, and what pandas must know where rows are longer."""
    reader = _fields(sample, delimiter)
    names = next(reader)
    taken = reader.line_num  # several, where a name in quotation marks has a line's end in it
    if taken > MOST_TITLES:  # a mark that is never closed
        names, taken = next(_fields(sample[:1], delimiter)), 1
    if len(names) > 1 and all(map(_is_number, names)):
        reading.said.append("the first line holds numbers only: is the header line with the names missing?")
    rows = list(_fields(sample[taken:], delimiter))
    longer = [row for row in rows if len(row) == len(names) + 1]
    if rows and len(longer) == len(rows):
        if all(not row[-1].strip() for row in rows):
            reading.said.append("a delimiter ends each row but not the header: the empty last column is left out")
            return names, taken, {"index_col": False, "usecols": range(len(names))}
        reading.said.append("each row has a field more than the header: the first is taken for the row's name")
        return [ROW_NUMBERS, *names], taken, {}  # R's write.table gives the row names no header
    return names, taken, {"index_col": False}


def _check_widths(rows: list[str], delimiter: str, width: int, name: str, lines_before: int) -> None:
    """`DataError` where a row has more fields than the header, which pandas cuts off where the first one has, too."""
    widest = max((row.count(delimiter) for row in rows), default=0)
    records = _fields(rows, delimiter) if widest >= width else ()
    for record in records:
        if any(cell.strip() for cell in record[width:]):
            raise DataError(_of_many_fields(name, len(record), records.line_num + lines_before, width))


def _of_many_fields(name: str, count: int, line: int, width: int) -> str:
    return (
        f"{name} has {count} fields in line {line} where the header has {width}: "
        "quote a text that holds the delimiter, or mend the line"
    )


def _ragged(error: str, name: str, lines_before: int, width: int) -> str:
    found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", error)
    if found:
        return _of_many_fields(name, int(found[3]), int(found[2]) + lines_before, width)
    open_quote = re.search(r"EOF inside string starting at row (\d+)", error)
    if open_quote:
        row = int(open_quote[1]) + 1
        return (
            f"{name} has a quotation mark in row {row} below the header that is never closed: close it, or take it out"
        )
    return f"{name} is not a table that pandas can read: {error.strip()}"


def _with_commas(reading: Reading) -> frozenset[str]:
    """The columns whose numbers are written with a decimal comma: all of a file that is, but those with a point."""
    texts = {name: _texts_tried(column) for name, column in reading.frame.items()}
    texts = {name: tried for name, tried in texts.items() if len(tried)}
    mark = _decimal_mark(texts.values(), reading.delimiter)
    other = {",": ".", ".": ","}[mark]
    apart = [name for name, tried in texts.items() if _are_only(tried, other, mark)]
    if mark == ",":
        reading.said.append("numbers are written with a decimal comma")
    if apart:
        as_well = " all the same" if mark == "," else ""
        reading.said.append(f"those of {', '.join(map(repr, apart))} with a decimal {MARKS[other]}{as_well}")
    return frozenset(texts if mark == "," else ()) ^ frozenset(apart)


def _texts_tried(column: pd.Series) -> pd.Series:
    """Some texts of a column, those from which is told how numbers are written; none of a column of another type."""
    first = column.dropna().head(ROWS_TRIED)
    are_texts = column.dtype == object or pd.api.types.is_string_dtype(column.dtype)
    return first.str.strip() if are_texts and all(isinstance(each, str) for each in first) else first.iloc[:0]


def _are_only(texts: pd.Series, mark: str, other: str) -> bool:
    """Whether texts are numbers with a decimal mark, and not with the other: £27,000.00.

    1,3 alone may be two answers of a survey: for a comma, one has a sign, both marks, or several points.
    """
    if all(plain(text, other) for text in texts) or not all(plain(text, mark) for text in texts):
        return False
    return mark == "." or any(
        plain(text, mark)[1] or "." in text and len(re.findall("[.,]", text)) > 1 for text in texts
    )


def _decimal_mark(columns: Iterable[pd.Series], delimiter: str) -> str:
    """ "," where more columns of the file are written with a decimal comma than with a point, else "."."""
    commas = points = 0
    for texts in (column.str.strip(" \u00a0" + SIGNS) for column in columns):
        are_numbers = texts.str.fullmatch(_NUMBER.pattern)
        if are_numbers.mean() < MOSTLY:
            continue
        numbers = texts[are_numbers]
        comma = numbers.str.fullmatch(_DECIMAL_COMMA.pattern).any()
        comma = comma or (delimiter == ";" and numbers.str.fullmatch(r"[+-]?\d+,\d+").any())
        commas += comma
        points += not comma and numbers.str.fullmatch(r"[+-]?\d*\.(?:\d{1,2}|\d{4,})").any()
    return "," if commas and commas >= points + (delimiter == ",") else "."


def _clean_names(reading: Reading) -> list[str]:
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
