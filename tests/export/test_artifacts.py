"""An export is whole or not there at all, says what it is, and every file in it answers like Keras."""

import hashlib
import json
import os
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest

from helpers import PROJECT
from helpers.data.input_kinds import Array
from helpers.data.inputs import InputSignature
from helpers.data.outputs import Output
from helpers.data.signature import Feature, Signature
from helpers.export.artifacts import export_model
from helpers.export.card import read_card
from helpers.export.errors import ArtifactError
from helpers.export.formats import FORMATS, write_onnx
from helpers.export.legacy import load_keras
from helpers.export.parity import limit_of, parity
from helpers.export.predictors import load_predictor
from helpers.export.run_onnx import onnx_function, onnx_session
from helpers.export.steps import ACTIVATIONS

FAST = ("onnx", "npz")  # enough where the format does not matter


def build(*layers, n=3, activation="sigmoid"):
    import keras

    return keras.Sequential([keras.Input((n,)), *layers, keras.layers.Dense(1, activation=activation)])


def table(n: int, spread: float = 1.0) -> np.ndarray:
    """400 rows of real-valued features on very different scales, as a table brings them."""
    scales = 10.0 ** np.linspace(-3, 3, n)
    return (np.random.default_rng(n).normal(3, spread, (400, n)) * scales).astype("float32")


def standardized(n: int):
    """The tutorial's network with a Normalization layer in front, and the signature of the table it was adapted on."""
    import pandas as pd

    from helpers.model.training import build_classifier

    x = table(n)
    return build_classifier(n, standardize=x), Signature.from_table(
        pd.DataFrame(x, columns=[f"x{i}" for i in range(n)])
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ---- what is written ----


def test_a_file_may_differ_as_far_as_the_model_itself_does_when_rows_are_asked_one_by_one():
    """As the order of a sum in a deep network does: in few rows far, so that many are tried."""
    signature = Signature((Feature("a", "real", 0, 1, 0),))
    rows = signature.sample(10_000)
    rare = rows[200]

    def answer(rows):
        return rows.sum(axis=1) + 1e-5 * ((len(rows) > 1) & (rows == rare).all(axis=1))

    assert limit_of(answer, signature, rows, answer(rows)) == pytest.approx(2e-5, rel=0.2)


def test_every_format_is_written_and_agrees_with_keras_on_every_input(exported):
    card = read_card(exported)
    assert set(card["formats"]) == set(FORMATS) and card["not_exported"] == {}
    assert card["parity"]["inputs"] == "all 1,024 inputs"
    assert card["parity"]["largest_difference"] <= card["parity"]["limit"] == 1e-6
    assert set(card["parity"]["by_format"]) == set(FORMATS)


def test_the_card_says_what_the_model_is_and_what_each_file_must_be(trained, tmp_path):
    features = (Feature("age", "real", 18, 99.5, 40), Feature("member"), *(Feature(f"f{i}") for i in range(8)))
    metrics = {"data": "sample, first 5,000 rows", "test_auc": np.float32(0.75), "interval": np.array([0.5, 1.0])}
    card = export_model(trained, tmp_path / "m", Signature(features, "churned"), metrics, formats=("keras", "npz"))
    assert card == read_card(tmp_path / "m") == json.loads((tmp_path / "m" / "card.json").read_text())
    assert card["signature"]["label"] == "churned"
    assert card["signature"]["features"][0] == {
        **{"name": "age", "kind": "real", "low": 18, "high": 99.5, "default": 40},
    }
    assert card["metrics"] == {"data": "sample, first 5,000 rows", "test_auc": 0.75, "interval": [0.5, 1.0]}
    assert {"python", "keras", "tensorflow", "numpy", "onnxruntime"} <= set(card["versions"])
    assert card["created"].endswith("+00:00")
    assert card["parity"]["inputs"] == "a sample of 10,000 inputs"
    files = contents(tmp_path / "m")
    del files["card.json"]
    assert card["files"] == {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()} for name, content in files.items()
    }


