"""How the pixels of a picture are scaled that a model takes: a key of `images.PIXELS`.

Told by what its first layers make of a black and of a white picture; a model that is not Keras's tells that itself.
"""

from __future__ import annotations

import numpy as np

from helpers.data.inputs import OPEN
from helpers.export.foreign import Tensor
from helpers.export.layers import nested

WHOLE_PIXELS = ("uint8", "uint16", "uint32", "uint64", "int16", "int32", "int64")  # which 0 to 255 go into
SCALING = ("Rescaling", "Normalization")
LEVELS = (0.0, 1.0, 255.0)  # that are asked to see how pixels are scaled
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
    scaled = tensor.scaled if isinstance(tensor, Tensor) else _scaled_by_layers(model, tensor)
    if scaled is not None and not np.allclose(scaled, LEVELS[:2], atol=1e-3):
        return min(RANGES, key=lambda pixels: _strangeness(*scaled, *RANGES[pixels]))
    if getattr(tensor, "pixels", ""):
        return tensor.pixels
    names = [model.name, *(layer.name for layer in model.layers)]
    for pixels, known in APPLICATIONS.items():
        if any(name.lower().startswith(known) for name in names):
            return pixels
    return "0..1"


def _scaled_by_layers(model, tensor) -> tuple[float, float]:
    """What a Keras model makes of the pixels 0 and 1 in the whole input before it weighs them."""
    size = [each or OPEN for each in tensor.shape[1:]]
    values = [np.full((1, *size), level, np.float32) for level in LEVELS]
    black, white, _ = _means(_scaled(model, {tensor.name: values}))
    return black, white


def _strangeness(at_0: float, at_1: float, low: float, high: float) -> float:
    """How far pixels from low to high become numbers that networks do not compute with, where those of 0 and 1 are so.

    As a share of the nearest usual range.
    """
    first, last = sorted(at_0 + (at_1 - at_0) * end for end in (low, high))
    return min((abs(first - start) + abs(last - end)) / (end - start) for start, end in USUAL)


def _scaled(model, known: dict[str, list]) -> list:
    """What a model makes of an input before it weighs it: what its layers and operations without weights make of it.

    known: by a tensor's name what it holds, for each of `LEVELS` in the whole input; scaling shows as the means stay on
    a line. Of a class of one's own its first layer that scales is asked.
    """
    graph = getattr(getattr(model, "_functional", None) or model, "_nodes_by_depth", {})  # none of what is not Keras's
    nodes = [node for _, nodes in sorted(graph.items(), reverse=True) for node in nodes]
    last = next(iter(known.values()))
    for node in nodes:
        if node.is_input or any(each.name not in known for each in node.input_tensors):
            continue
        operation, given = node.operation, [known[each.name] for each in node.input_tensors]
        if getattr(operation, "weights", ()) and type(operation).__name__ not in SCALING:
            if getattr(operation, "inputs", None):
                return _scaled(operation, {each.name: one for each, one in zip(operation.inputs, given, strict=True)})
            layers = nested(operation) if hasattr(operation, "layers") else []
            inner = next((each for each in layers if type(each).__name__ in SCALING), None)
            return _handed_on(inner, given) or given[0] if inner else given[0]
        done = _handed_on(operation, given, node)
        if done is None:
            return given[0]
        last = known[node.output_tensors[0].name] = done
    return last


def _handed_on(operation, given: list, node=None) -> list | None:
    """What a layer or operation makes of what its tensors hold, at each level; None where that is no scaling of it."""
    import keras

    done = []
    for values in zip(*given, strict=True):
        arguments, options = values[:1], {}
        if node is not None:
            taken = {id(each): value for each, value in zip(node.input_tensors, values, strict=True)}
            arguments, options = node.arguments.fill_in(taken)
        if getattr(operation, "_call_has_training_arg", False):
            options = {**options, "training": False}
        try:
            done.append(keras.ops.convert_to_numpy(operation(*arguments, **options)).astype(np.float32))
        except Exception:  # whatever a layer raises, as one that takes or makes something else
            return None
    black, white, far = _means(done)
    is_line = np.isclose(far, black + LEVELS[2] * (white - black), rtol=0.01, atol=0.01)
    return done if is_line and black != white else None


def _means(values: list) -> list[float]:
    return [float(np.mean(value)) for value in values]
