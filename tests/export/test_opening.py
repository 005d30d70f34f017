"""What people bring that is no Keras file: a SavedModel, model.json with weights, an ONNX or a LiteRT file."""

import hashlib
import json
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pytest
from onnx import TensorProto, helper, numpy_helper

from helpers.batch.scoring import Scorer
from helpers.data.inputs import Array, Batch, Image, InputSignature, name_in_requests
from helpers.data.outputs import ONE_PROBABILITY, Output
from helpers.data.parameters import InvalidRequest
from helpers.data.signature import UNBOUNDED, Feature, Signature
from helpers.export.answers import outputs_of
from helpers.export.card import read_card
from helpers.export.detection import Wishes, signature_of
from helpers.export.errors import ArtifactError
from helpers.export.foreign import LiteRTFile, OnnxFile
from helpers.export.legacy import load_keras
from helpers.export.opening import opened
from helpers.export.own_model import export_file, found_in, import_layers, takes_in_words, told
from helpers.export.predictors import compiled, load_predictor
from helpers.export.saved_model import read_saved_model
from helpers.quiet import quiet
from helpers.serving.services import create_predict_app

OLD = Path(__file__).parents[1] / "data" / "old_models"
RANDOM = np.random.default_rng(0)


def digest(path: Path) -> dict[str, str]:
    """The SHA-256 of a file, or of each in a folder."""
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return {str(each): hashlib.sha256(each.read_bytes()).hexdigest() for each in files}


def brought(path: Path, target: Path, **options):
    """The card and the predictor of a model that was exported; what was brought must stay as it was."""
    before = digest(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # formats that are left out
        card = export_file(path, target, **options)
    assert digest(path) == before
    return card, load_predictor(target)


def two_by_two(seed: int = 4):
    """A Keras model with two inputs and two outputs, by name."""
    import keras

    layers = keras.layers
    keras.utils.set_random_seed(seed)
    left, right = keras.Input((3,), name="left"), keras.Input((2,), name="right")
    x = layers.Dense(6, "tanh")(layers.Concatenate()([left, right]))
    outputs = {"price": layers.Dense(1, name="price")(x), "kind": layers.Dense(3, "softmax", name="kind")(x)}
    return keras.Model([right, left], outputs)


# ---- what a Keras model takes and answers ----


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
    for outputs, says in (
        (keras.ops.reshape(pair, (2, 2, 2)), r"takes exactly 2 row\(s\) at a time .*: build it again with keras.Input"),
        (pair - keras.ops.mean(pair, axis=0, keepdims=True), "answers a row otherwise where others stand beside it"),
        (layers.LSTM(3, stateful=True)(steps), "stateful, so that an answer depends on the requests before it"),
    ):
        inputs = steps if "stateful" in says else pair
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


# ---- SavedModel ----


@pytest.mark.slow
def test_a_saved_model_of_keras_2_is_served_as_it_answered_then(tmp_path):
    path = OLD / "keras-tf-2.21.0-saved-model"
    card, predictor = brought(path, tmp_path / "m", classes=("a", "b", "c"))
    rows = np.array([[(1 + 37 * i >> j % 10) & 1 for j in range(10)] for i in range(32)], dtype="float32")
    expected = json.loads((OLD / f"{path.name}.json").read_text())
    np.testing.assert_allclose(predictor(rows), expected, atol=1e-6)
    assert card["model"]["class"] == "SavedModel" and card["model"]["parameters"] == 4 * 11 + 3 * 5
    assert card["formats"] == ["keras", "onnx"] and card["parity"]["proved"]
    assert "agrees with the SavedModel" in "\n".join(told(card, predictor.signature))
    assert predictor.signature.outputs[0].classes == ("a", "b", "c")


@pytest.mark.slow
def test_a_saved_model_of_several_inputs_and_outputs_keeps_their_names(tmp_path):
    model = two_by_two()
    model.export(tmp_path / "sm", format="tf_saved_model", verbose=False)
    (tmp_path / "sm").rename(tmp_path / "_Größe & Güte")  # a name that TensorFlow's scopes may not have
    _, predictor = brought(tmp_path / "_Größe & Güte", tmp_path / "m")
    assert sorted(predictor.signature.names) == ["left", "right"]
    given = {"left": RANDOM.normal(size=(5, 3)).astype("f"), "right": RANDOM.normal(size=(5, 2)).astype("f")}
    found = predictor(Batch([given[name] for name in predictor.signature.names]))
    expected = model(given, training=False)
    for output, answers in zip(predictor.signature.outputs, found, strict=True):
        np.testing.assert_allclose(np.reshape(answers, expected[output.name].shape), expected[output.name], atol=1e-6)
    kinds = {each.name: each.kind for each in predictor.signature.outputs}
    assert kinds == {"kind": "classes", "price": "number"}


@pytest.mark.slow
def test_a_saved_model_that_goes_into_nothing_else_is_run_by_tensorflow_and_carried_along(tmp_path):
    import keras

    layers = keras.layers
    words = layers.TextVectorization(max_tokens=30, output_sequence_length=4)
    words.adapt(["a good one", "this was bad"])
    inputs = keras.Input((1,), dtype="string", name="review")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(30, 4)(words(inputs)))
    model = keras.Model(inputs, layers.Dense(1, "sigmoid")(x))
    model.export(tmp_path / "sm", format="tf_saved_model", verbose=False)
    texts = np.array([["a good one"], ["bad"]], dtype=object)
    card, _ = brought(tmp_path / "sm", tmp_path / "m")
    shutil.rmtree(tmp_path / "sm")
    predictor = load_predictor(tmp_path / "m")
    assert predictor.backend == "keras" and card["signature"]["inputs"][0]["kind"] == "text"
    np.testing.assert_allclose(predictor(Batch([texts])), np.ravel(model(texts.astype(str))), atol=1e-6)


def test_a_keras_file_with_a_graph_in_it_is_refused_as_code_unless_it_is_trusted(tmp_path):
    import tensorflow as tf

    from helpers.export.legacy import load_keras

    class Doubling(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32)])
        def __call__(self, x):
            return {"y": 2 * x}

    module = Doubling()
    tf.saved_model.save(module, str(tmp_path / "sm"), signatures=module.__call__)
    brought(tmp_path / "sm", tmp_path / "m")
    with pytest.raises(ArtifactError, match="holds Python code .*saved_model"):
        load_keras(tmp_path / "m" / "model.keras")
    again = load_keras(tmp_path / "m" / "model.keras", allow_code=True)
    assert np.ravel(again(np.float32([[1, 2]]))).tolist() == [2, 4]


