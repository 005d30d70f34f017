"""Opens what somebody brings as a model, told by its content: a Keras file, a SavedModel, an ONNX or a LiteRT file.

`opened(path)` returns a `Brought`: the model as `artifacts.export_model` takes it, what `detection` looks at, and what
was found, in words. Nothing that is named is written to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from helpers.export.errors import ArtifactError, NeedsMoreError
from helpers.export.file_kinds import kind_of
from helpers.export.foreign import LiteRTFile, OnnxFile
from helpers.export.legacy import describe_keras_file, is_weights_alone, load_keras, read_architecture
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
        model = _with_an_input(load_keras(weights, custom_objects=custom, compile=False, architecture=architecture))
    digest = hashlib.sha256(weights.read_bytes())
    if architecture:
        digest.update(architecture.read_bytes())
    return Brought(model, model, digest.hexdigest())


def _with_an_input(model):
    """A model that is a class of its own, around an input of the shape that it was called with where it was saved."""
    shape = None if getattr(model, "inputs", None) else (model.get_build_config() or {}).get("input_shape")
    is_one = isinstance(shape, list | tuple) and len(shape) > 1 and all(isinstance(s, int | None) for s in shape)
    if not is_one:
        return model
    import keras

    rows = keras.Input(shape[1:])
    return keras.Model(rows, model(rows), name=model.name)


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
