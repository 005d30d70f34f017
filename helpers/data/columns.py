"""What each column of a table becomes: a number, a yes or no, a category, or nothing, with the reason.

A DataFrame as `reading` gives it comes in, all cells as text or with types of their own. What goes out is a DataFrame
of numbers (NaN where a value is missing) and texts (None), without the columns that cannot be used, and one `Column`
for each, which says what it was taken for. Nothing is left out silently.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from helpers import wording
from helpers.data.fields import LARGEST
from helpers.data.header_lines import ROW_NUMBERS
from helpers.data.numerals import MARKS, SIGNS, abbreviated, plain, with_unit
from helpers.data.raw_tables import DataError, are_bytes, is_none, without_point
from helpers.data.signature import own_and_pooled

NUMBER, YES_NO, CATEGORY, LEFT_OUT, LABEL = "number", "yes/no", "category", "left out", "label"
DROPPED = "you dropped it"
KINDS = (NUMBER, YES_NO, CATEGORY)

ENOUGH_ROWS = 20  # below these nothing is called an identifier: in ten rows most columns differ in each
NEARLY_EVERY = 0.95  # share of the rows in which an identifier differs
MOST_OF_THEM = 0.8  # in which one does that is called so: it may stand in several rows
STRAIGHT = 0.98  # correlation with the place of the row from which rising numbers only count
FEW_OTHERS = 3  # texts among numbers that a report names
SHOWN = 6  # values that a report names

_ID_NAME = re.compile(
    r"(^|[\W_])(key|nr|no|number|index|ssn|iban|phone|account)$|(?i:(^|[\W_])(ids?|uuid|guid)([\W_]|$))"
    r"|[a-z](ID|Id|Nr|Number)$|^(ID|id|Id)"
)
DATE = re.compile(
    r"((?i:mon|tues?|wed(nes)?|thu(rs)?|fri|sat(ur)?|sun)(?i:day)?,? )?(?:"
    r"\d{4}[-/.]\d{1,2}([-/.]\d{1,2})?([ T].*)?|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}([ T].*)?"
    r"|(\d{1,2}\.? )?[A-Za-z]{3,9}\.? (\d{1,2}, ?)?\d{4}"
    r"|(\d{1,2}[ -])?(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*[ -](\d{1,2} )?(\d{2}|\d{4})( .*)?"
    r"|\d{8}T\d{4,6}\S*|\d{4}[年년] ?\d.*)",
    re.ASCII,
)
_TIME = re.compile(
    r"(?ai)(-?\d+ days?,? )?\d{1,3}:\d{2}(:\d{2}([.,]\d+)?)?( ?[ap]\.?m\.?| uhr)?"
    r"|(?-i:P(?=.)(\d+[YMWD])*(T(\d+([.,]\d+)?[HMS])+)?)|(\d+ ?h(rs?|ours?)?\.?,? ?)?(\d+ ?m(in)?(ute)?s?\.?)?"
)
_ARROWS = r"^-?[0-9]{1,15}(\.[0-9]{1,30})?([eE][-+]?[0-9]{1,2})?$"  # numbers that Arrow reads as Python does
_DATES = "dates: put what matters of them into a number, days since then for example"
_SEVERAL = "several values in each cell: put what matters of them into columns of their own"
_TIMES = "times: put what matters of them into a number, minutes or hours for example"
_INFINITE = frozenset({"inf", "+inf", "-inf", "infinity", "+infinity", "-infinity"})


@dataclass(frozen=True)
class Column:
    """What a column was taken for. `values`: its range or its values, in words; `used_as`: in words, or why not."""

    name: str
    kind: str
    values: str
    missing: int
    used_as: str


def usable(
    frame: pd.DataFrame,
    commas: Container[str] = (),
    drop: Iterable[str] = (),
    treat_as: Mapping[str, str] | None = None,
    first_line: int = 2,
) -> tuple[pd.DataFrame, list[Column]]:
    """The columns that a model can learn from, as numbers and texts, and what became of every column.

    commas: columns whose numbers are written with a decimal comma. drop: names to leave out. treat_as:
    {"zip": "category"} where the kind that is seen in the values is not meant. first_line: the line of the file in
    which the first row stands, 0 where it has none. Raises `DataError` for names that are not there, and for numbers
    that are none.
    """
    drop, treat_as = wording.put_together(drop, map(str, frame.columns)), dict(treat_as or {})
    there = _named(frame, [*drop, *treat_as])
    drop, treat_as = {there[name] for name in drop}, {there[name]: kind for name, kind in treat_as.items()}
    for name, kind in treat_as.items():
        if kind not in KINDS:
            raise DataError(f"column {name!r} cannot be treated as {kind!r}: choose number, yes/no or category")
    kept, columns = {}, []
    for name in frame.columns:
        if name in drop:
            columns.append(_left_out(frame[name], DROPPED))
            continue
        values, column = _one(frame[name], commas, treat_as.get(name), first_line)
        columns.append(column)
        if column.kind != LEFT_OUT:
            kept[name] = _whole(values)
    return pd.DataFrame(kept, index=frame.index), columns


def _whole(values: pd.Series) -> pd.Series:
    """Numbers as integers where all are there and whole, so that a table reads as it was written."""
    if not pd.api.types.is_float_dtype(values.dtype) or values.isna().any():
        return values
    whole = (values == np.floor(values)).all() and values.abs().max() < 2**53
    return values.astype(int) if whole else values


def report(columns: Iterable[Column]) -> pd.DataFrame:
    """What became of each column as a table: column, kind, values, missing, used as."""
    rows = [(c.name, c.kind, c.values, c.missing, c.used_as) for c in columns]
    return pd.DataFrame(rows, columns=["column", "kind", "values", "missing", "used as"])


def typed(values: pd.Series, commas: Container[str] = ()) -> pd.Series:
    """A column as float64 where every value that is there is a number (True and False included), else as texts.

    Whole numbers that float64 does not tell apart are names of something, and stay texts.
    """
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(object)
    if pd.api.types.is_bool_dtype(values.dtype) or pd.api.types.is_numeric_dtype(values.dtype):
        if pd.api.types.is_complex_dtype(values.dtype):
            return texts_of(values)
        numbers = pd.to_numeric(values).astype("Float64").astype(float)
        return texts_of(values) if _are_one(values, numbers) else numbers
    decimal = "," if values.name in commas else "."
    if decimal == "." and (numbers := _digits(values)) is not None:
        return numbers
    texts = texts_of(values)
    numbers = _numbers(texts, decimal)
    return texts if numbers is None or _are_one(texts, numbers) else numbers


def texts_of(values: pd.Series) -> pd.Series:
    """A column as texts without blanks around them, None for what is missing; whole numbers without a point."""

    def text(value) -> str | None:
        return None if is_none(value) else " ".join(without_point(value).split()) or None

    if isinstance(values.dtype, pd.StringDtype):  # others may hold 1 beside "1" and True
        codes, distinct = pd.factorize(values)
        texts = np.array([*map(text, distinct), None], dtype=object)[codes]
    else:
        texts = [text(value) for value in values]
    return pd.Series(texts, index=values.index, name=values.name, dtype=object)


def _named(frame: pd.DataFrame, names: Iterable[str]) -> dict[str, str]:
    """For each name the column that is called so, in any case where that is one only."""
    there = [str(column) for column in frame.columns]
    found = {name: wording.named(name, there) for name in names}
    if unknown := [f"{name!r}{wording.meant(name, there)}" for name, column in found.items() if column is None]:
        raise DataError(f"the table has no column {', '.join(unknown)}; its columns are {wording.listed(there)}")
    return found


def _are_one(values: pd.Series, numbers: pd.Series) -> bool:
    """Whether whole numbers that differ are the same in float64."""
    largest = numbers.abs().max()
    if not 2**53 < largest < np.inf or pd.api.types.is_float_dtype(values.dtype):
        return False
    there = values.dropna()
    if there.dtype == object and not there.map(str).str.fullmatch(r"[+-]?\d+").all():
        return False
    return there.nunique() > numbers.nunique()


def _digits(values: pd.Series) -> pd.Series | None:
    """Texts as float64 where each that is there is digits with at most a minus, a point and an exponent, as mostly.

    Arrow reads them all at once, in a tenth of the time of one by one. None for any others.
    """
    if not isinstance(values.dtype, pd.StringDtype) or values.dtype.storage != "pyarrow":
        return None
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = pa.array(values)
    if not pc.all(pc.match_substring_regex(texts, _ARROWS), min_count=0).as_py():
        return None
    numbers = texts.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return pd.Series(numbers, index=values.index, name=values.name)


def _numbers(texts: pd.Series, decimal: str) -> pd.Series | None:
    """Texts as float64, or None where one of them is no number; a sign beside them is the same for all."""
    there = texts.dropna()
    if not len(there):
        return texts.astype(float)
    codes, distinct = pd.factorize(there)
    words = {text.lower() for text in distinct}
    if words <= {"true", "false"}:
        return (texts.str.lower() == "true").astype(float).where(texts.notna())
    if words <= _INFINITE:
        return None
    written, signs = [], set()
    for text in distinct:
        if text.lower() in _INFINITE:  # is refused where its line is known
            found = text, ""
        elif (found := plain(text, decimal)) is None:
            return None
        written.append(float(found[0]))
        if found[1] or written[-1] != 0:
            signs.add(found[1])
    if len(signs) > 1:  # 5 % beside 0.05, dollars beside euros
        return None
    return pd.Series(np.array(written)[codes], index=there.index, name=texts.name).reindex(texts.index)


def _one(raw: pd.Series, commas: Container[str], wanted: str | None, first_line: int) -> tuple[pd.Series, Column]:
    """A column's values, and what it was taken for."""
    if pd.api.types.is_datetime64_any_dtype(raw.dtype):
        return raw, _left_out(raw, _DATES)
    if pd.api.types.is_timedelta64_dtype(raw.dtype):
        return raw, _left_out(raw, _TIMES)
    if isinstance(next(iter(raw.dropna()), None), list | tuple | dict | np.ndarray):
        return raw, _left_out(raw, _SEVERAL)
    if are_bytes(raw):
        shown = raw.map(repr, na_action="ignore")
        return raw, _left_out(raw, "bytes that are no text in UTF-8: write a text or a number in their place", shown)
    values, mark = typed(raw, commas), "," if raw.name in commas else "."
    numeric = pd.api.types.is_float_dtype(values.dtype)
    if wanted == CATEGORY and numeric:
        values, numeric = _names_of(raw, values), False
    if wanted == NUMBER and not numeric:
        raise DataError(_no_number(raw.name, values, mark, first_line))
    there = values.dropna()
    distinct = there.nunique()
    if wanted == YES_NO and distinct != 2:
        raise DataError(f"column {raw.name!r} cannot be a yes or no: it holds {distinct} different values")
    if numeric:
        _check_range(values, first_line)
    if not wanted:
        reason = _no_use(raw.name, there, distinct, numeric, bool(values.isna().any()), mark)
        if reason:
            return values, _left_out(raw, reason, values)
    if numeric and distinct == 1 and not wanted:  # 1 or nothing, as forms have it: what a 0 would mean, nobody knows
        words = texts_of(raw)
        are_words = words.dropna().str.lower().isin(["true", "false"]).all()
        values, numeric = words if are_words else _names_of(raw, values), False
    if numeric and (wanted == YES_NO or there.isin([0, 1]).all()):
        low, high = there.min(), there.max()
        if (low, high) != (0, 1) and distinct == 2:  # 1 and 2, say: its two values are names
            values = _names_of(raw, values)
        return values, _described(values, YES_NO)
    if numeric:
        column, hint = _described(values, NUMBER), _stands_for_none(there)
        if not wanted and (there == np.floor(there)).any() and _are_codes(raw):
            hint += f"; its zeros in front are lost, --as {wording.quoted(str(raw.name))}=category keeps them"
        hint += _thousands(raw, mark) + _dates_as_numbers(there)
        return values, replace(column, used_as=column.used_as + hint)
    column = _described(values, YES_NO if distinct == 2 and wanted != CATEGORY else CATEGORY, mark)
    return values, replace(column, used_as=column.used_as + _heads_groups(values))


