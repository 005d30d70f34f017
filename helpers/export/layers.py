"""The layers of a Keras model: those within others, and those that compute with one of its inputs."""

from __future__ import annotations

# Layers and operations that hand each number on as it is, in another shape perhaps.
HANDS_ON = ("ActivityRegularization", "Cast", "Dropout", "ExpandDims", "Flatten", "Identity", "Reshape", "Squeeze")


def nested(model) -> list:
    """The layers of a model, those of models within it included."""
    found = []
    for layer in model.layers:
        found += [layer, *(nested(layer) if hasattr(layer, "layers") else [])]
    return found


def takers(model, tensor, past: tuple[str, ...] = HANDS_ON) -> list:
    """What computes with an input of the model, layers or operations, those of models within it included.

    past: the kinds of those that hand its numbers on, which are passed.
    """
    found = []
    for each in getattr(getattr(model, "_functional", None) or model, "operations", model.layers):
        for node in each._inbound_nodes:
            for i, taken in enumerate(node.input_tensors):
                if taken.name != tensor.name:
                    continue
                if getattr(each, "inputs", None):  # not so of a class of one's own
                    found += takers(each, each.inputs[i], past)
                elif type(each).__name__ in past:
                    found += takers(model, node.output_tensors[0], past)
                else:
                    found.append(each)
    return found
