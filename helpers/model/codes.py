"""Whole numbers that are names of something, of a department say: their size tells little, each of them much."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from helpers.data.signature import REAL, Signature, own_and_pooled
from helpers.model.evaluation import roc_auc

FEWEST = 10  # different numbers: a network learns what each of fewer says from their size, too
GAIN = 0.03  # of ROC AUC from which it is worth a question
ERRORS = 3  # standard errors that the gain has to be above, so that chance alone asks none
WINDOW = 0.1  # share of the rows, those of like size, from which the size of a number tells the answer
PRIOR = 10  # rows of the usual share that each number is taken to have beside its own


def telling_codes(table: pd.DataFrame, signature: Signature) -> dict[str, tuple[float, float]]:
    """Features whose numbers tell more as names, each with both ROC AUCs: by the names, by their size.

    table: the features and the label, 0 or 1. Either is learned from one half of the rows, and tried on the other.
    """
    y = table[signature.label].to_numpy()
    found = {}
    for feature in signature.features:
        numbers = table[feature.name].to_numpy()
        if feature.kind != REAL or numbers.dtype.kind not in "iuf":
            continue
        there = ~np.isnan(numbers)
        values, codes, counts = np.unique(numbers[there], return_inverse=True, return_counts=True)
        if not FEWEST <= len(values) <= len(codes) / PRIOR or (values != np.floor(values)).any():
            continue
        own, pooled = own_and_pooled(dict(enumerate(counts.tolist())), len(table))
        positives = int(y[there].sum())
        if len(own) < FEWEST or min(positives, len(codes) - positives) < PRIOR:
            continue
        codes = np.where(np.isin(codes, pooled), pooled[0], codes) if pooled else codes
        by_name, by_size = _areas(codes, numbers[there], y[there])
        chance = math.sqrt((1 / positives + 1 / (len(codes) - positives)) / 12)  # standard error where nothing tells
        if by_name - max(by_size, 0.5) > max(GAIN, ERRORS * chance):
            found[feature.name] = by_name, by_size
    return found


def _areas(codes: np.ndarray, numbers: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """The ROC AUC of the shares of positives by code, and by the size of numbers; each half tries the other's."""
    half = np.random.default_rng(0).permutation(len(y)) % 2 == 0
    by_code, by_size = np.zeros(len(y)), np.zeros(len(y))
    for known, tried in ((half, ~half), (~half, half)):
        usual, size = y[known].mean(), codes.max() + 1
        rows, positives = np.bincount(codes[known], minlength=size), np.bincount(codes[known], y[known], size)
        by_code[tried] = ((positives + PRIOR * usual) / (rows + PRIOR))[codes[tried]]
        order = np.argsort(numbers[known], kind="stable")
        before, upto = (np.searchsorted(numbers[known][order], numbers[tried], side) for side in ("left", "right"))
        reach = max(1, int(WINDOW * len(order) / 2))
        low, high = ((before + upto) // 2 - reach).clip(0), ((before + upto) // 2 + reach).clip(max=len(order))
        so_far = np.concatenate([[0], np.cumsum(y[known][order])])
        by_size[tried] = (so_far[high] - so_far[low]) / (high - low)
    return roc_auc(y, by_code), roc_auc(y, by_size)
