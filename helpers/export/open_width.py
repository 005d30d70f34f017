"""How wide a row is that a model takes whose file leaves it open, as TensorFlow and PyTorch often write it.

`with_width(brought, wishes)` returns what was brought with the width in its shape, where one is answered only, or its
owner tells it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from helpers.export.detection import Wishes, width_told
from helpers.export.foreign import Ends, is_foreign
from helpers.export.opening import Brought
from helpers.export.predictors import compiled
from helpers.quiet import quiet

OPEN = [(None, None)]  # the shapes of such a model's inputs: rows of numbers
WIDEST = 1024


def with_width(brought: Brought, wishes: Wishes) -> Brought:
    """What was brought, as wide as it answers, else as its owner tells; as it is where a width is there, or is none."""
    ends = brought.ends
    inputs = getattr(ends, "inputs", None) or ()
    if [tuple(each.shape) for each in inputs] != OPEN or inputs[0].dtype != "float32" or wishes.takes == "array":
        return brought
    width = _only_one(ends) or width_told(wishes)
    return brought if width is None else _of_width(brought, width)


def _only_one(ends) -> int | None:
    """The only width that a model answers; it may answer a single number, too, which stands for as many as needed."""
    answer = getattr(ends, "answer", None) or compiled(ends)

    def is_answered(width: int) -> bool:
        try:
            answer(np.ones((1, width), np.float32))
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


def _of_width(brought: Brought, width: int) -> Brought:
    model, ends = brought.model, brought.ends
    if is_foreign(model):
        model.inputs = (replace(model.inputs[0], shape=(None, width)),)
        return brought
    import keras

    rows = keras.Input((width,), name=model.inputs[0].name)
    wide = keras.Model(rows, model(rows), name=model.name)
    for known in ("parameters", "kind", "digest"):  # of a SavedModel
        if hasattr(model, known):
            setattr(wide, known, getattr(model, known))
    if not isinstance(ends, Ends):
        return replace(brought, model=wide, ends=wide)
    inputs = [replace(ends.inputs[0], shape=(None, width))]
    return replace(brought, model=wide, ends=replace(ends, inputs=inputs, answer=compiled(wide)))
