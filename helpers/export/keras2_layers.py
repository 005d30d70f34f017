"""Rules for one kind of layer of Keras 2 each: what became of it in Keras 3.

`CONVERSIONS[class name](layer, notes)` returns the layer as Keras 3 has it, `{"class_name", "config", ...}`, and tells
`notes` what was changed; a layer without an equivalent raises `ArtifactError`. What is left of the arguments that Keras
3 does not take is dropped afterwards, by `keras2`.
"""

from __future__ import annotations

import json

from helpers.export.errors import needs_rebuilding
from helpers.export.keras_tree import FUNCTION_KEYS, label_of

REBUILD = "build the model anew without it in Keras 3"
REWRITE = "write that step as a layer, build the model anew with it"
NOT_KEPT = ("einsum", "meshgrid")  # functions of any number of tensors, which Keras 2 did not write down
# What becomes of a mask is another thing today in these layers, and our stand-in of each does as Keras 2 did.
MASKED = {
    **dict.fromkeys(
        ("Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply", "Subtract"),
        "joins masks otherwise today: a step counts where it counts in every sequence, as then",
    ),
    **dict.fromkeys(
        ("Identity", "Normalization", "Rescaling"),
        "hands a mask on today: after it every step counts, as then",
    ),
    "TimeDistributed": "keeps to itself the masks made inside of it today: it hands them on, as then",
}
WITH_STATES = ("Bidirectional", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "GRU", "LSTM", "RNN", "SimpleRNN")
RENAMED = {
    "Model": "Functional",
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "UnifiedLSTM": "LSTM",
    "UnifiedGRU": "GRU",
}


def around(kind: str, layer: dict, **config) -> dict:
    """`layer` inside of one of our stand-ins, which takes its name and its place in the graph."""
    place = {key: layer[key] for key in ("name", "inbound_nodes") if key in layer}
    inner = {key: value for key, value in layer.items() if key not in (*place, "build_config")}
    return place | _stand_in(kind, {"name": layer["config"]["name"], "layer": inner, **config})


def _stand_in(kind: str, config: dict) -> dict:
    return {"class_name": kind, "config": config, "module": "keras2", "registered_name": f"keras2>{kind}"}


def makes_mask(layer: dict) -> bool:
    """Whether a layer says which steps of a sequence count."""
    config = layer.get("config")
    return layer["class_name"] == "Masking" or (isinstance(config, dict) and bool(config.get("mask_zero")))


def takes_whole_numbers(layer: dict) -> bool:
    """Whether a layer is an input of whole numbers, as pictures are kept in files."""
    config = layer.get("config")
    return isinstance(config, dict) and str(config.get("dtype")).startswith(("int", "uint"))


def masked(layer: dict, notes: list[str]) -> dict:
    """A layer that treats a mask otherwise today, in a model in which some steps do not count."""
    kind = layer["class_name"]
    notes.append(f"{kind} {MASKED[kind]}")
    return layer | _stand_in(kind, layer["config"])


def masked_with_states(layer: dict, notes: list[str]) -> dict:
    """A recurrent layer that starts with states given to it, in a model in which some steps do not count."""
    notes.append(
        f"{label_of(layer)} would count every step today, as it starts with the states of another: it does not"
    )
    return layer | _stand_in(layer["class_name"], layer["config"])


def whole_numbers(layer: dict, notes: list[str]) -> dict:
    """A Resizing in a model that takes whole numbers."""
    notes.append("Resizing rounds pictures of whole numbers today: it does not, as then")
    return layer | _stand_in("Resizing", layer["config"])


def _leaky_relu(layer: dict, notes: list[str]) -> dict:
    if "alpha" in layer["config"]:
        layer["config"]["negative_slope"] = layer["config"].pop("alpha")
        notes.append("the argument 'alpha' of LeakyReLU is called 'negative_slope' today")
    return layer


def _thresholded_relu(layer: dict, notes: list[str]) -> dict:
    config = layer["config"]
    config["threshold"] = config.pop("theta")
    notes.append("the layer ThresholdedReLU is a ReLU with a threshold today")
    return layer | {"class_name": "ReLU"}


def _variance_scaling(initializer: dict, notes: list[str]) -> dict:
    if initializer["config"].get("distribution") == "normal":
        initializer["config"]["distribution"] = "truncated_normal"
        notes.append("the initializer's distribution 'normal' is called 'truncated_normal' today")
    return initializer


def _text_vectorization(layer: dict, notes: list[str]) -> dict:
    if layer["config"].get("output_mode", "int") == "int":
        return layer
    notes.append("TextVectorization tells a shape of one dimension too many today where it counts words: not so here")
    return layer | _stand_in("TextVectorization", layer["config"])


def _of_another_dtype(remark: str):
    """A layer whose dtype was that of its input, and is something else today. remark: what, as a sentence."""

    def convert(layer: dict, notes: list[str]) -> dict:
        if str(layer["config"].get("dtype")).startswith("int"):
            del layer["config"]["dtype"]
            notes.append(remark)
        return layer

    return convert


def _recurrent(layer: dict, notes: list[str]) -> dict:
    if not layer["config"].pop("time_major", False):
        return layer
    notes.append(f"{label_of(layer)} takes time first ('time_major'): its input and output are transposed for it")
    return around("TimeMajor", _home(layer))


def _home(layer: dict) -> dict:
    return layer | {"module": "keras.layers", "registered_name": None}


