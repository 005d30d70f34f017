"""The classifier, the AUC metric, and a fit that does what `model.fit` does, one compiled call for each epoch."""

import json
import runpy

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import roc_auc_score

from helpers import PROJECT
from helpers.data import games, tables
from helpers.data.signature import Feature, Signature
from helpers.model import evaluation, training


@pytest.fixture(scope="module")
def table() -> tuple[np.ndarray, np.ndarray]:
    """530 rows of six 0/1 features and a label: 424 for training, so that the last batch of 100 has 24 rows."""
    random = np.random.default_rng(0)
    x = random.integers(0, 2, (530, 6)).astype("float32")
    y = (x @ [2.0, -1, 1, -2, 1, 0] + random.normal(size=530) > 0.5).astype("float32")
    return x, y


def logistic_regression(optimizer="sgd", loss="binary_crossentropy", **dense) -> keras.Model:
    """One neuron that starts at zero: nothing in its training is random but the order of the rows."""
    layer = keras.layers.Dense(1, activation="sigmoid", kernel_initializer="zeros", **dense)
    model = keras.Sequential([keras.Input((6,)), layer])
    model.compile(optimizer=optimizer, loss=loss)
    return model


# The network and its metric


def test_the_classifier_is_the_network_of_the_article():
    model = training.build_classifier()
    kinds = [(type(layer).__name__, getattr(layer, "units", getattr(layer, "rate", None))) for layer in model.layers]
    assert kinds == [("Dense", 64), ("Dropout", 0.1), ("Dense", 64), ("Dropout", 0.1), ("Dense", 64), ("Dense", 1)]
    activations = [layer.activation.__name__ for layer in model.layers if hasattr(layer, "units")]
    assert activations == ["relu", "relu", "relu", "sigmoid"]
    assert (type(model.optimizer), model.loss) == (keras.optimizers.RMSprop, "binary_crossentropy")
    assert model.count_params() == 10 * 64 + 64 + 2 * (64 * 64 + 64) + 64 + 1


def test_the_same_call_builds_the_same_network_and_another_seed_another():
    first, second, other = (training.build_classifier(3, seed=seed) for seed in (0, 0, 1))
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first.get_weights()[0], other.get_weights()[0])


