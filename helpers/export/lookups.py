"""What a model looks up: the numbers or texts that it knows, as an input or within a row.

An Embedding answers the whole numbers from 0 to its size less 1, and fails at others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

import numpy as np

from helpers.data.input_kinds import OPEN
from helpers.data.signature import REAL, UNBOUNDED, Feature
from helpers.export.graphs import Tensor
from helpers.export.layers import nested, takers
from helpers.export.run_keras import compiled

MOST_TOLD_APART = 10_000  # values that a model's card lists


def vocabulary(model, tensor) -> int | None:
    """How many words an Embedding, or a CategoryEncoding, knows that takes this input, or None."""
    if isinstance(tensor, Tensor):
        return tensor.words
    direct = [size for size in map(_words, takers(model, tensor)) if size]
    return min(direct) if direct else _tried_vocabulary(model, tensor)


def _words(layer) -> int | None:
    sizes = {"Embedding": "input_dim", "ReversibleEmbedding": "input_dim", "CategoryEncoding": "num_tokens"}
    return getattr(layer, sizes.get(type(layer).__name__, ""), None)


def _tried_vocabulary(model, tensor) -> int | None:
    """The numbers from 0 that an input may hold where an Embedding takes it within another layer, or after a sum.

    Told by asking: the largest is answered, the next one fails, wherever it stands. None where it is not so.
    """
    sizes = _sizes_within(model)
    if not sizes or any(each.dtype == "string" for each in model.inputs):
        return None
    fails = _failing(model, tensor)
    shape = [size or OPEN for size in tensor.shape[1:]]
    ends = 0, int(np.prod(shape)) - 1
    tried = sorted({size + more for size in sizes for more in (-1, 0, 1)}, reverse=True)
    return next(
        (n for n in tried if not any(fails(n - 1, at) for at in ends) and all(fails(n, at) for at in ends)), None
    )


def _sizes_within(model) -> Collection[int]:
    """How many words the Embeddings know that do not take an input of the model at once.

    Of a model that is not Keras's: how long all lists are in which it looks something up.
    """
    if isinstance(model.inputs[0], Tensor):
        return model.tables
    known = {id(layer) for each in model.inputs for layer in takers(model, each)}
    within = {id(each): each for layer in nested(model) for each in layer._flatten_layers()}
    return {size for key, each in within.items() if key not in known and (size := _words(each))}


def _failing(model, tensor) -> Callable[[int, int | slice], bool]:
    """Whether the model has no answer where the values of an input at a place are a number, and all others 1."""
    answer = compiled(model)
    rows = [np.ones((1, *(size or OPEN for size in each.shape[1:])), each.dtype) for each in model.inputs]
    values = rows[[each.name for each in model.inputs].index(tensor.name)].reshape(-1)  # the same memory

    def fails(number: int, at: int | slice) -> bool:
        values[at] = number
        try:
            answer(*rows)
        except Exception:
            return True
        finally:
            values[at] = 1
        return False

    return fails


def with_ids(model, features: tuple[Feature, ...]) -> tuple[Feature, ...]:
    """Features of which some are numbers that an Embedding within the model looks up, with those that it knows."""
    sizes = _sizes_within(model)
    low, high = UNBOUNDED
    features = tuple(replace(each, low=low, high=high, whole=False) if each.whole else each for each in features)
    if not sizes:
        return features
    fails = _failing(model, model.inputs[0])
    found, at = [], 0
    tried = sorted({size + more for size in sizes for more in (-1, 0, 1)} - {0})
    tried = [number for number in tried if fails(number, slice(None))]
    for feature in features:
        is_number = feature.width == 1 and feature.kind == REAL
        known = next((n for n in tried if fails(n, at) and not fails(n - 1, at)), None) if is_number else None
        found.append(replace(feature, low=0.0, high=known - 1.0, whole=True) if known else feature)
        at += feature.width
    return tuple(found)


def known_values(model, tensor) -> tuple | None:
    """The only values of an input that the look-up which takes it knows; None where any is answered."""
    if isinstance(tensor, Tensor):
        return tensor.values
    return next((_vocabulary(layer) for layer in _lookups(model, tensor) if not layer.num_oov_indices), None)


def told_apart(model, tensor) -> tuple | None:
    """The values of an input that the look-ups which take it know, and take all others for unknown; else None."""
    if isinstance(tensor, Tensor):
        return tensor.known
    found = _lookups(model, tensor)
    if not found or len(found) < len(takers(model, tensor)) or not all(layer.num_oov_indices == 1 for layer in found):
        return None
    known = tuple(dict.fromkeys(value for layer in found for value in _vocabulary(layer)))
    return known if 0 < len(known) <= MOST_TOLD_APART else None


def _lookups(model, tensor) -> list:
    """The look-ups of texts or whole numbers that take an input."""
    kinds = ("StringLookup", "IntegerLookup")
    return [each for each in takers(model, tensor) if type(each).__name__ in kinds and not each.invert]


def _vocabulary(layer) -> tuple:
    found = layer.get_vocabulary(include_special_tokens=False)
    return tuple(value.item() if hasattr(value, "item") else value for value in found)
