"""Any table: read it, check it, split it.

A file or an address of a CSV comes in and goes out as a pandas DataFrame that has been checked: numeric features, none
constant, and a label of 0 and 1.
"""

from __future__ import annotations

import io
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import requests

TIMEOUT = 20  # seconds for a connection, and between two pieces of an answer


class DataError(ValueError):
    """A table that cannot be read or used; the message says what, where and what to do."""


def load_table(source: str | Path, label: str = "label") -> pd.DataFrame:
    """The table in `source`, the path or http(s) address of a CSV, checked; raises `DataError` column by column.

    label: the name of the column to predict.
    """
    return check_table(_read_csv(source), label, str(source))


def split(df: pd.DataFrame, label: str = "label", seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split a table into (train, test): a random fifth with the same share of positives tests."""
    test = df.groupby(label).sample(frac=0.2, random_state=seed).index
    shuffled = df.sample(frac=1, random_state=seed)  # Keras validates on the last rows: they must not be one class
    return shuffled[~shuffled.index.isin(test)], shuffled[shuffled.index.isin(test)]


def features_and_label(df: pd.DataFrame, label: str = "label") -> tuple[np.ndarray, np.ndarray]:
    """The features X, (rows, columns - 1) float32 in the table's order, and the label y, (rows,) float32."""
    return df.drop(columns=label).to_numpy(dtype=np.float32), df[label].to_numpy(dtype=np.float32)


def check_table(df: pd.DataFrame, label: str = "label", name: str = "the table") -> pd.DataFrame:
    """Return `df` if it is usable for training; otherwise raise `DataError` with every column that is not."""
    if df.empty:
        raise DataError(f"{name} has a header but no rows: it needs at least some of each label")
    if label not in df.columns:
        columns = ", ".join(map(str, df.columns[:12])) + (", ..." if len(df.columns) > 12 else "")
        raise DataError(f"{name} has no column {label!r}; its columns are {columns}. Name the label with --label")
    if df.columns.size < 2:
        raise DataError(f"{name} has no column besides the label {label!r}: it needs at least one feature")
    problems = [problem for column in df.columns if (problem := _column_problem(df[column], column == label))]
    if problems:
        raise DataError(f"{name} cannot be used as it is:\n" + "\n".join(f"- {problem}" for problem in problems))
    return df


def _column_problem(column: pd.Series, is_label: bool) -> str | None:
    """What is wrong with a column. Rows are counted as in the file: the header is line 1."""
    numbers = pd.to_numeric(column, errors="coerce")
    missing = column.isna()
    wrong = numbers.isna() & ~missing
    if missing.any():
        count = "1 missing value, it is" if missing.sum() == 1 else f"{missing.sum()} missing values, the first"
        return f"column {column.name!r} has {count} in line {_line(missing)}: fill in a number or drop the row"
    if wrong.any():
        return f"column {column.name!r} is not numeric: line {_line(wrong)} holds {_shown(column[wrong])}"
    infinite = ~np.isfinite(numbers.to_numpy(dtype=float))
    if infinite.any():
        return f"column {column.name!r} holds an infinite value in line {_line(pd.Series(infinite))}"
    if is_label:
        other = ~numbers.isin([0, 1])
        if other.any():
            return f"label {column.name!r} must be 0 or 1: line {_line(other)} holds {_shown(column[other])}"
    if numbers.nunique() == 1:
        what = "label" if is_label else "column"
        return f"{what} {column.name!r} is constant ({column.iloc[0]} in every row): it teaches nothing" + (
            "" if is_label else ", drop it"
        )
    return None


def _shown(values: pd.Series) -> str:
    return repr(values.tolist()[0])


def _line(mask: pd.Series) -> int:
    return int(np.argmax(mask.to_numpy())) + 2


def _read_csv(source: str | Path) -> pd.DataFrame:
    try:
        if urlsplit(str(source)).scheme in ("http", "https"):
            source_file = io.BytesIO(download(str(source)))
        else:
            source_file = Path(source).expanduser()
        return pd.read_csv(source_file)
    except FileNotFoundError:
        raise DataError(
            f'there is no file {source}: give "sample", "article", or the path or address of a CSV'
        ) from None
    except pd.errors.EmptyDataError:
        raise DataError(f"{source} is empty: it needs a header line with column names, and rows") from None
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise DataError(f"{source} is not a CSV file that pandas can read: {str(error).strip()}") from None
    except OSError as error:
        raise DataError(f"{source} cannot be read: {error.strerror or error}") from None


def download(url: str) -> bytes:
    """The content at `url`; raises `DataError` where it cannot be had."""
    try:
        answer = requests.get(url, timeout=TIMEOUT)
        answer.raise_for_status()
        return answer.content
    except requests.HTTPError:
        raise DataError(f"{url} answered {answer.status_code} {answer.reason}: check the address") from None
    except requests.Timeout:
        raise DataError(f"{url} did not answer within {TIMEOUT} s: try again, or use the sample") from None
    except requests.RequestException as error:
        raise DataError(
            f"{url} cannot be reached ({type(error).__name__}): check the network, or use the sample"
        ) from None