def _gru(layer: dict, notes: list[str]) -> dict:
    if "reset_after" not in layer["config"]:
        layer["config"]["reset_after"] = False
        notes.append("GRU had no argument 'reset_after': it is False, as it was then")
    return _recurrent(layer, notes)


def _cudnn(kind: str, settings: dict):
    def convert(layer: dict, notes: list[str]) -> dict:
        notes.append(f"the layer CuDNN{kind} is called {kind} today, and computes the same without a graphics card")
        layer = layer | {"class_name": kind, "config": layer["config"] | settings}
        return _recurrent(layer, notes)

    return convert


def _bidirectional(layer: dict, notes: list[str]) -> dict:
    """Lifts the transposing of its two halves around the whole."""
    config, transposed = layer["config"], False
    for half in ("layer", "backward_layer"):
        inner = config.get(half)
        if inner and inner["class_name"] == "TimeMajor":
            config[half], transposed = inner["config"]["layer"], True
    return around("TimeMajor", _home(layer)) if transposed else layer


def _locally_connected(layer: dict, notes: list[str]) -> dict:
    config = layer["config"]
    for argument, only in (("implementation", 1), ("data_format", "channels_last"), ("padding", "valid")):
        value = config.pop(argument, only)
        if value != only:
            raise needs_rebuilding(
                f"{label_of(layer)} is gone from Keras 3 and can be converted with {argument}={only!r} only, "
                f"not {value!r}",
                REBUILD,
            )
    notes.append(f"the layer {layer['class_name']} is gone: one of this project's computes the same")
    return layer | _stand_in(layer["class_name"], config)


def _random_size(layer: dict, notes: list[str]) -> dict:
    config = layer["config"]
    notes.append(f"the layer {layer['class_name']} is gone: training goes on without it, answers are the same")
    kept = {key: config[key] for key in ("name", "trainable", "dtype") if key in config}
    return layer | {"class_name": "Identity", "config": kept}


def _random_crop(layer: dict, notes: list[str]) -> dict:
    config = layer["config"]
    config.pop("rng_type", None)
    notes.append("RandomCrop hands a picture on as it is today, outside of training: it is resized, as in Keras 2")
    return layer | _stand_in("RandomCrop", config)


def _interpolating(layer: dict, notes: list[str]) -> dict:
    interpolation = layer["config"].get("interpolation")
    if interpolation in ("gaussian", "mitchellcubic"):
        raise needs_rebuilding(f"{label_of(layer)}: Keras 3 has no interpolation {interpolation!r}", REBUILD)
    return layer


def _lambda(layer: dict, notes: list[str]) -> dict:
    config = layer["config"]
    if isinstance(config["function"], list):
        code, defaults, closure = config["function"]
        inner = {"code": code, "defaults": defaults, "closure": closure}
        config["function"] = {"class_name": "__lambda__", "config": inner}
    if config.get("output_shape_type", "raw") != "raw":
        config["output_shape"] = None  # a function, too; Keras 3 finds the shape itself
    return layer | {"config": {key: value for key, value in config.items() if key not in FUNCTION_KEYS}}


def _operation_of(layer: dict) -> str:
    """What a TensorFlowOpLayer, as Keras 2.3 and 2.4 wrote it, computes: "raw_ops.Mul"."""
    node = layer["config"].get("node_def")
    return f"raw_ops.{(json.loads(node) if isinstance(node, str) else node or {}).get('op', 'an unknown operation')}"


def _tensorflow_function(layer: dict, notes: list[str]) -> dict:
    from helpers.export.keras2_functions import TENSORFLOW_FUNCTIONS

    function = layer["config"].get("function") or _operation_of(layer)
    if function in NOT_KEPT:
        raise needs_rebuilding(
            f"{label_of(layer)} calls tf.{function}, and Keras 2 did not keep the tensors that it was given", REWRITE
        )
    if function not in TENSORFLOW_FUNCTIONS:
        raise needs_rebuilding(f"{label_of(layer)} calls tf.{function}, which has no conversion to Keras 3", REWRITE)
    notes.append(f"calls of TensorFlow ({layer['class_name']}) are calls of the same functions of Keras today")
    return layer | _stand_in("TensorFlowFunction", {"name": layer["config"]["name"], "function": function})


CONVERSIONS = {
    "Bidirectional": _bidirectional,
    "CuDNNGRU": _cudnn("GRU", {"reset_after": True}),
    "CuDNNLSTM": _cudnn("LSTM", {}),
    "Discretization": _of_another_dtype(
        "the dtype of a Discretization is that of its input today, whose fractions it would cut off"
    ),
    "Embedding": _of_another_dtype("the dtype of an Embedding is that of its weights today, not that of its input"),
    "GRU": _gru,
    "GRUCell": _gru,
    "LSTM": _recurrent,
    "Lambda": _lambda,
    "LeakyReLU": _leaky_relu,
    "LocallyConnected1D": _locally_connected,
    "LocallyConnected2D": _locally_connected,
    "RNN": _recurrent,
    "RandomCrop": _random_crop,
    "RandomHeight": _random_size,
    "RandomWidth": _random_size,
    "Resizing": _interpolating,
    "SimpleRNN": _recurrent,
    "SlicingOpLambda": _tensorflow_function,
    "TFOpLambda": _tensorflow_function,
    "TensorFlowOpLayer": _tensorflow_function,
    "TextVectorization": _text_vectorization,
    "ThresholdedReLU": _thresholded_relu,
    "UpSampling2D": _interpolating,
    "VarianceScaling": _variance_scaling,
}
