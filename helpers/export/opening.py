"""Opens what somebody brings as a model, told by its content: a Keras file, a SavedModel, an ONNX or a LiteRT file.

`opened(path)` returns a `Brought`: the model as `artifacts.export_model` takes it, what `detection` looks at, and what
was found, in words. Nothing that is named is written to.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from helpers.export.errors import ArtifactError, NeedsMoreError, Remark
from helpers.export.file_kinds import kind_of
from helpers.export.keras_contents import is_weights_alone, read_architecture
from helpers.export.legacy import describe_keras_file, load_keras
from helpers.export.litert_file import LiteRTFile
from helpers.export.onnx_file import OnnxFile
from helpers.quiet import keras_alone

WEIGHTS = (".weights.h5", ".h5", ".hdf5")
ARCHITECTURE = "model.json"


@dataclass(frozen=True)
class Brought:
    """A model that somebody brought. model: for the export. ends: for `detection`. digest: SHA-256 of what was read."""

    model: object
    ends: object
    digest: str


def described(path: Path, weights: Path | None = None, custom: dict | None = None) -> str:
    """What was brought, and what is repaired to read it, in lines; `ArtifactError` where it is no model.

    weights, custom: as for `opened`. How a model was compiled is left in the file, so nothing is said of its repair.
    """
    kind = kind_of(path)
    if kind == "SavedModel":
        return (
            f"{path.name}/: a SavedModel, asked by the function that its maker exported; its graph is a program, "
            "which can read and write files: serve one of somebody you trust"
        )
    if kind in ("ONNX", "LiteRT"):
        return str(_foreign(path, kind))
    weights, architecture = _parts(path, weights)
    with _in_words_of_a_command():
        return str(describe_keras_file(weights, custom, architecture, compile=False))


def opened(path: Path, weights: Path | None = None, custom: dict | None = None) -> Brought:
    """The model at `path`. weights: those of a `model.json`, looked for beside it where None. custom: own layers."""
    kind = kind_of(path)
    if kind == "SavedModel":
        with keras_alone():
            from helpers.export.saved_model import read_saved_model

        model, ends = read_saved_model(path)
        return Brought(model, ends, model.digest)
    if kind in ("ONNX", "LiteRT"):
        model = _foreign(path, kind)
        return Brought(model, model, model.digest)
    weights, architecture = _parts(path, weights)
    with _in_words_of_a_command():
        model = load_keras(weights, custom_objects=custom, compile=False, architecture=architecture)
    model = _with_numbers(_with_open_rows(_with_an_input(model)))
    digest = hashlib.sha256(weights.read_bytes())
    if architecture:
        digest.update(architecture.read_bytes())
    return Brought(model, model, digest.hexdigest())


def _with_an_input(model):
    """A model that is a class of its own, around inputs of the shapes that it was called with where it was saved."""
    shapes = None if getattr(model, "inputs", None) else (model.get_build_config() or {}).get("input_shape")
    return _around(model, shapes) if shapes else model


def _with_open_rows(model):
    """A model for any number of rows at a time around one that was built for so many, but for one with a memory.

    Whether it computes each row by itself is seen where it is asked.
    """
    inputs = getattr(model, "inputs", None) or []
    is_stateful = any(getattr(layer, "stateful", False) for layer in getattr(model, "layers", ()))
    if is_stateful or all(each.shape[0] is None for each in inputs):
        return model
    return _around(model, inputs[0] if len(inputs) == 1 else model.input)


def _with_numbers(model):
    """A model without those of its outputs that are texts, which a warning names; `ArtifactError` where all are.

    Texts that are looked up for the largest of some shares name the classes of those, which take their place.
    """
    outputs = getattr(model, "outputs", None) or []
    texts = [tensor for tensor in outputs if _is_text(tensor)]
    if not texts:
        return model
    import keras

    names = getattr(model, "output_names", ())
    named = ", ".join(name for name, tensor in zip(names, outputs, strict=True) if _is_text(tensor))
    shares = [found for found in map(_shares_of, texts) if found is not None]
    if len(shares) == len(texts) == len(outputs):
        return keras.Model(model.input, shares[0] if len(shares) == 1 else shares, name=model.name)
    if len(texts) == len(outputs):
        raise ArtifactError(
            f"the model answers with texts only ({named}): save the part of it that answers with their numbers, "
            "keras.Model(model.inputs, numbers), and name the texts by --classes"
        )
    warnings.warn(f"{named}, which is text, is left out of the answers", Remark, stacklevel=3)
    if isinstance(model.output, dict):
        kept = {key: tensor for key, tensor in model.output.items() if not _is_text(tensor)}
    else:
        kept = [tensor for tensor in outputs if not _is_text(tensor)]
    return keras.Model(model.input, kept, name=model.name)


def _shares_of(tensor):
    """The shares of classes for the largest of which a text is looked up, with their names; None where it is none."""
    layer = tensor._keras_history.operation
    if type(layer).__name__ != "StringLookup":
        return None
    largest = layer._inbound_nodes[0].input_tensors[0]._keras_history.operation
    if type(largest).__name__ != "Argmax" or len(layer._inbound_nodes) > 1:
        return None
    [shares] = largest._inbound_nodes[0].input_tensors
    known = tuple(map(str, layer.get_vocabulary()))
    if largest.axis not in (-1, len(shares.shape) - 1) or shares.shape[-1] != len(known):
        return None
    shares.classes = known
    return shares


def _is_text(tensor) -> bool:
    """Whether an output is of texts, which Keras does not tell of what a look-up makes of numbers."""
    import keras

    history = getattr(tensor, "_keras_history", None)
    layer = history.operation if history else None
    if isinstance(layer, keras.Model) and getattr(layer, "outputs", None):
        return _is_text(layer.outputs[history.tensor_index])
    return str(tensor.dtype) == "string" or (type(layer).__name__ == "StringLookup" and layer.invert)


def _around(model, inputs):
    """A model around another, whose tensors or shapes `inputs` are, in dicts or lists; that itself where none fits."""
    import keras

    def opened(each, name: str | None = None):
        if hasattr(each, "shape"):
            return keras.Input(each.shape[1:], dtype=each.dtype, name=name or each.name)
        return keras.Input(each[1:], name=name)

    try:
        if isinstance(inputs, dict):
            rows = {key: opened(each, key) for key, each in inputs.items()}
        else:
            rows = keras.tree.map_shape_structure(opened, inputs)
        answers = model(rows)
        names = getattr(model, "output_names", [])
        if isinstance(answers, list | tuple) and len(names) == len(answers) == len(set(names)):
            answers = dict(zip(names, answers, strict=True))
        around = keras.Model(rows, answers, name=model.name)
    except Exception:  # whatever a class of one's own raises: why the model is not served is said later
        return model
    return around if all(each.shape[0] is None for each in around.outputs) else model


@contextmanager
def _in_words_of_a_command() -> Iterator[None]:
    """What a file needs beside it is asked for as `export` and `serve` take it."""
    try:
        yield
    except NeedsMoreError as error:
        raise error.for_command() from error


def _foreign(path: Path, kind: str) -> OnnxFile | LiteRTFile:
    return OnnxFile(path) if kind == "ONNX" else LiteRTFile(path)


def _parts(path: Path, weights: Path | None) -> tuple[Path, Path | None]:
    """The file with the weights, and the one with the architecture where that is another."""
    if kind_of(path) == "JSON":
        read_architecture(path)  # before its weights are asked for, which nothing else has
        return weights or _weights_beside(path), path
    if weights is not None:
        raise ArtifactError(f"{path.name} holds its weights: others are given beside the file of model.to_json() only")
    if not is_weights_alone(path):
        return path, None
    ending = next((ending for ending in WEIGHTS if path.name.endswith(ending)), path.suffix)
    stem = path.name.removesuffix(ending)
    beside = [path.with_name(name) for name in (f"{stem}.json", ARCHITECTURE)]
    return path, next((each for each in beside if each.is_file()), None)


def _weights_beside(architecture: Path) -> Path:
    """The weights of an architecture: by its name or what begins with it, by the usual one, or the only ones there."""
    named = [architecture.with_name(architecture.stem + ending) for ending in WEIGHTS]
    usual = [architecture.with_name(f"{stem}{ending}") for stem in ("model", "weights") for ending in WEIGHTS]
    for each in [*named, *usual, architecture.with_name("model_weights.h5")]:
        if each.is_file():
            return each
    others = sorted(each for each in architecture.parent.iterdir() if each.name.endswith(WEIGHTS))
    akin = [each for each in others if each.name.startswith(architecture.stem)] or others
    if len(akin) == 1:
        return akin[0]
    found = f"there are {', '.join(each.name for each in others[:4])}" if others else "there are none"
    raise ArtifactError(
        f"{architecture.name} is a model without its weights, and beside it {found}: name them, --weights FILE"
    )
