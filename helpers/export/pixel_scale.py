"""How the pixels of a picture are scaled that a model takes: a key of `images.PIXELS`.

Told by what its first layers make of a black and of a white picture; a model that is not Keras's tells that itself.
"""

from __future__ import annotations

import numpy as np

from helpers.data.input_kinds import OPEN
from helpers.export.first_steps import LEVELS, first_steps

WHOLE_PIXELS = ("uint8", "uint16", "uint32", "uint64", "int16", "int32", "int64")  # which 0 to 255 go into
RANGES = {"0..255": (0, 255), "0..1": (0, 1), "-1..1": (-1, 1)}  # of pixels that a model may have been trained on
# What those become: shares, also around nought; bytes, also less a mean; spreads from the mean, of dark pictures, too
USUAL = ((0, 1), (-1, 1), (0, 255), (-128, 127), (-2, 2.5), (-0.4, 2.8))
# keras.applications whose pixels are not those of a Rescaling layer in the model
APPLICATIONS = {
    "-1..1": ("mobilenet", "xception", "inception", "nasnet", "resnet50v2", "resnet101v2", "resnet152v2"),
    "caffe": ("resnet50", "resnet101", "resnet152", "vgg16", "vgg19"),
    "torch": ("densenet",),
}


def pixel_scale(model, tensor) -> str:
    """How pixels are scaled: so that what the model begins with makes usual numbers of them, else as its name tells."""
    if tensor.dtype in WHOLE_PIXELS:
        return "0..255"
    scaled = _scaled(model, tensor)
    if not np.allclose(scaled, LEVELS[:2], atol=1e-3):
        return min(RANGES, key=lambda pixels: _strangeness(*scaled, *RANGES[pixels]))
    if getattr(tensor, "pixels", ""):
        return tensor.pixels
    names = [model.name, *(layer.name for layer in model.layers)]
    for pixels, known in APPLICATIONS.items():
        if any(name.lower().startswith(known) for name in names):
            return pixels
    return "0..1"


def _scaled(model, tensor) -> tuple[float, float]:
    """What a model makes of the pixels 0 and 1 in the whole input before it weighs them."""
    size = [each or OPEN for each in tensor.shape[1:]]
    values = np.stack([np.full(size, level, np.float32) for level in LEVELS])
    *_, last = [values, *first_steps(model, tensor, values).values()]
    return float(last[0].mean()), float(last[1].mean())


def _strangeness(at_0: float, at_1: float, low: float, high: float) -> float:
    """How far pixels from low to high become numbers that networks do not compute with, where those of 0 and 1 are so.

    As a share of the nearest usual range.
    """
    first, last = sorted(at_0 + (at_1 - at_0) * end for end in (low, high))
    return min((abs(first - start) + abs(last - end)) / (end - start) for start, end in USUAL)
