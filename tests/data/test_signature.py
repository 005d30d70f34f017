"""Request parameters become the matrix that the model takes, by name, or an error that names every bad field."""

from urllib.parse import parse_qsl, urlencode

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict

from helpers.data.signature import BINARY, REAL, Feature, InvalidRequest, Signature

GAMES = Signature(tuple(Feature(f"g{i}") for i in range(1, 11)))
BODY = Signature((Feature("mean radius", REAL, 6.98, 28.11, 13.37), Feature("café", REAL, -1.0, 1e6), Feature("flag")))
ARTICLE = GAMES.example()


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
        ("", "not a number"),
        ("one", "not a number"),
        ("1_0", "not a number"),
        ("٣", "not a number"),
        (None, "not a number"),
        ([1], "not a number"),
        ({}, "not a number"),
        ("nan", "not finite"),
        ("-Infinity", "not finite"),
        (float("inf"), "not finite"),
        (10**400, "not finite"),
        ("1e999", "not finite"),
        (2, "must be 0 or 1"),
        (0.5, "must be 0 or 1"),
    ],
)
def test_a_bad_value_is_named_with_what_is_wrong(value, problem):
    assert fields_of({**ARTICLE, "g7": value}) == {"g7": problem}


def test_every_bad_field_is_named_at_once():
    params = {**ARTICLE, "g2": "x", "g3": 7, "g11": 0}
    del params["g4"]
    assert fields_of(params) == {"g2": "not a number", "g3": "must be 0 or 1", "g4": "missing", "g11": "unknown"}


def test_a_name_given_twice_is_refused_however_it_is_written():
    assert fields_of(MultiDict([*ARTICLE.items(), ("g1", 1)])) == {"g1": "repeated"}
    assert fields_of({**ARTICLE, "G1": 0}) == {"g1": "repeated"}


def test_a_list_gives_a_row_for_each_object_and_errors_name_the_row():
    rows = [ARTICLE, {name.upper(): "0" for name in ARTICLE}]
    assert GAMES.parse(rows).tolist() == [[1] + [0] * 9, [0] * 10]
    assert fields_of([ARTICLE, 5, {**ARTICLE, "g3": "x"}]) == {
        "[1]": "must be an object of names and values",
        "[2].g3": "not a number",
    }


@pytest.mark.parametrize("wrong", [[], "text", 5, None])
def test_what_is_neither_object_nor_list_is_refused_in_a_sentence(wrong):
    with pytest.raises(InvalidRequest, match="list|object"):
        GAMES.parse(wrong)


def test_a_real_feature_keeps_to_its_range_and_takes_both_ends():
    low = {"mean radius": 6.98, "CAFÉ": -1, "flag": 0}
    assert BODY.parse(low)[0].tolist() == np.array([6.98, -1, 0], np.float32).tolist()
    assert BODY.parse({**low, "mean radius": 28.11})[0, 0] == np.float32(28.11)
    assert fields_of({**low, "mean radius": 28.2}, BODY) == {"mean radius": "must be between 6.98 and 28.11"}


def test_every_sampled_row_is_legal_as_text_where_float32_rounds_an_end_of_the_range_outwards():
    random = np.random.default_rng(0)
    table = pd.DataFrame(random.normal(-195, 0.05, (200, 50)), columns=[f"f{i}" for i in range(50)])
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


VALUES = st.sampled_from(["0", "1", "2", "7.5", "28.11", "", "nan", "1e3", "0x1", "1_0", " 1", "１", "-0", "999999"])
NAMES = st.sampled_from(["g1", "G1", "g10", "g11", "mean radius", "MEAN RADIUS", "café", "CAFÉ", "flag", "a&b", "="])


@given(st.lists(st.tuples(NAMES, VALUES), max_size=12), st.sampled_from([GAMES, BODY]), st.booleans())
def test_the_fast_road_for_a_query_string_gives_what_the_careful_one_gives(pairs, signature, complete):
    if complete:
        pairs = [*signature.example().items(), *pairs[:1]]
    query = urlencode(pairs)
    careful = MultiDict(parse_qsl(query, keep_blank_values=True))
    assert outcome(signature.parse_query, query.encode()) == outcome(signature.parse, careful)


@given(st.binary(max_size=60))
def test_no_bytes_of_a_query_string_are_anything_but_a_row_or_a_refusal(query):
    for signature in (GAMES, BODY):
        result = outcome(signature.parse_query, query)
        assert isinstance(result, list) or result[1]


@given(st.lists(st.dictionaries(st.sampled_from([*ARTICLE, "G1", "x"]), st.integers(-1, 2)), min_size=1, max_size=3))
def test_the_fast_road_for_lists_gives_what_the_careful_one_gives(rows):
    rows = [{**ARTICLE, **row} for row in rows]
    assert outcome(GAMES.parse, rows) == outcome(GAMES._matrix, rows)


def test_a_table_gives_its_signature_and_a_card_keeps_it():
    table = pd.DataFrame({"Played": [0, 1, 1], "Hours": [0.5, 12.25, 3.0]})
    signature = Signature.from_table(table, "churned")
    assert signature.features == (Feature("played", BINARY), Feature("hours", REAL, 0.5, 12.25, 3.0))
    assert signature.label == "churned"
    assert Signature.from_dict(signature.to_dict()) == signature


def test_every_row_of_the_table_that_gave_a_signature_is_a_legal_request():
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32), columns=["a", "b", "c"])
    signature = Signature.from_table(table)
    assert (signature.parse(table.to_dict("records")) == table.to_numpy()).all()
    assert (signature.parse(table.astype(str).to_dict("records")) == table.to_numpy()).all()


def test_every_input_lists_each_possible_row_once():
    inputs = GAMES.every_input()
    assert inputs.shape == (1024, 10)
    assert len({tuple(row) for row in inputs.tolist()}) == 1024
    assert BODY.every_input() is None


def test_a_sample_holds_legal_rows():
    rows = BODY.sample(50)
    assert rows.shape == (50, 3)
    assert (BODY.parse([dict(zip(BODY.names, row, strict=True)) for row in rows.tolist()]) == rows).all()


def test_two_columns_that_differ_in_case_only_are_refused():
    with pytest.raises(ValueError, match="a occur twice"):
        Signature.from_table(pd.DataFrame({"a": [0, 1], "A": [1, 0]}))
