"""A table is read whatever program wrote it, and what cannot be read is one sentence that names the cause."""

import bz2
import csv
import gzip
import io
import itertools
import json
import lzma
import os
import zipfile

import numpy as np
import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helpers.data.columns import typed, usable
from helpers.data.header_lines import ROW_NUMBERS
from helpers.data.raw_tables import DataError
from helpers.data.reading import read_head, read_table

RANDOM = np.random.default_rng(0)
TABLE = pd.DataFrame(
    {"a": RANDOM.normal(0, 500, 40).round(3), "b": RANDOM.integers(0, 9, 40), "label": RANDOM.integers(0, 2, 40)}
)
CSV = TABLE.to_csv(index=False)
HEADER, *LINES = CSV.splitlines()


def zipped(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, CSV)
    return file.getvalue()


def with_sheets(*sheets: tuple[list, str]) -> bytes:
    """A workbook of sheets, each its rows and whether it is "visible" or "hidden"."""
    book, file = openpyxl.Workbook(), io.BytesIO()
    book.remove(book.active)
    for rows, state in sheets:
        sheet = book.create_sheet()
        sheet.sheet_state = state
        for row in rows:
            sheet.append(row)
    book.save(file)
    return file.getvalue()


def excel(startrow: int = 0, startcol: int = 0, title: str = "", **sheets: pd.DataFrame) -> bytes:
    file = io.BytesIO()
    with pd.ExcelWriter(file) as writer:
        for name, frame in sheets.items():
            frame.to_excel(writer, sheet_name=name, index=False, startrow=startrow, startcol=startcol)
            if title:
                writer.sheets[name].cell(1, startcol + 1, title)
    return file.getvalue()


def parquet(table: pd.DataFrame = TABLE) -> bytes:
    file = io.BytesIO()
    table.to_parquet(file)
    return file.getvalue()


def parquet_with(table: pd.DataFrame, more: str) -> bytes:
    file, columns = io.BytesIO(), [*(pa.array(table[name]) for name in table), pa.array(table.b)]
    pq.write_table(pa.table(columns, names=[*table, more]), file)
    return file.getvalue()


def feather() -> bytes:
    file = io.BytesIO()
    TABLE.to_feather(file)
    return file.getvalue()


def stata(table: pd.DataFrame, **labels: dict) -> bytes:
    file = io.BytesIO()
    table.to_stata(file, write_index=False, value_labels=labels or None)
    return file.getvalue()


def arrow_stream() -> bytes:
    table, file = pa.Table.from_pandas(TABLE), io.BytesIO()
    with pa.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)
    return file.getvalue()


def read(tmp_path, content: str | bytes):
    path = tmp_path / "mine.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path, "label")


def joined(separator: str) -> str:
    return CSV.replace(",", separator)


