"""One function scores record batches; a row means to it what it means to the service, to the last bit and word."""

import math
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from helpers.batch.scoring import Scorer
from helpers.data.raw_tables import DataError
from helpers.export.predictors import load_predictor
from helpers.serving.services import create_predict_app

SOMEBODY = {"Größe": 171.0, "gender": "female", "class": "2nd", "smoker": "no", "siblings": 1.0}
TEXTS = [
    *(None, "", " ", "nan", "inf", "-inf", "1e400", "1e31", "-1e30", "12,5", "1,234", "1.234,5", "1'000", "1_000", "٣"),
    *("0x10", "+3", ".5", "5.", "-7", "007", "1e2", " 3 ", "3\u00a0", "9" * 64, "9" * 65, "0.1", "1e-320", "NaN", "NA"),
    *(
        "female",
        "FEMALE",
        " male ",
        "femal",
        "deck crew",
        "deck  crew",
        "Deck\tCrew",
        "3rd",
        "x" * 300,
        "yes",
        "Y",
        "No",
    ),
    *("true", "on", "0", "1", "2", "1.0", "2nd", "e\u0301", "null"),
]
NUMBERS = [None, math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0, 2.0, 1e30, 1.1e30, -5.5, 171.3, 1e-310, 2.0**53 + 2]


@pytest.fixture(scope="module")
def scorer(passengers_model):
    return Scorer(load_predictor(passengers_model))


@pytest.fixture(scope="module")
def ask(passengers_model):
    """One row asked of the service: its probability, its notes and None, or None, None and the reason in words."""
    client = create_predict_app(load_predictor(passengers_model)).test_client()

    def ask(row: dict) -> tuple:
        answer = client.post("/predict", json=row).get_json()
        reason, notes = (
            "; ".join(f"{field}: {what}" for field, what in answer.get(key, {}).items()) or None
            for key in ("fields", "notes")
        )
        return np.float32(answer["probability"]) if answer["success"] else None, notes, reason

    return ask


def check_as_the_service(scorer, ask, batch: pa.RecordBatch) -> None:
    for row, got in zip(batch.to_pylist(), scorer(batch).to_pylist(), strict=True):
        assert (got["probability"], got["notes"], got["error"]) == ask(_as_json(row)), row


def _as_json(row: dict) -> dict:
    """NaN in a table is a missing value. JSON has no infinity, but the service knows its name; nor has it decimals."""
    row = {k: float(v) if isinstance(v, Decimal) else v for k, v in row.items()}
    row = {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}
    return {k: str(v) if isinstance(v, float) and math.isinf(v) else v for k, v in row.items()}


@pytest.mark.slow
@pytest.mark.parametrize("column", SOMEBODY)
def test_a_text_in_any_column_is_answered_or_refused_as_the_service_does(scorer, ask, column):
    rows = [SOMEBODY | {column: text} for text in TEXTS]
    texts = {name: [row[name] for row in rows] for name in SOMEBODY}
    check_as_the_service(scorer, ask, pa.RecordBatch.from_pydict(texts))


@pytest.mark.parametrize("column", SOMEBODY)
@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.int64(), pa.int8(), pa.bool_(), pa.decimal128(38, 1)])
def test_a_number_of_any_type_is_answered_or_refused_as_the_service_does(scorer, ask, column, kind):
    if pa.types.is_floating(kind):
        values = pa.array(NUMBERS).cast(kind, safe=False)
    elif pa.types.is_boolean(kind):
        values = pa.array([True, False, None])
    else:
        values = pa.array([None, 0, 1, 2, -3, 100]).cast(kind)
    count = len(values)
    columns = {name: values if name == column else [SOMEBODY[name]] * count for name in SOMEBODY}
    check_as_the_service(scorer, ask, pa.RecordBatch.from_pydict(columns))


