"""Any table with a yes/no question: loaded with its label, split into rows to train on and rows to test on.

A file or an address comes in. What goes out is a `Table`: a pandas DataFrame of usable columns whose label is 0 or 1,
and what became of each column of the file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import wording
from helpers.data import columns, numerals
from helpers.data.columns import LABEL, Column
from helpers.data.groups import places, tells_groups
from helpers.data.header_lines import called_elsewhere
from helpers.data.raw_tables import DataError, NoSuchLabel, Reading, are_bytes, without_point
from helpers.data.reading import read_table
from helpers.data.signature import Signature, in_order
from helpers.data.words import NO, YES

ENOUGH = 10  # rows of each label: two of them test, and validation and training each hold some
FEW_TESTED = 30  # positives (or negatives) in the test rows below which an interval of the AUC says little
SHORTEST_STEM = 4  # letters of a label's name in which one of its values is recognised
MOST_ANSWERS = 50  # values of a label of which one may be asked for; of more it is a text,
FEW_ANSWERS = 8  # and of more than these where none stands in enough rows
MOST_TOTALS = 0.1  # share of the rows that may hold totals
ROUNDED = 0.005  # by which a mean of the label may be rounded there
MOST_SPELLINGS = 20  # values of a label among which several may be one
MANY_REPEATED = 0.01  # share of the rows that are like another, from which that is said,
BY_CHANCE = 100  # where it is so many times what columns without a connection would have
TEST_SHARE, VALIDATION_SHARE = 0.2, 0.2


@dataclass(frozen=True)
class Table:
    """`frame`: the usable columns, the label among them as 0 and 1. `columns`: what became of each column of the file.

    label, positive: the label's name, and its value that counts as 1 ("" for 1 itself). said: what was done, in words.
    display_name: what people call a 1 of the label, "" for its name. groups: columns that tell which rows belong
    together, those of one person, say. group: the one by which they are split, whose values the index of `frame` holds.
    """

    frame: pd.DataFrame
    label: str
    positive: str
    columns: tuple[Column, ...]
    said: tuple[str, ...] = ()
    display_name: str = ""
    groups: tuple[str, ...] = ()
    group: str = ""

    def signature(self) -> Signature:
        """What a model of this table takes, its ranges and values from all rows."""
        return self._signature

    @cached_property  # every step from the report to the export asks for it
    def _signature(self) -> Signature:
        features = self.frame.drop(columns=self.label)
        signature = Signature.from_table(features, self.label, self.positive, self.display_name)
        left_out = [c.name for c in self.columns if c.kind == columns.LEFT_OUT]
        others = dict.fromkeys(other for name in left_out for other in called_elsewhere(name))
        return replace(signature, left_out=[*left_out, *others], group=self.group)

    def report(self) -> pd.DataFrame:
        """What became of each column: column, kind, values, missing, used as."""
        return columns.report(self.columns)


def load_table(
    source: str | Path,
    label: str = "label",
    positive: str | None = None,
    drop: Iterable[str] = (),
    treat_as: Mapping[str, str] | None = None,
    display_name: str = "",
) -> Table:
    """The table at `source` (`reading.read_table`), its columns as `columns.usable` takes them, its label as 0 and 1.

    label: the column to predict. positive: the value of it that counts as 1; where it has two values it may be left out
    and is said. drop: columns to leave out. treat_as: {"zip": "category"}, kinds that overrule what is seen.
    display_name: what people call a positive answer, as in "the probability of ..."; "" for the label's own name.
    Raises `DataError` where the table cannot be read, or does not hold a yes/no question.
    """
    reading = read_table(source, label)
    name, said = str(source), list(reading.said)
    label = _find_label(reading, label, name)
    if len(reading.frame.columns) < 2:
        raise DataError(f"{name} has no column besides the label {label!r}: it needs at least one feature")
    answers, positive, column = _label(reading.frame[label], positive, reading.commas, name, said)
    known = answers.notna()
    if not known.all():
        count = (~known).sum()
        which = "1 row has no label {!r}: it is" if count == 1 else f"{count:,} rows have no label {{!r}}: they are"
        said.append(f"{which.format(label)} left out")
    features, described = columns.usable(
        reading.frame.drop(columns=label)[known], reading.commas, drop, treat_as, reading.first_line
    )
    if not len(features.columns):
        reasons = "; ".join(f"{c.name}: {c.used_as}" for c in described[:6])
        raise DataError(
            f"{name} has no column that a model can learn from ({reasons}): add one of numbers, or of a few texts"
        )
    answers = answers[known].astype(int)
    frame = features.assign(**{label: answers}).reset_index(drop=True)
    _check_rows(frame[label], label, positive, name, int((~known).sum()))
    said += _repeated_rows(frame)
    raw = reading.frame[known]
    groups = [c for c in described if tells_groups(raw[c.name], answers)]
    dropped = [c.name for c in groups if c.used_as == columns.DROPPED]
    group = min(dropped, key=lambda name: raw[name].nunique(), default="")
    if group:
        frame.index = pd.Index(raw[group].to_numpy(), name=group)
        said.append(f"rows of the same {group} are all trained on or all tested on")
    else:
        said += [_on_known_ones(c, label) for c in groups]
    at = list(reading.frame.columns).index(label)
    ordered = [*described[:at], column, *described[at:]]
    frame = frame[[c.name for c in ordered if c.kind != columns.LEFT_OUT]]
    names = tuple(c.name for c in groups)
    return Table(frame, label, positive, tuple(ordered), tuple(said), display_name, names, group)


def split(df: pd.DataFrame, label: str = "label", seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split a table into (train, test): a random fifth with the same share of positives tests.

    The last fifth of the rows to train on, where Keras takes its validation rows from, has that share as well. Rows of
    the same name in an index that has one, as `Table.frame` may have it, are not parted.
    """
    shuffled = df.sample(frac=1, random_state=seed)
    if df.index.name is None:
        shuffled = shuffled.reset_index(drop=True)
        place = shuffled.groupby(label).cumcount() / shuffled.groupby(label)[label].transform("size")
    else:
        place = places(shuffled.index, shuffled[label].to_numpy())
        order = np.argsort(place, kind="stable")  # so that the last fifth parts none, either, but where it begins
        shuffled, place = shuffled.iloc[order], place[order]
    test = place < TEST_SHARE
    validation = ~test & (place >= 1 - VALIDATION_SHARE * (1 - TEST_SHARE))
    return pd.concat([shuffled[~test & ~validation], shuffled[validation]]), shuffled[test]