SAME = {
    "comma": CSV,
    "semicolon": joined(";"),
    "semicolon and decimal comma": TABLE.to_csv(index=False, sep=";", decimal=","),
    "semicolon, decimal comma, thousands": TABLE.assign(
        a=[f"{value:_.3f}".replace(".", ",").replace("_", ".") for value in TABLE.a]
    ).to_csv(index=False, sep=";"),
    "semicolon, decimal comma, a sign of money": TABLE.assign(
        a=[f"{value:_.3f} €".replace(".", ",").replace("_", ".") for value in TABLE.a]
    ).to_csv(index=False, sep=";"),
    "a column with a decimal comma among those with a point": TABLE.assign(
        money=[f"{value:.2f} €".replace(".", ",") for value in TABLE.a]
    )[["a", "b", "label", "money"]].to_csv(index=False),
    "units below the names, decimal comma": TABLE.to_csv(index=False, sep=";", decimal=",").replace(
        "label\n", "label\ncm;years;\n"
    ),
    "thousands": TABLE.assign(a=[f"{value:,.3f}" for value in TABLE.a]).to_csv(index=False),
    "tab": joined("\t"),
    "tab and decimal comma": TABLE.to_csv(index=False, sep="\t", decimal=","),
    "pipe": joined("|"),
    "blank": joined(" "),
    "columns below each other": TABLE.to_string(index=False),
    "blank and decimal comma": TABLE.to_csv(index=False, sep=" ", decimal=","),
    "blank, the header as a comment": "# " + joined(" "),
    "blanks after commas": joined(", "),
    "blanks around": joined("  ,  "),
    "a comment first": "# exported by größe\n" + CSV,
    "the header as a comment": "#" + CSV,
    "comments among the rows": "\n".join([HEADER, "# first half", *LINES[:20], "#second half", *LINES[20:]]),
    "empty lines first": "\n\n" + CSV,
    "a title first": '"Sales, 2024"\nas of: 3 May\n\n' + CSV,
    "a title as wide as the rows": "Sales,,\n" + CSV,
    "two files joined": "\n".join([HEADER, *LINES[:20], HEADER, *LINES[20:]]),
    "Excel's line that names the separator": "sep=;\n" + joined(";"),
    "UTF-8 with a mark": CSV.encode("utf-8-sig"),
    "UTF-16": joined("\t").encode("utf-16"),
    "UTF-16, big end first": b"\xfe\xff" + CSV.encode("utf-16-be"),
    "UTF-16 without a mark": CSV.encode("utf-16-le"),
    "a line below the names": f"{HEADER}\n---,---,------\n" + "\n".join(LINES),
    "blanks, a line below the names": TABLE.to_string(index=False).replace("label\n", "label\n------ -- -----\n"),
    "as psql shows it": "\n".join(
        [HEADER.replace(",", " | "), "---+---+---", *(f" {line} ".replace(",", " | ") for line in LINES)]
    ),
    "two files joined, each with a mark": (
        "\ufeff" + "\n\ufeff".join([HEADER, *LINES[:20], HEADER, *LINES[20:]])
    ).encode(),
    "Windows line ends": CSV.replace("\n", "\r\n"),
    "old Macintosh line ends": CSV.replace("\n", "\r"),
    "a comma ends each row": "\n".join([HEADER, *(line + "," for line in LINES)]),
    "quoted": TABLE.to_csv(index=False, quoting=1),
    "gzip": gzip.compress(CSV.encode()),
    "bzip2": bz2.compress(CSV.encode()),
    "xz": lzma.compress(CSV.encode()),
    "zstd": pa.compress(CSV.encode(), "zstd", asbytes=True),
    "zip": zipped("folder/table.csv"),
    "zip with a Macintosh's clutter": zipped("table.csv", "__MACOSX/._table.csv"),
    "Excel": excel(Sheet1=TABLE),
    "Excel, the second sheet": excel(Notes=pd.DataFrame(), Data=TABLE),
    "Excel, the sheet with the label": excel(Notes=pd.DataFrame({"see": ["Data"]}), Data=TABLE),
    "Excel, below a title and off the edge": excel(startrow=4, startcol=2, Sheet1=TABLE, title="Sales"),
    "Excel, with numbers for names": excel(Sheet1=TABLE.rename(columns={"a": 2024})),
    "Excel, below cells that were merged": excel(startrow=1, Sheet1=TABLE, title="measured"),
    "Excel, behind a sheet that is hidden": with_sheets(
        ([list(TABLE), [1, 2, 0], [3, 4, 1]], "hidden"), ([list(TABLE), *TABLE.values.tolist()], "visible")
    ),
    "JSON": TABLE.to_json(orient="records"),
    "JSON, indented": TABLE.to_json(orient="records", indent=2),
    "JSON in lines": TABLE.to_json(orient="records", lines=True),
    "JSON in lines, with a mark": TABLE.to_json(orient="records", lines=True).encode("utf-8-sig"),
    "JSON, column by column": TABLE.to_json(),
    "JSON, lists of columns": json.dumps(TABLE.to_dict("list")),
    "JSON, as a service answers": json.dumps({"count": len(TABLE), "data": TABLE.to_dict("records")}),
    "JSON, numbers as texts": TABLE.astype(str).to_json(orient="records"),
    "JSON, compressed": gzip.compress(TABLE.to_json(orient="records", lines=True).encode()),
    "JSON, lists below their names": json.dumps([list(TABLE), *TABLE.values.tolist()]),
    "JSON, lists beside their names": TABLE.to_json(orient="split"),
    "JSON, lists beside what tells of them": json.dumps(
        {"fields": [{"id": name, "type": "num"} for name in TABLE], "records": TABLE.values.tolist()}
    ),
    "JSON, lists in lines": "\n".join(map(json.dumps, [list(TABLE), *TABLE.values.tolist()])),
    "JSON, rows by their names": TABLE.to_json(orient="index"),
    "JSON, with a schema": TABLE.to_json(orient="table", index=False),
    "JSON, the second list in an answer": json.dumps(
        {"help": {"a": 1}, "result": {"fields": [{"id": "a"}], "records": TABLE.to_dict("records")}}
    ),
    "JSON, one value below the other": "\n".join(json.dumps(row, indent=1) for row in TABLE.to_dict("records")),
    "JSON, values with commas between them": ",\n".join(map(json.dumps, TABLE.to_dict("records"))),
    "JSON, UTF-16": TABLE.to_json(orient="records").encode("utf-16"),
    "Feather": feather(),
    "Arrow's stream": arrow_stream(),
    "Stata": stata(TABLE),
    "Stata, labels that are one for several numbers": stata(TABLE, b={0: "few", 1: "few"}),
    "ARFF": "\n".join(
        [
            *("% no table", "@RELATION x", "", "@attribute 'a' real % of it", "@ATTRIBUTE b {0, 1}"),
            *("@attribute\tlabel {0,1}", "@data", "% rows", *LINES),
        ]
    ),
    "Parquet": parquet(),
    "Parquet, names of two levels": parquet(
        TABLE.set_axis(pd.MultiIndex.from_tuples([(name, "") for name in TABLE]), axis=1)
    ),
    "Parquet, a name twice": parquet_with(TABLE, more="a"),
    "Parquet, texts as bytes": parquet(TABLE.assign(a=[str(value).encode() for value in TABLE.a])),
    "Parquet, a column of it the index": parquet(TABLE.set_index("a")),
}


