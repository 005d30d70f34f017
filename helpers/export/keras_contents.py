"""A Keras file taken apart into the trees of JSON that it holds; its weights stay where they are.

`contents_of(path)` reads `.keras` and `.h5` of Keras 2 and 3, and weights alone; `read_architecture(path)` what
`model.to_json()` wrote. Either raises `ArtifactError` for what is damaged, or something else.
"""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

from helpers.export import registry
from helpers.export.errors import ArtifactError
from helpers.export.file_kinds import (
    FROM_TREES,
    LOOK,
    archive_size,
    container_of,
    describe_archive,
    refuse_bomb,
    weights_size,
)
from helpers.export.keras2_weights import GROUPS

WEIGHTS = "model.weights.h5"  # in a `.keras` archive
LARGEST_ARCHITECTURE = 2**26  # bytes of model.to_json(); a vocabulary may be in it
NO_ARCHITECTURE = (
    "in JSON that is what model.to_json() wrote, and this is not; give such a file with its weights, or one that holds "
    "both (.keras, .h5, .onnx, .tflite)"
)
FROM_JAVASCRIPT = (
    "save it as Keras's or as a SavedModel where it was made (one made of layers is also converted, by "
    "tensorflowjs_converter --input_format=tfjs_layers_model --output_format=keras)"
)


@dataclass
class Contents:
    """What a Keras file holds.

    container: "HDF5" or "zip". version: of the Keras that wrote it. tree: the model's, None for weights alone.
    training: how it was compiled, None where it was not. backend: on which it was trained, where an HDF5 file tells.
    """

    path: Path
    container: str
    version: str
    tree: dict | None
    training: dict | None
    backend: str = ""

    @property
    def is_modern(self) -> bool:
        """Whether it was written by Keras 3, which reads it as it is."""
        major = self.version.partition(".")[0]
        return major.isdigit() and int(major) >= 3


def contents_of(path: Path) -> Contents:
    container = container_of(path)
    try:
        return (_from_hdf5 if container == "HDF5" else _from_zip)(path)
    except (OSError, EOFError, zipfile.BadZipFile, json.JSONDecodeError, UnicodeDecodeError, KeyError) as error:
        raise ArtifactError(f"{path.name} is damaged or cut short ({error}): get it again") from error


def _from_hdf5(path: Path) -> Contents:
    import h5py

    with h5py.File(path, "r") as file:
        refuse_bomb(path, weights_size(file))
        attributes = {k: v.decode() if isinstance(v, bytes) else v for k, v in file.attrs.items()}
        backend = file.get("model_weights", file).attrs.get("backend", "")
        backend = backend.decode() if isinstance(backend, bytes) else backend
        if "model_config" not in attributes and not _is_weights(file):
            raise ArtifactError(f"{path.name} is not a Keras file: it is an HDF5 file without a model in it")
        if "model_config" in attributes and "model_weights" not in file:
            raise ArtifactError(f"{path.name} is damaged: it holds a model without its weights")
        file.visititems(lambda _, item: item[()] if isinstance(item, h5py.Dataset) else None)
    model, training = (json.loads(attributes.get(key, "null")) for key in ("model_config", "training_config"))
    return Contents(path, "HDF5", str(attributes.get("keras_version", "1" if model else "2")), model, training, backend)


def _from_zip(path: Path) -> Contents:
    import h5py

    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if not {"config.json", "metadata.json", WEIGHTS} <= set(names):
            raise ArtifactError(f"{path.name} is not a Keras file: it is {describe_archive(names)}")
        refuse_bomb(path, archive_size(archive))
        broken = archive.testzip()
        if broken:
            raise zipfile.BadZipFile(f"{broken} does not match its checksum")
        with h5py.File(io.BytesIO(archive.read(WEIGHTS))) as file:  # h5py goes to and fro, which is slow in a zip
            refuse_bomb(path, weights_size(file))
        model = json.loads(archive.read("config.json"))
        version = json.loads(archive.read("metadata.json"))["keras_version"]
    return Contents(path, "zip", str(version), model, model.get("compile_config"))


def is_weights_alone(path: Path) -> bool:
    """Whether an HDF5 file holds the weights of a model without the model."""
    import h5py

    if not path.is_file():  # it would wait for a pipe
        return False
    try:
        with h5py.File(path, "r") as file:
            return "model_config" not in file.attrs and _is_weights(file)
    except OSError:
        return False


def is_new_layout(file) -> bool:
    """Is this what `save_weights` of Keras 3 writes, a group for each layer in a group `layers`?"""
    return "layer_names" not in file.attrs and "model_weights" not in file and any(name in file for name in GROUPS)


def _is_weights(file) -> bool:
    return "layer_names" in file.attrs or "model_weights" in file or is_new_layout(file)


def read_architecture(path: Path) -> tuple[str, dict]:
    """Keras's version and the model's tree, from the file of `model.to_json()`; `ArtifactError` for any other file."""
    try:
        if path.stat().st_size > LARGEST_ARCHITECTURE:
            raise ValueError("too large for the description of a model")
        content = path.read_bytes()
        if b"learner" in content[:LOOK]:  # in text, or in binary
            raise ArtifactError(f"{path.name} is a model of XGBoost: {FROM_TREES}")
        tree = json.loads(content.decode("utf-8"))
        if "modelTopology" in tree:
            raise ArtifactError(f"{path.name} is a model of TensorFlow.js: {FROM_JAVASCRIPT}")
        version = str(tree.pop("keras_version", "3" if "module" in tree else "2"))
        return version, {**tree, "config": tree["config"], "class_name": tree["class_name"]}
    except OSError as error:
        raise ArtifactError(f"the architecture {path.name} cannot be read ({error.strerror or error})") from error
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ArtifactError(_no_architecture(path)) from error


def _no_architecture(path: Path) -> str:
    """What a file in JSON is that describes no model, and what to do."""
    from helpers.data import json_tables  # here, as nothing else in this module needs pandas

    with contextlib.suppress(OSError, ValueError, RecursionError):
        if next(json_tables.tables_in(path.read_text("utf-8")[:LARGEST_ARCHITECTURE]), None) is not None:
            return registry.train_on(path)
    return f"{path.name} is no model: {NO_ARCHITECTURE}"
