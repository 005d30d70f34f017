"""What a model makes of an input before it weighs it: what its layers and operations without weights make of it.

Numbers for an input come in, what becomes of them goes out. How pixels are scaled (`pixel_scale`) and which numbers are
usual (`usual`) is read from that.
"""

from __future__ import annotations

import numpy as np

from helpers.data.input_kinds import OPEN
from helpers.export.graphs import Tensor
from helpers.export.layers import nested

SCALING = ("Rescaling", "Normalization", "BatchNormalization")
LEVELS = (0.0, 1.0, 255.0)  # at which an input is asked, in any unit: what scales it makes a line of them
MOSTLY = 0.5  # of what becomes of numbers: of a column in which all were the same, a layer learned no scale


def first_steps(model, tensor, values: np.ndarray) -> dict[str, np.ndarray]:
    """What becomes of an input, step by step, by the names of what holds it.

    values: what the input holds, a row for each of `LEVELS` and any others behind them.
    """
    given = {tensor.name: values}
    for each in model.inputs:  # the same one each time, and no texts
        if each.name != tensor.name and each.dtype != "string":
            given[each.name] = np.zeros((len(values), *(size or OPEN for size in each.shape[1:])), each.dtype)
    if not isinstance(tensor, Tensor):
        return _steps_of_layers(model, given)
    if model.first_steps is None:
        return {}
    found = model.first_steps({**given, tensor.name: values.astype(tensor.dtype)})
    return {name: values for name, values in found.items() if _is_line(values) and _is_scaled(values)}


def _steps_of_layers(model, known: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same of a Keras model, of a class of one's own what its first layer that scales makes of it.

    known: by a tensor's name what it holds.
    """
    graph = getattr(getattr(model, "_functional", None) or model, "_nodes_by_depth", {})
    found = {}
    for node in [node for _, nodes in sorted(graph.items(), reverse=True) for node in nodes]:
        if node.is_input or any(each.name not in known for each in node.input_tensors):
            continue
        operation, given, made = node.operation, [known[each.name] for each in node.input_tensors], []
        if not getattr(operation, "weights", ()) or type(operation).__name__ in SCALING:
            made = _handed_on(operation, given, node)
            known |= {tensor.name: values for tensor, values in zip(node.output_tensors, made, strict=False)}
        elif getattr(operation, "inputs", None):
            inner = {each.name: one for each, one in zip(operation.inputs, given, strict=True)}
            found |= _steps_of_layers(operation, inner)
        elif len(given) == 1 and hasattr(operation, "layers"):
            first = next((each for each in nested(operation) if type(each).__name__ in SCALING), None)
            made = _handed_on(first, given) if first else []
        pairs = zip(node.output_tensors, made, strict=False)  # of which there are none where it is no line
        found |= {tensor.name: values for tensor, values in pairs if _is_scaled(values)}
    return found


def _handed_on(operation, given: list[np.ndarray], node=None) -> list[np.ndarray]:
    """What a layer or operation makes of what its tensors hold; nothing where that is no line of it."""
    import keras

    if type(operation).__name__ == "BatchNormalization":
        return _standardized(operation, given[0])
    arguments, options = given[:1], {}
    if node is not None:
        taken = {id(each): values for each, values in zip(node.input_tensors, given, strict=True)}
        arguments, options = node.arguments.fill_in(taken)
    if getattr(operation, "_call_has_training_arg", False):
        options = {**options, "training": False}
    try:
        made = keras.tree.flatten(operation(*arguments, **options))
        made = [keras.ops.convert_to_numpy(each).astype(np.float32) for each in made]
    except Exception:  # whatever a layer raises, as one that takes or makes something else
        return []
    return made if all(each.ndim and len(each) == len(given[0]) and _is_line(each) for each in made) else []


def _is_line(values: np.ndarray) -> bool:
    at_0, at_1, far = values[: len(LEVELS)]
    with np.errstate(invalid="ignore"):  # of a logarithm
        return np.isclose(far, at_0 + LEVELS[2] * (at_1 - at_0), rtol=0.01, atol=0.01).mean() > MOSTLY


def _standardized(layer, values: np.ndarray) -> list[np.ndarray]:
    """By mean and spread of what a BatchNormalization was trained on, which it weighs afterwards."""
    import keras

    if layer.axis not in (-1, values.ndim - 1):
        return []
    mean, variance = map(keras.ops.convert_to_numpy, (layer.moving_mean, layer.moving_variance))
    return [(values - mean) / np.sqrt(variance + layer.epsilon)]


def _is_scaled(values: np.ndarray) -> bool:
    """Whether they depend on the input: no constant, as what becomes of an input beside it."""
    return not np.array_equal(values[0], values[2])
