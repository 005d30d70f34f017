"""Keras files of every age predict what they predicted, evaluate and train; anything else is one clear error."""

import io
import json
import logging
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from helpers.export.compiling import compile_arguments
from helpers.export.errors import ArtifactError, NeedsMoreError
from helpers.export.keras2_layers import CONVERSIONS
from helpers.export.keras_contents import contents_of
from helpers.export.keras_rebuilt import copy_for_keras
from helpers.export.legacy import describe_keras_file, load_keras

DATA = Path(__file__).parents[1] / "data" / "old_models"
OLD = sorted(path.name for path in DATA.iterdir() if path.suffix in (".h5", ".keras"))
ANSWERS = {
    name: answers for path in DATA.glob("answers-*.json") for name, answers in json.loads(path.read_text()).items()
}
REFUSED = ["keras-tf-2.21.0-tensorflow-function-without-equivalent.h5"]
ARCHITECTURE = DATA / "keras-2.2.4-architecture.json"
WEIGHTS = DATA / "keras-2.2.4-weights.h5"


def rows(n: int):
    return np.array([[(1 + 37 * i >> j % 10) & 1 for j in range(n)] for i in range(32)], dtype="float32")


ROWS = rows(10)
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
    model.train_on_batch(ROWS, LABELS)
    assert np.abs(predictions(model) - before).max() > 0
    return evaluate(model)


def evaluate(model, y=LABELS) -> dict:
    model.run_eagerly = True  # the same steps, without the second that compiling them takes
    return model.test_on_batch(ROWS, y, return_dict=True)


# ---- files that old versions wrote ----


def test_there_is_a_file_of_every_kind_and_an_answer_to_each():
    assert set(OLD) == set(ANSWERS) and len(OLD) >= 10
    assert max((DATA / name).stat().st_size for name in OLD) < 50_000


def load_old(name: str):
    """The model in a file of tests/data/old_models, with what that kind of file needs beside it."""
    if name == WEIGHTS.name:
        return load_keras(WEIGHTS, architecture=ARCHITECTURE)
    if name == "keras-2.2.4-lambda.h5":
        return load_keras(DATA / name, custom_objects={"lambda_1": lambda x: x * 2.0 - 1.0})
    return load_keras(DATA / name, allow_code="lambda" in name)


def inputs_of(model):
    """What make_old_files.py gave the model that wrote the file: 32 rows, or a batch of a fixed size."""
    batches = []
    for tensor in model.inputs:
        size, *shape = tensor.shape
        batch = rows(int(np.prod(shape)))[: size or 32].reshape(size or 32, *shape)
        batches.append(batch[::-1].copy() if batches else batch)
    return batches if len(batches) > 1 else batches[0]


def outputs_of(model, inputs) -> list:
    outputs = model(inputs, training=False)
    return [np.asarray(output) for output in (outputs if isinstance(outputs, list | tuple) else [outputs])]


def flat(outputs: list):
    return np.concatenate([output.ravel() for output in outputs])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in OLD if name not in REFUSED])
def test_a_file_of_keras_2_predicts_what_it_predicted_then_and_trains_on(name):
    model = load_old(name)
    inputs = inputs_of(model)
    outputs = outputs_of(model, inputs)
    np.testing.assert_allclose(flat(outputs), ANSWERS[name], rtol=1e-6, atol=1e-6)
    assert np.std(flat(outputs)) > 1e-3  # answers that are all alike would prove nothing
    if not model.compiled:
        model.compile("sgd", "mse")
    model.run_eagerly = True
    labels = [np.zeros_like(output) for output in outputs]
    labels = labels if len(labels) > 1 else labels[0]
    before = [weight.copy() for weight in model.get_weights()]
    assert np.isfinite(model.test_on_batch(inputs, labels, return_dict=True)["loss"])
    model.train_on_batch(inputs, labels)
    assert max(np.abs(new - old).max() for new, old in zip(model.get_weights(), before, strict=True)) > 0


