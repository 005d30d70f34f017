"""One value of a request becomes what fills its feature's columns of a row, or what is wrong with it."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from functools import partial
from typing import NamedTuple

import numpy as np

from helpers.data import numerals
from helpers.data.refusals import What, choice
from helpers.data.words import ABSENT, NO, OTHER_NO, OTHER_YES, YES
from helpers.wording import listed

LARGEST = 1e30  # the model computes in float32, which ends at 3.4e38, and squares are beyond it
LONGEST_NUMBER = 64  # characters: more than the longest decimals of a float need

# A decimal number as JSON and people write it. Python's float() would also take "1_000", "nan" and Arabic digits.
# Each digit can be matched in one way only, so that no text takes longer than its length.
DECIMAL = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"-?(?:0|[1-9]\d{0,14})(?:\.0+)?", re.ASCII)


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


class Field:
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


def _number(value) -> tuple[float, str | None]:
    """A JSON value or text as a finite number and None, or 0 and what is wrong with it."""
    if isinstance(value, str):
        text = value.strip()
        if text.lower().lstrip("+-") in ("nan", "inf", "infinity"):
            return 0.0, "not finite"
        if len(text) > LONGEST_NUMBER:
            return 0.0, f"not a number: longer than {LONGEST_NUMBER} characters"
        if not DECIMAL.fullmatch(text):
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


def _text(value) -> str:
    """A value as a category holds it: composed Unicode, single blanks, whole numbers without a point."""
    return one_form(int(value) if isinstance(value, float) and value.is_integer() else value)


def one_form(text) -> str:
    """A name or text as those of a table are written: in Unicode's composed form, with single blanks."""
    return " ".join(unicodedata.normalize("NFC", str(text)).split())


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
