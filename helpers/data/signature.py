"""What a model takes: its features in order, each with a kind, and how a row of them becomes the row of a matrix.

A `Signature` is learned from a table and travels in the model card. `encode` turns columns of a table into the (k, m)
float32 matrix that a model takes; `parse` does the same for the parameters of a request, by the rules of `parameters`.
Each feature fills one column of the matrix, or several: a category one for each of its values, a feature that may be
missing one more that says so. Values are matched by name, never by position.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property, partial

import numpy as np

from helpers.data.fields import LARGEST, SOURCES
from helpers.data.outputs import ONE_PROBABILITY, Output
from helpers.data.parameters import Reader
from helpers.data.refusals import InvalidRequest
from helpers.data.words import NO, OTHER_YES, YES

__all__ = ["BINARY", "CATEGORY", "REAL", "Feature", "InvalidRequest", "Signature"]

BINARY, REAL, CATEGORY = "binary", "real", "category"
MAX_ENUMERATED = 16  # 2**16 rows of 16 float32 are 4 MB: as many inputs as are worth listing one by one
MAX_FEATURES = 100_000  # a card that lists more is damaged
OWN_COLUMNS = 200  # values of a category that get a column of their own; the rarer ones share one
RARE = 0.005  # share of the rows below which a value is rare,
OFTEN = 30  # unless it stands in so many rows, from which its column is learned: a table may be long
MISSING_SHARE = 0.1  # of the random rows of `sample`
AS_USUAL = frozenset(  # that a question about what is not so answers by no
    "absent benign control declined denied existing genuine ham healthy kept legit legitimate low miss normal negative "
    "ok paid real refused rejected stayed".split()
)
DENIALS = frozenset("no not non nicht kein keine sans sin without senza ohne zonder bez без нет".split())
UNBOUNDED = (-LARGEST, LARGEST)  # the range of a number of which nothing is known


@dataclass(frozen=True)
class Feature:
    """One column of a table, `name` as the table spells it.

    kind: "binary" (0 or 1), "real" (a number, `low` to `high` in the table; `UNBOUNDED` where no table tells), or
        "category" (one of some texts).
    default: a typical value: 0 for 0 and 1, the median of numbers, the most frequent text.
    values: of a category the texts with a column of their own; of a binary feature its two texts, the one for 0 first,
        or () for plain 0 and 1. pooled: the rare texts of a category, which share one column.
    missing: whether a value may be missing; the typical value takes its place, and one more column says so.
    whole: whether a number is the whole number of something, of a word say, and none beyond `low` and `high` is known.
    usual: (low, high) of an unbounded number, where something tells what is usual; no other one is spoken of for it.
    center, scale: a number is encoded as (value - center) / scale in float64, where float32 would not tell the
        values of the table apart, or where their size is beyond what a network can learn from.
    """

    name: str
    kind: str = BINARY
    low: float = 0.0
    high: float = 1.0
    default: float | str = 0.0
    values: tuple[str, ...] = ()
    pooled: tuple[str, ...] = ()
    missing: bool = False
    center: float = 0.0
    scale: float = 1.0
    whole: bool = False
    usual: tuple[float, float] | None = None

    def __post_init__(self):
        for name in ("values", "pooled", "usual"):
            object.__setattr__(self, name, as_tuples(getattr(self, name)))
        if self.kind not in (BINARY, REAL, CATEGORY):
            raise ValueError(f"the feature {self.name!r} is of the kind {self.kind!r}, which nobody knows")
        if self.kind == CATEGORY:
            if not self.values or not all(isinstance(text, str) for text in (*self.values, *self.pooled)):
                raise ValueError(f"the category {self.name!r} has no values")
        elif not all(map(_is_finite, (self.low, self.high, self.center, self.scale))) or self.low > self.high:
            raise ValueError(f"the range of {self.name!r} is {self.low} to {self.high}")
        elif self.scale <= 0:
            raise ValueError(f"the scale of {self.name!r} is {self.scale}")
        else:
            # a whole number less an int would keep digits that it loses as a float, in a list of rows for one
            object.__setattr__(self, "center", float(self.center))
            object.__setattr__(self, "scale", float(self.scale))
        if self.kind == BINARY and len(self.values) not in (0, 2):
            raise ValueError(f"the binary feature {self.name!r} has {len(self.values)} values")

    @property
    def is_unbounded(self) -> bool:
        return self.kind == REAL and (self.low, self.high) == UNBOUNDED

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns that it fills in the matrix."""
        if self.kind == CATEGORY:
            own = [f"{self.name}={value}" for value in self.values]
            own += [f"{self.name}=another"] if self.pooled else []
        else:
            own = [self.name]
        return (*own, f"{self.name} is missing") if self.missing else tuple(own)

    @cached_property
    def width(self) -> int:
        """The number of columns that it fills in the matrix."""
        return len(self.columns)

    @cached_property
    def codes(self) -> dict[str, int]:
        """The texts of a category and the column of each among the feature's; 0 and 1 for two texts."""
        codes = {text: i for i, text in enumerate(self.values)}
        return codes | dict.fromkeys(self.pooled, len(self.values))

    def encode(self, values) -> np.ndarray:
        """A column of a table, (k,), as (k, width) float32. Numbers hold NaN where they are missing, texts None.

        Raises ValueError where a value is missing or is none of the texts that the feature knows.
        """
        values = np.asarray(values)
        if self.kind != REAL and (self.values or values.dtype == object):
            numbers = self._codes_of(values)
        else:
            numbers = values.astype(np.float64)
        absent = np.isnan(numbers)
        if absent.any() and not self.missing:
            raise ValueError(f"{self.name!r} is missing in row {int(np.argmax(absent))}, which the model never saw")
        encoded = np.zeros((len(numbers), self.width), np.float32)
        if self.missing:
            encoded[:, -1] = absent
        if self.kind == CATEGORY:
            there = np.flatnonzero(~absent)
            encoded[there, numbers[there].astype(int)] = 1
        else:
            encoded[:, 0] = self.scaled(np.where(absent, self.default_number, numbers))
        return encoded

    def scaled(self, numbers):
        """Numbers, or one, as the matrix holds them, in float64."""
        if self.center == 0.0 and self.scale == 1.0:
            return numbers
        return (numbers - self.center) / self.scale

    @property
    def default_number(self) -> float:
        """What takes the place of a missing value of a feature that is no category, before `scaled`."""
        return float(self.codes[self.default] if isinstance(self.default, str) else self.default)

    def _codes_of(self, values: np.ndarray) -> np.ndarray:
        """Texts as float64 numbers of `codes`, NaN where one is missing."""
        codes = self.codes or {0: 0, 1: 1}
        numbers = [math.nan if is_missing(value) else codes.get(value, -1) for value in values.tolist()]
        numbers = np.array(numbers, dtype=np.float64)
        if (numbers < 0).any():
            row = int(np.argmax(numbers < 0))
            raise ValueError(f"{self.name!r} is {values[row]!r} in row {row}, which the model never saw")
        return numbers

    def random(self, uniform: np.ndarray, missing: np.ndarray) -> np.ndarray:
        """(k,) legal values from (k,) numbers between 0 and 1; missing where `missing` says so and they may be."""
        if self.usual:
            values = self.usual[0] + uniform * (self.usual[1] - self.usual[0])
        elif self.is_unbounded:
            safe = np.clip(uniform, 1e-9, 1 - 1e-9)
            values = math.sqrt(3) / math.pi * np.log(safe / (1 - safe))  # logistic: mean 0, variance 1
        elif self.whole:
            values = np.minimum(np.floor(self.low + uniform * (self.high - self.low + 1)), self.high)
        elif self.kind == REAL:
            values = np.clip(self.low + uniform * (self.high - self.low), self.low, self.high)
        elif self.kind == BINARY and not self.values:
            values = (uniform < 0.5).astype(float)
        else:
            texts = np.array([*self.values, *self.pooled], dtype=object)
            values = texts[np.minimum((uniform * len(texts)).astype(int), len(texts) - 1)]
        if self.missing:
            values[missing] = None if values.dtype == object else np.nan
        return values

    def as_requested(self, value):
        """A value as a request holds it: a text, a number, an int where it is whole, None where it is missing."""
        if is_missing(value):
            return None
        if isinstance(value, str):
            return value
        return int(value) if float(value).is_integer() else float(value)

    def to_dict(self) -> dict:
        """Plain JSON types; what is as usual for the kind is left out."""
        always = ("name", "kind") if self.kind == CATEGORY else ("name", "kind", "low", "high", "default")
        usual = {field.name: field.default for field in fields(self)}
        return {k: plain(v) for k, v in asdict(self).items() if k in always or v != usual[k]}


