"""The kinds of what a model takes that are no features: arrays, pictures, texts; how one value of each is read.

A value comes in as a request holds it, decoded JSON, a text or the bytes of a file, and goes out as the array of a row.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from helpers.data import images
from helpers.data.decimals import proposed, rounded
from helpers.data.fields import LARGEST, only_once, usual_in_words
from helpers.data.refusals import What, choice
from helpers.data.signature import as_tuples
from helpers.data.words import NO, YES

OPEN = 16  # the size that stands for an open one in samples and examples
EXACT = 2**53  # from which on not every whole number is a float64
MOST_NAMED = 12  # texts that a schema names as examples
MOST_COMPARED = 100  # texts that one which is answered is held against, some 2 ms, to say which one it may mean
MOST_SHOWN = 4096  # numbers of an example; a longer array is described, not shown
# No empty one: where padding is masked, as by Embedding(mask_zero=True), a mean over no words is no number.
TEXTS = ("a good one", "this was a waste of time", "the cat sat on the mat", "no", "Ünïcode too, and more of it")


class BadValue(ValueError):
    """What is wrong with the value of an input: the end of a sentence, or a function that makes it (`What`)."""

    def __init__(self, what: What):
        super().__init__(what)
        self.what = what


class _Shaped:
    """What has a `shape`, that of a row, None where a size is open.

    known: the values that the model tells apart, where it takes all others as one that is unknown; else None.
    """

    shape: tuple[int | None, ...]
    known: tuple | None

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return tuple(OPEN if size is None else size for size in self.shape)

    @property
    def size(self) -> int:
        """How many values a row holds, open sizes taken for `OPEN`."""
        return math.prod(self.sample_shape)

    @property
    def _shape_asked(self) -> str:
        return f"({', '.join('any' if size is None else str(size) for size in self.shape)})"

    def _array_schema(self, schema: dict) -> dict:
        """JSON Schema of an array of this shape, whose values have the schema given."""
        for size in reversed(self.shape):
            ends = {"minItems": 1} if size is None else {"minItems": size, "maxItems": size}
            schema = {"type": "array", "items": schema, **ends}
        return schema

    def note(self, row: np.ndarray) -> What | None:
        """What there is to say of one value, as `read` gave it, that the model does not know and answers all the same.

        Of several nothing: among the words of a text there often is one that is unknown.
        """
        if self.known is None or self.shape not in ((), (1,)) or (value := row.item()) in self._told_apart:
            return None
        return partial(_unknown, list(map(str, self.known)), str(value))

    @cached_property
    def _told_apart(self) -> frozenset:
        return frozenset(self.known or ())


def _unknown(known: list[str], value: str, may_compare: Callable[[int], bool]) -> str:
    says = "is none of {}, which the model knows, and answered as any other"
    return choice(known, value, lambda texts: texts <= MOST_COMPARED and may_compare(texts), says)


@dataclass(frozen=True)
class Array(_Shaped):
    """Numbers of a fixed or partly open shape: a sequence, a matrix, one number.

    shape: of one row, None where it is open. dtype: what the model takes, "bool" for true and false. low, high: the
    legal ends of whole numbers that stand for something, as the words of a vocabulary do; None where any number is
    legal. values: the only legal ones, where those are not all between two ends. known: see `_Shaped`. usual: (low,
    high) of numbers without ends, where something tells what is usual, or such ends for each of the last size.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str = "float32"
    low: int | None = None
    high: int | None = None
    kind: str = "array"
    values: tuple[int, ...] | None = None
    known: tuple[int, ...] | None = None
    usual: tuple | None = None

    def __post_init__(self):
        object.__setattr__(self, "shape", tuple(self.shape))
        object.__setattr__(self, "usual", as_tuples(self.usual))
        _check_known(self, int)
        if not all(size is None or (isinstance(size, int) and size > 0) for size in self.shape):
            raise ValueError(f"the shape {self.shape!r} of the input {self.name!r}")

    @property
    def is_whole(self) -> bool:
        return self.low is not None or self.values is not None or np.dtype(self.dtype).kind in "iub"

    @property
    def is_bool(self) -> bool:
        return self.dtype == "bool"

    def read(self, value, allowance: images.Allowance) -> np.ndarray:
        """A decoded JSON value, or its text, as an array of the shape and type of one row; raises `BadValue`.

        allowance: what the request's pictures may take; for those only, here and below.
        """
        wanted = self._in_words()
        if isinstance(value, bytes) and images.is_picture(value):
            takes_image = ", or export the model with --takes image" if len(self.shape) in (2, 3) else ""
            raise BadValue(f"is the file of a picture, and must be {wanted}: send its numbers in JSON{takes_image}")
        if isinstance(value, str | bytes):
            word = value.strip().lower() if self.is_bool and isinstance(value, str) else ""
            in_json = wanted if self.is_one_number else f"{wanted}, written in JSON"
            value = word in YES if word in YES | NO else _from_text(value, in_json)
        try:
            numbers = np.array(value, dtype=np.float64 if _holds_numbers(value) else object)
        except (ValueError, OverflowError) as error:
            raise BadValue(f"must be {wanted}: its parts differ in length, or a number is too large") from error
        if numbers.dtype == object:
            raise BadValue(f"must be {wanted}" + ("" if self.is_one_number else ", of numbers only"))
        if self.is_one_number:
            numbers = numbers.reshape(self.shape) if numbers.size == 1 else numbers
        fits = numbers.ndim == len(self.shape)
        if not fits or any(s not in (None, n) for s, n in zip(self.shape, numbers.shape, strict=True)):
            raise BadValue(f"must be {wanted}, not {_shape_in_words(numbers.shape)}")
        if not numbers.size:
            raise BadValue("is empty")
        if not np.isfinite(numbers).all():
            raise BadValue("holds numbers that are not finite")
        if self.is_whole and np.abs(numbers).max() >= EXACT:
            numbers = np.array(value, dtype=object).reshape(numbers.shape)
        if self.values is not None:
            if not np.isin(numbers, self.values).all():
                raise BadValue(partial(choice, list(map(str, self.values)), ""))
        elif self.is_whole:
            low, high = self._ends()
            if not ((numbers >= low) & (numbers <= high) & (numbers == np.floor(numbers))).all():
                only = "true and false, or 1 and 0" if self.is_bool else f"whole numbers from {low} to {high}"
                raise BadValue(f"must hold {only}")
        elif np.abs(numbers).max() > self._largest:
            raise BadValue(f"holds numbers beyond {self._largest:g}")
        return numbers.astype(self.dtype)

    def _ends(self) -> tuple[int, int]:
        if self.low is not None:
            return self.low, self.high
        if self.is_bool:
            return 0, 1
        info = np.iinfo(self.dtype)
        return int(info.min), int(info.max)

    @property
    def _largest(self) -> float:
        return min(LARGEST, float(np.finfo(self.dtype).max))

    @property
    def is_one_number(self) -> bool:
        """Whether a request may hold a plain number instead of an array."""
        return self.shape in ((), (1,))

    def _in_words(self) -> str:
        if self.is_one_number:
            return "true or false" if self.is_bool else "a number"
        return f"an array of shape {self._shape_asked}"

    def sample(self, k: int, random: np.random.Generator) -> np.ndarray:
        shape = (k, *self.sample_shape)
        if self.usual:
            numbers = random.uniform(*self.usual, shape)
            return (np.rint(numbers) if self.is_whole else numbers).astype(self.dtype)
        if not self.is_whole:
            return random.standard_normal(shape, dtype=np.float32).astype(self.dtype)
        if self.values is not None:
            return random.choice(self.values, shape).astype(self.dtype)
        if self.known is not None:
            return random.choice((*self.known, max(self.known) + 1), shape).astype(self.dtype)
        if self.low is None and len(self.shape) == 1 and "mask" in self.name.lower():
            counted = random.integers(1, shape[1] + 1, (k, 1))  # a row whose steps all do not count has no answer
            return (np.arange(shape[1]) < counted).astype(self.dtype)
        low, high = (self.low, self.high) if self.low is not None else (0, 1)
        numbers = random.integers(low, high + 1, shape)
        if self.low == 0 < self.high and len(shape) == 2:
            numbers[~numbers.any(axis=1), 0] = 1  # no row of padding alone, which is no text either
        return numbers.astype(self.dtype)

    def is_nothing(self, row: np.ndarray) -> bool:
        """Whether it is padding alone, where the numbers stand for words."""
        return self.low == 0 and not row.any()

    def example(self):
        """A value as a request holds it, or None where it would be too long to show."""
        if self.size > MOST_SHOWN:
            return None
        row = replace(self, values=self.values or self.known).sample(1, np.random.default_rng(0))[0]
        if self.usual:
            low, high = np.array(self.usual)
            row = proposed(low, high) if self.is_one_number else rounded(row, high - low, 3)
        elif not self.is_whole:
            row = row.astype(float).round(2)
        row = row.astype(int) if not self.is_bool and (self.is_whole or np.all(row == np.rint(row))) else row
        return row.item() if self.is_one_number else row.tolist()

    def schema(self) -> dict:
        """JSON Schema of a value."""
        schema = self._number_schema() if self.is_one_number else self._array_schema(self._number_schema())
        return schema | ({"description": f"usually {usual_in_words(self.usual)}"} if self.usual else {})

    def _number_schema(self) -> dict:
        if self.values is not None:
            return {"type": "integer", "enum": list(self.values)}
        if self.is_bool:
            return {"type": "boolean"}
        low, high = self._ends() if self.is_whole else (-self._largest, self._largest)
        return {"type": "integer" if self.is_whole else "number", "minimum": low, "maximum": high}


