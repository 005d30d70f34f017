"""What a model takes: its features in order, each with a kind and a range.

A `Signature` is learned from a table, travels in the model card, and turns request parameters
(a mapping or a list of mappings of names to values) into the float32 matrix that a predictor takes.
Values are matched by name, in any case and order, never by position.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from urllib.parse import parse_qsl, quote_plus

import numpy as np

BINARY, REAL = "binary", "real"
MAX_ENUMERATED = 16  # 2**16 rows of 16 float32 are 4 MB: as many inputs as are worth listing one by one

# A decimal number as JSON and people write it. Python's float() would also take "1_000", "nan" and Arabic digits. Each
# character can be matched in one way only, so that the time is linear in the length.
_DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
NUMBER_CHARACTERS = 64  # more than the longest decimals of a float need
NAMED_FIELDS = 100  # of those that are wrong with a request, an answer names so many and counts the rest
_NAME_CHARACTERS = 200  # of a name that a caller has sent, an answer repeats so many


class InvalidRequest(ValueError):
    """Request parameters that do not fit the signature.

    `fields` maps each bad field to what is wrong with it: `{"g7": "missing", "g11": "unknown"}`;
    in a list of rows the field is preceded by its row, counted from 0: `{"[3].g7": "missing"}`.
    """

    def __init__(self, message: str, fields: Mapping[str, str] | None = None):
        super().__init__(message)
        self.fields = _Problems()
        self.fields.update(fields or {})


class _Problems(dict):
    """What is wrong with a request, field by field: the first `NAMED_FIELDS` by name, of the others the number."""

    def __init__(self):
        super().__init__()
        self.unnamed = 0

    def __setitem__(self, name: str, problem: str) -> None:
        if len(self) < NAMED_FIELDS or name in self:
            super().__setitem__(name if len(name) <= _NAME_CHARACTERS else name[:_NAME_CHARACTERS] + "…", problem)
        else:
            self.unnamed += 1

    def update(self, problems: Mapping[str, str]) -> None:
        for name, problem in problems.items():
            self[name] = problem
        self.unnamed += getattr(problems, "unnamed", 0)


@dataclass(frozen=True)
class Feature:
    """One column of the input: `name` in lower case, `kind` "binary" (0 or 1) or "real" (`low` to `high`, inclusive).

    `default` is a typical value: 0 for a binary feature, the median for a real one.
    """

    name: str
    kind: str = BINARY
    low: float = 0.0
    high: float = 1.0
    default: float = 0.0

    def problem(self, value: float) -> str | None:
        """What is wrong with a number as a value of this feature, or None."""
        if self.kind == BINARY:
            return None if value in (0.0, 1.0) else "must be 0 or 1"
        # The model takes float32: what is within the range there is legal, though in more digits it lies just outside.
        if self.low <= value <= self.high or _as_float32(self.low) <= _as_float32(value) <= _as_float32(self.high):
            return None
        return f"must be between {self.low:g} and {self.high:g}"


@dataclass(frozen=True)
class Signature:
    """The features of a model in the order in which it takes them, and the name of the label that it predicts."""

    features: tuple[Feature, ...]
    label: str = "label"

    def __post_init__(self):
        names = [feature.name for feature in self.features]
        if not names:
            raise ValueError("a signature needs at least one feature")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"columns {', '.join(twice)} occur twice (names are compared without case): rename one")

    @classmethod
    def from_table(cls, x, label: str = "label") -> Signature:
        """The signature of a pandas DataFrame of features (the label not among them).

        A column that holds only 0 and 1 is binary, any other is real with the range that the table shows.
        """
        return cls(tuple(_feature(name, x[name].to_numpy(dtype=float)) for name in x.columns), label)

    @classmethod
    def from_dict(cls, data: Mapping) -> Signature:
        """The inverse of `to_dict`."""
        return cls(tuple(Feature(**feature) for feature in data["features"]), data["label"])

    def to_dict(self) -> dict:
        """Plain JSON types: `{"features": [{"name", "kind", "low", "high", "default"}, ...], "label": "label"}`."""
        return {"features": [asdict(feature) for feature in self.features], "label": self.label}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the features in order, in lower case."""
        return tuple(feature.name for feature in self.features)

    @property
    def n(self) -> int:
        """The number of features."""
        return len(self.features)

    @property
    def all_binary(self) -> bool:
        """Whether every feature is 0 or 1."""
        return all(feature.kind == BINARY for feature in self.features)

    def __len__(self) -> int:
        return self.n

    def example(self) -> dict[str, float]:
        """One legal row: the first feature at its high end, the others at their default (`g1=1`, the others 0)."""
        row = {feature.name: feature.default for feature in self.features}
        row[self.names[0]] = self.features[0].high
        return {name: int(value) if value == int(value) else value for name, value in row.items()}

    def every_input(self) -> np.ndarray | None:
        """Every possible row, (2**n, n) float32, where all features are binary and n is at most 16; otherwise None."""
        if self.n > MAX_ENUMERATED or not self.all_binary:
            return None
        numbers = np.arange(2**self.n)[:, None]
        return (numbers >> np.arange(self.n - 1, -1, -1) & 1).astype(np.float32)

    def sample(self, k: int, seed: int = 0) -> np.ndarray:
        """`k` random legal rows, (k, n) float32: each feature uniform over its range."""
        uniform = np.random.default_rng(seed).random((k, self.n))
        low, high, binary = self._ranges
        return np.where(binary, uniform < 0.5, low + uniform * (high - low)).astype(np.float32)

    # ---- request parameters -> matrix ----

    def parse(self, params) -> np.ndarray:
        """Request parameters as a (k, n) float32 matrix: k = 1 for a mapping, k = len for a list of mappings.

        A mapping that holds several values for a name (werkzeug's `MultiDict`) is searched for repeated names.
        Values are numbers, booleans or numbers written as text. Raises `InvalidRequest` naming every bad field.
        """
        if isinstance(params, Mapping):
            fields = _Problems()
            row = self._row(params, fields)
            if fields:
                raise _refusal(fields)
            return np.array([row], dtype=np.float32)
        if not isinstance(params, list | tuple):
            raise InvalidRequest("send an object of names and values, or a list of such objects")
        if not params:
            raise InvalidRequest("the list is empty: send at least one object")
        matrix = self._plain_matrix(params)
        return self._matrix(params) if matrix is None else matrix

    def parse_query(self, query_string: bytes) -> np.ndarray:
        """The (1, n) float32 row of a URL's query string, as `parse` gives it, at the speed of a few look-ups.

        Whatever is not in the plainest form is left to `parse`, so that both give the same rows and errors.
        """
        plain = self._plain_pairs
        try:
            row = dict([plain.get(pair) or self._plain_number(pair) for pair in query_string.split(b"&")])
            if len(row) == self.n == query_string.count(b"&") + 1:
                return np.array([[row[column] for column in range(self.n)]], dtype=np.float32)
        except ValueError:
            pass
        return self.parse(_Pairs(parse_qsl(query_string.decode("latin-1"), keep_blank_values=True)))

    @cached_property
    def _plain_pairs(self) -> dict[bytes, tuple[int, float]]:
        """`b"g1=1"` and its like for every binary feature, with the column and the value that they mean."""
        return {
            f"{name}={value}".encode(): (column, float(value))
            for column, feature in enumerate(self.features)
            if feature.kind == BINARY
            for name in (feature.name, feature.name.upper())
            for value in (0, 1)
        }

    @cached_property
    def _encoded_columns(self) -> dict[str, int]:
        """The names as a URL writes them ("mean+radius") and their columns."""
        return {quote_plus(name).lower(): column for column, name in enumerate(self.names)}

    @cached_property
    def _columns(self) -> dict[str, int]:
        return {name: column for column, name in enumerate(self.names)}

    def _plain_number(self, pair: bytes) -> tuple[int, float]:
        """Column and value of one `name=value`; ValueError where it is not a legal number in plain characters."""
        name, _, text = pair.decode("ascii").partition("=")
        column = self._encoded_columns.get(name.lower())
        if column is None or len(text) > NUMBER_CHARACTERS or not _DECIMAL.fullmatch(text):
            raise ValueError
        value = float(text)
        if self.features[column].problem(value):
            raise ValueError
        return column, value

    def _row(self, params: Mapping, fields: dict[str, str], where: str = "") -> list[float]:
        """The values of one row in order; what is wrong with it is added to `fields`, each name preceded by `where`."""
        row = [0.0] * self.n
        problems: list[str | None] = ["missing"] * self.n
        seen = set()
        items = params.items(multi=True) if hasattr(params, "getlist") else params.items()
        for name, value in items:
            column = self._columns.get(str(name).lower())
            if column is None:
                fields[f"{where}{name}"] = "unknown"
            elif column in seen:
                problems[column] = "repeated"
            else:
                seen.add(column)
                number, problem = _number(value)
                problems[column] = problem or self.features[column].problem(number)
                row[column] = 0.0 if problems[column] else number  # a bad one may be too large for float32
        fields.update(
            {f"{where}{name}": problem for name, problem in zip(self.names, problems, strict=True) if problem}
        )
        return row

    def _matrix(self, rows) -> np.ndarray:
        fields = _Problems()
        matrix = np.zeros((len(rows), self.n), dtype=np.float32)
        for i, params in enumerate(rows):
            if isinstance(params, Mapping):
                matrix[i] = self._row(params, fields, f"[{i}].")
            else:
                fields[f"[{i}]"] = "must be an object of names and values"
        if fields:
            raise _refusal(fields)
        return matrix

    def _plain_matrix(self, rows) -> np.ndarray | None:
        """The matrix of rows that hold just these names and plain legal numbers; None sends them the careful way."""
        names = self.names
        try:
            flat = [row[name] for row in rows if len(row) == len(names) for name in names]
        except (KeyError, TypeError):
            return None
        if len(flat) != len(rows) * self.n or not set(map(type, flat)) <= {int, float, bool}:
            return None
        try:
            matrix = np.array(flat, dtype=float).reshape(len(rows), self.n)
        except OverflowError:
            return None
        low, high, binary = self._ranges
        legal = np.where(binary, (matrix == 0) | (matrix == 1), (matrix >= low) & (matrix <= high))
        return matrix.astype(np.float32) if legal.all() else None

    @cached_property
    def _ranges(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        low, high = (np.array([getattr(feature, end) for feature in self.features]) for end in ("low", "high"))
        return low, high, np.array([feature.kind == BINARY for feature in self.features])


class _Pairs(dict):
    """Names and values of a query string in the order sent, names that occur twice included."""

    def __init__(self, pairs):
        super().__init__(pairs)
        self.pairs = pairs

    def getlist(self, name):
        return [value for key, value in self.pairs if key == name]

    def items(self, multi=True):
        return self.pairs


def _feature(name, values: np.ndarray) -> Feature:
    name = str(name).lower()
    if np.isin(values, (0.0, 1.0)).all():
        return Feature(name)
    # low/high/default as the shortest decimals of their float32 values, so that a card reads like the table
    low, high, median = (float(f"{v:.7g}") for v in (values.min(), values.max(), np.median(values)))
    return Feature(name, REAL, min(low, float(values.min())), max(high, float(values.max())), median)


def _number(value) -> tuple[float, str | None]:
    """A JSON value or text as a finite number and None, or 0 and what is wrong with it."""
    if isinstance(value, str):
        text = value.strip()
        if len(text) > NUMBER_CHARACTERS:
            return 0.0, f"longer than {NUMBER_CHARACTERS} characters"
        if text.lower().lstrip("+-") in ("nan", "inf", "infinity"):
            return 0.0, "not finite"
        if not _DECIMAL.fullmatch(text):
            return 0.0, "not a number"
        value = text
    elif not isinstance(value, int | float | np.number):
        return 0.0, "not a number"
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    return (number, None) if math.isfinite(number) else (0.0, "not finite")


def _as_float32(value: float) -> float:
    with np.errstate(over="ignore"):
        return float(np.float32(value))


def _refusal(fields: _Problems) -> InvalidRequest:
    named = ", ".join(f"{name}: {problem}" for name, problem in list(fields.items())[:3])
    count = len(fields) + fields.unnamed
    more = f" and {count - 3:,} more" if count > 3 else ""
    return InvalidRequest(f"{count:,} bad field{'s' if count > 1 else ''}: {named}{more}", fields)
