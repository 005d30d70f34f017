"""What a Keras model takes and answers, found from its first and last layers, as a signature.

`signature_of` is overruled by `Wishes`, what its owner knows better: the names of features and classes, how pixels are
scaled. Whatever cannot be served is an `ArtifactError` that says why.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from helpers import wording
from helpers.data.images import THREE_CHANNELS
from helpers.data.inputs import OPEN, Array, Image, InputSignature, Text, Texts
from helpers.data.outputs import ARRAY, CLASSES, NUMBER, PROBABILITY, Output, as_arrays
from helpers.data.signature import CATEGORY, REAL, UNBOUNDED, Feature, Signature
from helpers.export.errors import ArtifactError, first_line
from helpers.export.foreign import Tensor
from helpers.export.predictors import compiled

MOST_FEATURES = 256  # without names; a longer row is taken for an array, as nobody types it into a page
SMALLEST_PICTURE = 8  # pixels; below these (height, width, 3) is taken for an array
CHANNELS = (1, 3, 4)  # grey, RGB, RGBA
ROWS = 64  # that are asked where the last layer does not tell what the answers are
TAKES = ("row", "array", "image")
HANDS_ON = ("Cast", "Reshape", "Flatten", "Squeeze", "ExpandDims", "Identity", "Dropout")
COUNTED = re.compile(r"(input|inputs|input_layer|keras_tensor|args)(_\d+)?")  # names of inputs that nobody chose
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
WIDTH_UNTOLD = "name the columns that a row holds, --features A,B, or give a table of such rows, --like TABLE"


@dataclass(frozen=True)
class Wishes:
    """What the owner of a model says of it. Each is "" or () where it shall be found.

    features: names. like: the path of a table whose columns are the features: those that are named, else all but the
    label's. classes: names. label: what is predicted. pixels: a key of `images.PIXELS`. takes: one of `TAKES`.
    """

    features: tuple[str, ...] = ()
    like: str = ""
    classes: tuple[str, ...] = ()
    label: str = ""
    pixels: str = ""
    takes: str = ""


def signature_of(
    model, wishes: Wishes, label: str, before: Signature | InputSignature | None = None
) -> Signature | InputSignature:
    """The signature of a Keras model. label: what is predicted where `wishes` do not say it.

    before: the signature of the model in whose place or beside which this one is to answer: what `wishes` leave open is
    as there, where that fits.
    """
    _check(model)
    names, outputs, pixels = _named(model), (), wishes.pixels
    if before:
        wishes, names, outputs = *_as_before(model, wishes, before, names), before.outputs
        label = before.label
    wanted = wishes.label or label
    if wishes.features or wishes.like or (len(model.inputs) == 1 and _is_row(model, model.inputs[0], wishes.takes)):
        features = _with_ids(model, _features(model, wishes, before))
        signature: Signature | InputSignature = Signature(
            features, wanted, values_from=_values_from(wishes, before, features)
        )
        if isinstance(before, Signature) and before.label == wanted:
            signature = replace(before, features=features, values_from=signature.values_from)
    else:
        named = zip(names, model.inputs, strict=True)
        signature = InputSignature(tuple(_input(model, tensor, wishes, name) for name, tensor in named), wanted)
    if pixels and (isinstance(signature, Signature) or not any(isinstance(each, Image) for each in signature.inputs)):
        shapes = " and ".join(str(tuple(each.shape[1:])) for each in model.inputs)
        raise ArtifactError(f"--pixels is of pictures, and the model takes none, but {shapes}: leave it out")
    return replace(signature, outputs=outputs_of(model, signature, wishes.classes, outputs))


def _as_before(model, wishes: Wishes, before: Signature | InputSignature, names: list[str]) -> tuple[Wishes, list[str]]:
    """Wishes, and the names of inputs, with what is left open as it was, where the model takes the same numbers."""
    if wishes.takes or wishes.pixels:
        return wishes, names
    taken = [(tuple(each.shape[1:]), str(each.dtype)) for each in model.inputs]
    if isinstance(before, Signature):
        shape, dtype = taken[0]
        is_row = len(taken) == 1 and dtype == "float32" and None not in shape and np.prod(shape) == before.width
        return (replace(wishes, takes="row") if is_row else wishes), names
    if taken != [(each.shape, each.dtype) for each in before.inputs]:
        return wishes, names
    pixels = next((each.pixels for each in before.inputs if each.kind == "image"), "")
    if before.n > 1:
        return replace(wishes, pixels=pixels), names
    [which] = before.inputs
    return replace(wishes, pixels=pixels, takes=which.kind if which.kind in TAKES else ""), [which.name]


def _check(model) -> None:
    """`ArtifactError` for a model that could not be served, with the reason."""
    if not getattr(model, "inputs", None) or not getattr(model, "outputs", None):
        raise ArtifactError(
            "the model does not say what it takes (a class of its own, or never built): build it with keras.Input, as "
            "keras.Model(inputs, model(inputs)), and save that"
        )
    stateful = [layer.name for layer in model.layers if getattr(layer, "stateful", False)]
    if stateful:
        raise ArtifactError(
            f"the layer {stateful[0]} is stateful, so that an answer depends on the requests before it: build it with "
            "stateful=False"
        )
    for each in model.inputs:
        if each.shape[0] is not None:
            raise ArtifactError(
                f"the model takes exactly {each.shape[0]} row(s) at a time ({each.name}): build it again with "
                "keras.Input(shape), without a batch size, set its weights, and save that"
            )
        if getattr(each, "sparse", False) or getattr(each, "ragged", False):
            raise ArtifactError(f"the input {each.name} is sparse or ragged: build the model with a dense one")


# ---- what it takes ----


def _is_row(model, tensor, takes: str) -> bool:
    if takes:
        return takes == "row"
    shape = tuple(tensor.shape[1:])
    is_plain = len(shape) == 1 and shape[0] is not None and tensor.dtype == "float32"
    return is_plain and shape[0] <= MOST_FEATURES and not (_vocabulary(model, tensor) or _known(model, tensor))


def _features(model, wishes: Wishes, before: Signature | InputSignature | None = None) -> tuple[Feature, ...]:
    if len(model.inputs) != 1:
        names = ", ".join(each.name for each in model.inputs)
        raise ArtifactError(f"the model takes several inputs ({names}): features can be named where there is one")
    shape = tuple(model.inputs[0].shape[1:])
    if None in shape or model.inputs[0].dtype != "float32":
        raise ArtifactError(
            f"the model takes {model.inputs[0].dtype} of shape {shape}, which is no row of features: leave --features "
            "and --like out, and a request holds an array"
        )
    if twice := [name for name, times in Counter(wishes.features).items() if times > 1]:
        raise ArtifactError(f"--features names {', '.join(twice)} twice: a request could not tell them apart")
    width = int(np.prod(shape))
    told = getattr(model, "features", ())
    if wishes.like:
        features = _like(wishes, width)
        given = f"the columns of {Path(wishes.like).name}"
    elif (
        not wishes.features and isinstance(before, Signature) and before.width == width and told in ((), before.columns)
    ):
        return before.features
    else:
        names = wishes.features or told or tuple(f"x{i + 1}" for i in range(width))
        features = tuple(Feature(name, REAL, *UNBOUNDED) for name in names)
        given = "--features"
    found = sum(feature.width for feature in features)
    if found != width:
        name = "say which it takes, in their order, by --features, too" if wishes.like else "name as many"
        raise ArtifactError(
            f"{given} make {found} number{'s' * (found != 1)} ({_some(features)}), the model takes {width}: {name}"
        )
    return features


def width_told(wishes: Wishes) -> int | None:
    """How many numbers a row holds by what the owner of a model says; None where nothing is said."""
    if wishes.like:
        return sum(feature.width for feature in _like(wishes))
    return len(wishes.features) or None


def _like(wishes: Wishes, width: int | None = None) -> tuple[Feature, ...]:
    """The columns of a table as features whose values the model takes as they are."""
    import pandas as pd

    from helpers.data.columns import typed
    from helpers.data.reading import read_table

    path = wishes.like
    table = read_table(path)
    columns = {name.strip().casefold(): name for name in table.frame.columns}
    if unknown := [name for name in wishes.features if name.casefold() not in columns]:
        raise ArtifactError(
            f"{Path(path).name} has no column {unknown[0]!r}{wording.meant(unknown[0], columns.values())}: "
            f"its columns are {wording.listed(columns.values())}"
        )
    others = [name for name in table.frame.columns if name.strip().casefold() != wishes.label.casefold()]
    names = [columns[name.casefold()] for name in wishes.features] or others
    try:
        # every column: what looks like no use, row numbers say, the model takes all the same
        frame = pd.DataFrame({name: typed(table.frame[name], table.commas) for name in names})
        features = Signature.from_table(frame).features
    except ValueError as error:
        raise ArtifactError(f"{Path(path).name} does not tell what the model takes: {error}") from error
    if sum(feature.width for feature in features) != width:  # the model has no column that says what is missing
        features = tuple(replace(feature, missing=False) for feature in features)
    return tuple(f if f.kind == CATEGORY else replace(f, center=0.0, scale=1.0) for f in features)


def _values_from(wishes: Wishes, before: Signature | InputSignature | None, features: tuple[Feature, ...]) -> str:
    """Who tells the ranges of the features: nobody knows that this model was trained on them."""
    if wishes.like:
        return "owner"
    if not isinstance(before, Signature) or features != before.features or all(each.is_unbounded for each in features):
        return ""
    return before.values_from or "before"


def _some(features) -> str:
    names = [feature.name for feature in features]
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")


def _named(model) -> list[str]:
    """What requests call each input: its name, or what a dict of inputs calls it.

    A name that Keras or TensorFlow counted up is another whenever a notebook runs once more: "input_layer_4" is
    "input_2" where it is the second, and "" where it is the only one, which is called by its kind.
    """
    struct = getattr(model, "input", None) if len(model.inputs) > 1 else None
    struct = struct if isinstance(struct, dict) else {}
    keys = {each.name: key for key, each in struct.items() if hasattr(each, "name")}  # and not a list of inputs
    given = [str(keys.get(each.name, each.name)) for each in model.inputs]
    layers = {f"{layer.name}_input" for layer in model.layers}  # of a Sequential model of Keras 2
    places = [f"input_{i + 1}" for i in range(len(given))] if len(given) > 1 else [""]
    counted = [COUNTED.fullmatch(name) or name in layers for name in given]
    names = [place if is_counted else name for name, place, is_counted in zip(given, places, counted, strict=True)]
    return names if len(set(names)) == len(names) else given


def _input(model, tensor, wishes: Wishes, name: str) -> Array | Image | Text | Texts:
    shape, dtype = tuple(tensor.shape[1:]), str(tensor.dtype)
    if dtype == "string":
        kind = Text if shape in ((), (1,)) else Texts
        return kind(name or kind.kind, shape, values=_known(model, tensor))
    if dtype.startswith("complex"):
        raise ArtifactError(f"the input {tensor.name} is of the type {dtype}: give the model numbers")
    if _is_picture(model, tensor, shape, wishes):
        pixels = wishes.pixels or _pixels(model, tensor)
        picture = Image(name or "image", shape, dtype, pixels=pixels, channels_first=_is_channels_first(shape) or None)
        if pixels in THREE_CHANNELS and picture.channels != 3:
            raise ArtifactError(f"the pixels {pixels} are of three colours, the picture has {picture.channels}")
        return picture
    if wishes.takes == "image":
        says = f"the input {tensor.name} of shape {shape} is no picture of a fixed size"
        raise ArtifactError(f"{says}: leave --takes out")
    words = _vocabulary(model, tensor)
    return Array(name or "input", shape, dtype, *((0, words - 1) if words else ()), values=_known(model, tensor))


def _is_picture(model, tensor, shape, wishes: Wishes) -> bool:
    if (
        wishes.takes == "array"
        or None in shape
        or len(shape) not in (2, 3)
        or (len(shape) == 3 and shape[2] not in CHANNELS and not _is_channels_first(shape))
    ):
        return False
    if wishes.takes == "image" or (wishes.pixels and len(shape) == 3):
        return True
    if min(shape[1:] if _is_channels_first(shape) else shape[:2]) < SMALLEST_PICTURE:
        return False
    if len(shape) == 3:
        return True
    readers = {type(layer).__name__ for layer in _readers(model, tensor)}  # (28, 28) may also be a sequence
    return shape[0] == shape[1] and bool(readers & {"Flatten", "Reshape", "Rescaling"})


def _is_channels_first(shape) -> bool:
    """Whether a picture is (channels, height, width), as PyTorch has it."""
    return len(shape) == 3 and shape[0] in CHANNELS and shape[2] not in CHANNELS


def _pixels(model, tensor) -> str:
    """How pixels are scaled: so that what the model begins with makes usual numbers of them, else as its name tells."""
    if getattr(tensor, "pixels", ""):
        return tensor.pixels
    if tensor.dtype.startswith(("uint", "int")):
        return "0..255"
    size = [each or OPEN for each in tensor.shape[1:]]
    values = [np.full((1, *size), level, np.float32) for level in LEVELS]
    black, white, _ = _means(_scaled(model, {tensor.name: values}))
    if not np.allclose((black, white), LEVELS[:2], atol=1e-3):
        return min(RANGES, key=lambda pixels: _strangeness(black, white, *RANGES[pixels]))
    names = [model.name, *(layer.name for layer in model.layers)]
    for pixels, known in APPLICATIONS.items():
        if any(name.lower().startswith(known) for name in names):
            return pixels
    return "0..1"


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
            layers = _nested(operation) if hasattr(operation, "layers") else []
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


def _nested(model) -> list:
    """The layers of a model, those of models within it included."""
    found = []
    for layer in model.layers:
        found += [layer, *(_nested(layer) if hasattr(layer, "layers") else [])]
    return found


def _readers(model, tensor) -> list:
    """The layers that take an input of the model as it is, those of models within it included."""
    found = []
    for layer in model.layers:
        for node in getattr(layer, "_inbound_nodes", ()):
            for i, each in enumerate(node.input_tensors):
                if each.name == tensor.name:
                    found += _readers(layer, layer.inputs[i]) if getattr(layer, "inputs", None) else [layer]
    return found or [layer for layer in model.layers if type(layer).__name__ != "InputLayer"][:1]


def _takers(model, tensor) -> list:
    """What computes with an input of the model, layers or operations; those that hand its numbers on are passed."""
    found = []
    for each in getattr(getattr(model, "_functional", None) or model, "operations", model.layers):
        for node in each._inbound_nodes:
            for i, taken in enumerate(node.input_tensors):
                if taken.name != tensor.name:
                    continue
                if getattr(each, "inputs", None):  # not so of a class of one's own
                    found += _takers(each, each.inputs[i])
                elif type(each).__name__ in HANDS_ON:
                    found += _takers(model, node.output_tensors[0])
                else:
                    found.append(each)
    return found


def _vocabulary(model, tensor) -> int | None:
    """How many words an Embedding, or a CategoryEncoding, knows that takes this input, or None."""
    if isinstance(tensor, Tensor):
        return tensor.words
    direct = [size for size in map(_words, _takers(model, tensor)) if size]
    return min(direct) if direct else _tried_vocabulary(model, tensor)


def _words(layer) -> int | None:
    sizes = {"Embedding": "input_dim", "ReversibleEmbedding": "input_dim", "CategoryEncoding": "num_tokens"}
    return getattr(layer, sizes.get(type(layer).__name__, ""), None)


def _tried_vocabulary(model, tensor) -> int | None:
    """The numbers from 0 that an input may hold where an Embedding takes it within another layer, or after a sum.

    Told by asking: the largest is answered, the next one fails, wherever it stands. None where it is not so.
    """
    sizes = _sizes_within(model)
    if not sizes or any(each.dtype == "string" for each in model.inputs):
        return None
    fails = _failing(model, tensor)
    shape = [size or OPEN for size in tensor.shape[1:]]
    ends = 0, int(np.prod(shape)) - 1
    tried = sorted({size + more for size in sizes for more in (-1, 0, 1)}, reverse=True)
    return next(
        (n for n in tried if not any(fails(n - 1, at) for at in ends) and all(fails(n, at) for at in ends)), None
    )


def _sizes_within(model) -> Collection[int]:
    """How many words the Embeddings know that do not take an input of the model at once.

    Of a model that is not Keras's: how long all lists are in which it looks something up.
    """
    if isinstance(model.inputs[0], Tensor):
        return model.tables
    known = {id(layer) for each in model.inputs for layer in _takers(model, each)}
    within = {id(each): each for layer in _nested(model) for each in layer._flatten_layers()}
    return {size for key, each in within.items() if key not in known and (size := _words(each))}


def _failing(model, tensor) -> Callable[[int, int | slice], bool]:
    """Whether the model has no answer where the values of an input at a place are a number, and all others 1."""
    answer = compiled(model)
    rows = [np.ones((1, *(size or OPEN for size in each.shape[1:])), each.dtype) for each in model.inputs]
    values = rows[[each.name for each in model.inputs].index(tensor.name)].reshape(-1)  # the same memory

    def fails(number: int, at: int | slice) -> bool:
        values[at] = number
        try:
            answer(*rows)
        except Exception:
            return True
        finally:
            values[at] = 1
        return False

    return fails


def _with_ids(model, features: tuple[Feature, ...]) -> tuple[Feature, ...]:
    """Features of which some are numbers that an Embedding within the model looks up, with those that it knows."""
    sizes = _sizes_within(model)
    low, high = UNBOUNDED
    features = tuple(replace(each, low=low, high=high, whole=False) if each.whole else each for each in features)
    if not sizes:
        return features
    fails = _failing(model, model.inputs[0])
    found, at = [], 0
    tried = sorted({size + more for size in sizes for more in (-1, 0, 1)} - {0})
    tried = [number for number in tried if fails(number, slice(None))]
    for feature in features:
        is_number = feature.width == 1 and feature.kind == REAL
        known = next((n for n in tried if fails(n, at) and not fails(n - 1, at)), None) if is_number else None
        found.append(replace(feature, low=0.0, high=known - 1.0, whole=True) if known else feature)
        at += feature.width
    return tuple(found)


def _known(model, tensor) -> tuple | None:
    """The only values of an input that the look-up which takes it knows; None where any is answered."""
    if isinstance(tensor, Tensor):
        return None
    for layer in _takers(model, tensor):
        if type(layer).__name__ in ("StringLookup", "IntegerLookup") and not (layer.num_oov_indices or layer.invert):
            return tuple(value.item() if hasattr(value, "item") else value for value in layer.get_vocabulary())
    return None


# ---- what it answers ----


def outputs_of(
    model,
    signature: Signature | InputSignature,
    classes: tuple[str, ...] = (),
    before: tuple[Output, ...] = (),
) -> tuple[Output, ...]:
    """What a Keras model answers, by its last layers. signature: what it takes; its outputs are not looked at.

    classes: their names. before: outputs that give their names, and those of their classes, to these where nobody does,
    and they fit.
    """
    names = _names_as_before(model, _distinct(_output_names(model), len(model.outputs)), before)
    known = {output.name: output for output in before}
    # Keras tells one dimension too many of what it makes of counted words
    answers = _asked(model, signature) if any(each.dtype == "string" for each in model.inputs) else None
    outputs = []
    for i, (name, tensor) in enumerate(zip(names, model.outputs, strict=True)):
        activation, shape = _activation(tensor), tuple(tensor.shape[1:])
        is_whole = str(tensor.dtype).startswith(("int", "uint", "bool"))  # the number of a class, and no share
        if activation is None and is_whole:
            activation = "linear"
        if activation is None:  # a layer of one's own: its answers tell
            answers = _asked(model, signature) if answers is None else answers
            activation = _seen(answers[i])
        if answers is not None and answers[i].ndim <= len(shape):
            shape = answers[i].shape[1:]
        named = classes or _classes_of(known.get(name), shape, activation)
        if activation == "softmax" and len(getattr(tensor, "classes", ())) == shape[-1]:
            named = named or tensor.classes
        outputs.append(_output(name, shape, activation, () if is_whole else named))
    if classes and not any(output.kind == CLASSES for output in outputs):
        found = " and ".join(str(tuple(tensor.shape[1:])) for tensor in model.outputs)
        raise ArtifactError(
            f"{len(classes)} classes are named, and the model's answers have the shape {found}: name as many, two for "
            "a yes or no, or leave --classes out"
        )
    return tuple(outputs)


def _classes_of(before: Output | None, shape, activation: str) -> tuple[str, ...]:
    """The names of another output's classes where one of this shape and activation tells as many apart."""
    if before is None or len(shape) > 1 or None in shape:
        return ()
    count, size = len(before.classes), int(np.prod(shape))
    is_share_of_two = (count, size) == (2, 1) and "sigmoid" in (activation, before.activation)
    return before.classes if count == size or is_share_of_two else ()