def test_a_keras_file_that_only_names_a_saved_model_asks_for_that(tmp_path):
    import keras

    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).export(tmp_path / "sm", verbose=False)
    layer = keras.layers.TFSMLayer(str(tmp_path / "sm"), call_endpoint="serve", name="inner")
    keras.Sequential([keras.Input((2,)), layer]).save(tmp_path / "net.keras")
    with pytest.raises(ArtifactError, match=r"only names a SavedModel \(inner .*: serve that folder itself, .*/sm$"):
        export_file(tmp_path / "net.keras", tmp_path / "m")


def saved_model(path: Path, answer) -> Path:
    """A SavedModel that answers rows of any width, or of one that its file does not tell."""
    import tensorflow as tf

    class Wide(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, None), tf.float32)])
        def __call__(self, x):
            return {"y": answer(x)}

    module = Wide()
    tf.saved_model.save(module, str(path), signatures=module.__call__)
    return path


def minus(x):
    """As Keras 2 writes a model that begins with a Normalization which was adapted before it was called."""
    import tensorflow as tf

    return (x - tf.constant([[1.0, 2.0]])) @ tf.ones((2, 1))


@pytest.mark.slow
def test_how_wide_a_row_is_that_a_graph_leaves_open_is_found_by_asking_it(tmp_path):
    folder = saved_model(tmp_path / "sm", minus)
    card, predictor = brought(folder, tmp_path / "m")
    assert predictor.signature.names == ("x1", "x2") and card["model"]["class"] == "SavedModel"
    assert set(card["formats"]) == {"keras", "onnx"}
    for backend in card["formats"]:
        rows = np.float32([[1, 2], [4, 8]])
        assert load_predictor(tmp_path / "m", backend)(rows).tolist() == [0, 9]
    assert brought(folder, tmp_path / "named", features=("a", "b"))[1].signature.names == ("a", "b")
    with pytest.raises(ArtifactError, match=r"--features make 3 numbers \(a, b, c\), the model takes 2: name as many"):
        export_file(folder, tmp_path / "other", features=("a", "b", "c"))


@pytest.mark.slow
def test_how_wide_a_row_is_of_a_graph_that_answers_any_is_what_its_owner_says(tmp_path):
    import tensorflow as tf

    folder = saved_model(tmp_path / "sm", lambda x: tf.reduce_sum(x, axis=1, keepdims=True))
    assert brought(folder, tmp_path / "m")[1].signature.inputs[0].shape == (None,)  # an array of any length
    (tmp_path / "mine.csv").write_text("a,b,c\n1,2,3\n4,5,6\n")
    for options in ({"features": "abc"}, {"like": tmp_path / "mine.csv"}):
        predictor = brought(folder, tmp_path / "named", replace=True, **options)[1]
        assert predictor.signature.names == ("a", "b", "c")
        assert predictor(np.float32([[1, 2, 4]])).tolist() == [7]
    card = brought(folder, tmp_path / "named", beside=True)[0]
    assert [each["name"] for each in card["signature"]["features"]] == ["a", "b", "c"]


def test_a_graph_of_an_open_width_that_answers_none_that_was_tried_asks_for_its_columns(tmp_path):
    import tensorflow as tf

    folder = saved_model(tmp_path / "sm", lambda x: tf.reduce_sum(x, axis=1) + tf.ones((1, 2000)) @ tf.transpose(x))
    with pytest.raises(ArtifactError, match=r"name the columns that a row holds, --features A,B, or give a table"):
        export_file(folder, tmp_path / "m")


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "tflite"])
def test_a_file_of_another_kind_may_leave_the_width_open_too(format, tmp_path):
    path = tmp_path / f"mine.{format}"
    if format == "onnx":
        from onnx import TensorProto, helper, numpy_helper

        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", m]) for name, m in (("x", "m"), ("y", 1))]
        weights = [numpy_helper.from_array(np.ones((3, 1), np.float32), "w")]
        graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", ends[:1], ends[1:], weights)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8), path)
    else:
        import tensorflow as tf

        with quiet():
            made = tf.lite.TFLiteConverter.from_saved_model(
                str(saved_model(tmp_path / "sm", lambda x: tf.reduce_sum(x, axis=1, keepdims=True)))
            )
            path.write_bytes(made.convert())
    predictor = brought(path, tmp_path / "m", features="abc")[1]
    assert predictor(np.float32([[1, 2, 4]])).tolist() == [7] and predictor.signature.names == ("a", "b", "c")


def test_numbers_of_another_type_than_a_row_of_features_has_are_asked_for_as_an_array(tmp_path):
    import keras

    whole = keras.Input((2,), dtype="int32")
    keras.Model(whole, keras.layers.Rescaling(2.0, dtype="float32")(whole)).save(tmp_path / "m.keras")
    with pytest.raises(ArtifactError, match=r"takes int32 of shape \(2,\), .*: leave --features and --like out"):
        export_file(tmp_path / "m.keras", tmp_path / "m", features="ab")


@pytest.mark.parametrize("count", [3, None])
def test_an_array_of_texts_is_asked_for_as_a_list_of_them(count, tmp_path):
    import keras
    import tensorflow as tf

    layers = keras.layers
    words = keras.Input((count,), dtype="string", name="words")
    known = layers.Embedding(4, 2)(layers.StringLookup(vocabulary=["a", "b", "c"])(words))
    model = keras.Model(words, layers.Dense(1, "sigmoid")(layers.GlobalAveragePooling1D()(known)))
    model.save(tmp_path / "m.keras")
    predictor = brought(tmp_path / "m.keras", tmp_path / "m")[1]
    assert takes_in_words(predictor.signature) == f"an array (words) of {count or 'any length'}, of texts"
    rows = [["a", "b", "other"], ["c", "c", "a"]]
    expected = np.asarray(model(tf.constant(rows))).ravel()
    with create_predict_app(predictor).test_client() as client:
        found = client.post("/predict", json={"instances": rows}).json["predictions"]
        for asked in (
            client.post("/predict", json={"words": rows[0]}),
            client.get("/predict", query_string={"words": json.dumps(rows[0])}),
            client.post("/predict", data={"words": json.dumps(rows[0])}),
        ):
            assert asked.json["probability"] == pytest.approx(expected[0], abs=1e-6)
        for bad in (["a", 1, "b"], "a", [["a"] * 3], [], ["a", "b", "c", "d"] if count else 7):
            wrong = client.post("/predict", json={"words": bad})
            assert wrong.status_code == 422 and "must be a" in wrong.json["fields"]["words"]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def functions(path: Path, *specs, **signatures) -> Path:
    """A SavedModel with a function of each name, which takes tensors of these kinds."""
    import tensorflow as tf

    module = tf.Module()
    for name, function in signatures.items():
        setattr(module, name, tf.function(function, input_signature=specs))
    tf.saved_model.save(module, str(path), signatures={name: getattr(module, name) for name in signatures})
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shapes", "found"),
    [([(None, None)], [(3,)]), ([(None, None, None)], [(None, 3)]), ([(None, None), (None, 2)], [(3,), (2,)])],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_last_size_that_a_graph_leaves_open_is_found_of_any_kind_of_input(shapes, found, dtype, tmp_path):
    import tensorflow as tf

    specs = [tf.TensorSpec(shape, dtype, name=f"in{i}") for i, shape in enumerate(shapes)]
    weights = tf.ones((3, 1), dtype)

    def answer(first, *others):
        each = tf.reshape(first @ weights, (tf.shape(first)[0], -1))
        return {"y": tf.add_n([tf.reduce_sum(part, axis=1) for part in (each, *others)])}

    predictor = brought(functions(tmp_path / "sm", *specs, serving_default=answer), tmp_path / "m", takes="")[1]
    signature = predictor.signature
    if dtype == "float32" and len(shapes) == 1 and len(found[0]) == 1:
        assert signature.names == ("x1", "x2", "x3")
        assert predictor(np.float32([[1, 2, 4]])).tolist() == [7]
        return
    assert {each.shape for each in signature.inputs} == set(found)  # TensorFlow keeps them in no order of their own
    assert {each.dtype for each in signature.inputs} == {dtype}
    answered = predictor(signature.sample(5))
    np.testing.assert_allclose(answered, sum(each.reshape(5, -1).sum(1) for each in signature.sample(5).arrays), 1e-5)


