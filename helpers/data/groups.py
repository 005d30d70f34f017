"""Rows that belong together: those of one person, one device. A model may know those again that it was trained on.

A column and the answers of its rows come in; what goes out is whether it names something that stands in several rows
which tend to one answer, or to which part of a split each row goes so that no such thing stands in two.
"""

from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd

FEWEST = 5  # things of either answer, so that some of each train, validate and test
MOST_OF_THE_ROWS = 0.8  # that different things may be: of more nearly each is one row
ERRORS = 6  # standard errors by which their answers have to differ more than by chance

_NAMES = re.compile(
    r"(?i:(.*[\W_])?(id|uuid|guid)([\W_].*)?)|.*[a-z](ID|Id)|(?i:(subject|patient|person|participant|proband|user|customer"
    r"|client|device|machine|sensor|vehicle|driver|household|animal|speaker|kunde|gerät)[\W_]*(nr|no|num(ber)?|code|key)?"
    r"\W*)"
)


def tells_groups(raw: pd.Series, answers: pd.Series) -> bool:
    """Whether a column, (k,), names things whose rows tend to the same of the `answers`, (k,) of 0 and 1."""
    if not _NAMES.fullmatch(str(raw.name)) or isinstance(
        next(iter(raw.dropna()), None), list | tuple | dict | np.ndarray
    ):
        return False
    there = raw.notna().to_numpy()
    codes, distinct = pd.factorize(raw[there])
    if not 2 * FEWEST <= len(distinct) <= MOST_OF_THE_ROWS * len(codes):
        return False
    y = answers.to_numpy()[there].astype(float)
    usual, rows, positives = y.mean(), np.bincount(codes), np.bincount(codes, y)
    often = int((positives > usual * rows).sum())
    if min(often, len(rows) - often) < FEWEST:
        return False
    beyond = ((positives - usual * rows) ** 2 / rows).sum() / (usual * (1 - usual))  # chi-squared where nothing tells
    freedom = len(rows) - 1
    return bool(beyond > freedom + ERRORS * math.sqrt(2 * freedom))


def places(of: pd.Index, answers: pd.Series) -> np.ndarray:
    """Where the rows of each thing stand in a table, from 0 to 1, among those that tend to the same answer, (k,).

    of: the thing of each row, in whose order they stand; a row without one stands for itself.
    """
    codes, distinct = pd.factorize(of)
    alone = codes < 0
    codes[alone] = len(distinct) + np.arange(alone.sum())
    rows, positives = np.bincount(codes), np.bincount(codes, answers)
    often, place = positives > answers.mean() * rows, np.zeros(len(rows))
    for part in (often, ~often):
        before = np.cumsum(rows[part]) - rows[part]
        place[part] = before / max(1, rows[part].sum())
    return place[codes]
