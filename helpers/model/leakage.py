"""Features that say the label by themselves: often something that is known only once the answer is."""

from __future__ import annotations

import numpy as np

from helpers.data.signature import REAL, Feature, Signature
from helpers.model.evaluation import roc_auc

TELLING = 0.98  # ROC AUC of one feature alone from which it is worth a question


def telling_features(signature: Signature, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Features whose ROC AUC alone, in either direction, is above `TELLING`, with that AUC.

    x: (n, m) float32 as `signature` encodes it, y: (n,) of 0 and 1. Each text of a category counts with the share of
    positives that it shows. Where a number is missing, it counts as less than all others, or as more.
    """
    found = {}
    for feature, part in zip(signature.features, signature.slices, strict=True):
        areas = [roc_auc(y, scores) for scores in _scores(feature, x[:, part], y)]
        area = max(*areas, 1 - min(areas))
        if area > TELLING:
            found[feature.name] = area
    return found


def _scores(feature: Feature, columns: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """The orders, (n,) each, in which a feature can put the rows by itself."""
    if feature.kind != REAL:
        return [_shares(columns, y)]
    numbers = columns[:, 0]
    if not feature.missing:
        return [numbers]
    return [np.where(columns[:, 1] == 1, end, numbers) for end in (numbers.min() - 1, numbers.max() + 1)]


def _shares(columns: np.ndarray, y: np.ndarray) -> np.ndarray:
    """For each row the share of positives among the rows that hold the same values."""
    _, group = np.unique(columns, axis=0, return_inverse=True)
    group = group.reshape(-1)
    return (np.bincount(group, weights=y) / np.bincount(group))[group]