@pytest.mark.parametrize("separator", [";", "\t", "|"])
@pytest.mark.parametrize("unit", ["", ", cm"])
@pytest.mark.parametrize("width", range(2, 7))
def test_decimal_commas_in_every_column_are_not_taken_for_delimiters(tmp_path, width, unit, separator):
    numbers = np.random.default_rng(width).uniform(0, 9, (50, width)).round(3)
    table = pd.DataFrame(numbers, columns=[f"Größe {i}{unit}" for i in range(width)])
    for last in (table.iloc[:, -1], table.iloc[:, -1].round().astype(int)):
        table = table.assign(**{table.columns[-1]: last})
        reading = read(tmp_path, table.to_csv(index=False, sep=separator, decimal=","))
        assert list(reading.frame.columns) == list(table.columns)
        for name in table:
            np.testing.assert_array_equal(typed(reading.frame[name], reading.commas), table[name].astype(float))


@pytest.mark.parametrize("form", SAME)
def test_the_same_table_in_any_form_is_the_same_table(tmp_path, form):
    reading = read(tmp_path, SAME[form])
    reading.frame = reading.frame.rename(columns={"2024": "a"})
    assert list(reading.frame.columns)[:3] == list(TABLE.columns)
    for name in TABLE:
        np.testing.assert_array_equal(typed(reading.frame[name], reading.commas), TABLE[name].astype(float))


@pytest.mark.parametrize(
    ("separator", "others", "written", "means"),
    [
        (";", ("1,5", "2,25"), ("£1,200.50", "£27,000.00"), (1200.5, 27000)),
        (";", ("1,5", "2,25"), ("1.5", "2.25"), (1.5, 2.25)),
        (",", ("1.5", "2.25"), ('"1.200,50 €"', '"7,00 €"'), (1200.5, 7)),
        (",", ("1.5", "2.25"), ("1.200.000", "7"), (1200000, 7)),
        (",", ("1.5", "2.25"), ('"1,3"', '"2,3"'), None),  # answers of a survey, it may be
    ],
)
def test_each_column_tells_its_own_decimal_mark(tmp_path, separator, others, written, means):
    rows = [f"{first}{separator}{second}{separator}0" for first, second in zip(others, written, strict=True)]
    reading = read(tmp_path, "\n".join([f"a{separator}b{separator}label", *rows]))
    a, b = (typed(reading.frame[name], reading.commas) for name in "ab")
    assert a.tolist() == [1.5, 2.25]
    assert b.tolist() == (list(means) if means else [text.strip('"') for text in written])