@pytest.mark.parametrize(
    ("name", "told"),
    {
        "keras-2.0.5-numbers.h5": ["'ndarray'", "ReLU with a threshold"],
        "keras-2.0.5-wrapped.h5": [
            "inside of another",
            "dtype of an Embedding",
            "'reset_after': it is False",
            "0.2x + 0.5",
        ],
        "keras-2.15.0-open-width.h5": ["(Normalization) was adapted to"],
        "keras-2.15.0-open-width.keras": ["(Normalization) was adapted to"],
        "keras-2.15.0-open-width-inside.h5": ["(Normalization) was adapted to"],
        "keras-2.2.4-cudnn.h5": ["CuDNNLSTM is called LSTM", "CuDNNGRU is called GRU"],
        "keras-2.2.4-encoder-decoder.h5": ["'initial_state'"],
        "keras-2.2.4-two-outputs.h5": ["one list of metrics was for every output"],
        "keras-tf-2.21.0-activations.h5": ["ThresholdedReLU", "may not hold '/'"],
        "keras-tf-2.21.0-attention.h5": ["'key_shape' of MultiHeadAttention is gone"],
        "keras-tf-2.21.0-adapted.keras": [
            "integer_lookup_2 (IntegerLookup) found in data",
            "(vocabulary and idf_weights)",
        ],
        "keras-tf-2.21.0-discretized.h5": ["found in data is put into", "dtype of a Discretization"],
        "keras-tf-2.21.0-fixed-mode.h5": ["batch_normalization_1 (BatchNormalization) is called with training=True"],
        "keras-tf-2.21.0-hard-sigmoid.h5": ["0.2x + 0.5"],
        "keras-tf-2.21.0-hard-sigmoid-convlstm.h5": ["0.2x + 0.5"],
        "keras-tf-2.21.0-hard-sigmoid-recurrent.h5": ["0.2x + 0.5"],
        "keras-tf-2.21.0-locally-connected.h5": ["LocallyConnected1D", "LocallyConnected2D"],
        "keras-tf-2.21.0-lookup.h5": ["'vocabulary_size' of IntegerLookup is gone"],
        "keras-tf-2.21.0-masked-time-major.h5": ["(LSTM) takes time first", "(GRU) takes time first"],
        "keras-tf-2.21.0-step-masks.h5": ["TimeDistributed keeps to itself the masks"],
        "keras-tf-2.21.0-masked-states.h5": ["Rescaling hands a mask on", "(LSTM) would count every step"],
        "keras-tf-2.21.0-pictures.h5": ["'groups' of DepthwiseConv2D is gone", "'rng_type'", "RandomHeight"],
        "keras-tf-2.21.0-random-crop.h5": ["RandomCrop"],
        "keras-tf-2.21.0-tensorflow-functions.h5": ["(TFOpLambda)", "(SlicingOpLambda)"],
        "keras-tf-2.21.0-time-major.h5": ["lstm_1 (LSTM) takes time first"],
        "keras-tf-2.21.0-whole-pictures.h5": ["Resizing rounds"],
        "keras-tf-2.21.0-two-outputs.h5": ["'logcosh' is called 'log_cosh'"],
    }.items(),
)
def test_every_repair_is_listed(name, told):
    repairs = " | ".join(describe_keras_file(DATA / name).repairs)
    for sentence in told:
        assert sentence in repairs


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    ["hard-sigmoid", "time-major", "step-masks", "fixed-mode", "locally-connected", "tensorflow-functions"],
)
def test_a_stand_in_for_what_keras_3_lacks_is_saved_and_read_again(kind, tmp_path):
    model = load_old(f"keras-tf-2.21.0-{kind}.h5")
    inputs = inputs_of(model)
    for suffix in (".keras", ".h5"):
        model.save(tmp_path / f"again{suffix}")
        again = load_keras(tmp_path / f"again{suffix}")
        assert np.array_equal(flat(outputs_of(again, inputs)), flat(outputs_of(model, inputs)))


def test_a_function_with_another_meaning_today_is_ours_where_we_give_it():
    import keras

    name = "keras-tf-2.21.0-hard-sigmoid.h5"
    today = load_keras(DATA / name, custom_objects={"hard_sigmoid": keras.activations.hard_sigmoid})
    assert np.abs(flat(outputs_of(today, inputs_of(today))) - ANSWERS[name]).max() > 1e-3
    assert today.get_layer("hard_sigmoid")  # a layer may be called like the function


