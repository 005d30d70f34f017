"""The classifier, its AUC metric, and a fit that runs each epoch as one compiled function.

Data comes in as arrays, features (n, d) float32 and labels (n,) of 0 and 1; what goes out is the model that was passed
in, trained, and a `keras.callbacks.History` with loss, auc, val_loss and val_auc for every epoch.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
from keras import layers, ops  # noqa: E402


def build_classifier(n_features: int = 10, standardize: np.ndarray | None = None, seed: int = 0) -> keras.Model:
    """The article's network, compiled: (k, n_features) float32 -> (k, 1) float32, the probability of label 1.

    `standardize`: training features (n, n_features) that a Normalization layer inside the model is adapted on, so that
    the model takes raw values; None where features are 0/1. `seed` fixes initial weights and dropout, so that
    the same call gives the same network.
    """
    model = keras.Sequential([keras.Input((n_features,), name="features")])
    if standardize is not None:
        normalization = layers.Normalization()
        normalization.adapt(np.asarray(standardize, dtype="float32"))
        model.add(normalization)
    for i in range(3):
        glorot = keras.initializers.GlorotUniform(seed=seed * 10 + i)
        model.add(layers.Dense(64, activation="relu", kernel_initializer=glorot))
        if i < 2:
            model.add(layers.Dropout(0.1, seed=seed * 10 + i))
    glorot = keras.initializers.GlorotUniform(seed=seed * 10 + 3)
    model.add(layers.Dense(1, activation="sigmoid", kernel_initializer=glorot))
    model.compile(optimizer="rmsprop", loss="binary_crossentropy", metrics=[auc])
    return model


def auc(y_true, y_pred):
    """Exact ROC AUC of one batch, as a Keras metric function: the share of (positive, negative) pairs in order.

    Ties count half; a batch that holds one label only gives 0.5. Keras averages the result over the batches of
    an epoch, which is not the AUC of the whole data: see notebook 02.
    """
    y_true = ops.reshape(y_true, (-1,)) > 0.5
    y_pred = ops.reshape(y_pred, (-1,))
    positives = ops.sum(ops.cast(y_true, "float32"))
    negatives = ops.sum(ops.cast(~y_true, "float32"))
    # Positives are moved out of the way to infinity: what is counted are the negatives below each score.
    only_negatives = ops.sort(ops.where(y_true, np.inf, y_pred))
    below = ops.searchsorted(only_negatives, y_pred, side="left")
    up_to = ops.searchsorted(only_negatives, y_pred, side="right")
    ordered = ops.sum(ops.where(y_true, ops.cast(below + up_to, "float32") / 2, 0.0))
    return ops.where(positives * negatives > 0, ordered / ops.maximum(positives * negatives, 1.0), 0.5)


def fit(
    model: keras.Model,
    x: np.ndarray,
    y: np.ndarray,
    epochs: int = 100,
    batch_size: int = 100,
    validation_split: float = 0.2,
    seed: int | None = None,
    callbacks=(),
    verbose: int = 1,
) -> keras.callbacks.History:
    """Thin first version: `model.fit` with the same arguments."""
    if seed is not None:
        keras.utils.set_random_seed(seed)
    return model.fit(
        x,
        y,
        epochs=epochs,
        batch_size=batch_size,
        validation_split=validation_split,
        callbacks=list(callbacks),
        verbose=verbose,
    )