def _heads_groups(values: pd.Series) -> str:
    """A remark where each value stands in one row, and none in the rows below it: as a cell for all of them, merged."""
    there = values.notna()
    is_head = there.iloc[0] and values.nunique() == there.sum() > 1 and len(values) >= ENOUGH_ROWS
    return "; fill its cells down if each stands for the rows below it, too" * bool(is_head and there.mean() < 0.5)


def _stands_for_none(there: pd.Series) -> str:
    """A remark on -9999 and the like that occurs again and again, far from all other numbers."""
    for number in (there.min(), there.max()):
        if not re.fullmatch("-?9{2,}", without_point(number)):
            continue
        others = there[there != number]
        is_far = len(others) and min(abs(others.min() - number), abs(others.max() - number)) > np.ptp(others)
        if is_far and (there == number).sum() > 1:
            return f"; leave the cells with {without_point(number)} empty if it stands for no value"
    return ""


def _thousands(raw: pd.Series, mark: str) -> str:
    """A remark where three digits follow each decimal mark of a column, as they do where it separates thousands."""
    if not (raw.dtype == object or pd.api.types.is_string_dtype(raw.dtype)):
        return ""
    fits = re.compile(rf"[+-]?[1-9]\d{{0,2}}(\{mark}\d{{3}})?", re.ASCII).fullmatch
    texts = raw.dropna().unique()
    if not all(fits(str(text).strip(f" {SIGNS}")) for text in texts) or not any(mark in str(text) for text in texts):
        return ""
    return f"; its {MARKS[mark]} is taken for the decimal mark: take it out where it separates thousands"