def test_every_bad_field_of_a_row_is_named_and_the_rows_around_it_are_answered(scorer, ask):
    bad = {"Größe": "tall", "gender": "femal", "class": None, "smoker": "no", "siblings": ""}
    rows = [SOMEBODY, bad, SOMEBODY]
    batch = pa.RecordBatch.from_pydict({k: [v if v is None else str(v) for v in (r[k] for r in rows)] for k in bad})
    first, middle, last = scorer(batch).to_pylist()
    assert middle["probability"] is None
    assert middle["error"] == ask(bad)[2]
    assert all(f"{name}: " in middle["error"] for name in ("Größe", "gender", "class", "siblings"))
    assert first["error"] is last["error"] is None
    assert first["probability"] == last["probability"] == ask(SOMEBODY)[0]


def test_texts_may_be_written_as_bytes_and_other_bytes_are_no_value(scorer, ask):
    rows = [SOMEBODY | {"gender": gender} for gender in (SOMEBODY["gender"].encode(), b"\xff")]
    first, other = scorer(pa.RecordBatch.from_pylist(rows)).to_pylist()
    assert first["probability"] == ask(SOMEBODY)[0]
    assert other["probability"] is None and other["error"].startswith("gender: must be one of female")


def test_other_columns_pass_through_in_their_order_and_type(scorer):
    id_, born = pa.array([7, 5]), pa.array([1, 2], pa.timestamp("s"))
    rows = {name: [value] * 2 for name, value in SOMEBODY.items()}
    scored = scorer(pa.RecordBatch.from_pydict({"id": id_, **rows, "born": born}))
    assert scored.schema.names == ["id", *rows, "born", "probability", "model_version", "notes", "error"]
    assert scored["id"].equals(id_) and scored["born"].equals(born)
    assert scored["model_version"].to_pylist() == [scorer.version] * 2
    assert scored["error"].null_count == 2


def test_columns_are_found_by_name_in_any_case_and_order(scorer):
    row = dict(reversed({name.upper(): [value] for name, value in SOMEBODY.items()}.items()))
    plain = scorer(pa.RecordBatch.from_pydict({name: [value] for name, value in SOMEBODY.items()}))
    assert scorer(pa.RecordBatch.from_pydict(row))["probability"].equals(plain["probability"])


def test_a_column_that_may_be_missing_may_be_left_out(scorer, ask):
    row = {name: value for name, value in SOMEBODY.items() if name != "Größe"}
    (scored,) = scorer(pa.RecordBatch.from_pylist([row])).to_pylist()
    assert scored["probability"] == ask(row)[0]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"gender": None}, "lacks 'gender', which the model takes: its columns are Größe, class"),
        ({"probability": 0.5}, "has a column 'probability' already"),
        ({"error": "none"}, "has a column 'error' already"),
        ({"GENDER": "male"}, "the columns 'gender' and 'GENDER' both are 'gender'"),
    ],
)
def test_another_tables_columns_are_one_sentence(scorer, change, says):
    row = {name: value for name, value in (SOMEBODY | change).items() if value is not None}
    with pytest.raises(DataError, match=says):
        scorer(pa.RecordBatch.from_pylist([row]))


def test_dictionaries_large_texts_and_slices_are_read_alike(scorer):
    texts = pa.array(["female", "male", None, "nobody"] * 5)
    others = {name: [value] * 20 for name, value in SOMEBODY.items() if name != "gender"}
    kinds = [texts, texts.dictionary_encode(), texts.cast(pa.large_string()), texts.cast(pa.string_view())]
    scored = [scorer(pa.RecordBatch.from_pydict({"gender": kind, **others}).slice(3, 9)) for kind in kinds]
    for other in scored[1:]:
        assert other["probability"].equals(scored[0]["probability"])
        assert other["error"].equals(scored[0]["error"])
    assert scored[0]["error"].null_count == 4


def test_lists_are_no_values_and_no_rows_no_error(scorer):
    others = {name: [value] for name, value in SOMEBODY.items() if name != "siblings"}
    (row,) = scorer(pa.RecordBatch.from_pydict({**others, "siblings": [[1, 2]]})).to_pylist()
    assert row["probability"] is None and row["error"] == "siblings: not a number"
    empty = pa.RecordBatch.from_pylist([], schema=pa.RecordBatch.from_pylist([SOMEBODY]).schema)
    assert scorer(empty).num_rows == 0