def test_a_standardized_classifier_takes_raw_values():
    random = np.random.default_rng(0)
    raw = random.normal([1000, 0.001], [200, 0.0001], (500, 2)).astype("float32")
    normalized = training.build_classifier(2, standardize=raw).layers[0](raw)
    np.testing.assert_allclose(np.mean(normalized, axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(np.std(normalized, axis=0), 1, atol=1e-3)


@pytest.mark.parametrize("decimals", [1, 7])
def test_auc_is_exact_with_and_without_ties(decimals):
    random = np.random.default_rng(decimals)
    y = (random.random((3000, 1)) < 0.2).astype("float32")
    score = np.round(random.random((3000, 1)) + 0.3 * y, decimals).astype("float32")
    assert float(training.auc(y, score)) == pytest.approx(roc_auc_score(y, score), abs=1e-6)
    assert float(training.auc(y[:, 0], score[:, 0])) == float(training.auc(y, score))


def test_auc_of_a_batch_with_one_label_knows_nothing():
    assert float(training.auc(np.ones((4, 1)), np.random.random((4, 1)))) == 0.5
    assert float(training.auc(np.zeros((4, 1)), np.random.random((4, 1)))) == 0.5


@pytest.mark.slow
def test_auc_works_as_a_metric_of_model_fit(table):
    history = training.build_classifier(6).fit(*table, epochs=1, validation_split=0.2, verbose=0)
    assert set(history.history) == {"loss", "auc", "val_loss", "val_auc"}
    assert 0.5 < history.history["val_auc"][0] <= 1


def test_numbers_are_standardized_and_columns_of_0_and_1_stay_as_they_are():
    """Also the column of a rare category that is 0 in every training row: its first 1 must not become enormous."""
    random = np.random.default_rng(0)
    x = np.stack([random.normal(500, 20, 300), random.random(300) < 0.3, np.zeros(300), np.full(300, 7.5)], axis=1)
    layer = keras.layers.Normalization(**training.moments(x))
    layer.build((None, 4))
    adapted = keras.layers.Normalization()
    adapted.adapt(x[:, :1].astype("float32"))
    scaled = np.asarray(layer(np.array([[510, 1, 1, 8]], "float32")))
    np.testing.assert_allclose(scaled[0, 0], adapted(np.array([[510]], "float32"))[0, 0], rtol=1e-4)
    np.testing.assert_array_equal(scaled[0, 1:], [1, 1, 8])


# What notebooks 02 and 11 show inline


@pytest.fixture(scope="module")
def inline(table, tmp_path_factory) -> dict:
    """The names that notebooks 02 and 11 define with their own code: build_network, auc, train_epoch and more."""
    module = tmp_path_factory.mktemp("inline") / "cells.py"  # tf.function compiles from a file
    source = {}
    for name in ("11_train-faster", "02_train-with-auc-curves"):
        notebook = json.loads((PROJECT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))
        source |= {cell["id"] if name[:2] == "02" else f"11 {cell['id']}": cell["source"] for cell in notebook["cells"]}
    names = {"keras": keras, "layers": keras.layers, "ops": keras.ops, "np": np, "tf": tf}
    names |= {"x": table[0], "y": table[1], "n": 424, "training": training, "batch_size": 100}
    names |= {"signature": Signature(tuple(Feature(f"x{i}") for i in range(6)))}
    loop = ("build", "masked-model", "draw-masks", "train-step", "train-full-batches", "train-epoch")
    cells = ["network", "auc", *(f"11 {cell}" for cell in loop)]
    module.write_text("\n\n".join("".join(source[cell]) for cell in cells), encoding="utf-8")
    return runpy.run_path(str(module), init_globals=names)


def test_the_network_shown_inline_is_the_one_of_the_helper(inline, monkeypatch):
    shown, helper = inline["build_network"](), training.build_classifier(6)
    differs = ("name", "seed", "kernel_initializer", "dtype")

    def described(model):
        configs = [(type(layer).__name__, layer.get_config()) for layer in model.layers]
        return [(kind, {k: v for k, v in config.items() if k not in differs}) for kind, config in configs]

    assert described(shown) == described(helper)
    numbers = Signature(tuple(Feature(f"x{i}", "real", -9, 9) for i in range(6)))
    monkeypatch.setitem(inline["build_network"].__globals__, "signature", numbers)
    shown, helper = inline["build_network"](), training.build_classifier(6, standardize=inline["x"])
    assert [type(layer) for layer in shown.layers] == [type(layer) for layer in helper.layers]
    np.testing.assert_array_equal(shown.layers[0](inline["x"]), helper.layers[0](inline["x"]))


def test_the_auc_shown_inline_gives_the_helpers_answers(inline, table):
    y = table[1][:, None]
    for seed in range(3):
        score = np.random.default_rng(seed).random(y.shape).round(seed + 1).astype("float32")
        assert float(inline["auc"](y, score)) == float(training.auc(y, score))
    assert float(inline["auc"](y * 0, y)) == 0.5


@pytest.mark.slow
def test_the_epoch_shown_inline_gives_the_helpers_answers(inline, table):
    x, y = table
    shown = inline["model"]
    helper = training.build_classifier(6)
    helper.set_weights(shown.get_weights())
    masked_model, draw_masks = training.masks_as_inputs(helper, x[:424])
    epoch = training.compile_epoch(helper, masked_model, x[:424], y[:424, None], batch_size=100)
    for seed in range(3):
        random = np.random.default_rng(seed)
        order, masks = random.permutation(424), draw_masks(random)
        (loss, score), (its_loss, its_score) = inline["train_epoch"](order, masks), epoch(order, masks)
        np.testing.assert_allclose(loss, its_loss, rtol=1e-6)
        np.testing.assert_allclose(score, its_score, rtol=1e-5)
        areas = [training.auc(y[:424][order, None], each) for each in (score, its_score)]
        np.testing.assert_allclose(*areas, rtol=1e-6)
    for mine, its in zip(shown.get_weights(), helper.get_weights(), strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-5, atol=1e-7)


# What fit computes


@pytest.fixture(params=["with XLA", "without XLA"])
def both_ways(request, monkeypatch):
    """Few batches go without XLA, which each of these tests is to hold for as well."""
    monkeypatch.setattr(training, "_BATCHES_THAT_PAY", 0 if request.param == "with XLA" else np.inf)


@pytest.mark.slow
@pytest.mark.parametrize(
    "compiled",
    [
        {"optimizer": "rmsprop"},
        {"optimizer": keras.optimizers.Adam, "loss": "mean_squared_error"},
        {"optimizer": lambda: keras.optimizers.AdamW(use_ema=True, clipnorm=0.1)},
        {"optimizer": lambda: keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.5, 10, 0.9))},
        {"optimizer": lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1))},
        {"loss": keras.losses.BinaryFocalCrossentropy, "kernel_regularizer": "l2", "activity_regularizer": "l1"},
    ],
    ids=["rmsprop", "adam-mse", "adamw-ema-clipped", "decaying-sgd", "scaled-loss", "focal-regularized"],
)
def test_fit_computes_what_model_fit_computes(table, compiled, both_ways):
    """With the order of the rows taken out (one batch of all of them) both end at the same weights and losses."""
    x, y = table
    made = [{name: value() if callable(value) else value for name, value in compiled.items()} for _ in range(2)]
    ours, keras_own = (logistic_regression(**options) for options in made)
    mine = training.fit(ours, x, y, epochs=12, batch_size=424, validation_split=0.2, verbose=0).history
    reference = keras_own.fit(x, y, epochs=12, batch_size=424, validation_split=0.2, verbose=0).history
    for a, b in zip(ours.get_weights(), keras_own.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(mine["loss"], reference["loss"], rtol=1e-4)
    np.testing.assert_allclose(mine["val_loss"], reference["val_loss"], rtol=1e-4)


def test_each_epoch_takes_every_row_once_the_last_smaller_batch_included(table, both_ways):
    """A model that counts: the number of steps, and the rows, that it was trained on."""
    x, y = table
    counter = CountRows()
    model = keras.Sequential([keras.Input((6,)), counter, keras.layers.Dense(1, activation="sigmoid")])
    model.compile("sgd", "binary_crossentropy")
    training.fit(model, x, y, epochs=3, batch_size=100, validation_split=0.2, verbose=0)
    assert int(model.optimizer.iterations) == 3 * 5
    np.testing.assert_array_equal(counter.total.numpy(), 3 * x[:424].sum(axis=0))


class CountRows(keras.layers.Layer):
    """Passes its input on and adds up the rows that it sees in training."""

    def build(self, shape):
        self.total = self.add_weight(shape=(shape[-1],), initializer="zeros", trainable=False)

    def call(self, x, training=False):
        if training:
            self.total.assign_add(keras.ops.sum(x, axis=0))
        return x


@pytest.mark.slow
def test_the_rows_come_in_another_order_in_each_epoch_and_with_each_seed(table):
    x, y = table
    recorder = Record(steps=20, width=6)
    model = keras.Sequential([keras.Input((6,)), recorder, keras.layers.Dense(1, activation="sigmoid")])
    model.compile("sgd", "binary_crossentropy")
    training.fit(model, x[:10], y[:10], epochs=2, batch_size=1, validation_split=0, seed=0, verbose=0)
    first, second = recorder.seen.numpy().reshape(2, 10, 6).tolist()
    assert first != second
    assert sorted(first) == sorted(second) == sorted(x[:10].tolist())
    recorder.step.assign(0)
    recorder.seen.assign(np.zeros((20, 6)))
    training.fit(model, x[:10], y[:10], epochs=1, batch_size=1, validation_split=0, seed=1, verbose=0)
    assert recorder.seen.numpy()[:10].tolist() != first


@pytest.mark.slow
def test_auc_is_over_the_whole_epoch_and_val_auc_over_all_held_out_rows(table):
    y = table[1]
    x = np.random.default_rng(1).normal(size=(530, 6)).astype("float32")  # no ties
    model = logistic_regression()
    history = training.fit(model, x, y, epochs=4, validation_split=0.2, verbose=0).history
    held_out = evaluation.roc_auc(y[424:], model.predict(x[424:], verbose=0))
    assert history["val_auc"][-1] == pytest.approx(held_out, abs=5e-4)  # rounding ties or swaps a close pair
    # With a learning rate of 0 the training AUC is that of one model, whatever the batches.
    model.optimizer.learning_rate = 0.0
    history = training.fit(model, x, y, epochs=2, batch_size=7, validation_split=0.2, verbose=0).history
    on_training_rows = evaluation.roc_auc(y[:424], model.predict(x[:424], verbose=0))
    assert history["auc"] == pytest.approx([on_training_rows] * 2, abs=1e-4)  # rounding swaps a few close pairs


@pytest.mark.slow
@pytest.mark.parametrize("drawn_by", ["fit", "the layer", "the layer, for its mask is too large"])
def test_dropout_draws_a_fresh_mask_at_every_step_of_the_compiled_loop(drawn_by, both_ways, monkeypatch, rate=0.3):
    """The model records its mask: 20 steps and 3 epochs on the same row of ones must show 60 different ones."""
    recorder = Record(steps=60, width=64)
    chain = [keras.Input((64,)), keras.layers.Dropout(rate, seed=1), recorder, keras.layers.Dense(1)]
    model = keras.Sequential(chain)
    if drawn_by == "the layer":  # fit leaves a functional model as it is
        model = keras.Model(model.inputs, model.outputs)
    if drawn_by == "the layer, for its mask is too large":
        monkeypatch.setattr(training, "_MOST_MASK_VALUES", 20 * 64 - 1)
    assert len(training.masks_as_inputs(model, np.ones((20, 64)))[0].inputs) == (2 if drawn_by == "fit" else 1)
    model.compile("sgd", "mse")
    x, y = np.ones((20, 64), "float32"), np.tile([0.0, 1.0], 10)
    training.fit(model, x, y, epochs=3, batch_size=1, validation_split=0.0, seed=0, verbose=0)
    seen = recorder.seen.numpy()
    assert len(np.unique(seen, axis=0)) == 60
    assert (seen == 0).mean() == pytest.approx(rate, abs=0.04)
    np.testing.assert_allclose(seen[seen > 0], 1 / (1 - rate), rtol=1e-6)


@pytest.mark.slow
def test_a_layer_that_xla_does_not_know_is_trained_without_it(table, monkeypatch):
    """tf.unique has no fixed output shape, so XLA refuses it; the same network without it learns the same."""

    class Unique(keras.layers.Layer):
        def call(self, x):
            values, indices = tf.unique(tf.reshape(x, (-1,)))
            return tf.reshape(tf.gather(values, indices), tf.shape(x))

    monkeypatch.setattr(training, "_BATCHES_THAT_PAY", 0)
    histories = []
    for first in ([Unique()], []):
        model = keras.Sequential([keras.Input((6,)), *first, *logistic_regression().layers])
        model.compile("sgd", "binary_crossentropy")
        histories.append(training.fit(model, *table, epochs=3, batch_size=100, seed=0, verbose=0).history)
        assert int(model.optimizer.iterations) == 3 * 5
    for name in histories[0]:
        np.testing.assert_allclose(histories[0][name], histories[1][name], rtol=1e-5)


class Record(keras.layers.Layer):
    """Passes its input on and keeps the one row that it sees at each training step."""

    def __init__(self, steps: int, width: int):
        super().__init__()
        self.steps, self.width = steps, width

    def build(self, shape):
        self.seen = self.add_weight(shape=(self.steps, self.width), initializer="zeros", trainable=False)
        self.step = self.add_weight(shape=(), dtype="int32", initializer="zeros", trainable=False)

    def call(self, x, training=False):
        if training:
            here = keras.ops.one_hot(self.step, self.steps)[:, None]
            self.seen.assign_add(here * x[:1])
            self.step.assign_add(1)
        return x


@pytest.mark.slow
def test_the_same_seed_gives_the_same_history(table):
    def history(seed):
        return training.fit(training.build_classifier(6), *table, epochs=3, seed=seed, verbose=0).history

    first = history(5)
    assert first == history(5)
    assert first != history(6)


def test_few_rows_are_trained_in_batches_of_32_wherever_they_are_trained(table):
    """Notebook 02 and the command `train` make the same model of a table: neither says how large a batch is."""
    one, other, large = (
        training.fit(logistic_regression(), *table, epochs=2, seed=0, verbose=0, **size).history
        for size in ({}, {"batch_size": 32}, {"batch_size": 100})
    )
    assert one == other != large


@pytest.mark.slow
def test_training_goes_on_from_the_weights_the_model_has(table):
    model = logistic_regression()
    first, second = (training.fit(model, *table, epochs=5, seed=0, verbose=0).history["loss"] for _ in range(2))
    assert second[0] < min(first)


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1000, 265])
def test_any_batch_size_will_do_and_no_validation_either(table, batch_size):
    history = training.fit(
        logistic_regression(), *table, epochs=2, batch_size=batch_size, validation_split=0, verbose=0
    )
    assert set(history.history) == {"loss", "auc"}