def test_a_layer_that_was_called_as_frozen_stays_so_while_the_model_trains():
    model = load_old("keras-tf-2.21.0-fixed-mode.h5")
    model.compile("sgd", "mse")
    moving, frozen = (model.get_layer(f"batch_normalization_{i}").layer.moving_mean for i in (1, 2))
    before = [np.array(mean) for mean in (moving, frozen)]
    model.train_on_batch(ROWS, LABELS)
    assert not np.array_equal(moving, before[0]) and np.array_equal(frozen, before[1])


@pytest.mark.parametrize("version", ["2.2.4", "tf-2.21.0"])
def test_each_of_two_outputs_has_both_metrics(version):
    model = load_old(f"keras-{version}-two-outputs.h5")
    figures = evaluate(model, [np.zeros((32, 1)), np.zeros((32, 2))])
    assert {"left_mae", "left_mse", "right_mae", "right_mse"} <= set(figures)
    assert figures["loss"] == pytest.approx(figures["left_loss"] + 0.5 * figures["right_loss"])
    left, right = outputs_of(model, ROWS)
    assert figures["left_mae"] == pytest.approx(np.abs(left).mean(), rel=1e-5)
    assert figures["right_mse"] == pytest.approx((right**2).mean(), rel=1e-5)


@pytest.mark.parametrize("name", ["logcosh", "kullback_leibler_divergence", "cosine_proximity"])
def test_a_loss_that_was_renamed_has_the_figures_that_it_had(name):
    y, model, notes = LABELS * 0.6 + 0.2, build(), []
    model.compile(**compile_arguments({"optimizer": "sgd", "loss": name, "metrics": [name]}, {}, notes, []))
    p = predictions(model)[:, None]
    then = {  # the formulas of keras.losses in Keras 2.2
        "logcosh": np.log(np.cosh(p - y)),
        "kullback_leibler_divergence": y * np.log(y / p),
        "cosine_proximity": -np.sign(y) * np.sign(p),  # of one number each
    }[name].mean()
    figures = evaluate(model, y)
    assert figures["loss"] == pytest.approx(then, rel=1e-4) and figures[name] == pytest.approx(then, rel=1e-4)
    assert f"'{name}' is called" in notes[0]


def test_the_metric_cosine_similarity_keeps_the_sign_that_the_loss_of_that_name_does_not_have():
    config = {"name": "cosine_similarity", "dtype": "float32", "fn": "cosine_similarity"}
    metric = {"class_name": "MeanMetricWrapper", "config": config}
    arguments = compile_arguments({"optimizer": "sgd", "loss": "mse", "metrics": [metric]}, {}, [], [])
    model = build()
    model.compile(**arguments)
    assert evaluate(model, LABELS + 1)["cosine_similarity"] == pytest.approx(1)


def test_a_call_of_tensorflow_without_an_equivalent_is_named():
    with pytest.raises(ArtifactError) as caught:
        load_keras(DATA / REFUSED[0])
    told = str(caught.value)
    assert "tf.math.lgamma (TFOpLambda)" in told and "architecture=model" in told
    assert "custom_objects" not in told


def test_a_call_of_tensorflow_in_a_way_without_an_equivalent_is_named(tmp_path):
    path = tmp_path / "m.h5"
    shutil.copy(DATA / "keras-tf-2.21.0-tensorflow-functions.h5", path)
    with h5py.File(path, "r+") as file:
        tree = json.loads(file.attrs["model_config"])
        call = next(layer for layer in tree["config"]["layers"] if layer["class_name"] == "TFOpLambda")
        call["inbound_nodes"][0][-1]["novel"] = 1
        file.attrs["model_config"] = json.dumps(tree)
    with pytest.raises(NeedsMoreError, match=r"Keras 3\S* tf.math.multiply calls .* in a way .*'novel'.*write that"):
        load_keras(path)


# ---- functions of Lambda layers ----


