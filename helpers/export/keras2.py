"""The tree of a model as Keras 2 wrote it, rewritten as Keras 3 reads it.

`repair(tree, custom, notes, ...)` returns the new tree; `notes` gains a sentence for each kind of change. What would
change the answers raises `ArtifactError`. Rules for one kind of layer stand in `keras2_layers`, calls of layers in a
graph in `keras2_calls`, weights that are laid out otherwise in `keras2_weights`.
"""

from __future__ import annotations

import inspect

from helpers.export.errors import ArtifactError
from helpers.export.keras2_calls import rewrite_calls
from helpers.export.keras2_layers import (
    CONVERSIONS,
    MASKED,
    REBUILD,
    RENAMED,
    makes_mask,
    masked,
    takes_whole_numbers,
    whole_numbers,
)
from helpers.export.keras_tree import arguments_of, label_of, layers_of, name_today

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
INSIDE = ("layer", "backward_layer", "cell")  # where a layer holds another
HARD_SIGMOID = "hard_sigmoid"
HOMES = ("layers", "initializers", "regularizers", "constraints")


def repair(tree: dict, custom: dict, notes: list[str], archive: bool = False) -> dict:
    """A tree of Keras 2 rewritten as Keras 3 reads it; classes and functions named in `custom` are left alone.

    archive: the weights stand in a `.keras` archive, which finds them by the classes of the layers, one inside of the
    other: there a layer cannot be put around another.
    """
    layers = layers_of(tree)
    is_masked = any(makes_mask(layer) for layer in layers)
    is_whole = any(takes_whole_numbers(layer) for layer in layers)
    return _Repair(custom, notes, archive, is_masked, is_whole).value(tree)


class _Repair:
    """One walk through a tree, from the inside out."""

    def __init__(self, custom: dict, notes: list[str], archive: bool, is_masked: bool, is_whole: bool):
        self.custom, self.notes, self.archive = custom, notes, archive
        self.is_masked, self.is_whole = is_masked, is_whole

    def value(self, item, key: str = ""):
        if isinstance(item, list):
            return [self.value(part) for part in item]
        if item == HARD_SIGMOID and key != "name":
            return self._function(item)
        if not isinstance(item, dict):
            return item
        kind = item.get("class_name")
        if kind in POLICIES:
            self.notes.append("a dtype policy of mixed precision is written as its name today")
            return item["config"]["name"]
        if kind == "function" and item.get("config") == HARD_SIGMOID:
            return self._function(HARD_SIGMOID)
        if set(item) == {"type", "value"} and item["type"] == "ndarray":
            self.notes.append("a number is written as an array ('ndarray'), as before 2019")
            return item["value"]
        if kind and isinstance(item.get("config"), dict | list):
            if key in INSIDE and "module" not in item and kind not in self.custom:
                self.notes.append("a layer inside of another says where its class is today ('module')")
            return self._object(item)
        return {name: self.value(part, name) for name, part in item.items()}

    def _object(self, item: dict) -> dict:
        kind, config = item["class_name"], item["config"]
        if kind in RENAMED and kind not in self.custom:
            self.notes.append(f"the class '{kind}' of a saved model is called '{RENAMED[kind]}' today")
            kind = RENAMED[kind]
        if isinstance(config, list):
            config = {"name": "sequential", "layers": config}
            self.notes.append("the layers of a Sequential model are a plain list, as before 2019")
        if kind == "Sequential":
            config = config | {"layers": _input_first(config["layers"], self.notes)}
        config = {name: self.value(part, name) for name, part in config.items()}
        item = item | {"class_name": kind, "config": config}
        if isinstance(config.get("name"), str) and "/" in config["name"]:
            config["name"] = name_today(config["name"])
            self.notes.append("the name of a layer may not hold '/' today: it holds '_' instead")
        if kind in self.custom:
            return item | {"module": None, "registered_name": kind}
        item.pop("build_config", None)  # Keras 3 builds a layer when it is called
        shape = config.pop("batch_input_shape", None)
        if kind == "InputLayer" and shape is not None:
            config["batch_shape"] = shape
        if kind == "Functional":
            rewrite_calls(config, self.notes, self.archive, self.is_masked)
        if kind in MASKED and self.is_masked:
            item = masked(item, self.notes)
        if kind == "Resizing" and self.is_whole:
            item = whole_numbers(item, self.notes)
        if kind in CONVERSIONS:
            item = CONVERSIONS[kind](item, self.notes)
        if self.archive and item["class_name"] == "TimeMajor":
            raise ArtifactError(
                f"{label_of(item)} takes time first ('time_major'), which cannot be converted in a .keras archive: "
                "save the model as .h5 with the Keras that wrote it"
            )
        _drop_arguments(item, self.notes)
        return _at_home(item)

    def _function(self, name: str) -> str | dict:
        """A function that has another meaning today: our own of its meaning then, unless `custom` has one."""
        if name in self.custom:
            return name
        self.notes.append(f"the function '{name}' has another slope today (x/6 + 0.5): Keras 2's, 0.2x + 0.5, is used")
        config = f"keras2>{name}"
        return {"class_name": "function", "config": config, "module": "builtins", "registered_name": "function"}


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
    if ">" in (item.get("registered_name") or ""):
        return item  # one of our stand-ins, or one that its owner registered
    if kind == "Functional":
        return item | {"module": "keras.src.models.functional", "registered_name": None}
    if kind == "Sequential":
        return item | {"module": "keras", "registered_name": None}
    for home in HOMES:
        if inspect.isclass(getattr(getattr(keras, home), kind, None)):
            return item | {"module": f"keras.{home}", "registered_name": None}
    return item
