"""A table in a file becomes a pandas DataFrame of texts, whatever program wrote the file.

A path or an http(s) address comes in. What goes out is a `Reading`: the cells as they stand in the file (Parquet and
Excel keep their types), the decimal mark, and a sentence for everything that was done to the file on the way. What the
columns mean is `columns`' business. What cannot be read is a `DataError` of one sentence that names the cause.
"""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import lzma
import re
import unicodedata
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
import requests

TIMEOUT = 20  # seconds for a connection, and between two pieces of an answer
LARGEST = 4 * 1024**3  # bytes that a compressed file may grow to
DELIMITERS = ",;\t|"
LINES_TRIED = 200  # lines from which the delimiter is told

# What stands for "no value" beside what pandas takes for it ("", "NA", "NaN", "null", "None", "#N/A" ...).
MISSING = ("?", "-", "--", ".", "n.a.", "N.A.", "missing", "(null)", "\\N")
ROW_NUMBERS = "row number"  # the name that a first column without a name of its own gets

_NUMBER = re.compile(r"[+-]?[\d.,]*\d[\d.,]*(?:[eE][+-]?\d+)?")
_DECIMAL_COMMA = re.compile(r"[+-]?\d+(?:\.\d{3})*,(?:\d{1,2}|\d{4,})")  # "1.234,5", never "1,234"

# How a file begins that is no table in text, and what it is.
_NO_TEXT = {
    rb"\xd0\xcf\x11\xe0": "an Excel file of the old kind (.xls): save it as .xlsx or CSV",
    rb"ARROW1": "a Feather file: save it as Parquet, by `pandas.read_feather(...).to_parquet(...)`",
    rb'\s*(\[\s*)?\{\s*"': "JSON: save it as CSV, by `pandas.read_json(...).to_csv(..., index=False)`",
    rb"(?i)\s*<(!doctype|html)": "a page of the web, not a table: give the address or the file of the table itself",
}


class DataError(ValueError):
    """A table that cannot be read or used; the message says what, where and what to do."""


@dataclass
class Reading:
    """A table as it was read. `first_line`: the line that holds the first row. `said`: what was done, in words.

    encoding, delimiter: how a text is written. ends_open: whether a delimiter ends each row, after the last column.
    """

    frame: pd.DataFrame
    name: str
    decimal: str = "."
    first_line: int = 2
    encoding: str = "utf-8"
    delimiter: str = ","
    ends_open: bool = False
    said: list[str] = field(default_factory=list)


def read_table(source: str | Path) -> Reading:
    """The table at `source`: CSV with any usual delimiter and encoding, Parquet or Excel, plain, gzip or zip.

    Raises `DataError` for what is no table.
    """
    if urlsplit(str(source)).scheme in ("http", "https"):
        content, name = download(str(source)), str(source)
    else:
        content, name = _content_of(Path(source).expanduser()), str(source)
    content, inside = _unpacked(content, name)
    if content[:4] == b"PAR1":
        reading = _parquet(content, name)
    elif content[:4] == b"PK\x03\x04":
        reading = _excel(content, name)
    else:
        reading = _text(content, name)
    if inside:
        reading.said.insert(0, f"read {inside} from {Path(name).name}")
    if reading.frame.empty:
        raise DataError(f"{name} has a header but no rows: give a table that has some")
    reading.frame.columns = _clean_names(reading)
    return reading


def read_head(head: bytes, name: str) -> Reading:
    """How a text is written, told from its first lines: `head` is as much of it as the caller cares to look at.

    Raises `DataError` for what is no table. Rows with too few or too many fields are none of its business.
    """
    reading = _text(head, name, ragged="skip")
    reading.frame.columns = _clean_names(reading)
    return reading


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
        raise DataError(
            f"{url} cannot be reached ({type(error).__name__}): check the network, or use the sample"
        ) from None


# ---- bytes ----


