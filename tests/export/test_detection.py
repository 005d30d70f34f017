"""What a Keras model takes and answers is found from its layers, and overruled by what its owner says."""

import json
import time
import warnings
from dataclasses import replace

import numpy as np
import pytest
from export_tools import brought

from helpers.data.input_kinds import Array, Image
from helpers.data.inputs import Batch, InputSignature, name_in_requests
from helpers.data.outputs import ONE_PROBABILITY, Output
from helpers.data.refusals import InvalidRequest
from helpers.data.signature import UNBOUNDED, Feature, Signature
from helpers.export.answers import outputs_of, predicted
from helpers.export.detection import Wishes, signature_of
from helpers.export.errors import ArtifactError
from helpers.export.own_model import export_file, takes_in_words
from helpers.export.predictors import load_predictor
from helpers.export.run_keras import compiled
from helpers.export.versions import other_question
from helpers.serving.services import create_predict_app

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(
    "shape", [lambda keras, y: keras.ops.squeeze(y, -1), lambda keras, y: keras.layers.Flatten()(y)]
)
def test_a_probability_is_told_behind_what_only_gives_it_another_shape(shape):
    import keras

    x = keras.Input((4,))
    model = keras.Model(x, shape(keras, keras.layers.Dense(1, activation="sigmoid")(x)))
    assert signature_of(model, Wishes(), "answer").outputs == ONE_PROBABILITY


def test_counted_words_are_answered_with_one_probability_though_keras_tells_another_shape():
    import keras

    words = keras.layers.TextVectorization(vocabulary=["good", "bad"], output_mode="count")
    inputs = keras.Input((1,), dtype="string")
    model = keras.Model(inputs, keras.layers.Dense(1, "sigmoid")(words(inputs)))
    assert model.output_shape == (None, 1, 1)  # for answers of shape (rows, 1)
    assert signature_of(model, Wishes(), "tone").outputs == ONE_PROBABILITY


@pytest.mark.parametrize("is_inside", [False, True])
def test_a_look_up_that_knows_no_other_values_takes_those_and_names_them_to_whoever_sends_another(tmp_path, is_inside):
    import keras

    layers, known = keras.layers, {"num_oov_indices": 0, "output_mode": "one_hot"}
    ends = [keras.Input((1,), dtype="string", name="city"), keras.Input((1,), dtype="int64", name="floor")]
    encoded = layers.Concatenate()(
        [
            layers.StringLookup(vocabulary=["Oslo", "Rome"], **known)(ends[0]),
            layers.IntegerLookup(vocabulary=[1, 2, 7], **known)(ends[1]),
        ]
    )
    inner = keras.Model(ends, encoded)
    model = keras.Model(ends, layers.Dense(1)(inner(ends) if is_inside else encoded))
    signature = signature_of(model, Wishes(), "price")
    assert [each.values for each in signature.inputs] == [("Oslo", "Rome"), (1, 2, 7)]
    assert json.loads(json.dumps(signature.to_dict())) == signature.to_dict()
    assert InputSignature.from_dict(json.loads(json.dumps(signature.to_dict()))) == signature
    assert takes_in_words(signature) == "one of 2 texts (city): Oslo, Rome; a number (floor), of 1, 2, 7"
    assert signature.example()["floor"] in (1, 2, 7)
    answer = compiled(model)(*signature.parse([{"city": "rome", "floor": 7}, {"city": "Oslo", "floor": [1]}]).arrays)
    np.testing.assert_allclose(answer, np.ravel(model([np.array([["Rome"], ["Oslo"]]), np.array([[7], [1]])])))
    with pytest.raises(InvalidRequest) as refused:
        signature.parse({"city": "Romo", "floor": 3})
    assert refused.value.fields == {
        "city": "must be one of Oslo, Rome; did you mean Rome?",
        "floor": "must be one of 1, 2, 7",
    }


def embedded(takes: str):
    """A model of three whole numbers for each row, which an Embedding of 9 words takes in several ways."""
    import keras

    class Within(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.words, self.places = keras.layers.Embedding(9, 2), keras.layers.Embedding(3, 2)

        def call(self, x):
            return self.words(x) + self.places(keras.ops.arange(3))

    inputs, words = keras.Input((3,)), keras.layers.Embedding(9, 2)
    made = {
        "at once": lambda: words(inputs),
        "reshaped": lambda: words(keras.layers.Reshape((3, 1))(inputs)),
        "less one": lambda: words(inputs - 1),
        "in a layer": lambda: Within()(inputs),
        "some of them": lambda: words(inputs[:, :1]),
        "none of them": lambda: words(keras.ops.zeros_like(inputs)),
    }[takes]()
    return keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Flatten()(made)))