@pytest.mark.slow
def test_the_network_learns_the_sample_as_well_as_with_model_fit():
    sample = tables.load_table(games.SAMPLE)
    x, y, x_test, y_test = (
        array for part in games.split(sample.frame) for array in tables.features_and_label(part, sample.signature())
    )
    ours, keras_own = training.build_classifier(), training.build_classifier()
    training.fit(ours, x, y, epochs=5, seed=0, verbose=0)
    keras_own.fit(x, y, epochs=5, batch_size=100, validation_split=0.2, verbose=0)
    aucs = [
        evaluation.roc_auc(y_test, model.predict(x_test, batch_size=5000, verbose=0)) for model in (ours, keras_own)
    ]
    assert min(aucs) > 0.8
    assert aucs[0] == pytest.approx(aucs[1], abs=0.01)


# Callbacks and progress


class Diary(keras.callbacks.Callback):
    """Writes down what it is told."""

    def __init__(self):
        super().__init__()
        self.entries = []

    def on_train_begin(self, logs=None):
        self.entries.append("train begins")

    def on_epoch_begin(self, epoch, logs=None):
        self.entries.append(f"epoch {epoch} begins")

    def on_epoch_end(self, epoch, logs=None):
        self.entries.append(f"epoch {epoch} ends with {', '.join(sorted(logs))}")

    def on_train_end(self, logs=None):
        self.entries.append("train ends")