def plain(value):
    """A value of a signature as a card gives it back, so that one is compared with what was read: lists, not tuples."""
    return list(map(plain, value)) if isinstance(value, tuple) else value


def as_tuples(value):
    """The inverse of `plain`."""
    return tuple(map(as_tuples, value)) if isinstance(value, list | tuple) else value


@dataclass(frozen=True)
class Signature:
    """The features of a model in the order in which it takes them, and the label that it predicts.

    positive: the value of the label whose probability is predicted, as the table spells it; "" for 1.
    outputs: what the model answers. display_name: what people call that which is predicted, "" for `label = positive`.
    values_from: who tells the ranges and texts of the features: "" for the rows that the model was trained on, "owner"
    for a table that its owner named, "before" for the model whose callers it answers now.
    left_out: the table's other columns, which a request may hold and nothing is made of.
    group: the one of these whose rows were all trained on or all tested on, "" where each row went by itself.
    """

    features: tuple[Feature, ...]
    label: str = "label"
    positive: str = ""
    outputs: tuple[Output, ...] = ONE_PROBABILITY
    display_name: str = ""
    values_from: str = ""
    left_out: tuple[str, ...] = ()
    group: str = ""

    inputs = ()  # it takes no others than its features, as an `InputSignature` does
    takes_pictures = False

    def __post_init__(self):
        object.__setattr__(self, "left_out", tuple(map(str, self.left_out)))
        if self.outputs == ONE_PROBABILITY:
            object.__setattr__(self, "outputs", ONE_PROBABILITY)  # the very object, which answers are told by
        if self.values_from not in SOURCES:
            raise ValueError(f"the values come from {self.values_from!r}, which nobody knows")
        names = [feature.name for feature in self.features]
        if not names:
            raise ValueError("a signature needs at least one feature")
        if len(names) > MAX_FEATURES:
            raise ValueError(f"a signature of {len(names):,} features")
        twice = sorted(name for name, times in Counter(names).items() if times > 1)
        if twice:
            raise ValueError(f"columns {', '.join(twice)} occur twice: rename one")

    @classmethod
    def from_table(cls, x, label: str = "label", positive: str = "", display_name: str = "") -> Signature:
        """The signature of a pandas DataFrame of features (the label not among them).

        A column of 0 and 1 is binary, as is one of two texts; one of more texts is a category, any other is real with
        the range that the table shows. Where the table lacks a value, a request may lack it.
        """
        features = tuple(_feature(name, x[name].to_numpy()) for name in x.columns)
        return cls(features, label, positive, display_name=display_name)

    @classmethod
    def from_dict(cls, data: Mapping) -> Signature:
        """The inverse of `to_dict`; ValueError, KeyError or TypeError for what is no signature."""
        features = tuple(Feature(**feature) for feature in data["features"][: MAX_FEATURES + 1])
        more = (data.get(part, "") for part in ("display_name", "values_from", "left_out", "group"))
        return cls(features, data["label"], data.get("positive", ""), outputs_from(data), *more)

    def to_dict(self) -> dict:
        """Plain JSON types: `{"features": [{"name", "kind", "low", "high", "default"}, ...], "label": "label"}`."""
        parts = ("positive", "display_name", "values_from", "left_out", "group")
        told = {part: plain(getattr(self, part)) for part in parts}
        told = {part: value for part, value in told.items() if value}
        features = [feature.to_dict() for feature in self.features]
        return {"features": features, "label": self.label, **told, **outputs_to_dict(self.outputs)}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the features in order, as the table spells them."""
        return tuple(feature.name for feature in self.features)

    @property
    def outcome(self) -> str:
        """What the probability is of, in words: its display name, or else `survived`, or `survived = yes`."""
        return self.display_name or (f"{self.label} = {self.positive}" if self.positive else self.label)

    @property
    def n(self) -> int:
        """The number of features."""
        return len(self.features)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns of the matrix: those of the features, `gender=male`, `age is missing`."""
        return tuple(column for feature in self.features for column in feature.columns)

    @cached_property
    def column_labels(self) -> tuple[str, ...]:
        """The columns as a figure calls them, (m,): one of two texts says which of them is 1, `smoker=yes`."""
        return tuple(
            f"{column}={feature.values[1]}" if feature.values and column == feature.name else column
            for feature in self.features
            for column in feature.columns
        )

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """Where the columns of each feature stand in the matrix."""
        ends = np.cumsum([feature.width for feature in self.features]).tolist()
        return tuple(slice(end - each.width, end) for each, end in zip(self.features, ends, strict=True))

    @property
    def width(self) -> int:
        """The number of columns of the matrix, m."""
        return len(self.columns)

    @cached_property
    def all_binary(self) -> bool:
        """Whether every column of the matrix is a feature that is 0 or 1."""
        return all(feature.kind == BINARY and not feature.missing for feature in self.features)

    def __len__(self) -> int:
        return self.n

    def encode(self, table) -> np.ndarray:
        """Columns by their names (a DataFrame, or a mapping of arrays) as the (k, m) float32 matrix of the model."""
        return np.hstack([feature.encode(table[feature.name]) for feature in self.features])

    def example(self) -> dict:
        """One legal row: typical values; where all features are 0 or 1, the first one 1 (`g1=1`, the others 0)."""
        row = {feature.name: feature.as_requested(feature.default) for feature in self.features}
        for feature in self.features:
            if feature.kind == BINARY and feature.values and not isinstance(feature.default, str):
                row[feature.name] = feature.values[int(feature.default)]
        if all(feature.kind == BINARY for feature in self.features):
            first = self.features[0]
            row[first.name] = first.values[1] if first.values else 1
        return row

    def every_input(self) -> np.ndarray | None:
        """Every possible row, (2**n, n) float32, where all features are binary and n is at most 16; otherwise None."""
        if self.n > MAX_ENUMERATED or not self.all_binary:
            return None
        numbers = np.arange(2**self.n)[:, None]
        return (numbers >> np.arange(self.n - 1, -1, -1) & 1).astype(np.float32)

    def sample(self, k: int, seed: int = 0) -> np.ndarray:
        """`k` random legal rows as the model takes them, (k, m) float32: each feature uniform over its values."""
        return self.encode(self._random(k, seed))

    def sample_rows(self, k: int, seed: int = 0) -> list[dict]:
        """The rows of `sample` as requests hold them: names and values."""
        drawn = self._random(k, seed)
        columns = [list(map(f.as_requested, drawn[f.name].tolist())) for f in self.features]
        return [dict(zip(self.names, row, strict=True)) for row in zip(*columns, strict=True)]

    def _random(self, k: int, seed: int) -> dict[str, np.ndarray]:
        random = np.random.default_rng(seed)
        uniform = random.random((k, self.n))
        missing = random.random((k, self.n)) < MISSING_SHARE
        return {f.name: f.random(uniform[:, i], missing[:, i]) for i, f in enumerate(self.features)}

    # ---- requests ----

    def parse(self, params) -> np.ndarray:
        """Request parameters as a (k, m) float32 matrix: k = 1 for a mapping, k = len for a list of mappings.

        Names in any case and order, values as JSON or text. Raises `InvalidRequest` naming every bad field.
        """
        return self.reader().read(params).matrix

    def parse_query(self, query_string: bytes) -> np.ndarray:
        """The (1, m) float32 row of a URL's query string, as `parse` gives it."""
        return self.reader().read_query(query_string).matrix

    def reader(self, strict: bool = False, unseen: str = "refuse") -> Reader:
        """The reader of requests that goes by these rules (see `parameters.Reader`), made once for each."""
        rules = (strict, unseen)
        if rules not in self._readers:
            self._readers[rules] = Reader(self, strict, unseen)
        return self._readers[rules]

    @cached_property
    def _readers(self) -> dict[tuple[bool, str], Reader]:
        return {}


