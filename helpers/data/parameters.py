"""Request parameters become the rows of a matrix, by name, or an error that names every bad field.

A `Reader` is made from a signature. A mapping of names to values, a list of such mappings, or a query string comes
in, a `Rows` goes out: the (k, m) float32 matrix, and a note for each number outside of its range. A request
in its plainest form takes a few look-ups; any other goes the careful way: both give the same rows and errors.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, quote_plus

import numpy as np

from helpers.data import numerals
from helpers.wording import did_you_mean, listed, nearest, with_commas

YES, NO = frozenset({"1", "true", "yes", "y", "t", "on"}), frozenset({"0", "false", "no", "n", "f", "off"})
OTHER_YES = frozenset(  # in other languages
    "+ ja j já jā da ano evet igen bai có ναι да այո כן بله ใช่ はい 네 有 aye ✓ ✔ ✅ 👍 истина doğru あり 对 對 "
    "oui si sì sí sim tak так kyllä sant sann sand wahr vrai vero verdadero verdadeiro waar prawda pravda "
    "правда igaz tosi 是 真 예 نعم".split()
)
OTHER_NO = frozenset(
    "- nein nej nei nee non não nao ne nie nem ez ei nu nay không όχι нет не ні ոչ לא خیر ไม่ใช่ いいえ 아니오 "
    "아니요 無 无 沒有 没有 hayır hayir ✗ ✘ ❌ 👎 ложь yanlış なし 錯 错 usant usann falsk falskt falsch faux falso "
    "onwaar fałsz nepravda неправда hamis epätosi 否 假 لا".split()
)
# What stands for "no value" in tables, beside what pandas takes for it ("", "NA", "NaN", "null", "None", "#N/A" ...).
EXCEL_ERRORS = ("#DIV/0!", "#REF!", "#VALUE!", "#NAME?", "#NUM!", "#NULL!")
DASHES = frozenset("-\u2013\u2014\u2212")  # but in a column of + and -
MISSING = ("?", *sorted(DASHES), "--", ".", "..", "n.a.", "N.A.", "missing", "(null)", "\\N", *EXCEL_ERRORS)
ABSENT = frozenset({text.casefold() for text in MISSING} | {"na", "n/a", "nan", "null", "none", "#n/a", "<na>"})
MOST_NAMED = 200  # bad fields that an error names; the rest are counted
MOST_COUNTED = 10_000  # bad fields, after which a request is read no further
MOST_COMPARED = 10_000  # known texts that those of a request are held against, to say which ones they may mean
LONGEST_NAME = 200  # characters of a name that a caller has sent which an error repeats
LARGEST = 1e30  # the model computes in float32, which ends at 3.4e38, and squares are beyond it
MOST_SHOWN = 12  # values of a category that an error names
LONGEST_NUMBER = 64  # characters: more than the longest decimals of a float need

# A decimal number as JSON and people write it. Python's float() would also take "1_000", "nan" and Arabic digits.
# Each digit can be matched in one way only, so that no text takes longer than its length.
_DECIMAL = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_DECIMAL_BYTES = re.compile(_DECIMAL.pattern.encode())
_WHOLE = re.compile(r"-?(?:0|[1-9]\d{0,14})(?:\.0+)?", re.ASCII)


class InvalidRequest(ValueError):
    """Request parameters that do not fit the signature.

    `fields` maps each bad field to what is wrong with it: `{"age": "missing", "agee": "unknown"}`;
    in a list of rows the field is preceded by its row, counted from 0: `{"[3].age": "missing"}`.
    """

    def __init__(self, message: str, fields: Mapping[str, str] | None = None):
        super().__init__(message)
        self.fields = dict(fields or {})


class Source(NamedTuple):
    """Where the ranges and texts of features come from, in words, as three sentences need them."""

    range_is: str  # 81 is outside of 0.42 to 80, ...
    never_seen: str  # 'steerage' ...
    told_by: str  # ... 0.42 to 80


SOURCES = {  # by `Signature.values_from`
    "": Source("which the model was trained on", "was never seen in training", "the model was trained on"),
    "owner": Source(
        "the range that the model's owner gave",
        "is none of those that the model's owner gave",
        "the model's owner gave the range",
    ),
    "before": Source(
        "the range of the model before it",
        "is none of those of the model before it",
        "the model before it had the range",
    ),
}


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
        self.fields = [_Field(feature, part.start, *rules) for feature, part in places]
        self.all_numbers = all(f.width == 1 and not f.values and not f.whole for f in signature.features)
        ends = ("low", "high", "center", "scale")
        low, high, center, scale = (np.array([getattr(f, end) for f in signature.features]) for end in ends)
        self._ranges = low, high, np.array([f.kind == "binary" for f in signature.features]), center, scale
        names = (signature.label, *signature.left_out)
        columns = [*((name, None) for name in names), *((field.name, field) for field in self.fields)]
        self._exact = dict(columns)  # None for a column that the model does not take
        self._folded = only_once((name.casefold(), field) for name, field in columns)
        self._all = (1 << self.n) - 1
        self._names: dict[str, tuple[int, _Field]] = {}  # each feature's name as it is usually written, and its bit
        self._plain_pairs: dict[bytes, tuple[int, int, float]] = {}  # b"gender=male": bit, column, what fills it
        self._plain_numbers: dict[bytes, tuple[int, _Field]] = {}  # names of numbers, as a URL writes them
        for i, field in enumerate(self.fields):
            for name in {field.name, field.name.lower(), field.name.upper()}:
                if self.field(name) is field:
                    self._add_name(name, 1 << i, field)
        # what is passed over whatever it holds, as it is usually written
        others = [name for name in names if name.casefold() not in self._objects]
        self._others = {each for name in others for each in (name, name.lower(), name.upper()) if self.passes(each)}
        self._others_in_urls = {encode(name).encode() for name in self._others for encode in (quote_plus, quote)}

    def _add_name(self, name: str, bit: int, field: _Field) -> None:
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
        sent: dict[_Field, str] = {}
        unknown: list[str] = []
        found: dict[_Field, What | None] = {}
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
            if isinstance(value, Mapping) and _spelled(name).casefold() in self._objects:
                yield from self._apart(value.items(), f"{name}.")
            else:
                yield name, value

    @staticmethod
    def _as_spelled(sent: dict[_Field, str]) -> Callable[[_Field], str]:
        """How to name fields to a caller who has sent these: as they were sent, others in lower case if these are."""
        lower = bool(sent) and all(name == field.name.lower() for field, name in sent.items())
        lower = lower and any(name != field.name for field, name in sent.items())
        return lambda field: sent.get(field) or (field.name.lower() if lower else field.name)

    def passes(self, name) -> bool:
        """Whether a table has a column of that name which the model does not take: what it predicts, or left out.

        Whoever sends a row of the table may send these along.
        """
        return self._column(name) is None

    def field(self, name) -> _Field | None:
        """The feature that a request calls `name`: spelled as in the table, or in any case where that is one only."""
        return self._column(name) or None

    def _column(self, name) -> _Field | bool | None:
        """The feature of that name, None for a column that the model does not take, False for none of the table."""
        name = _spelled(name)
        return self._exact[name] if name in self._exact else self._folded.get(name.casefold(), False)


def _spelled(name) -> str:
    """A name as a table's own are: in Unicode's composed form, with single blanks."""
    return " ".join(unicodedata.normalize("NFC", str(name)).split())


# What is wrong with a field: the words, or what finds them, which is worth its time only for a field that is named.
What = str | Callable[[Callable[[int], bool]], str]


class Named:
    """Fields and what is to be said of each: as many as are worth naming; the others are counted."""

    def __init__(self):
        self.fields: dict[str, str] = {}
        self.count = 0
        self.are_more = False  # than were counted
        self._compared = 0

    def add(self, field: str, what: What) -> None:
        if field not in self.fields:
            self.count += 1
        if len(self.fields) < MOST_NAMED:
            what = what if isinstance(what, str) else what(self._may_compare)
            self.fields[field if len(field) <= LONGEST_NAME else f"{field[:LONGEST_NAME]}…"] = what

    def add_all(self, found: Iterable[tuple[str, What]]) -> bool:
        """Add bad fields and what is wrong with each, until enough are counted; whether there were any."""
        are_any = False
        for field, what in found:
            are_any = True
            if self.count >= MOST_COUNTED:
                self.are_more = True
                break
            self.add(field, what)
        return are_any

    def _may_compare(self, texts: int) -> bool:
        """Whether a text may be held against so many others: each takes some 20 microseconds."""
        is_first = not self._compared
        self._compared += texts
        return is_first or self._compared <= MOST_COMPARED

    def named(self) -> dict[str, str]:
        """The fields, and under "..." how many more there are."""
        more = self.count - len(self.fields)
        return {**self.fields, "...": f"and {self._at_least}{more:,} more"} if more > 0 else self.fields

    def refuse(self) -> None:
        """Raise `InvalidRequest` where there is anything."""
        if not self.count:
            return
        named = ", ".join(f"{field}: {what}" for field, what in list(self.fields.items())[:3])
        more = f" and {self.count - 3:,} more" if self.count > 3 else ""
        count = f"{self._at_least}{self.count:,} bad field{'s' * (self.count > 1)}"
        raise InvalidRequest(f"{count}: {named}{more}", self.fields)

    @property
    def _at_least(self) -> str:
        return "at least " if self.are_more else ""


class Pairs(dict):
    """Names and values of a query string in the order sent, names that occur twice included."""

    def __init__(self, pairs):
        super().__init__(pairs)
        self.pairs = pairs

    def getlist(self, name):
        return [value for key, value in self.pairs if key == name]

    def items(self, multi=True):
        return self.pairs


# ---- one value ----


class _Field:
    """A feature in its place in the matrix, and how a value of it is read."""

    def __init__(self, feature, at: int, strict: bool, unseen: str, values_from: str):
        self.feature, self.at, self.strict, self.unseen = feature, at, strict, unseen
        self.source = SOURCES[values_from]
        self.name, self.width = feature.name, feature.width
        self.takes_numbers = feature.kind == "real" and not feature.whole
        self.takes_bools = self._takes_bools()
        self.plain = self._plain_values()  # what is read by a look-up: the column that it fills, and with what number
        self._texts = only_once((text.casefold(), filled) for text, filled in self.plain.items() if type(text) is str)
        self._read: Callable = {"real": self._number, "binary": self._yes_no, "category": self._category}[feature.kind]
        if feature.values and feature.kind == "binary":
            self._read = self._category

    def read(self, value, row: np.ndarray) -> tuple[What | None, str | None]:
        """Fill the feature's columns of `row`; returns what is wrong with the value, and a note, or None for each."""
        if value is None or (isinstance(value, str) and not value.strip()):
            if not self.feature.missing:
                return "missing", None
            row[self.at : self.at + self.width] = self._missing_row
            return None, None
        filled, problem, note = self._read(value)
        # a number may be one of these, too: NaN, as Python writes it to JSON
        if problem and self.feature.missing and str(value).strip().casefold() in ABSENT:
            problem = "leave it empty, or null in JSON, where the value is not known"
        if filled is not None and not problem:
            column, number = filled
            row[column] = number
        return problem, note

    def _plain_values(self) -> dict:
        feature, at = self.feature, self.at
        if feature.kind == "category":
            plain = {text: (at + code, 1.0) for text, code in feature.codes.items()}
        elif feature.kind == "real":
            return {}
        else:
            words = feature.values or ("0", "1")
            plain = {text: (at, float(code)) for code, text in enumerate(words)}
            if not feature.values:
                plain |= {0: (at, 0.0), 1: (at, 1.0)}
            if self.takes_bools:
                plain |= {word: (at, float(word in YES)) for word in YES | NO if word not in plain}
                plain |= {False: (at, 0.0), True: (at, 1.0)}
        whole = sorted(filter(_is_whole, plain), key=len, reverse=True)  # 1 is the number of "1", else that of "1.0"
        return plain | {int(text.partition(".")[0]): plain[text] for text in whole} | _codes(plain)

    def _takes_bools(self) -> bool:
        """Whether true and false mean one of its values each: to Python they are 1 and 0 of anything."""
        feature = self.feature
        if feature.kind != "binary":
            return {*feature.values, *feature.pooled} == {"1"}  # or nothing
        no, yes = (word.lower() for word in feature.values or ("0", "1"))
        return no in NO | OTHER_NO and yes in YES | OTHER_YES

    @property
    def _missing_row(self) -> np.ndarray:
        return self.feature.encode(np.array([None if self.feature.values else math.nan]))[0]

    def _number(self, value):
        feature = self.feature
        if isinstance(value, bool | np.bool_):
            return None, f"must be a number, not {str(value).lower()}", None
        number, problem = _number(value)
        if problem:
            share = _of_percent(value)  # 12 % is 0.12 in a cell of Excel's
            is_share = share and feature.low <= float(share) <= feature.high < 100 * float(share)
            return None, f"{value.strip()} is no plain number: write {share}" if is_share else problem, None
        if feature.whole:
            is_known = feature.low <= number <= feature.high and number.is_integer()
            known = f"{shown(feature.low)} to {shown(feature.high)}"
            return (self.at, number), None if is_known else f"must be a whole number from {known}", None
        if abs(number) > LARGEST:
            return None, f"too large: must be within {LARGEST:g}", None
        scaled = _as_float32(feature.scaled(number))
        # The model takes float32: what is within the range there is usual, though in more digits it lies just outside.
        low, high = _as_float32(feature.scaled(feature.low)), _as_float32(feature.scaled(feature.high))
        if feature.low <= number <= feature.high or low <= scaled <= high:
            return (self.at, scaled), None, None
        range_ = f"{shown(feature.low)} to {shown(feature.high)}"
        if self.strict:
            return None, f"must be between {range_.replace(' to ', ' and ')}", None
        note = f"{shown(number)} is outside of {range_}, {self.source.range_is}"
        return (self.at, scaled), None, note

    def _yes_no(self, value):
        word = self._texts.get(_text(value).casefold()) if isinstance(value, str) else None
        if word:
            return word, None, None
        number, problem = _number(value)
        usual = not problem and number in (0.0, 1.0)
        return ((self.at, number), None, None) if usual else (None, "must be 0 or 1", None)

    def _category(self, value):
        if isinstance(value, Mapping | list | tuple):
            return None, partial(self._choice, ""), None
        if isinstance(value, bool) and self.takes_bools and value in self.plain:
            return self.plain[value], None, None
        text = _text(value)
        filled = self.plain.get(text) or self._texts.get(text.casefold())
        if not filled and _WHOLE.fullmatch(text):  # 1.0 for 1, and 1234 for the code 01234
            filled = self.plain.get(int(text.partition(".")[0]))
        if filled:
            return filled, None, None
        if self.unseen == "answer" and self.feature.kind == "category":
            return (self.at, 0.0), None, f"{text!r} {self.source.never_seen}: answered as none of the values known"
        return None, partial(self._choice, text), None

    def _choice(self, text: str, may_compare: Callable[[int], bool]) -> str:
        known = [*self.feature.values, *self.feature.pooled]
        return choice(known, text, may_compare, "must be one of {}" if len(known) > 1 else "must be {}, or empty")