def test_texts_among_the_answers_of_a_graph_are_left_out_and_examples_of_tensorflow_are_no_input(tmp_path):
    import tensorflow as tf

    words = tf.TensorSpec((None,), tf.string, name="words")
    both = functions(
        tmp_path / "both",
        words,
        serving_default=lambda words: {"length": tf.strings.length(words), "upper": tf.strings.upper(words)},
    )
    with pytest.warns(UserWarning, match="upper, which is text, is left out"):
        export_file(both, tmp_path / "m")
    assert load_predictor(tmp_path / "m")(
        load_predictor(tmp_path / "m").signature.parse({"text": "four"})
    ).tolist() == [4]

    def parsed(words):
        return {"y": tf.io.parse_example(words, {"x": tf.io.FixedLenFeature([1], tf.float32)})["x"]}

    for name, answer, says in (
        (
            "upper",
            lambda words: {"y": tf.strings.upper(words)},
            r"upper/ answers with texts only \(y\): export its num",
        ),
        (
            "parsed",
            parsed,
            r"parsed/ takes examples as TensorFlow writes them .*: export it with a function that takes",
        ),
    ):
        with pytest.raises(ArtifactError, match=says):
            export_file(functions(tmp_path / name, words, serving_default=answer), tmp_path / "other")


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        ("random", "answers the same rows otherwise when it is asked again: take what draws random numbers out of it"),
        ("mean", "answers a row otherwise where others stand beside it: build it so that each row counts by itself"),
    ],
)
def test_a_model_whose_answer_to_a_row_is_not_one_is_refused(layer, says, tmp_path):
    node = {
        "random": onnx.helper.make_node("RandomNormalLike", ["x"], ["z"]),
        "mean": onnx.helper.make_node("ReduceMean", ["x"], ["z"], axes=[0], keepdims=1),
    }[layer]
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 3]) for name in "xy"]
    graph = onnx.helper.make_graph([node, onnx.helper.make_node("Add", ["x", "z"], ["y"])], "g", ends[:1], ends[1:])
    opset = [onnx.helper.make_opsetid("", 13)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "m.onnx")
    with pytest.raises(ArtifactError, match=f"the model {says}"):
        export_file(tmp_path / "m.onnx", tmp_path / "m")


def test_variables_of_an_open_size_are_counted_as_long_as_they_are(tmp_path):
    """As look-ups of Keras 2 keep the weights of their words."""
    import tensorflow as tf

    class Weighted(tf.Module):
        def __init__(self):
            super().__init__()
            self.weights = tf.Variable([2.0, 3.0, 4.0], shape=tf.TensorShape(None))

        @tf.function(input_signature=[tf.TensorSpec((None, 3), tf.float32)])
        def __call__(self, x):
            return {"y": tf.reduce_sum(x * tf.ensure_shape(self.weights, (3,)), axis=1, keepdims=True)}

    module = Weighted()
    tf.saved_model.save(module, str(tmp_path / "sm"), signatures=module.__call__)
    model, ends = read_saved_model(tmp_path / "sm")
    assert model.parameters == 3 and ends.answer(np.float32([[1, 1, 1]])).tolist() == [9]


def test_why_a_graph_does_not_answer_is_said_in_its_own_words(tmp_path):
    import tensorflow as tf

    class Refusing(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32)])
        def __call__(self, x):
            tf.debugging.assert_greater(x, 100.0, "only weights above 100 grams")
            return {"y": tf.reduce_sum(x, axis=1)}

    module = Refusing()
    tf.saved_model.save(module, str(tmp_path / "sm"), signatures=module.__call__)
    with pytest.raises(ArtifactError, match="does not answer .* rows of what it takes: .*only weights above 100 grams"):
        export_file(tmp_path / "sm", tmp_path / "m")


def test_a_saved_model_without_a_function_is_refused_and_so_is_another_folder(tmp_path):
    import tensorflow as tf

    tf.saved_model.save(tf.Module(), str(tmp_path / "sm"))
    with pytest.raises(ArtifactError, match="serving_default, this one has none"):
        export_file(tmp_path / "sm", tmp_path / "m")
    with pytest.raises(ArtifactError, match=r"holds the SavedModel 12: give .*/12"):
        for number in ("9", "12"):
            shutil.copytree(tmp_path / "sm", tmp_path / "numbers" / number)
        export_file(tmp_path / "numbers", tmp_path / "m")
    with pytest.raises(
        ArtifactError, match="is a folder without a saved_model.pb, .*: give the file of a model, .keras"
    ):
        export_file(tmp_path, tmp_path / "m")
    for names, says in {
        ("metadata.json", "config.json", "model.weights.h5"): "the inside of a .keras file, so zip its files",
        ("config.json", "model.safetensors"): "a model of transformers; bring what `optimum-cli export onnx`",
        ("checkpoint", "model.index"): "a TensorFlow checkpoint; load it into the model",
        ("notes.txt", "net.onnx"): "give the file of a model, other/net.onnx",
    }.items():
        shutil.rmtree(tmp_path / "other", ignore_errors=True)
        (tmp_path / "other").mkdir()
        for name in names:
            (tmp_path / "other" / name).touch()
        with pytest.raises(ArtifactError, match=says):
            export_file(tmp_path / "other", tmp_path / "m")


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


# ---- what a Keras file needs beside it ----