@pytest.mark.parametrize(
    ("takes", "high"),
    [
        ("at once", 8),
        ("reshaped", 8),
        ("less one", 9),
        ("in a layer", 8),
        ("some of them", None),
        ("none of them", None),
    ],
)
def test_the_numbers_that_an_embedding_knows_are_found_wherever_it_stands(takes, high):
    found = signature_of(embedded(takes), Wishes(), "y")
    if high is None:
        assert isinstance(found, Signature)
        ids = [(each.low, each.high) for each in found.features if each.whole]
        assert ids == ([(0, 8)] if takes == "some of them" else [])
    else:
        assert (found.inputs[0].low, found.inputs[0].high) == (0, high)


def test_a_value_that_a_look_up_takes_for_unknown_is_answered_with_a_note_of_those_that_it_knows(tmp_path):
    import keras

    layers = keras.layers
    ends = [keras.Input((1,), dtype="string", name="city"), keras.Input((1,), dtype="int64", name="floor")]
    known = {"output_mode": "one_hot"}
    encoded = layers.Concatenate()(
        [
            layers.StringLookup(vocabulary=["Oslo", "Rome"], **known)(ends[0]),
            layers.IntegerLookup(vocabulary=[1, 2, 7], **known)(ends[1]),
        ]
    )
    model = keras.Model(ends, layers.Dense(1)(encoded))
    signature = signature_of(model, Wishes(), "price")
    assert (
        takes_in_words(signature) == "a text (city): Oslo, Rome or any other; a number (floor), of 1, 2, 7 or any other"
    )
    assert signature.example()["city"] == "Oslo" and signature.example()["floor"] in (1, 2, 7, 8)
    assert set(signature.sample(99).arrays[0].ravel()) > {"Oslo", "Rome"}
    assert InputSignature.from_dict(json.loads(json.dumps(signature.to_dict()))) == signature
    model.save(tmp_path / "m.keras")
    client = create_predict_app(brought(tmp_path / "m.keras", tmp_path / "m")[1]).test_client()
    assert "notes" not in client.post("/predict", json={"city": "Rome", "floor": 7}).get_json()
    answer = client.get("/predict?city=rome&floor=3").get_json()
    assert answer["success"] and answer["notes"] == {
        "city": "is none of Oslo, Rome, which the model knows, and answered as any other; did you mean Rome?",
        "floor": "is none of 1, 2, 7, which the model knows, and answered as any other",
    }
    listed = client.post("/predict", json=[{"city": "Rome", "floor": 1}, {"city": "Bonn", "floor": 1}]).get_json()
    assert list(listed["notes"]) == ["[1].city"] and len(listed["predictions"]) == 2
    retrained = replace(signature, inputs=(replace(signature.inputs[0], known=("Bonn", "Oslo")), signature.inputs[1]))
    assert other_question(signature.to_dict(), retrained.to_dict()) == ""


@pytest.mark.parametrize("takes", ["text", "ids"])
def test_a_model_without_an_answer_to_padding_alone_is_served_and_says_so_to_whoever_sends_it(takes, tmp_path):
    import keras

    layers = keras.layers
    if takes == "text":
        words = layers.TextVectorization(max_tokens=20, output_sequence_length=4)
        words.adapt(["a good one", "the cat"])
        inputs = keras.Input((1,), dtype="string", name="review")
        ids = words(inputs)
    else:
        ids = inputs = keras.Input((2,), dtype="int32", name="review")
    means = layers.GlobalAveragePooling1D()(layers.Embedding(20, 3, mask_zero=True)(ids))
    keras.Model(inputs, layers.Dense(1, "sigmoid")(means)).save(tmp_path / "m.keras")
    _, predictor = brought(tmp_path / "m.keras", tmp_path / "m")
    client = create_predict_app(predictor).test_client()
    assert client.post("/predict", json={"review": "the dog" if takes == "text" else [3, 0]}).status_code == 200
    nothing = " " if takes == "text" else [0, 0]
    answer = client.post("/predict", json={"review": nothing})
    says = "review: is empty, and the model has no answer to that"
    assert (answer.status_code, answer.get_json()["error"]) == (422, f"1 bad field: {says}")
    rows = [{"review": "the cat" if takes == "text" else [3, 1]}, {"review": nothing}]
    answer = client.post("/predict", json=rows)
    assert (answer.status_code, answer.get_json()["error"]) == (422, f"1 bad field: [1].{says}")


