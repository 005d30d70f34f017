"""Request parameters become the matrix that the model takes, by name, or an error that names every bad field."""

import base64
import json
import time
from dataclasses import replace
from types import MappingProxyType
from urllib.parse import parse_qsl, quote, urlencode

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict

from helpers.data import images, numerals
from helpers.data.columns import usable
from helpers.data.delimited import read_csv
from helpers.data.fields import LONGEST_NUMBER
from helpers.data.input_kinds import Array, Image, Text
from helpers.data.inputs import InputSignature
from helpers.data.parameters import Pairs
from helpers.data.refusals import MOST_COMPARED, MOST_COUNTED, MOST_NAMED, InvalidRequest, Named
from helpers.data.signature import BINARY, CATEGORY, REAL, Feature, Signature, in_order

GAMES = Signature(tuple(Feature(f"g{i}") for i in range(1, 11)))
BODY = Signature((Feature("mean radius", REAL, 6.98, 28.11, 13.37), Feature("café", REAL, -1.0, 1e6), Feature("flag")))
ARTICLE = GAMES.example()
PERSON = Signature(
    (
        Feature("Größe", REAL, 150.5, 201.25, 170.0, missing=True),
        Feature("gender", BINARY, values=("female", "male"), default="male"),
        Feature("smoker", BINARY, values=("No", "Yes"), default="No"),
        Feature("class", CATEGORY, values=("1st", "2nd", "deck crew"), pooled=("pilot",), default="1st", missing=True),
        Feature("zip", CATEGORY, values=("10115", "90210"), default="10115"),
        Feature("since", REAL, 1.7e9, 1.7e9 + 3600, 1.7e9, center=1.7e9, scale=1000.0),
        Feature("age", REAL, 0.42, 80.0, 30.0),
    ),
    label="survived",
    positive="yes",
)
SOMEBODY = {"Größe": 170, "gender": "male", "smoker": "No", "class": "1st", "zip": "10115", "since": 1.7e9, "age": 30}


def row_of(**changes):
    """The columns of the matrix that a request for somebody with these changes fills, by name."""
    return dict(zip(PERSON.columns, PERSON.parse({**SOMEBODY, **changes})[0].tolist(), strict=True))


def fields_of(params, signature=GAMES):
    with pytest.raises(InvalidRequest) as refused:
        signature.parse(params)
    return refused.value.fields


def test_the_articles_request_is_the_example():
    assert {"g1": 1, **{f"g{i}": 0 for i in range(2, 11)}} == ARTICLE
    assert GAMES.parse(ARTICLE).tolist() == [[1, 0, 0, 0, 0, 0, 0, 0, 0, 0]]
    assert GAMES.parse(ARTICLE).dtype == np.float32


def test_values_are_matched_by_name_in_any_case_and_order():
    turned = {name.upper(): ARTICLE[name] for name in reversed(ARTICLE)}
    assert (GAMES.parse(turned) == GAMES.parse(ARTICLE)).all()


@pytest.mark.parametrize("one", [1, 1.0, "1", " 1 ", "1.0", "1e0", "+1", True, np.float32(1)])
def test_a_number_may_be_written_in_any_usual_way(one):
    assert GAMES.parse({**ARTICLE, "g1": one})[0, 0] == 1


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("", "missing"),
        (" ", "missing"),
        ("one", "must be 0 or 1"),
        ("1_0", "must be 0 or 1"),
        ("٣", "must be 0 or 1"),
        (None, "missing"),
        ([1], "must be 0 or 1"),
        ({}, "must be 0 or 1"),
        ("nan", "must be 0 or 1"),
        (float("inf"), "must be 0 or 1"),
        (10**400, "must be 0 or 1"),
        (2, "must be 0 or 1"),
        (0.5, "must be 0 or 1"),
    ],
)
def test_a_bad_value_is_named_with_what_is_wrong(value, problem):
    assert fields_of({**ARTICLE, "g7": value}) == {"g7": problem}


def test_every_bad_field_is_named_at_once():
    params = {**ARTICLE, "g2": "x", "g3": 7, "g11": 0}
    del params["g4"]
    assert fields_of(params) == {"g2": "must be 0 or 1", "g3": "must be 0 or 1", "g4": "missing", "g11": "unknown"}


