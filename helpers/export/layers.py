"""The layers of a Keras model: those within others, and those that compute with one of its inputs."""

from __future__ import annotations

HANDS_ON = ("Cast", "Reshape", "Flatten", "Squeeze", "ExpandDims", "Identity", "Dropout")


def nested(model) -> list:
    """The layers of a model, those of models within it included."""
    found = []
    for layer in model.layers:
        found += [layer, *(nested(layer) if hasattr(layer, "layers") else [])]
    return found


def readers(model, tensor) -> list:
    """The layers that take an input of the model as it is, those of models within it included."""
    found = []
    for layer in model.layers:
        for node in getattr(layer, "_inbound_nodes", ()):
            for i, each in enumerate(node.input_tensors):
                if each.name == tensor.name:
                    found += readers(layer, layer.inputs[i]) if getattr(layer, "inputs", None) else [layer]
    return found or [layer for layer in model.layers if type(layer).__name__ != "InputLayer"][:1]


def takers(model, tensor) -> list:
    """What computes with an input of the model, layers or operations; those that hand its numbers on are passed."""
    found = []
    for each in getattr(getattr(model, "_functional", None) or model, "operations", model.layers):
        for node in each._inbound_nodes:
            for i, taken in enumerate(node.input_tensors):
                if taken.name != tensor.name:
                    continue
                if getattr(each, "inputs", None):  # not so of a class of one's own
                    found += takers(each, each.inputs[i])
                elif type(each).__name__ in HANDS_ON:
                    found += takers(model, node.output_tensors[0])
                else:
                    found.append(each)
    return found