def test_a_word_among_decimal_commas_does_not_make_them_points(tmp_path):
    lines = [f"{1 + i}.{100 + i},{i % 7}" if i % 9 else "k.A." for i in range(90)]
    table = pd.DataFrame({"a": lines, "label": [0, 1] * 45})
    reading = read(tmp_path, table.to_csv(index=False, sep=";"))
    assert "a" in reading.commas
    column = usable(reading.frame, reading.commas)[1][0]
    assert column.used_as.endswith("; leave the cells with 'k.A.' empty, and it is a number")
    with pytest.raises(DataError, match=r"line 2 holds 'k\.A\.': correct the cell, or leave it empty"):
        usable(reading.frame, reading.commas, treat_as={"a": "number"})


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (TABLE.to_csv(), [ROW_NUMBERS, "a", "b", "label"]),  # pandas with its index
        ("\n".join([HEADER, *(f'"{i}",{line}' for i, line in enumerate(LINES))]), [ROW_NUMBERS, "a", "b", "label"]),
        ("\n".join([HEADER, *(f'"same",{line}' for line in LINES)]), [ROW_NUMBERS, "a", "b", "label"]),  # R
        (TABLE.to_csv(sep=" ", quoting=csv.QUOTE_NONNUMERIC).removeprefix('"" '), [ROW_NUMBERS, "a", "b", "label"]),
        ("full name\n" + "Ada Lovelace\n" * 40, ["full name"]),  # one column of texts
        (CSV.replace("a,b", "a,a"), ["a", "a (2)", "label"]),
        (CSV.replace("a,b", '"a, in cm",b'), ["a, in cm", "b", "label"]),
        (CSV.replace("a,b", '"a\n(cm)",b'), ["a (cm)", "b", "label"]),
        (CSV.replace("a,b", f"{'a' * 200_000},b"), ["a" * 200_000, "b", "label"]),
        (CSV.replace("a,b", "größe,b").encode("cp1252"), ["größe", "b", "label"]),
        (CSV.replace("a,b", "größe,b").encode("cp1250"), ["größe", "b", "label"]),
        (CSV.replace("a,b", "\u200ba,b\u200b"), ["a", "b", "label"]),
        (CSV.replace("a,b", "gro\u0308\u00dfe,b"), ["gr\u00f6ße", "b", "label"]),  # composed
        (CSV.replace("a,b", "日本語,b").encode("shift_jis"), None),
        ("\n".join(line + "," for line in [HEADER, *LINES]), ["a", "b", "label", "column 4"]),
    ],
    ids=itertools.count(),
)
def test_names_come_out_as_they_are_meant(tmp_path, content, names):
    reading = read(tmp_path, content)
    assert len(reading.frame) == 40 and (names is None or list(reading.frame.columns) == names)


@pytest.mark.parametrize("missing", ["", " ", "NA", "N/A", "?", "null", "-", ".", "..", "#DIV/0!", "#REF!"])
def test_what_stands_for_no_value_is_missing(tmp_path, missing):
    reading = read(tmp_path, f"a,b,label\n1,x,0\n{missing},y,1\n3,{missing},0\n")
    assert reading.frame.isna().to_numpy().tolist() == [[False] * 3, [True, False, False], [False, True, False]]


