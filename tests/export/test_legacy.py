"""Keras files of every age predict what they predicted, evaluate and train; anything else is one clear error."""

import json
import logging
import shutil
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from helpers.export.errors import ArtifactError
from helpers.export.legacy import describe_keras_file, load_keras

DATA = Path(__file__).parents[1] / "data" / "old_models"
OLD = sorted(path.name for path in DATA.iterdir() if path.suffix in (".h5", ".keras"))
ANSWERS = {
    name: answers for path in DATA.glob("answers-*.json") for name, answers in json.loads(path.read_text()).items()
}
ROWS = np.array([[(1 + 37 * i >> j % 10) & 1 for j in range(10)] for i in range(32)], dtype="float32")
LABELS = (ROWS[:, :3].sum(1) > 1).astype("float32")[:, None]


def predictions(model, rows=ROWS):
    return np.asarray(model(rows, training=False)).ravel()


def auc(y_true, y_pred):
    """A metric function of our own: not Keras's AUC, and told from it by its answer."""
    from keras import ops

    return ops.mean(y_pred) * 0 + 7.0


def build(*head, units=8):
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((10,)),
            *head,
            layers.Dense(units, activation="relu"),
            layers.Dropout(0.1),
            layers.Dense(1, activation="sigmoid"),
        ]
    )


def trains_and_evaluates(model) -> dict:
    before = predictions(model)
    model.run_eagerly = True
    model.fit(ROWS, LABELS, epochs=1, verbose=0)
    assert np.abs(predictions(model) - before).max() > 0
    return evaluate(model)


def evaluate(model) -> dict:
    model.run_eagerly = True  # the same steps, without the second that compiling them takes
    return model.evaluate(ROWS, LABELS, verbose=0, return_dict=True)


# ---- files that old versions wrote ----


def test_there_is_a_file_of_every_kind_and_an_answer_to_each():
    assert set(OLD) == set(ANSWERS) and len(OLD) >= 10
    assert max((DATA / name).stat().st_size for name in OLD) < 50_000


@pytest.mark.parametrize("name", OLD)
def test_a_file_of_keras_2_predicts_what_it_predicted_then_and_trains_on(name):
    model = load_keras(DATA / name, allow_code="lambda" in name)
    assert np.abs(predictions(model) - ANSWERS[name]).max() <= 1e-6
    assert model.compiled == ("uncompiled" not in name and "lambda" not in name)
    if model.compiled:
        assert np.isfinite(trains_and_evaluates(model)["loss"])


@pytest.mark.parametrize("name", [n for n in OLD if "custom-auc" in n or "archive" in n])
def test_a_custom_metric_of_keras_2_is_ours_where_we_give_it_and_named_where_we_do_not(name, caplog):
    ours = load_keras(DATA / name, custom_objects={"auc": auc})
    assert evaluate(ours)["auc"] == 7.0
    caplog.clear()
    stand_in = load_keras(DATA / name)
    assert 0 <= evaluate(stand_in)["auc"] <= 1
    assert "custom_objects={'auc': auc}" in caplog.text


def test_optimizer_loss_and_metrics_of_keras_2_come_back_as_they_were():
    model = load_keras(DATA / "keras-2.12.0-objects.h5")
    assert model.optimizer.name == "Adam" and float(model.optimizer.learning_rate) == pytest.approx(0.002)
    assert model.loss.label_smoothing == 0.1
    assert set(evaluate(model)) == {"loss", "auc", "accuracy"}
    scheduled = load_keras(DATA / "keras-2.15.0-functional.h5").optimizer
    assert type(scheduled._learning_rate).__name__ == "ExponentialDecay"
    assert (scheduled.momentum, scheduled.nesterov) == (0.9, True)


def test_a_keras_file_is_told_by_its_content_not_by_its_name():
    assert describe_keras_file(DATA / "keras-2.12.0-archive.keras").container == "HDF5"
    assert describe_keras_file(DATA / "keras-2.15.0-archive.keras").container == "zip"


# ---- the layout of 2018, written here with h5py ----