def _dates_as_numbers(there: pd.Series) -> str:
    """A remark on what may be dates, which are left out elsewhere: in milliseconds since 1970, as pandas writes them to
    JSON, or like 20240131, whose steps are no days.
    """
    if not (there == np.floor(there)).all():
        return ""
    if 5e11 < there.median() < 2.5e12:
        return "; if these are dates, in milliseconds since 1970: put what matters of them into a number"
    months, days = there // 100 % 100, there % 100
    if (there.between(19_000_101, 21_001_231) & months.between(1, 12) & days.between(1, 31)).all():
        return "; if these are dates, year, month and day: put what matters of them into a number, days since then, say"
    return ""


def _are_codes(raw: pd.Series) -> bool:
    """Whether whole numbers are written with zeros in front, which count where they name something: 01234."""
    if not (raw.dtype == object or pd.api.types.is_string_dtype(raw.dtype)):
        return False
    return bool(raw.dropna().astype(str).str.fullmatch(r"\s*0\d+\s*", flags=re.ASCII).any())


def _names_of(raw: pd.Series, numbers: pd.Series) -> pd.Series:
    """Numbers that stand for names as texts: 1.0 as "1", 01234 as the table writes it."""
    return texts_of(raw if _are_codes(raw) else numbers)


def _no_number(name: str, values: pd.Series, decimal: str, first_line: int) -> str:
    """Why a column of texts cannot be taken for numbers, and what to do."""
    there = values.dropna()
    wrong = next((text for text in there if plain(text, decimal) is None), None)
    if wrong is None:
        return f"column {name!r} cannot be a number: write {_signs_of(there, decimal)} alike"
    unit = _unit_of(there.unique())
    todo = f"leave {unit!r} out of the cells" if unit else "correct the cell, or leave it empty"
    return f"column {name!r} cannot be a number: {_where(values, wrong, first_line)} holds {wrong!r}: {todo}"