@pytest.mark.parametrize(
    ("above", "names"),
    [
        ("{}\ncm,years,", ["a", "b", "label"]),
        ("X1,X2,Y\n{}", ["a", "b", "label"]),
        ('{}\n"How tall, in cm?",How old?,Bought?\nid1,id2,id3', ["a", "b", "label"]),
        ("Price,Price,label\nAAPL,MSFT,", ["Price AAPL", "Price MSFT", "label"]),
        ("{}\nAAPL,AAPL,AAPL\nDate,,", ["a", "b", "label"]),  # yfinance
    ],
)
def test_lines_that_name_the_columns_once_more_are_no_rows(tmp_path, above, names):
    content = "\n".join([above.format(HEADER), *LINES])
    reading = read(tmp_path, content)
    assert list(reading.frame.columns) == names and len(reading.frame) == 40
    assert reading.first_line == above.count("\n") + 2
    assert any("name the columns: " in sentence for sentence in reading.said)


@pytest.mark.parametrize("form", ["CSV", "Excel"])
def test_a_survey_names_the_answers_below_its_questions(tmp_path, form):
    asked = ["Respondent ID", "Which do you use?", "", "How likely, 0 to 10?", "label"]
    rows = [[1000 + i, "App" * (i % 2), "Web" * (i % 3 // 2), i % 11, i % 2] for i in range(40)]
    lines = [asked, ["", "App", "Web", "Response", "Response"], *rows]
    path = tmp_path / "survey"
    if form == "CSV":
        pd.DataFrame(lines).to_csv(path, index=False, header=False)
    else:
        pd.DataFrame(lines).replace("", None).to_excel(path, index=False, header=False, engine="openpyxl")
    reading = read_table(path, "label")
    assert list(reading.frame.columns) == [*asked[:2], "Which do you use? Web", *asked[3:]]
    assert len(reading.frame) == 40 and reading.said == ["lines 1 to 2 name the columns: took those of line 1"]
    whole = read_table(path, "label Response").frame.columns
    assert list(whole) == [
        asked[0],
        "Which do you use? App",
        "Which do you use? Web",
        f"{asked[3]} Response",
        "label Response",
    ]


def test_a_column_without_a_name_makes_no_row_a_name(tmp_path):
    reading = read(tmp_path, "\n".join([",a,b,label", "first,,,x", *(f"row {i},{i},{i},x" for i in range(3, 40))]))
    assert len(reading.frame) == 38
    reading = read(tmp_path, "\n".join([",a,label", "first,,x", *(f"row {i},{i},y" for i in range(3, 40))]))
    assert len(reading.frame) == 38


def test_a_first_row_without_numbers_that_holds_a_value_of_others_is_a_row(tmp_path):
    reading = read(
        tmp_path, "\n".join(["a,b,c,label", "none yet,unclear,red,1", *(f"{i},{i},red,{i % 2}" for i in range(30))])
    )
    assert len(reading.frame) == 31


@pytest.mark.parametrize("dash", ["-", "\u2013", "\u2212"])  # as typesetting has it, too
def test_a_dash_is_a_value_beside_a_plus(tmp_path, dash):
    table = f"a,label\n1,+\n{dash},{dash}\n3,{dash}\n"
    assert read(tmp_path, table).frame.label.tolist() == ["+", dash, dash]
    frame = read(tmp_path, table.replace("+", "x")).frame
    assert frame.isna().to_numpy().tolist() == [[False, False], [True, True], [False, True]]


@pytest.mark.parametrize("form", ["JSON", "Parquet", "Excel"])
def test_what_stands_for_no_value_in_texts_is_missing_in_whatever_holds_them(tmp_path, form):
    cells = ["1.5", "NA", "?", "", "-", None, " n/a "]
    table = pd.DataFrame({"a": cells, "b": [[1, 2]] * 7, "label": list("0101010")})
    written = {"JSON": lambda: table.to_json(orient="records"), "Parquet": lambda: parquet(table)}
    written["Excel"] = lambda: excel(Sheet1=table[["a", "label"]])
    frame = read(tmp_path, written[form]()).frame
    assert frame.a.isna().tolist() == [False] + [True] * (6 if form != "Excel" else 5) + [False] * (form == "Excel")


def test_objects_within_rows_are_taken_apart_and_that_is_said(tmp_path):
    rows = [{"who": {"age": age, "at": {"city": "Ulm"}}, "label": 0} for age in (30, 40)]
    reading = read(tmp_path, json.dumps([*rows, {"who": None, "tags": ["a"], "label": 1}]))
    assert reading.said == ["objects within rows are taken apart: who.age, who.at.city"]
    assert reading.frame["who.age"].tolist()[:2] == [30, 40] and reading.frame["tags"].iloc[2] == ["a"]


def test_formulas_that_were_never_computed_are_said_or_refused_where_they_are_the_label(tmp_path):
    rows = [[i, f"=A{i + 2}/2", i % 2] for i in range(9)]
    said = read(tmp_path, with_sheets(([["a", "half", "label"], *rows], "visible"))).said
    assert said == [
        "mine.csv has formulas that were never computed (half): open it in Excel or LibreOffice, and save it"
    ]
    with pytest.raises(DataError, match=r"has formulas that were never computed \(Label\): open it in Excel"):
        read(tmp_path, with_sheets(([["a", "Label", "b"], *rows], "visible")))


def test_lines_of_a_text_in_quotation_marks_are_no_comments_and_end_where_the_file_says(tmp_path):
    texts = ["one\n#two", "three\u2028four", "five\x0csix"]
    frame = read(tmp_path, pd.DataFrame({"a": texts, "b": [1, 2, 3], "label": [0, 1, 0]}).to_csv(index=False)).frame
    assert frame.a.tolist() == texts and frame.label.tolist() == ["0", "1", "0"]


def test_quotation_marks_within_texts_may_have_a_backslash_before_them(tmp_path):
    texts = ['say "no", or', "C:\\", 'a 5" disk', "plain"]
    rows = ['"say \\"no\\", or",0', '"C:\\",1', '"a 5\\" disk",0', "plain,1"]
    assert read(tmp_path, "\n".join(["a,label", *rows[:1], *rows[2:]])).frame.a.tolist() == [texts[0], *texts[2:]]
    assert read(tmp_path, "\n".join(["a,label", rows[1], rows[3]])).frame.a.tolist() == [texts[1], texts[3]]


def test_what_was_done_to_the_file_is_said(tmp_path):
    said = read(tmp_path, "# comment\n" + TABLE.to_csv(index=False, sep=";", decimal=",")).said
    assert said == [
        "skipped 1 line before the header",
        "columns are separated by ';'",
        "numbers are written with a decimal comma",
    ]
    said = read(tmp_path, excel(Notes=pd.DataFrame({"see": ["Q1"]}), Q1=TABLE, Q2=TABLE)).said
    assert said == ["read the sheet 'Q1', the first of 3 that holds 'label'; so does 'Q2'"]
    for rows in (1, 30):  # of many German letters, too, which Central Europe's encoding has at the same places
        content = ("größe,label\n" + "überall,0\nKöln,1\n" * rows).encode("cp1252")
        assert read(tmp_path, content).said == ["read as cp1252, as it is not UTF-8"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "mine.csv is empty: it needs a header line"),
        ("\n\n", "mine.csv is empty: it needs a header line"),
        ("a,b,label\n", "mine.csv has a header but no rows"),
        (CSV + "1,2,3,4\n", "mine.csv has 4 fields in line 42 where the header has 3: quote a text"),
        (
            "|1x3 Cross validator\n" + "1,2,0\n" * 9,
            "has 3 fields in line 2 where the header has 1: put a line with the",
        ),
        (CSV.replace("\n", "\n4,", 1), "mine.csv has 4 fields in line 2 where the header has 3: quote a text"),
        ("a,b,label\n" + "1,2,0,4,5\n" * 9, "mine.csv has 5 fields in line 2 where the header has 3: quote a text"),
        (
            "a,b,label\n" + "".join(f"{i % 9},{i},{123 + i},0\n" for i in range(10, 60)),
            "put the numbers that have commas",
        ),
        (bytes(range(256)) * 20, "mine.csv is not a table in text: it holds binary data"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), r"of the old kind \(.xls\), or with a password: save it as"),
        (b"ARROW1" + bytes(99), "is not a Feather file that can be read"),
        (TABLE.to_json(orient="records")[:60], "is not JSON that can be read: .* line 1 column"),
        ('{"a": 1, "label": 0}', "is JSON, but no table: give a list of objects, one for each row"),
        ("[]", "is JSON, but no table: give a list of objects, one for each row"),
        ("[[1, 0], [2, 1]]", "is JSON, but no table: give a list of objects, one for each row"),
        ('{"a": 1}\n\n{"a": 2\n', "is not JSON that can be read: Expecting ',' delimiter: line 4 column 1"),
        (zipped("mimetype", "content.xml"), "is an OpenDocument file, as LibreOffice writes it: save it as .xlsx"),
        (zipped("[Content_Types].xml", "xl/workbook.bin"), r"is an Excel file in binary \(.xlsb\): save it as .xlsx"),
        (zipped("[Content_Types].xml", "word/document.xml"), "is a document of Word: save the table in it as CSV"),
        (zipped("config.json", "model.weights.h5"), "is a Keras model: serve it, by"),
        (b"SQLite format 3\0" + bytes(99), "is an SQLite database: save the table in it as CSV"),
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "is an HDF5 file: save it as Parquet"),
        (bytes(257) + b"ustar" + bytes(99), "is a tar archive: unpack it"),
        (b"7z\xbc\xaf" + bytes(99), "is packed in a way that is not read here: unpack it"),
        (b"\x28\xb5\x2f\xfd" + bytes(99), "is damaged or cut short"),
        (b"@relation x\n@data\n{0 1}", "is not an ARFF file that can be read: its rows are sparse, save it as CSV"),
        (b"\x72\x02\x01" + bytes(9), "is not a Stata file that can be read"),
        (b"Obj\x01" + bytes(99), "is an Avro file: save it as CSV or Parquet"),
        (b"HEADER RECORD*******LIBRARY" + bytes(99), "is a SAS file: save it as Parquet, by `pandas.read_sas"),
        ("-- MySQL dump\n\n/*!40101 SET NAMES */;\nINSERT INTO x VALUES (1);", "is a dump of a database, in SQL: load"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS"),
        (bytes(4000), "is not a table in text: it holds binary data"),
        ("<!DOCTYPE html><title>Sign in</title>", "is a page of the web"),
        ("<table>\n<tr><td>a</td></tr>\n</table>", "is a page of the web, .* save it as .xlsx or CSV"),
        (
            '<?xml version="1.0"?>\n<?mso-application progid="Excel.Sheet"?>\n<Workbook>',
            "an Excel file of the old kind",
        ),
        ('<?xml version="1.0"?>\n<data/>', "is XML: save it as CSV, by `pandas.read_xml"),
        ("| a | label |\n|---|:-----:|\n| 1 | 0 |\n", "is a table drawn for reading: save it as CSV"),
        (
            "+---+-------+\n| a | label |\n+---+-------+\n| 1 | 0     |\n",
            "is a table drawn for reading: save it as CSV",
        ),
        (b"PAR1 and then nothing", "is not a Parquet file that can be read"),
        (gzip.compress(CSV.encode())[:60], "is damaged or cut short"),
        (zipped("a.csv", "b.csv"), r"holds 2 files \(a.csv, b.csv\): unpack it, and give the one to use"),
        (excel(Nothing=pd.DataFrame()), "has no sheet with a header and rows"),
        ('a,label\n3,1\n"1,0\n', "has a quotation mark in row 2 below the header that is never closed: close it"),
    ],
    ids=itertools.count(),
)
def test_what_cannot_be_read_is_one_sentence_that_names_the_cause(tmp_path, content, says):
    with pytest.raises(DataError, match=says) as error:
        read(tmp_path, content)
    assert "\n" not in str(error.value)


