"""Which numbers are usual in an input, by what the model's first steps make of them.

Those are usual that become numbers around nought, or shares: within two standard deviations of a mean that is
subtracted, 0 to 255 where the model divides by that; and those around the boundaries of bins.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from helpers.data.decimals import rounded
from helpers.data.input_kinds import OPEN
from helpers.data.signature import Feature, Signature
from helpers.export.first_steps import LEVELS, first_steps
from helpers.export.graphs import Tensor
from helpers.export.layers import takers

SPREADS = 2  # on either side of a mean
ROUNDS = 4  # of asking, each from nearer: of 1.7e9 with a spread of 1e3 float32 tells little from afar
AFAR = 2.0**14  # the unit of the first one: half precision holds it
NEARLY = 0.01
ROUGHLY, EXACTLY = 2, 6  # digits


def usual_numbers(model, tensor) -> tuple | None:
    """(low, high) of what is usual, a number each, or one for each of the last size; None where nothing tells."""
    size = [each or OPEN for each in tensor.shape[1:]]
    line = _line_of_graph(tensor, size) if isinstance(tensor, Tensor) else _line(model, tensor, size)
    *ends, digits = (_ends(*line) if line else None) or _ends_of_bins(model, tensor) or (math.nan, math.nan, 0)
    low, high = (np.broadcast_to(end, size) for end in ends)
    if not (high > low).all():
        return None
    leading = tuple(range(len(size) - 1))
    low, high = low.min(axis=leading), high.max(axis=leading)
    low, high = (rounded(end, high - low, digits) for end in (low, high))
    if np.ptp(low) == np.ptp(high) == 0:
        return low.flat[0].item(), high.flat[0].item()
    return tuple(low.tolist()), tuple(high.tolist())


def with_usual(model, features: tuple[Feature, ...]) -> tuple[Feature, ...]:
    """Features of a row, with what is usual in those numbers of which nothing is known."""
    features = tuple(replace(each, usual=None, default=0.0) if each.usual else each for each in features)
    ends = usual_numbers(model, model.inputs[0]) if any(each.is_unbounded for each in features) else None
    if ends is None:
        return features
    low, high = (np.broadcast_to(end, model.inputs[0].shape[1:]).reshape(-1) for end in ends)
    middles = rounded((low + high) / 2, high - low).tolist()
    usual = list(zip(low.tolist(), high.tolist(), strict=True))
    starts = [place.start for place in Signature(features).slices]
    return tuple(
        replace(each, usual=usual[at], default=middles[at]) if each.is_unbounded else each
        for each, at in zip(features, starts, strict=True)
    )


def _line(model, tensor, size: list[int]) -> tuple[np.ndarray, np.ndarray] | None:
    """The numbers that become 0, and how far from them those lie that become 1 or -1; None where nothing is scaled."""
    others = {
        each.name: [np.zeros((1, *(part or OPEN for part in each.shape[1:])), each.dtype)] * len(LEVELS)
        for each in model.inputs
        if each.name != tensor.name and each.dtype != "string"
    }

    def steps(middle: np.ndarray, spread: np.ndarray) -> list[list]:
        return first_steps(model, {tensor.name: [np.float32(middle + level * spread) for level in LEVELS], **others})

    afar = np.zeros((1, *size)), np.full((1, *size), AFAR)
    found = (_line_of_step(steps, i, *afar) for i in reversed(range(1, len(steps(*afar)))))
    return next(filter(None, found), None)


def _line_of_step(steps, i: int, middle: np.ndarray, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The same by what the i-th of the first steps makes of the numbers; None where it does not keep each at its place.

    middle, spread: where to ask first, and how far apart.
    """

    def asked(middle: np.ndarray) -> list[np.ndarray] | None:
        found = steps(middle, spread)[i:][:1]
        varied = found[0][0] != found[0][2] if found else np.zeros(0)
        return [each[varied].reshape(middle.shape) for each in found[0]] if varied.sum() == middle.size else None

    for _ in range(ROUNDS):
        if (found := asked(middle)) is None:
            return None
        slope = (found[2] - found[0]) / (LEVELS[2] * spread)
        middle, spread = middle - found[0] / slope, 1 / np.abs(slope)
    parts = np.random.default_rng(0).uniform(-1, 1, middle.shape)
    found = asked(middle + parts * spread)
    return (middle, spread) if found and np.allclose(np.abs(found[0]), np.abs(parts), atol=0.1) else None


def _line_of_graph(tensor: Tensor, size: list[int]) -> tuple[np.ndarray, np.ndarray] | None:
    """The same of a model that is not Keras's."""
    if tensor.line is None:
        return None
    try:
        at_0, at_1 = (np.broadcast_to(each, (1, *size)) for each in tensor.line)
    except ValueError:  # as a row's numbers become several
        return None
    slope = at_1 - at_0
    return (-at_0 / slope, 1 / np.abs(slope)) if slope.all() else None


def _ends(middle: np.ndarray, spread: np.ndarray) -> tuple | None:
    """The ends of what is usual, and to how many digits that holds; None where numbers stay what they are."""
    if np.allclose(middle, 0, atol=NEARLY) and np.allclose(spread, 1, atol=NEARLY):
        return None
    middle, spread = middle[0], spread[0]
    if (np.abs(middle) <= NEARLY * spread).all():  # become shares of the largest
        return 0, spread, EXACTLY
    if (np.abs(middle - spread) <= NEARLY * spread).all():  # begin at 0, and become -1 to 1
        return 0, 2 * middle, EXACTLY
    return middle - SPREADS * spread, middle + SPREADS * spread, ROUGHLY


def _ends_of_bins(model, tensor) -> tuple | None:
    """The same of what is put into bins: one bin beyond the boundaries."""
    layers = [] if isinstance(tensor, Tensor) else takers(model, tensor)
    found = sorted(float(each) for layer in layers for each in getattr(layer, "bin_boundaries", None) or ())
    if not found:
        return None
    beyond = (found[-1] - found[0]) / max(1, len(found) - 1) or abs(found[0]) or 1.0
    return (max(0.0, found[0] - beyond) if found[0] >= 0 else found[0] - beyond), found[-1] + beyond, ROUGHLY