def features_and_label(df: pd.DataFrame, signature: Signature) -> tuple[np.ndarray, np.ndarray]:
    """The features X, (rows, m) float32 as `signature` encodes them, and the label y, (rows,) float32 of 0 and 1."""
    return signature.encode(df), df[signature.label].to_numpy(dtype=np.float32)


def remark_on_test(y_test: np.ndarray) -> str:
    """A sentence where the test rows are too few for the interval of their AUC to mean much, else ""."""
    fewest = int(min(np.sum(y_test), len(y_test) - np.sum(y_test)))
    if fewest >= FEW_TESTED:
        return ""
    return f"only {fewest} of the test rows have the rarer answer, so the AUC may be far off: bring more rows"


def _on_known_ones(column: Column, label: str) -> str:
    """What there is to say of rows that belong together and are parted."""
    drop = wording.option("--drop", wording.with_commas([column.name]))
    without = "" if column.kind == columns.LEFT_OUT else "leaves it out and "
    return (
        f"rows of the same {column.name} tend to the same {label}, and the AUC is that of ones which were trained on: "
        f"if others will be asked about (a new person, a new device), {drop} {without}tests on others"
    )


def _repeated_rows(frame: pd.DataFrame) -> list[str]:
    """A remark where far more rows are like another than would be by chance: those that test were trained on then."""
    rows, repeated = len(frame), int(frame.duplicated().sum())
    if repeated < MANY_REPEATED * rows:
        return []
    pairs = rows * (rows - 1) / 2
    counts = (frame[name].value_counts(dropna=False).astype(float) for name in frame)
    alike = [(count * (count - 1)).sum() / 2 / pairs for count in counts]  # share of the pairs in each column
    if repeated < BY_CHANCE * math.prod(alike) * pairs:
        return []
    return [
        f"{repeated:,} rows are like another in every column that is used: where they are the same case again, leave "
        "them out, as the AUC is else measured on rows that were trained on"
    ]


# ---- the label ----


def _find_label(reading: Reading, label: str, name: str) -> str:
    """The column that is called `label`, in any case where that is one only."""
    there = [str(column) for column in reading.frame.columns]
    if found := wording.named(label, there):
        return found
    todo = (
        reading.first_line and _no_header(reading, there, label)
    ) or "Name the label with --label, in a notebook with LABEL"
    meant = wording.meant(label, there)
    raise NoSuchLabel(f"{name} has no column {label!r}{meant}; its columns are {wording.listed(there)}. {todo}")


