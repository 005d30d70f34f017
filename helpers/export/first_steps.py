"""What a model makes of an input before it weighs it: what its layers and operations without weights make of it.

Numbers for an input come in, what becomes of them goes out. How pixels are scaled (`pixel_scale`) and which numbers are
usual (`usual`) is read from that.
"""

from __future__ import annotations

import numpy as np

from helpers.export.layers import nested

SCALING = ("Rescaling", "Normalization", "BatchNormalization")
LEVELS = (0.0, 1.0, 255.0)  # at which an input is asked, in any unit: what scales it makes a line of them
MOSTLY = 0.5  # of what becomes of numbers: of a column in which all were the same, a layer learned no scale


def first_steps(model, known: dict[str, list]) -> dict[str, list]:
    """What becomes of an input, step by step, by the names of what holds it.

    known: by a tensor's name what it holds, the input's first: an array for each of `LEVELS`, or for an input beside it
    the same one each time. Of a class of one's own its first layer that scales is asked.
    """
    if getattr(model, "first_steps", None):
        inputs = {each.name: each.dtype for each in model.inputs}
        done = [
            model.first_steps({name: values[i].astype(inputs[name]) for name, values in known.items()})
            for i in range(len(LEVELS))
        ]
        found = {name: [np.asarray(each[name], np.float32) for each in done] for name in done[0]}
        return {name: values for name, values in found.items() if _is_line(values) and _is_scaled(values)}
    graph = getattr(getattr(model, "_functional", None) or model, "_nodes_by_depth", {})  # none of what is not Keras's
    found = {}
    for node in [node for _, nodes in sorted(graph.items(), reverse=True) for node in nodes]:
        if node.is_input or any(each.name not in known for each in node.input_tensors):
            continue
        operation, given = node.operation, [known[each.name] for each in node.input_tensors]
        if not getattr(operation, "weights", ()) or type(operation).__name__ in SCALING:
            done = _handed_on(operation, given, node)
            if done is not None:
                known[node.output_tensors[0].name] = done
                found |= {node.output_tensors[0].name: done} if _is_scaled(done) else {}
        elif getattr(operation, "inputs", None):
            inner = {each.name: one for each, one in zip(operation.inputs, given, strict=True)}
            found |= first_steps(operation, inner)
        elif len(given) == 1 and hasattr(operation, "layers"):
            first = next((each for each in nested(operation) if type(each).__name__ in SCALING), None)
            done = _handed_on(first, given) if first else None
            found |= {node.output_tensors[0].name: done} if done and _is_scaled(done) else {}
    return found


def means(values: list) -> list[float]:
    return [float(np.mean(value)) for value in values]


def _handed_on(operation, given: list, node=None) -> list | None:
    """What a layer or operation makes of what its tensors hold; None where that is neither one number nor a line."""
    import keras

    if type(operation).__name__ == "BatchNormalization":
        return _standardized(operation, given[0])
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
    return done if _is_line(done) else None


def _is_line(values: list) -> bool:
    at_0, at_1, far = values
    with np.errstate(invalid="ignore"):  # of a logarithm
        return np.isclose(far, at_0 + LEVELS[2] * (at_1 - at_0), rtol=0.01, atol=0.01).mean() > MOSTLY


def _standardized(layer, values: list) -> list | None:
    """By mean and spread of what a BatchNormalization was trained on, which it weighs afterwards."""
    import keras

    if layer.axis not in (-1, values[0].ndim - 1):
        return None
    mean, variance = map(keras.ops.convert_to_numpy, (layer.moving_mean, layer.moving_variance))
    spread = np.sqrt(variance + layer.epsilon)
    return [(value - mean) / spread for value in values]


def _is_scaled(values: list) -> bool:
    """Whether they depend on the input: no constant, as what becomes of an input beside it."""
    return not np.array_equal(values[0], values[2])