def test_what_a_file_needs_is_asked_for_in_words_that_a_command_takes(tmp_path):
    import keras

    @keras.saving.register_keras_serializable("gone")
    class Scaled(keras.layers.Layer):
        def call(self, x):
            return x * 2

    class Whole(keras.Model):
        def call(self, x):
            return x * 2

    class Twos(keras.initializers.Initializer):
        def __call__(self, shape, dtype=None):
            return keras.ops.full(shape, 2.0, dtype)

    keras.Sequential([keras.Input((2,)), Scaled()]).save(tmp_path / "own.h5")
    keras.saving.get_custom_objects().pop("gone>Scaled")
    whole = Whole()
    whole(np.ones((1, 2), np.float32))
    whole.save(tmp_path / "whole.keras")
    twos = keras.layers.Dense(1, kernel_initializer=Twos())
    keras.Sequential([keras.Input((2,)), twos]).save(tmp_path / "twos.keras")
    for path, needed in (
        (tmp_path / "whole.keras", "put the class Whole into a module .*, and add --import my_layers"),
        (tmp_path / "twos.keras", "put the class Twos into a module .*, and add --import my_layers"),
        (
            OLD / "keras-2.15.0-lambda.h5",
            "write the function yourself, as lambda_ in a module .*add --import my_layers",
        ),
        (
            tmp_path / "own.h5",
            "put the class Scaled, registered as gone>Scaled, into a module .*, and add --import my_layers",
        ),
        (OLD / "keras-2.2.4-weights.h5", "put what its model.to_json.. wrote into model.json beside it"),
        (OLD / "keras-tf-2.21.0-tensorflow-function-without-equivalent.h5", "and export what that has saved as .keras"),
    ):
        with pytest.raises(ArtifactError, match=needed) as refused:
            opened(path)
        assert "custom_objects" not in str(refused.value)
    assert "custom_objects" not in found_in(OLD / "keras-2.15.0-custom-auc.h5")


def test_the_function_of_a_lambda_layer_is_taken_from_a_module(tmp_path):
    shutil.copy(OLD / "keras-2.15.0-lambda.h5", tmp_path)
    (tmp_path / "functions_of_a_test.py").write_text("def lambda_(x):\n    return x * 2.0 - 1.0\n")
    path = tmp_path / "keras-2.15.0-lambda.h5"
    assert "lambda (Lambda) takes your function" in found_in(path, imports="functions_of_a_test")
    rows = RANDOM.random((3, 10)).astype("f")
    model = opened(path, custom=import_layers("functions_of_a_test", tmp_path)).model
    np.testing.assert_allclose(model(rows), load_keras(path, allow_code=True)(rows), atol=1e-6)
    card, predictor = brought(path, tmp_path / "m", imports="functions_of_a_test")
    np.testing.assert_allclose(predictor(rows), np.ravel(model(rows)), atol=1e-6)
    left_out, served = told(card, predictor.signature)[2:4]
    assert left_out.startswith(
        "left out: model.keras: it would hold Python code (lambda (Lambda)), which runs wherever"
    )
    assert served.startswith("served all the same: ") and "allow_code" not in left_out


# ---- model.json with weights ----


@pytest.mark.parametrize(
    ("weights", "named"),
    [
        ("model.weights.h5", None),
        ("other.h5", None),
        ("model-best.h5", None),
        ("elsewhere/my.weights.h5", "elsewhere/my.weights.h5"),
    ],
)
def test_a_model_in_json_finds_its_weights_or_is_given_them(tmp_path, weights, named):
    import keras

    keras.utils.set_random_seed(2)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    folder = tmp_path / "mine"
    (folder / weights).parent.mkdir(parents=True)
    (folder / "model.json").write_text(model.to_json())
    model.save_weights(folder / "saved.weights.h5")
    (folder / "saved.weights.h5").rename(folder / weights)
    if weights.startswith("model"):
        (folder / "another.h5").touch()
    _, predictor = brought(folder / "model.json", tmp_path / "m", weights=folder / named if named else "")
    rows = RANDOM.normal(size=(3, 4)).astype("f")
    np.testing.assert_allclose(predictor(rows), np.ravel(model(rows)), atol=1e-6)
    if not named:
        assert weights in found_in(folder / "model.json")


def test_weights_alone_find_their_model_in_json(tmp_path):
    for kind, name in (("weights.h5", "mine.h5"), ("architecture.json", "mine.json")):
        shutil.copy(OLD / f"keras-2.2.4-{kind}", tmp_path / name)
    card, predictor = brought(tmp_path / "mine.h5", tmp_path / "m")
    rows = np.array([[(1 + 37 * i >> j % 10) & 1 for j in range(10)] for i in range(32)], dtype="float32")
    expected = json.loads((OLD / "answers-2.2.4.json").read_text())["keras-2.2.4-weights.h5"]
    np.testing.assert_allclose(predictor(rows), np.ravel(expected), atol=1e-6)
    assert card["source"]["file"] == "mine.h5"


def test_a_model_in_json_without_its_weights_says_which_there_are(tmp_path):
    shutil.copy(OLD / "keras-2.2.4-architecture.json", tmp_path / "model.json")
    with pytest.raises(ArtifactError, match="beside it there are none: name them, --weights FILE"):
        export_file(tmp_path / "model.json", tmp_path / "m")
    for name in ("a.h5", "b.h5"):
        shutil.copy(OLD / "keras-2.2.4-weights.h5", tmp_path / name)
    with pytest.raises(ArtifactError, match="there are a.h5, b.h5: name them"):
        export_file(tmp_path / "model.json", tmp_path / "m")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            '{"name": "app", "version": "1.0.0"}',
            "no model: in JSON that is what model.to_json.. wrote, and this is not; give",
        ),
        ("[1, 2, 3]", "no model: "),
        ('[{"age": 22, "fare": 7.5}]', "a table, and a model is served: train one with `.* --label COLUMN` first"),
        ('{"age": 22, "fare": 7.5}\n{"age": 3, "fare": 1}', "a table, and a model is served"),
        ('{"age": {"0": 22, "1": 3}, "fare": {"0": 7.5, "1": 1}}', "a table, and a model is served"),
        ('{"cut": ', "no model: "),
        (
            '{"format": "layers-model", "modelTopology": {}, "weightsManifest": []}',
            "a model of TensorFlow.js: save it as Keras's",
        ),
        ('{"learner": {"attributes": {}}, "version": [2, 0, 0]}', "a model of XGBoost: .* onnxmltools"),
    ],
    ids=["package.json", "a list", "a table", "a table in lines", "columns", "cut short", "TensorFlow.js", "XGBoost"],
)
def test_json_that_is_no_model_is_told_so_before_its_weights_are_asked_for(tmp_path, content, says):
    (tmp_path / "found.json").write_text(content)
    shutil.copy(OLD / "keras-2.2.4-weights.h5", tmp_path / "a.h5")
    for weights in (None, tmp_path / "a.h5"):
        with pytest.raises(ArtifactError, match=f"found.json is {says}"):
            found_in(tmp_path / "found.json", weights)