def test_without_a_signature_the_features_are_binary_and_counted(tmp_path):
    card = export_model(build(n=3), tmp_path / "m", label="y", formats=FAST)
    assert [(f["name"], f["kind"]) for f in card["signature"]["features"]] == [(f"g{i}", "binary") for i in (1, 2, 3)]
    assert card["signature"]["label"] == "y" and card["metrics"] == {}


def test_metrics_without_their_data_say_so(tmp_path):
    assert export_model(build(), tmp_path / "m", metrics={"auc": 0.8}, formats=FAST)["metrics"]["data"] == "not stated"


def test_what_the_converter_does_not_know_by_itself_goes_into_onnx(tmp_path):
    import keras

    layers, inputs = keras.layers, keras.Input((4,))
    bins = layers.Discretization([-0.5, 0.0, 1.0], output_mode="one_hot")(inputs)
    counts = layers.Rescaling(0.5)(layers.Discretization([0.0, 2.0])(inputs))
    groups = layers.Conv1D(4, 1, groups=2)(layers.Reshape((1, 4))(inputs))
    parts = [layers.Dense(3, "gelu")(inputs), layers.Dense(3, "celu")(inputs), counts]
    ends = [keras.ops.argmax(inputs, axis=-1, keepdims=True), keras.ops.signbit(inputs)]  # of -0.0, too
    parts += [
        keras.ops.log1p(keras.ops.square(inputs)),
        layers.Flatten()(bins),
        layers.Flatten()(groups),
        *(keras.ops.cast(end, "float32") for end in ends),
    ]
    model = keras.Model(inputs, layers.Dense(1)(layers.Concatenate()(parts)))
    signature = Signature(tuple(Feature(name, "real", -3, 3) for name in "abcd"), outputs=(Output(kind="number"),))
    write_onnx(model, tmp_path / "model.onnx", signature)
    rows = np.float32(
        [[-0.5, 0, 1, 2], [-3, -0.1, 0.9, 3], [-4, 8, 0.3, -0.6], [-0.0, 0.0, -1, -0.0]]
    )  # some lie on a boundary
    answers = onnx_function(onnx_session((tmp_path / "model.onnx").read_bytes()))(rows)
    np.testing.assert_allclose(answers, np.ravel(model(rows)), rtol=1e-6, atol=5e-6)  # weights are drawn anew


@pytest.mark.slow
def test_the_way_into_onnx_takes_a_few_copies_of_the_weights_and_not_three_for_each_of_its_passes(tmp_path):
    code = (
        "import resource; from pathlib import Path; from helpers.quiet import keras_alone\n"
        "with keras_alone(): import keras\n"
        "from helpers.export.formats import write_onnx; from helpers.export.detection import Wishes, signature_of\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "model = keras.Sequential([keras.Input((1000,)), keras.layers.Dense(9_000), keras.layers.Dense(1)])\n"
        "before = peak()\n"
        "write_onnx(model, Path('m.onnx'), signature_of(model, Wishes(), 'm'))\n"
        "print((peak() - before) / (model.count_params() / 256))"
    )
    own = os.environ | {"PYTHONPATH": str(PROJECT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=own, capture_output=True, check=False)
    assert float(done.stdout) < 40, done.stderr[-500:]


def test_onnx_is_valid_and_names_its_features(exported):
    model = onnx.load(exported / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [i.name for i in model.graph.input] == ["features"] and [o.name for o in model.graph.output] == [
        "prediction"
    ]
    assert {p.key: p.value for p in model.metadata_props}["features"] == json.dumps([f"G{i}" for i in range(1, 11)])


def test_tensorflows_own_tool_reads_and_runs_the_saved_model(exported, tmp_path, capfd):
    from tensorflow.python.tools import saved_model_cli

    folder, rows = str(exported / "saved_model"), np.eye(10, dtype="float32")
    saved_model_cli._show_all(folder)  # `saved_model_cli show --all`, without a second start of TensorFlow
    assert "signature_def['serving_default']" in (shown := capfd.readouterr().out) and "shape: (-1, 10)" in shown
    definition = saved_model_cli.get_signature_def_map(folder, "serve")["serving_default"]
    (source,), (target,) = definition.inputs, definition.outputs
    saved_model_cli.run_saved_model_with_feed_dict(
        folder, "serve", "serving_default", {source: rows}, str(tmp_path), overwrite_flag=False
    )
    answers = np.load(tmp_path / f"{target}.npy").ravel()
    assert np.abs(answers - load_predictor(exported, "keras")(rows)).max() <= 1e-6


@pytest.mark.slow
def test_the_same_model_gives_the_same_bytes(trained, tmp_path):
    same = ("keras", "h5", "onnx", "tflite", "npz")
    for folder in ("a", "b"):
        export_model(trained, tmp_path / folder, formats=same)
    a, b = contents(tmp_path / "a"), contents(tmp_path / "b")
    assert {name for name in a if a[name] != b[name]} <= {"card.json"}
    with zipfile.ZipFile(tmp_path / "a" / "model.keras") as saved:  # also of a second that both were written in
        assert {member.date_time[0] for member in saved.infolist()} == {1980}
        assert [*json.loads(saved.read("metadata.json"))] == ["keras_version"]


# ---- any model ----


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 30, 300])
def test_a_model_that_standardizes_real_features_inside_fits_every_format(tmp_path, n):
    model, signature = standardized(n)
    card = export_model(model, tmp_path / "m", signature)
    assert set(card["formats"]) == set(FORMATS)
    assert card["parity"]["largest_difference"] <= 1e-6