@dataclass(frozen=True)
class Image(Array):
    """A picture. shape: (height, width, channels), or (height, width) of grey. pixels: a key of `images.PIXELS`.

    Where its height and width are None, a picture is taken as large as it is; where one is, in its own proportions.
    resized: whether the model makes it smaller first, so that a large one may be made so before.
    channels_first: the model takes (channels, height, width), as PyTorch does, and `shape` is that.

    A request holds its file, or in JSON its file in base64, `{"b64": "..."}`, as TensorFlow Serving takes it; or an
    array of the model's shape, whose pixels are scaled already.
    """

    kind: str = "image"
    pixels: str = "0..1"
    channels_first: bool | None = None
    resized: bool | None = None

    def __post_init__(self):
        super().__post_init__()
        has_channels = len(self.shape) == 2 or (len(self.shape) == 3 and self.channels)
        if self.pixels not in images.PIXELS or not has_channels:
            raise ValueError(f"the picture {self.name!r} of shape {self.shape!r} with the pixels {self.pixels!r}")

    @property
    def sample_shape(self) -> tuple[int, ...]:
        return tuple(images.SIDE if size is None else size for size in self.shape)

    @property
    def height_and_width(self) -> tuple[int | None, ...]:
        return self.shape[1:] if self.channels_first else self.shape[:2]

    @property
    def channels(self) -> int:
        return self.shape[0 if self.channels_first else 2] if len(self.shape) == 3 else 1

    def _as_taken(self, pixels: np.ndarray) -> np.ndarray:
        """Pictures, (..., height, width, channels) from 0 to 255, as the model takes them."""
        scaled = images.PIXELS[self.pixels](pixels).astype(self.dtype)
        if self.channels_first:
            scaled = np.ascontiguousarray(np.moveaxis(scaled, -1, -3))
        return scaled if len(self.shape) == 3 else scaled[..., 0]

    def read(self, value, allowance: images.Allowance) -> np.ndarray:
        if isinstance(value, Mapping) and set(value) == {"b64"}:
            value = value["b64"]
        if isinstance(value, str):
            value = _from_base64(value)
        if not isinstance(value, bytes):
            return super().read(value, allowance)
        try:
            decoded = images.decode(value, *self.height_and_width, self.channels, allowance, bool(self.resized))
        except images.BadPicture as error:
            raise BadValue(str(error)) from error
        return self._as_taken(decoded)

    def sample(self, k: int, random: np.random.Generator) -> np.ndarray:
        height, width = self.sample_shape[1:] if self.channels_first else self.sample_shape[:2]
        return self._as_taken(random.integers(0, 256, (k, height, width, self.channels)).astype(np.float32))

    def example(self):
        return {"b64": base64.b64encode(images.example(*self.height_and_width)).decode()}

    def schema(self) -> dict:
        encoded = {
            "type": "string",
            "contentEncoding": "base64",
            "description": f"the file of a picture, {images.NAMES}",
        }
        return {"type": "object", "properties": {"b64": encoded}, "required": ["b64"], "additionalProperties": False}

    def _in_words(self) -> str:
        return f"the file of a picture (multipart, or base64), or {super()._in_words()}"


