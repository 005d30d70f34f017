"""What a file needs beside it is found or asked for: layers of its own, model.json with its weights."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from export_tools import brought

from helpers.export.errors import ArtifactError
from helpers.export.legacy import load_keras
from helpers.export.opening import opened
from helpers.export.own_code import import_layers
from helpers.export.own_model import export_file, found_in, told

OLD = Path(__file__).parents[1] / "data" / "old_models"
RANDOM = np.random.default_rng(0)


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
        (tmp_path / "whole.keras", "put the class Whole into a module, my_layers.py, .*, and add --import my_layers"),
        (tmp_path / "twos.keras", "put the class Twos into a module, my_layers.py, .*, and add --import my_layers"),
        (
            OLD / "keras-2.15.0-lambda.h5",
            "write the function yourself, as lambda_ in a module, .*add --import my_layers",
        ),
        (
            tmp_path / "own.h5",
            "put the class Scaled, registered as gone>Scaled, into a module, my_layers.py, .*, and add --import",
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


# ---- what it answers ----


@pytest.mark.parametrize("ends", [list, dict])
def test_texts_that_a_keras_model_answers_with_are_left_out_where_there_are_numbers_and_else_told(tmp_path, ends):
    import keras

    layers = keras.layers
    inputs = keras.Input((4,))
    shares = layers.Dense(3, "softmax" if ends is list else None, name="shares")(inputs)
    names = layers.StringLookup(vocabulary=["a", "b", "c"], num_oov_indices=0, invert=True, name="best")
    best = names(keras.ops.argmax(shares, axis=-1))  # of which Keras says that it is of whole numbers
    both = {"best": best, "shares": shares} if ends is dict else [best, shares]
    keras.Model(inputs, both).save(tmp_path / "both.keras")
    with pytest.warns(UserWarning, match="best, which is text, is left out of the answers"):
        opened(tmp_path / "both.keras")
    _, predictor = brought(tmp_path / "both.keras", tmp_path / "both")
    row = RANDOM.normal(size=(1, 4)).astype(np.float32)
    np.testing.assert_allclose(predictor(row), keras.Model(inputs, shares)(row), atol=1e-6)
    keras.Model(inputs, best).save(tmp_path / "best.keras")
    _, alone = brought(tmp_path / "best.keras", tmp_path / "best")
    assert alone.signature.outputs[0].classes == predictor.signature.outputs[0].classes == ("a", "b", "c")
    np.testing.assert_allclose(alone(row), predictor(row), atol=1e-6)
    inner = keras.Model(inputs, best)
    keras.Model(inputs, inner(inputs)).save(tmp_path / "texts.keras")
    with pytest.raises(ArtifactError, match=r"answers with texts only \(.*\): save the part .* by --classes"):
        opened(tmp_path / "texts.keras")
