"""Request parameters become the rows of a matrix, by name, or an error that names every bad field.

A `Reader` is made from a signature. A mapping of names to values, a list of such mappings, or a query string comes
in, a `Rows` goes out: the (k, m) float32 matrix, and a note for each number outside of its range. A request
in its plainest form takes a few look-ups; any other goes the careful way: both give the same rows and errors.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, quote_plus

import numpy as np

from helpers.data.fields import DECIMAL, LONGEST_NUMBER, Field, one_form, only_once
from helpers.data.refusals import LONGEST_NAME, MOST_COUNTED, MOST_SHOWN, InvalidRequest, Named, What
from helpers.wording import did_you_mean, listed, nearest

_NUMBERS = (int, float)
_DECIMAL_BYTES = re.compile(DECIMAL.pattern.encode())


class Rows(NamedTuple):
    """What was read. `matrix` is (k, m) float32; `notes` says which numbers lie outside of their range.

    problems: of a list that was read with `keep_going`, the bad fields, to which those are added that the model has no
    answer to; else None. bad: the numbers of the rows that they stand in, whose rows of the matrix mean nothing.
    """

    matrix: np.ndarray
    notes: dict[str, str] = {}
    problems: Named | None = None
    bad: tuple[int, ...] = ()

    @property
    def refused(self) -> dict[str, str]:
        """What is wrong with each bad field."""
        return self.problems.named() if self.problems else {}


class Reader:
    """Reads requests for one signature.

    strict: refuse a number outside of its range, instead of answering it with a note.
    unseen: what becomes of a text that is none of a category's: "refuse", or "answer" it as none of those known.

    Attributes: `fields`, the features in the order of the signature, each in its place in the matrix; `all_numbers`,
    whether each is a number in a column of its own, or 0 and 1.
    """

    takes_files, takes_cells = False, True  # as `InputReader` may

    def __init__(self, signature, strict: bool = False, unseen: str = "refuse"):
        if unseen not in ("refuse", "answer"):
            raise ValueError(f"unseen is 'refuse' or 'answer', not {unseen!r}")
        self.width, self.n = signature.width, signature.n
        dotted = [name.casefold().split(".") for name in (*signature.names, *signature.left_out)]
        self._objects = {".".join(parts[:end]) for parts in dotted for end in range(1, len(parts))}
        rules = strict, unseen, signature.values_from
        places = zip(signature.features, signature.slices, strict=True)
        self.fields = [Field(feature, part.start, *rules) for feature, part in places]
        self.all_numbers = all(f.width == 1 and not f.values and not f.whole for f in signature.features)
        ends = ("low", "high", "center", "scale")
        low, high, center, scale = (np.array([getattr(f, end) for f in signature.features]) for end in ends)
        self._ranges = low, high, np.array([f.kind == "binary" for f in signature.features]), center, scale
        names = (signature.label, *signature.left_out)
        columns = [*((name, None) for name in names), *((field.name, field) for field in self.fields)]
        self._exact = dict(columns)  # None for a column that the model does not take
        self._folded = only_once((name.casefold(), field) for name, field in columns)
        self._all = (1 << self.n) - 1
        self._names: dict[str, tuple[int, Field]] = {}  # each feature's name as it is usually written, and its bit
        self._plain_pairs: dict[bytes, tuple[int, int, float]] = {}  # b"gender=male": bit, column, what fills it
        self._plain_numbers: dict[bytes, tuple[int, Field]] = {}  # names of numbers, as a URL writes them
        for i, field in enumerate(self.fields):
            for name in {field.name, field.name.lower(), field.name.upper()}:
                if self.field(name) is field:
                    self._add_name(name, 1 << i, field)
        # what is passed over whatever it holds, as it is usually written
        others = [name for name in names if name.casefold() not in self._objects]
        self._others = {each for name in others for each in (name, name.lower(), name.upper()) if self.passes(each)}
        self._others_in_urls = {encode(name).encode() for name in self._others for encode in (quote_plus, quote)}

    def _add_name(self, name: str, bit: int, field: Field) -> None:
        self._names[name] = bit, field
        for encode in (quote_plus, quote):
            encoded = encode(name).encode()
            self._plain_numbers |= {encoded: (bit, field)} if field.takes_numbers else {}
            for text, filled in field.plain.items():
                if isinstance(text, str):
                    self._plain_pairs[encoded + b"=" + encode(text).encode()] = (bit, *filled)

    # ---- one row in its plainest form ----

    def plain_query(self, query: bytes) -> np.ndarray | None:
        """The (1, m) row of a query string that names each feature once, with usual values; None for any other."""
        row, seen, known, pairs = [0.0] * self.width, 0, self._plain_pairs, query.split(b"&")
        if len(pairs) > self.n:
            pairs = [pair for pair in pairs if pair.partition(b"=")[0] not in self._others_in_urls]
        for pair in pairs:
            found = known.get(pair) or self._plain_number(pair)
            if found is None:
                return None
            bit, column, number = found
            row[column] = number
            seen |= bit
        return np.array([row], dtype=np.float32) if seen == self._all and len(pairs) == self.n else None

    def plain_object(self, params: dict) -> np.ndarray | None:
        """The (1, m) row of a decoded JSON object that names each feature once, with usual values; or None."""
        row = self._plain_row(params)
        return None if row is None else np.array([row], dtype=np.float32)

    def _plain_number(self, pair: bytes) -> tuple[int, int, float] | None:
        name, _, text = pair.partition(b"=")
        bit, field = self._plain_numbers.get(name, (0, None))
        if field is None or len(text) > LONGEST_NUMBER or not _DECIMAL_BYTES.fullmatch(text):
            return None
        number = float(text)
        feature = field.feature
        return (bit, field.at, feature.scaled(number)) if feature.low <= number <= feature.high else None

    def _plain_row(self, params: dict) -> list[float] | None:
        row, seen, names = [0.0] * self.width, 0, self._names
        if len(params) > self.n:
            params = {name: value for name, value in params.items() if name not in self._others}
        try:
            for name, value in params.items():
                bit, field = names[name]
                if field.takes_numbers:
                    feature = field.feature
                    if type(value) not in _NUMBERS or not feature.low <= value <= feature.high:
                        return None
                    row[field.at] = feature.scaled(value)
                else:
                    if type(value) is bool and not field.takes_bools:
                        return None
                    column, number = field.plain[value]
                    row[column] = number
                seen |= bit
        except (KeyError, TypeError):
            return None
        return row if seen == self._all and len(params) == self.n else None

    # ---- the careful way ----

    def read_query(self, query: bytes) -> Rows:
        """The row of a query string or of a form's body. Raises `InvalidRequest` naming every bad field."""
        matrix = self.plain_query(query)
        if matrix is not None:
            return Rows(matrix)
        text = query.decode("utf-8", "replace")  # some clients send Unicode as it is, without escapes
        return self.read(Pairs(parse_qsl(text, keep_blank_values=True)))

    def read(self, params, keep_going: bool = False) -> Rows:
        """A mapping as one row, a list of mappings as a row for each.

        A mapping that holds several values for a name (werkzeug's `MultiDict`) is searched for repeated names.
        keep_going: a bad row of a list is named in the answer instead of refusing the whole. Raises `InvalidRequest`.
        """
        if isinstance(params, Mapping):
            if type(params) is dict and (matrix := self.plain_object(params)) is not None:
                return Rows(matrix)
            matrix, problems, notes = np.zeros((1, self.width), np.float32), Named(), Named()
            problems.add_all(self._row(params, matrix[0], "", notes))
            problems.refuse()
            return Rows(matrix, notes.fields)
        if not isinstance(params, list | tuple):
            raise InvalidRequest("send an object of names and values, or a list of such objects")
        if not params:
            raise InvalidRequest("the list is empty: send at least one object")
        if self.all_numbers and (matrix := self._numeric_list(params)) is not None:
            return Rows(matrix, problems=Named() if keep_going else None)
        return self._list(params, keep_going)

    def _numeric_list(self, rows) -> np.ndarray | None:
        """The (k, m) matrix of usual rows of numbers and of 0 and 1, all at once; names are spelled as in the first.

        None for any others.
        """
        try:
            spelled = {self._names[name][1]: name for name in rows[0] if name not in self._others}
            names, width = [spelled[field] for field in self.fields], len(rows[0])
            flat = [row[name] for row in rows if len(row) == width for name in names]
            if width > self.n and not all(row.keys() == rows[0].keys() for row in rows):
                return None
        except (KeyError, TypeError, AttributeError):
            return None
        types = {int, float, bool} if self._ranges[2].all() else {int, float}
        if len(flat) != len(rows) * self.n or not set(map(type, flat)) <= types:
            return None
        try:
            matrix = np.array(flat, dtype=float).reshape(len(rows), self.n)
        except OverflowError:
            return None
        low, high, binary, center, scale = self._ranges
        usual = np.where(binary, (matrix == 0) | (matrix == 1), (matrix >= low) & (matrix <= high))
        return ((matrix - center) / scale).astype(np.float32) if usual.all() else None

    def _list(self, rows, keep_going: bool) -> Rows:
        matrix, problems, notes, bad = np.zeros((len(rows), self.width), np.float32), Named(), Named(), []
        names = [field.name for field in self.fields]
        for i, params in enumerate(rows):
            if type(params) is dict and (row := self._plain_row(params)) is not None:
                matrix[i] = row
                continue
            if isinstance(params, Mapping):
                found = self._row(params, matrix[i], f"[{i}].", notes)
            else:
                found = [(f"[{i}]", _no_object(params, names))]
                names = []  # that they are told once is enough
            if problems.add_all(found):
                bad.append(i)
            if problems.are_more and not keep_going:
                break
        if not keep_going:
            problems.refuse()
        return Rows(matrix, notes.named(), problems if keep_going else None, tuple(bad))

    def _row(self, params: Mapping, row: np.ndarray, where: str, notes: Named) -> Iterator[tuple[str, What]]:
        """Fill one row of the matrix; yields each bad field, preceded by `where`, and what is wrong with it."""
        sent: dict[Field, str] = {}
        unknown: list[str] = []
        found: dict[Field, What | None] = {}
        items = params.items(multi=True) if hasattr(params, "getlist") else params.items()
        for name, value in self._apart(items):
            field = self.field(name)
            if field is None:
                if not self.passes(name):
                    unknown.append(str(name))
                if len(unknown) > MOST_COUNTED:
                    break
            elif field in found:
                found[field] = "repeated"
            else:
                sent[field] = str(name)
                found[field], note = field.read(value, row)
                if note:
                    notes.add(f"{where}{name}", note)
        lacking = [field.feature.name for field in self.fields if field not in found] if unknown else []
        for name in unknown:
            yield f"{where}{name}", partial(_unknown, name, lacking)
        spelled = self._as_spelled(sent)
        for field in self.fields:
            if field not in found:
                found[field], _ = field.read(None, row)
            if found[field]:
                yield f"{where}{spelled(field)}", found[field]

    def _apart(self, items: Iterable[tuple], before: str = "") -> Iterator[tuple]:
        """Names and values of which objects are taken apart as those in the rows of the table were."""
        for key, value in items:
            name = f"{before}{key}" if before else key
            if isinstance(value, Mapping) and one_form(name).casefold() in self._objects:
                yield from self._apart(value.items(), f"{name}.")
            else:
                yield name, value

    @staticmethod
    def _as_spelled(sent: dict[Field, str]) -> Callable[[Field], str]:
        """How to name fields to a caller who has sent these: as they were sent, others in lower case if these are."""
        lower = bool(sent) and all(name == field.name.lower() for field, name in sent.items())
        lower = lower and any(name != field.name for field, name in sent.items())
        return lambda field: sent.get(field) or (field.name.lower() if lower else field.name)

    def passes(self, name) -> bool:
        """Whether a table has a column of that name which the model does not take: what it predicts, or left out.

        Whoever sends a row of the table may send these along.
        """
        return self._column(name) is None

    def field(self, name) -> Field | None:
        """The feature that a request calls `name`: spelled as in the table, or in any case where that is one only."""
        return self._column(name) or None

    def _column(self, name) -> Field | bool | None:
        """The feature of that name, None for a column that the model does not take, False for none of the table."""
        name = one_form(name)
        return self._exact[name] if name in self._exact else self._folded.get(name.casefold(), False)