def _no_header(reading: Reading, names: list[str], label: str) -> str:
    """What to do about a file whose first line does not name its columns; "" where it seems to."""
    first = reading.frame.head(20).to_numpy().tolist()
    is_in = [label in map(str, row) for row in first]
    for i, row in enumerate(first):
        if is_in[i] and sum(is_in) == 1 and not any(numerals.is_plain(str(cell)) for cell in row):
            return f"They seem to be named by line {reading.first_line + i}: delete the lines above it"
    if all(re.fullmatch("'.*'", name) for name in names):
        return "They stand in single quotation marks: write double ones, or none, in the whole file"
    if len(names) == 1 and label in re.split(r"[^\w.]+|_", names[0]):
        return "They seem to be separated otherwise: write a comma, a semicolon, a tab or | between them"
    cells = [re.sub(r" \(\d+\)$", "", name) for name in names]
    are_values = [(reading.frame.iloc[:, at] == cell).any() for at, cell in enumerate(cells)]
    if any(map(numerals.is_plain, cells)) or 2 * sum(are_values) >= len(cells):
        return "Its first line seems to hold values: put a line with the names of the columns above it"
    return ""


def _label(
    raw: pd.Series, positive: str | None, commas: Container[str], name: str, said: list[str]
) -> tuple[pd.Series, str, Column]:
    """The label as 1.0, 0.0 and NaN where it is missing; its positive value, "" for 1; its line of the report."""
    if are_bytes(raw):
        raise DataError(
            f"label {raw.name!r} of {name} holds bytes that are no text in UTF-8: write a text in their place"
        )
    values, texts = columns.typed(raw, commas), columns.texts_of(raw)
    if texts.dropna().str.lower().isin(["true", "false"]).all():
        values = texts
    else:
        values = _without_totals(values, said)
        texts = columns.texts_of(values)  # "1.0" is 1
    texts = _in_one_spelling(texts, str(raw.name), said)
    distinct = sorted(texts.dropna().unique())
    if not distinct:
        raise DataError(f"label {raw.name!r} is empty in {name}: fill it in, or name another column with --label")
    if len(distinct) == 1 and texts.isna().any():
        raise DataError(
            f"label {raw.name!r} is {distinct[0]} in every row but for {texts.isna().sum():,} without a value, as "
            "which an empty cell, NA, None, - and ? count: write a word there if they mean the other answer"
        )
    if len(distinct) == 1:
        raise DataError(
            f"label {raw.name!r} is constant ({distinct[0]} in every row), which teaches nothing: add rows with the "
            "other answer, or name another column with --label"
        )
    if positive is None:
        if len(distinct) > 2:
            raise DataError(_more_than_two(str(raw.name), texts.value_counts(), values, name))
        positive = _of_the_label(distinct, str(raw.name)) or in_order(distinct)[1]
        chosen = [positive]
        if {text.lower() for text in distinct} not in ({"0", "1"}, {"false", "true"}):
            other = next(text for text in distinct if text != positive)
            said.append(
                f"{raw.name} = {positive} counts as positive ({wording.option('--positive', other)} turns it round)"
            )
    else:
        chosen = _find_positives(positive, distinct, str(raw.name))
        positive = chosen[0] if len(chosen) == 1 else wording.with_commas(chosen)
        if len(distinct) > 2:
            others = len(distinct) - len(chosen)
            rest = f"its {others} other values as" if others > 1 else "its other value as"
            said.append(f"{raw.name} = {positive} counts as positive, {rest} negative")
    answers = texts.isin(chosen).astype(float).where(texts.notna())
    used_as = f"what is predicted: {positive} {'are' if len(chosen) > 1 else 'is'} positive"
    column = Column(str(raw.name), LABEL, columns.in_words(values), int(texts.isna().sum()), used_as)
    return answers, "" if positive == "1" else positive, column


def _without_totals(values: pd.Series, said: list[str]) -> pd.Series:
    """A label without the sums and means of its answers that stand below parts of them, the last at the end."""
    there = values.dropna()
    totals = there[~there.isin(there.value_counts().index[:2])]
    are_few = 0 < len(totals) < MOST_TOTALS * len(there) and totals.index[-1] == there.index[-1]
    if not are_few or not pd.api.types.is_float_dtype(values.dtype):
        return values
    answers = there.drop(totals.index)
    before = answers.index[:0]
    for at, total in totals.items():
        above = answers[answers.index < at]
        group = above.drop(before)
        if not any(total == part.sum() or np.isclose(total, part.mean(), atol=ROUNDED) for part in (above, group)):
            return values
        before = above.index
    shown = wording.listed(map(without_point, totals), most=4)
    said.append(f"{values.name}: took {shown} for total{'s' * (len(totals) > 1)} of the answers above")
    return answers.reindex(values.index)


