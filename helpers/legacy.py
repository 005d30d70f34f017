"""Reading Keras files, old and new."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def load_keras(path: str | Path, custom_objects: dict | None = None, compile: bool = True):
    """The Keras model in `path`, a `.keras` or `.h5` file."""
    import keras

    return keras.models.load_model(path, custom_objects=custom_objects, compile=compile)