def test_a_misspelled_name_is_told_which_of_those_that_lack_is_meant():
    person = {**SOMEBODY, "clas": SOMEBODY["class"], "colour": "red"}
    assert fields_of({**person, "class": "1st"}, PERSON) == {"clas": "unknown", "colour": "unknown"}
    del person["gender"]
    assert fields_of({**person, "Gendr": "male"}, PERSON)["Gendr"] == "unknown: did you mean gender?"
    asked = Signature.from_table(pd.DataFrame({"Rabatt?": [0.0, 1.0]}), "label")
    assert fields_of({"Rabat": 1}, asked)["Rabat"] == 'unknown: did you mean "Rabatt?"?'


@pytest.mark.parametrize(
    ("no", "yes"), [("nein", "ja"), ("FALSCH", "WAHR"), ("Non", "Oui"), ("No", "Sí"), ("否", "是"), ("Hayır", "Evet")]
)
def test_true_and_1_are_the_yes_of_a_column_that_says_it_in_another_language(no, yes):
    assert in_order([yes, no]) == (no, yes)
    other = Signature((Feature("Newsletter", "binary", values=(no, yes), default=yes),))
    for value, number in ((True, 1), (False, 0), (1, 1), ("0", 0), ("true", 1), ("False", 0), ("no", 0)):
        assert other.parse({"Newsletter": value}).tolist() == [[number]]
        assert other.parse([{"Newsletter": value}]).tolist() == [[number]]
    assert other.parse({"Newsletter": yes.upper()}).tolist() == [[1]]
    assert fields_of({"Newsletter": "maybe"}, other) == {"Newsletter": f"must be one of {no}, {yes}"}


@pytest.mark.parametrize("value", [True, False])
def test_true_and_false_are_no_numbers_and_none_of_two_codes(value):
    one = Signature((Feature("age", "real", 0, 80),))
    for request in ({"age": value}, [{"age": value}, {"age": 4}]):
        assert list(fields_of(request, one).values()) == [f"must be a number, not {str(value).lower()}"]
    two = Signature((Feature("sex", "binary", values=("1", "2"), default="1"),))
    assert fields_of({"sex": value}, two) == {"sex": "must be one of 1, 2"}


def test_a_name_given_twice_is_refused_however_it_is_written():
    assert fields_of(MultiDict([*ARTICLE.items(), ("g1", 1)])) == {"g1": "repeated"}
    assert fields_of({**ARTICLE, "G1": 0}) == {"g1": "repeated"}


def test_a_list_gives_a_row_for_each_object_and_errors_name_the_row():
    rows = [ARTICLE, {name.upper(): "0" for name in ARTICLE}]
    assert GAMES.parse(rows).tolist() == [[1] + [0] * 9, [0] * 10]
    assert fields_of([ARTICLE, 5, {**ARTICLE, "g3": "x"}]) == {
        "[1]": "must be an object of names and values: of g1, g2, g3, g4, g5, g6, g7, g8, g9, g10",
        "[2].g3": "must be 0 or 1",
    }


def test_a_row_without_names_is_shown_with_those_that_it_may_mean():
    signature = Signature(
        (Feature("Größe", "real", 0, 9), Feature("smoker"), Feature("class", "category", values=("a", "b")))
    )
    by_name = "must be an object of names and values, as nothing is matched by its place"
    assert fields_of([[171, True, "a\u00df"], [1, 2, 3]], signature) == {
        "[0]": by_name + ': {"Größe": 171, "smoker": true, "class": "aß"} if that is their order',
        "[1]": "must be an object of names and values",
    }
    said = {
        "must be an object of names and values, not a list (2 values), as nothing is matched by its place: "
        "of Größe, smoker, class",
    }
    assert {*fields_of([[171, 1]], signature).values()} == said
    assert fields_of([[171, 1, "x" * 99]], signature)["[0]"].endswith('"class": ...} if that is their order')
    many = Signature(tuple(Feature(f"x{i}") for i in range(1, 31)))
    assert fields_of([[0] * 30], many)["[0]"].endswith(
        "not a list (30 values), as nothing is matched by its place: "
        "of x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11, x12 and 18 more"
    )


@pytest.mark.parametrize("wrong", [[], "text", 5, None])
def test_what_is_neither_object_nor_list_is_refused_in_a_sentence(wrong):
    with pytest.raises(InvalidRequest, match="list|object"):
        GAMES.parse(wrong)


def test_a_real_feature_takes_both_ends_of_its_range():
    low = {"mean radius": 6.98, "CAFÉ": -1, "flag": 0}
    assert BODY.parse(low)[0].tolist() == np.array([6.98, -1, 0], np.float32).tolist()
    assert BODY.parse({**low, "mean radius": 28.11})[0, 0] == np.float32(28.11)