@pytest.mark.parametrize(("as_dict", "names"), [(True, ["n", "words"]), (False, ["input_1", "input_2"])])
def test_a_class_of_its_own_may_have_been_called_with_several_inputs(as_dict, names, tmp_path):
    import keras

    @keras.saving.register_keras_serializable("tests")
    class Joined(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.first, self.last = keras.layers.Embedding(9, 2), keras.layers.Dense(1, "sigmoid")

        def call(self, inputs):
            numbers, words = (inputs["n"], inputs["words"]) if isinstance(inputs, dict) else inputs
            means = keras.ops.mean(self.first(words), axis=1)
            return self.last(keras.ops.concatenate([numbers, means], axis=1))

    model, rows = Joined(), [np.float32([[1, 2], [3, 4]]), np.int32([[0, 1, 8], [3, 3, 3]])]
    expected = np.asarray(model({"n": rows[0], "words": rows[1]} if as_dict else rows))
    model.save(tmp_path / "m.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, predictor = brought(tmp_path / "m.keras", tmp_path / "m")
    assert [each.name for each in predictor.signature.inputs] == names
    sent = [dict(zip(names, (n.tolist(), w.tolist()), strict=True)) for n, w in zip(*rows, strict=True)]
    answer = create_predict_app(predictor).test_client().post("/predict", json={"instances": sent}).get_json()
    np.testing.assert_allclose(answer["predictions"], expected[:, 0], atol=1e-6)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_model_that_was_built_for_so_many_rows_takes_any_number_where_each_counts_by_itself(suffix, tmp_path):
    import keras

    layers = keras.layers
    adapted = layers.Normalization()
    adapted.adapt(np.float32([[5, 7], [7, 11]]))
    inputs = keras.Input(batch_shape=(1, 2))
    model = keras.Model(inputs, layers.Dense(1, "sigmoid")(adapted(inputs)))
    rows = np.float32([[1, 2], [8, 9], [5, 7]])
    expected = [float(model(rows[i : i + 1])[0, 0]) for i in range(3)]
    model.save(tmp_path / f"net{suffix}")
    card, predictor = brought(tmp_path / f"net{suffix}", tmp_path / "m")
    assert "onnx" in card["formats"] and predictor.signature.names == ("x1", "x2")
    np.testing.assert_allclose(predictor(rows), expected, atol=1e-6)


def test_one_that_counts_rows_together_or_remembers_them_is_refused(tmp_path):
    import keras

    layers = keras.layers
    pair, steps = keras.Input(batch_shape=(2, 4)), keras.Input(batch_shape=(1, 5, 2))
    text = keras.Input((1,), dtype="string")
    words = layers.TextVectorization(vocabulary=["a", "good", "one"])  # as long as the longest of those beside it
    means = layers.GlobalAveragePooling1D()(layers.Embedding(6, 2)(words(text)))
    for outputs, says in (
        (means, "where others stand beside it: .*, as TextVectorization does with output_sequence_length"),
        (keras.ops.reshape(pair, (2, 2, 2)), r"takes exactly 2 row\(s\) at a time .*: build it again with keras.Input"),
        (pair - keras.ops.mean(pair, axis=0, keepdims=True), "answers a row otherwise where others stand beside it"),
        (pair + 0.01 * keras.ops.mean(pair, axis=0, keepdims=True), "otherwise where others stand beside it"),
        (layers.LSTM(3, stateful=True)(steps), "stateful, so that an answer depends on the requests before it"),
    ):
        inputs = steps if "stateful" in says else text if outputs is means else pair
        keras.Model(inputs, layers.Dense(1)(layers.Flatten()(outputs))).save(tmp_path / "net.keras")
        with pytest.raises(ArtifactError, match=says):
            export_file(tmp_path / "net.keras", tmp_path / "m")
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("takes", ["numbers", "words"])
def test_a_model_that_is_a_class_of_its_own_takes_what_it_was_called_with(takes, tmp_path):
    import keras

    @keras.saving.register_keras_serializable("tests")
    class Whole(keras.Model):
        def __init__(self, words=0, **kwargs):
            super().__init__(**kwargs)
            self.words, self.last = words, keras.layers.Dense(3, "softmax")
            self.first = keras.layers.Embedding(words, 2) if words else keras.layers.Dense(4, "relu")
            self.flat = keras.layers.Flatten()

        def call(self, x):
            return self.last(self.flat(self.first(x)))

        def get_config(self):
            return {**super().get_config(), "words": self.words}

    model = Whole(7 if takes == "words" else 0)
    rows = np.float32([[0, 1, 2], [6, 5, 4]])
    expected = np.asarray(model(rows))
    model.save(tmp_path / "m.keras")
    card, predictor = brought(tmp_path / "m.keras", tmp_path / "m")
    whole = "an array (input) of 3, whole numbers 0 to 6"
    asked = whole if takes == "words" else "a row of 3 features (x1, x2, x3)"
    assert "onnx" in card["formats"] and takes_in_words(predictor.signature) == asked
    assert predictor.signature.outputs[0].classes == ("0", "1", "2")
    sent = rows.tolist() if takes == "words" else [{f"x{i + 1}": x for i, x in enumerate(row)} for row in rows.tolist()]
    with create_predict_app(predictor).test_client() as client:
        found = client.post("/predict", json=sent).json["predictions"]
    assert [each["label"] for each in found] == [str(i) for i in expected.argmax(axis=1)]
    np.testing.assert_allclose([each["probability"] for each in found], expected.max(axis=1), atol=1e-6)


def test_a_dict_of_inputs_may_hold_a_list_of_them():
    import keras

    a, b, c = (keras.Input((2,), name=name) for name in "abc")
    model = keras.Model({"first": a, "rest": [b, c]}, keras.layers.Concatenate()([a, 2 * b, 3 * c]))
    signature = signature_of(model, Wishes(), "y")
    assert signature.names == ("first", "b", "c")
    answers = compiled(model)(*[np.full((1, 2), number, np.float32) for number in (1, 2, 3)])
    assert answers.tolist() == [[1, 1, 4, 4, 9, 9]]


@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_numbers_that_stand_for_categories_have_the_ends_that_the_model_knows(dtype):
    import keras

    inputs = keras.Input((3,), dtype=dtype)
    encoded = keras.layers.CategoryEncoding(6, output_mode="multi_hot")(inputs)
    [numbers] = signature_of(keras.Model(inputs, keras.layers.Dense(1)(encoded)), Wishes(), "price").inputs
    assert (numbers.kind, numbers.low, numbers.high) == ("array", 0, 5)


@pytest.mark.parametrize(
    ("makes", "called"),
    [
        (lambda new: new(), ["input"]),
        (lambda new: new(name="pixels"), ["pixels"]),
        (lambda new: [new(), new(name="city"), new()], ["input_1", "city", "input_3"]),
        (lambda new: [new(name="input_2"), new(name="input_1")], ["input_1", "input_2"]),  # of Keras 2
        (lambda new: {"left": new(), "right": new()}, ["left", "right"]),
        (lambda new: [new(name="input_1"), new(name="inputs")], ["input_1", "input_2"]),
        (lambda new: [new(), new(name="input_1_"), new(name="args_0")], ["input_1", "input_1_", "input_3"]),
    ],
)
def test_an_input_that_nobody_named_is_called_alike_whenever_the_model_is_built(makes, called):
    import keras

    for _ in range(2):
        inputs = makes(lambda name=None: keras.Input((4, 2), name=name))
        flat = keras.tree.flatten(inputs)
        joined = keras.layers.Concatenate()(flat) if len(flat) > 1 else flat[0]
        model = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Flatten()(joined)))
        assert [each.name for each in signature_of(model, Wishes(), "price").inputs] == called


