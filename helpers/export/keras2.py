"""The tree of a model as Keras 2 wrote it, rewritten as Keras 3 reads it.

`repair(tree, notes)` returns the new tree; `notes` gains a sentence for each kind of change. What would change the
answers raises `ArtifactError`.
"""

from __future__ import annotations

import inspect

from helpers.export.errors import ArtifactError
from helpers.export.keras_tree import arguments_of, label_of

# Arguments of Keras 2 layers that say how to compute, not what: the answers are the same without them.
HOW_NOT_WHAT = {"implementation", "input_length", "time_major", "fused"}


def repair(item, notes: list[str]):
    """A tree of Keras 2 rewritten as Keras 3 reads it; `notes` gains a sentence for each kind of change."""
    if isinstance(item, list):
        return [repair(part, notes) for part in item]
    if not isinstance(item, dict):
        return item
    if item.get("class_name") == "Policy":  # a dtype policy of mixed precision
        return item["config"]["name"]
    if "class_name" in item and isinstance(item.get("config"), dict | list):
        _repair_object(item, notes)
    return {key: repair(value, notes) for key, value in item.items()}


def _repair_object(item: dict, notes: list[str]) -> None:
    kind, config = item["class_name"], item["config"]
    if kind == "Sequential":
        if isinstance(config, list):
            item["config"] = config = {"name": "sequential", "layers": config}
            notes.append("the layers of a Sequential model are a plain list, as before 2019")
        config["layers"] = _input_first(config["layers"], notes)
        return
    shape = config.pop("batch_input_shape", None)
    if kind == "InputLayer" and shape is not None:
        config["batch_shape"] = shape
    if kind in ("Model", "Functional"):
        if kind == "Model":
            item["class_name"] = "Functional"
            notes.append("the class 'Model' of a saved model is called 'Functional' today")
        for ends in ("input_layers", "output_layers"):
            if len(config[ends]) == 1 and isinstance(config[ends][0], list):
                config[ends] = config[ends][0]  # one tensor, not a list of one tensor
    elif kind == "VarianceScaling" and config.get("distribution") == "normal":
        config["distribution"] = "truncated_normal"
        notes.append("the initializer's distribution 'normal' is called 'truncated_normal' today")
    elif kind != "Lambda":
        _repair_arguments(item, notes)


def _input_first(layers: list[dict], notes: list[str]) -> list[dict]:
    """The layers of a Sequential model with the input shape in a layer of its own."""
    first = layers[0]
    shape = first["config"].get("batch_input_shape") if isinstance(first["config"], dict) else None
    if first["class_name"] == "InputLayer" or shape is None:
        return layers
    notes.append("the input shape is an argument of the first layer ('batch_input_shape'), not a layer of its own")
    source = {"class_name": "InputLayer", "config": {"batch_shape": shape, "dtype": "float32", "name": "features"}}
    if "module" in first:
        source |= {"module": "keras.layers", "registered_name": None}
    return [source, *layers]


def _repair_arguments(item: dict, notes: list[str]) -> None:
    """Rename or drop the arguments that Keras 3 does not take; `ArtifactError` where that would change the answers."""
    import keras

    kind, config = item["class_name"], item["config"]
    if kind == "LeakyReLU" and "alpha" in config:
        config["negative_slope"] = config.pop("alpha")
        notes.append("the argument 'alpha' of LeakyReLU is called 'negative_slope' today")
    if isinstance(config.get("axis"), list) and len(config["axis"]) == 1:
        config["axis"] = config["axis"][0]
    layer, initializer = getattr(keras.layers, kind, None), getattr(keras.initializers, kind, None)
    if initializer and "dtype" in config:
        del config["dtype"]  # TensorFlow 1 wrote it; the dtype is the layer's
    if not inspect.isclass(layer):
        return
    for argument in sorted(set(config) - arguments_of(layer)):
        value = config.pop(argument)
        if not (value in (None, False) or argument in HOW_NOT_WHAT):
            raise ArtifactError(f"{label_of(item)}: Keras {keras.__version__} has no argument '{argument}' ({value!r})")
        notes.append(f"the argument '{argument}' of {kind} is gone")