def test_a_folder_of_parts_in_parquet_is_one_table(tmp_path):
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / ".part-0.parquet.crc").write_bytes(b"crc")
    (tmp_path / "_temporary").mkdir()
    (tmp_path / "_temporary" / "part-9.parquet").write_bytes(b"half")
    (tmp_path / "part-0.parquet").write_bytes(parquet(pd.DataFrame({"a": [1, 2], "label": [0, 1]})))
    (tmp_path / "day=1").mkdir()
    later = pd.DataFrame({"a": [2.5], "b": ["x"], "label": [1]}, index=[7])
    (tmp_path / "day=1" / "part-1.parquet").write_bytes(parquet(later))
    reading = read_table(tmp_path, "label")
    assert reading.said == ["read 2 parts", "day in the names of its folders: left out, as no file holds it"]
    assert reading.frame.a.tolist() == [2.5, 1, 2] and reading.frame.b.isna().tolist() == [False, True, True]
    assert set(reading.frame) == {"a", "b", "label"}
    (tmp_path / "about.csv").write_text("a,label\n1,0\n")
    with pytest.raises(DataError, match="is a folder, and not of Parquet alone"):
        read_table(tmp_path)
    (tmp_path / "about.csv").unlink()
    (tmp_path / "part-1.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"part-1\.parquet is not a Parquet file"):
        read_table(tmp_path)


def test_what_is_no_file_is_said(tmp_path):
    with pytest.raises(DataError, match=r"there is no file nowhere\.csv"):
        read_table("nowhere.csv")
    with pytest.raises(DataError, match="is a folder, and not of Parquet alone: give the path of one table"):
        read_table(tmp_path)
    if os.name == "posix":
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(DataError, match="is no ordinary file"):
            read_table(tmp_path / "pipe")


def test_json_with_a_column_in_each_value_takes_no_more_time_for_each_row_the_more_there_are(tmp_path):
    rows = 50_000  # for each of them all names were gathered anew: it took minutes
    columns = {name: dict.fromkeys(map(str, range(rows)), 1) for name in ("a", "b", "label")}
    (tmp_path / "columns.json").write_text(json.dumps(columns))
    frame = read_table(tmp_path / "columns.json", "label").frame
    assert frame.shape == (rows, 3) and list(frame.columns) == list(columns)


@pytest.mark.parametrize(
    ("encoding", "towns"),
    [
        ("cp1252", ["España", "México", "Perú"]),
        ("cp1252", ["niño", "niña", "otro"]),
        ("cp1252", ["São Paulo", "Brasília", "não"]),
        ("cp1252", ["mittelgroß", "für", "schön"]),
        ("cp1250", ["Łódź", "Kraków", "Gdańsk"]),
        ("cp1250", ["Győr", "Pécs", "Székesfehérvár"]),
        ("cp1250", ["Plzeň", "Ústí nad Labem", "České Budějovice"]),
        ("cp1254", ["İstanbul", "İzmir", "Ağrı"]),
        ("cp1251", ["Москва", "Новосибирск", "Казань"]),
    ],
)
def test_an_older_encoding_is_told_by_the_letters_of_its_languages(tmp_path, encoding, towns):
    rows = [f"{i},{towns[i % 3]},{i % 2}" for i in range(300)]
    (tmp_path / "towns.csv").write_text("\n".join(["id,town,label", *rows]), encoding=encoding)
    assert set(read_table(tmp_path / "towns.csv").frame["town"]) == set(towns)


@pytest.mark.parametrize("label", ["违约", "年龄"])
def test_an_older_encoding_is_told_by_the_column_that_is_looked_for(tmp_path, label):
    rows = [f"{20 + i % 50},{'是否'[i % 2]},{'否是'[i % 3 // 2]}" for i in range(300)]
    (tmp_path / "loans.csv").write_text("\n".join(["年龄,婚姻,违约", *rows]), encoding="gb18030")
    reading = read_table(tmp_path / "loans.csv", label)
    assert list(reading.frame) == ["年龄", "婚姻", "违约"] and reading.said == ["read as gb18030, as it is not UTF-8"]
    head = (tmp_path / "loans.csv").read_bytes()[:500]
    assert read_head(head, "loans.csv", lambda name: name == label).encoding == "gb18030"


def test_a_line_of_many_dashes_is_told_from_a_rule_at_once(tmp_path):
    name = "-" * 200_000 + "x"  # each of its dashes was tried as the rule's first: it took minutes
    assert list(read(tmp_path, f"{name},label\n1,0\n2,1\n").frame) == [name, "label"]