@pytest.mark.parametrize(
    ("shape", "dtype", "called"),
    [((1,), "string", "text"), ((16, 16, 3), "float32", "image"), ((3, 2), "int32", "input")],
)
def test_the_only_input_is_called_by_its_kind_where_nobody_named_it(shape, dtype, called):
    import keras

    inputs = keras.Input(shape, dtype=dtype)
    vector = keras.layers.Hashing(9)(inputs) if dtype == "string" else keras.layers.Flatten()(inputs)
    signature = signature_of(keras.Model(inputs, keras.layers.Dense(1)(vector)), Wishes(), "price")
    assert signature.names == (called,) and name_in_requests(signature, signature.inputs[0]) == called


@pytest.mark.slow
def test_litert_is_given_each_unnamed_input_as_what_it_is(tmp_path):
    import keras

    layers = keras.layers
    first, second = keras.Input((3,)), keras.Input((3,))
    bins = layers.Discretization([-1.0, 0.0, 1.0], output_mode="multi_hot")(first)
    answers = layers.Dense(1)(layers.Concatenate()([layers.Dense(2)(second), layers.CategoryEncoding(4)(bins)]))
    model = keras.Model([second, first], answers)
    model.save(tmp_path / "m.keras")
    _, predictor = brought(tmp_path / "m.keras", tmp_path / "m")
    assert predictor.signature.names == ("input_1", "input_2")
    sample = predictor.signature.sample(50)
    np.testing.assert_allclose(predictor(sample), np.ravel(model(list(sample.arrays))), atol=1e-6)


