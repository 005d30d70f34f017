"""The data set: load it, split it, generate the sample. The only module that knows the ten games.

A table comes in (the sample in `data/`, the article's file, or the reader's own CSV) and goes out as a pandas
DataFrame that has been checked: numeric features, none constant, and a label of 0 and 1.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
import requests

from helpers import PROJECT

GAMES = tuple(f"G{i}" for i in range(1, 11))
ROWS = 22_905
TEST_ROWS = 5_000
SAMPLE = PROJECT / "data" / "games.csv"
SEED = 42

ARTICLE_URL = "https://github.com/bgweber/Twitch/raw/master/Recommendations/games-expand.csv"
ARTICLE_SHA256 = "c8472047c284dd8cddadddab82462e779609213a3c31d497769a52b64ae31fe3"
ARTICLE_CACHE = PROJECT / "data" / "article.csv"
TIMEOUT = 20  # seconds for a connection, and between two pieces of an answer

# The generator of the sample: 16 classes of players, how frequent each is, and with what probability a player of
# that class has played each game and (last figure) will play the target game. Fitted to the article's data.
MIXTURE = (
    (0.1841, (0.132, 0.171, 0.253, 0.21, 0.242, 0.024, 0.049, 0.011, 0.016, 0.072, 0.004)),
    (0.1657, (0.002, 0.003, 0.027, 0.002, 0.03, 0.001, 0.005, 0.999, 0.001, 0.001, 0.012)),
    (0.1134, (0.001, 0.007, 0.001, 0.003, 0.027, 0.001, 0.999, 0.151, 0.001, 0.017, 0.002)),
    (0.0767, (0.872, 0.16, 0.201, 0.01, 0.123, 0.036, 0.071, 0.017, 0.055, 0.053, 0.047)),
    (0.0733, (0.056, 0.01, 0.007, 0.001, 0.081, 0.053, 0.055, 0.001, 0.217, 0.461, 0.19)),
    (0.057, (0.001, 0.021, 0.999, 0.016, 0.001, 0.001, 0.048, 0.004, 0.01, 0.034, 0.001)),
    (0.0566, (0.197, 0.098, 0.173, 0.045, 0.385, 0.454, 0.883, 0.826, 0.025, 0.077, 0.012)),
    (0.0541, (0.007, 0.047, 0.27, 0.017, 0.08, 0.001, 0.02, 0.041, 0.001, 0.164, 0.999)),
    (0.0418, (0.182, 0.001, 0.029, 0.014, 0.047, 0.999, 0.236, 0.055, 0.044, 0.008, 0.001)),
    (0.0388, (0.999, 0.548, 0.437, 0.42, 0.686, 0.133, 0.063, 0.025, 0.121, 0.126, 0.045)),
    (0.0324, (0.733, 0.598, 0.251, 0.269, 0.922, 0.001, 0.613, 0.46, 0.039, 0.264, 0.155)),
    (0.0292, (0.601, 0.456, 0.442, 0.197, 0.535, 0.142, 0.094, 0.006, 0.361, 0.766, 0.7)),
    (0.0287, (0.119, 0.138, 0.481, 0.031, 0.234, 0.016, 0.395, 0.998, 0.001, 0.047, 0.194)),
    (0.0208, (0.952, 0.482, 0.363, 0.266, 0.807, 0.976, 0.947, 0.685, 0.232, 0.237, 0.078)),
    (0.0177, (0.13, 0.117, 0.317, 0.046, 0.354, 0.336, 0.721, 0.483, 0.307, 0.767, 0.831)),
    (0.0096, (0.942, 0.699, 0.468, 0.396, 0.918, 0.685, 0.785, 0.426, 0.611, 0.999, 0.843)),
)


class DataError(ValueError):
    """A table that cannot be read or used; the message says what, where and what to do."""


def generate_sample(rows: int = ROWS, seed: int = SEED) -> pd.DataFrame:
    """Draw a table of `rows` players from `MIXTURE`: columns G1..G10 and label, all 0 or 1.

    Uses the generator's plain stream of uniform numbers only, which NumPy keeps the same between versions.
    """
    shares = np.array([share for share, _ in MIXTURE])
    probabilities = np.array([row for _, row in MIXTURE])
    random = np.random.Generator(np.random.PCG64(seed))
    kinds = np.searchsorted(np.cumsum(shares) / shares.sum(), random.random(rows), side="right")
    table = random.random((rows, len(GAMES) + 1)) < probabilities[kinds]
    return pd.DataFrame(table.astype(int), columns=[*GAMES, "label"])


def write_sample(path: Path = SAMPLE) -> None:
    """Write the sample that ships with the project; the same bytes on every machine."""
    generate_sample().to_csv(path, index=False, lineterminator="\n")


def load_games(source: str | Path = "sample", label: str = "label") -> pd.DataFrame:
    """Load a table of numeric features and a 0/1 label, checked.

    source: "sample" (ships with the project), "article" (downloads the article's own CSV once, checksum verified),
        or the path or http(s) address of a CSV of your own.
    label: the name of the column to predict.
    Raises `DataError` when the table cannot be had or does not fit, column by column.
    """
    if source == "sample":
        source = SAMPLE
    elif source == "article":
        source = download_article()
    return check_table(_read_csv(source), label, str(source))


def split(df: pd.DataFrame, label: str = "label", seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split a table into (train, test).

    A table of the ten games is split as the article's author did: the first 5,000 rows test, the rest train.
    Of any other table a random fifth with the same share of positives tests, as nothing is known of its order.
    """
    if set(GAMES) <= set(df.columns) and len(df) >= 2 * TEST_ROWS:
        return df.iloc[TEST_ROWS:], df.iloc[:TEST_ROWS]
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
            source_file = io.BytesIO(_download(str(source)))
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


def download_article(cache: Path = ARTICLE_CACHE, url: str = ARTICLE_URL, sha256: str = ARTICLE_SHA256) -> Path:
    """The article's own CSV (526,875 bytes, no licence: it stays out of the repository), from `cache` or from `url`.

    The file appears in `cache` whole and with the right checksum, or not at all. Raises `DataError`.
    """
    if cache.exists() and hashlib.sha256(cache.read_bytes()).hexdigest() == sha256:
        return cache
    content = _download(url)
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise DataError(
            f"{url} is not the file that the article used (sha256 {found[:12]}..., expected {sha256[:12]}...): "
            "nothing was kept; try again, or use the sample"
        )
    cache.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=cache.parent, prefix=cache.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(temporary, cache)
    except BaseException:
        os.unlink(temporary)
        raise
    return cache


def _download(url: str) -> bytes:
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