class Pairs(dict):
    """Names and values of a query string in the order sent, names that occur twice included."""

    def __init__(self, pairs):
        super().__init__(pairs)
        self.pairs = pairs

    def getlist(self, name):
        return [value for key, value in self.pairs if key == name]

    def items(self, multi=True):
        return self.pairs


def _no_object(row, names: Sequence[str]) -> str:
    """What is wrong with a row that is no object: what it might be, with the names that it lacks in their order."""
    what = "must be an object of names and values"
    if not names:
        return what
    if not isinstance(row, list):
        return f"{what}: of {listed(names)}"
    if len(row) != len(names) or len(names) > MOST_SHOWN or any(isinstance(value, list | dict) for value in row):
        values = f"{len(row):,} value{'s' * (len(row) != 1)}"
        return f"{what}, not a list ({values}), as nothing is matched by its place: of {listed(names)}"
    pairs = zip((json.dumps(name, ensure_ascii=False) for name in names), map(_briefly, row), strict=True)
    shown = ", ".join(f"{name}: {value}" for name, value in pairs)
    return f"{what}, as nothing is matched by its place: {{{shown}}} if that is their order"


def _briefly(value) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST_NUMBER else "..."


def _unknown(name: str, lacking: list[str], may_compare: Callable[[int], bool]) -> str:
    if name == "_":
        return "unknown: caches and scripts add it to an address, leave it out"
    near = nearest(name, lacking) if lacking and len(name) <= LONGEST_NAME and may_compare(len(lacking)) else None
    return f"unknown: {did_you_mean(near)}" if near else "unknown"