# ---- ONNX ----


def as_pytorch_writes(
    path: Path, rows, last: str = "", outside: bool = False, first=(), maker: str = "pytorch", dtype=TensorProto.FLOAT
) -> None:
    """A small convolution over pictures with their channels first, as `torch.onnx.export` lays one out.

    first: what is done to the pixels before, operations and the constants that they take.
    """
    random = np.random.default_rng(1)
    weights = {"conv.weight": (4, 3, 3, 3), "fc.weight": (5, 4), "fc.bias": (5,)}
    before = [helper.make_node("Cast", ["input"], ["0"], to=TensorProto.FLOAT)]
    constants = {f"by {i}": np.array(by, np.float32) for i, (_, by) in enumerate(first)}
    before += [helper.make_node(kind, [f"{i}", f"by {i}"], [f"{i + 1}"]) for i, (kind, _) in enumerate(first)]
    nodes = [
        *before,
        helper.make_node("Conv", [str(len(first)), "conv.weight"], ["c"], kernel_shape=[3, 3]),
        helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "fc.weight", "fc.bias"], ["logits" if last else "output"], transB=1),
        *([helper.make_node(last, ["logits"], ["output"], axis=1)] if last else []),
    ]
    graph = helper.make_graph(
        nodes,
        "main_graph",
        [helper.make_tensor_value_info("input", dtype, [rows, 3, 32, 24])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [rows, 5])],
        [numpy_helper.from_array(random.normal(size=s).astype("f"), name) for name, s in weights.items()]
        + [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, producer_name=maker, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    outside = {"save_as_external_data": True, "location": f"{path.name}.data", "size_threshold": 0} if outside else {}
    onnx.save(model, path, **outside)


def run_onnx(path: Path, pixels: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"input": one[None]})[0] for one in pixels])