def test_every_sampled_row_is_legal_as_text_where_float32_rounds_an_end_of_the_range_outwards():
    random = np.random.default_rng(0)
    table = pd.DataFrame(random.normal(-19.5, 0.05, (200, 50)), columns=[f"f{i}" for i in range(50)])
    narrow = Signature.from_table(table)
    ends = [[getattr(feature, end) for feature in narrow.features] for end in ("low", "high")]
    assert (np.float32(ends[0]) < ends[0]).any() and (np.float32(ends[1]) > ends[1]).any()
    rows = np.vstack([narrow.sample(50), np.float32(ends)])
    as_text = [dict(zip(narrow.names, map(str, row), strict=True)) for row in rows]
    np.testing.assert_array_equal(narrow.parse(as_text), rows)
    as_query = [narrow.parse_query(urlencode(row).encode())[0] for row in as_text]
    np.testing.assert_array_equal(as_query, rows)


def outcome(parse, *arguments):
    try:
        return parse(*arguments).tolist()
    except InvalidRequest as refused:
        return str(refused), refused.fields


VALUES = st.sampled_from(
    ["0", "1", "2", "7.5", "28.11", "", "nan", "1e3", "0x1", "1_0", " 1", "１", "-0", "999999", "1,5"]
    + ["male", "MALE", "deck crew", "Yes", "true", "10115"]
)
NAMES = st.sampled_from(
    ["g1", "G1", "g10", "g11", "mean radius", "MEAN RADIUS", "café", "CAFÉ", "flag", "a&b", "="]
    + ["class", "GENDER", "smoker", "Größe", "survived", "SURVIVED"]
)


@given(st.lists(st.tuples(NAMES, VALUES), max_size=12), st.sampled_from([GAMES, BODY, PERSON]), st.booleans())
def test_the_fast_road_for_a_query_string_gives_what_the_careful_one_gives(pairs, signature, complete):
    if complete:
        pairs = [*signature.example().items(), *pairs[:1]]
    query = urlencode(pairs)
    careful = MultiDict(parse_qsl(query, keep_blank_values=True))
    assert outcome(signature.parse_query, query.encode()) == outcome(signature.parse, careful)


@given(st.binary(max_size=60))
def test_no_bytes_of_a_query_string_are_anything_but_a_row_or_a_refusal(query):
    for signature in (GAMES, BODY, PERSON):
        result = outcome(signature.parse_query, query)
        assert isinstance(result, list) or result[1]


def careful_list(rows):
    try:
        rows = list(map(MappingProxyType, rows))  # mappings, but no plain dicts
        return GAMES.reader().read(rows).matrix.tolist()
    except InvalidRequest as refused:
        return str(refused), refused.fields


@given(
    st.lists(
        st.dictionaries(st.sampled_from([*ARTICLE, "G1", "x", "label"]), st.integers(-1, 2)), min_size=1, max_size=3
    )
)
def test_the_fast_road_for_lists_gives_what_the_careful_one_gives(rows):
    rows = [{**ARTICLE, **row} for row in rows]
    assert outcome(GAMES.parse, rows) == careful_list(rows)


def test_every_row_of_the_table_that_gave_a_signature_is_a_legal_request():
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32), columns=["a", "b", "c"])
    signature = Signature.from_table(table)
    assert (signature.parse(table.to_dict("records")) == table.to_numpy()).all()
    assert (signature.parse(table.astype(str).to_dict("records")) == table.to_numpy()).all()


# ---- categories, yes and no, missing values ----


def test_each_value_of_a_category_fills_a_column_of_its_own_and_rare_ones_share_one():
    assert PERSON.width == 13
    assert [name for name, value in row_of(**{"class": "2nd"}).items() if value and name.startswith("class")] == [
        "class=2nd"
    ]
    assert row_of(**{"class": "pilot"})["class=another"] == 1


@pytest.mark.parametrize("written", ["deck crew", "Deck Crew", " deck  crew ", "DECK CREW"])
def test_a_category_is_matched_in_any_case_and_spacing(written):
    assert row_of(**{"class": written})["class=deck crew"] == 1


@pytest.mark.parametrize("written", [10115, 10115.0, "10115"])
def test_a_category_of_numbers_takes_numbers_and_texts(written):
    assert row_of(zip=written)["zip=10115"] == 1