def _in_one_spelling(texts: pd.Series, label: str, said: list[str]) -> pd.Series:
    """A label's texts, those that mean the same spelled as the most frequent one.

    Such differ by case, or by a full stop at their end, only; or all are words for yes and no, as TRUE beside 1.
    """
    counts = texts.value_counts()
    folded = {text: as_one(text) for text in counts.index}
    if set(folded.values()) <= YES | NO:
        folded = {text: str(word in YES) for text, word in folded.items()}
    spelled: dict[str, str] = {}
    for text, word in folded.items():
        spelled.setdefault(word, text)
    if not 2 <= len(spelled) < len(counts) <= MOST_SPELLINGS:
        return texts
    meant = {text: spelled[word] for text, word in folded.items()}
    others = ", ".join(f"{text} for {one}" for text, one in meant.items() if text != one)
    said.append(f"{label}: took {others}")
    return texts.map(meant).where(texts.notna(), None)


def as_one(text: str) -> str:
    """A value of a label as those are that mean the same: without its case, and a full stop at its end."""
    return text.casefold().rstrip(".")


def _of_the_label(distinct: list[str], label: str) -> str | None:
    """The one of two values that says what the label is called: Churned, not Stayed, of a column Churn."""
    stem = _letters(label)
    fit = [text for text in distinct if _letters(text).startswith(stem)]
    return fit[0] if len(stem) >= SHORTEST_STEM and len(fit) == 1 else None


def _letters(text: str) -> str:
    return re.sub(r"[\W_]+", "", text.casefold())


def _find_positives(positive: str, distinct: list[str], label: str) -> list[str]:
    """The values that `positive` names: one, or several with commas between them."""
    if one := _find_value(positive, distinct):
        return [one]
    found = {word: _find_value(word, distinct) for word in wording.from_commas(positive) or [positive]}
    if wrong := [word for word, value in found.items() if value is None]:
        shown = wording.with_commas(distinct[:12]) + (", ..." if len(distinct) > 12 else "")
        raise DataError(f"label {label!r} never is {wrong[0]!r}: choose its positive value from {shown}, by --positive")
    if len(chosen := sorted(set(found.values()))) == len(distinct):
        raise DataError(f"label {label!r} has no value beside {wording.with_commas(chosen)}: name some by --positive")
    return chosen


def _find_value(positive: str, distinct: list[str]) -> str | None:
    number = numerals.plain(positive)
    for same in (
        lambda text: text == positive,
        lambda text: text.casefold() == positive.casefold(),
        lambda text: as_one(text) == as_one(positive),
        lambda text: number and numerals.is_plain(text) and float(text) == float(number[0]),
    ):
        found = [text for text in distinct if same(text)]
        if len(found) == 1:
            return found[0]
    return None


def _more_than_two(label: str, counts: pd.Series, values: pd.Series, name: str) -> str:
    """Why a label is no yes or no, and what to do. counts: of its texts."""
    distinct = sorted(counts.index)
    if pd.api.types.is_float_dtype(values.dtype) and len(distinct) > 10:
        return (
            f"label {label!r} is a number with {len(distinct):,} different values, and this route answers yes/no "
            "questions: make a yes or no of it (above a limit, say), or serve a model of your own that answers numbers "
            "with `python3 tutorial.py serve FILE`"
        )
    are_dates = counts.index.str.fullmatch(columns.DATE).all()
    if are_dates or len(distinct) > (MOST_ANSWERS if counts.max() >= ENOUGH else FEW_ANSWERS):
        what = "dates" if are_dates else f"{len(distinct):,} different texts"
        how = "before a day" if are_dates else "whether it holds a word"
        how = "whether there is one" if values.isna().any() else how
        return (
            f"label {label!r} of {name} holds {what}, and this route answers yes/no questions: make a yes or no of it "
            f"({how}, say), or name another column with --label"
        )
    shown = wording.with_commas(distinct[:8]) + (", ..." if len(distinct) > 8 else "")
    yes = next((text for text in distinct if text.casefold() in YES), _of_the_label(distinct, label))
    one = yes or next((text for text in distinct if counts[text] >= ENOUGH), distinct[0])
    others = [text for text in distinct if text != one]
    two = [one, next((text for text in others if text.casefold() not in NO), others[0])]
    return (
        f"label {label!r} of {name} has {len(distinct)} values ({shown}), and this route answers yes/no questions: "
        f"say which count as yes, as in {wording.option('--positive', wording.with_commas([one]))}, or several, as in "
        f"{wording.option('--positive', wording.with_commas(two))}"
    )


def _check_rows(answers: pd.Series, label: str, positive: str, name: str, unknown: int) -> None:
    among = f"{len(answers):,}" + f" that have one ({unknown:,} have none)" * bool(unknown)
    for answer, what in ((1, positive or "1"), (0, f"anything but {positive}" if positive else "0")):
        count = int((answers == answer).sum())
        if count < ENOUGH:
            raise DataError(
                f"{name} has {count} row{'s' * (count != 1)} whose {label!r} is {what}, among {among}: at "
                f"least {ENOUGH} are needed, as some of each kind must train, validate and test; add rows of that kind"
            )