@pytest.mark.parametrize("rows", [1, "batch"])
def test_an_onnx_file_of_pytorch_takes_pictures_with_their_channels_first(tmp_path, rows):
    from PIL import Image

    as_pytorch_writes(tmp_path / "net.onnx", rows, last="Softmax")
    card, predictor = brought(tmp_path / "net.onnx", tmp_path / "m", classes=("a", "b", "c", "d", "e"))
    [picture] = predictor.signature.inputs
    assert (picture.kind, picture.shape, picture.pixels) == ("image", (3, 32, 24), "torch") and picture.channels_first
    pixels = np.random.default_rng(2).integers(0, 256, (32, 24, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    read = predictor.signature.reader().read_body((tmp_path / "a.png").read_bytes()).matrix
    scaled = (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(read.arrays[0][0], scaled.transpose(2, 0, 1), atol=1e-5)
    sample = predictor.signature.sample(7)
    np.testing.assert_allclose(predictor(sample), run_onnx(tmp_path / "net.onnx", sample.arrays[0]), atol=1e-6)
    assert (tmp_path / "m" / "model.onnx").read_bytes() == (tmp_path / "net.onnx").read_bytes()
    parity = card["parity"]
    assert not parity["proved"] and parity["largest_difference"] is None and not parity["by_format"]
    assert "parity: not measured: it is the file that was given" in "\n".join(told(card, predictor.signature))


MEAN = np.array([0.485, 0.456, 0.406]).reshape(3, 1, 1)


@pytest.mark.parametrize(
    ("maker", "first", "pixels"),
    [
        ("pytorch", [], "torch"),
        ("tf2onnx", [], "0..1"),
        ("pytorch", [("Div", 255)], "0..255"),
        ("tf2onnx", [("Mul", 2), ("Sub", 1)], "0..1"),
        ("tf2onnx", [("Div", 127.5), ("Add", -1)], "0..255"),
        ("pytorch", [("Sub", MEAN), ("Div", 0.225)], "0..1"),
        ("pytorch", [("Sub", 255 * MEAN), ("Mul", 1 / 57)], "0..255"),
    ],
)
def test_what_the_first_steps_of_an_onnx_file_make_of_pixels_tells_how_they_are_scaled(tmp_path, maker, first, pixels):
    as_pytorch_writes(tmp_path / "net.onnx", "n", maker=maker, first=first)
    assert signature_of(OnnxFile(tmp_path / "net.onnx"), Wishes(), "m").inputs[0].pixels == pixels


def test_pixels_that_are_whole_numbers_are_taken_as_the_picture_holds_them(tmp_path):
    as_pytorch_writes(tmp_path / "net.onnx", "n", dtype=TensorProto.UINT8)
    model = OnnxFile(tmp_path / "net.onnx")
    picture = signature_of(model, Wishes(), "m").inputs[0]
    assert (picture.kind, picture.pixels, picture.dtype) == ("image", "0..255", "uint8")
    with pytest.raises(ArtifactError, match=r"takes whole numbers \(uint8\).*: leave --pixels out"):
        signature_of(model, Wishes(pixels="0..1"), "m")
    as_pytorch_writes(tmp_path / "net.onnx", "n", dtype=TensorProto.INT8)  # of which no pixel is 200
    assert signature_of(OnnxFile(tmp_path / "net.onnx"), Wishes(), "m").inputs[0].kind == "array"


@pytest.mark.parametrize(("last", "classes"), [("Softmax", ()), ("LogSoftmax", ()), ("", "01234")])
def test_shares_their_logarithms_and_scores_of_named_classes_are_answered_with_the_shares(tmp_path, last, classes):
    as_pytorch_writes(tmp_path / "net.onnx", "n", last)
    _, predictor = brought(tmp_path / "net.onnx", tmp_path / "m", pixels="0..1", classes=classes)
    sample = predictor.signature.sample(4)
    rows = {"instances": [one.tolist() for one in sample.arrays[0]]}
    answers = create_predict_app(predictor).test_client().post("/predict", json=rows).json["predictions"]
    as_pytorch_writes(tmp_path / "shares.onnx", "n", "Softmax")
    shares = run_onnx(tmp_path / "shares.onnx", sample.arrays[0])
    assert [each["label"] for each in answers] == [str(best) for best in shares.argmax(axis=1)]
    np.testing.assert_allclose([each["probability"] for each in answers], shares.max(axis=1), atol=1e-6)


def averaging_words(path: Path, mask: str, kind=TensorProto.INT64) -> None:
    """A mean over the words that count, which no model has an answer for where none does."""
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["words"]),
        helper.make_node("Cast", [mask], ["counts"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["words", "counts"], ["counted"]),
        helper.make_node("ReduceSum", ["counted", "axis"], ["sum"], keepdims=1),
        helper.make_node("ReduceSum", ["counts", "axis"], ["number"], keepdims=1),
        helper.make_node("Div", ["sum", "number"], ["mean"]),
    ]
    kinds = {"input_ids": TensorProto.INT64, mask: kind}
    ends = [helper.make_tensor_value_info(name, kind, ["n", 6]) for name, kind in kinds.items()]
    mean = helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["n", 1])
    constants = {"table": np.arange(9, dtype="f"), "axis": np.array([1])}
    graph = helper.make_graph(nodes, "g", ends, [mean], [numpy_helper.from_array(v, k) for k, v in constants.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def test_a_mask_of_steps_that_count_never_leaves_all_of_them_out(tmp_path):
    averaging_words(tmp_path / "m.onnx", "attention_mask")
    _, predictor = brought(tmp_path / "m.onnx", tmp_path / "m")
    words, mask = predictor.signature.inputs
    assert (words.low, words.high) == (0, 8)
    asked = {"input_ids": [8, 2, 1, 1, 1, 1], "attention_mask": [1, 1, 0, 0, 0, 0]}
    assert predictor(predictor.signature.parse(asked)).tolist() == [5]
    assert (mask.sample(1000, np.random.default_rng(1)).sum(axis=1) > 0).all()
    averaging_words(tmp_path / "m.onnx", "x1")
    with pytest.raises(
        ArtifactError, match="or, if one of input_ids, x1 says which steps count, call it attention_mask"
    ):
        export_file(tmp_path / "m.onnx", tmp_path / "other")


def test_a_mask_of_true_and_false_takes_one_and_nought_too(tmp_path):
    averaging_words(tmp_path / "m.onnx", "attention_mask", TensorProto.BOOL)
    _, predictor = brought(tmp_path / "m.onnx", tmp_path / "m")
    signature = predictor.signature
    assert "attention_mask) of 6, true or false" in takes_in_words(signature)
    for mask in ([True, True, False, False, False, False], [1, 1, 0, 0, 0, 0]):
        assert predictor(signature.parse({"input_ids": [8, 2, 1, 1, 1, 1], "attention_mask": mask})).tolist() == [5]
    assert set(signature.example()["attention_mask"]) <= {True, False}
    with pytest.raises(InvalidRequest) as refused:
        signature.parse({"input_ids": [8, 2, 1, 1, 1, 1], "attention_mask": [2, 1, 0, 0, 0, 0]})
    assert refused.value.fields == {"attention_mask": "must hold true and false, or 1 and 0"}


def classifier_of_sklearn(path: Path, classes: list, zipped: bool) -> None:
    """What skl2onnx writes of a logistic regression of two numbers: a label, and shares, in maps where zipped."""
    texts = isinstance(classes[0], str)
    names = {"classlabels_strings" if texts else "classlabels_ints": classes}
    zip_names = {"classlabels_strings" if texts else "classlabels_int64s": classes}
    weights = {"coefficients": [1.0, -2.0, 0.5, 1.5, -1.0, 0.0], "intercepts": [0.1, 0.0, -0.1]}
    ml = {"domain": "ai.onnx.ml"}
    nodes = [
        helper.make_node(
            "LinearClassifier", ["x"], ["label", "scores"], **weights, post_transform="SOFTMAX", **names, **ml
        ),
        helper.make_node("Normalizer", ["scores"], ["shares" if zipped else "probabilities"], norm="L1", **ml),
    ]
    kind, label = TensorProto.FLOAT, TensorProto.STRING if texts else TensorProto.INT64
    shares = helper.make_tensor_value_info("probabilities", kind, ["n", 3])
    if zipped:
        nodes.append(helper.make_node("ZipMap", ["shares"], ["probabilities"], **zip_names, **ml))
        each = helper.make_map_type_proto(label, helper.make_tensor_type_proto(kind, []))
        shares = helper.make_value_info("probabilities", helper.make_sequence_type_proto(each))
    ends = (
        [helper.make_tensor_value_info("x", kind, ["n", 2])],
        [helper.make_tensor_value_info("label", label, ["n"]), shares],
    )
    graph = helper.make_graph(nodes, "g", *ends)
    versions = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 2)]
    onnx.save(helper.make_model(graph, opset_imports=versions, ir_version=8), path)


@pytest.mark.parametrize("zipped", [False, True])
def test_a_classifier_of_scikit_learn_answers_with_the_names_of_its_classes(tmp_path, zipped):
    classifier_of_sklearn(tmp_path / "texts.onnx", ["a", "b", "c"], zipped)
    _, predictor = brought(tmp_path / "texts.onnx", tmp_path / "m")
    (output,) = predictor.signature.outputs
    assert (output.kind, output.classes) == ("classes", ("a", "b", "c"))
    assert "label, which is text or a class's number, is left out" in found_in(tmp_path / "texts.onnx")
    rows = predictor.signature.sample(5)
    scores = rows @ np.array([[1.0, 0.5, -1.0], [-2.0, 1.5, 0.0]]) + [0.1, 0.0, -0.1]
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(predictor(rows), shares, atol=1e-6)

    classifier_of_sklearn(tmp_path / "numbers.onnx", [4, 5, 9], zipped)
    _, predictor = brought(tmp_path / "numbers.onnx", tmp_path / "n")
    (output,) = predictor.signature.outputs
    assert (output.kind, output.classes) == ("classes", ("4", "5", "9"))
    np.testing.assert_allclose(predictor(rows), shares, atol=1e-6)


def test_answers_that_are_texts_only_are_refused_with_what_to_do(tmp_path):
    classifier_of_sklearn(tmp_path / "net.onnx", ["a", "b", "c"], zipped=False)
    model = onnx.load(tmp_path / "net.onnx")
    del model.graph.output[1]
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(ArtifactError, match=r"answers with texts only \(label\): convert it anew with its n"):
        found_in(tmp_path / "net.onnx")
    del model.graph.output[0]
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(ArtifactError, match="has no input or no output: convert it anew, with both"):
        found_in(tmp_path / "net.onnx")


def one_operation(path: Path, kind: str, takes=("n", 2), answers=("n", 2), dtype=TensorProto.FLOAT, **options) -> None:
    ends = [[helper.make_tensor_value_info("x", TensorProto.FLOAT, takes)]]
    ends.append([helper.make_tensor_value_info("y", dtype, answers)])
    graph = helper.make_graph([helper.make_node(kind, ["x"], ["y"], **options)], "g", *ends)
    versions = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    onnx.save(helper.make_model(graph, opset_imports=versions, ir_version=8), path)


def test_answers_of_yes_and_no_are_1_and_0(tmp_path):
    one_operation(tmp_path / "net.onnx", "IsNaN", dtype=TensorProto.BOOL)
    _, predictor = brought(tmp_path / "net.onnx", tmp_path / "m")
    answer = create_predict_app(predictor).test_client().post("/predict", json=[{"x1": 1, "x2": 2}])
    assert answer.get_json()["predictions"] == [[0, 0]]


def test_numbers_that_float32_does_not_hold_are_answered_to_their_last_digit(tmp_path):
    nodes = [helper.make_node("Cast", ["x"], ["whole"], to=TensorProto.INT64)]
    nodes += [helper.make_node("Add", ["whole", "number"], ["id"]), helper.make_node("Cast", ["id"], ["y"], to=11)]
    takes = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1])]
    for answers, kind in {"id": TensorProto.INT64, "y": TensorProto.DOUBLE}.items():
        constants = [numpy_helper.from_array(np.array([20240131123]), "number")]
        graph = helper.make_graph(
            nodes, "g", takes, [helper.make_tensor_value_info(answers, kind, ["n", 1])], constants
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, tmp_path / f"{answers}.onnx")
        _, predictor = brought(tmp_path / f"{answers}.onnx", tmp_path / answers)
        answer = create_predict_app(predictor).test_client().post("/predict", json=[{"x1": 1}, {"x1": 7}])
        assert answer.get_json()["predictions"] == [20240131124, 20240131130]
        scores = Scorer(predictor)(pa.record_batch({"x1": [1.0, 7.0]}))
        assert scores["value"].to_pylist() == [20240131124, 20240131130]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"kind": "ReduceMax", "keepdims": 0, "answers": ()},
            "answered 8 rows with one number, and needs an answer for each",
        ),
        (
            {"kind": "Transpose", "answers": (2, "n")},
            "answered 8 rows with an array of 2 x 8, and needs an answer for each",
        ),
        (
            {"kind": "Relu", "takes": None, "answers": None},
            "does not tell the shape of x: convert it anew with the shapes",
        ),
        (
            {"kind": "Own", "domain": "mine"},
            "Own.* is not a registered function/op; convert it anew, with operations of ONNX",
        ),
    ],
)
def test_an_onnx_file_that_cannot_be_served_is_refused_with_what_to_do(tmp_path, options, says):
    one_operation(tmp_path / "net.onnx", **options)
    with pytest.raises(ArtifactError, match=says):
        export_file(tmp_path / "net.onnx", tmp_path / "m")
    assert not (tmp_path / "m").exists()