def choice(known: Sequence[str], text: str, may_compare: Callable[[int], bool], says: str = "must be one of {}") -> str:
    """What is to be said of a text that is none of those known: which there are, and which may be meant."""
    shown = with_commas(known[:MOST_SHOWN]) + (f" or {len(known) - MOST_SHOWN} others" * (len(known) > MOST_SHOWN))
    if not (0 < len(text) <= 100 and may_compare(len(known))):
        return says.format(shown)
    near = nearest(text, known)
    return says.format(shown) + (f"; {did_you_mean(near)}" if near else "")


_NUMBERS = (int, float)


def _number(value) -> tuple[float, str | None]:
    """A JSON value or text as a finite number and None, or 0 and what is wrong with it."""
    if isinstance(value, str):
        text = value.strip()
        if text.lower().lstrip("+-") in ("nan", "inf", "infinity"):
            return 0.0, "not finite"
        if len(text) > LONGEST_NUMBER:
            return 0.0, f"not a number: longer than {LONGEST_NUMBER} characters"
        if not _DECIMAL.fullmatch(text):
            return 0.0, _how_to_write(text)
        value = text
    elif not isinstance(value, int | float | np.number | np.bool_):
        return 0.0, "not a number"
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    return (number, None) if math.isfinite(number) else (0.0, "not finite")


