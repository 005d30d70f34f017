"""Rows of numbers straight from the text of a JSON body: checked while it is parsed, with no dictionary in between.

For models whose features are numbers, or 0 and 1. A body that holds one row, or a list of rows, with each feature once
and within its range, becomes a matrix; what is written in any other way is left to `data.parameters`.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from itertools import chain
from typing import Annotated

import msgspec
import numpy as np
from msgspec.structs import astuple

from helpers.data.parameters import Rows

WIDEST = 256  # features; a wider row is seldom written out with names


@functools.lru_cache(maxsize=128)  # more than one service has models: what is made anew takes milliseconds
def typed_rows(reader) -> TypedRows | None:
    """What reads the bodies for a reader of requests; None where it takes something else than plain numbers."""
    if not reader.all_numbers or reader.n > WIDEST:
        return None
    try:
        return TypedRows(reader)
    except ValueError:  # a name with a quotation mark, say, which msgspec takes for none of a field
        return None


class TypedRows:
    """`read(body)` gives the rows of a body and whether it holds a list, or None for one that is to be read otherwise.

    reader: a `parameters.Reader` whose `all_numbers` is true.
    """

    def __init__(self, reader):
        features = [field.feature for field in reader.fields]
        names = [feature.name for feature in features]
        kinds = [_kind(feature) for feature in features]
        # the names as the table spells them, and all in lower or in upper case: what was sent last is tried first
        spelled = {tuple(names): None, tuple(map(str.lower, names)): None, tuple(map(str.upper, names)): None}
        self._decoders = [
            _decoder(names, kinds)
            for names in spelled
            if all(reader.field(name) is field for name, field in zip(names, reader.fields, strict=True))
        ]
        self._n = len(features)
        self._center, self._scale = (np.array([getattr(f, part) for f in features]) for part in ("center", "scale"))
        self._is_scaled = bool(self._center.any() or (self._scale != 1).any())

    def read(self, body: bytes) -> tuple[Rows, bool] | None:
        for decode in self._decoders:
            try:
                content = decode(body)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                continue
            if decode is not self._decoders[0]:
                self._decoders = [decode, *(other for other in self._decoders if other is not decode)]
            break
        else:
            return None
        is_list = type(content) is list
        flat = tuple(chain.from_iterable(map(astuple, content))) if is_list else astuple(content)
        if not flat or body.count(b":") != len(flat):  # a name that is there twice is a colon more
            return None
        if self._is_scaled:
            matrix = np.frombuffer(struct.pack(f"{len(flat)}d", *flat)).reshape(-1, self._n)
            matrix = ((matrix - self._center) / self._scale).astype(np.float32)
        else:
            matrix = np.frombuffer(struct.pack(f"{len(flat)}f", *flat), np.float32).reshape(-1, self._n)
        return Rows(matrix), is_list


def _decoder(names: tuple[str, ...], kinds: list) -> Callable[[bytes], object]:
    """What decodes a JSON text to a row, or a list of rows, each a Struct of its numbers; else msgspec's errors."""
    fields = [(f"f{i}", kind) for i, kind in enumerate(kinds)]
    renamed = {field: name for (field, _), name in zip(fields, names, strict=True)}
    row = msgspec.defstruct("Row", fields, rename=renamed, forbid_unknown_fields=True, gc=False)
    return msgspec.json.Decoder(row | list[row]).decode


def _kind(feature):
    if feature.kind == "binary":
        return Annotated[int, msgspec.Meta(ge=0, le=1)]
    return Annotated[float, msgspec.Meta(ge=float(feature.low), le=float(feature.high))]