def test_weights_beside_an_onnx_file_are_taken_in_or_named_as_missing(tmp_path):
    as_pytorch_writes(tmp_path / "net.onnx", "n", outside=True)
    _, predictor = brought(tmp_path / "net.onnx", tmp_path / "m", pixels="0..1")
    sample = predictor.signature.sample(3)
    np.testing.assert_allclose(predictor(sample), run_onnx(tmp_path / "net.onnx", sample.arrays[0]), atol=1e-6)
    weights = tmp_path / "net.onnx.data"
    for change in (lambda: weights.write_bytes(weights.read_bytes()[:-9]), weights.unlink):
        change()
        with pytest.raises(ArtifactError, match="keeps its weights in net.onnx.data, which must lie beside it, whole"):
            export_file(tmp_path / "net.onnx", tmp_path / "m", replace=True)


def test_what_cannot_be_asked_row_by_row_or_read_is_refused(tmp_path):
    as_pytorch_writes(tmp_path / "four.onnx", 4)
    with pytest.raises(ArtifactError, match="takes exactly 4 rows at a time"):
        export_file(tmp_path / "four.onnx", tmp_path / "m")
    (tmp_path / "broken.onnx").write_bytes((tmp_path / "four.onnx").read_bytes()[:300])
    with pytest.raises(ArtifactError, match="is damaged or no ONNX file"):
        export_file(tmp_path / "broken.onnx", tmp_path / "m")
    assert not (tmp_path / "m").exists()


# ---- LiteRT ----


@pytest.mark.slow
def test_a_litert_file_is_served_with_the_names_in_it(tmp_path):
    model = two_by_two()
    model.export(tmp_path / "net.tflite", format="litert", verbose=False)
    card, predictor = brought(tmp_path / "net.tflite", tmp_path / "m")
    assert predictor.backend == "litert" and card["formats"] == ["tflite"]
    sample = predictor.signature.sample(1500)  # more than one block
    given = dict(zip(predictor.signature.names, sample.arrays, strict=True))
    expected = model(given, training=False)
    found = dict(zip([each.name for each in predictor.signature.outputs], predictor(sample), strict=True))
    for name, answers in found.items():
        np.testing.assert_allclose(np.reshape(answers, expected[name].shape), expected[name], atol=1e-5)


@pytest.mark.slow
def test_a_litert_file_with_operations_of_tensorflow_names_them(tmp_path):
    import keras
    import tensorflow as tf

    looked_up = keras.layers.StringLookup(vocabulary=["a"], output_mode="multi_hot")
    model = keras.Sequential([keras.Input((5,), dtype="string"), looked_up, keras.layers.Dense(1)])
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    (tmp_path / "net.tflite").write_bytes(converter.convert())
    with pytest.raises(
        ArtifactError, match=r"that LiteRT does not have \(DenseBincount\): bring the model that it was"
    ):
        export_file(tmp_path / "net.tflite", tmp_path / "m")


@pytest.mark.slow
def test_a_graph_tells_the_scale_of_its_pixels_and_litert_runs_the_function_that_is_asked(tmp_path):
    import tensorflow as tf

    class Net(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 16, 16, 3), name="fixed")])
        def fixed(self, pixels):
            return {"shares": tf.nn.softmax(tf.reduce_mean(tf.nn.tanh((pixels - 0.45) / 0.22), [1, 2]))}

        @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), name="a")])
        def any_size(self, pixels):
            return {"means": tf.reduce_mean(tf.nn.conv2d(pixels, tf.ones((3, 3, 3, 2)), 1, "VALID"), [1, 2])}

    net = Net()
    tf.saved_model.save(net, tmp_path / "net", signatures={"a": net.any_size, "serving_default": net.fixed})
    assert signature_of(read_saved_model(tmp_path / "net")[1], Wishes(), "m").inputs[0].pixels == "0..1"
    for keys, name in ((None, "both"), (["serving_default"], "fixed"), (["a"], "any_size")):
        converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "net"), signature_keys=keys)
        (tmp_path / f"{name}.tflite").write_bytes(converter.convert())
    with pytest.raises(ArtifactError, match=r"several functions \(a, serving_default\).*signature_keys=\['serving_def"):
        LiteRTFile(tmp_path / "both.tflite")
    fixed = LiteRTFile(tmp_path / "fixed.tflite")
    assert (fixed.inputs[0].name, signature_of(fixed, Wishes(), "m").inputs[0].pixels) == ("fixed", "0..1")
    _, predictor = brought(tmp_path / "any_size.tflite", tmp_path / "m")
    for size in (5, 40):
        np.testing.assert_allclose(predictor(Batch([np.ones((2, size, size, 3), np.float32)])), 27)


