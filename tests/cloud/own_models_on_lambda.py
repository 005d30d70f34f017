"""A small classifier of pictures, exported, and a picture for it."""

import io
import warnings
from pathlib import Path


def picture_classifier(folder: Path) -> Path:
    """The folder of the export."""
    import keras

    from helpers.export.own_model import export_file

    layers = keras.layers
    inputs = keras.Input((16, 16, 3), name="pixels")
    x = layers.Conv2D(6, 3, activation="relu")(layers.Rescaling(1 / 255)(inputs))
    model = keras.Model(inputs, layers.Dense(3, "softmax")(layers.GlobalAveragePooling2D()(x)))
    model.save(folder / "pictures.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # formats that are left out
        export_file(folder / "pictures.keras", folder / "pictures", classes=("cat", "dog", "owl"))
    return folder / "pictures"


def picture() -> bytes:
    """A PNG of 16 by 16 pixels."""
    import numpy as np
    from PIL import Image

    content = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()
