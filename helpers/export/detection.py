"""What a Keras model takes, found from its first layers, and with what it answers (`answers`) its signature.

`signature_of` is overruled by `Wishes`, what its owner knows better: the names of features and classes, how pixels are
scaled. Whatever cannot be served is an `ArtifactError` that says why.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from helpers import wording
from helpers.data.images import THREE_CHANNELS
from helpers.data.input_kinds import Array, Image, Text, Texts
from helpers.data.inputs import InputSignature
from helpers.data.signature import CATEGORY, REAL, UNBOUNDED, Feature, Signature
from helpers.export.answers import outputs_of
from helpers.export.errors import ArtifactError
from helpers.export.first_steps import SCALING
from helpers.export.graphs import ANY, Tensor
from helpers.export.layers import HANDS_ON, takers
from helpers.export.lookups import known_values, told_apart, vocabulary, with_ids
from helpers.export.pixel_scale import WHOLE_PIXELS, pixel_scale
from helpers.export.usual import usual_numbers, with_usual

MOST_FEATURES = 256  # without names; a longer row is taken for an array, as nobody types it into a page
SMALLEST_PICTURE = 8  # pixels; below these (height, width, 3) is taken for an array
CHANNELS = (1, 3, 4)  # grey, RGB, RGBA
COMPUTES = ("Add", "Divide", "Multiply", "Subtract", "TrueDivide")  # with each pixel
RESIZES = {"Resizing", "Resize"}  # Keras's layer and operation
TAKES = ("row", "array", "image")
COUNTED = re.compile(r"(input|inputs|input_layer|keras_tensor|args)(_\d+)?")  # names of inputs that nobody chose


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
        features = with_usual(model, with_ids(model, _features(model, wishes, wanted, before)))
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


def _is_row(model, tensor, takes: str) -> bool:
    if takes:
        return takes == "row"
    shape = tuple(tensor.shape[1:])
    is_plain = len(shape) == 1 and shape[0] is not None and tensor.dtype == "float32"
    return is_plain and shape[0] <= MOST_FEATURES and not (vocabulary(model, tensor) or known_values(model, tensor))


def _features(
    model, wishes: Wishes, label: str, before: Signature | InputSignature | None = None
) -> tuple[Feature, ...]:
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
        features = _like(wishes, width, label)
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


def _like(wishes: Wishes, width: int | None = None, label: str = "") -> tuple[Feature, ...]:
    """The columns of a table as features whose values the model takes as they are.

    width: how many numbers it takes. label: what it predicts, whose column is left out where they would be too many.
    """
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
        if width and not (wishes.features or wishes.label) and sum(feature.width for feature in features) > width:
            features = tuple(each for each in features if each.name.casefold() != label.casefold())
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
        values = known_values(model, tensor)
        return kind(name or kind.kind, shape, values=values, known=None if values else told_apart(model, tensor))
    if dtype.startswith("complex"):
        raise ArtifactError(f"the input {tensor.name} is of the type {dtype}: give the model numbers")
    if _is_picture(model, tensor, shape, wishes):
        pixels = wishes.pixels or pixel_scale(model, tensor)
        if pixels != "0..255" and dtype in WHOLE_PIXELS:
            raise ArtifactError(
                f"the input {tensor.name} takes whole numbers ({dtype}), which pixels of {pixels} are not: leave "
                "--pixels out"
            )
        told = {"channels_first": _is_channels_first(shape) or None, "resized": _is_resized(model, tensor) or None}
        picture = Image(name or "image", shape, dtype, pixels=pixels, **told)
        if pixels in THREE_CHANNELS and picture.channels != 3:
            raise ArtifactError(f"the pixels {pixels} are of three colours, the picture has {picture.channels}")
        return picture
    if wishes.takes == "image":
        says = f"the input {tensor.name} of shape {shape} is no picture"
        raise ArtifactError(f"{says}: leave --takes out")
    words = vocabulary(model, tensor)
    ends = (0, words - 1) if words else ()
    values = known_values(model, tensor)
    known = None if values or words else told_apart(model, tensor)
    usual = None if values or words or known or dtype == "bool" else usual_numbers(model, tensor)
    return Array(name or "input", shape, dtype, *ends, values=values, known=known, usual=usual)


def _is_picture(model, tensor, shape, wishes: Wishes) -> bool:
    if (
        wishes.takes == "array"
        or tensor.dtype in ("int8", "bool")
        or len(shape) not in (2, 3)
        or (len(shape) == 3 and shape[2] not in CHANNELS and not _is_channels_first(shape))
    ):
        return False
    if wishes.takes == "image" or (wishes.pixels and len(shape) == 3):
        return True
    sides = shape[1:] if _is_channels_first(shape) else shape[:2]
    if None in sides:  # what is open on one side only may be a sequence as well
        return len(shape) == 3 and sides == (None, None)
    if min(sides) < SMALLEST_PICTURE:
        return False
    if len(shape) == 3:
        return True
    if isinstance(tensor, Tensor):  # (28, 28) may also be a sequence
        is_flattened = tensor.flat in (ANY, shape[0] * shape[1])
    else:
        kinds = {type(layer).__name__ for layer in takers(model, tensor, past=())}
        is_flattened = bool(kinds & {"Flatten", "Reshape", "Rescaling"})
    return shape[0] == shape[1] and is_flattened


def _is_resized(model, tensor) -> bool:
    """Whether a model gives a picture of any size its own one before it does anything with it."""
    if tuple(tensor.shape[1:]).count(None) != 2:
        return False
    if isinstance(tensor, Tensor):
        return tensor.is_resized
    kinds = {type(each).__name__ for each in takers(model, tensor, past=(*HANDS_ON, *SCALING, *COMPUTES))}
    return bool(kinds) and kinds <= RESIZES


def _is_channels_first(shape) -> bool:
    """Whether a picture is (channels, height, width), as PyTorch has it."""
    return len(shape) == 3 and shape[0] in CHANNELS and shape[2] not in CHANNELS