@pytest.mark.slow
def test_a_litert_file_of_whole_numbers_takes_and_gives_real_ones(tmp_path):
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(1)
    layers = keras.layers
    model = keras.Sequential([keras.Input((12, 12, 1)), layers.Conv2D(4, 3), layers.Flatten()])
    model.add(layers.Dense(3, "softmax"))
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([RANDOM.random((1, 12, 12, 1), np.float32)] for _ in range(50))
    converter.inference_input_type = converter.inference_output_type = tf.uint8
    (tmp_path / "net.tflite").write_bytes(converter.convert())
    _, predictor = brought(tmp_path / "net.tflite", tmp_path / "m")
    [picture], [output] = predictor.signature.inputs, predictor.signature.outputs
    assert (picture.kind, picture.pixels, output.kind) == ("image", "0..1", "classes")
    sample = predictor.signature.sample(20)
    np.testing.assert_allclose(predictor(sample), model(sample.arrays[0]), atol=0.05)  # as far as 8 bits go


def test_the_card_says_how_good_a_model_is_where_its_owner_does(tmp_path):
    as_pytorch_writes(tmp_path / "net.onnx", "n")
    brought(tmp_path / "net.onnx", tmp_path / "m", metrics={"accuracy": 0.93, "data": "500 photos of 2026"})
    assert read_card(tmp_path / "m")["metrics"] == {"accuracy": 0.93, "data": "500 photos of 2026"}


def test_classes_of_one_name_are_told_apart_and_that_is_said(tmp_path):
    as_pytorch_writes(tmp_path / "net.onnx", "n", last="Softmax")
    with pytest.warns(UserWarning, match=r"several classes have one name: the later ones are called 'crane \(2\)'"):
        card = export_file(tmp_path / "net.onnx", tmp_path / "m", classes=("crane", "b", "crane", "d", "maillot"))
    assert card["signature"]["outputs"][0]["classes"] == ["crane", "b", "crane (2)", "d", "maillot"]


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
    first = keras.Sequential([keras.Input((1, 12, 12)), *map(_with_channels_first, convolutions), layers.Flatten()])
    last = keras.Sequential([keras.Input((12, 12, 1)), *convolutions, layers.Permute((3, 1, 2)), layers.Flatten()])
    last.set_weights(first.get_weights())
    first.save(tmp_path / "m.keras")
    card, predictor = brought(tmp_path / "m.keras", tmp_path / "m")
    assert "onnx" in card["formats"] and card["parity"]["proved"]
    pictures = RANDOM.random((2, 1, 12, 12), np.float32)
    expected = last.predict(pictures.reshape(2, 12, 12, 1), verbose=0)
    for answer in (predictor, load_predictor(tmp_path / "m", "keras")):
        assert answer(Batch([pictures])) == pytest.approx(expected, abs=1e-6)


def _with_channels_first(layer):
    return type(layer).from_config({**layer.get_config(), "data_format": "channels_first"})


def test_a_large_model_is_compared_on_fewer_rows(tmp_path):
    from helpers.export.parity import FEWEST, inputs_of

    words = InputSignature((Array("words", (128,), "int32", 0, 30_000),))
    assert [len(inputs_of(words, count)[0]) for count in (50_000, 1_000_000, 110_000_000)] == [10_000, 1000, FEWEST]


def looking_up(path: Path, rows: int, is_found: bool) -> None:
    """A file that answers what a list of so many rows holds for the second of two numbers.

    is_found: whether the file tells how long the list is.
    """
    constants = {
        "list" if is_found else "hidden": np.arange(2 * rows, dtype="f").reshape(rows, 2),
        "place": np.array(1),
    }
    nodes = [
        *([] if is_found else [helper.make_node("Abs", ["hidden"], ["list"])]),
        helper.make_node("Gather", ["x", "place"], ["number"], axis=1),
        helper.make_node("Cast", ["number"], ["id"], to=TensorProto.INT64),
        helper.make_node("Gather", ["list", "id"], ["y"]),
    ]
    ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2])] for name in ("x", "y")]
    graph = helper.make_graph(nodes, "g", *ends, [numpy_helper.from_array(v, k) for k, v in constants.items()])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def test_a_number_beyond_the_list_in_which_a_file_looks_it_up_is_named_to_whoever_sends_it(tmp_path):
    path, like = tmp_path / "looks_up.onnx", tmp_path / "like.csv"
    looking_up(path, 40, is_found=False)
    _, predictor = brought(path, tmp_path / "m")
    client = create_predict_app(predictor).test_client()
    assert client.get("/predict?x1=0.5&x2=3").json["prediction"] == [6, 7]
    answer = client.get("/predict?x1=0.5&x2=50")
    assert answer.status_code == 422 and "the model has no entry for 50 in a list" in answer.json["error"]

    looking_up(path, 2, is_found=False)  # too short for the numbers with which a model is tried
    with pytest.raises(ArtifactError, match="does not answer .* rows of what it takes: .*a table of such rows"):
        export_file(path, tmp_path / "m")
    like.write_text("x1,x2\n0.5,0\n-0.5,1\n")
    _, predictor = brought(path, tmp_path / "m", like=like)
    client = create_predict_app(predictor).test_client()
    assert client.get("/predict?x1=0.5&x2=1").json["prediction"] == [2, 3]

    looking_up(path, 2, is_found=True)
    _, predictor = brought(path, tmp_path / "found")
    client = create_predict_app(predictor).test_client()
    assert client.get("/predict?x1=0.5&x2=1").json["prediction"] == [2, 3]
    assert client.get("/predict?x1=0.5&x2=2").json["fields"] == {"x2": "must be a whole number from 0 to 1"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("format", "name"), [("tf_saved_model", "net"), ("litert", "net.tflite"), ("onnx", "net.onnx")]
)
def test_the_ids_of_a_mixed_row_are_found_in_files_that_are_not_keras_s(tmp_path, format, name):
    import keras

    row = keras.Input((3,), name="row")
    word = keras.layers.Embedding(4, 3)(keras.ops.cast(row[:, 2], "int32"))
    y = keras.layers.Dense(1, "sigmoid")(keras.layers.Concatenate()([row[:, :2], word]))
    model = keras.Model(row, y)
    rows = np.array([[0.5, -1, 3], [0, 2, 0]], np.float32)
    wanted = np.asarray(model(rows))[:, 0]
    with quiet():
        model.export(tmp_path / name, format=format, verbose=False)
    _, predictor = brought(tmp_path / name, tmp_path / "m")
    assert [(each.low, each.high) for each in predictor.signature.features if each.whole] == [(0, 3)]
    np.testing.assert_allclose(predictor(rows), wanted, atol=1e-6)
