"""A table with a yes/no question: its label becomes 0 and 1, its rows are split fairly, and what is wrong is said."""

import csv
import json

import numpy as np
import pandas as pd
import pytest

from helpers.data import games, tables
from helpers.data.raw_tables import DataError
from helpers.data.refusals import InvalidRequest
from helpers.data.signature import Signature
from helpers.data.tables import features_and_label, load_table, remark_on_test, split
from helpers.serving.gate import held_out_rows

ROWS = 120
RANDOM = np.random.default_rng(0)
FEATURE = RANDOM.normal(size=ROWS)


def write(tmp_path, label, name="label", **columns):
    path = tmp_path / "mine.csv"
    pd.DataFrame({"a": FEATURE, **columns, name: label}).to_csv(path, index=False)
    return path


def alternating(*values) -> list:
    return [values[i % len(values)] for i in range(ROWS)]


def test_a_whole_row_may_be_sent_of_a_table_with_columns_that_have_no_name(tmp_path):
    path = tmp_path / "mine.csv"
    lines = [f"{i},{FEATURE[i]:.3f},{i % 2}," for i in range(ROWS)]
    path.write_text("\n".join([",a,label,", *lines]))
    table = load_table(path)
    assert [column.name for column in table.columns] == ["row number", "a", "label", "column 4"]
    rows = [pd.read_csv(path).iloc[3].to_dict(), next(csv.DictReader(path.open())), {"row number": 3, "a": 1}]
    for row in rows:
        assert table.signature().parse(row).tolist() == [[pytest.approx(float(row["a"]))]]
    with pytest.raises(InvalidRequest, match="Unnamed: 7: unknown"):
        table.signature().parse({"a": 1, "Unnamed: 7": 1})


@pytest.mark.parametrize(
    ("values", "positive"),
    [
        ((0, 1), ""),
        ((True, False), "True"),
        (("Yes", "No"), "Yes"),
        (("no", "YES"), "YES"),
        (("n", "y"), "y"),
        (("nein", "Ja"), "Ja"),
        ((1, 2), "2"),
        ((-1, 1), ""),
        (("9", "10"), "10"),
        (("benign", "malignant"), "malignant"),
        (("Up", "Down"), "Up"),
        (("-", "+"), "+"),
        (("כן", "לא"), "כן"),
        (("✓", "✗"), "✓"),
        (("Canceled", "Not_Canceled"), "Canceled"),
        (("2. No, did not vote", "1. Yes, voted"), "1. Yes, voted"),
        (("Ja, sicher", "Nein"), "Ja, sicher"),
        (("attack", "normal"), "attack"),
        (("Attrited Customer", "Existing Customer"), "Attrited Customer"),
        (("abnormal", "normal"), "abnormal"),
        (("notckd", "ckd"), "ckd"),
        (("no conversion", "converted"), "converted"),
        (("Without pain", "Pain"), "Pain"),
        (("Approved", "Declined"), "Approved"),
        (("ИСТИНА", "ЛОЖЬ"), "ИСТИНА"),  # as Excel writes TRUE and FALSE
        ((2**60, 2**60 + 1), str(2**60 + 1)),
        ((0.0, 1.0), ""),
    ],
)
def test_a_label_of_two_values_is_0_and_1_and_which_is_which_is_said(tmp_path, values, positive):
    table = load_table(write(tmp_path, alternating(*values)))
    assert table.positive == table.signature().positive == positive
    wanted = [str(value) == (positive or "1") or value == (positive or 1) for value in alternating(*values)]
    assert table.frame.label.tolist() == wanted
    (column,) = [column for column in table.columns if column.kind == "label"]
    assert column.used_as == f"what is predicted: {positive or 1} is positive"
    plain = set(map(str, values)) in ({"0", "1"}, {"0.0", "1.0"}, {"True", "False"})
    assert plain or any("counts as positive (--positive" in sentence for sentence in table.said)


