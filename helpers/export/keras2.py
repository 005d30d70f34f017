"""The tree of a model as Keras 2 wrote it, rewritten as Keras 3 reads it.

`repair(tree, custom, notes)` returns the new tree; `notes` gains a sentence for each kind of change. What would change
the answers raises `ArtifactError`. Rules for one kind of layer stand in `keras2_layers`, calls of layers in a graph in
`keras2_calls`, weights that are laid out otherwise in `keras2_weights`.
"""

from __future__ import annotations

import inspect

from helpers.export.errors import ArtifactError
from helpers.export.keras2_calls import rewrite_calls
from helpers.export.keras2_layers import CONVERSIONS, REBUILD, RENAMED
from helpers.export.keras_tree import arguments_of, label_of

# Arguments that say how to compute, not what, or that were kept without being used: the answers are the same without.
HOW_NOT_WHAT = {
    "force_generator",
    "fused",
    "implementation",
    "input_length",
    "key_shape",
    "kernel_constraint",  # of a separable convolution, whose kernels are called depthwise and pointwise
    "kernel_initializer",
    "kernel_regularizer",
    "query_shape",
    "rng_type",
    "robust_masking",
    "softmax_robust_masking",
    "trainable",  # of a layer without weights
    "value_shape",
    "vocabulary_size",
}
NEUTRAL = {"groups": 1}  # values that change nothing, beside None and False
POLICIES = ("Policy", "PolicyV1")  # a dtype policy of mixed precision
HARD_SIGMOID = "hard_sigmoid"
HOMES = ("layers", "initializers", "regularizers", "constraints")


def repair(item, custom: dict, notes: list[str]):
    """A tree of Keras 2 rewritten as Keras 3 reads it; classes and functions named in `custom` are left alone."""
    if isinstance(item, list):
        return [repair(part, custom, notes) for part in item]
    if not isinstance(item, dict):
        return item
    kind = item.get("class_name")
    if kind in POLICIES:
        return item["config"]["name"]
    if kind == "function" and item.get("config") == HARD_SIGMOID:
        return _function(HARD_SIGMOID, custom, notes)
    if set(item) == {"type", "value"} and item["type"] == "ndarray":
        notes.append("a number is written as an array ('ndarray'), as before 2019")
        return item["value"]
    if kind and isinstance(item.get("config"), dict | list):
        return _repair_object(item, custom, notes)
    return {key: repair(value, custom, notes) for key, value in item.items()}


def _repair_object(item: dict, custom: dict, notes: list[str]) -> dict:
    kind, config = item["class_name"], item["config"]
    if kind in RENAMED and kind not in custom:
        notes.append(f"the class '{kind}' is called '{RENAMED[kind]}' today")
        kind = RENAMED[kind]
    if isinstance(config, list):
        config = {"name": "sequential", "layers": config}
        notes.append("the layers of a Sequential model are a plain list, as before 2019")
    if kind == "Sequential":
        config = config | {"layers": _input_first(config["layers"], notes)}
    config = {key: _repair_value(key, value, custom, notes) for key, value in config.items()}
    item = item | {"class_name": kind, "config": config}
    if kind in custom:
        return item
    shape = config.pop("batch_input_shape", None)
    if kind == "InputLayer" and shape is not None:
        config["batch_shape"] = shape
    if kind == "Functional":
        rewrite_calls(config, notes)
    if kind in CONVERSIONS:
        item = CONVERSIONS[kind](item, notes)
    _drop_arguments(item, notes)
    return _at_home(item)


def _repair_value(key: str, value, custom: dict, notes: list[str]):
    if value == HARD_SIGMOID and key != "name":
        return _function(value, custom, notes)
    return repair(value, custom, notes)


def _function(name: str, custom: dict, notes: list[str]) -> str | dict:
    """A function of Keras 2 that has another meaning today: our own of its meaning then, unless `custom` has one."""
    if name in custom:
        return name
    notes.append(f"the function '{name}' has another slope today (x/6 + 0.5): Keras 2's, 0.2x + 0.5, is used")
    return {"class_name": "function", "config": f"keras2>{name}", "module": "builtins", "registered_name": "function"}


def _input_first(layers: list[dict], notes: list[str]) -> list[dict]:
    """The layers of a Sequential model with the input shape in a layer of its own."""
    first = layers[0]
    config = first["config"] if isinstance(first["config"], dict) else {}
    shape = config.get("batch_input_shape")
    if first["class_name"] == "InputLayer" or shape is None:
        return layers
    notes.append("the input shape is an argument of the first layer ('batch_input_shape'), not a layer of its own")
    dtype = config.get("dtype")
    dtype = dtype if isinstance(dtype, str) and dtype.startswith(("int", "string")) else "float32"
    source = {"class_name": "InputLayer", "config": {"batch_shape": shape, "dtype": dtype, "name": "features"}}
    return [source, *layers]


def _drop_arguments(item: dict, notes: list[str]) -> None:
    """Drop the arguments that Keras 3 does not take; `ArtifactError` where that would change the answers."""
    import keras

    kind, config = item["class_name"], item["config"]
    if isinstance(config.get("axis"), list) and len(config["axis"]) == 1:
        config["axis"] = config["axis"][0]
    if inspect.isclass(getattr(keras.initializers, kind, None)):
        config.pop("dtype", None)  # TensorFlow 1 wrote it; the dtype is the layer's
    layer = getattr(keras.layers, kind, None)
    if not inspect.isclass(layer):
        return
    for argument in sorted(set(config) - arguments_of(layer)):
        value = config.pop(argument)
        if not (value in (None, False, NEUTRAL.get(argument)) or argument in HOW_NOT_WHAT):
            raise ArtifactError(
                f"{label_of(item)}: Keras {keras.__version__} has no argument '{argument}' ({value!r}); {REBUILD}"
            )
        notes.append(f"the argument '{argument}' of {kind} is gone")


def _at_home(item: dict) -> dict:
    """The object with the module that Keras 3 finds its class in: a layer inside of another is not found without."""
    import keras

    kind = item["class_name"]
    if "registered_name" in item and item["registered_name"]:
        return item  # one of our stand-ins, or one that its owner registered
    if kind == "Functional":
        return item | {"module": "keras.src.models.functional", "registered_name": None}
    if kind == "Sequential":
        return item | {"module": "keras", "registered_name": None}
    for home in HOMES:
        if inspect.isclass(getattr(getattr(keras, home), kind, None)):
            return item | {"module": f"keras.{home}", "registered_name": None}
    return item