def outputs_from(data: Mapping) -> tuple[Output, ...]:
    """The outputs in a signature's plain JSON, which leaves them out where they are one probability."""
    return tuple(Output(**output) for output in data["outputs"]) if "outputs" in data else ONE_PROBABILITY


def outputs_to_dict(outputs: tuple[Output, ...]) -> dict:
    """The inverse of `outputs_from`."""
    return {} if outputs == ONE_PROBABILITY else {"outputs": [output.to_dict() for output in outputs]}


def _feature(name, values: np.ndarray) -> Feature:
    """What a column of a table is, from its values: numbers with NaN, or texts with None, where they are missing."""
    name = unicodedata.normalize("NFC", str(name))
    if values.dtype.kind not in "biuf":
        return _text_feature(name, [None if is_missing(v) else str(v) for v in values.tolist()])
    there = values[~np.isnan(values)] if values.dtype.kind == "f" else values
    missing = len(there) < len(values)
    if not len(there):
        raise ValueError(f"column {name!r} is empty")
    if np.isin(there, (0, 1)).all():
        return Feature(name, missing=missing)
    # the ends as the shortest decimals of their own type, so that a card reads like the table
    low, high = (min(map(partial(_as_written, there), ends)) for ends in ((there.min(),) * 2, (there.max(),) * 2))
    numbers = there.astype(np.float64)
    center, scale = _center_and_scale(numbers)
    median = float(f"{np.median(numbers):.7g}") if scale == 1 else float(np.median(numbers))
    return Feature(name, REAL, low, high, median, missing=missing, center=center, scale=scale)


