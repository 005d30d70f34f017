"""What layers found in data before they were saved: vocabularies, the weights of words, boundaries of bins, a width.

`give_back(tree, held, ...)` writes it into the tree of a model, from where Keras takes it whatever wrote the file. A
`.keras` archive holds it beside the layers' descriptions; an `.h5` file holds no vocabulary, and a layer without one
would fail at the first request. Keras 2 leaves open how wide the input of a Sequential model is that begins with a
Normalization, as most examples of one do, and Keras 3 wants to know.
"""

from __future__ import annotations

import contextlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from helpers.export.errors import NeedsMoreError, needs_rebuilding
from helpers.export.keras2_weights import GROUPS, numbered
from helpers.export.keras_tree import inner_layers, label_of, layers_of, name_of, wrapped_layers

NORMALIZATION = "Normalization"
ADAPTED = ("Discretization", "IntegerLookup", NORMALIZATION, "StringLookup", "TextVectorization")
SUMMARY, MEAN = "summary:0", "mean:0"  # what a Discretization and a Normalization keep in an .h5 of Keras 2
SHAPE = "batch_input_shape"  # as Keras 2 calls it


class Held:
    """What a file holds beside the tree. weights: its open HDF5 file or group. archive: None where it is no archive."""

    def __init__(self, weights, archive: zipfile.ZipFile | None = None):
        self.weights, self.archive = weights, archive

    def vocabulary(self, place: str) -> list[str] | None:
        """The words of the layer at a place in the archive, special ones included."""
        names = [f"assets/{each}/vocabulary.txt" for each in _spelled(place)]
        names = [name for name in names if self.archive is not None and name in self.archive.namelist()]
        return self.archive.read(names[0]).decode().split("\n") if names else None

    def numbers(self, place: str, name: str) -> np.ndarray | None:
        """A variable of the layer at a place."""
        found = [self.weights.get(f"{each}/vars/{name}") for each in _spelled(place)]
        return next((each[()] for each in found if each is not None), None)

    def kept(self, name: str, layer: dict, top: dict) -> np.ndarray | None:
        """What a layer that is, or is in, a layer of the model keeps of the data in an `.h5`, under `name`.

        It is below the layer's name where the layer was called before it was adapted; else that name is lacking, and
        a group holds one of it at most.
        """
        group = self.weights.get("model_weights", self.weights).get(name_of(top))
        if group is None:
            return None
        found: list[str] = []
        group.visit(found.append)
        own = f"/{name_of(layer)}/{name}"
        path = next((path for path in found if f"/{path}".endswith(own)), name)
        return group[path][()] if path in group else None


@contextlib.contextmanager
def held_in(path: Path, weights: str) -> Iterator[Held]:
    """What the file at `path` holds beside the tree. weights: the name of an archive's weights."""
    import h5py

    if not zipfile.is_zipfile(path):
        with h5py.File(path, "r") as file:
            yield Held(file)
        return
    with zipfile.ZipFile(path) as archive, h5py.File(io.BytesIO(archive.read(weights))) as file:
        yield Held(file, archive)


def give_back(tree: dict, held: Held, file: str, notes: list[str], modern: bool = False) -> None:
    """Write into a tree what its layers found in data; `notes` gains a sentence for each layer.

    file: its name, for the error. modern: Keras 3 wrote it, which finds by itself whatever is not in the tree, but for
    weights of words. Raises `ArtifactError` where something that a layer found is not in the file.
    """
    places = {id(layer): place for layer, place in _places(tree)}
    tops = {id(layer): top for top in inner_layers(tree) for layer in [top, *layers_of(top)]}
    for layer in layers_of(tree):
        config = layer.get("config")
        if not isinstance(config, dict) or layer["class_name"] not in ADAPTED:
            continue
        by_itself = modern and held.archive is not None and config.get("output_mode") != "tf_idf"
        missing = [] if by_itself else _missing(layer["class_name"], config)
        for argument in missing:
            config[argument] = _found(layer, argument, held, places[id(layer)], tops[id(layer)])
            if config[argument] is None:
                raise _refusal(layer, argument, file)
        if missing:
            notes.append(f"what {label_of(layer)} found in data is put into its description ({' and '.join(missing)})")
    for model in (tree, *layers_of(tree)):
        chain = _firsts(model)
        if chain and chain[-1]["class_name"] == NORMALIZATION:
            layer = chain[-1]
            mean = held.numbers(places[id(layer)], "0")
            mean = held.kept(MEAN, layer, tops[id(layer)]) if mean is None else mean
            if mean is not None and _widen(chain, mean.shape):
                notes.append(
                    f"the file leaves open how wide the input is: as wide as what {label_of(layer)} was adapted to"
                )