def test_a_label_of_bytes_that_are_no_text_is_refused(tmp_path):
    path = tmp_path / "mine.parquet"
    pd.DataFrame({"x": range(ROWS), "label": alternating(b"\xff", b"\xfe")}).to_parquet(path)
    with pytest.raises(DataError, match="label 'label' of .*mine.parquet holds bytes that are no text in UTF-8"):
        load_table(path)


def test_the_positive_value_can_be_chosen_and_is_found_in_any_case(tmp_path):
    path = write(tmp_path, alternating("Up", "Down"))
    assert load_table(path, positive="Down").frame.label.tolist() == alternating(0, 1)
    assert load_table(path, positive="down").positive == "Down"
    assert load_table(write(tmp_path, alternating(0, 1)), positive="0").frame.label.tolist() == alternating(1, 0)


@pytest.mark.parametrize(
    ("label", "values", "positive"),
    [
        ("Churn?", ("Churned", "Stayed"), "Churned"),
        ("gekündigt", ("Gekündigt", "aktiv"), "Gekündigt"),
        ("survived", ("survived", "died"), "survived"),
        ("class", ("class a", "class b"), "class b"),  # says nothing
        ("default", ("no default", "default"), "default"),
        ("sex", ("sex f", "male"), "sex f"),
        ("sex", ("m", "sex f"), "sex f"),  # too short to mean anything: the second
    ],
)
def test_the_value_that_says_what_the_label_is_called_is_positive(tmp_path, label, values, positive):
    path = write(tmp_path, alternating(*values), label)
    assert load_table(path, label).positive == positive


def test_one_value_of_several_against_the_rest(tmp_path):
    table = load_table(write(tmp_path, alternating("setosa", "virginica", "versicolor")), positive="setosa")
    assert table.frame.label.tolist() == alternating(1, 0, 0)
    assert table.said == ("label = setosa counts as positive, its 2 other values as negative",)


def test_several_values_against_the_rest(tmp_path):
    path = write(tmp_path, alternating("0", "1", "2", "3"))
    table = load_table(path, positive="3,1.0")
    assert table.frame.label.tolist() == alternating(0, 1, 0, 1)
    assert table.said == ("label = 1, 3 counts as positive, its 2 other values as negative",)
    assert load_table(path, positive=table.signature().positive).frame.equals(table.frame)  # as `gate` asks
    with pytest.raises(DataError, match="never is '4': choose its positive value from 0, 1, 2, 3, by --positive"):
        load_table(path, positive="1,4")
    with pytest.raises(DataError, match="has no value beside 0, 1, 2, 3: name some by --positive"):
        load_table(path, positive="0,1,2,3")
    commas = write(tmp_path, alternating("a, b", "c", "d"))
    assert load_table(commas, positive="a, b").frame.label.tolist() == alternating(1, 0, 0)
    two = load_table(commas, positive='"a, b", c')
    assert two.frame.label.tolist() == alternating(1, 1, 0) and two.positive == '"a, b", "c"'
    assert load_table(commas, positive=two.positive).positive == two.positive


def test_the_label_is_found_in_any_case(tmp_path):
    assert load_table(write(tmp_path, alternating(0, 1), "Survived"), "survived").label == "Survived"


def test_a_label_that_is_spelled_in_several_ways_is_one(tmp_path):
    path = write(tmp_path, alternating("<=50K", ">50K", "<=50K", ">50K", "<=50K.", ">50K."))
    table = load_table(path)
    assert table.frame.label.tolist() == alternating(0, 1)
    assert table.said[0] == "label: took <=50K. for <=50K, >50K. for >50K"
    table = load_table(write(tmp_path, alternating("TRUE", "FALSE", "0", "TRUE", "n", "1", "FALSE")))
    assert table.frame.label.tolist() == alternating(1, 0, 0, 1, 0, 1, 0)
    assert table.said[0] == "label: took 0 for FALSE, n for FALSE, 1 for TRUE"
    assert load_table(write(tmp_path, alternating("a", "A"))).frame.label.tolist() == alternating(1, 0)
    table = load_table(write(tmp_path, alternating("<=50K.", ">50K.")), positive=">50k")  # as the census' test file
    assert table.positive == ">50K." and table.frame.label.tolist() == alternating(0, 1)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("0.5,1,yes\n0.25,2,no\n", "Its first line seems to hold values: put a line with the names"),
        ("p,x,f\ne,x,f\np,s,t\n", "Its first line seems to hold values: put a line with the names"),
        ("ham\tsee you\nspam\twin\nspam\tclaim\nham\tok, label\n", "Its first line seems to hold values"),
        ("measured,measured,rest\na,b,label\n1,2,0\n", "They seem to be named by line 2: delete the lines above it"),
        ("a:b:label\n1:2:0\n", "They seem to be separated otherwise: write a comma"),
        ("'a','label'\n'1','0'\n", "They stand in single quotation marks: write double ones, or none"),
    ],
)
def test_a_first_line_that_does_not_name_the_columns_is_told_from_a_label_that_is_not_there(tmp_path, content, says):
    path = tmp_path / "mine.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=says):
        load_table(path)