def test_a_number_is_the_category_that_is_written_as_it_or_else_with_a_point():
    rooms = Signature((Feature("rooms", CATEGORY, values=("1", "1.0", "2.0", "3+"), default="1"),))
    for value, at in ((1, 0), (1.0, 0), ("1", 0), ("1.0", 1), (2, 2), (2.0, 2), ("2", 2), ("2.0", 2), ("3+", 3)):
        assert rooms.parse({"rooms": value}).argmax() == rooms.parse([{"rooms": value}]).argmax() == at
        if isinstance(value, str):
            assert rooms.parse_query(f"rooms={quote(value)}".encode()).argmax() == at
    assert fields_of({"rooms": 3}, rooms)["rooms"].startswith("must be one of")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("femal", "must be one of female, male; did you mean female?"),
        ("MALES", "must be one of female, male; did you mean male?"),
        ("x", "must be one of female, male"),
        (1, "must be one of female, male"),
        (True, "must be one of female, male"),
        (["male"], "must be one of female, male"),
        ("x" * 10_000, "must be one of female, male"),
    ],
)
def test_a_category_never_seen_is_told_what_it_may_be_and_the_nearest_spelling(value, says):
    assert fields_of({**SOMEBODY, "gender": value}, PERSON) == {"gender": says}


@pytest.mark.parametrize(
    ("cell", "taken", "refused"),
    [("1", (1, 1.0, "1", True), (0, False, 2)), ("TRUE", ("TRUE", "true", True), ("no", 0)), (1.0, (1, "1"), (0, "x"))],
)
def test_a_column_of_one_value_or_none_takes_no_other(cell, taken, refused):
    column = usable(pd.DataFrame({"x": [None, *[cell] * 9], "other": range(10)}))[0]
    signature = Signature.from_table(column[["x"]])
    assert all(signature.parse({"x": value}).tolist() == [[1, 0]] for value in taken)
    assert signature.parse({"x": ""}).tolist() == [[0, 1]]
    for value in refused:
        assert fields_of({"x": value}, signature)["x"].startswith(f"must be {column.x[1]}, or empty")


def test_an_unseen_category_may_be_answered_as_none_of_those_known():
    rows = PERSON.reader(unseen="answer").read({**SOMEBODY, "class": "steerage", "zip": "1"})
    assert not rows.matrix[0, 4:11].any()
    assert rows.notes["class"] == "'steerage' was never seen in training: answered as none of the values known"


@pytest.mark.parametrize("yes", ["Yes", "yes", "YES", "true", "True", "1", "on", "y", 1, True])
@pytest.mark.parametrize("no", ["No", "no", "false", "0", "off", "n", 0, False])
def test_yes_and_no_are_understood_in_every_usual_way(yes, no):
    assert (row_of(smoker=yes)["smoker"], row_of(smoker=no)["smoker"]) == (1, 0)
    assert GAMES.parse({**ARTICLE, "g1": no if no != "No" else "no", "g2": yes})[0, :2].tolist() == [0, 1]


@pytest.mark.parametrize("nothing", [None, "", "  "])
def test_a_missing_value_takes_the_typical_ones_place_and_says_so(nothing):
    row = row_of(**{"Größe": nothing, "class": nothing})
    assert (row["Größe"], row["Größe is missing"]) == (170, 1)
    assert [row[name] for name in PERSON.columns if name.startswith("class")] == [0, 0, 0, 0, 1]
    assert fields_of({**SOMEBODY, "age": nothing}, PERSON) == {"age": "missing"}
    assert fields_of({**SOMEBODY, "gender": nothing}, PERSON) == {"gender": "missing"}


def test_a_field_that_may_be_missing_may_be_left_out():
    some = {name: value for name, value in SOMEBODY.items() if name not in ("Größe", "class")}
    np.testing.assert_array_equal(PERSON.parse(some), PERSON.parse({**some, "Größe": None, "class": None}))
    assert fields_of({}, PERSON) == dict.fromkeys(["gender", "smoker", "zip", "since", "age"], "missing")


# ---- numbers ----


def test_a_number_outside_of_the_range_is_answered_with_a_note():
    rows = PERSON.reader().read({**SOMEBODY, "age": 81})
    assert rows.notes == {"age": "81 is outside of 0.42 to 80, which the model was trained on"}
    assert rows.matrix[0, -1] == 81
    assert PERSON.reader().read([SOMEBODY, {**SOMEBODY, "age": -1}]).notes.keys() == {"[1].age"}
    like = replace(PERSON, values_from="owner").reader(unseen="answer")  # a table that nobody trained on here
    assert like.read({**SOMEBODY, "age": 81, "class": "steerage"}).notes == {
        "age": "81 is outside of 0.42 to 80, the range that the model's owner gave",
        "class": "'steerage' is none of those that the model's owner gave: answered as none of the values known",
    }


