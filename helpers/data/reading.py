"""A table in a file becomes a pandas DataFrame of texts, whatever program wrote the file.

A path or an http(s) address comes in. What goes out is a `Reading`: the cells as they stand in the file (Parquet and
Excel keep their types), the decimal mark, and a sentence for everything that was done to the file on the way. What
cannot be read is a `DataError` of one sentence that names the cause. What a file is is told here, and unpacked; texts
and workbooks have modules of their own.
"""

from __future__ import annotations

import bz2
import contextlib
import csv
import gzip
import io
import json
import lzma
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import pandas as pd
import requests

from helpers import proxy_for
from helpers.data import json_tables
from helpers.data.header_lines import clean_names, take_headers
from helpers.data.part_files import parquet_parts
from helpers.data.raw_tables import DataError, Reading, are_bytes, commas_in, read_by, without_absent
from helpers.data.text_tables import decoded, encoding_of, text_table
from helpers.data.workbooks import workbook
from helpers.wording import listed, no_file

TIMEOUT = 20  # seconds for a connection, and between two pieces of an answer
LARGEST = 4 * 1024**3  # bytes that a compressed file may grow to, or an answer
PIECE = 1024**2  # bytes of an answer
HEAD = 1000  # bytes of a file from which is told that it is JSON

# What a file is once it is unpacked, and how it begins; JSON and other texts are told apart by more than a sign.
PARQUET, ARROW, OLD_FEATHER, ARROW_STREAM, EXCEL = "Parquet", "Arrow", "old Feather", "Arrow stream", "Excel"
STATA, ARFF, JSON, TEXT = "Stata", "ARFF", "JSON", "text"
_SIGNS = {b"PAR1": PARQUET, b"ARROW1": ARROW, b"FEA1": OLD_FEATHER, b"\xff\xff\xff\xff": ARROW_STREAM}
_SIGNS[_ZIP := b"PK\x03\x04"] = EXCEL
_SIGNS |= dict.fromkeys([b"<stata_dta>", *(bytes([each, order, 1]) for each in b"opqrs" for order in (1, 2))], STATA)
_ARFF = re.compile(rb"(?:\s|%[^\n]*\n)*@relation\b", re.IGNORECASE)  # as Weka has them, and OpenML


def _zstandard(file: Path | BinaryIO) -> BinaryIO:
    from pyarrow import CompressedInputStream

    return CompressedInputStream(file, "zstd")


_COMPRESSED = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x28\xb5\x2f\xfd": _zstandard,
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


def read_table(source: str | Path, holds: str | Callable[[str], bool] = "") -> Reading:
    """The table at `source`: CSV with any usual delimiter and encoding, Excel, Parquet, Feather, JSON, Stata or ARFF.

    Each plain or compressed (gzip, bz2, xz, zstd, zip), from a path or an address; or a folder of parts in Parquet.

    holds: the name of a column, or whether a column is looked for, by which a sheet of several is chosen, and a line of
    names. Raises `DataError` for what is no table.
    """

    def wanted(column: str) -> bool:
        name = " ".join(column.split())
        return name.casefold() == holds.casefold() if isinstance(holds, str) else bool(holds(name))

    name = str(source)
    if urlsplit(name).scheme in ("http", "https"):
        reading = _of_content(download(name), name, wanted)
    elif parts := parquet_parts(path := Path(source).expanduser()):
        reading = _of_parts(parts, path, name)
    else:
        reading = _of_content(_content_of(path), name, wanted)
    if reading.frame.empty:
        raise DataError(f"{name} has a header but no rows: give a table that has some")
    reading.frame.columns = clean_names(reading)
    reading.commas = commas_in(reading)
    return reading


def _of_content(content: bytes, name: str, wanted: Callable[[str], bool]) -> Reading:
    content, inside = _unpacked(content, name)
    kind = kind_of(content)
    if kind in _PARSERS:
        reading = Reading(_parsed(*_PARSERS[kind], content, name), name, first_line=0)
    elif kind == EXCEL:
        reading = workbook(content, name, wanted)
    elif kind == JSON:
        reading = _json(content, name, wanted)
    else:
        reading = text_table(content, name, holds=wanted)
        take_headers(reading, wanted)
    if inside:
        reading.said.insert(0, f"read {inside} from {Path(name).name}")
    return reading


def _of_parts(parts: list[Path], folder: Path, name: str) -> Reading:
    said = [f"read {len(parts):,} part{'s' * (len(parts) > 1)}", *_in_names_only(parts, folder)]
    frames = [_parsed(*_PARSERS[PARQUET], _content_of(path), str(path)) for path in parts]
    return Reading(pd.concat(frames, ignore_index=True), name, first_line=0, said=said)


