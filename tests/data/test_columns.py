"""What each column of a table becomes is seen from its values, said, and can be overruled."""

import numpy as np
import pandas as pd
import pytest

from helpers.data.columns import LEFT_OUT, report, typed, usable
from helpers.data.raw_tables import DataError
from helpers.data.signature import Signature

ROWS = 60
RANDOM = np.random.default_rng(0)
PARITY = [i % 2 for i in range(ROWS)]


def texts(*values: str) -> list[str]:
    return [values[i * 7 // 3 % len(values)] for i in range(ROWS)]


def become(values, name="x", **options):
    """The kind, the use and the usable values (or None) of one column beside another."""
    values = pd.Series(values)
    frame = pd.DataFrame({name: values if values.dtype != object else values.astype(object), "other": PARITY})
    kept, (column, _) = usable(frame, **options)
    return column, kept.get(name)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (RANDOM.normal(size=ROWS), "number"),
        (texts("1", "2.5", "1e3"), "number"),
        (texts("-1", "1"), "number"),
        (texts("0", "1"), "yes/no"),
        (texts("True", "False"), "yes/no"),
        (texts("Yes", "No"), "yes/no"),
        (texts("female", "male"), "yes/no"),
        (pd.Series(PARITY).astype(bool), "yes/no"),
        (texts("a", "b", "c"), "category"),
        (pd.Series(texts("a", "b", "c"), dtype="category"), "category"),
        (texts("1,234", "12,345,678"), "number"),
        (texts("12 %", "5 %", "0"), "number"),
        (texts("$1,234.50", "-$3", "($2.50)"), "number"),
        (texts("12.5 €", "1 €"), "number"),
        (texts("\u22121.5", "3", "2.5-"), "number"),
        (texts("5 %", "0.05"), "yes/no"),  # of what is unclear
        (texts("$5", "€5", "£5"), "category"),
        (texts("12 kg", "5 kg", "7 kg"), "category"),
        (texts(str(2**60), str(2**60 + 1), str(2**60 + 2)), "category"),  # one number in float64
        (pd.Series([2**60 + i % 3 for i in range(ROWS)]), "category"),
        ([None, *texts("only")[1:]], "category"),
        ([None, *texts("1")[1:]], "category"),  # a 0 was never there
    ],
)
def test_the_kind_is_seen_from_the_values(values, kind):
    column, kept = become(values)
    assert column.kind == kind and kept is not None


@pytest.mark.parametrize(
    ("name", "values", "why"),
    [
        ("x", texts("same"), "constant: same in every row"),
        ("x", [5] * ROWS, "constant: 5 in every row"),
        ("x", [None] * ROWS, "empty"),
        ("x", range(ROWS), "row numbers"),
        ("x", range(ROWS, 0, -1), "row numbers"),
        ("x", RANDOM.permutation(ROWS) + 1, "an identifier: each row has a number of its own"),
        ("customer_id", RANDOM.permutation(ROWS) * 37 + 1000, "an identifier"),
        ("CustomerID", RANDOM.permutation(ROWS) * 37 + 1000, "an identifier"),
        ("x", texts("1:30", "12:05", "100:00"), "times: put what matters of them into a number, minutes or hours"),
        ("x", texts("8:30 AM", "11:45 pm", "0:00 a.m."), "times: put what matters"),
        ("x", texts("2h 50m", "45m", "19 hours"), "times: put what matters"),
        ("x", texts("10:15 Uhr", "9:30 Uhr", "9 h"), "times: put what matters"),
        ("x", texts("PT2H50M", "P1DT4H", "PT0.5S"), "times: put what matters"),
        ("x", pd.Series(pd.to_timedelta(RANDOM.integers(1, 9, ROWS), "h")), "times: put what matters"),
        ("x", pd.Series([[1, i] for i in range(ROWS)]), "several values in each cell: put what matters of them into"),
        ("x", pd.Series([None, *[{"a": i % 3} for i in range(ROWS - 1)]]), "several values in each cell"),
        ("x", pd.Series([np.array([1, i]) for i in range(ROWS)]), "several values in each cell"),
        ("card", RANDOM.integers(10**15, 9 * 10**15, ROWS), "an identifier"),
        ("hash", RANDOM.integers(10**15, 2**63 - 1, ROWS), "an identifier"),
        ("EmployeeNumber", RANDOM.permutation(np.cumsum(RANDOM.integers(1, 4, ROWS))), "an identifier"),
        ("SK_ID_CURR", 100_000 + RANDOM.permutation(ROWS) * 3, "an identifier"),
        ("Sample code number", [61_634 + i * 37 % 53 * 811 for i in range(ROWS)], "an identifier"),  # some came twice
        ("Debitor", 1_000_000 + np.cumsum(RANDOM.integers(1, 4, ROWS)), "running numbers: they rise from row to row"),
        ("x", [f"key-{i:05}" for i in range(ROWS)], "an identifier: it differs in nearly every row"),
        ("x", [f"2024-01-{i % 28 + 1:02}" for i in range(ROWS)], "dates"),
        ("x", [f"{i % 28 + 1}.3.2024 10:15" for i in range(ROWS)], "dates"),
        ("x", [f"{i % 28 + 1:02}-Mar-24" for i in range(ROWS)], "dates"),
        ("x", [f"Mar {i % 28 + 1} 2024" for i in range(ROWS)], "dates"),
        ("x", [f"Fri Mar {i % 28 + 1:02} 2024 10:00:00 GMT+0100 (CET)" for i in range(ROWS)], "dates"),
        ("x", [f"Sun, {i % 28 + 1} Mar 2024 10:00:00 GMT" for i in range(ROWS)], "dates"),
        ("x", [f"202403{i % 28 + 1:02}T101500Z" for i in range(ROWS)], "dates"),
        ("x", [f"2024年3月{i % 28 + 1}日" for i in range(ROWS)], "dates"),
        ("x", pd.date_range("2024-01-01", periods=ROWS), "dates"),
        ("x", [f"the {i} quick brown foxes jump over it" for i in range(ROWS)], "free text"),
        ("row number", texts("7", "8"), "the rows' numbers or names"),
        ("x", [f"name {i // 1.7:.0f}" for i in range(ROWS)], "different texts in 60 rows: too many to learn from"),
    ],
)
def test_what_teaches_nothing_is_left_out_with_its_reason(name, values, why):
    column, kept = become(values, name)
    assert column.kind == "left out" and kept is None
    assert why in column.used_as


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("income", RANDOM.integers(20_000, 90_000, ROWS)),  # whole numbers that differ in nearly every row
        ("seconds", 1_700_000_000 + RANDOM.integers(0, 3600, ROWS)),
        ("share", RANDOM.random(ROWS)),
        ("sorted", np.unique(RANDOM.lognormal(10, 1, ROWS).astype(int))[: ROWS - 2].tolist() + [10**6, 2 * 10**6]),
        ("candidate", RANDOM.permutation(ROWS) * 3),
        ("zip", RANDOM.integers(10, 99, ROWS)),
    ],
)
def test_measured_amounts_stay_though_they_differ_in_nearly_every_row(name, values):
    assert become(values, name)[0].kind == "number"


