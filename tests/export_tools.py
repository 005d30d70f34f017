"""Models of somebody, and what becomes of them when they are exported, for the tests of the room `export`."""

import hashlib
import warnings
from pathlib import Path

from helpers.export.own_model import export_file
from helpers.export.predictors import load_predictor


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