def _no_use(name: str, there: pd.Series, distinct: int, numeric: bool, any_missing: bool, mark: str) -> str | None:
    """Why a column cannot teach anything, or None. mark: the decimal mark of its numbers."""
    if not len(there):
        return "empty"
    if distinct == 1 and not any_missing:
        return f"constant: {without_point(there.iloc[0])} in every row"
    if distinct == 1 and numeric and there.iloc[0] not in (0, 1):
        return f"constant: {without_point(there.iloc[0])} wherever there is a value"
    if name == ROW_NUMBERS:
        return "the rows' numbers or names"
    if numeric:
        return _numeric_identifier(name, there, distinct)
    counts = there.value_counts()
    for pattern, reason in ((DATE, _DATES), (_TIME, _TIMES)):
        if counts[counts.index.str.fullmatch(pattern)].sum() > 0.9 * len(there) and not _unit_of(counts.index):
            return reason
    if len(there) >= ENOUGH_ROWS:
        if distinct > len(there) / 2:
            if there.str.count(" ").mean() >= 4:
                return "free text"
            told = f"{distinct:,} different texts in {len(there):,} rows: too many to learn from"
            if distinct >= NEARLY_EVERY * len(there):
                told = "an identifier: it differs in nearly every row"
            return told + _not_quite_numbers(there, mark)
    return None