def _content_of(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise DataError(f"{path} is a folder: give the path of one table, a CSV, Excel or Parquet file")
        if path.exists() and not path.is_file():
            raise DataError(f"{path} is no ordinary file: give the path of a CSV, Excel or Parquet file")
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(
            f'there is no file {path}: give "sample", "article", or the path or address of a table'
        ) from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None


def _unpacked(content: bytes, name: str) -> tuple[bytes, str]:
    """What a compressed file holds, and the name inside where it has one of its own; other content as it is."""
    try:
        if content[:2] == b"\x1f\x8b":
            return _bounded(gzip.GzipFile(fileobj=io.BytesIO(content)), name), ""
        if content[:3] == b"BZh":
            return _bounded(bz2.BZ2File(io.BytesIO(content)), name), ""
        if content[:6] == b"\xfd7zXZ\x00":
            return _bounded(lzma.LZMAFile(io.BytesIO(content)), name), ""
        if content[:4] == b"PK\x03\x04":
            return _from_zip(content, name)
    except (OSError, EOFError, lzma.LZMAError, zipfile.BadZipFile, RuntimeError) as error:
        raise DataError(f"{name} is damaged or cut short ({error}): get it again") from None
    return content, ""


def _bounded(stream, name: str) -> bytes:
    content = stream.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise DataError(f"{name} unpacks to more than {LARGEST // 1024**3} GB: unpack it, and take a part of it")
    return content


def _from_zip(content: bytes, name: str) -> tuple[bytes, str]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if "[Content_Types].xml" in archive.namelist():  # an Excel workbook is a zip archive as well
            return content, ""
        members = [m for m in archive.infolist() if not m.is_dir() and not m.filename.startswith(("__MACOSX", "."))]
        if len(members) != 1:
            names = ", ".join(member.filename for member in members[:4]) or "nothing"
            raise DataError(f"{name} holds {len(members)} files ({names}): unpack it, and give the one to use")
        with archive.open(members[0]) as stream:
            return _bounded(stream, name), members[0].filename


# ---- Parquet and Excel ----


def _parsed(read, content: bytes, name: str, kind: str):
    """What pandas reads with `read`; `DataError` for whatever the library raises for a file that is none of its own."""
    try:
        return read(io.BytesIO(content))
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(f"{name} is not a {kind} file that can be read: {reason}") from None


def _parquet(content: bytes, name: str) -> Reading:
    def read(file: io.BytesIO) -> pd.DataFrame:
        frame = pd.read_parquet(file)
        return frame.reset_index(drop=frame.index.names == [None])  # an index with a name is a column of the file

    return Reading(_parsed(read, content, name, "Parquet"), name)


def _excel(content: bytes, name: str) -> Reading:
    sheets = _parsed(lambda file: pd.read_excel(file, sheet_name=None), content, name, "Excel")
    filled = [title for title, frame in sheets.items() if len(frame)]
    if not filled:
        raise DataError(f"{name} has no sheet with a header and rows")
    reading = Reading(sheets[filled[0]], name)
    if len(sheets) > 1:
        reading.said.append(f"read the sheet {filled[0]!r}, the first of {len(sheets)} that holds rows")
    return reading


# ---- text ----


def _text(content: bytes, name: str, ragged: str = "error") -> Reading:
    """ragged: what becomes of a row with more fields than the header: "error" or "skip"."""
    for start, what in _NO_TEXT.items():
        if re.match(start, content):
            raise DataError(f"{name} is {what}")
    reading = Reading(pd.DataFrame(), name)
    reading.encoding = _encoding(content, name, reading.said)
    text = _decode(content, reading.encoding, name)
    lines = text.splitlines()
    skipped, delimiter = _before_the_header(lines)
    if not any(line.strip() for line in lines[skipped:]):
        raise DataError(f"{name} is empty: it needs a header line with column names, and rows")
    sample = [line for line in lines[skipped : skipped + LINES_TRIED] if line.strip()]
    delimiter = reading.delimiter = delimiter or _delimiter(sample)
    if skipped:
        reading.said.append(f"skipped {skipped} line{'s' if skipped > 1 else ''} before the header")
    if delimiter != ",":
        reading.said.append(f"columns are separated by {'tabs' if delimiter == chr(9) else repr(delimiter)}")
    header, options = _header(lines[skipped], sample, delimiter, reading)
    reading.first_line, reading.ends_open = skipped + 2, "usecols" in options
    rows = [line for line in lines[skipped + 1 :] if not _is_remark(line, delimiter, len(header))]
    if len(rows) < len(lines) - skipped - 1:
        reading.said.append(f"skipped {len(lines) - skipped - 1 - len(rows)} comment lines among the rows")
    try:
        reading.frame = pd.read_csv(
            io.StringIO("\n".join(rows)),
            sep=delimiter,
            header=None,
            names=range(len(header)),
            dtype=str,
            skipinitialspace=True,
            na_values=list(MISSING),
            on_bad_lines=ragged,
            quoting=csv.QUOTE_NONE if ragged == "skip" and "".join(lines).count('"') % 2 else csv.QUOTE_MINIMAL,
            **options,
        )
    except pd.errors.ParserError as error:
        raise DataError(_ragged(str(error), name, skipped + 1, len(header))) from None
    reading.frame.columns = header
    reading.decimal = _decimal_mark(reading.frame, delimiter, reading.said)
    return reading


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
        if nulls > 0.2 * min(len(content), 2000) and len(content) % 2 == 0:  # Latin letters in UTF-16 without its mark
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
    for delimiter in DELIMITERS:
        names, cells = comment.split(delimiter), row.split(delimiter)
        if len(names) == len(cells) > 1:
            return all(map(_is_number, cells)) and not any(map(_is_number, names))
    return False


def _is_number(text: str) -> bool:
    return bool(_NUMBER.fullmatch(text.strip().strip('"')))


def _delimiter(lines: list[str]) -> str:
    """The character that cuts the lines into the same number of fields, more than one; a comma where none does."""
    best, best_score = ",", (0.0, 0)
    for delimiter in DELIMITERS:
        counts = [len(row) for row in csv.reader(lines, delimiter=delimiter, skipinitialspace=True)]
        width, times = Counter(counts).most_common(1)[0]
        # the header may be one field shorter or longer: R's row names, a comma at the end of each row
        if width > 1 and abs(counts[0] - width) <= 1 and counts[0] > 1:
            score = (round(times / len(counts), 1), width)
            if score > best_score:
                best, best_score = delimiter, score
    return best


def _header(line: str, sample: list[str], delimiter: str, reading: Reading) -> tuple[list[str], dict]:
    """The names of the columns, and what pandas must know where the rows are longer than the header."""
    names = next(csv.reader([line.removeprefix("#")], delimiter=delimiter, skipinitialspace=True))
    rows = list(csv.reader(sample[1:], delimiter=delimiter, skipinitialspace=True))
    if len(names) > 1 and all(map(_is_number, names)):
        reading.said.append("the first line holds numbers only: is the header line with the names missing?")
    longer = [row for row in rows if len(row) == len(names) + 1]
    if rows and len(longer) == len(rows):
        if all(not row[-1].strip() for row in rows):
            reading.said.append("a delimiter ends each row but not the header: the empty last column is left out")
            return names, {"index_col": False, "usecols": range(len(names))}
        return [ROW_NUMBERS, *names], {}  # R's write.table gives the row names no header
    return names, {"index_col": False}


def _ragged(error: str, name: str, lines_before: int, width: int) -> str:
    found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", error)
    if found:
        line = int(found[2]) + lines_before
        return (
            f"{name} has {found[3]} fields in line {line} where the header has {width}: "
            "quote a text that holds the delimiter, or mend the line"
        )
    return f"{name} is not a table that pandas can read: {error.strip()}"


def _decimal_mark(frame: pd.DataFrame, delimiter: str, said: list[str]) -> str:
    """ "," where the numbers of the file are written with a decimal comma, else "."."""
    for _, column in frame.items():
        texts = column.dropna().head(1000).str.strip()
        if not len(texts) or not texts.str.fullmatch(_NUMBER.pattern).all():
            continue
        comma = texts.str.fullmatch(_DECIMAL_COMMA.pattern).any()
        if comma or (delimiter == ";" and texts.str.fullmatch(r"[+-]?\d+,\d+").any()):
            said.append("numbers are written with a decimal comma")
            return ","
    return "."


def _clean_names(reading: Reading) -> list[str]:
    """The names of the columns without blanks around them, in Unicode's composed form, each once."""
    names: list[str] = []
    for i, raw in enumerate(reading.frame.columns):
        name = " ".join(unicodedata.normalize("NFC", str(raw)).split())
        if not name or re.fullmatch(r"Unnamed: \d+", name):
            name = ROW_NUMBERS if i == 0 else f"column {i + 1}"
        if name in names:
            again = next(f"{name} ({k})" for k in range(2, len(names) + 3) if f"{name} ({k})" not in names)
            reading.said.append(f"the column {name!r} stands there twice: the later one is called {again!r}")
            name = again
        names.append(name)
    return names
