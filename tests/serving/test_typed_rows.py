"""Rows that are read straight from the text of a body: the same as by the careful way, or left to it."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.data.signature import Feature, Signature
from helpers.serving.typed_rows import typed_rows

BITS = Signature(tuple(Feature(f"g{i}") for i in range(1, 4)), label="won")
MIXED = Signature(
    (
        Feature("Größe", "real", -20.5, 1e20, center=1.7, scale=0.3),
        Feature("is it?"),
        Feature("ab:c", "real", 0, 3e38),
    ),
    label="won",
)
PLAIN = {"g1": 1, "g2": 0, "g3": 1}


def rows_of(signature: Signature) -> st.SearchStrategy:
    usual = {
        f.name: st.integers(0, 1)
        if f.kind == "binary"
        else st.one_of(st.floats(f.low, f.high), st.integers(max(int(f.low), -20), 10**19))
        for f in signature.features
    }
    return st.fixed_dictionaries(usual)


@given(st.data())
@pytest.mark.parametrize("signature", [BITS, MIXED], ids=["bits", "numbers"])
def test_what_is_read_is_what_the_careful_way_reads(signature, data):
    row = rows_of(signature)
    content = data.draw(st.one_of(row, st.lists(row, min_size=1, max_size=12)))
    reader = signature.reader()
    found = typed_rows(reader).read(json.dumps(content).encode())
    if signature is MIXED:  # a colon in a name could hide a name that is there twice
        assert found is None
        return
    rows, is_list = found
    assert is_list == isinstance(content, list)
    np.testing.assert_array_equal(rows.matrix, reader.read(content).matrix)
    assert rows.matrix.dtype == np.float32 and rows[1:] == ({}, {}, ())


SCALED = Signature(
    (Feature("a", "real", -20.5, 1e20, center=1.7, scale=0.3), Feature("b", "real", 0, 3e38), Feature("c"))
)


@given(st.lists(rows_of(SCALED), min_size=1, max_size=5))
def test_numbers_are_scaled_to_the_very_bits_of_the_careful_way(content):
    reader = SCALED.reader()
    rows, _ = typed_rows(reader).read(json.dumps(content).encode())
    careful = np.concatenate([reader.read(row).matrix for row in content])
    assert rows.matrix.tobytes() == careful.tobytes()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"[[1,0,1]]",
        b'{"instances":[{"g1":1,"g2":0,"g3":1}]}',
        b'{"g1":1,"g2":0}',
        b'{"g1":1,"g2":0,"g3":null}',
        b'{"g1":1,"g2":0,"g3":2}',
        b'{"g1":1,"g2":0,"g3":0.5}',
        b'{"g1":1,"g2":0,"g3":"1"}',
        b'{"g1":1,"g2":0,"g3":true}',
        b'{"g1":1,"g2":0,"g3":1,"g4":1}',
        b'{"g1":1,"g2":0,"g3":1,"won":1}',
        b'{"g1":1,"g2":0,"G3":1}',
        b'[{"g1":1,"g2":0,"g3":1},{"G1":1,"G2":0,"G3":1}]',
        b'{"g1":1,"g2":0,"g3":1,"g3":1}',
        b'[{"g1":1,"g2":0,"g3":1},{"g1":1,"g2":0,"g2":0,"g3":1}]',
        b'[{"g1":1,"g2":0,"g3":1},null]',
        b'{"g1":1,"g2":0,"g3":1e999}',
        b'\xef\xbb\xbf{"g1":1,"g2":0,"g3":1}',
    ],
)
def test_what_is_irregular_in_any_way_is_left_to_the_careful_way(body):
    assert typed_rows(BITS.reader()).read(json.dumps(PLAIN).encode()) is not None
    assert typed_rows(BITS.reader()).read(body) is None


@pytest.mark.parametrize(
    "feature",
    [
        Feature("x", "category", values=("a", "b")),
        Feature("x", "real", 0, 9, whole=True),
        Feature("x", "real", 0, 9, missing=True),
        Feature("x", values=("yes", "no")),
    ],
    ids=str,
)
def test_models_of_other_features_are_not_read_so(feature):
    assert typed_rows(Signature((Feature("g1"), feature)).reader()) is None


def test_names_in_lower_and_in_upper_case_are_read_as_well_where_they_mean_one_feature():
    signature = Signature((Feature("Age"), Feature("fare")))
    for age, fare in (("Age", "fare"), ("age", "fare"), ("AGE", "FARE"), ("Age", "fare")):
        rows, _ = typed_rows(signature.reader()).read(json.dumps({age: 1, fare: 0}).encode())
        assert rows.matrix.tolist() == [[1, 0]]
    two = Signature((Feature("Age"), Feature("age")))
    assert typed_rows(two.reader()).read(b'{"Age":1,"age":0}')[0].matrix.tolist() == [[1, 0]]
    assert typed_rows(two.reader()).read(b'{"age":1,"age":0}') is None


def test_one_number_outside_of_its_range_is_left_to_the_careful_way():
    reader = SCALED.reader()
    read = typed_rows(reader).read
    assert read(b'{"a":-20.5,"b":0,"c":1}') is not None
    assert read(b'{"a":-20.6,"b":0,"c":1}') is None
    assert read(b'[{"a":1,"b":0,"c":1},{"a":1,"b":-1,"c":1}]') is None