def _numeric_identifier(name: str, there: pd.Series, distinct: int) -> str | None:
    """Whether whole numbers only tell rows apart. Measured amounts may differ in each row, too, and stay."""
    values, is_called_so = there.to_numpy(), _ID_NAME.search(name)
    fewest = (MOST_OF_THEM if is_called_so else NEARLY_EVERY) * len(there)
    if len(there) < ENOUGH_ROWS or distinct < fewest or not (values == np.floor(values)).all():
        return None
    steps = np.diff(values)
    if distinct == len(there) and (np.abs(steps) == 1).all():
        return "row numbers"
    if distinct == len(there) and values.max() - values.min() < 1.05 * len(there):
        return "an identifier: each row has a number of its own"
    if (steps > 0).all() and np.corrcoef(values, np.arange(len(values)))[0, 1] > STRAIGHT:
        return "running numbers: they rise from row to row"
    digits = len(str(int(np.abs(values).max())))
    is_time = 0 <= values.min() and 5e8 < np.median(values) < 2.5e9  # seconds since 1970
    are_keys = digits >= 8 and digits == len(str(int(np.abs(values).min()))) and not is_time
    if is_called_so or are_keys or 2**53 < np.median(np.abs(values)) < 2**64:
        return "an identifier: it differs in nearly every row"
    return None


def _check_range(values: pd.Series, first_line: int) -> None:
    numbers = values.to_numpy()
    wrong = np.isinf(numbers) | (np.abs(np.nan_to_num(numbers)) > LARGEST)
    if wrong.any():
        where = _place(int(np.argmax(wrong)), first_line)
        todo = wording.option("--drop", wording.with_commas([str(values.name)]))
        raise DataError(
            f"column {values.name!r} holds {numbers[wrong][0]:g} in {where}, beyond what a model can compute with "
            f"({LARGEST:g}): correct it, or leave the column out with {todo}"
        )


def _left_out(raw: pd.Series, reason: str, values: pd.Series | None = None) -> Column:
    values = raw if values is None else values
    return Column(str(raw.name), LEFT_OUT, in_words(values), int(values.isna().sum()), reason)


def _described(values: pd.Series, kind: str, mark: str = ".") -> Column:
    missing = int(values.isna().sum())
    if kind == CATEGORY:
        own, pooled = own_and_pooled(values.dropna().value_counts().to_dict(), len(values))
        used = "a column of 0 and 1 for " + (f"each of {len(own)} values" if len(own) > 1 else "1 value")
        if pooled:
            used += ", and one for the " + (f"{len(pooled):,} rarer ones" if len(pooled) > 1 else "rarest")
    else:
        used = {NUMBER: "a number", YES_NO: "0 or 1"}[kind]
    used += ", and whether it is missing" * bool(missing)
    if kind == CATEGORY:
        used += _not_quite_numbers(values, mark) or _spelled_apart(values)
    return Column(str(values.name), kind, in_words(values), missing, used)


