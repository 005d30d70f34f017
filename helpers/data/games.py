"""The sample: ten games and whether a player buys the one on offer. The only module that knows the ten games.

It holds the generator that drew the table in `data/`, and fetches the article's own file, which the table resembles.
Any other table is read by `tables`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import PROJECT
from helpers.data import reading, tables
from helpers.data.raw_tables import DataError
from helpers.whole_file import becoming

GAMES = tuple(f"G{i}" for i in range(1, 11))
OUTCOME = "buying the offered game"  # what a label of 1 means, for people
ROWS = 22_905
TEST_ROWS = 5_000
SAMPLE = PROJECT / "data" / "games.csv"
SEED = 42

ARTICLE_URL = "https://github.com/bgweber/Twitch/raw/master/Recommendations/games-expand.csv"
ARTICLE_SHA256 = "c8472047c284dd8cddadddab82462e779609213a3c31d497769a52b64ae31fe3"
ARTICLE_CACHE = PROJECT / "data" / "article.csv"

# The generator of the sample: 16 classes of players, how frequent each is, and with what probability a player of
# that class has each game and (last figure) buys the one on offer. Fitted to the article's data.
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


def locate(source: str | Path) -> str | Path:
    """Where a table is: "sample" ships with the project, "article" is downloaded once; a path or address stays."""
    if source == "sample":
        return SAMPLE
    return download_article() if source == "article" else source


def load_table(
    source: str | Path = "sample",
    label: str = "label",
    positive: str | None = None,
    drop: Iterable[str] = (),
    treat_as: Mapping[str, str] | None = None,
    display_name: str = "",
) -> tables.Table:
    """`tables.load_table` of what `locate` finds; the label of the ten games gets its name for people."""
    table = tables.load_table(locate(source), label, positive, drop, treat_as, display_name)
    is_ours = not display_name and label == "label" and are_games(table.frame)
    return replace(table, display_name=OUTCOME) if is_ours else table


def load_games(source: str | Path = "sample", label: str = "label") -> pd.DataFrame:
    """A table as a DataFrame of usable columns and a label of 0 and 1."""
    return load_table(source, label).frame


def are_games(df: pd.DataFrame) -> bool:
    """Whether a table is one of the ten games, of the size of the article's."""
    return set(GAMES) <= set(df.columns) and len(df) >= 2 * TEST_ROWS


def split(df: pd.DataFrame, label: str = "label", seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split a table into (train, test).

    A table of the ten games is split as the article's author did: the first 5,000 rows test, the rest train.
    Of any other table a random fifth with the same share of positives tests, as nothing is known of its order.
    """
    if are_games(df) and df.index.name is None:
        return df.iloc[TEST_ROWS:], df.iloc[:TEST_ROWS]
    return tables.split(df, label, seed)


def download_article(cache: Path = ARTICLE_CACHE, url: str = ARTICLE_URL, sha256: str = ARTICLE_SHA256) -> Path:
    """The article's own CSV (526,875 bytes, no licence: it stays out of the repository), from `cache` or from `url`.

    The file appears in `cache` whole and with the right checksum, or not at all. Raises `DataError`.
    """
    if cache.exists() and hashlib.sha256(cache.read_bytes()).hexdigest() == sha256:
        return cache
    content = reading.download(url)
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise DataError(
            f"{url} is not the file that the article used (sha256 {found[:12]}..., expected {sha256[:12]}...): "
            "nothing was kept; try again, or use the sample"
        )
    cache.parent.mkdir(parents=True, exist_ok=True)
    with becoming(cache) as part:
        part.write_bytes(content)
    return cache
