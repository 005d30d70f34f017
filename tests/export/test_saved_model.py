"""A SavedModel, and any graph of TensorFlow, is served as it answers by itself."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from export_tools import brought, two_by_two

from helpers.data.inputs import Batch
from helpers.export.artifacts import export_model
from helpers.export.errors import ArtifactError
from helpers.export.legacy import load_keras
from helpers.export.own_model import export_file, takes_in_words, told
from helpers.export.predictors import load_predictor
from helpers.export.saved_model import read_saved_model
from helpers.quiet import quiet
from helpers.serving.services import create_predict_app

OLD = Path(__file__).parents[1] / "data" / "old_models"
RANDOM = np.random.default_rng(0)


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
    model.save(tmp_path / "two.keras")
    signature = brought(tmp_path / "two.keras", tmp_path / "two")[1].signature
    assert export_model(model, tmp_path / "again", signature, formats=("saved_model",))["formats"] == ["saved_model"]


def test_a_saved_model_that_would_call_python_is_left_out(tmp_path):
    import keras
    import tensorflow as tf

    ranked = lambda x: tf.ensure_shape(tf.numpy_function(np.sort, [x], tf.float32), x.shape)  # noqa: E731
    layers = [keras.Input((10,)), keras.layers.Lambda(ranked, output_shape=(10,)), keras.layers.Dense(1, "sigmoid")]
    with pytest.raises(ArtifactError, match="it calls Python, which is in this process and not in the file"):
        export_model(keras.Sequential(layers), tmp_path / "ranked", formats=("saved_model",))


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
    assert takes_in_words(predictor.signature) == (
        f"an array (words) of {count or 'any length'}, of texts: a, b, c or any other"
    )
    rows = [["a", "b", "other"], ["c", "c", "a"]]
    expected = np.asarray(model(tf.constant(rows))).ravel()
    with create_predict_app(predictor).test_client() as client:
        found = client.post("/predict", json={"instances": rows}).json["predictions"]
        for asked in (
            client.post("/predict", json={"words": rows[0]}),
            client.get("/predict", query_string={"words": json.dumps(rows[0])}),
            client.post("/predict", data={"words": json.dumps(rows[0])}),
        ):
            assert asked.json["probability"] == pytest.approx(expected[0], abs=1e-6) and "notes" not in asked.json
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
