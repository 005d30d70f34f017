"""A table in text, as any program writes it: its encoding, its delimiter, its header and its quotation are found out.

Bytes come in, a `Reading` goes out. What cannot be a table is a `DataError` of one sentence that names the cause.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import itertools
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator

import pandas as pd

from helpers.data.header_lines import MOST_TITLES, ROW_NUMBERS, lines_skipped, title_lines
from helpers.data.raw_tables import DataError, Reading, is_number, without_dashes
from helpers.data.words import DASHES, MISSING

DELIMITERS = ",;\t|"
BLANK = " "  # a delimiter where no other is: R's write.table, tables whose columns stand below each other
LINES_TRIED = 200  # lines from which the delimiter is told
LONGEST_FIELD = 2**31 - 1
LONGEST_HEADER = 100_000  # bytes in which a name is looked for
MARK = "\ufeff"  # that Unicode begins files with
_ESCAPED = re.compile(r'(?m)(?:^|[,;\t|])"[^"\n]*\\"(?![,;\t|\r\n]|$)')  # "say \"no\"", as Spark and MySQL write it
_RULE = re.compile(r"(?=.*(--|==))[-=+|,;\t ]+")  # a line below the names, as sqlcmd and psql draw it
_CODED = "save it as CSV or Parquet with the program that wrote it"
# The letters beyond a to z of the languages, one a word, that are written in encodings which differ by little else.
_LETTERS = {
    "cp1252": "äöüß àâæçéèêëîïôùûüÿœ áéíóúüñ áàâãçéêíóôú àèéìòù åäöæøé ëéïóöü",
    "cp1250": "ąćęłńóśźż áčďéěíňóřšťúůýž áäčďéíĺľňóôŕšťúýž áéíóöőúüű čćđšž ăâîşţ",
    "cp1254": "çğıi̇öşüâîû",
}
_OLDER = ["cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "shift_jis", "gb18030", "big5", "euc_kr"]
# How a file begins that is no table in text, and what it is.
_NO_TEXT = {
    rb"\xd0\xcf\x11\xe0": "an Excel file of the old kind (.xls), or with a password: save it as .xlsx without, or CSV",
    rb"ORC": "an ORC file: save it as Parquet, by `pandas.read_orc(...).to_parquet(...)`",
    rb"\s*\|[^\n]*\|\s*\n\|[-:| ]+\|\s*\n|\s*\+[-=+]+\+\s*\n\|": (
        "a table drawn for reading: save it as CSV where it was made"
    ),
    rb"(?i)\s*<(!doctype|html|table)": (
        "a page of the web, also where a program named it .xls: give the table itself, or open this in Excel or "
        "LibreOffice and save it as .xlsx or CSV"
    ),
    rb"(?s)\s*<\?xml.{0,200}Excel\.Sheet": "an Excel file of the old kind, in XML: save it as .xlsx or CSV",
    rb"\s*<\?xml": "XML: save it as CSV, by `pandas.read_xml(...).to_csv(..., index=False)`",
    rb"version https://git-lfs": "a pointer of Git LFS, not the table: get that by `git lfs pull`",
    rb"SQLite format 3": "an SQLite database: save the table in it as CSV",
    rb"\x89HDF": (
        "an HDF5 file: save it as Parquet, by `pandas.read_hdf(...).to_parquet(...)`, or where it is a Keras model "
        "serve it, by `python3 tutorial.py serve FILE`"
    ),
    rb"\x80[\x02-\x05]": "a pickle of Python: save it as Parquet, by `pandas.read_pickle(...).to_parquet(...)`",
    rb"\x93NUMPY": "an array of NumPy, without names of columns: save it as CSV, with a first line that names them",
    rb"\0{12}\xc2\xea\x81\x60|HEADER RECORD\*{7}LIBRARY": (
        "a SAS file: save it as Parquet, by `pandas.read_sas(...).to_parquet(...)`"
    ),
    rb"\$FL[23]": f"an SPSS file: {_CODED}",
    rb"Obj\x01": f"an Avro file: {_CODED}",
    rb"(?i)(--[^\n]*\n|\s)*(/\*m?!|(create|drop) (table|database) |insert into |pragma \w+ ?=|set \w+ ?=)": (
        "a dump of a database, in SQL: load it into one, and save the table in it as CSV"
    ),
    rb"RD[AX]\d\n|X\n\0\0": "a file of R: save it as CSV, by `write.csv(..., row.names = FALSE)`",
    rb"%PDF": "a PDF: save the table in it as CSV",
    rb"7z\xbc\xaf|Rar!|\x04\x22\x4d\x18": (
        "packed in a way that is not read here: unpack it, and give the table in it"
    ),
    rb"(?s).{257}ustar": "a tar archive: unpack it, and give the table in it",
}


def text_table(
    content: bytes, name: str, ragged: str = "error", holds: Callable[[str], bool] = lambda name: False
) -> Reading:
    """The table in a text, its cells as they stand there; several lines of names are left to `header_lines`.

    ragged: what becomes of a row with more fields than the header: "error" or "skip". holds: whether a column of this
    name is looked for, by which an older encoding is told. Raises `DataError` for what is no table.
    """
    for start, what in _NO_TEXT.items():
        if re.match(start, content):
            raise DataError(f"{name} is {what}")
    reading = Reading(pd.DataFrame(), name)
    reading.encoding = encoding_of(content, name, reading.said, holds)
    text = decoded(content, reading.encoding, name).replace(MARK, "")  # within files that were joined, too
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
    titles = title_lines(first[:is_whole], Counter(map(len, first)).most_common(1)[0][0])
    skipped = at[titles]
    sample = [lines[i] for i in at[titles:]]
    if skipped:
        reading.said.append(lines_skipped(skipped))
    if delimiter != ",":
        shown = {"\t": "tabs", BLANK: "blanks"}.get(delimiter, repr(delimiter))
        reading.said.append(f"columns are separated by {shown}")
    header, taken, options = _header(sample, delimiter, reading)
    reading.header = lines[skipped] if taken == 1 and len(header) > 1 else ""
    taken += bool(_RULE.fullmatch("".join(lines[skipped + taken : skipped + taken + 1])))
    reading.first_line, reading.ends_open = skipped + taken + 1, "usecols" in options
    rows = _rows(lines[skipped : skipped + taken], lines[skipped + taken :], delimiter, len(header), reading.said)
    widest = _widest(rows, delimiter, len(header), name, skipped + taken) if ragged == "error" else len(header)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pd.errors.ParserWarning)  # of fields that it cuts off, which are empty
            frame = pd.read_csv(
                io.StringIO("\n".join(rows)),
                sep=delimiter,
                header=None,
                names=range(widest),
                dtype=str,
                skipinitialspace=True,
                na_values=[text for text in MISSING if text not in DASHES],
                on_bad_lines=ragged,
                quoting=csv.QUOTE_NONE if ragged == "skip" and "".join(lines).count('"') % 2 else csv.QUOTE_MINIMAL,
                **options,
            )
    except pd.errors.ParserError as error:
        raise DataError(_ragged(str(error), name, skipped + taken, len(header))) from None
    reading.frame = without_dashes(frame.iloc[:, : len(header)])
    reading.frame.columns = header
    return reading


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
        said.append(f"skipped {remarks} comment line{'s' * (remarks > 1)} among the rows")
    if headers:
        said.append(f"skipped {headers} line{'s' * (headers > 1)} among the rows that repeat the header")
    return rows


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
            return any(map(is_number, cells)) and not any(map(is_number, names))
    return False


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
    return any(all(map(is_number, column)) for column in zip(*rows, strict=True))


def _header(sample: list[str], delimiter: str, reading: Reading) -> tuple[list[str], int, dict]:
    """The names of the columns, how many lines they take, and what pandas must know where rows are longer."""
    reader = _fields(sample, delimiter)
    names = next(reader)
    taken = reader.line_num  # several, where a name in quotation marks has a line's end in it
    if taken > MOST_TITLES:  # a mark that is never closed
        names, taken = next(_fields(sample[:1], delimiter)), 1
    rows = list(_fields(sample[taken:], delimiter))
    others = [row for row in rows if row != names]  # files that were joined repeat the header
    if len(names) > 1 and all(is_number(name) or _holds(others, at, name) for at, name in enumerate(names)):
        reading.said.append("the first line seems to hold values: is the header line with the names missing?")
    longer = [row for row in rows if len(row) == len(names) + 1]
    if rows and len(longer) == len(rows):
        if all(not row[-1].strip() for row in rows):
            reading.said.append("a delimiter ends each row but not the header: the empty last column is left out")
            return names, taken, {"index_col": False, "usecols": range(len(names))}
        if len({row[0] for row in rows}) < len(rows) and _are_cut_at_thousands(rows):
            raise DataError(
                f"{reading.name} has a field more in each row than in the header: put the numbers that have commas for "
                "their thousands, 12,345 say, in quotation marks, or take the commas out"
            )
        reading.said.append("each row has a field more than the header: the first is taken for the row's name")
        return [ROW_NUMBERS, *names], taken, {}  # R's write.table gives the row names no header
    return names, taken, {"index_col": False}


def _are_cut_at_thousands(rows: list[list[str]]) -> bool:
    """Whether a field of each row and the next are one number: 12 and 345."""
    pairs = zip(*(itertools.pairwise(row) for row in rows), strict=True)
    return any(all(re.fullmatch(r"[1-9]\d{0,2} \d{3}", " ".join(pair), re.ASCII) for pair in each) for each in pairs)


def _holds(rows: list[list[str]], at: int, cell: str) -> bool:
    return any(row[at : at + 1] == [cell] for row in rows)


def _widest(rows: list[str], delimiter: str, width: int, name: str, lines_before: int) -> int:
    """The fields of the longest row, `width` at least; `DataError` where one beyond those of the header is filled."""
    most = max((row.count(delimiter) for row in rows), default=0)
    records, widest = _fields(rows, delimiter) if most >= width else (), width
    for record in records:
        if any(cell.strip() for cell in record[width:]):
            raise DataError(_of_many_fields(name, len(record), records.line_num + lines_before, width))
        widest = max(widest, len(record))
    return widest


def _of_many_fields(name: str, count: int, line: int, width: int) -> str:
    todo = "quote a text that holds the delimiter, or mend the line"
    if width == 1:  # a title, or what is left of one
        todo = f"put a line with the names of its {count} columns in the place of the header"
    return f"{name} has {count} fields in line {line} where the header has {width}: {todo}"


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


# ---- encodings ----


def encoding_of(content: bytes, name: str, said: list[str], holds: Callable[[str], bool] = lambda name: False) -> str:
    """How a file's text is encoded: in UTF-8, UTF-16 or one of the older encodings, which is said in `said`.

    holds: whether a column of this name is looked for. Raises `DataError` where it is no text.
    """
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
    encoding = _naming(content, older_encoding(content), holds)
    said.append(f"read as {encoding}, as it is not UTF-8")
    return encoding


def decoded(content: bytes, encoding: str, name: str) -> str:
    """The text in bytes; raises `DataError` where they are none in this encoding."""
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        raise DataError(f"{name} is not text in {encoding.upper()}: save it as CSV in UTF-8") from None


def _naming(content: bytes, likeliest: str, holds: Callable[[str], bool]) -> str:
    """The encoding in which a column that is looked for is named: short texts in Chinese may be some in Korean."""
    head = b"\n".join(content[:LONGEST_HEADER].splitlines()[: MOST_TITLES + 1])
    for encoding in (likeliest, *_OLDER):
        with contextlib.suppress(UnicodeDecodeError):
            names = re.split(rf"[{DELIMITERS}\r\n]", head.decode(encoding, "replace"))
            if any(holds(name.strip(' "')) for name in names if not name.isascii()):
                content.decode(encoding)
                return encoding
    return likeliest


def older_encoding(content: bytes) -> str:
    """The likeliest encoding of text that is not UTF-8; Windows' Western one where the letters do not tell it apart."""
    from charset_normalizer import from_bytes

    start = content[:200_000]
    matches = from_bytes(start, cp_isolation=_OLDER)
    found = matches.best()
    few = sum(byte > 127 for byte in start) < 40
    try:
        content.decode("cp1252")
    except UnicodeDecodeError:
        return found.encoding if found else "latin-1"
    if found is None or few:
        return "cp1252"
    encoding = "cp1252" if start.decode(found.encoding, "replace") == start.decode("cp1252") else found.encoding
    fit = [each for each in _LETTERS if _is_of_one_language(start.decode(each, "replace"), each)]
    if encoding not in _LETTERS or not fit:
        return encoding
    western = next((match for match in matches if match.encoding == "cp1252"), None)
    is_likelier = western is None or found.coherence > western.coherence
    return encoding if encoding in fit and (is_likelier or "cp1252" not in fit) else fit[0]


def _is_of_one_language(text: str, encoding: str) -> bool:
    """Whether a language that is written in an encoding has all letters of a text."""
    others = {letter for letter in text.lower() if letter > "\x7f" and (letter.isalpha() or letter == "\ufffd")}
    return any(others <= set(letters) for letters in _LETTERS[encoding].split())
