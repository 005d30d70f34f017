"""The classifier, its AUC metric, and a fit that runs each epoch as one compiled function.

Data comes in as arrays, features (n, d) float32 and labels (n,) of 0 and 1; what goes out is the model that was passed
in, trained, and a `keras.callbacks.History` with loss, auc, val_loss and val_auc for every epoch.
"""

import math
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from tqdm.auto import tqdm

from helpers.model.evaluation import roc_auc
from helpers.quiet import keras_alone

with keras_alone():
    import keras
    import tensorflow as tf
    from keras import layers, ops

_FEW_ROWS = 5000  # below these an epoch of batches of 100 has too few steps
_BATCHES_THAT_PAY = 4000  # in all epochs: XLA saves half a millisecond with each, and compiling takes that of so many
_MOST_MASK_VALUES = 2**25  # 32 MB of masks for an epoch


def build_classifier(n_features: int = 10, standardize: np.ndarray | None = None, seed: int = 0) -> keras.Model:
    """The article's network, compiled: (k, n_features) float32 -> (k, 1) float32, the probability of label 1.

    `standardize`: training features (n, n_features) by which a Normalization layer inside the model standardizes, so
    that the model takes raw values; None where all features are 0/1. `seed` fixes the initial weights and the
    dropout: the same call gives the same network.
    """
    seeds = iter(range(1000 * seed, 1000 * seed + 10))

    def dense(units: int, activation: str) -> layers.Dense:
        glorot = keras.initializers.GlorotUniform(seed=next(seeds))  # Keras' default, with a seed of its own
        return layers.Dense(units, activation=activation, kernel_initializer=glorot)

    model = keras.Sequential([keras.Input((n_features,))])
    if standardize is not None:
        model.add(layers.Normalization(**moments(standardize)))
    model.add(dense(64, "relu"))
    model.add(layers.Dropout(0.1, seed=next(seeds)))
    model.add(dense(64, "relu"))
    model.add(layers.Dropout(0.1, seed=next(seeds)))
    model.add(dense(64, "relu"))
    model.add(dense(1, "sigmoid"))
    model.compile(optimizer="rmsprop", loss="binary_crossentropy", metrics=[auc])
    return model


def moments(x: np.ndarray) -> dict[str, np.ndarray]:
    """The mean and variance of each column of x (n, d), for a Normalization layer; 0 and 1 for columns of 0 and 1.

    Those stay as they are: the column of a rare category may be 0 in every training row, and a variance of nearly 0
    would make an enormous number of its first 1. So would that of a column which is constant in these rows.
    """
    x = np.asarray(x, dtype="float64")
    mean, variance = x.mean(axis=0), x.var(axis=0)
    plain = np.isin(x, (0, 1)).all(axis=0) | (variance == 0)
    return {
        "mean": np.where(plain, 0, mean).astype("float32"),
        "variance": np.where(plain, 1, variance).astype("float32"),
    }


def auc(y_true, y_pred):
    """Exact ROC AUC as a Keras metric function: the share of (positive, negative) pairs that y_pred puts in order.

    Labels and predictions (k, 1) or (k,), a scalar float32 out. Ties count half; 0.5 where only one label occurs.
    As a metric of `model.fit` it is computed for every batch, and Keras shows the mean over batches.
    """
    positive = ops.reshape(y_true, (-1,)) > 0.5
    score = ops.cast(ops.reshape(y_pred, (-1,)), "float32")
    n_positive = ops.sum(ops.cast(positive, "float32"))
    n_negative = ops.sum(ops.cast(~positive, "float32"))
    negatives = ops.sort(ops.where(positive, np.inf, score))  # positives go to the end, beyond every score
    lower = ops.searchsorted(negatives, score, side="left")
    lower_or_equal = ops.searchsorted(negatives, score, side="right")
    wins = ops.cast(lower + lower_or_equal, "float32") / 2
    pairs = n_positive * n_negative
    return ops.where(pairs > 0, ops.sum(ops.where(positive, wins, 0.0)) / ops.maximum(pairs, 1.0), 0.5)