def _output(name: str, shape, activation: str, classes: tuple[str, ...]) -> Output:
    size = None if None in shape else int(np.prod(shape))
    if len(shape) <= 1 and classes and (len(classes) == size or (len(classes), size) == (2, 1)):
        to_do = "" if activation in ("softmax", "sigmoid") else "sigmoid" if size == 1 else "softmax"
        return Output(name, CLASSES, classes, activation=to_do)
    if len(shape) == 1 and size and size > 1 and activation in ("softmax", "log_softmax"):
        if classes:
            raise ArtifactError(f"{len(classes)} classes are named, and the model tells {size} apart: name as many")
        to_do = "softmax" if activation == "log_softmax" else ""  # which makes shares of their logarithms, too
        return Output(name, CLASSES, tuple(map(str, range(size))), activation=to_do)
    if len(shape) <= 1 and size == 1:
        return Output(name, PROBABILITY if activation == "sigmoid" else NUMBER)
    return Output(name, ARRAY, shape=shape)


def _output_names(model) -> list[str]:
    """What the outputs are called: by the keys under which the model answers, or by the layers that make them."""
    given = getattr(model, "output", None) if hasattr(model, "output_names") else None
    if isinstance(given, dict) and all(hasattr(each, "shape") for each in given.values()):
        keys = {id(tensor): str(key) for key, tensor in given.items()}
        return [keys.get(id(tensor), "") for tensor in model.outputs]
    return [str(name) for name in getattr(model, "output_names", [])]