@pytest.mark.parametrize(
    ("there", "now", "called"),
    [
        (["won", "kind"], ["dense_7", "dense_8"], ["won", "kind"]),
        (["won", "kind"], ["output_0", "output_1"], ["won", "kind"]),
        (["dense", "dense_1"], ["dense_1", "dense_2"], ["dense", "dense_1"]),
        (["dense_3", "kind"], ["dense_9", "kind"], ["dense_3", "kind"]),
        (["won", "kind"], ["kind", "dense_8"], ["kind", "won"]),
        (["dense", "dense_1"], ["won", "dense_1"], ["won", "dense_1"]),  # somebody chose another name
        (["won", "kind"], {"kind": "dense", "won": "dense_1"}, ["kind", "won"]),  # the keys are names, too
    ],
)
def test_several_outputs_that_only_count_are_called_as_those_of_the_model_before(there, now, called):
    import keras

    inputs = keras.Input((4,))
    outputs = keras.tree.map_structure(lambda name: keras.layers.Dense(1, name=name)(inputs), now)
    before = Signature(COLUMNS, outputs=tuple(Output(name, "number") for name in there))
    assert [each.name for each in outputs_of(keras.Model(inputs, outputs), before, (), before.outputs)] == called


def plain(shape, units=1, activation=None):
    import keras

    layers = keras.layers
    return keras.Sequential([keras.Input(shape), layers.Flatten(), layers.Dense(units, activation)])


YES_NO = Output(kind="classes", classes=("no", "yes"))
COLUMNS = (Feature("sex", "category", default="m", values=("f", "m"), pooled=("x",)), Feature("age", "real", 0, 9, 5))
PICTURE = InputSignature((Image("photo", (16, 16, 3), pixels="-1..1"),), "breed", (YES_NO,))
ITS_TABLE = {"values_from": "before"}  # on which this one may not have been trained
SEQUENCE = InputSignature((Array("steps", (16, 16, 3)),), "breed", (YES_NO,))


@pytest.mark.parametrize(
    ("made", "wishes", "before", "differs"),
    [
        ({"shape": (4,), "activation": "sigmoid"}, {}, Signature(COLUMNS, "won", "yes"), ITS_TABLE),
        ({"shape": (2, 2), "activation": "sigmoid"}, {}, Signature(COLUMNS, "won", "yes"), ITS_TABLE),
        ({"shape": (16, 16, 3), "activation": "sigmoid"}, {}, PICTURE, {}),
        ({"shape": (16, 16, 3), "activation": "softmax", "units": 2}, {}, SEQUENCE, {}),
        (
            {"shape": (16, 16, 3)},  # a number is none of two classes
            {},
            PICTURE,
            {"outputs": (Output(kind="number"),)},
        ),
        (
            {"shape": (3,), "activation": "sigmoid"},
            {"label": "price", "features": ("a", "b", "c")},
            Signature(COLUMNS, "won", "yes"),
            {"label": "price", "positive": "", "features": tuple(Feature(n, "real", *UNBOUNDED) for n in "abc")},
        ),
    ],
)
def test_what_nobody_says_of_a_model_is_as_with_the_one_before_where_it_fits(made, wishes, before, differs):
    found = signature_of(plain(**made), Wishes(**wishes), "second", before)
    assert found == replace(before, **differs)


def test_what_does_not_fit_the_model_before_is_found_but_the_label_stays():
    found = signature_of(plain((5,), 3, "softmax"), Wishes(), "second", PICTURE)
    assert found.names == ("x1", "x2", "x3", "x4", "x5") and found.label == "breed"
    assert found.outputs[0].classes == ("0", "1", "2")


def test_a_table_tells_the_ranges_of_the_columns_that_are_named_in_it(tmp_path):
    import keras

    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, "sigmoid")])
    table = tmp_path / "customers.csv"
    table.write_text("Customer,Age,Calls,Left\n" + "\n".join(f"C-{i},{20 + i},{i % 7},{i % 2}" for i in range(60)))
    chosen = signature_of(model, Wishes(features=("calls", "age"), like=str(table)), "left")
    assert [(f.name, f.low, f.high) for f in chosen.features] == [("Calls", 0, 6), ("Age", 20, 79)]
    assert chosen.values_from == "owner" and Signature.from_dict(chosen.to_dict()) == chosen
    assert signature_of(model, Wishes(), "left", before=chosen).values_from == "owner"
    assert not signature_of(model, Wishes(features=("a", "b")), "left", before=chosen).values_from
    with pytest.raises(ArtifactError, match="takes 2: say which it takes, in their order, by --features, too"):
        signature_of(model, Wishes(like=str(table), label="left"), "left")
    with pytest.raises(ArtifactError, match="no column 'height': its columns are Customer, Age, Calls, Left"):
        signature_of(model, Wishes(features=("age", "height"), like=str(table)), "left")