def fit(
    model: keras.Model,
    x: np.ndarray,
    y: np.ndarray,
    epochs: int = 100,
    batch_size: int | None = None,
    validation_split: float = 0.2,
    seed: int | None = None,
    callbacks: Iterable[keras.callbacks.Callback] = (),
    verbose: int = 1,
) -> keras.callbacks.History:
    """Train a compiled binary classifier as `model.fit` does, several times as fast: one compiled call for each epoch.

    x (n, d) float32 and y (n,) of 0 and 1; the last `validation_split` of the rows is held out, as in Keras.
    `batch_size` is 100 where none is given, or 32 below 5,000 rows, so that an epoch has steps enough. The
    optimizer and the loss are the model's own. `seed` fixes the order of the rows and the dropout masks; the model's
    weights are taken as they are. `verbose=0` hides the progress bar. Returns a History with, for each epoch,

    - loss, auc: over the predictions made while training (dropout on, weights moving), those that `model.fit` streams
      into its metrics; here the AUC is exact, over the whole epoch
    - val_loss, val_auc: over the held-out rows after the epoch (dropout off, weights still), exact as well

    An AUC is NaN where the training has diverged to predictions that are not finite.

    Callbacks hear the beginning and the end of training and of each epoch, not the batches. Other metrics that the
    model was compiled with are left to `model.evaluate`. A few batches are trained without XLA, which compiles for
    longer than it then saves. Raises ValueError if the model is not compiled, does not end in one output, if there is
    no epoch to train, or if either part of the rows lacks one of the labels.
    """
    if not model.compiled:
        raise ValueError("The model is not compiled: call model.compile(optimizer, loss) before fit.")
    x, y = np.asarray(x, dtype="float32"), np.asarray(y, dtype="float32").reshape(-1, 1)
    if not isinstance(epochs, int | np.integer) or epochs < 1:
        raise ValueError(f"epochs is {epochs!r}: give a whole number of them, 1 or more")
    batch_size = batch_size or (100 if len(x) >= _FEW_ROWS else 32)
    n = int(len(x) * (1 - validation_split))  # as Keras splits: the last rows, before any shuffling
    _check_rows(x, y, n)
    if model(x[:1]).shape != (1, 1):  # the call also builds a model that has not seen data yet
        raise ValueError(
            f"fit needs a model with one output for each row; {model.name!r} gives {model(x[:1]).shape[1:]}."
        )
    random = np.random.default_rng(seed)
    _seed_layers(model, random)

    masked_model, draw_masks = masks_as_inputs(model, x[:n])
    validate = _compile_validation(model, x[n:], y[n:])
    make_epoch = partial(compile_epoch, model, masked_model, x[:n], y[:n], batch_size)
    pays = epochs * math.ceil(n / batch_size) >= _BATCHES_THAT_PAY
    train_epoch = _with_xla_where_it_can(make_epoch) if pays else make_epoch(jit_compile=False)

    def draw() -> tuple[np.ndarray, list[np.ndarray]]:
        return random.permutation(n), draw_masks(random)

    def run_epoch(order: np.ndarray, masks: list[np.ndarray]) -> dict[str, float]:
        loss, y_pred = train_epoch(order, masks)
        area = other_core.submit(_exact_auc, y[order], y_pred.numpy())
        validated = {}
        if n < len(x):
            val_loss, y_pred = validate()
            validated = {"val_loss": float(val_loss), "val_auc": _exact_auc(y[n:], y_pred.numpy())}
        return {"loss": float(loss), "auc": area.result(), **validated}

    history = keras.callbacks.History()
    callback_list = keras.callbacks.CallbackList([*callbacks, history], model=model, epochs=epochs, verbose=0)
    model.stop_training = False
    callback_list.on_train_begin()
    logs = {}
    bar = tqdm(total=epochs, desc="Training", unit="epoch", disable=not verbose)
    with bar, ThreadPoolExecutor(max_workers=1) as other_core:  # draws for the next epoch, and sorts for the AUC
        drawn = other_core.submit(draw)
        for epoch in range(epochs):
            callback_list.on_epoch_begin(epoch)
            order, masks = drawn.result()
            drawn = other_core.submit(draw)
            logs = run_epoch(order, masks)
            bar.set_postfix({name: f"{value:.3f}" for name, value in logs.items() if name.endswith("auc")})
            bar.update()
            callback_list.on_epoch_end(epoch, logs)
            if model.stop_training:
                bar.total = bar.n  # all that were needed: it looked interrupted
                bar.refresh()
                break
    model.optimizer.finalize_variable_values(model.trainable_variables)  # for optimizers that average the weights
    callback_list.on_train_end(logs)
    return history