def _names_as_before(model, names: list[str], before: tuple[Output, ...]) -> list[str]:
    """Names of outputs; those that only count are called as those of `before`, in order, that no other one is."""
    known = [output.name for output in before]
    if len(names) < 2 or len(known) != len(names) or set(known) == set(names):
        return names
    chosen = {n for n, tensor in zip(names, model.outputs, strict=True) if not _is_counted(n, tensor)}
    if not chosen <= set(known):
        return names
    left = iter([name for name in known if name not in chosen])
    return [name if name in chosen else next(left) for name in names]


def _is_counted(name: str, tensor) -> bool:
    """Whether nobody chose the name of an output: it is that of the class of its layer, or "output", and a number."""
    history = getattr(tensor, "_keras_history", None)
    kind = type(history.operation).__name__ if history else ""
    kind = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", kind).lower()
    return bool(re.fullmatch(rf"(output|{kind or 'output'})(_?\d+)?|(Identity|StatefulPartitionedCall)\S*", name))


def _distinct(names: list[str], count: int) -> list[str]:
    if count == 1:
        return ["prediction"]
    if len(names) == count and len(set(names)) == count:
        return names
    return [f"output_{i + 1}" for i in range(count)]


def _activation(tensor) -> str | None:
    """What the layer that makes a tensor applies: a value of `foreign.SHARES`, or "linear" for all else; None: unknown.

    Layers that hand on what they get are looked through.
    """
    if isinstance(tensor, Tensor):
        return tensor.activation
    import keras

    history = getattr(tensor, "_keras_history", None)
    if history is None:
        return None
    layer = history.operation
    if isinstance(layer, keras.Model):
        outputs = getattr(layer, "outputs", None)
        return _activation(outputs[history.tensor_index]) if outputs else None
    name = type(layer).__name__
    if name in ("Softmax", "Sigmoid"):
        return name.lower()
    if name in ("TimeDistributed", "Bidirectional"):
        return "linear"
    function = getattr(layer, "activation", None)
    if function is not None and getattr(function, "__name__", "linear") != "linear":
        known = {"hard_sigmoid": "sigmoid"} | {name: name for name in ("softmax", "log_softmax", "sigmoid")}
        return known.get(function.__name__, "linear")
    hands_on = name in ("Dropout", "Flatten", "Reshape", "Identity", "ActivityRegularization", "Cast")
    if hands_on or (name == "Activation" and function is not None):
        inputs = layer._inbound_nodes[history.node_index].input_tensors
        return _activation(inputs[0]) if len(inputs) == 1 else "linear"
    if name == "InputLayer" or type(layer).__module__.startswith("keras."):
        return "linear"
    return None


