"""What layers found in data before they were saved: vocabularies, the weights of words, boundaries of bins.

`give_back(tree, held, ...)` writes it into the tree of a model, from where Keras takes it whatever wrote the file. A
`.keras` archive holds it beside the layers' descriptions; an `.h5` file holds no vocabulary, and a layer without one
would fail at the first request.
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

ADAPTED = ("Discretization", "IntegerLookup", "StringLookup", "TextVectorization")
SUMMARY = "summary:0"  # what a Discretization of Keras 2 keeps of the data, in an .h5


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

    def summary(self, layer: dict, top: dict) -> np.ndarray | None:
        """What a Discretization that is, or is in, a layer of the model keeps in an `.h5`.

        It is below the layer's name where the layer was called before it was adapted; else that name is lacking, and
        a group holds one such summary at most.
        """
        group = self.weights.get("model_weights", self.weights).get(name_of(top))
        if group is None:
            return None
        found: list[str] = []
        group.visit(found.append)
        own = f"/{name_of(layer)}/{SUMMARY}"
        path = next((path for path in found if f"/{path}".endswith(own)), SUMMARY)
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


def _missing(kind: str, config: dict) -> list[str]:
    """The arguments that say what a layer found, where they are not there."""
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
    summary = held.summary(layer, top) if summary is None else summary
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