def test_callbacks_hear_of_training_and_of_each_epoch(table):
    diary = Diary()
    training.fit(logistic_regression(), *table, epochs=2, callbacks=[diary], verbose=0)
    assert diary.entries == [
        "train begins",
        "epoch 0 begins",
        "epoch 0 ends with auc, loss, val_auc, val_loss",
        "epoch 1 begins",
        "epoch 1 ends with auc, loss, val_auc, val_loss",
        "train ends",
    ]


@pytest.mark.slow
def test_early_stopping_ends_the_training_and_restores_the_best_weights(table):
    x, y = table
    model = logistic_regression(keras.optimizers.SGD(300.0))  # steps so large that the loss soon gets worse
    stopping = keras.callbacks.EarlyStopping(monitor="val_loss", patience=3, restore_best_weights=True)
    history = training.fit(model, x, y, epochs=60, seed=0, callbacks=[stopping], verbose=0).history
    best = int(np.argmin(history["val_loss"]))
    assert len(history["loss"]) == best + 1 + 3 < 60
    assert model.evaluate(x[424:], y[424:], verbose=0) == pytest.approx(history["val_loss"][best], rel=1e-4)


def test_a_training_that_diverges_ends_with_an_auc_that_is_no_number(table):
    model = logistic_regression(keras.optimizers.SGD(float("inf")))
    history = training.fit(model, *table, epochs=3, seed=0, verbose=0).history
    assert np.isnan(history["auc"][-1])
    assert np.isnan(history["val_auc"][-1])