def _how_to_write(text: str) -> str:
    """What is wrong with a text that is no number, and how the number is written that it may mean."""
    if meant := _readings(text):
        return f"{text} is no plain number: write {meant}"
    if found := numerals.with_unit(text):
        number, unit = found
        return f"{text} is a number with a unit: send the number alone, {_readings(number)} if the model takes {unit}"
    return "not a number"


def _of_percent(value) -> str:
    """A text of percent as the share that it is in plain decimals, 0.125 for 12.5 %; "" for any other value."""
    is_percent = isinstance(value, str) and len(value) <= LONGEST_NUMBER and value.rstrip().endswith("%")
    found = numerals.plain(value) if is_percent else None
    return str(Decimal(found[0]) / 100) if found else ""


def _readings(text: str) -> str:
    """A number in plain decimals; both that a text may mean whose only mark ends thousands or begins the fraction."""
    found = [numerals.plain(text, mark) for mark in ".,"]
    numbers = {float(each[0]): each[0] for each in found if each}  # 12 in either way is one number
    return " or ".join(numbers.values()) + ", whichever is meant" * (len(numbers) > 1)


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


def _text(value) -> str:
    """A value as a category holds it: composed Unicode, single blanks, whole numbers without a point."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return " ".join(unicodedata.normalize("NFC", str(value)).split())


def only_once(pairs: Iterable[tuple]) -> dict:
    """A dict of those names that stand for one thing only."""
    found: dict = {}
    twice = set()
    for name, thing in pairs:
        if name in found and found[name] != thing:
            twice.add(name)
        found[name] = thing
    return {name: thing for name, thing in found.items() if name not in twice}


def _codes(plain: Mapping) -> dict:
    """Numbers that stand for codes of so many digits, as a program that took 01234 for a number sends 1234."""
    texts = [text for text in plain if isinstance(text, str)]
    are_codes = len({len(text) for text in texts}) == 1 and all(re.fullmatch(r"\d{2,15}", t, re.ASCII) for t in texts)
    return {int(text): plain[text] for text in texts} if are_codes else {}


def _is_whole(text) -> bool:
    return isinstance(text, str) and bool(re.fullmatch(r"(0|-?[1-9]\d{0,15})(\.0{1,15})?", text, re.ASCII))


def shown(number: float) -> str:
    """A number in full, without a point where it is whole."""
    return str(int(number)) if float(number).is_integer() and abs(number) < 1e16 else repr(float(number))


def usual_in_words(usual) -> str:
    """What is usual, (low, high) or such ends for each of several numbers: "16 to 64, 0 to 5"."""
    low, high = np.atleast_1d(*usual)
    return listed([f"{shown(a)} to {shown(b)}" for a, b in zip(low.tolist(), high.tolist(), strict=True)], 8)


def _as_float32(value: float) -> float:
    with np.errstate(over="ignore"):
        return float(np.float32(value))