def test_a_column_of_what_the_model_predicts_is_no_feature_where_nobody_names_either(tmp_path):
    model, table = plain((2,), 1, "sigmoid"), tmp_path / "customers.csv"
    table.write_text("Age,Calls,Left\n" + "\n".join(f"{20 + i},{i % 7},{i % 2}" for i in range(60)))
    assert signature_of(model, Wishes(like=str(table)), "left").names == ("Age", "Calls")
    assert signature_of(plain((3,), 1, "sigmoid"), Wishes(like=str(table)), "left").names == ("Age", "Calls", "Left")
    before = Signature(tuple(Feature(name) for name in ("u", "v")), "left")
    assert signature_of(model, Wishes(like=str(table)), "second", before).names == ("Age", "Calls")


def less_the_mean_of_imagenet(new):
    import keras

    return keras.applications.resnet50.preprocess_input(new)


def standardised(mean: float, spread: float):
    import keras

    return keras.layers.Normalization(mean=[mean] * 3, variance=[spread**2] * 3)


@pytest.mark.parametrize(
    ("first", "pixels", "is_share"),
    [
        (lambda new, _: new, "0..1", True),
        (lambda new, layers: layers.Rescaling(1 / 255)(layers.RandomFlip()(new)), "0..255", True),
        (lambda new, layers: layers.Rescaling(2.0, -1.0)(new), "0..1", True),
        (lambda new, _: new / 127.5 - 1.0, "0..255", True),
        (lambda new, _: less_the_mean_of_imagenet(new), "0..255", True),
        (lambda new, _: standardised(0.45, 0.22)(new), "0..1", True),
        (lambda new, _: standardised(118.0, 57.0)(new), "0..255", True),
        (lambda new, _: standardised(0.0, 0.5)(new), "-1..1", True),
        (lambda new, _: new, "0..1", False),  # what scales the answers says nothing of the pixels
    ],
)
def test_what_the_first_steps_make_of_pixels_tells_how_they_are_scaled(first, pixels, is_share):
    import keras

    layers = keras.layers
    inputs = keras.Input((16, 16, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3)(first(inputs, layers)))
    x = layers.Dense(1, "sigmoid")(x)
    model = keras.Model(inputs, x if is_share else layers.Rescaling(100.0)(x))
    around = keras.Sequential([keras.Input((16, 16, 3)), model])
    for each in (model, around):
        assert signature_of(each, Wishes(), "m").inputs[0].pixels == pixels


@pytest.mark.slow
def test_each_step_of_a_sequence_of_any_length_is_answered_where_keras_goes_through_as_many_as_there_are_rows(tmp_path):
    import keras

    layers = keras.layers
    keras.utils.set_random_seed(3)
    each = layers.TimeDistributed(layers.Dense(3, "softmax"))
    parts = [layers.Embedding(20, 4), layers.LSTM(5, return_sequences=True), each]
    keras.Sequential([keras.Input((None,), dtype="int32"), *parts]).save(tmp_path / "tags.keras")
    card, predictor = brought(tmp_path / "tags.keras", tmp_path / "m")
    assert card["formats"] == ["keras", "onnx"] and card["parity"]["proved"]
    words = RANDOM.integers(0, 20, (2, 7)).astype(np.int32)
    expected = keras.Sequential([keras.Input((7,), dtype="int32"), *parts]).predict(words, verbose=0)
    for answer in (predictor, load_predictor(tmp_path / "m", "keras")):
        assert answer(Batch([words])) == pytest.approx(expected, abs=1e-6)


@pytest.mark.slow
def test_convolutions_with_the_channels_first_are_answered_on_any_cpu(tmp_path):
    import keras

    layers = keras.layers
    keras.utils.set_random_seed(3)
    convolutions = (
        layers.Conv2D(2, 3),
        layers.SeparableConv2D(3, 3),
        layers.Conv2DTranspose(2, 2),
        layers.MaxPooling2D(2),
    )
    first = keras.Sequential([keras.Input((1, 12, 12)), *map(with_channels_first, convolutions), layers.Flatten()])
    last = keras.Sequential([keras.Input((12, 12, 1)), *convolutions, layers.Permute((3, 1, 2)), layers.Flatten()])
    last.set_weights(first.get_weights())
    first.save(tmp_path / "m.keras")
    card, predictor = brought(tmp_path / "m.keras", tmp_path / "m")
    assert "onnx" in card["formats"] and card["parity"]["proved"]
    pictures = RANDOM.random((2, 1, 12, 12), np.float32)
    expected = last.predict(pictures.reshape(2, 12, 12, 1), verbose=0)
    for answer in (predictor, load_predictor(tmp_path / "m", "keras")):
        assert answer(Batch([pictures])) == pytest.approx(expected, abs=1e-6)