def read_head(head: bytes, name: str, holds: Callable[[str], bool] = lambda name: False) -> Reading:
    """How a text is written, told from its first lines: `head` is as much of it as the caller cares to look at.

    holds: whether a column of this name is looked for, by which a line of names is chosen where there are several.
    Raises `DataError` for what is no table. Rows with too few or too many fields are none of its business.
    """
    reading = text_table(head, name, "skip", holds)
    take_headers(reading, holds)
    reading.frame.columns = clean_names(reading)
    reading.commas = commas_in(reading)
    return reading


def kind_of(content: bytes) -> str:
    """What a file is, of which `content` is the beginning, unpacked: one of `PARQUET`, ..., `TEXT`."""
    for sign, kind in _SIGNS.items():
        if content.startswith(sign):
            return kind
    if _ARFF.match(content):
        return ARFF
    head = content[:HEAD].decode(json.detect_encoding(content), "replace")
    return JSON if re.match(json_tables.BEGINNING, head) else TEXT


def download(url: str) -> bytes:
    """The content at `url`; raises `DataError` where it cannot be had."""
    content = io.BytesIO()
    try:
        with requests.get(url, timeout=TIMEOUT, stream=True) as answer:
            answer.raise_for_status()
            for piece in answer.iter_content(PIECE):
                content.write(piece)
                if content.tell() > LARGEST:
                    raise DataError(f"{url} sends more than {LARGEST // 1024**3} GB: save a part of it, and give that")
        return content.getvalue()
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
            raise DataError(
                f"{path} is a folder, and not of Parquet alone: give the path of one table, a CSV, Excel, Parquet or "
                "JSON file"
            )
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


# ---- JSON, Parquet, Feather, Stata and ARFF ----


def _json(content: bytes, name: str, wanted: Callable[[str], bool]) -> Reading:
    """The first table in it that holds most of the columns which are wanted, else the largest."""
    said: list[str] = []
    text = decoded(content, encoding_of(content, name, said), name)
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
    return Reading(without_absent(frame.reset_index(drop=True)), name, first_line=0, said=said)


def _parsed(read: Callable[[io.BytesIO], pd.DataFrame], kind: str, content: bytes, name: str) -> pd.DataFrame:
    """What `read` reads, its texts as those of any table; `DataError` for a file of its kind that cannot be read."""
    frame = read_by(read, content, name, kind)
    frame = frame.reset_index(drop=frame.index.names == [None])  # an index with a name is a column of the file
    for at, (_, column) in enumerate(frame.items()):
        if are_bytes(column):  # as Spark and Impala may write texts
            with contextlib.suppress(UnicodeDecodeError):
                frame.isetitem(at, column.astype(object).map(bytes.decode, na_action="ignore"))
    return without_absent(frame)


def _parquet(file: io.BytesIO) -> pd.DataFrame:
    from pyarrow import parquet

    return parquet.ParquetFile(file).read().to_pandas()  # pandas itself reads none with a name twice


def _in_names_only(parts: list[Path], folder: Path) -> list[str]:
    """A remark on columns that stand in the names of folders only, year=2024, which `score` has none of, either."""
    inside = {name for path in parts for name in path.relative_to(folder).parent.parts}
    columns = sorted({name.partition("=")[0] for name in inside if "=" in name})
    return [f"{listed(columns)} in the names of its folders: left out, as no file holds it"] if columns else []


def _arrow_stream(file: io.BytesIO) -> pd.DataFrame:
    from pyarrow import ipc

    return ipc.open_stream(file).read_pandas()


def _stata(file: io.BytesIO) -> pd.DataFrame:
    try:
        return pd.read_stata(file)
    except ValueError:  # of labels that are one for several numbers
        file.seek(0)
        return pd.read_stata(file, convert_categoricals=False)


def _arff(file: io.BytesIO) -> pd.DataFrame:
    content = file.read()
    head, *rows = re.split(r"(?im)^\s*@data\b.*$", decoded(content, encoding_of(content, "it", []), "it"), maxsplit=1)
    names = re.findall(r"""(?im)^\s*@attribute\s+(?:'((?:\\.|[^'])*)'|"([^"]*)"|([^\s{]+))""", head)
    lines = [line.strip() for line in "".join(rows).splitlines() if not re.match(r"\s*(%|$)", line)]
    if any(line.startswith("{") for line in lines):
        raise ValueError("its rows are sparse, save it as CSV")
    mark = "'" if any(re.search(r"(?:^|,)\s*'", line) for line in lines) else '"'
    cells = csv.reader(lines, quotechar=mark, escapechar="\\", skipinitialspace=True)
    return pd.DataFrame([[cell.strip() for cell in row] for row in cells], columns=list(map("".join, names)))


_PARSERS = {  # what reads each kind, and what its file is called
    PARQUET: (_parquet, "a Parquet"),
    ARROW: (pd.read_feather, "a Feather"),
    OLD_FEATHER: (pd.read_feather, "a Feather"),
    ARROW_STREAM: (_arrow_stream, "an Arrow"),
    STATA: (_stata, "a Stata"),
    ARFF: (_arff, "an ARFF"),
}