def test_rows_without_a_label_are_left_out_and_counted(tmp_path):
    table = load_table(write(tmp_path, [None, *alternating("0", "1")[1:]]))
    assert len(table.frame) == ROWS - 1
    assert "1 row has no label 'label': it is left out" in table.said


def test_rows_that_are_there_again_are_said_but_not_those_that_are_alike_by_chance(tmp_path):
    once, often = RANDOM.normal(size=ROWS // 2), alternating(0, 0, 1)
    said = load_table(write(tmp_path, [*often[: ROWS // 2]] * 2, a=[*once, *once], b=[*once**2, *once**2])).said
    assert said[0].startswith("60 rows are like another in every column that is used: where they are the same case")
    assert load_table(write(tmp_path, often, a=alternating(1, 2, 3, 4, 5))).said == ()


@pytest.mark.parametrize("totals", [(40,), (0.33,), (0.33, 40)])
def test_rows_of_totals_are_none_of_the_table(tmp_path, totals):
    rows = alternating(0, 0, 1)
    table = load_table(write(tmp_path, [*rows, *totals], a=[*FEATURE, *["Total"] * len(totals)]))
    assert table.frame.label.tolist() == rows and table.said[0].startswith(f"label: took {totals[0]}")
    with_parts = load_table(write(tmp_path, [*rows[:60], 20, *rows[60:], 20, 40], a=[*FEATURE, 0, 0, 0]))
    assert with_parts.frame.label.tolist() == rows
    assert with_parts.said[0] == "label: took 20, 20, 40 for totals of the answers above"


@pytest.mark.parametrize(
    ("label", "options", "says"),
    [
        (alternating(0, 1), {"label": "survivd"}, "has no column 'survivd'; its columns are a, label. Name the label"),
        (alternating(0, 1), {"label": "lable"}, "has no column 'lable' .did you mean label.*; its columns are"),
        (alternating("None", "Some"), {}, "is Some in every row but for 60 without a value, .* write a word there"),
        (
            alternating(1),
            {},
            "is constant .1 in every row., which teaches nothing: add rows with the other answer, or name",
        ),
        (alternating(None), {}, "label 'label' is empty in .*: fill it in, or name another column with --label"),
        (
            alternating("a", "b", "c"),
            {},
            'has 3 values .a, b, c., .* which count as yes, as in --positive a, or several, as in --positive "a, b"',
        ),
        (alternating(0, 1, 2), {}, "which count as yes, as in --positive 1, or several, as in --positive .1, 2."),
        (list("abc" * 3) + [None] * (ROWS - 9), {}, "has 3 values .a, b, c., .* say which count as yes"),
        (alternating("Maybe", "No", "Yes"), {}, "say which count as yes, as in --positive Yes, or several"),
        ([f"2024-01-{i % 28 + 1:02}" for i in range(ROWS)], {}, "holds dates, .* make a yes or no of it .before a day"),
        (
            [f"2024-01-{i % 28 + 1:02}" if i % 3 else None for i in range(ROWS)],
            {},
            "holds dates, .* .whether there is one",
        ),
        ([f"arrived {i} days late" for i in range(ROWS)], {}, "holds 120 different texts, .* make a yes or no of it"),
        ([*["yes", "no"] * 5, "no"] + [None] * (ROWS - 11), {}, "among 11 that have one .109 have none.: at least 10"),
        (alternating("a", "b", "c"), {"positive": "d"}, "never is 'd': choose its positive value from a, b, c"),
        (FEATURE, {}, "is a number with 120 different values, .* serve a model of your own that answers numbers"),
        ([1] * 3 + [0] * (ROWS - 3), {}, "has 3 rows whose 'label' is 1, among 120: at least 10 are needed"),
        (["no"] * 9 + ["yes"] * (ROWS - 9), {}, "has 9 rows whose 'label' is anything but yes"),
    ],
)
def test_what_is_no_yes_no_question_is_said_in_a_sentence(tmp_path, label, options, says):
    with pytest.raises(DataError, match=says) as error:
        load_table(write(tmp_path, label), **options)
    assert "\n" not in str(error.value)


def test_a_table_without_a_usable_feature_is_refused_with_the_reasons(tmp_path):
    path = tmp_path / "mine.csv"
    pd.DataFrame({"id": range(ROWS), "same": 1, "label": alternating(0, 1)}).to_csv(path, index=False)
    with pytest.raises(DataError, match=r"no column that a model can learn from \(id: row numbers; same: constant"):
        load_table(path)
    path.write_text("label\n0\n1\n")
    with pytest.raises(DataError, match="at least one feature"):
        load_table(path)


def test_row_numbers_are_no_feature_of_a_table_sorted_by_its_label(tmp_path):
    path = tmp_path / "mine.csv"
    pd.DataFrame({"a": FEATURE, "label": np.arange(ROWS) >= ROWS // 2}).to_csv(path)  # with the index
    table = load_table(path)
    assert table.signature().names == ("a",)
    assert table.columns[0].used_as == "the rows' numbers or names"
    assert table.signature().left_out[0] == "row number"


def test_a_mixed_table_becomes_a_matrix_with_the_columns_of_its_signature(tmp_path):
    deck = [None if i % 10 == 0 else "ABC"[i % 3] for i in range(ROWS)]
    table = load_table(write(tmp_path, alternating("no", "yes"), sex=alternating("m", "f", "f"), deck=deck))
    signature = table.signature()
    assert signature.columns == ("a", "sex", "deck=A", "deck=B", "deck=C", "deck is missing")
    x, y = features_and_label(table.frame, signature)
    assert (x.shape, x.dtype, y.dtype) == ((ROWS, 6), np.float32, np.float32)
    np.testing.assert_array_equal(x[:, 1], alternating(1, 0, 0))
    np.testing.assert_array_equal(x[:, 2:].sum(axis=1), np.ones(ROWS))
    np.testing.assert_array_equal(y, alternating(0, 1))


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_every_part_of_a_split_has_the_tables_share_of_positives(share):
    table = pd.DataFrame({"x": np.arange(1000), "y": (np.arange(1000) >= 1000 * (1 - share)).astype(int)})
    train, test = split(table, "y")
    assert len(train) == 800
    assert sorted([*train.x, *test.x]) == list(range(1000))
    validation = train.y.tail(160)  # where Keras takes its validation rows from
    assert test.y.mean() == train.y.mean() == pytest.approx(share)
    assert validation.mean() == pytest.approx(share, abs=0.02)


def test_the_smallest_table_that_is_accepted_has_both_labels_in_every_part():
    table = pd.DataFrame({"x": range(60), "y": [1] * tables.ENOUGH + [0] * 50})
    train, test = split(table, "y")
    for part in (test, train.iloc[: int(len(train) * 0.8)], train.iloc[int(len(train) * 0.8) :]):
        assert set(part.y) == {0, 1}
    assert test.y.sum() >= 2  # an interval of the AUC needs two


def test_rows_that_share_a_name_are_rows_of_their_own():
    table = pd.DataFrame({"x": range(100), "y": [0, 1] * 50}, index=["same"] * 100)
    train, test = split(table, "y")
    assert (len(train), len(test)) == (80, 20)


def test_a_test_set_that_is_too_small_to_tell_is_said():
    assert remark_on_test(np.array([0, 1] * 50)) == ""
    assert remark_on_test(np.array([0] * 90 + [1] * 5)).startswith("only 5 of the test rows have the rarer answer")


def test_a_file_without_lines_is_said_to_have_rows_and_names(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"hits": {"hits": [{"_source": {"a": i * i, "label": i % 2}} for i in range(30)]}}))
    with pytest.raises(
        DataError,
        match=r"its columns are _source.a, _source.label. Name the label with",
    ):
        load_table(path)
    assert load_table(path, "_source.label").label == "_source.label"
    pd.DataFrame({"a": [1.0, 2.0, np.inf] * 10, "label": [0, 1, 0] * 10}).to_parquet(tmp_path / "mine.parquet")
    with pytest.raises(DataError, match="column 'a' holds inf in row 3, beyond"):
        load_table(tmp_path / "mine.parquet")


@pytest.mark.parametrize("load", [load_table, games.load_table])  # notebook 08 takes the first, the others the second
def test_each_option_of_run_is_one_of_what_the_notebooks_load_a_table_by(tmp_path, load):
    path = write(tmp_path, alternating("no", "yes"))
    options = {"positive": "no", "drop": [], "treat_as": {}, "display_name": "staying"}
    assert load(path, **options).signature().outcome == "staying"


def test_a_first_line_of_values_is_told_where_one_of_them_is_the_label(tmp_path):
    rows = [f"0.{i:04},0.{7 * i % 10_000:04},{'RM'[i % 2]}" for i in range(100)]
    (tmp_path / "sonar.csv").write_text("\n".join(rows))
    said = "the first line seems to hold values: is the header line with the names missing?"
    assert load_table(tmp_path / "sonar.csv", "R").said[0] == said
    (tmp_path / "sonar.csv").write_text("\n".join(["400.5,401.0,label", *rows]))
    assert said not in load_table(tmp_path / "sonar.csv").said


# ---- rows that belong together ----


def of_devices(tmp_path, **columns):
    """300 rows of 60 devices, most of which fail always or never."""
    device, random = np.repeat(np.arange(60), 5), np.random.default_rng(1)
    fails = (device % 3 == 0) ^ (random.random(300) < 0.1)
    path = tmp_path / "devices.csv"
    pd.DataFrame({"a": random.normal(size=300), **columns, "device_id": device, "label": fails.astype(int)}).to_csv(
        path, index=False
    )
    return path


def test_it_is_said_where_rows_of_one_id_train_and_test(tmp_path):
    known = {"user": np.random.default_rng(2).permutation(300) % 40, "size": np.repeat(np.arange(60), 5)}
    table = load_table(of_devices(tmp_path, **known))
    assert table.groups == ("device_id",) and not table.group  # users are alike by chance, a size is no id
    assert [said.split(" tend")[0] for said in table.said] == ["rows of the same device_id"]
    assert "--drop device_id leaves it out and tests on others" in table.said[0]


def test_rows_of_an_id_that_is_dropped_are_not_parted(tmp_path):
    path = of_devices(tmp_path)
    table = load_table(path, drop=["device_id"])
    assert table.said == ("rows of the same device_id are all trained on or all tested on",)
    train, test = games.split(table.frame, "label")
    assert len(train) + len(test) == 300 and 50 <= len(test) <= 75
    assert not {*train.index} & {*test.index} and abs(train.label.mean() - test.label.mean()) < 0.1
    last = len(train) // 5  # which validates: it may begin within a device of either answer
    assert len({*train.index[-last:]} & {*train.index[:-last]}) <= 2
    signature = Signature.from_dict(table.signature().to_dict())
    assert signature.group == "device_id" and signature.parse({"a": 1, "device_id": 7}).tolist() == [[1]]
    rows, answers = held_out_rows(path, signature)
    assert rows.a.tolist() == test.a.tolist() and answers.tolist() == test.label.tolist()