def _firsts(model: dict) -> list[dict]:
    """What a Sequential model begins with: its InputLayer, then its first layer, then what that one begins with."""
    found = []
    if model["class_name"] == "Sequential":
        for layer in inner_layers(model):
            found.append(layer)
            if layer["class_name"] != "InputLayer":
                return found + _firsts(layer)
    return found


def _widen(chain: list[dict], sizes: tuple[int, ...]) -> bool:
    """Write the sizes of the axes that a Normalization keeps, the last of `chain`, where shapes leave them open."""
    axes = chain[-1]["config"].get("axis")
    axes = axes if isinstance(axes, list) else [] if axes is None else [axes]
    shapes = [each["config"][SHAPE] for each in chain if isinstance(each["config"], dict) and each["config"].get(SHAPE)]
    is_open = any(shape[axis] is None for shape in shapes for axis in axes)
    if not is_open or len(sizes) != len(axes):
        return False
    for shape in shapes:
        for axis, size in zip(axes, sizes, strict=True):
            shape[axis] = size
    return True


def _missing(kind: str, config: dict) -> list[str]:
    """The arguments that say what a layer found, where they are not there."""
    if kind == NORMALIZATION:
        return []  # it is a weight
    if kind == "Discretization":
        return ["bin_boundaries"] if config.get("bin_boundaries") is None else []
    weighted = ["idf_weights"] if config.get("output_mode") in ("tf_idf", "tf-idf") else []
    return [argument for argument in ("vocabulary", *weighted) if config.get(argument) is None]


def _found(layer: dict, argument: str, held: Held, place: str, top: dict) -> list | None:
    """What a layer at a place in an archive, in a layer of the model itself, found in data."""
    config = layer["config"]
    if argument == "vocabulary":
        words = held.vocabulary(place)
        return [int(word) for word in words] if words and layer["class_name"] == "IntegerLookup" else words
    if argument == "idf_weights":
        weights = held.numbers(place, "idf_weights")
        return None if weights is None else weights[: len(config["vocabulary"])].tolist()  # without their padding
    summary = held.numbers(place, "0")
    summary = held.kept(SUMMARY, layer, top) if summary is None else summary
    return None if summary is None else _boundaries(summary, config)


def _boundaries(summary: np.ndarray, config: dict) -> list[float]:
    import keras

    layer = keras.layers.Discretization(num_bins=config["num_bins"])
    layer.summary = summary
    layer.finalize_state()
    return layer.bin_boundaries


def _refusal(layer: dict, argument: str, file: str) -> NeedsMoreError:
    return needs_rebuilding(
        f"{label_of(layer)} was adapted to data, and what it found ({argument}) is not in {file}",
        f"save the model as .keras where it was made, or build it anew with {argument}=[...]",
    )


def _spelled(place: str) -> list[str]:
    """A place in an archive as today's Keras calls it, and as Keras 2.12 did."""
    return [place, place.replace(f"{GROUPS[0]}/", f"{GROUPS[1]}/")]


def _places(item: dict, place: str = "") -> Iterator[tuple[dict, str]]:
    """Each layer in a model's tree, with the group that an archive keeps it in: "layers/string_lookup_1"."""
    inner = inner_layers(item)
    for layer, name in zip(inner, numbered(layer["class_name"] for layer in inner), strict=True):
        yield layer, f"{place}{GROUPS[0]}/{name}"
        yield from _places(layer, f"{place}{GROUPS[0]}/{name}/")
    for key, wrapped in wrapped_layers(item).items():
        yield wrapped, f"{place}{key}"
        yield from _places(wrapped, f"{place}{key}/")
