"""How wide an input is of a model whose file leaves it open, as TensorFlow and PyTorch often write it.

`with_width(brought, wishes)` returns what was brought with the width in its shape, where one is answered only, or its
owner tells it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from helpers.data.input_kinds import OPEN
from helpers.data.inputs import InputSignature
from helpers.data.signature import Signature
from helpers.export.detection import Wishes, width_told
from helpers.export.foreign import is_foreign
from helpers.export.graphs import Ends, Tensor
from helpers.export.opening import Brought
from helpers.export.run_keras import compiled
from helpers.quiet import quiet

WIDEST = 1024


def with_width(brought: Brought, wishes: Wishes, before: Signature | InputSignature | None = None) -> Brought:
    """What was brought, as wide as it answers, else as its owner tells; as it is where a width is there, or is none.

    before: the signature of the model in whose place or beside which it is to answer.
    """
    inputs = getattr(brought.ends, "inputs", None) or ()
    shapes = [tuple(each.shape) for each in inputs]
    open_ones = [i for i, shape in enumerate(shapes) if len(shape) > 1 and shape[-1] is None]
    is_several = len(inputs) > 1 and brought.ends is brought.model and not is_foreign(brought.model)
    if len(open_ones) != 1 or inputs[open_ones[0]].dtype == "string" or wishes.takes == "array" or is_several:
        return brought  # a Keras model knows the width of whatever it multiplies
    (at,) = open_ones
    width = _only_one(brought.ends, at)
    if width is None and shapes == [(None, None)] and inputs[0].dtype == "float32":
        width = width_told(wishes) or (before.width if isinstance(before, Signature) else None)
    return brought if width is None else _of_width(brought, at, width)


def _only_one(ends, at: int) -> int | None:
    """The only width of an input that a model answers.

    It may answer a single number, too, which stands for as many as needed.
    """
    answer = getattr(ends, "answer", None) or compiled(ends)

    def is_answered(width: int) -> bool:
        shapes = [[1, *(size or OPEN for size in each.shape[1:])] for each in ends.inputs]
        shapes[at][-1] = width
        try:
            answer(*(np.ones(shape, each.dtype) for shape, each in zip(shapes, ends.inputs, strict=True)))
        except Exception:
            return False
        return True

    found: list[int] = []
    with quiet():  # of what fails, TensorFlow speaks by itself
        for width in range(2, WIDEST + 1):
            found += [width] if is_answered(width) else []
            if len(found) > 1:
                return None
        return next(iter(found), 1 if is_answered(1) else None)


def _of_width(brought: Brought, at: int, width: int) -> Brought:
    model, ends = brought.model, brought.ends
    shapes = [(*each.shape[:-1], width) if i == at else tuple(each.shape) for i, each in enumerate(ends.inputs)]
    if is_foreign(model):
        model.inputs = _shaped(model.inputs, shapes)
        return brought
    import keras

    inputs = [
        keras.Input(shape[1:], dtype=each.dtype, name=each.name)
        for shape, each in zip(shapes, model.inputs, strict=True)
    ]
    given = inputs[0] if len(inputs) == 1 else inputs
    wide = keras.Model(given, model(given), name=model.name)
    for known in ("parameters", "kind", "digest"):  # of a SavedModel
        if hasattr(model, known):
            setattr(wide, known, getattr(model, known))
    if not isinstance(ends, Ends):
        return replace(brought, model=wide, ends=wide)
    ends = replace(ends, inputs=list(_shaped(ends.inputs, shapes)), answer=compiled(wide))
    return replace(brought, model=wide, ends=ends)


def _shaped(tensors, shapes) -> tuple[Tensor, ...]:
    return tuple(replace(each, shape=shape) for each, shape in zip(tensors, shapes, strict=True))