def test_the_code_of_another_python_is_named_and_the_function_taken_by_the_name_of_its_layer():
    path = DATA / "keras-2.2.4-lambda.h5"  # of Python 3.7
    assert describe_keras_file(path).code == ("lambda_1 (Lambda)",)
    with pytest.raises(ArtifactError, match=r"another version of Python.*custom_objects=\{'lambda_1': my_function\}"):
        load_keras(path, allow_code=True)
    found = describe_keras_file(path, {"lambda_1": abs})
    assert not found.code and "lambda_1 (Lambda) takes your function" in " ".join(found.repairs)


# ---- weights and their architecture ----


def test_weights_alone_are_named_and_go_with_what_their_model_said_of_itself():
    with pytest.raises(ArtifactError, match=r"weights without a model.*architecture='model.json'"):
        load_keras(WEIGHTS)
    model = load_keras(WEIGHTS, architecture=str(ARCHITECTURE))
    np.testing.assert_allclose(predictions(model), ANSWERS[WEIGHTS.name], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("file", ["weights of Keras 2", "weights of Keras 3", "an archive", "a file of HDF5"])
def test_a_model_that_was_built_takes_the_weights_of_any_file(file, tmp_path):
    source = build()
    source.layers[-1].bias.assign([0.5])
    path = tmp_path / {"an archive": "model.keras", "weights of Keras 3": "new.weights.h5"}.get(file, "model.h5")
    source.save_weights(path) if "weights" in path.name else source.save(path)
    if file == "weights of Keras 2":
        with h5py.File(path) as whole, h5py.File(tmp_path / "old.h5", "w") as part:
            for name in whole["model_weights"]:
                whole.copy(f"model_weights/{name}", part)
            part.attrs.update(whole["model_weights"].attrs)
        path = tmp_path / "old.h5"
    model = build()
    assert load_keras(path, architecture=model) is model
    assert np.array_equal(predictions(model), predictions(source))
    with pytest.raises(ArtifactError, match="do not fit the model given"):
        load_keras(path, architecture=build(units=5))


def test_weights_and_architecture_of_keras_3_go_together(tmp_path):
    model = build()
    model.save_weights(tmp_path / "model.weights.h5")
    (tmp_path / "model.json").write_text(model.to_json())
    loaded = load_keras(tmp_path / "model.weights.h5", architecture=tmp_path / "model.json")
    assert np.array_equal(predictions(loaded), predictions(model))
    for other, says in {"nothing.json": "cannot be read", "model.weights.h5": "is no model"}.items():
        with pytest.raises(ArtifactError, match=says):
            load_keras(tmp_path / "model.weights.h5", architecture=tmp_path / other)


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


@pytest.mark.slow
def test_names_of_layers_and_weights_that_are_in_pieces_are_put_in_order_as_well(tmp_path):
    name = "keras-tf-2.21.0-order-of-weights.h5"
    path = shutil.copy(DATA / name, tmp_path / name)
    with h5py.File(path, "r+") as file:
        groups = [file["model_weights"], *file["model_weights"].values()]
        for group, attribute in zip(groups, ["layer_names", *["weight_names"] * len(groups)], strict=False):
            names = group.attrs.pop(attribute)  # in one piece they must be below 64 kB
            for i, piece in enumerate(np.array_split(names, 3)):
                group.attrs[f"{attribute}{i}"] = piece
    model = load_keras(path)
    np.testing.assert_allclose(flat(outputs_of(model, inputs_of(model))), ANSWERS[name], rtol=1e-6, atol=1e-6)


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


@pytest.mark.parametrize(("suffix", "is_copied"), [(".keras", False), (".h5", True)])
def test_what_keras_reads_as_it_is_needs_no_room_for_a_copy(tmp_path, suffix, is_copied):
    """A container that may write nothing has little."""
    path, room = tmp_path / f"model{suffix}", tmp_path / "room"
    build().save(path)
    room.mkdir()
    contents = contents_of(path)
    copy = copy_for_keras(contents, contents.tree, room, keep_training=False)
    assert (copy != path) == bool(list(room.iterdir())) == is_copied


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


@pytest.mark.parametrize("suffix", [".keras", ".h5", ".weights.h5"])
def test_a_normalization_layer_in_a_model_inside_survives_every_keras_file(suffix, tmp_path):
    """Keras itself reads its weights from an .h5 and goes on without them."""
    import keras

    def model(normalization):
        inner = [keras.Input((10,)), normalization, keras.layers.Dense(4, "relu")]
        return keras.Sequential([keras.Input((10,)), keras.Sequential(inner), keras.layers.Dense(1, "sigmoid")])

    normalization = keras.layers.Normalization()
    normalization.adapt(ROWS * 40 + np.arange(10, dtype="float32"))
    saved, path = model(normalization), tmp_path / f"model{suffix}"
    saved.save_weights(path) if "weights" in suffix else saved.save(path)
    loaded = load_keras(path, architecture=model(keras.layers.Normalization()) if "weights" in suffix else None)
    assert np.array_equal(predictions(loaded, ROWS * 40), predictions(saved, ROWS * 40))


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


def test_a_lambda_for_an_activation_is_code_too_and_is_given_by_the_name_of_its_layer(tmp_path):
    from keras import layers

    model, path = build(layers.Dense(3, activation=lambda x: x * 2.0 - 1.0, name="twice")), tmp_path / "model.keras"
    model.save(path)  # in a form that Keras itself does not read
    assert describe_keras_file(path).code == ("twice (Dense)",)
    with pytest.raises(ArtifactError, match=r"holds Python code .*twice \(Dense\)") as refused:
        load_keras(path)
    assert "yourself, as twice in a module, my_layers.py" in str(refused.value.for_command())
    given = load_keras(path, custom_objects={"twice": lambda x: x * 2.0 - 1.0})
    for loaded in (given, load_keras(path, allow_code=True)):
        assert np.array_equal(predictions(loaded), predictions(model))


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


@pytest.mark.parametrize("kind", ["IntegerLookup", "StringLookup", "TextVectorization"])
def test_an_adapted_layer_whose_vocabulary_is_in_no_h5_is_named_before_it_fails_at_a_request(kind, tmp_path):
    import keras
    from keras import layers

    lookup = getattr(layers, kind)(name="words")
    lookup.adapt([3, 4] if kind == "IntegerLookup" else ["a", "b"])
    inputs = keras.Input((1,), dtype="int64" if kind == "IntegerLookup" else "string")
    keras.Model(inputs, layers.Embedding(9, 2)(lookup(inputs))).save(tmp_path / "model.h5")
    for read in (load_keras, describe_keras_file):
        with pytest.raises(
            ArtifactError, match=rf"words \({kind}\) was adapted .*\(vocabulary\) is not in model.h5: save"
        ):
            read(tmp_path / "model.h5")


def test_an_archive_of_keras_2_that_lost_its_vocabulary_is_named(tmp_path):
    with zipfile.ZipFile(DATA / "keras-tf-2.21.0-adapted.keras") as source:
        members = {name: source.read(name) for name in source.namelist() if not name.startswith("assets/")}
    (tmp_path / "model.keras").write_bytes(zipped(members))
    with pytest.raises(ArtifactError, match=r"\(IntegerLookup\) was adapted to data.*vocabulary=\[\.\.\.\]"):
        load_keras(tmp_path / "model.keras")


def test_weights_of_words_that_were_padded_come_back_from_an_archive_of_keras_3(tmp_path):
    import keras
    from keras import layers

    words = layers.TextVectorization(output_mode="tf_idf", max_tokens=9, pad_to_max_tokens=True)
    words.adapt(["a b", "c", "c a"])
    inputs = keras.Input((1,), dtype="string")
    model = keras.Model(inputs, layers.Dense(1)(words(inputs)))
    model.save(tmp_path / "model.keras")
    texts = np.array([["a b"], ["c c"], ["unseen"]])
    assert np.array_equal(predictions(load_keras(tmp_path / "model.keras"), texts), predictions(model, texts))


def test_counted_words_of_keras_2_have_the_shape_that_they_had():
    import keras

    from helpers.export.keras2_stand_ins import TextVectorization

    layer = {"class_name": "TextVectorization", "config": {"name": "words", "output_mode": "count"}}
    assert CONVERSIONS["TextVectorization"](layer, [])["registered_name"] == "keras2>TextVectorization"
    counted = TextVectorization(vocabulary=["a", "b"], output_mode="count")
    assert counted(keras.Input((1,), dtype="string")).shape == (None, 3)


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


@pytest.mark.parametrize(("backend", "applied"), [("theano", np.convolve), ("tensorflow", np.correlate)])
def test_a_convolution_that_theano_trained_is_applied_from_its_other_end(backend, applied, tmp_path):
    config = {"name": "c", "filters": 1, "kernel_size": [3], "use_bias": False, "batch_input_shape": [None, 6, 1]}
    kernel, row = np.array([1.0, 2.0, 4.0], "float32"), np.arange(6, dtype="float32") ** 2
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["model_config"] = json.dumps(
            {"class_name": "Sequential", "config": [{"class_name": "Conv1D", "config": config}]}
        )
        weights = file.create_group("model_weights")
        for each in (file, weights):
            each.attrs["keras_version"], each.attrs["backend"] = "2.2.4", backend.encode()
        weights.attrs["layer_names"] = [b"c"]
        weights.create_group("c").attrs["weight_names"] = [b"c/kernel:0"]
        weights["c"]["c/kernel:0"] = kernel.reshape(3, 1, 1)
    found = predictions(load_keras(tmp_path / "m.h5"), row.reshape(1, 6, 1))
    assert found.ravel() == pytest.approx(applied(row, kernel, "valid"))
    assert ("Theano" in str(describe_keras_file(tmp_path / "m.h5"))) == (backend == "theano")


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


def zipped(members: dict[str, bytes]) -> bytes:
    with io.BytesIO() as buffer:
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return buffer.getvalue()


def tarred() -> bytes:
    with io.BytesIO() as buffer:
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            archive.add(DATA / "README.md")
        return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "Git LFS pointer.*git lfs pull"),
        (b"\n<!DOCTYPE html>\n<html lang='en'>", "web page"),
        (b'{"class_name": "Sequential"}', "JSON file.*architecture="),
        (b"class_name: Sequential\nconfig: {}\n", "text file; give the file of a model, .keras"),
        (pickle.dumps({"weights": [1.0, 2.0]}), "Python pickle; .* skl2onnx"),
        (pickle.dumps({"model": "joblib.numpy_pickle"}), "joblib"),
        (pickle.dumps(np.float64(1.0), protocol=0), "Python pickle; .* skl2onnx"),
        (zlib.compress(pickle.dumps({"weights": [1.0]}), 3), "joblib packs a Python pickle; .* skl2onnx"),
        (zipped({"m/config.json": b"{}", "m/model.weights.h5": b""}), "folder, m/, .*; zip the files in it alone"),
        (zipped({"archive/data.pkl": b"", "archive/version": b"3"}), "PyTorch file; .* torch.onnx.export"),
        (zipped({"weights.npy": b"\x93NUMPY"}), r"\.npz"),
        (zipped({"models/model.h5": b""}), "models/model.h5 in it; unpack it"),
        (zipped({"model/saved_model.pb": b""}), "SavedModel"),
        (b"\x08\x01\x12\xbc\x04*\x00", r"TensorFlow graph \(\.pb\)"),
        (b"\x1c\x00\x00\x00TFL3\x14\x00", "LiteRT"),
        (b'<?xml version="1.0"?>\n<PMML version="4.4">', "model in PMML; .* onnxmltools"),
        (b'<?xml version="1.0"?>\n' + 3 * b"<!-- by hand -->\n" + b"<PMML>", "model in PMML"),
        (b'<?xml version="1.0"?>\n' + 200 * b"<!-- by hand -->\n" + b"<project>", "XML file"),  # told at once
        (b'<?xml version="1.0"?>\n<net name="n" version="11">', "model of OpenVINO; bring the ONNX file"),
        (b"tree\nversion=v4\nnum_class=1\n", "model of LightGBM; .* onnxmltools"),
        (b"CBM1" + bytes(50), "model of CatBoost; .*onnx"),
        (b"\x18\x00\x00\x00ORTM" + bytes(50), "model in ORT format; bring the ONNX file"),
        (b"\x89PNG\r\n\x1a\n", "picture; give the file of a model"),
        (b"\x1f\x8b\x08\x00", "gzip archive; unpack"),
        (tarred(), "tar archive; unpack"),
        (bytes(5000), "nothing but zeros"),
    ],
)
def test_another_kind_of_file_is_named_as_what_it_is(content, says, tmp_path):
    path = tmp_path / "model.h5"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=f"model.h5 is not a Keras file: it (is|holds) .*{says}"):
        load_keras(path)