def with_channels_first(layer):
    return type(layer).from_config({**layer.get_config(), "data_format": "channels_first"})


def test_a_large_model_and_a_slow_one_are_compared_on_fewer_rows():
    from helpers.export.parity import FEWEST, inputs_of

    words = InputSignature((Array("words", (128,), "int32", 0, 30_000),))
    assert [len(inputs_of(words, count)[0]) for count in (50_000, 1_000_000, 110_000_000)] == [10_000, 1000, FEWEST]
    slow = inputs_of(words, 50_000, lambda ids: time.sleep(0.1) or ids)[0]  # 3,200 rows in 10 seconds
    assert FEWEST <= len(slow) <= 3200


@pytest.mark.parametrize(
    ("named", "as_dict", "told"),
    [
        ("house_price", False, "house_price"),
        ("risk", True, "risk"),
        ("price_head", False, "price_head"),
        (None, False, ""),
        ("predictions", False, ""),
        ("fc_out2", False, ""),
        ("output", True, ""),
    ],
)
def test_the_only_answer_is_called_as_somebody_named_it(named, as_dict, told):
    import keras

    model = of_one_answer(named, as_dict)
    assert predicted(model) == told
    if not as_dict:  # which a chain of layers cannot answer with
        assert predicted(keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, name=named)])) == told
    assert predicted(keras.Sequential([keras.Input((4, 1)), keras.layers.UpSampling1D()])) == ""


def of_one_answer(named: str | None, as_dict: bool):
    import keras

    inputs = keras.Input((2,), name="a")
    y = keras.layers.Dense(1, name=None if as_dict else named)(inputs)
    return keras.Model(inputs, {named: y} if as_dict else y)


def test_a_model_predicts_what_its_answer_is_called_unless_it_was_exported_as_something_else(tmp_path):
    for named, told in (("risk", "risk"), ("a", "m")):  # which the model takes
        of_one_answer(named, as_dict=True).save(tmp_path / "m.keras")
        _, predictor = brought(tmp_path / "m.keras", tmp_path / told)
        assert predictor.signature.label == told and predictor.signature.outputs == (Output("prediction", "number"),)
    card = json.loads((tmp_path / "m" / "card.json").read_text())
    card["signature"]["label"] = "as before"
    (tmp_path / "m" / "card.json").write_text(json.dumps(card))
    of_one_answer("risk", as_dict=True).save(tmp_path / "m.keras")
    assert brought(tmp_path / "m.keras", tmp_path / "m")[1].signature.label == "as before"


def of_numbers(takes: str):
    """A model whose first steps tell in several ways which numbers are usual in what it takes."""
    import keras

    layers, concatenate = keras.layers, keras.layers.Concatenate
    mean, variance = np.float32([40, 2000, 1.7e9]), np.float32([100, 25, 1e14])
    row, steps, age, pay = (
        keras.Input(shape, name=n) for shape, n in (((3,), "r"), ((6, 3), "s"), ((1,), "a"), ((1,), "p"))
    )
    normal, whole = layers.Normalization(mean=mean, variance=variance), keras.Input((1,), dtype="int32", name="w")
    first = layers.BatchNormalization()
    first.build((None, 3))
    first.set_weights([np.full(3, 0.5), np.ones(3), mean, variance - first.epsilon])
    apart = layers.Normalization(mean=np.float32([40, 500]), variance=np.float32([100, 40000]))
    bins = layers.Discretization(bin_boundaries=[18.0, 30.0, 60.0])
    one, alone = keras.Input((), name="o"), layers.Normalization(axis=None, mean=40.0, variance=100.0)
    parts = keras.ops.split(row, [2], axis=1)
    half = layers.Normalization(mean=[40, 500, 7], variance=[100, 40000, 4], dtype="mixed_float16")
    ends, made = {
        "normalized": lambda: (row, normal(row)),
        "batches": lambda: (row, first(row)),
        "computed": lambda: (row, (row - mean) / np.sqrt(variance)),
        "in a model": lambda: (row, keras.Sequential([normal, layers.Dense(2)])(row)),
        "steps": lambda: (steps, layers.LSTM(2)(normal(steps))),
        "joined": lambda: ([pay, age], apart(concatenate()([age, pay]))),
        "bins": lambda: ([age, pay], concatenate()([layers.Flatten()(layers.Embedding(4, 2)(bins(age))), pay])),
        "shares": lambda: (
            [age, whole],
            concatenate()([layers.Rescaling(1 / 50)(age), layers.Rescaling(1 / 127.5, -1)(whole)]),
        ),
        "turned": lambda: (row, normal(row)[:, ::-1]),
        "in another order": lambda: (row, normal(row[:, ::-1])),
        "parted": lambda: (row, concatenate()([apart(parts[0]), layers.Rescaling(1 / 50)(parts[1])])),
        "in half precision": lambda: (row, half(row)),
        "one": lambda: (one, keras.ops.expand_dims(alone(one), -1)),
        "as it is": lambda: (row, layers.BatchNormalization()(row)),
        "shifted": lambda: (row, row - mean),
    }[takes]()
    return keras.Model(ends, layers.Dense(1)(made))