@pytest.mark.slow
def test_one_feature_far_from_zero_is_not_rounded_away(tmp_path):
    """LiteRT's converter would work the mean and spread of a Normalization into the weights, and lose digits."""
    from keras import layers

    x = np.random.default_rng(0).normal(500, 0.5, (1000, 1)).astype("float32")
    normalization = layers.Normalization()
    normalization.adapt(x)
    model = build(normalization, layers.Dense(8, activation="relu"), n=1)
    signature = Signature((Feature("x", "real", float(x.min()), float(x.max()), 500.0),))
    assert export_model(model, tmp_path / "m", signature)["parity"]["largest_difference"] <= 2e-7


@pytest.mark.slow
def test_a_freshly_loaded_model_is_exported_over_its_own_folder(trained, tmp_path):
    folder = tmp_path / "m"
    export_model(trained, folder, formats=("keras",))
    loaded = load_keras(folder / "model.keras", compile=False)
    assert set(export_model(loaded, folder)["formats"]) == set(FORMATS)
    rows = np.eye(10, dtype="float32")
    assert np.abs(load_predictor(folder)(rows) - np.asarray(trained(rows)).ravel()).max() <= 1e-6


def test_numpy_knows_the_usual_layers_and_activations(tmp_path):
    import keras
    from keras import layers

    norm = layers.BatchNormalization()
    known = [layers.Dense(5, activation=name) for name in ACTIVATIONS]
    others = [layers.Rescaling(0.5, offset=0.1), norm, layers.LeakyReLU(0.3), layers.ReLU(), layers.Dropout(0.5)]
    inner = keras.Sequential([keras.Input((5,)), layers.Dense(4, use_bias=False), layers.Activation("tanh")])
    model = build(*known, *others, inner)
    norm.set_weights([np.array(w, "f") for w in (np.full(5, 1.5), np.full(5, 0.2), np.full(5, 0.1), np.full(5, 2.0))])
    card = export_model(model, tmp_path / "m", formats=("keras", *FAST))
    assert card["formats"] == ["keras", *FAST]


@pytest.mark.slow
def test_a_layer_that_numpy_does_not_know_is_named_and_the_others_are_written(tmp_path):
    from keras import layers

    model = build(layers.Dense(4), layers.LayerNormalization(name="evened"))
    with pytest.warns(UserWarning, match=r"model.npz is left out: .*evened \(LayerNormalization\)"):
        card = export_model(model, tmp_path / "m")
    assert card["formats"] == [name for name in FORMATS if name != "npz"]
    assert "evened (LayerNormalization)" in card["not_exported"]["npz"]["reason"]
    assert not (tmp_path / "m" / "model.npz").exists()
    with pytest.raises(RuntimeError, match="was not exported because .*LayerNormalization"):
        load_predictor(tmp_path / "m", "numpy")


