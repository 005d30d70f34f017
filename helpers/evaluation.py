"""Numbers about predictions of a 0/1 label: how well they rank, how far they can be trusted, what a threshold does.

Everything takes plain arrays, labels `y_true` (n,) of 0 and 1 and scores or probabilities `y_score` (n,), and
returns plain Python numbers or small arrays; shapes like (n, 1), as Keras returns them, are flattened.
"""

import numpy as np


def roc_auc(y_true, y_score) -> float:
    """Exact area under the ROC curve: the chance that a random positive scores above a random negative, ties half.

    Equal to scikit-learn's `roc_auc_score`. Raises ValueError unless both labels occur.
    """
    y, score = _labels_and_scores(y_true, y_score)
    ranks = _midranks(score)
    positives = int(y.sum())
    negatives = len(y) - positives
    return float((ranks[y].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def _labels_and_scores(y_true, y_score) -> tuple[np.ndarray, np.ndarray]:
    """`y_true` as (n,) bool and `y_score` as (n,) float64, or a ValueError that says what is wrong with them."""
    y = np.asarray(y_true, dtype=np.float64).ravel()
    score = np.asarray(y_score, dtype=np.float64).ravel()
    if len(y) != len(score):
        raise ValueError(f"There are {len(y)} labels but {len(score)} predictions: pass one prediction for each label.")
    if not np.isin(y, (0, 1)).all():
        raise ValueError("Labels must be 0 or 1: found " + repr(float(y[~np.isin(y, (0, 1))][0])) + ".")
    if not np.isfinite(score).all():
        raise ValueError(f"{np.count_nonzero(~np.isfinite(score))} predictions are not finite numbers.")
    if len(np.unique(y)) < 2:
        raise ValueError("An AUC compares positives with negatives: the labels must hold both 0 and 1.")
    return y.astype(bool), score


def _midranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1 to n; equal values share the mean of the ranks that they occupy."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]
