"""A signature is learned from a table, kept by a card, and turns columns of a table into the matrix of the model."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from helpers.data.signature import BINARY, CATEGORY, OFTEN, OWN_COLUMNS, REAL, Feature, Signature

GAMES = Signature(tuple(Feature(f"g{i}") for i in range(1, 11)))
MIXED = pd.DataFrame(
    {
        "Age": [22.0, np.nan, 40.5, 31.0, 8.25, 60.0],
        "sex": ["m", "f", "f", "m", "m", "f"],
        "Smoker": ["no", "yes", "no", "no", "yes", "no"],
        "flag": [0, 1, 1, 0, 1, 0],
        "deck": ["A", "B", None, "B", "C", "A"],
    }
)


def test_a_table_gives_its_signature_in_its_own_spelling():
    age, sex, smoker, flag, deck = Signature.from_table(MIXED).features
    assert age == Feature("Age", REAL, 8.25, 60.0, 31.0, missing=True)
    assert (sex.kind, sex.values) == (BINARY, ("f", "m"))
    assert (smoker.kind, smoker.values, smoker.default) == (BINARY, ("no", "yes"), "no")
    assert flag == Feature("flag")
    assert (deck.kind, deck.values, deck.pooled, deck.missing) == (CATEGORY, ("A", "B"), ("C",), True)


def test_a_card_keeps_a_signature():
    signature = Signature.from_table(MIXED, "churned", "yes")
    assert json.loads(json.dumps(signature.to_dict())) == signature.to_dict()
    assert Signature.from_dict(json.loads(json.dumps(signature.to_dict()))) == signature
    assert signature.to_dict()["positive"] == "yes"


def test_a_card_keeps_what_was_left_out():
    signature = replace(Signature.from_table(MIXED), left_out=("id",))
    assert signature.to_dict()["left_out"] == ["id"] and "left_out" not in Signature.from_table(MIXED).to_dict()
    assert Signature.from_dict(json.loads(json.dumps(signature.to_dict()))) == signature


def test_what_is_predicted_has_a_name_for_people_or_that_of_its_column():
    assert Signature.from_table(MIXED, "churned", "yes").outcome == "churned = yes"
    named = Signature.from_table(MIXED, "churned", "yes", "leaving us")
    assert named.outcome == "leaving us"
    assert Signature.from_dict(json.loads(json.dumps(named.to_dict()))) == named
    assert "display_name" not in Signature.from_table(MIXED, "churned").to_dict()


def test_a_figure_says_which_of_two_texts_is_the_1():
    table = pd.DataFrame({"gender": ["female", "male", None], "Raucher?": ["nein", "ja", "ja"], "played": [0, 1, 1]})
    signature = Signature.from_table(table)
    ones = dict(zip(signature.column_labels, signature.encode(table)[1], strict=True))
    assert ones == {"gender=male": 1, "gender is missing": 0, "Raucher?=ja": 1, "played": 1}


def test_a_card_of_an_earlier_version_is_read():
    features = [{"name": "g1", "kind": "binary", "low": 0.0, "high": 1.0, "default": 0.0}]
    features += [{"name": "size", "kind": "real", "low": -1.5, "high": 2.0, "default": 0.25}]
    signature = Signature.from_dict({"features": features, "label": "label"})
    assert signature.features == (Feature("g1"), Feature("size", REAL, -1.5, 2.0, 0.25))
    assert signature.columns == signature.names == ("g1", "size")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": "colour"}, "of the kind 'colour'"),
        ({"kind": "real", "low": 2.0, "high": 1.0}, "the range of 'x' is 2.0 to 1.0"),
        ({"kind": "real", "high": float("nan")}, "the range of 'x'"),
        ({"kind": "real", "high": "tall"}, "the range of 'x'"),
        ({"kind": "real", "scale": 0.0}, "the scale of 'x'"),
        ({"kind": "category"}, "the category 'x' has no values"),
        ({"kind": "category", "values": [1, 2]}, "the category 'x' has no values"),
        ({"kind": "binary", "values": ["a", "b", "c"]}, "the binary feature 'x' has 3 values"),
    ],
)
def test_a_feature_that_cannot_be_is_refused(change, says):
    with pytest.raises(ValueError, match=says):
        Signature.from_dict({"features": [{"name": "x", **change}], "label": "label"})


@pytest.mark.slow
def test_a_card_that_lists_a_million_features_is_refused_without_reading_them_all():
    with pytest.raises(ValueError, match="a signature of 100,001 features"):
        Signature.from_dict({"features": [{"name": str(i)} for i in range(1_000_000)], "label": "label"})


def test_a_name_that_occurs_twice_is_refused():
    with pytest.raises(ValueError, match="a occur twice"):
        Signature((Feature("a"), Feature("a")))


def test_a_table_becomes_the_matrix_that_its_requests_become():
    signature = Signature.from_table(MIXED)
    matrix = signature.encode(MIXED)
    assert (matrix.shape, matrix.dtype) == ((6, signature.width), np.float32)
    records = MIXED.astype(object).where(MIXED.notna(), None).to_dict("records")
    np.testing.assert_array_equal(signature.parse(records), matrix)


def test_what_training_never_saw_is_not_encoded():
    signature = Signature.from_table(MIXED)
    with pytest.raises(ValueError, match="'deck' is 'Z' in row 0, which the model never saw"):
        signature.encode(MIXED.assign(deck="Z"))
    with pytest.raises(ValueError, match="'flag' is missing in row 2"):
        signature.encode(MIXED.assign(flag=[0, 1, np.nan, 0, 1, 0]))


def test_a_category_of_many_values_pools_the_rare_ones():
    texts = [f"v{i}" for i in range(300) for _ in range(i + 1)]
    (feature,) = Signature.from_table(pd.DataFrame({"x": texts})).features
    assert len(feature.values) == OWN_COLUMNS and len(feature.pooled) == 100
    assert "v299" in feature.values and "v0" in feature.pooled
    assert feature.default == "v299"
    assert feature.encode(np.array(["v0", "v299"], dtype=object)).sum(axis=1).tolist() == [1, 1]


def test_a_value_that_stands_in_many_rows_of_a_long_table_is_not_rare():
    texts = [f"v{i}" for i in range(100)] * OFTEN + ["once"]
    (feature,) = Signature.from_table(pd.DataFrame({"x": texts * 3})).features
    assert feature.pooled == ("once",)


@pytest.mark.parametrize(
    ("numbers", "plain"),
    [
        (np.arange(100) / 3, True),
        (np.arange(100) * 1e4, True),
        (1.7e9 + np.arange(100), False),  # Unix times
        (np.arange(100) * 1e12, False),
        (np.arange(100) * 1e-6, False),
        (np.arange(100) * 1e28, False),
    ],
)
def test_numbers_of_any_size_reach_the_model_as_numbers_that_it_tells_apart(numbers, plain):
    signature = Signature.from_table(pd.DataFrame({"x": numbers}))
    (feature,) = signature.features
    assert (feature.scale == 1.0 and feature.center == 0.0) == plain
    encoded = signature.encode({"x": numbers})
    assert np.isfinite(encoded).all() and len(np.unique(encoded)) == 100
    assert plain or np.abs(encoded).max() < 1000
    rows = [{"x": number} for number in numbers.tolist()]
    np.testing.assert_array_equal(signature.parse(rows), encoded)
    assert (feature.low, feature.high) == (numbers.min(), numbers.max())


def test_every_input_lists_each_possible_row_once():
    inputs = GAMES.every_input()
    assert inputs.shape == (1024, 10)
    assert len({tuple(row) for row in inputs.tolist()}) == 1024
    assert Signature.from_table(MIXED).every_input() is None


def test_a_sample_holds_legal_rows_of_every_kind():
    signature = Signature.from_table(MIXED)
    rows = signature.sample_rows(500)
    assert {row["deck"] for row in rows} == {"A", "B", "C", None}
    assert {row["sex"] for row in rows} == {"m", "f"}
    matrix = signature.sample(500)
    np.testing.assert_array_equal(signature.parse(rows), matrix)
    as_text = [{name: "" if value is None else str(value) for name, value in row.items()} for row in rows]
    np.testing.assert_array_equal(signature.parse(as_text), matrix)


def test_the_example_is_a_row_that_could_exist():
    assert GAMES.example() == {"g1": 1, **{f"g{i}": 0 for i in range(2, 11)}}
    example = Signature.from_table(MIXED).example()
    assert example == {"Age": 31, "sex": "f", "Smoker": "no", "flag": 0, "deck": "A"}