@dataclass(frozen=True)
class Text(_Shaped):
    """A text, which the model takes apart itself. shape: (1,) or (), as the model takes it.

    values: the only ones that the model knows, of which a request may change capitals; None for any text. known: those
    that it tells apart from all others, as they are written.
    """

    name: str
    shape: tuple[int, ...] = (1,)
    kind: str = "text"
    values: tuple[str, ...] | None = None
    known: tuple[str, ...] | None = None
    dtype = "string"

    def __post_init__(self):
        object.__setattr__(self, "shape", tuple(self.shape))
        _check_known(self, str)
        if (self.shape in ((), (1,))) != (self.kind == Text.kind):
            raise ValueError(f"the {self.kind} {self.name!r} has the shape {self.shape!r}")

    def read(self, value, allowance: images.Allowance) -> np.ndarray:
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        return np.array(self._read_one(value), dtype=object).reshape(self.shape)

    def _read_one(self, value) -> str:
        if isinstance(value, bytes):  # a file, whose name stands in a form
            value = value.decode("utf-8-sig", "surrogateescape")
        if not isinstance(value, str):
            several = '; several go as {"instances": [...]}, a row for each' if isinstance(value, list) else ""
            raise BadValue(f"must be a text{several}")
        try:
            value.encode()
        except UnicodeEncodeError as error:  # half of a surrogate pair, which JSON can spell, or other bytes
            raise BadValue("is no text in UTF-8: send it in that encoding") from error
        if self.values is not None:
            exact, folded = self._spelled
            known = exact.get(value, folded.get(value.casefold()))
            if known is None:
                raise BadValue(partial(choice, self.values, value))
            value = known
        return value

    def sample(self, k: int, random: np.random.Generator) -> np.ndarray:
        texts = self.values or ((*self.known, TEXTS[0]) if self.known else TEXTS)
        shape = (k, *self.sample_shape)
        return np.array([texts[i] for i in random.integers(0, len(texts), math.prod(shape))], object).reshape(shape)

    def is_nothing(self, row) -> bool:
        """Whether it holds no word."""
        return not any(text.strip() for text in np.ravel(row))

    def example(self) -> str:
        return (self.values or self.known or TEXTS)[0]

    def schema(self) -> dict:
        if self.values:
            return {"type": "string", "enum": list(self.values)}
        return {"type": "string"} | ({"examples": list(self.known[:MOST_NAMED])} if self.known else {})

    @cached_property
    def _spelled(self) -> tuple[dict[str, str], dict[str, str]]:
        """What a request may write for each value: as it is, or in other letters where that means no other one."""
        values = self.values or ()
        return {value: value for value in values}, only_once((value.casefold(), value) for value in values)


