"""A model of today's Keras from the contents of a file: the copy that Keras reads, and what it would leave out.

The file itself is never written to.
"""

from __future__ import annotations

import io
import json
import zipfile
from copy import deepcopy
from pathlib import Path

from helpers.export.keras2_weights import convert_cudnn, reorder, reorder_archive, turn_kernels
from helpers.export.keras_contents import WEIGHTS, Contents, is_new_layout


def copy_for_keras(contents: Contents, tree: dict | None, folder: Path, keep_training: bool) -> Path:
    """The file with `tree` for its own, under the ending that Keras goes by; the weights alone where it is None.

    What Keras reads as it is, is not copied: a large model may have no room for it, as in a container.
    """
    import h5py

    if contents.container == "zip":
        copy = folder / "model.keras"
        with zipfile.ZipFile(contents.path) as source:
            if (
                contents.is_modern
                and contents.path.suffix == copy.suffix
                and (tree is None or tree == json.loads(source.read("config.json")))
            ):
                return contents.path
            with zipfile.ZipFile(copy, "w") as target:
                for name in source.namelist():
                    is_tree = name == "config.json" and tree is not None
                    target.writestr(name, json.dumps(tree) if is_tree else source.read(name))
        return copy
    with h5py.File(contents.path, "r") as source:
        if is_new_layout(source):
            return _new_weights(contents, tree, folder)
        copy = folder / "model.h5"
        with h5py.File(copy, "w", libver="latest") as target:
            source.copy(source.get("model_weights", source), target, "model_weights")
            if keep_training and "optimizer_weights" in source:
                source.copy("optimizer_weights", target)
            convert_cudnn(target["model_weights"])
            target.attrs["keras_version"] = contents.version
            target.attrs["model_config"] = json.dumps(tree)
            if keep_training and contents.training:
                target.attrs["training_config"] = json.dumps(contents.training)
    return copy


def _new_weights(contents: Contents, tree: dict | None, folder: Path) -> Path:
    """The weights that Keras 3 saved: as they are without a tree, else with it as an archive."""
    if tree is None:
        copy = folder / WEIGHTS
        copy.write_bytes(contents.path.read_bytes())
        return copy
    copy = folder / "model.keras"
    with zipfile.ZipFile(copy, "w") as target:
        target.writestr("config.json", json.dumps(tree))
        target.writestr("metadata.json", json.dumps({"keras_version": contents.version}))
        target.write(contents.path, WEIGHTS)
    return copy


def built_anew(tree: dict, copy: Path, custom: dict, allow_code: bool):
    """The model of a repaired tree of Keras 2, its weights in `copy` put into the order of today.

    None where there is more in `copy`, which Keras then reads whole.
    """
    import h5py
    import keras

    bare = deepcopy({key: value for key, value in tree.items() if key != "compile_config"})  # Keras empties it
    with keras.saving.custom_object_scope(custom):
        model = keras.saving.deserialize_keras_object(bare, safe_mode=not allow_code)
    if copy.suffix == ".h5":
        with h5py.File(copy, "r+", libver="latest") as file:
            reorder(file["model_weights"], model, tree)
        model.load_weights(copy)
        return model
    weights = copy.with_name(WEIGHTS)
    with zipfile.ZipFile(copy) as archive:
        names = archive.namelist()
        archive.extract(WEIGHTS, copy.parent)
    with h5py.File(weights, "r+") as file:
        reorder_archive(file, model, tree)
    if model.built and not any(name.startswith("assets/") for name in names):
        model.load_weights(weights)
        return model
    with zipfile.ZipFile(copy) as archive, zipfile.ZipFile(copy.with_suffix(".ordered"), "w") as target:
        for name in names:
            target.writestr(name, weights.read_bytes() if name == WEIGHTS else archive.read(name))
    copy.with_suffix(".ordered").replace(copy)
    return None


def restore_optimizer(model, contents: Contents) -> None:
    """Give the optimizer the state that it was saved with, so that training goes on where it was."""
    import h5py

    if contents.container == "zip":
        with zipfile.ZipFile(contents.path) as archive, h5py.File(io.BytesIO(archive.read(WEIGHTS))) as file:
            saved = file.get("optimizer/vars", {})
            state = [saved[name][()] for name in sorted(saved, key=int)]
    else:
        with h5py.File(contents.path) as file:
            saved = file.get("optimizer_weights")
            state = [saved[name][()] for name in saved.attrs["weight_names"]] if saved else []
    optimizer = model.optimizer
    optimizer.build(model.trainable_variables)
    if [value.shape for value in state] == [tuple(variable.shape) for variable in optimizer.variables]:
        for variable, value in zip(optimizer.variables, state, strict=True):
            variable.assign(value)


def finish(model, contents: Contents) -> None:
    """Have each Normalization divide by the spread that was read, and turn the kernels of Theano.

    Keras 3.15 does so for the layers of a model itself; those of a model inside of an `.h5` go on as if nothing had
    been read, and answer wrongly without a word.
    """
    import keras

    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()
    if contents.backend == "theano":
        turn_kernels(model)