def _spelled_apart(values: pd.Series) -> str:
    """Which values of a category differ by case only, or by a point: they may be one, but codes may also be meant."""
    spelled: dict[str, list[str]] = {}
    for text in sorted(values.dropna().unique()):
        spelled.setdefault(re.sub(r"^(\d+)\.0+$", r"\1", text.casefold()), []).append(text)
    alike = next((texts for texts in spelled.values() if len(texts) > 1), None)
    if not alike:
        return ""
    how = "case" if len({text.casefold() for text in alike}) == 1 else "the way of writing a number"
    return f"; {' and '.join(map(repr, alike))} differ by {how} only, spell them alike if they are one"


def _not_quite_numbers(values: pd.Series, mark: str) -> str:
    """What keeps a column of texts from being one of numbers with this decimal mark, as far as that is little."""
    counts = values.value_counts()
    if unit := _unit_of(counts.index):
        return f"; leave {unit!r} out of the cells, and it is a number"
    if len(counts) <= ENOUGH_ROWS:
        return ""
    if ends := _multiples_of(counts.index, mark):
        return f"; write the numbers with {' and '.join(ends)} in full, and it is a number"
    other = {".": ",", ",": "."}[mark]
    odd, odd_otherwise = (counts[[plain(text, each) is None for text in counts.index]] for each in (mark, other))
    if not len(odd) and len({plain(text, mark)[1] for text in counts.index}) == 1:
        return ""  # whole numbers that float64 does not tell apart
    if not len(odd):
        return f"; write {_signs_of(counts.index, mark)} alike, and it is a number"
    if not len(odd_otherwise):
        return f"; write its decimal {MARKS[other]}s as {MARKS[mark]}s, and it is a number"
    fewest = min(odd, odd_otherwise, key=len)
    if len(fewest) <= FEW_OTHERS and fewest.sum() <= counts.sum() / 3:
        return f"; leave the cells with {' and '.join(map(repr, fewest.index))} empty, and it is a number"
    return ""


def _unit_of(texts: Iterable[str]) -> str:
    """What stands beside each number of a column, "kg" say; "" where it is not the same for all."""
    found = {match and match[1] for match in map(with_unit, texts)}
    return (found.pop() or "") if len(found) == 1 else ""


def _multiples_of(texts: Iterable[str], mark: str) -> list[str]:
    """What numbers of a column are multiplied by, K and M say; nothing where one of its texts is no number."""
    ends = {text: abbreviated(text) for text in texts}
    are_numbers = all(end or plain(text, mark) for text, end in ends.items())
    return sorted({*ends.values()} - {""}) if are_numbers else []


def _signs_of(texts: Iterable[str], mark: str) -> str:
    """The signs beside numbers in words: "those with % and those without a sign"."""
    signs = sorted({plain(text, mark)[1] for text in texts}, reverse=True)
    return " and ".join(f"those with {sign}" if sign else "those without a sign" for sign in signs)


def in_words(values: pd.Series) -> str:
    """The range of numbers, the values of texts, in words."""
    there = values.dropna()
    if not len(there):
        return "none"
    if pd.api.types.is_numeric_dtype(there.dtype) and not pd.api.types.is_bool_dtype(there.dtype):
        low, high = there.min(), there.max()
        between = " and " if there.nunique() == 2 else " to "
        return between.join(dict.fromkeys(map(without_point, (low, high))))
    counts = there.astype(str).value_counts()
    shown = wording.with_commas(text if len(text) <= 24 else f"{text[:23]}…" for text in sorted(counts.index[:SHOWN]))
    return shown + (f" and {len(counts) - SHOWN:,} more" if len(counts) > SHOWN else "")


def _where(values: pd.Series, text: str, first_line: int) -> str:
    return _place(int(np.argmax((values == text).to_numpy())), first_line)


def _place(row: int, first_line: int) -> str:
    """Where a row of the table, from 0, stands in its file."""
    return f"line {row + first_line}" if first_line else f"row {row + 1}"