@dataclass(frozen=True)
class Texts(Text):
    """An array of texts. shape: of one row, None where it is open."""

    shape: tuple[int | None, ...]
    kind: str = "texts"

    def read(self, value, allowance: images.Allowance) -> np.ndarray:
        wanted = f"an array of texts of shape {self._shape_asked}"
        parts, shape = (
            [_from_text(value, f"{wanted}, written in JSON") if isinstance(value, str | bytes) else value],
            [],
        )
        for size in self.shape:
            lengths = {len(part) if isinstance(part, list) else 0 for part in parts}
            if len(lengths) > 1 or 0 in lengths or size not in (None, *lengths):
                raise BadValue(f"must be {wanted}")
            shape += lengths
            parts = [each for part in parts for each in part]
        return np.array([self._read_one(part) for part in parts], dtype=object).reshape(shape)

    def example(self) -> list:
        return replace(self, values=self.values or self.known).sample(1, np.random.default_rng(0))[0].tolist()

    def schema(self) -> dict:
        return self._array_schema(super().schema())


KINDS = {"array": Array, "image": Image, "text": Text, "texts": Texts}


def is_one_value(which) -> bool:
    """Whether an input is one text or one number, which an address holds as well."""
    return which.kind == "text" or getattr(which, "is_one_number", False)


def _check_known(which, kind: type) -> None:
    """Make tuples of the values of an input, as its card holds them; ValueError where they are none of its kind."""
    for name in ("values", "known"):
        values = getattr(which, name)
        if values is not None:
            if not values or not all(isinstance(value, kind) for value in values):
                raise ValueError(f"the values {values!r} of the input {which.name!r}")
            object.__setattr__(which, name, tuple(values))


def _from_text(text: str | bytes, wanted: str):
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadValue(f"must be {wanted}") from error


# Base64 as it is written into lines, and for addresses.
_AS_BASE64 = str.maketrans({"\r": None, "\n": None, "-": "+", "_": "/"})


def _from_base64(text: str) -> bytes:
    if text.startswith("data:"):
        text = text.partition(",")[2]
    written = text.translate(_AS_BASE64)
    try:
        return base64.b64decode(written + "=" * (-len(written) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        if text.lower().endswith(images.ENDINGS):
            raise BadValue(
                "is the name of a file, not the file: curl takes an @ before it, -F image=@file.jpg"
            ) from error
        if " " in text.strip():
            raise BadValue(
                "is base64 with blanks: in a form each + is to be written as %2B, in JSON as it is"
            ) from error
        raise BadValue("is not the file of a picture in base64") from error


def _holds_numbers(value) -> bool:
    """Whether the innermost values of nested lists are numbers; NumPy would also make numbers of texts."""
    stack = [value]
    while stack:
        part = stack.pop()
        if isinstance(part, list):
            if set(map(type, part)) <= {int, float}:
                continue
            stack.extend(part)
        elif not isinstance(part, int | float):
            return False
    return True


def _shape_in_words(shape: tuple[int, ...]) -> str:
    return f"one of shape ({', '.join(map(str, shape))})" if shape else "a number"
