"""Features that say the label by themselves: often something that is known only once the answer is."""

from __future__ import annotations

import numpy as np

from helpers.data.signature import Signature
from helpers.model.evaluation import roc_auc

TELLING = 0.98  # ROC AUC of one feature alone from which it is worth a question


def telling_features(signature: Signature, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Features whose ROC AUC alone, in either direction, is above `TELLING`, with that AUC.

    x: (n, m) float32 as `signature` encodes it, y: (n,) of 0 and 1. Of a feature with several columns (a category, one
    that may be missing) each of its values counts with the share of positives that it shows.
    """
    found, at = {}, 0
    for feature in signature.features:
        columns = x[:, at : at + feature.width]
        at += feature.width
        area = roc_auc(y, columns[:, 0] if feature.width == 1 else _shares(columns, y))
        if max(area, 1 - area) > TELLING:
            found[feature.name] = max(area, 1 - area)
    return found


def _shares(columns: np.ndarray, y: np.ndarray) -> np.ndarray:
    """For each row the share of positives among the rows that hold the same values."""
    _, group = np.unique(columns, axis=0, return_inverse=True)
    group = group.reshape(-1)
    return (np.bincount(group, weights=y) / np.bincount(group))[group]