def test_a_layer_of_ones_own_leaves_out_what_cannot_be_read_back(tmp_path):
    import keras

    class Doubled(keras.layers.Layer):
        def call(self, x):
            return x * 2

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        card = export_model(build(Doubled()), tmp_path / "m")
    assert set(card["not_exported"]) == {"keras", "h5", "npz"}
    assert "Doubled" in card["not_exported"]["keras"]["reason"]
    assert card["formats"] == ["saved_model", "onnx", "tflite"]


@pytest.mark.slow
def test_branches_images_and_several_outputs(tmp_path):
    """A network with branches over 4x4 images and three answers per row: every format but NumPy holds it."""
    import keras
    from keras import layers

    image = keras.Input((4, 4, 1))
    a = layers.Flatten()(layers.Conv2D(3, 2, activation="relu")(image))
    b = layers.Flatten()(layers.MaxPooling2D()(image))
    model = keras.Model(image, layers.Dense(3, activation="softmax")(layers.concatenate([a, b])))
    with pytest.warns(UserWarning, match="model.npz is left out"):
        card = export_model(model, tmp_path / "m")
    assert set(card["formats"]) == set(FORMATS) - {"npz"} and card["input_shape"] == [4, 4, 1]
    rows = np.random.default_rng(0).integers(0, 2, (7, 16)).astype("float32")
    expected = np.asarray(model(rows.reshape(7, 4, 4, 1)))
    for backend in ("keras", "onnx", "litert"):
        answers = load_predictor(tmp_path / "m", backend)(rows)
        assert answers.shape == (7, 3) and np.abs(answers - expected).max() <= 1e-6


def test_models_with_two_inputs_or_none_and_signatures_of_another_width_are_refused(tmp_path):
    import keras

    a, b = keras.Input((2,)), keras.Input((2,))
    two = keras.Model([a, b], keras.layers.Dense(1)(keras.layers.concatenate([a, b])))
    unbuilt = keras.Sequential([keras.layers.Dense(1)])
    with pytest.raises(ArtifactError, match="2 inputs"):
        export_model(two, tmp_path / "m")
    with pytest.raises(ArtifactError, match="has not been built"):
        export_model(unbuilt, tmp_path / "m")
    with pytest.raises(ArtifactError, match="makes rows of 1 numbers, the model takes 3"):
        export_model(build(n=3), tmp_path / "m", Signature((Feature("a"),)))
    with pytest.raises(ArtifactError, match="no format 'pickle'"):
        export_model(build(), tmp_path / "m", formats=("keras", "pickle"))
    broken = build()
    broken.set_weights([np.full(w.shape, np.nan) for w in broken.get_weights()])
    with pytest.raises(ArtifactError, match="not finite"):
        export_model(broken, tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


# ---- whole or not at all ----


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["disk", "stop"])
def test_a_failure_half_way_leaves_the_previous_export_whole(tmp_path, failure):
    import keras

    class Failing(keras.layers.Layer):
        """Lets ONNX be written, and fails when Keras asks it for its configuration then."""

        def call(self, x):
            return x * 2

        def get_config(self):
            written.extend(path.name for path in tmp_path.glob(".m.new-*/*"))
            if written:
                raise failure
            return super().get_config()

    folder, written = tmp_path / "m", []
    export_model(build(), folder, formats=FAST)
    before = contents(folder)
    with pytest.raises((ArtifactError, KeyboardInterrupt), match="No space left|^$"):
        export_model(build(Failing()), folder, formats=("onnx", "keras"))
    assert "model.onnx" in written  # it was half-way
    assert contents(folder) == before and list(tmp_path.iterdir()) == [folder]


def test_a_model_that_no_format_can_hold_leaves_the_previous_export_whole(tmp_path):
    from keras import layers

    folder = tmp_path / "m"
    export_model(build(), folder, formats=FAST)
    before = contents(folder)
    with pytest.raises(ArtifactError, match="LayerNormalization"):
        export_model(build(layers.LayerNormalization()), folder, formats=("npz",))
    assert contents(folder) == before and list(tmp_path.iterdir()) == [folder]