def test_a_checkpoint_of_tensorflow_is_named(tmp_path):
    import tensorflow as tf

    tf.train.Checkpoint(model=build()).write(str(tmp_path / "model"))
    for name in ("model.index", "model.data-00000-of-00001"):
        with pytest.raises(ArtifactError, match="TensorFlow checkpoint"):
            load_keras(tmp_path / name)


# ---- files made to break their reader ----


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_device_and_a_pipe_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.h5")
    (tmp_path / "zero.h5").symlink_to("/dev/zero")
    for name in ("pipe.h5", "zero.h5"):
        with pytest.raises(ArtifactError, match="a device or a pipe"):
            load_keras(tmp_path / name)


def test_a_file_that_unpacks_to_far_more_than_itself_is_refused(tmp_path):
    build().save(tmp_path / "model.keras")
    with (
        zipfile.ZipFile(tmp_path / "model.keras") as source,
        zipfile.ZipFile(tmp_path / "bomb.keras", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for name in ("config.json", "metadata.json"):
            bomb.writestr(name, source.read(name))
        with bomb.open("model.weights.h5", "w") as weights:
            for _ in range(300):
                weights.write(bytes(1024**2))
    shutil.copy(DATA / "keras-2.15.0-functional.h5", tmp_path / "bomb.h5")
    with h5py.File(tmp_path / "bomb.h5", "r+") as file:
        file["model_weights"].create_dataset("huge", shape=(10**10,), dtype="float32", chunks=(10**6,))
    for name in ("bomb.keras", "bomb.h5"):
        with pytest.raises(ArtifactError, match=f"{name} is refused.*would unpack to"):
            load_keras(tmp_path / name)


def test_a_description_without_end_or_sense_is_refused(tmp_path):
    archive = {"metadata.json": b'{"keras_version": "3.0.0"}', "model.weights.h5": (DATA / OLD[0]).read_bytes()}
    (tmp_path / "deep.keras").write_bytes(zipped(archive | {"config.json": b"[" * 10**5 + b"]" * 10**5}))
    (tmp_path / "other.keras").write_bytes(zipped(archive | {"config.json": b'{"layers": 3}'}))
    for name, says in {"deep.keras": "nested too deeply", "other.keras": "not that of a model"}.items():
        with pytest.raises(ArtifactError, match=says):
            load_keras(tmp_path / name)


# ---- this machine's settings ----


@pytest.mark.parametrize(
    ("backend", "settings", "says"),
    [
        ("jax", {}, "KERAS_BACKEND=jax"),
        (None, {"backend": "theano"}, '"backend": "theano"'),
        (None, {"floatx": "float16"}, '"floatx": "float16"'),
        (None, {"image_data_format": "channels_first"}, '"image_data_format": "channels_first"'),
    ],
)
def test_settings_under_which_keras_would_compute_otherwise_are_named(backend, settings, says, tmp_path):
    (tmp_path / "keras.json").write_text(json.dumps(settings))
    environment = {key: value for key, value in os.environ.items() if key != "KERAS_BACKEND"}
    environment |= {"KERAS_HOME": str(tmp_path)} | ({"KERAS_BACKEND": backend} if backend else {})
    code = f"from helpers.export.legacy import load_keras; load_keras({str(WEIGHTS)!r})"
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    last = ran.stderr.strip().splitlines()[-1]
    assert last.startswith("helpers.export.errors.ArtifactError: Keras cannot be used as this project needs it")
    assert says in last and "start Python anew" in last