def test_bytes_that_are_no_text_are_left_out_with_the_reason():
    column, kept = become([b"\xff\xd8", b"\xff\xd9"] * (ROWS // 2))
    assert column.kind == LEFT_OUT and column.used_as.startswith("bytes that are no text in UTF-8: write a text")


def test_which_values_of_a_category_share_a_column_is_said():
    column, kept = become([*"abc" * 18, *"defghi"])
    assert column.used_as == "a column of 0 and 1 for each of 3 values, and one for the 6 rarer ones"
    assert become([*"a" * 54, *"defghi"])[0].used_as == "a column of 0 and 1 for 1 value, and one for the 6 rarer ones"
    assert Signature.from_table(pd.DataFrame({"x": kept})).width == 4


def test_missing_values_are_counted_and_stay_missing():
    column, kept = become([None, *RANDOM.normal(size=ROWS - 1)])
    assert (column.kind, column.missing) == ("number", 1)
    assert "and whether it is missing" in column.used_as
    assert np.isnan(kept[0])


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (
            ["bad", *(f"{i // 2}.5" for i in range(1, ROWS))],
            "; leave the cells with 'bad' empty, and it is a number",
        ),
        ([f"{i // 2}.5 kg" for i in range(ROWS)], "; leave 'kg' out of the cells, and it is a number"),
        (texts("12 kg", "5 kg", "7 kg"), "; leave 'kg' out of the cells, and it is a number"),
        (texts("12 m", "5 m", "7 m"), "; leave 'm' out of the cells, and it is a number"),
        ([f"CHF {i // 2 + 1}'000.50" for i in range(ROWS)], "; leave 'CHF' out of the cells, and it is a number"),
        ([f"{i // 2},5" for i in range(ROWS)], "; write its decimal commas as points, and it is a number"),
        (["bad", *(f"{i // 2},5" for i in range(1, ROWS))], "; leave the cells with 'bad' empty, and it is a number"),
        ([f"{i // 2}/2 cups" for i in range(ROWS)], "30 values"),
        (
            [f"€{i // 2}{['M', 'K', ''][i // 2 % 3]}" for i in range(ROWS)],
            "; write the numbers with K and M in full, and it is a number",
        ),
        (
            [f"{i // 2} %" if i % 3 else f"{i // 2}" for i in range(ROWS)],
            "; write those with % and those without a sign alike, and it is a number",
        ),
        (
            [["low", "high"][i // 5 % 2] if i % 5 == 0 else f"{i // 2}.5" for i in range(ROWS)],
            "; leave the cells with 'low' and 'high' empty, and it is a number",
        ),
        (
            texts("1", "1.0", "3+"),
            "; '1' and '1.0' differ by the way of writing a number only, spell them alike if they are one",
        ),
        (texts("Male", "MALE", "Female"), "; 'MALE' and 'Male' differ by case only, spell them alike if they are one"),
        (
            [-9999 if i % 9 == 0 else i / 7 for i in range(ROWS)],
            "; leave the cells with -9999 empty if it stands for no value",
        ),
        (
            [f"{1 + i // 20}.{500 + i}" for i in range(ROWS)],
            "; its point is taken for the decimal mark: take it out where it separates thousands",
        ),
        ([f"{i // 20}.{500 + i}" for i in range(ROWS)], "a number"),
        (
            1_546_560_000_000 + 86_400_000 * (np.arange(ROWS) % 30),
            "; if these are dates, in milliseconds since 1970: put what matters of them into a number",
        ),
        (
            20_200_101 + np.arange(ROWS) % 28,
            "; if these are dates, year, month and day: put what matters of them into a number, days since then, say",
        ),
        (texts("01234", "02139", "94110"), "; its zeros in front are lost, --as x=category keeps them"),
        ([f"city {i // 2}" for i in range(ROWS)], " values"),
        (["Ulm", *[None] * 30, "Bonn", *[None] * (ROWS - 32)], "for the rows below it, too"),
    ],
)
def test_what_keeps_a_column_from_being_one_of_numbers_is_said(values, says):
    assert become(values)[0].used_as.endswith(says)


def test_columns_can_be_dropped_and_taken_for_another_kind():
    zips = RANDOM.integers(10, 20, ROWS)
    assert become(zips, "zip", treat_as={"zip": "category"})[0].kind == "category"
    assert become(range(ROWS), treat_as={"x": "number"})[0].kind == "number"
    assert become(texts("1", "2"), treat_as={"x": "yes/no"})[0].kind == "yes/no"
    codes = texts("01234", "02139", "94110")
    for dtype in (object, "str"):
        assert become(pd.Series(codes, dtype=dtype), treat_as={"x": "category"})[1].tolist() == codes
    column, kept = become(zips, drop=["x"])
    assert (column.kind, column.used_as, kept) == ("left out", "you dropped it", None)
    assert become(zips, "Zip", drop=["zip"])[0].used_as == "you dropped it"  # in any case, as in requests
    assert become(zips, "Zip, if known", drop=["zip", "if known"])[0].used_as == "you dropped it"  # cut at its comma
    assert become(zips, "Zip", treat_as={"ZIP": "category"})[0].kind == "category"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"drop": ["y"]}, "the table has no column 'y'; its columns are x, other"),
        ({"drop": ["othr", "X"]}, "the table has no column 'othr' .did you mean other..; its columns are x, other"),
        ({"treat_as": {"y": "number"}}, "the table has no column 'y'"),
        ({"treat_as": {"x": "colour"}}, "cannot be treated as 'colour': choose number, yes/no or category"),
        ({"treat_as": {"x": "number"}}, "column 'x' cannot be a number: line 3 holds 'c'"),
        ({"treat_as": {"other": "number", "x": "number"}}, "line 3 holds 'c': correct the cell, or leave it empty"),
        ({"treat_as": {"x": "yes/no"}}, "column 'x' cannot be a yes or no: it holds 3 different values"),
    ],
)
def test_what_cannot_be_meant_is_said(options, says):
    with pytest.raises(DataError, match=says):
        become(["1", *texts("a", "b", "c")[1:-1], "a"] if "number" in str(options) else texts("a", "b", "c"), **options)