def test_every_number_outside_of_what_training_saw_is_noted(scorer, ask):
    rows = [SOMEBODY | {"Größe": 250.0, "siblings": -3.0}, SOMEBODY, SOMEBODY | {"Größe": math.nan, "siblings": 40.5}]
    batch = pa.RecordBatch.from_pylist(rows)
    check_as_the_service(scorer, ask, batch)
    both, none, one = scorer(batch)["notes"].to_pylist()
    assert both.startswith("Größe: 250 is outside of ") and "; siblings: -3 is outside of " in both
    assert none is None and one.startswith("siblings: 40.5 is outside of ")


OUTPUTS = {  # the last layer's width and activation, and the classes
    "classes": (3, "softmax", ["a", "b", "c"]),
    "logits": (3, None, ["a", "b", "c"]),
    "yes or no": (1, "sigmoid", ["no", "yes"]),
    "number": (1, None, ()),
    "array": (4, None, ()),
    "several": (1, None, ()),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", OUTPUTS)
def test_whatever_a_model_answers_becomes_columns_with_the_numbers_of_the_service(kind, tmp_path):
    predictor = exported_as(kind, tmp_path)
    client = create_predict_app(predictor).test_client()
    rows = [{"a": a, "b": b} for a, b in np.random.default_rng(0).normal(0, 1, (300, 2)).round(3).tolist()]
    rows.append({"a": "tall", "b": 1})
    batch = pa.RecordBatch.from_pydict({name: [str(row[name]) for row in rows] for name in "ab"})
    scored = Scorer(predictor)(batch).to_pylist()
    for row, got in zip(rows, scored, strict=True):
        answer = client.post("/predict", json=row).get_json()
        answers = {
            name: value for name, value in got.items() if name not in ("a", "b", "model_version", "notes", "error")
        }
        if answer["success"]:
            assert answers == in_columns(answer, kind), row
        else:
            assert got["error"] == "a: not a number" and set(answers.values()) == {None}


def exported_as(kind: str, folder):
    """A network of random weights that takes two numbers, exported as one that answers what `OUTPUTS` says."""
    import keras

    from helpers.export.own_model import export_file

    keras.utils.set_random_seed(3)
    width, activation, classes = OUTPUTS[kind]
    inputs = keras.Input((2,))
    hidden = keras.layers.Dense(8, "relu")(inputs)
    outputs = keras.layers.Dense(width, activation, name="days")(hidden)
    if kind == "several":
        outputs = [keras.layers.Dense(1, "sigmoid", name="risk")(hidden), outputs]
    keras.Model(inputs, outputs).save(folder / "net.keras")
    export_file(folder / "net.keras", folder / "model", features=["a", "b"], classes=classes)
    return load_predictor(folder / "model")


def in_columns(answer: dict, kind: str) -> dict:
    """The service's answer to one row as the columns of a table, each number as the float32 that it stands for."""

    def number(value):
        return float(np.float32(value))

    if kind == "several":
        risk, days = answer["outputs"]["risk"], answer["outputs"]["days"]
        return {"risk_probability": number(risk["probability"]), "days_value": number(days["value"])}
    if kind == "number":
        return {"value": number(answer["value"])}
    if kind == "array":
        return {"prediction": [number(value) for value in answer["prediction"]]}
    each = {f"probability_{name}": number(share) for name, share in answer["probabilities"].items()}
    return {"prediction": answer["prediction"], "probability": number(answer["probability"]), **each}


@pytest.mark.slow
def test_single_numbers_and_texts_by_name_are_taken_from_columns_as_the_service_takes_them(tmp_path):
    import keras

    from helpers.export.own_model import export_file

    keras.utils.set_random_seed(3)
    layers = keras.layers
    age = keras.Input((1,), name="age")
    floor = keras.Input((1,), name="floor", dtype="int64")
    city = keras.Input((1,), name="city", dtype="string")
    found = layers.Concatenate()(
        [
            layers.Normalization(mean=40.0, variance=90.0)(age),
            layers.IntegerLookup(vocabulary=[1, 2, 7], output_mode="one_hot")(floor),
            layers.StringLookup(vocabulary=["Oslo", "NA"], num_oov_indices=0, output_mode="one_hot")(city),
        ]
    )
    ends = {"price": layers.Dense(1)(found), "kind": layers.Dense(3, "softmax")(found)}
    keras.Model([age, floor, city], ends).save(tmp_path / "flats.keras")
    export_file(tmp_path / "flats.keras", tmp_path / "flats")
    predictor = load_predictor(tmp_path / "flats")
    client = create_predict_app(predictor).test_client()
    plain = [{"Age": age, "floor": 7, "city": "oslo", "id": age} for age in range(300)]
    odd = {"Age": [True, None, math.nan, "40", " 4e1", "x", "NA"], "floor": [2, 3, 7.0, 1.5, "7"]}
    odd["city"] = ["NA", None, 5, "Osl", ["Oslo"]]
    rows = [plain[:300]] + [[plain[0] | {name: value}] for name, values in odd.items() for value in values]
    scorer = Scorer(predictor)
    for some in rows:
        for row, got in zip(some, scorer(pa.RecordBatch.from_pylist(some)).to_pylist(), strict=True):
            asked = {name: row[name] for name in ("Age", "floor", "city")}
            answer = client.post("/predict", json=_as_json(asked)).get_json()
            if not answer["success"]:
                assert got["price_value"] is got["kind_prediction"] is None
                assert got["error"] == "; ".join(f"{name}: {what}" for name, what in answer["fields"].items())
                continue
            kind = answer["outputs"]["kind"]
            notes = "; ".join(f"{name}: {what}" for name, what in answer.get("notes", {}).items())
            assert (got["notes"] or "") == notes and bool(notes) == (row["floor"] == 3)
            assert got["error"] is None and got["price_value"] == np.float32(answer["outputs"]["price"]["value"])
            assert (got["kind_prediction"], got["id"]) == (kind["prediction"], row["id"])
            assert got["kind_probability_2"] == np.float32(kind["probabilities"]["2"])
    written = pa.RecordBatch.from_pydict({"age": ["40", "NA", "1.234,5"], "floor": ["7"] * 3, "city": ["NA"] * 3})
    read = Scorer(predictor, absent=["NA"], commas=["age"])(written)
    assert [error and error.split(":")[0] for error in read["error"].to_pylist()] == [None, "age", None]
    with pytest.raises(DataError, match="lacks 'city', which the model takes"):
        scorer(written.select(["age", "floor"]))


def test_a_model_that_takes_no_row_of_a_table_is_named(exported):
    class Picture:
        signature, version = object(), ""

    with pytest.raises(DataError, match="models that take a row of a table, or single numbers and texts: ask the"):
        Scorer(Picture())


@pytest.mark.slow
def test_every_possible_row_of_the_games_gets_the_bits_that_the_service_gives(exported):
    predictor = load_predictor(exported)
    client = create_predict_app(predictor).test_client()
    inputs = predictor.signature.every_input()
    batch = pa.RecordBatch.from_pydict(dict(zip(predictor.signature.names, inputs.T.astype(int), strict=True)))
    scored = Scorer(predictor)(batch)["probability"].to_numpy()
    for row, got in zip(batch.to_pylist(), scored, strict=True):
        assert np.float32(client.get("/predict", query_string=row).get_json()["probability"]) == got


def test_a_runtime_whose_blocks_differ_from_single_rows_is_called_row_by_row(exported):
    numpy = load_predictor(exported, "numpy")  # its matrix products sum in another order for one row
    rows = numpy.signature.sample(500, seed=1)
    batch = pa.RecordBatch.from_pydict(dict(zip(numpy.signature.names, rows.T, strict=True)))
    single = [numpy(row[None])[0] for row in rows]
    assert Scorer(numpy)(batch)["probability"].to_pylist() == single