def test_strict_refuses_a_number_outside_of_the_range():
    with pytest.raises(InvalidRequest) as refused:
        PERSON.reader(strict=True).read({**SOMEBODY, "age": 81})
    assert refused.value.fields == {"age": "must be between 0.42 and 80"}


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("12.5 %", "12.5 % is no plain number: write 12.5"),
        ("99,50 €", "99,50 € is no plain number: write 99.50"),
        ("-$1,500.25", "-$1,500.25 is no plain number: write -1500.25"),
        ("666,00 €", "666,00 € is no plain number: write 666.00"),
        ("1.234,50 €", "1.234,50 € is no plain number: write 1234.50"),
        ("12,34,567.5", "12,34,567.5 is no plain number: write 1234567.5"),
        ("(1.234,5 kr)", "not a number"),
        ("1,500", "1,500 is no plain number: write 1500 or 1.500, whichever is meant"),
        ("1.500 €", "1.500 € is no plain number: write 1.500 or 1500, whichever is meant"),
        ("12,345,678.5", "12,345,678.5 is no plain number: write 12345678.5"),
        ("0,214", "0,214 is no plain number: write 0.214"),
        ("1500,5", "1500,5 is no plain number: write 1500.5"),
        ("1.500,25", "1.500,25 is no plain number: write 1500.25"),
        ("30 years", "30 years is a number with a unit: send the number alone, 30 if the model takes years"),
        ("$1.5K", "$1.5K is a number with a unit: send the number alone, 1.5 if the model takes $K"),
        ("CHF 1'234.50", "CHF 1'234.50 is a number with a unit: send the number alone, 1234.50 if the model takes CHF"),
        ("12,5°C", "12,5°C is a number with a unit: send the number alone, 12.5 if the model takes °C"),
        ("US$12", "US$12 is a number with a unit: send the number alone, 12 if the model takes US$"),
        ("10:15", "not a number"),
        ("2020-01-01", "not a number"),
        ("3 or 4 years", "not a number"),
        ("1e999", "not finite"),
        ("-Infinity", "not finite"),
        (10**400, "not finite"),
        ([1], "not a number"),
        (10**39, "too large: must be within 1e+30"),
        ("1" * 5000, f"not a number: longer than {LONGEST_NUMBER} characters"),
    ],
)
def test_a_number_written_otherwise_is_told_how_to_write_it(written, says):
    assert fields_of({**SOMEBODY, "age": written}, PERSON) == {"age": says}


def test_the_time_for_a_long_percentage_is_linear_in_its_length():
    begin = time.monotonic()
    for text in ("1" * 40_000 + "%", "." + "1" * 40_000 + " %", "1," * 20_000 + "%"):
        assert "64 characters" in fields_of({**SOMEBODY, "age": text}, PERSON)["age"]
        assert numerals.plain(text.rstrip(" %") + "x") is None
    assert time.monotonic() - begin < 2


def test_percent_are_told_as_the_share_that_a_cell_of_excel_holds():
    shares = Signature((Feature("rate", "real", 0.02, 0.9), Feature("points", "real", 0, 100)))
    says = {"rate": "12.5 % is no plain number: write 0.125", "points": "12.5 % is no plain number: write 12.5"}
    assert fields_of({"rate": "12.5 %", "points": "12.5 %"}, shares) == says


def test_unix_times_are_told_apart():
    one, other = (row_of(since=1.7e9 + seconds)["since"] for seconds in (1, 2))
    assert other - one == pytest.approx(0.001, abs=1e-6)


# ---- names ----


@pytest.mark.parametrize(
    "query",
    [
        "größe=170".encode(),  # as it is, without escapes
        b"gr%C3%B6%C3%9Fe=170",
        b"GR%C3%96%C3%9FE=170",
        "gro\u0308ße=170".encode(),  # decomposed
    ],
)
def test_names_in_unicode_are_matched_however_they_are_sent(query):
    rest = urlencode({name: value for name, value in SOMEBODY.items() if name != "Größe"}).encode()
    np.testing.assert_array_equal(PERSON.parse_query(query + b"&" + rest), PERSON.parse(SOMEBODY))