@pytest.mark.parametrize("wrong", ["1e39", "-1e300", "inf", "-Infinity", " Inf"])
def test_a_number_beyond_float32_is_named_with_its_line_before_any_training(wrong):
    values = [*map(str, RANDOM.normal(size=ROWS))]
    values[3] = wrong
    if wrong[0] in "i-":
        values = [float(value) for value in values]
    with pytest.raises(DataError, match=r"column 'x' holds .* in line 5, beyond what a model can compute with"):
        become(values)


def test_the_report_has_a_line_for_each_column():
    frame = pd.DataFrame({"age": [None, *range(20, ROWS + 19)], "sex": texts("f", "m"), "same": texts("x")})
    table = report(usable(frame)[1])
    assert table.columns.tolist() == ["column", "kind", "values", "missing", "used as"]
    assert table["kind"].tolist() == ["left out", "yes/no", "left out"]
    assert table["values"].tolist() == ["20 to 78", "f, m", "x"]
    assert table["missing"].tolist() == [1, 0, 0]


@pytest.mark.parametrize("dtype", ["str", object])
def test_numbers_are_read_to_the_last_bit_however_the_column_is_kept(dtype):
    numbers = [*map(float, RANDOM.normal(size=2000) * 10.0 ** RANDOM.integers(-3, 12, 2000)), 0.1, -0.0, 7.0, 2.0**53]
    written = [repr(number) for number in numbers]
    read = typed(pd.Series([*written, None, "007", ".5", "+3"], dtype=dtype))
    np.testing.assert_array_equal(read, [*numbers, np.nan, 7, 0.5, 3])
    few = typed(pd.Series([*written[:9], None], dtype=dtype))  # all in digits alone
    np.testing.assert_array_equal(few, [*numbers[:9], np.nan])