def early_stopping(patience: int) -> keras.callbacks.EarlyStopping:
    """Ends a training when the validation loss was no better for `patience` epochs, and takes the best weights back."""
    return keras.callbacks.EarlyStopping(monitor="val_loss", patience=patience, restore_best_weights=True)


def masks_as_inputs(model: keras.Model, x: np.ndarray) -> tuple[keras.Model, Callable]:
    """The layers of a model, wired so that its dropout masks come in as inputs; and a function that draws the masks.

    The wired model takes [x_batch, *masks] and shares all weights with `model`. draw(random: np.random.Generator)
    returns one bool array (n, ...) for each dropout layer, for all n rows of x, True where a value is kept. Drawn
    inside the training loop they take as long as all of its arithmetic; NumPy draws those of an epoch in a sixth of
    that. Dropout right inside a Sequential is replaced, up to _MOST_MASK_VALUES; any other layer draws for itself.
    """
    inputs = hidden = keras.Input(x.shape[1:])
    masks, rates = [], []
    for layer in model.layers if isinstance(model, keras.Sequential) else [model]:
        if _has_plain_mask(layer) and len(x) * math.prod(hidden.shape[1:]) <= _MOST_MASK_VALUES:
            masks.append(keras.Input(hidden.shape[1:], dtype="bool"))
            rates.append(layer.rate)
            hidden = ops.where(masks[-1], hidden / (1 - layer.rate), 0.0)
        else:
            hidden = layer(hidden)
    shapes = [(len(x), *mask.shape[1:]) for mask in masks]

    def draw(random: np.random.Generator) -> list[np.ndarray]:
        # 16 random bits for each value: half the time of a float, and the rate is met to one in 100,000.
        drawn = [random.integers(0, 2**16, shape, dtype="uint16") for shape in shapes]
        return [bits >= round(2**16 * rate) for bits, rate in zip(drawn, rates, strict=True)]

    return keras.Model([inputs, *masks], hidden), draw


def _has_plain_mask(layer: keras.Layer) -> bool:
    return type(layer) is layers.Dropout and 0 < layer.rate < 1 and layer.noise_shape is None


def compile_epoch(
    model: keras.Model, masked_model: keras.Model, x, y, batch_size: int, jit_compile: bool = True
) -> Callable:
    """An epoch as one compiled function: (order, masks) -> the mean loss, a scalar, and n predictions (n, 1).

    `order`: the rows (n,) int as they are to come; `masks`: as drawn for `masked_model`, see masks_as_inputs. Each call
    takes all rows in batches, of which the last may be smaller, and updates the model after each. The predictions, made
    on the way, come in that order. The loop is compiled by XLA unless `jit_compile` is False. Notebook 11 goes through
    it line by line.
    """
    x, y = tf.constant(x), tf.constant(y)
    n, steps = len(x), len(x) // batch_size
    full = steps * batch_size
    model.optimizer.build(model.trainable_variables)  # a compiled function may not create variables

    @tf.autograph.experimental.do_not_convert  # nothing in it to convert, and looking for it takes a while
    def train_step(x_batch, y_batch, *masks):
        with tf.GradientTape() as tape:
            y_pred = masked_model([x_batch, *masks], training=True)
            loss = model.compute_loss(x_batch, y_batch, y_pred, training=True)
            scaled_loss = model.optimizer.scale_loss(loss)  # differs from the loss in mixed precision only
        gradients = tape.gradient(scaled_loss, model.trainable_variables)
        model.optimizer.apply(gradients, model.trainable_variables)
        return loss, tf.cast(y_pred, tf.float32)

    @tf.function(jit_compile=jit_compile)
    def train_full_batches(batches):
        total_loss = 0.0
        predictions = tf.TensorArray(tf.float32, size=steps, element_shape=(batch_size, 1))
        for step in tf.range(steps):
            loss, y_pred = train_step(*[part[step] for part in batches])
            total_loss += loss * batch_size
            predictions = predictions.write(step, y_pred)
        return total_loss, tf.reshape(predictions.stack(), (full, 1))

    @tf.function(autograph=False)
    def train_epoch(order, masks):
        # All rows are put in order at once: then the loop runs over batches of one fixed shape, as XLA wants it.
        epoch = [tf.gather(x, order), tf.gather(y, order), *masks]
        batches = [tf.reshape(part[:full], (steps, batch_size, *part.shape[1:])) for part in epoch]
        total_loss, y_pred = train_full_batches(batches)
        if full < n:
            loss, last = train_step(*[part[full:] for part in epoch])
            total_loss += loss * (n - full)
            y_pred = tf.concat([y_pred, last], axis=0)
        return total_loss / n, y_pred

    return train_epoch


