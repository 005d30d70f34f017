"""Samples that a model answers with finite numbers, where it does not answer all: of a logarithm, numbers above 0.

A signature comes in, and one goes out whose numbers without ends have those as usual that the model has an answer to.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection
from dataclasses import replace

import numpy as np

from helpers import wording
from helpers.data.inputs import InputSignature
from helpers.data.outputs import as_arrays
from helpers.data.signature import Signature
from helpers.export.errors import Remark

ROWS = 256  # that are asked
SHARES = (0.0, 1.0)  # what logarithms, roots and quotients answer, but for the first of it
FIRST = 0.01


def answerable(answer: Callable, signature: Signature | InputSignature, rows: int) -> Signature | InputSignature:
    """The signature, with as few numbers kept above 0 as make the model's answers to its samples finite.

    rows: how many may be asked at most. As it was where that is no matter of what is above 0. A warning names them.
    """
    rows = min(rows, ROWS)
    places = [i for i, each in enumerate(_parts(signature)) if _is_open(each)]
    if not places or _is_answered(answer, signature, rows) is not False:
        return signature
    if not _is_answered(answer, _above_nought(signature, places), rows):
        return signature
    for i in tuple(places):
        fewer = [place for place in places if place != i]
        if _is_answered(answer, _above_nought(signature, fewer), rows):
            places = fewer
    found = _above_nought(signature, places)
    names = wording.listed([_parts(signature)[i].name for i in places], 4)
    like = "; a table tells what is usual: --like TABLE" if isinstance(signature, Signature) else ""
    said = f"the model has no finite answer to some numbers of {names}, as a logarithm has none"
    said += f": those above 0 are proposed and compared{like}"
    warnings.warn(said, Remark, stacklevel=3)
    return found


def _parts(signature: Signature | InputSignature) -> tuple:
    return signature.inputs or signature.features


def _is_open(part) -> bool:
    """Whether a feature or an input is of real numbers of which any is legal."""
    return getattr(part, "is_unbounded", False) or (part.kind == "array" and not part.is_whole)


def _above_nought(signature: Signature | InputSignature, places: Collection[int]) -> Signature | InputSignature:
    parts = tuple(_positive(each) if i in places else each for i, each in enumerate(_parts(signature)))
    return replace(signature, **{"inputs" if signature.inputs else "features": parts})


def _positive(part):
    """A feature or an input of which the numbers above 0 among the usual ones are usual."""
    high = np.abs(np.array(part.usual or SHARES)).max(axis=0)
    usual = (FIRST * high).tolist(), high.tolist()
    return replace(part, usual=usual, **({"default": high.item() / 2} if hasattr(part, "default") else {}))


def _is_answered(answer: Callable, signature: Signature | InputSignature, rows: int) -> bool | None:
    """Whether the answers to samples are finite; None where the model fails."""
    try:
        return all(np.isfinite(each).all() for each in as_arrays(answer(signature.sample(rows))))
    except Exception:  # which `answers.answered` tells
        return None
