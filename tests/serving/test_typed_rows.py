"""Rows that are read straight from the text of a body: the same as by the careful way, or left to it."""

import json
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.data.refusals import InvalidRequest
from helpers.data.signature import Feature, Signature
from helpers.serving.json_bodies import MalformedJSON, decode
from helpers.serving.services import create_predict_app
from helpers.serving.typed_rows import typed_rows
from helpers.serving.wiring import prediction_of

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
    assert rows.matrix.dtype == np.float32 and rows[1:] == ({}, None, ())


SCALED = Signature(
    (Feature("a", "real", -20.5, 1e20, center=1.7, scale=0.3), Feature("b", "real", 0, 3e38), Feature("c"))
)


@given(st.lists(rows_of(SCALED), min_size=1, max_size=5))
def test_numbers_are_scaled_to_the_very_bits_of_the_careful_way(content):
    reader = SCALED.reader()
    rows, _ = typed_rows(reader).read(json.dumps(content).encode())
    careful = np.concatenate([reader.read(row).matrix for row in content])
    assert rows.matrix.tobytes() == careful.tobytes()


# ---- bodies as no program that means well writes them ----

BODIES = {  # by what they are odd in
    "bits": BITS,
    "scaled": SCALED,
    "far": Signature(
        (Feature("Größe", "real", 2**53 - 8, 2**53 + 8, center=2**53, scale=3), Feature("b", "real", 0, 9))
    ),
    "cases": Signature((Feature("Age", "real", -1, 1), Feature("age"), Feature("ẞ"))),
    "colons": Signature((Feature("a:b", "real", -1, 1), Feature("b"))),
}
ODD = ["-0", "-0.0", "1.0", "1e0", "10E-1", "0e999", "1E400", "1e-400", "0.1e+1", "1.00000000000000000000000001"]
ODD += ["5e-324", "16777217", "9007199254740993", "18446744073709551616", "1" + "0" * 30, "0." + "0" * 400 + "1"]
ODD += ["true", "null", '"1"', "01", "1.", ".5", "+1", "--1", "0x1", "1_0", "NaN", "Infinity", "[1]", "{}", "١"]
NOISE = [b"", *(bytes([byte]) for byte in b'{}[]":,0123456789eE.+-\\ \t\0\xff\xc3ag')]


def body_of(signature: Signature, random: Random) -> bytes:
    """A row or a list of rows that is perhaps right: names spelled and numbers written in one of many ways."""
    pick = random.choice

    def number(feature: Feature) -> str:
        if random.random() < 0.1:
            return pick(ODD)
        if feature.kind == "binary":
            return str(random.randrange(2))
        within = [
            random.uniform(feature.low, feature.high),
            feature.low,
            feature.high,
            np.nextafter(feature.high, 9e99),
        ]
        return pick(["%r", "%.17g", "%.16e", "%.25f", "%.0f"]) % float(pick(within))

    def name(feature: Feature) -> str:
        escaped = "".join(f"\\u{ord(letter):04x}" for letter in feature.name)
        return pick(
            [feature.name] * 20 + [feature.name.lower(), feature.name.upper(), f" {feature.name}", escaped, "x"]
        )

    def row() -> str:
        features = random.sample(signature.features, len(signature))
        features += [features[0]] * (random.random() < 0.1)
        blank = pick([""] * 5 + [" ", "\r\n", "\u00a0"])
        return "{" + f",{blank}".join(f'"{name(f)}":{blank}{number(f)}' for f in features) + "}"

    rows = [row() for _ in range(random.randint(1, 3))]
    text = pick([rows[0], f"[{','.join(rows)}]"] * 4 + [f" {rows[0]} ", f"[{rows[0]},]", f"[[{rows[0]}]]"])
    body = text.encode(pick(["utf-8"] * 20 + ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"]))
    if random.random() < 0.2:
        at = random.randrange(len(body))
        body = body[:at] + pick(NOISE) + body[at + random.randrange(2) :]
    return body


def read_carefully(signature: Signature, body: bytes):
    try:
        content = decode(body)
        return signature.reader().read(content), isinstance(content, list)
    except (InvalidRequest, MalformedJSON) as error:
        return error


@pytest.mark.parametrize("signature", BODIES.values(), ids=BODIES)
def test_whatever_is_answered_is_answered_by_the_careful_way_with_the_very_bits(signature):
    random, read, answered = Random(0), typed_rows(signature.reader()).read, 0
    for _ in range(1500):
        body = body_of(signature, random)
        if (found := read(body)) is None:
            continue
        careful = read_carefully(signature, body)
        assert not isinstance(careful, Exception), body
        (rows, is_list), (wanted, wanted_list) = found, careful
        assert is_list == wanted_list and rows[1:] == wanted[1:] == ({}, None, ()), body
        assert rows.matrix.tobytes() == wanted.matrix.tobytes() and rows.matrix.shape == wanted.matrix.shape, body
        answered += 1
    assert signature is BODIES["colons"] or answered > 100


def test_a_whole_number_beyond_2_to_the_53_means_the_same_alone_and_in_a_list():
    reader = BODIES["far"].reader()
    row = {"Größe": 2**53 + 5, "b": 1}
    alone, listed = reader.read(row), reader.read([row])
    typed, _ = typed_rows(reader).read(json.dumps(row).encode())
    assert alone.matrix.tobytes() == listed.matrix.tobytes() == typed.matrix.tobytes()


@pytest.mark.parametrize("name", ['a "b"', "a\\b"])
def test_a_model_with_a_name_that_json_escapes_is_answered_by_the_lane_too(name):
    class Half:
        signature = Signature((Feature(name), Feature("c")))

        def __call__(self, rows):
            return np.full(len(rows), 0.5, np.float32)

    lane = prediction_of(create_predict_app(Half())).lane
    answer = lane.post(b"", json.dumps({name: 1, "c": 0}).encode(), "application/json")
    assert answer is not None and answer[0].startswith(b'{"prediction":"0.5"')


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"[[1,0,1]]",
        b'{"instances":[[1,0,1]]}',
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
        b'{"g1":1,"g2":0,"g3":1,"\xff":1}',
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
