"""The module with the layers and functions of somebody's own, which Keras needs to read and run their model."""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path

from helpers.export.errors import ArtifactError
from helpers.quiet import keras_alone


def import_layers(module: str, beside: str | Path) -> dict:
    """The classes and functions of a module, by name, made known to Keras; it lies here or in the folder `beside`."""
    with keras_alone():
        import keras

    for folder in (str(Path(beside).resolve()), str(Path.cwd())):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    try:
        loaded = importlib.import_module(module)
    except Exception as error:
        raise ArtifactError(
            f"the module {module} cannot be imported ({type(error).__name__}: {error}): run this in its folder"
        ) from error
    own = {
        name: thing
        for name, thing in vars(loaded).items()
        if (inspect.isclass(thing) or inspect.isfunction(thing)) and thing.__module__ == loaded.__name__
    }
    keras.saving.get_custom_objects().update(own)
    return own