def test_blanks_around_a_name_do_not_count_as_they_do_not_in_a_table():
    assert np.array_equal(GAMES.parse({f" {name}  ": value for name, value in ARTICLE.items()}), GAMES.parse(ARTICLE))


def test_the_label_sent_along_is_ignored():
    np.testing.assert_array_equal(PERSON.parse({**SOMEBODY, "Survived": "yes"}), PERSON.parse(SOMEBODY))


def test_a_column_that_the_training_left_out_is_ignored():
    table = Signature((Feature("age", "real", 0, 80),), left_out=["Customer ID", "Größe"])
    plain = table.parse({"age": 22})
    np.testing.assert_array_equal(table.parse({"age": 22, "customer id": "C-81", "GRO\u0308SSE": None}), plain)
    np.testing.assert_array_equal(read_csv(table.reader(), "Customer ID,age\nC-81,22\n").matrix, plain)
    whole = {"Customer ID": "C-81", "age": 22, "Größe": [1], "label": 1}
    np.testing.assert_array_equal(table.parse([{"age": 22, **whole}, {**whole, "Größe": {}}]), [[22], [22]])
    for short_way in (table.reader().plain_object(whole), table.reader().plain_query(urlencode(whole).encode())):
        np.testing.assert_array_equal(short_way, plain)  # in the time of a row without them
    with pytest.raises(InvalidRequest, match="1 bad field: customer: unknown"):
        table.parse({"age": 22, "customer": "C-81"})


def test_objects_within_a_row_are_taken_apart_as_those_of_the_table_were():
    features = (Feature("user.plan", "category", default="pro", values=("free", "pro")), Feature("user.address.size"))
    table = Signature((*features, Feature("paid")), left_out=["_id.$oid"])
    nested = {"_id": {"$oid": "5f2e"}, "User": {"plan": "free", "address": {"size": 1}}, "paid": 0}
    np.testing.assert_array_equal(
        table.parse(nested), table.parse({"user.plan": "free", "user.address.size": 1, "paid": 0})
    )
    np.testing.assert_array_equal(table.parse([nested, nested])[1:], table.parse(nested))
    nested["User"] |= {"plan": {"name": "free"}, "city": "Bonn"}
    assert fields_of({**nested, "more": {}}, table) == {
        "User.plan": "must be one of free, pro",
        "User.city": "unknown",
        "more": "unknown",
    }
    deep = {"size": 1}
    for _ in range(5000):
        deep = {"user": deep}
    assert fields_of({"user": deep, "paid": 0}, table)["user.user"] == "unknown"


def test_two_columns_that_differ_in_case_only_are_told_apart_by_their_spelling():
    both = Signature((Feature("a"), Feature("A")))
    assert both.parse({"A": 1, "a": 0}).tolist() == both.parse_query(b"A=1&a=0").tolist() == [[0, 1]]


def test_a_column_that_the_model_does_not_take_is_told_from_a_feature_by_its_spelling_too():
    features = (
        Feature("Class", CATEGORY, values=("a", "b", "c"), default="a"),
        Feature("id", REAL, 0, 9, missing=True),
    )
    table = Signature(features, "class", left_out=["ID"])
    whole, plain = {"ID": 17, "Class": "b", "id": 3, "class": "yes"}, table.parse({"Class": "b", "id": 3})
    for matrix in (table.parse(whole), table.parse([whole]), table.parse_query(urlencode(whole).encode())):
        np.testing.assert_array_equal(matrix, plain)
    none = table.parse({"Class": "b"})
    np.testing.assert_array_equal(table.parse({"Class": "b", "ID": 7}), none)  # it was the id
    assert fields_of({"Class": "b", "Id": 7}, table) == {"Id": "unknown: did you mean id?"}
    assert fields_of({"Class": "b", "id": 3, "CLASS": "yes"}, table) == {"CLASS": "unknown"}


def test_what_caches_add_is_named_as_that():
    fields = fields_of({**ARTICLE, "_": "1732"})
    assert fields == {"_": "unknown: caches and scripts add it to an address, leave it out"}


# ---- lists ----


def test_a_list_may_be_read_to_its_end_though_rows_are_bad():
    bad = {**SOMEBODY, "gender": "x", "age": "old"}
    rows = PERSON.reader().read([SOMEBODY, bad, 5, {**SOMEBODY, "age": 90}], keep_going=True)
    assert rows.bad == (1, 2)
    assert rows.refused.keys() == {"[1].gender", "[1].age", "[2]"}
    assert rows.notes.keys() == {"[3].age"}
    np.testing.assert_array_equal(rows.matrix[0], PERSON.parse(SOMEBODY)[0])