def _with_xla_where_it_can(compile_with: Callable) -> Callable:
    """compile_with(jit_compile=True), or False where the first call shows that XLA does not know an operation.

    Nothing is trained twice: XLA compiles the whole loop before the first weight moves.
    """
    compiled, called = compile_with(jit_compile=True), False

    def call(*args):
        nonlocal compiled, called
        try:
            return compiled(*args)
        except tf.errors.OpError:
            if called:
                raise
            compiled = compile_with(jit_compile=False)
            return compiled(*args)
        finally:
            called = True

    return call


def _compile_validation(model: keras.Model, x, y) -> Callable:
    """A compiled function of nothing -> loss, a scalar, and predictions (k, 1) for these rows, with dropout off."""
    x, y = tf.constant(x), tf.constant(y)

    @tf.function(autograph=False)
    def validate():
        y_pred = model(x, training=False)
        return model.compute_loss(x, y, y_pred, training=False), tf.cast(y_pred, tf.float32)

    return validate


def _exact_auc(y: np.ndarray, y_pred: np.ndarray) -> float:
    """By NumPy, which sorts predictions in a fraction of TensorFlow's time; NaN where some are not finite."""
    return roc_auc(y, y_pred) if np.isfinite(y_pred).all() else math.nan


def _check_rows(x: np.ndarray, y: np.ndarray, n: int) -> None:
    """Raise ValueError unless x and y belong together and an AUC exists for the first n rows and for the rest."""
    if len(x) != len(y):
        raise ValueError(f"x has {len(x)} rows but y has {len(y)}: pass one label for each row.")
    if not np.isin(y, (0, 1)).all():
        raise ValueError("y must hold the labels 0 and 1 only.")
    for part, rows in ("training", y[:n]), ("validation", y[n:]):
        if len(np.unique(rows)) < 2 and (part == "training" or len(rows)):
            raise ValueError(
                f"The {len(rows)} {part} rows do not hold both labels, so they have no AUC: shuffle the table, or "
                "change validation_split, which holds out the last rows."
            )


def _seed_layers(model: keras.Model, random: np.random.Generator) -> None:
    """Start the random stream of every layer that draws for itself anew, so that all follows from the seed of fit."""
    for variable in model.variables:
        if variable.name == "seed_generator_state":  # (seed, count of draws so far), one for each such layer
            variable.assign([random.integers(2**31), 0])


class LiveFigure(keras.callbacks.Callback):
    """A figure in the notebook that follows the training: redrawn at most every `seconds`, complete at the end.

    `draw` makes the figure from the history so far, a dict of lists such as {"loss": [...], "val_loss": [...]}.
    """

    def __init__(self, draw: Callable, seconds: float = 1.0):
        super().__init__()
        self.draw, self.seconds = draw, seconds

    def on_train_begin(self, logs=None):
        self.history, self.display, self.drawn_at = {}, None, time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)
        if time.monotonic() - self.drawn_at >= self.seconds:
            self._show()

    def on_train_end(self, logs=None):
        if self.history:
            self._show()

    def _show(self):
        from IPython.display import display  # here, as nothing else in this module needs a notebook

        figure = self.draw(self.history)
        if self.display is None:
            self.display = display(figure, display_id=True)
        else:
            self.display.update(figure)
        self.drawn_at = time.monotonic()