def answered(model, answer: Callable, rows, signature):
    """`answer(rows)`, for rows made up by the signature; `ArtifactError` where the model has no answer to them."""
    try:
        return answer(rows)
    except Exception as error:
        reason = f"the model does not answer {len(rows)} rows of what it takes: {first_line(error)}"
        raise ArtifactError(f"{reason}; {_advice(model, signature)}") from error


def _advice(model, signature) -> str:
    """What to do about a model that does not answer rows of its own inputs."""
    if [tuple(each.shape[1:]) for each in model.inputs] == [(None,)] and model.inputs[0].dtype == "float32":
        return WIDTH_UNTOLD
    if any(len(each.shape) > 1 and each.shape[-1] is None and each.dtype != "string" for each in model.inputs):
        return "export it anew with the last size of its shape, which the file leaves open"
    if isinstance(signature, Signature):
        return "where it takes certain numbers only, a table of such rows tells them: --like TABLE"
    if any(isinstance(each, Tensor) and each.dtype == "string" for each in model.inputs):
        return "where it takes certain texts only, bring its Keras file, which tells them"
    return "export it so that it takes any number of rows, each of one size"


def _asked(model, signature) -> tuple[np.ndarray, ...]:
    from helpers.export.parity import on_rows

    shape = None if isinstance(signature, InputSignature) else tuple(model.inputs[0].shape[1:])

    def answer(rows):
        return on_rows(compiled(model), shape)(rows)  # compiled here, as that fails where a layer does

    return as_arrays(answered(model, answer, signature.sample(ROWS), signature))


def _seen(answers: np.ndarray) -> str:
    if answers.ndim > 2 or not ((answers >= 0) & (answers <= 1)).all():
        return "linear"
    if answers.ndim == 1:
        return "sigmoid"
    return "softmax" if np.allclose(answers.sum(axis=1), 1, atol=1e-3) else "linear"