def old_layer(layer, first: bool) -> dict:
    """A layer's config as Keras 2.2 wrote it."""
    initializer = {"scale": 1.0, "mode": "fan_avg", "distribution": "uniform", "seed": None}
    if type(layer).__name__ == "Dropout":
        config = {"rate": layer.rate, "noise_shape": None, "seed": None}
    else:
        initializer["distribution"] = "normal" if first else "uniform"
        config = {
            "units": layer.units,
            "activation": layer.activation.__name__,
            "use_bias": True,
            "kernel_initializer": {"class_name": "VarianceScaling", "config": initializer},
            "bias_initializer": {"class_name": "Zeros", "config": {}},
            **dict.fromkeys(("kernel_regularizer", "bias_regularizer", "activity_regularizer")),
            **dict.fromkeys(("kernel_constraint", "bias_constraint")),
        }
    if first:
        config |= {"batch_input_shape": [None, 10], "dtype": "float32"}
    return {"class_name": type(layer).__name__, "config": {"name": layer.name, "trainable": True, **config}}


def write_2018(model, path: Path, functional=False, compiled=True, decay=0.0, metrics=("auc",)) -> Path:
    """`model` in the file layout of Keras 2.2.2, as the article's author saved it."""
    layers = [old_layer(layer, first=i == 0 and not functional) for i, layer in enumerate(model.layers)]
    config = {"class_name": "Sequential", "config": layers}
    if functional:
        source = {"batch_input_shape": [None, 10], "dtype": "float32", "sparse": False, "name": "input_1"}
        layers.insert(0, {"class_name": "InputLayer", "config": source})
        for before, layer in zip([None, *layers], layers, strict=False):
            layer["name"] = layer["config"]["name"]
            layer["inbound_nodes"] = [[[before["config"]["name"], 0, 0, {}]]] if before else []
        ends = {"input_layers": [["input_1", 0, 0]], "output_layers": [[layers[-1]["name"], 0, 0]]}
        config = {"class_name": "Model", "config": {"name": "model_1", "layers": layers, **ends}}
    optimizer = {"lr": 0.0010000000474974513, "rho": 0.8999999761581421, "decay": decay, "epsilon": 1e-07}
    training = {
        "optimizer_config": {"class_name": "RMSprop", "config": optimizer},
        "loss": "binary_crossentropy",
        "metrics": list(metrics),
        "sample_weight_mode": None,
        "loss_weights": None,
    }
    with h5py.File(path, "w") as file:
        file.attrs.update({"keras_version": b"2.2.2", "backend": b"tensorflow"})
        file.attrs["model_config"] = json.dumps(config).encode()
        if compiled:
            file.attrs["training_config"] = json.dumps(training).encode()
        group = file.create_group("model_weights")
        group.attrs.update({"keras_version": b"2.2.2", "backend": b"tensorflow"})
        group.attrs["layer_names"] = [layer["config"]["name"].encode() for layer in layers]
        for layer in layers:
            name = layer["config"]["name"]
            inner = group.create_group(name)
            weights = model.get_layer(name).get_weights() if layer["class_name"] == "Dense" else []
            names = [f"{name}/{what}:0".encode() for what in ("kernel", "bias")][: len(weights)]
            inner.attrs["weight_names"] = names
            for weight_name, weight in zip(names, weights, strict=True):
                inner[weight_name.decode()] = weight
    return path


@pytest.mark.parametrize("functional", [False, True], ids=["list of layers", "graph of layers"])
@pytest.mark.parametrize("compiled", [False, True], ids=["not compiled", "compiled"])
def test_the_layout_of_2018_predicts_the_same(tmp_path, functional, compiled):
    model = build()
    loaded = load_keras(write_2018(model, tmp_path / "games.h5", functional, compiled))
    assert loaded.input_shape == (None, 10)
    assert np.abs(predictions(loaded) - predictions(model)).max() <= 1e-6
    assert loaded.compiled == compiled
    if compiled:
        assert set(trains_and_evaluates(loaded)) == {"loss", "auc"}


def test_the_layout_of_2018_takes_our_metric_and_keeps_the_optimizer(tmp_path):
    path = write_2018(build(), tmp_path / "games.h5", decay=0.01)
    model = load_keras(path, custom_objects={"auc": auc})
    assert trains_and_evaluates(model)["auc"] == 7.0
    # lr / (1 + decay * steps): what Keras 2.2 did
    rate = load_keras(path).optimizer._learning_rate
    assert float(rate(0)) == pytest.approx(0.001) and float(rate(100)) == pytest.approx(0.0005)


