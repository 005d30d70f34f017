"""Weights that Keras 2 laid out otherwise: in another order, and those of CuDNNLSTM and CuDNNGRU.

In and out: a group of an HDF5 file that may be written to. Keras finds weights by the order of the layers in a graph,
which is another today where a mask is a step of the graph, or where a call takes several tensors by name; the file's
tree has the order of then. cuDNN keeps each gate's kernels transposed and has two biases, one for the input and one
for the state: LSTM adds them up, GRU with `reset_after` keeps them apart.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable

import numpy as np

from helpers.export.keras_tree import layers_of, name_of, name_today

GROUPS = ("layers", "_layer_checkpoint_dependencies")  # of the layers in an archive: today's name, and Keras 2.12's
LSTM_GATES, GRU_GATES = 4, 3
# What layers found in data, of which the tree has what is needed (`adapted`): no weights today.
IN_THE_TREE = {"bin_boundaries": "summary:0", "idf_weights": "Variable:0"}
KERNEL, RECURRENT, BIAS = "kernel:0", "recurrent_kernel:0", "bias:0"


def reorder(weights, model, tree: dict) -> None:
    """Put the weights of an `.h5` into the order in which `model`, built of the same `tree`, asks for them."""
    places = {layer.name: place for place, layer in enumerate(model.layers)}
    names = _listed(weights, "layer_names")
    _list(weights, "layer_names", sorted(names, key=lambda name: places.get(name_today(name), -1)))
    items = {name_of(item): item for item in _items(tree)}
    for name in names:
        layer = _layers(model).get(name_today(name))
        held = _listed(weights[name], "weight_names")
        if layer is None or not held:
            continue
        inside = [part["config"] for part in (items[layer.name], *layers_of(items[layer.name]))]
        gone = [end for argument, end in IN_THE_TREE.items() if any(config.get(argument) for config in inside)]
        held = [each for each in held if not each.endswith(tuple(gone))]
        _list(weights[name], "weight_names", held)
        leaves = list(_leaves(layer, items[layer.name]))
        then = [v for leaf in leaves for v in leaf.trainable_weights]
        then += [v for leaf in leaves for v in leaf.non_trainable_weights]
        then = list({id(variable): variable for variable in then})
        now = [id(variable) for variable in layer.trainable_weights + layer.non_trainable_weights]
        if len(then) == len(held) and sorted(then) == sorted(now):
            _list(weights[name], "weight_names", [held[then.index(variable)] for variable in now])


def turn_kernels(model) -> None:
    """Turn the kernels of convolutions round, as Keras 2 did: Theano applied them from their other end."""
    import keras

    kinds = keras.layers
    turned = (kinds.Conv1D, kinds.Conv2D, kinds.Conv3D, kinds.Conv2DTranspose, kinds.ConvLSTM2D)
    for layer in model._flatten_layers():
        if isinstance(layer, turned):
            cell = getattr(layer, "cell", layer)
            for name in {"kernel", "recurrent_kernel"} & {*dir(cell)}:
                kernel = np.asarray(getattr(cell, name))
                getattr(cell, name).assign(np.flip(kernel, axis=tuple(range(kernel.ndim - 2))))


def _listed(group, attribute: str) -> list[str]:
    """The names in an attribute of a group, which is in pieces ("layer_names0", ...) where it would be too long."""
    if attribute in group.attrs:
        pieces = [group.attrs[attribute]]
    else:
        found = itertools.takewhile(lambda piece: piece in group.attrs, (f"{attribute}{i}" for i in itertools.count()))
        pieces = [group.attrs[piece] for piece in found]
    return [name.decode() if isinstance(name, bytes) else name for piece in pieces for name in piece]


def _list(group, attribute: str, names: list[str]) -> None:
    """Write names where Keras looks first: whole, which a file of HDF5's newest layout can hold at any length."""
    group.attrs[attribute] = [name.encode() for name in names]


def reorder_archive(group, model, tree: dict) -> None:
    """The same for the weights of a `.keras` archive, in which a layer is a group by its class and a number."""
    inner, item = _model_in(model, tree)
    if inner is None or group is None:
        return
    for part in ("layer",) * (inner is not model):
        group = group.get(part)
    group = None if group is None else group.get(GROUPS[0], group.get(GROUPS[1]))
    if group is None:
        return
    layers = _layers(inner)
    items = {name_of(part): part for part in _items(item) if name_of(part) in layers}
    then = dict(zip(items, numbered(type(layers[name]).__name__ for name in items), strict=True))
    now = dict(zip(layers, numbered(type(layer).__name__ for layer in layers.values()), strict=True))
    for name, place in then.items():
        reorder_archive(group.get(place), layers[name], items[name])
    moved = [name for name in then if then[name] != now[name] and then[name] in group]
    for name in moved:
        group.move(then[name], f"moved {then[name]}")
    for name in moved:
        group.move(f"moved {then[name]}", now[name])


def _leaves(layer, item: dict):
    """What is in a layer that is a model, or around one, in the order of then; else the layer."""
    inner, item = _model_in(layer, item)
    if inner is None:
        yield layer
        return
    layers = _layers(inner)
    for part in _items(item):
        if name_of(part) in layers:
            yield from _leaves(layers[name_of(part)], part)


def _model_in(layer, item: dict):
    """The model that a layer is, or that it is around, with what the tree says of it; None for other layers."""
    while not hasattr(layer, "layers") and hasattr(layer, "layer") and isinstance(item["config"].get("layer"), dict):
        layer, item = layer.layer, item["config"]["layer"]
    return (layer, item) if hasattr(layer, "layers") and "layers" in item["config"] else (None, item)


def _layers(model) -> dict:
    return {layer.name: layer for layer in model.layers}


def _items(item: dict) -> list[dict]:
    return item["config"]["layers"]


def numbered(classes: Iterable[str]) -> list[str]:
    """The names that Keras gives to the groups of layers of these classes: dense, dense_1, lstm, ..."""
    seen: Counter = Counter()
    names = []
    for name in classes:
        kind = re.sub("([a-z])([A-Z])", r"\1_\2", re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)).lower()
        names.append(f"{kind}_{seen[kind]}" if seen[kind] else kind)
        seen[kind] += 1
    return names


def convert_cudnn(weights) -> None:
    """Rewrite the weights of every cuDNN layer below the group `weights`; they are told by the shape of the bias."""
    import h5py

    found = []

    def look(path: str, item) -> None:
        if isinstance(item, h5py.Group) and {KERNEL, RECURRENT, BIAS} <= set(item):
            units, *columns = item[RECURRENT].shape
            gates = [LSTM_GATES * units], [GRU_GATES * units]
            if columns in gates and item[BIAS].shape == (2 * columns[0],):
                found.append(item)

    weights.visititems(look)
    for group in found:
        _convert(group)


def _convert(group) -> None:
    units, columns = group[RECURRENT].shape
    gates = columns // units
    kernels = np.split(group[KERNEL][()], gates, axis=1)
    recurrent = np.split(group[RECURRENT][()], gates, axis=1)
    biases = group[BIAS][()].reshape(2, -1)
    _replace(group, KERNEL, np.hstack([kernel.reshape(kernel.shape[::-1]).T for kernel in kernels]))
    _replace(group, RECURRENT, np.hstack([kernel.T for kernel in recurrent]))
    _replace(group, BIAS, biases.sum(0) if gates == LSTM_GATES else biases)


def _replace(group, name: str, value: np.ndarray) -> None:
    del group[name]
    group[name] = value