def _as_written(values: np.ndarray, value) -> float:
    return float(str(value)) if values.dtype.kind == "f" else float(value)


def _text_feature(name: str, texts: list[str | None]) -> Feature:
    counts = Counter(text for text in texts if text is not None)
    missing = None in texts
    if not counts:
        raise ValueError(f"column {name!r} is empty")
    usual = max(sorted(counts), key=counts.__getitem__)
    if len(counts) == 2:
        return Feature(name, BINARY, default=usual, values=in_order(counts), missing=missing)
    own, pooled = own_and_pooled(counts, len(texts))
    return Feature(name, CATEGORY, default=usual, values=tuple(own), pooled=tuple(pooled), missing=missing)


def own_and_pooled(counts: Mapping[str, int], rows: int) -> tuple[list[str], list[str]]:
    """The texts of a category that get a column of their own, and the rarer ones that share one, each sorted."""
    rare = max(2, math.ceil(min(RARE * rows, OFTEN)))
    own = sorted(sorted(counts), key=counts.__getitem__, reverse=True)[:OWN_COLUMNS]
    own = [text for text in own if counts[text] >= rare] or own[:1]
    return sorted(own), sorted(set(counts) - set(own))


def in_order(two: Iterable[str]) -> tuple[str, str]:
    """Two texts, the one that stands for 0 first: no before yes, otherwise as sorted, numbers by their size."""
    first, second = sorted(two)
    words = _word(first), _word(second)
    for word, other in ((first.lower(), second.lower()), words):
        if word in OTHER_YES or (word in YES and other in NO):
            return second, first
    if _denies(second, first) or any(words[1] in those and words[0] not in those for those in (AS_USUAL, DENIALS)):
        return second, first
    if not {first.lower(), second.lower()} & (YES | NO):
        try:
            return tuple(sorted((first, second), key=float))
        except ValueError:
            pass
    return first, second


def _word(text: str) -> str:
    """The first word of a text, which a number may precede: yes of "1. Yes, I do"."""
    found = re.match(r"[\W\d_]*([^\W\d_]{2,})", text)
    return found[1].lower() if found else ""


def _denies(text: str, other: str) -> bool:
    """Whether it says that it is not the other: Not_Canceled, no default, notckd."""
    not_it = rf"(not?|non|nicht|keine?|un|sans|sin|without)[\W_]*{re.escape(other)}"
    return re.fullmatch(not_it, text, re.IGNORECASE) is not None


def _center_and_scale(numbers: np.ndarray) -> tuple[float, float]:
    """0 and 1 for numbers that float32 tells apart and a network can learn from, else near mean and spread, rounded."""
    spread, mean, largest = float(numbers.std()), float(numbers.mean()), float(np.abs(numbers).max())
    if spread == 0 or (1e-4 <= spread and largest <= 1e6 and abs(mean) <= 1e3 * spread):
        return 0.0, 1.0
    scale = 10.0 ** math.floor(math.log10(spread))
    return round(mean / scale) * scale, scale


def is_missing(value) -> bool:
    """Whether a cell of a table holds no value: None, or NaN."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _is_finite(number) -> bool:
    return isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)