def test_a_callback_may_change_the_learning_rate(table):
    calm = keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 if epoch < 2 else 0.0)
    history = training.fit(logistic_regression(), *table, epochs=4, callbacks=[calm], verbose=0).history
    assert history["val_loss"][0] != history["val_loss"][1] == history["val_loss"][2] == history["val_loss"][3]


@pytest.mark.slow
def test_the_progress_bar_shows_the_running_auc_and_is_quiet_on_request(table, capfd):
    training.fit(logistic_regression(), *table, epochs=2, verbose=0)
    quiet = capfd.readouterr()
    assert (quiet.out, quiet.err) == ("", "")
    history = training.fit(logistic_regression(), *table, epochs=2, verbose=1).history
    shown = capfd.readouterr().err
    assert "2/2" in shown
    assert f"val_auc={history['val_auc'][-1]:.3f}" in shown
    stop = keras.callbacks.EarlyStopping("loss", patience=0, baseline=0.0)  # which no epoch reaches
    training.fit(logistic_regression(), *table, epochs=9, callbacks=[stop], verbose=1)
    assert capfd.readouterr().err.rstrip().rpartition("\r")[2].startswith("Training: 100%")  # of those that it took


@pytest.mark.slow
def test_the_live_figure_is_drawn_while_training_and_once_more_at_the_end(table):
    lengths = []
    live = training.LiveFigure(lambda history: lengths.append(len(history["loss"])) or "figure", seconds=0)
    training.fit(logistic_regression(), *table, epochs=3, callbacks=[live], verbose=0)
    assert lengths == [1, 2, 3, 3]
    lengths.clear()
    rare = training.LiveFigure(lambda history: lengths.append(len(history["loss"])) or "figure", seconds=3600)
    training.fit(logistic_regression(), *table, epochs=3, callbacks=[rare], verbose=0)
    assert lengths == [3]


# What cannot be trained


def test_what_cannot_be_trained_is_refused_in_a_sentence(table):
    x, y = table
    with pytest.raises(ValueError, match="not compiled"):
        training.fit(keras.Sequential([keras.Input((6,)), keras.layers.Dense(1)]), x, y)
    for epochs in (0, -1, 2.5, "100"):
        with pytest.raises(ValueError, match=f"epochs is {epochs!r}: give a whole number"):
            training.fit(logistic_regression(), x, y, epochs)
    with pytest.raises(ValueError, match="530 rows but y has 529"):
        training.fit(logistic_regression(), x, y[1:])
    with pytest.raises(ValueError, match="labels 0 and 1 only"):
        training.fit(logistic_regression(), x, y + 1)
    with pytest.raises(ValueError, match="The 106 validation rows do not hold both labels"):
        training.fit(logistic_regression(), x, np.arange(530) < 300)
    two_outputs = keras.Sequential([keras.Input((6,)), keras.layers.Dense(2)])
    two_outputs.compile("sgd", "mse")
    with pytest.raises(ValueError, match="one output for each row"):
        training.fit(two_outputs, x, y)