ROW = ((20, 1990, 1.68e9), (60, 2010, 1.72e9))


@pytest.mark.parametrize(
    ("takes", "usual"),
    [
        ("normalized", ROW),
        ("batches", ROW),
        ("computed", ROW),
        ("in a model", ROW),
        ("steps", [ROW]),
        ("joined", [(100, 900), (20, 60)]),
        ("bins", [(0, 81), None]),
        ("shares", [(0, 50), (0, 255)]),
        ("turned", ROW),
        ("in another order", tuple(ends[::-1] for ends in ROW)),
        ("parted", ((20, 100, 0), (60, 900, 50))),
        ("in half precision", ((20, 100, 3), (60, 900, 11))),
        ("one", [(20, 60)]),
        ("as it is", None),
        ("shifted", None),  # which does not tell how far they spread
    ],
)
def test_the_first_steps_of_a_model_tell_which_numbers_are_usual(takes, usual):
    found = signature_of(of_numbers(takes), Wishes(), "y")
    if isinstance(found, Signature):
        told = [each.usual for each in found.features]
        assert told == (list(zip(*usual, strict=True)) if usual else [None] * 3)
        middles = np.mean(usual, axis=0) if usual else (0, 0, 0)
        assert found.example() == dict(zip(found.names, middles, strict=True))
        assert Signature.from_dict(json.loads(json.dumps(found.to_dict()))) == found
        assert found.parse(dict.fromkeys(found.names, -1e9)).tolist() == [[-1e9] * 3]  # refused for nothing
        drawn = found.sample(500)
    else:
        assert [each.usual for each in found.inputs] == usual
        assert InputSignature.from_dict(json.loads(json.dumps(found.to_dict()))) == found
        assert other_question(found.to_dict(), retrained(found).to_dict()) == ""
        drawn = found.sample(500).arrays[0].reshape(500, -1)[:, -3:]
        usual = usual[0]
    if usual:
        low, high = drawn.min(axis=0), drawn.max(axis=0)
        np.testing.assert_allclose([low, high], np.reshape(usual, (2, -1)), atol=0.02 * np.ptp(usual, axis=0).max())


def test_columns_of_a_normalization_are_told_each_by_itself():
    import keras

    random = np.random.default_rng(0)
    table = np.float32(
        [
            random.integers(0, 2, 5000),
            random.random(5000) < 0.02,
            np.full(5000, 7.0),  # of which it learned nothing
            random.normal(0, 30, 5000),
            random.normal(0.5, 3, 5000),
            random.random(5000),
        ]
    ).T
    table[:, 3] -= table[:, 3].mean()  # as the columns of a PCA are, which become no shares
    normal = keras.layers.Normalization()
    normal.adapt(table)
    row = keras.Input((7,))
    kind = keras.layers.Flatten()(keras.layers.Embedding(9, 2)(row[:, 6:]))
    y = keras.layers.Dense(1)(keras.layers.Concatenate()([kind, normal(row[:, 5::-1])]))
    normal.adapt(table[:, ::-1])
    features = signature_of(keras.Model(row, y), Wishes(), "y").features
    told = [each.usual for each in features]
    assert told[:3] == [(0, 1), (0, 1), None] and told[6] is None and features[6].high == 8
    assert [each.default for each in features[:2]] == [0, 0]  # half of yes is none
    np.testing.assert_allclose(told[3:6], [(-60, 60), (-5.5, 6.5), (-0.08, 1.08)], atol=1)


def retrained(signature: InputSignature) -> InputSignature:
    """One whose model was trained on other numbers."""
    return replace(signature, inputs=tuple(replace(each, usual=(3, 4)) for each in signature.inputs))