def test_a_new_export_replaces_the_old_one_as_a_whole(tmp_path):
    folder = tmp_path / "deep" / "m"
    export_model(build(), folder, formats=("keras", *FAST))
    export_model(build(), folder, formats=("npz",))
    assert {path.name for path in folder.iterdir()} == {"card.json", "model.npz"}


def test_a_folder_that_holds_anything_else_is_not_touched(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ArtifactError, match=r"holds other files \(thesis.txt\)"):
        export_model(build(), tmp_path, formats=FAST)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
    with pytest.raises(ArtifactError, match="is a file"):
        export_model(build(), tmp_path / "thesis.txt", formats=FAST)


def test_no_card_and_a_broken_card_are_one_clear_error(tmp_path):
    with pytest.raises(ArtifactError, match="no model in nowhere/"):
        read_card(tmp_path / "nowhere")
    (tmp_path / "card.json").write_text("{")
    with pytest.raises(ArtifactError, match="card.json is damaged"):
        read_card(tmp_path)


# ---- parity ----


@pytest.mark.slow
def test_parity_measures_each_format_in_a_process_of_its_own(exported):
    found = parity(exported)
    assert list(found["format"]) == list(FORMATS)
    assert found["largest_difference"].max() <= 1e-6
    sizes = {name: entry["bytes"] for name, entry in read_card(exported)["files"].items()}
    by_format = dict(zip(found["format"], found["bytes"], strict=True))
    assert by_format["onnx"] == sizes["model.onnx"] and sum(by_format.values()) == sum(sizes.values())
    found = found.set_index("format")
    assert (found[["load_s", "latency_ms", "memory_mb"]] > 0).all(axis=None)
    # what the whole road is for: a runtime of its own needs a fraction of TensorFlow's memory
    assert found["memory_mb"][["onnx", "tflite", "npz"]].max() < found["memory_mb"]["keras"] / 3


def test_parity_needs_a_format_of_keras(tmp_path):
    export_model(build(), tmp_path / "m", formats=FAST)
    with pytest.raises(ArtifactError, match="export 'keras' as well"):
        parity(tmp_path / "m")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bfloat16", "float8"])
def test_numbers_that_no_converter_knows_are_named(kind, tmp_path):
    import keras

    policy = kind if kind == "bfloat16" else None
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, dtype=policy), keras.layers.Dense(1)])
    if kind == "float8":
        model.quantize("float8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        card = export_model(model, tmp_path / "m", formats=("keras", "onnx"))
    assert card["not_exported"]["onnx"]["reason"] == f"it computes in {kind}, which Keras alone does here"


def test_an_operation_that_a_format_does_not_have_is_named(tmp_path):
    import keras

    layers = keras.layers
    first = layers.Resizing(4, 4, antialias=True)
    model = keras.Sequential([keras.Input((8, 8, 3)), first, layers.Flatten(), layers.Dense(1)])
    takes = InputSignature((Array("x", (8, 8, 3)),), outputs=(Output("y", "number"),))
    with pytest.raises(ArtifactError, match="model.tflite: LiteRT has no operation ScaleAndTranslate$"):
        export_model(model, tmp_path / "m", takes, formats=("tflite",))


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root mounts a file system of its own")
def test_a_format_for_which_the_disk_has_no_room_is_not_left_out(trained, exported, tmp_path):
    signature = load_predictor(exported).signature
    small = ["mount", "-t", "tmpfs", "-o", "size=80k", "tmpfs", tmp_path]
    if subprocess.run(small, check=False, capture_output=True).returncode:
        pytest.skip("this system does not let root mount a file system")
    try:
        with pytest.raises(ArtifactError, match="make room"):  # where the smaller one would fit
            export_model(trained, tmp_path / "games", signature=signature, formats=("npz", "saved_model"))
        assert [*tmp_path.iterdir()] == []
    finally:
        subprocess.run(["umount", tmp_path], check=True)