class Looked(dict):
    """A row that counts how often rows are looked at; no plain dict, so that each is read the careful way."""

    count = 0

    def items(self):
        Looked.count += 1
        return super().items()


def test_an_error_names_some_hundred_fields_and_counts_the_rest():
    with pytest.raises(InvalidRequest, match="^10,000 bad fields: .* and 9,997 more") as refused:
        GAMES.parse([{}] * 1000)
    assert len(refused.value.fields) == MOST_NAMED
    errors = GAMES.reader().read([{}] * 1000, keep_going=True).refused
    assert errors["..."] == f"and {10_000 - MOST_NAMED:,} more"


@pytest.mark.parametrize("signature", [GAMES, InputSignature((Array("g", ()),))], ids=["features", "array"])
def test_a_list_in_which_much_is_wrong_is_not_read_to_its_end(signature):
    Looked.count = 0
    with pytest.raises(InvalidRequest, match="^at least 10,000 bad fields: .* and 9,997 more") as refused:
        signature.parse([Looked()] * 100_000)
    assert len(refused.value.fields) == MOST_NAMED and Looked.count <= MOST_COUNTED + 1
    rows = signature.reader().read([{}] * 100_000, keep_going=True)  # what is bad is to be told of every row
    assert rows.bad == tuple(range(100_000)) and rows.refused["..."].endswith(" more")


def test_what_a_text_may_mean_is_looked_for_some_times_only():
    towns = Feature("town", CATEGORY, values=("a",), pooled=tuple(f"town of {i}" for i in range(3000)), default="a")
    fields = fields_of([{"town": f"twon of {i}"} for i in range(300)], Signature((towns,)))
    meant = [what for what in fields.values() if 'did you mean "town of' in what]
    assert len(fields) == MOST_NAMED and len(meant) == MOST_COMPARED // 3001
    asked, named = [], Named()
    for i in range(300):  # and for those that are not named not at all
        named.add(str(i), lambda may_compare: str(asked.append(1)))
    assert len(asked) == MOST_NAMED and named.count == 300


def test_a_list_of_pictures_may_hold_as_many_as_the_memory_is_for():
    signature = InputSignature((Image("image", (256, 256, 3)),))
    wanted = "171 rows of 196,608 numbers each are more than are answered at once: send at most 170"
    for keep_going in (False, True):
        with pytest.raises(InvalidRequest, match=wanted):
            signature.reader().read([b"no picture"] * 171, keep_going)


def test_a_text_of_digits_takes_no_longer_than_its_length():
    """Each of the ten fields holds a million characters; a pattern that tries back would take hours."""
    assert set(fields_of({name: "1" * 1_000_000 + "x" for name in ARTICLE}).values()) == {"must be 0 or 1"}
    query = "&".join(f"{name}={'1' * 100_000}x" for name in ARTICLE).encode()
    assert len(outcome(GAMES.parse_query, query)[1]) == 10


@pytest.mark.parametrize("sent", [b"text=caf%E9", b"text=caf\xe9", b"TEXT=caf%e9+%C3%A9"])
def test_a_text_in_another_encoding_is_refused_not_read_as_another_one(sent):
    reader = InputSignature((Text("text"),)).reader()
    with pytest.raises(InvalidRequest, match="(?i)text: is no text in UTF-8: send it in that encoding"):
        reader.read_query(sent)
    for right in (b"text=caf%C3%A9", "text=café".encode()):
        assert reader.read_query(right).matrix.arrays[0].tolist() == [["café"]]
    assert reader.read_query("text=\ufffd".encode()).matrix.arrays[0].tolist() == [["\ufffd"]]


def test_a_text_and_an_array_may_be_a_file_of_a_form_too():
    signature = InputSignature((Text("text"), Array("numbers", (2,))))
    read = signature.parse({"text": "\ufeffcafé".encode(), "numbers": b"[1, 2.5]\n"}).arrays
    assert [each.tolist() for each in read] == [[["café"]], [[1, 2.5]]]
    says = "text: is no text in UTF-8: .*, numbers: must be an array of shape .2., written in JSON"
    with pytest.raises(InvalidRequest, match=says):
        signature.parse({"text": b"caf\xe9", "numbers": b"1 2"})


