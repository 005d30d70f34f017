"""Write model files with an old Keras, and what that Keras answered: run it with the Python of an old TensorFlow.

    python make_old_files.py FOLDER

Each file holds a small network that was trained for one epoch on random rows. `answers-<version>.json` holds, for every
file, what the model that wrote it predicted for the 32 rows of `rows(n)`: the reference that a reader must reproduce.
"""

import json
import os
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf

try:  # Keras 2 beside a TensorFlow that has moved on to Keras 3
    import tf_keras as keras

    VERSION = "tf-" + keras.__version__
except ImportError:
    from keras import __version__ as VERSION

    keras = tf.keras

layers = keras.layers


def rows(n: int = 10) -> np.ndarray:
    """32 rows of 0 and 1, the same in every version of NumPy: the bits of 1, 38, 75, ..."""
    return np.array([[(1 + 37 * i >> j % 10) & 1 for j in range(n)] for i in range(32)], dtype="float32")


def auc(y_true, y_pred):
    """A metric function with the name of the article's: the share of rows on the right side of one half."""
    return tf.reduce_mean(tf.cast(tf.equal(y_true > 0.5, y_pred > 0.5), "float32"))


def sequential(*head):
    return keras.Sequential(
        [
            *head,
            layers.Dense(8, activation="relu", input_shape=(10,)),
            layers.Dropout(0.1),
            layers.Dense(8, activation="relu"),
            layers.Dense(1, activation="sigmoid"),
        ]
    )


def functional():
    """What Keras 3 renamed: LeakyReLU's alpha, arguments of BatchNormalization; and a learning-rate schedule."""
    inputs = keras.Input((10,))
    x = layers.Dense(8, kernel_initializer="he_normal")(inputs)
    x = layers.BatchNormalization()(x)
    x = layers.LeakyReLU(alpha=0.2)(x)
    x = layers.concatenate([x, inputs])
    x = layers.Dense(4, kernel_regularizer=keras.regularizers.l2(0.01))(x)
    x = layers.ReLU(max_value=6.0)(x)
    outputs = layers.Dense(1, activation="sigmoid")(x)
    return keras.Model(inputs, outputs)


def standardized():
    normalization = layers.Normalization(input_shape=(10,))
    normalization.adapt(rows() * 40 + 7)
    return sequential(normalization)


def trained(model, **compile_arguments):
    model.compile(**compile_arguments)
    x = np.tile(rows(), (4, 1))
    y = (x[:, :3].sum(1) > 1).astype("float32")[:, None]
    model.fit(x, y, epochs=1, batch_size=32, verbose=0)
    return model


def models():
    plain = {"optimizer": "rmsprop", "loss": "binary_crossentropy"}
    yield "custom-auc.h5", trained(sequential(), **plain, metrics=[auc])
    yield "uncompiled.h5", sequential()
    yield (
        "objects.h5",
        trained(
            sequential(),
            optimizer=keras.optimizers.Adam(0.002),
            loss=keras.losses.BinaryCrossentropy(label_smoothing=0.1),
            metrics=[keras.metrics.AUC(name="auc"), "accuracy"],
        ),
    )
    schedule = keras.optimizers.schedules.ExponentialDecay(0.01, 10, 0.9)
    sgd = keras.optimizers.SGD(schedule, momentum=0.9, nesterov=True)
    yield "functional.h5", trained(functional(), optimizer=sgd, loss="mse", metrics=["mae"])
    yield "standardized.h5", trained(standardized(), **plain, metrics=["AUC"])
    yield "lambda.h5", sequential(layers.Lambda(lambda x: x * 2.0 - 1.0, input_shape=(10,)))
    yield "archive.keras", trained(sequential(), **plain, metrics=[auc])


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    answers = {}
    for kind, model in models():
        name = f"keras-{VERSION}-{kind}"
        model.save(folder / name)
        answers[name] = [float(p) for p in model(rows(), training=False).numpy().ravel()]
    (folder / f"answers-{VERSION}.json").write_text(json.dumps(answers, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