def test_every_repair_of_the_layout_of_2018_is_named_and_logged(tmp_path, caplog):
    path = write_2018(build(), tmp_path / "games.h5", metrics=("auc", "my_metric"))
    found = describe_keras_file(path)
    assert (found.keras_version, found.container, found.model, found.compiled) == ("2.2.2", "HDF5", "Sequential", True)
    told = " | ".join(found.repairs)
    for what in (
        "plain list",
        "batch_input_shape",
        "'lr'",
        "optimizer starts afresh",
        "'auc'",
        "'my_metric'",
        "normal",
    ):
        assert what in told
    caplog.clear()
    load_keras(path)
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * len(found.repairs)
    assert "games.h5 (Keras 2.2.2)" in caplog.text


# ---- files of Keras 3 ----


@pytest.fixture
def saved(tmp_path):
    """A trained model with the metric function `auc`, and a function that saves it as `model.<suffix>`."""
    model = build()
    model.compile("rmsprop", "binary_crossentropy", metrics=[auc])
    model.run_eagerly = True
    model.fit(ROWS, LABELS, epochs=2, verbose=0)
    model.run_eagerly = False

    def save(suffix: str) -> Path:
        path = tmp_path / f"model{suffix}"
        model.save(path)
        return path

    return model, save


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_file_of_keras_3_comes_back_whole(saved, suffix, caplog):
    model, save = saved
    path = save(suffix)
    caplog.clear()
    loaded = load_keras(path, custom_objects={"auc": auc})
    assert (
        not [r for r in caplog.records if r.name == "helpers.export.legacy"]
        and not describe_keras_file(path, {"auc": auc}).repairs
    )
    assert np.array_equal(predictions(loaded), predictions(model))
    assert trains_and_evaluates(loaded)["auc"] == 7.0


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_training_goes_on_with_the_optimizer_where_it_was(saved, suffix):
    model, save = saved
    path = save(suffix)
    for custom_objects in (None, {"auc": auc}):
        optimizer = load_keras(path, custom_objects).optimizer
        assert len(optimizer.variables) == len(model.optimizer.variables) > 4
        for found, expected in zip(optimizer.variables, model.optimizer.variables, strict=True):
            assert np.array_equal(found.numpy(), expected.numpy())


def test_the_silent_trap_is_noticed(saved, caplog):
    """Plain Keras reads a function named `auc` in an .h5 as its own AUC, and says nothing."""
    import keras

    path = saved[1](".h5")
    plain = keras.models.load_model(path)
    assert 7.0 not in evaluate(plain).values()
    assert "saved by name only" in " ".join(describe_keras_file(path).repairs)
    caplog.clear()
    load_keras(path)
    assert "silently takes its place" in caplog.text


def test_a_keras_archive_whose_metric_is_not_given_loads_all_the_same(saved, caplog):
    import keras

    model, save = saved
    path = save(".keras")
    with pytest.raises(TypeError, match="Could not locate function 'auc'"):
        keras.models.load_model(path)
    loaded = load_keras(path)
    assert "'auc' was a function" in caplog.text
    assert np.array_equal(predictions(loaded), predictions(model))
    assert trains_and_evaluates(loaded)["auc"] <= 1


def test_weights_alone_are_enough_to_predict(saved):
    model, save = saved
    loaded = load_keras(save(".keras"), compile=False)
    assert not loaded.compiled and np.array_equal(predictions(loaded), predictions(model))


def test_a_normalization_layer_survives_every_keras_file(tmp_path):
    from keras import layers

    normalization = layers.Normalization()
    normalization.adapt(ROWS * 40 + np.arange(10, dtype="float32"))
    model = build(normalization)
    for suffix in (".keras", ".h5"):
        model.save(tmp_path / f"model{suffix}")
        loaded = load_keras(tmp_path / f"model{suffix}")
        assert np.array_equal(predictions(loaded, ROWS * 40), predictions(model, ROWS * 40))