def test_a_pictures_file_is_read_however_base64_is_written():
    signature = InputSignature((Image("image", (8, 8, 3)),))
    file = images.example(8, 8)
    plain = base64.b64encode(file).decode()
    expected = signature.parse({"image": file}).arrays[0]
    in_lines, for_addresses = base64.encodebytes(file).decode(), base64.urlsafe_b64encode(file).decode().rstrip("=")
    assert "\n" in in_lines.strip()
    for written in (plain, in_lines, in_lines.replace("\n", "\r\n"), for_addresses, f"data:image/png;base64,{plain}"):
        assert np.array_equal(signature.parse({"image": {"b64": written}}).arrays[0], expected)
    with pytest.raises(InvalidRequest, match="in a form each \\+ is to be written as %2B"):
        signature.parse({"image": "iVBOR w0KGgo"})


def test_pairs_keep_every_value_of_a_name():
    assert Pairs([("a", 1), ("a", 2), ("b", 3)]).getlist("a") == [1, 2]


def test_codes_are_known_as_written_and_as_a_program_sends_them_that_took_them_for_numbers():
    signature = Signature((Feature("zip", "category", values=("01234", "02139", "94110")),))
    for sent in ("01234", 1234, "1234", 1234.0):
        assert signature.parse({"zip": sent}).tolist() == [[1, 0, 0]], sent
    mixed = Signature((Feature("code", "category", values=("1", "01", "002")),))
    assert mixed.parse({"code": "1.0"}).tolist() == mixed.parse({"code": 1}).tolist() == [[1, 0, 0]]
    with pytest.raises(InvalidRequest, match="must be one of"):
        mixed.parse({"code": 2})


@pytest.mark.parametrize("sent", ["?", "nan", float("nan")])
@pytest.mark.parametrize("kind", ["category", "real"])
def test_what_stands_for_no_value_in_tables_is_answered_with_what_to_send(kind, sent):
    signature = Signature((Feature("work", kind, values=("a", "b", "c") if kind == "category" else (), missing=True),))
    for params in ({"work": sent}, [{"work": sent}]):
        with pytest.raises(InvalidRequest, match="work: leave it empty, or null in JSON, where the value is not known"):
            signature.parse(params)


def test_a_number_that_a_model_looks_up_is_a_whole_one_that_it_knows():
    signature = Signature((Feature("x", "real", -1e30, 1e30), Feature("id", "real", 0, 6, whole=True)))
    assert signature.parse([{"x": 0.5, "id": 6}, {"x": 2, "id": "0"}]).tolist() == [[0.5, 6], [2, 0]]
    for wrong in (7, -1, 2.5, "7"):
        for sent in ({"x": 1, "id": wrong}, [{"x": 1, "id": wrong}]):
            with pytest.raises(InvalidRequest, match="id: must be a whole number from 0 to 6"):
                signature.parse(sent)
        with pytest.raises(InvalidRequest, match="id: must be a whole number"):
            signature.parse_query(f"x=1&id={wrong}".encode())
    assert set(signature.sample(200)[:, 1]) == set(range(7))


def test_whole_numbers_are_read_to_their_last_digit():
    """Ids and hashes lie where not every whole number is a float64."""
    signature = InputSignature((Array("ids", (2,), "int64"),))
    ids = [2**63 - 1, 2**53 + 1]
    assert signature.parse({"ids": ids}).arrays[0].tolist() == [ids]
    assert signature.parse({"ids": json.dumps(ids)}).arrays[0].tolist() == [ids]
    with pytest.raises(InvalidRequest) as error:
        signature.parse({"ids": [1, 2**63]})
    assert error.value.fields == {"ids": f"must hold whole numbers from {-(2**63)} to {2**63 - 1}"}
    known = InputSignature((Array("id", (1,), "int64", values=(2**53 + 1,)),))
    with pytest.raises(InvalidRequest):
        known.parse({"id": 2**53})
    half = InputSignature((Array("x", (1,), "float16"),))
    with pytest.raises(InvalidRequest) as error:
        half.parse({"x": 70_000})
    assert error.value.fields == {"x": "holds numbers beyond 65504"}


def test_inputs_and_texts_that_differ_in_case_only_are_told_apart_by_their_spelling():
    signature = InputSignature((Array("A", (1,)), Array("a", (1,)), Text("c", values=("Red", "red", "Blue"))))
    found = signature.parse({"A": 1, "a": 2, "C": "red"})
    assert [array.ravel().tolist() for array in found.arrays] == [[1], [2], ["red"]]
    with pytest.raises(InvalidRequest):
        signature.parse({"A": 1, "a": 2, "C": "RED"})
