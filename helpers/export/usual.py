"""Which numbers are usual in an input, by what the model's first steps make of them.

Those are usual that become numbers around nought, or shares: within two standard deviations of a mean that is
subtracted, 0 to 255 where the model divides by that, 0 to 1 where mean and variance are those of 0 and 1; and those
around the boundaries of bins.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from helpers.data.decimals import proposed, rounded
from helpers.data.input_kinds import OPEN
from helpers.data.signature import Feature, Signature
from helpers.export.first_steps import LEVELS, first_steps
from helpers.export.graphs import Tensor
from helpers.export.layers import takers

SPREADS = 2  # on either side of a mean
ROUNDS = 4  # of asking, each from nearer: of 1.7e9 with a spread of 1e3 float32 tells little from afar
UNITS = (2.0**14, 2.0**7)  # of the first one, from afar, and where half precision holds no more than 65,504
STANDARD = (-2.0, 2.0)  # are the ends of numbers that stay as they are, beside others
NEARLY = 0.01
EQUAL = 2e-3  # as mean and variance of 0 and 1 are in half precision
ROUGHLY, EXACTLY = 2, 6  # digits


def usual_numbers(model, tensor) -> tuple | None:
    """(low, high) of what is usual, a number each, or one for each of the last size; None where nothing tells."""
    low, high = _usual(model, tensor)
    if not (high > low).all():
        return None
    leading = tuple(range(low.ndim - 1))
    low, high = low.min(axis=leading), high.max(axis=leading)
    if np.ptp(low) == np.ptp(high) == 0:
        return low.flat[0].item(), high.flat[0].item()
    return tuple(low.tolist()), tuple(high.tolist())


def with_usual(model, features: tuple[Feature, ...]) -> tuple[Feature, ...]:
    """Features of a row, with what is usual in those numbers of which nothing is known."""
    features = tuple(replace(each, usual=None, default=0.0) if each.usual else each for each in features)
    if not any(each.is_unbounded for each in features):
        return features
    low, high = (ends.reshape(-1) for ends in _usual(model, model.inputs[0]))
    middles = proposed(low, high).tolist()
    usual = list(zip(low.tolist(), high.tolist(), strict=True))
    is_told = [ends[1] > ends[0] and ends != STANDARD for ends in usual]
    starts = [place.start for place in Signature(features).slices]
    return tuple(
        replace(each, usual=usual[at], default=middles[at]) if each.is_unbounded and is_told[at] else each
        for each, at in zip(features, starts, strict=True)
    )


def _usual(model, tensor) -> tuple[np.ndarray, np.ndarray]:
    """The ends of what is usual at each place of an input, its open sizes taken for `OPEN`; NaN where nothing tells."""
    size = [each or OPEN for each in tensor.shape[1:]]
    low, high = np.full(size, np.nan), np.full(size, np.nan)
    are_standard = np.zeros(size, bool)
    for name, at, middle, spread in _lines(model, tensor, size):
        is_shifted = name in getattr(model, "shifted", ())
        stay = (np.isclose(middle, 0, atol=NEARLY) | is_shifted) & np.isclose(spread, 1, atol=NEARLY)
        # and told by no later step; what is only shifted is not told how far it spreads
        is_new = np.isnan(low.flat[at]) & ~stay & ~np.isclose(spread, 1)
        are_standard.flat[at[stay]] = True
        if is_new.any():
            ends = _ends(middle, spread, is_shifted)
            low.flat[at[is_new]], high.flat[at[is_new]] = (end[is_new] for end in ends)
        if not np.isnan(low).any():
            break
    if not np.isnan(low).all():
        low[np.isnan(low) & are_standard], high[np.isnan(high) & are_standard] = STANDARD
    told = getattr(tensor, "ends", None) or _ends_of_bins(model, tensor)
    if told and np.isnan(low).all():
        low[...], high[...] = told
    return low, high


# What holds the numbers, and of each its place in the input, the one that becomes 0, and how far from it 1 is.
Line = tuple[str, np.ndarray, np.ndarray, np.ndarray]


def _lines(model, tensor, size: list[int]) -> Iterator[Line]:
    """Of each step, the last one first, what it makes of those numbers that it keeps apart from all others."""

    def steps(rows: np.ndarray) -> dict[str, np.ndarray]:
        """What becomes of rows of numbers, (k, n) each."""
        found = first_steps(model, tensor, np.float32(rows).reshape(-1, *size))
        return {name: values.reshape(len(rows), -1) for name, values in found.items()}

    count = math.prod(size)
    levels = np.outer(LEVELS, np.ones(count))
    bits = [np.arange(count) >> bit & 1 for bit in range((count - 1).bit_length())]  # of the number of each place
    rows = np.vstack([levels, *(LEVELS[2] * each for each in bits)])
    asked = ((unit, steps(unit * rows)) for unit in UNITS)
    unit, found = next((each for each in asked if each[1]), (0, {}))
    for name, (at_0, _, far, *by_bit) in reversed(found.items()):
        varied = at_0 != far
        at = np.zeros(varied.sum(), int)  # the place on which each number depends, where it is one
        for bit, values in enumerate(by_bit):
            at |= (values != at_0)[varied].astype(int) << bit
        yield _line_of_step(steps, name, varied, at, levels, unit)


def _line_of_step(steps, name: str, varied: np.ndarray, at: np.ndarray, levels: np.ndarray, unit: float) -> Line:
    """The line of one step. varied: which of its numbers depend on the input; at: on which place."""
    middle, spread = np.zeros(levels.shape[1]), np.full(levels.shape[1], unit)
    parts = np.random.default_rng(0).uniform(-1, 1, middle.shape)
    with np.errstate(all="ignore"):  # what comes of numbers that tell nothing is left out at the end
        for i in range(ROUNDS + 1):
            if name not in (found := steps(middle + np.vstack([levels, parts]) * spread)):
                return name, at[:0], middle[:0], spread[:0]
            at_0, _, far, became = found[name][:, varied]
            if i < ROUNDS:
                slope = (far - at_0) / (LEVELS[2] * spread[at])
                middle[at], spread[at] = middle[at] - at_0 / slope, 1 / np.abs(slope)
        is_so = np.isfinite(middle[at] * spread[at]) & np.isclose(np.abs(became), np.abs(parts[at]), atol=0.1)
    at = at[is_so]
    return name, at, middle[at], spread[at]


def _ends(middle: np.ndarray, spread: np.ndarray, is_shifted: bool) -> tuple[np.ndarray, np.ndarray]:
    """The ends of what is usual in numbers that a step makes spread around nought, or shares, each by itself."""
    low, high = middle - SPREADS * spread, middle + SPREADS * spread
    low, high = (rounded(ends, high - low, ROUGHLY) for ends in (low, high))
    if is_shifted:  # become 0 to 1
        low, high = (rounded(ends, spread, EXACTLY) for ends in (middle, middle + spread))
    known = [
        (middle == 0, 0.0, rounded(spread, spread, EXACTLY)),  # become shares of the largest: no mean is exactly 0
        (np.isclose(spread**2, middle * (1 - middle), rtol=EQUAL, atol=0), 0.0, 1.0),  # as of 0 and 1 alone
        (np.abs(middle - spread) <= NEARLY * spread, 0.0, rounded(2 * middle, spread, EXACTLY)),  # become -1 to 1
    ]
    for are, first, last in reversed(known):
        low, high = np.where(are, first, low), np.where(are, last, high)
    return low, high


def _ends_of_bins(model, tensor) -> tuple | None:
    """The same of what is put into bins: one bin beyond the boundaries."""
    layers = [] if isinstance(tensor, Tensor) else takers(model, tensor)
    found = sorted(float(each) for layer in layers for each in getattr(layer, "bin_boundaries", None) or ())
    if not found:
        return None
    beyond = (found[-1] - found[0]) / max(1, len(found) - 1) or abs(found[0]) or 1.0
    low, high = np.array([max(0.0, found[0] - beyond) if found[0] >= 0 else found[0] - beyond, found[-1] + beyond])
    return tuple(rounded(end, high - low, ROUGHLY) for end in (low, high))