# ---- what is refused ----


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_python_code_is_refused_unless_asked_for(tmp_path, suffix):
    from keras import layers

    model = build(layers.Lambda(lambda x: x * 2.0 - 1.0, output_shape=(10,)))
    path = tmp_path / f"model{suffix}"
    model.save(path)
    assert len(describe_keras_file(path).code) == 1
    with pytest.raises(ArtifactError, match=r"Python code .*Lambda.* allow_code=True"):
        load_keras(path)
    assert np.array_equal(predictions(load_keras(path, allow_code=True)), predictions(model))


def test_old_python_code_is_refused_too():
    with pytest.raises(ArtifactError, match="allow_code=True"):
        load_keras(DATA / "keras-2.15.0-lambda.h5")


def test_a_layer_of_ones_own_is_asked_for_by_name(tmp_path):
    import keras

    class Doubled(keras.layers.Layer):
        def call(self, x):
            return x * 2

    model = build(Doubled())
    for suffix in (".keras", ".h5"):
        path = tmp_path / f"model{suffix}"
        model.save(path)
        with pytest.raises(ArtifactError, match='custom_objects={"Doubled": Doubled}'):
            load_keras(path)
        loaded = load_keras(path, custom_objects={"Doubled": Doubled})
        assert np.array_equal(predictions(loaded), predictions(model))


def test_an_argument_that_would_change_the_answers_is_not_dropped(tmp_path):
    path = shutil.copy(DATA / "keras-2.15.0-functional.h5", tmp_path / "model.h5")
    with h5py.File(path, "r+") as file:
        config = file.attrs["model_config"]
        file.attrs["model_config"] = config.replace('"momentum": 0.99', '"momentum": 0.99, "virtual_batch_size": 4')
    with pytest.raises(ArtifactError, match=r"BatchNormalization.* no argument 'virtual_batch_size' \(4\)"):
        load_keras(path)


def broken_files(folder: Path) -> dict[str, Path]:
    h5, archive = DATA / "keras-2.15.0-custom-auc.h5", DATA / "keras-2.15.0-archive.keras"
    made = {}
    for name, content in {
        "empty.h5": b"",
        "text.keras": b"<html>404: not found</html>",
        "cut.h5": h5.read_bytes()[:-5000],
        "head.h5": h5.read_bytes()[:200],
        "cut.keras": archive.read_bytes()[:-5000],
    }.items():
        made[name] = folder / name
        made[name].write_bytes(content)
    flipped = bytearray(archive.read_bytes())
    at = flipped.find(b"model.weights.h5") + 3000
    flipped[at : at + 40] = bytes(40 * [255])
    made["flipped.keras"] = folder / "flipped.keras"
    made["flipped.keras"].write_bytes(flipped)
    made["other.keras"] = folder / "other.keras"
    with zipfile.ZipFile(made["other.keras"], "w") as other:
        other.writestr("hello.txt", "hello")
    made["table.h5"] = folder / "table.h5"
    with h5py.File(made["table.h5"], "w") as file:
        file["numbers"] = np.zeros(3)
    made["weights.h5"] = folder / "weights.h5"
    with h5py.File(h5) as source, h5py.File(made["weights.h5"], "w") as file:
        file.attrs["layer_names"] = source["model_weights"].attrs["layer_names"]
    made["folder"] = folder / "folder"
    made["folder"].mkdir()
    made["missing.h5"] = folder / "missing.h5"
    made["keras1.h5"] = shutil.copy(h5, folder / "keras1.h5")
    with h5py.File(made["keras1.h5"], "r+") as file:
        file.attrs["keras_version"] = "1.2.2"
    return made


@pytest.mark.parametrize(
    ("name", "says"),
    {
        "empty.h5": "is empty",
        "text.keras": "not a Keras file",
        "cut.h5": "damaged or cut short",
        "head.h5": "damaged or cut short",
        "cut.keras": "damaged or cut short",
        "flipped.keras": "damaged or cut short",
        "other.keras": "without a model",
        "table.h5": "without a model",
        "weights.h5": "weights without a model",
        "folder": "is a folder",
        "missing.h5": "there is no file",
        "keras1.h5": "only Keras 2 and 3",
    }.items(),
)
def test_what_is_no_keras_file_gets_one_clear_sentence(tmp_path, name, says):
    path = broken_files(tmp_path)[name]
    for read in (load_keras, describe_keras_file):
        with pytest.raises(ArtifactError, match=says) as caught:
            read(path)
        assert name in str(caught.value) and "\n" not in str(caught.value)
