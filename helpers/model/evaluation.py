"""Numbers about predictions of a 0/1 label: how well they rank, how far they can be trusted, what a threshold does.

Everything takes plain arrays: labels `y_true` (n,) of 0 and 1, with scores `y_score` (n,) where only the order of the
values counts, or probabilities `y_prob` (n,) between 0 and 1. Keras' shape (n, 1) will do. What comes back are Python
numbers and small arrays. A ValueError says when labels and predictions do not fit together.
"""

from statistics import NormalDist
from typing import NamedTuple

import numpy as np


def roc_auc(y_true, y_score) -> float:
    """Exact area under the ROC curve: the chance that a random positive scores above a random negative, ties half.

    Computed from ranks (Mann and Whitney 1947), without thresholds. Both labels must occur.
    """
    positives, negatives = _scores_by_label(y_true, y_score)
    return float(_placements(positives, negatives).mean())


def roc_auc_interval(y_true, y_score, level: float = 0.95) -> tuple[float, float]:
    """The confidence interval (low, high) of the ROC AUC by DeLong's method, cut off at 0 and 1.

    DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988) 837-845; in n log n by ranks as in Sun and Xu, IEEE
    Signal Processing Letters 21 (2014) 1389-1393. It needs at least two rows of each label.
    """
    positives, negatives = _scores_by_label(y_true, y_score)
    area, variance = _delong(_placements(positives, negatives), 1 - _placements(negatives, positives))
    low, high = _normal_interval(area, variance, level)
    return max(low, 0.0), min(high, 1.0)


def roc_auc_difference(y_true, y_score, y_other, level: float = 0.95) -> tuple[float, float, float]:
    """How much the ROC AUC of y_score exceeds that of y_other on the same rows: (difference, low, high).

    DeLong's method for paired scores: what makes both models right or wrong together cancels out. Sources as above.
    """
    positives, negatives = _scores_by_label(y_true, y_score)
    other_positives, other_negatives = _scores_by_label(y_true, y_other)
    difference, variance = _delong(
        _placements(positives, negatives) - _placements(other_positives, other_negatives),
        _placements(other_negatives, other_positives) - _placements(negatives, positives),
    )
    return difference, *_normal_interval(difference, variance, level)


def in_words(difference: float, low: float, high: float) -> str:
    """What a difference of two AUCs says, with its interval: whether one model ranks better, or chance would do.

    Chosen by the numbers, so that no sentence outlives them: "higher by 0.066 (95 % interval 0.053 to 0.080), more than
    chance", or "not told apart: higher by 0.003, but the 95 % interval -0.002 to 0.008 holds 0".
    """
    by = f"{'lower' if difference < 0 else 'higher'} by {abs(difference):.3f}"
    if low <= 0 <= high:
        return f"not told apart: {by}, but the 95 % interval {low:.3f} to {high:.3f} holds 0"
    least, most = sorted((abs(low), abs(high)))
    return f"{by} (95 % interval {least:.3f} to {most:.3f}), more than chance"


def roc_curve(y_true, y_score) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(false positive rates, true positive rates, thresholds), one point for each distinct score, falling.

    A row counts as positive where its score is at least the threshold. The first point is (0, 0) at threshold inf.
    """
    true_positives, false_positives, thresholds = _counts_above(y_true, y_score)
    return (
        np.append(0.0, false_positives / false_positives[-1]),
        np.append(0.0, true_positives / true_positives[-1]),
        np.append(np.inf, thresholds),
    )


def precision_recall_curve(y_true, y_score) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(precisions, recalls, thresholds), one point for each distinct score, thresholds falling, recall rising.

    Precision: the share of true positives among the rows that score at least the threshold; recall: the share of all
    positives among them.
    """
    true_positives, false_positives, thresholds = _counts_above(y_true, y_score)
    return true_positives / (true_positives + false_positives), true_positives / true_positives[-1], thresholds


def average_precision(y_true, y_score) -> float:
    """The mean precision over the steps in recall, as scikit-learn defines it; the share of positives at random."""
    precision, recall, _ = precision_recall_curve(y_true, y_score)
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def brier_score(y_true, y_prob) -> float:
    """The mean squared distance of the probability from what happened: 0 is best (Brier 1950)."""
    y, prob = _labels_and_probabilities(y_true, y_prob)
    return float(np.mean((prob - y) ** 2))


def log_loss(y_true, y_prob) -> float:
    """The mean of -ln(probability given to what happened), the binary cross-entropy, in nats.

    A probability of exactly 0 or 1 counts as off by the smallest step of its float type, as in scikit-learn.
    """
    y, prob = _labels_and_probabilities(y_true, y_prob)
    kind = np.asarray(y_prob).dtype
    smallest = np.finfo(kind if kind.kind == "f" else np.float64).eps
    prob = np.clip(prob, smallest, 1 - smallest)
    return float(-np.mean(np.where(y, np.log(prob), np.log1p(-prob))))


class CalibrationBins(NamedTuple):
    """Rows grouped by their probability; each field is an array with one value for each group, rising."""

    predicted: np.ndarray  # mean probability
    observed: np.ndarray  # share of positives
    count: np.ndarray  # number of rows


def calibration_bins(y_true, y_prob, bins: int = 10) -> CalibrationBins:
    """Compare predicted with observed shares in at most `bins` groups of about equal size.

    Rows with the same probability stay together, so there are fewer groups where many rows are tied.
    """
    y, prob = _labels_and_probabilities(y_true, y_prob)
    edges = np.quantile(prob, np.linspace(0, 1, bins + 1)[1:-1])
    group = np.searchsorted(np.unique(edges), prob, side="left")
    count = np.bincount(group)
    used = count > 0
    predicted, observed = np.bincount(group, prob)[used] / count[used], np.bincount(group, y)[used] / count[used]
    return CalibrationBins(predicted, observed, count[used])


class Confusion(NamedTuple):
    """How many rows of each label a threshold calls positive and negative."""

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int


def confusion_counts(y_true, y_score, threshold: float = 0.5) -> Confusion:
    """The four counts when every row that scores at least `threshold` is called positive."""
    y, score = _labels_and_scores(y_true, y_score)
    called = score >= threshold
    counts = (y & called, ~y & called, y & ~called, ~y & ~called)
    return Confusion(*(int(np.count_nonzero(rows)) for rows in counts))


def _labels_and_scores(y_true, y_score) -> tuple[np.ndarray, np.ndarray]:
    """`y_true` as (n,) bool and `y_score` as (n,) float64, or a ValueError that says what is wrong with them."""
    y, score = np.asarray(y_true, np.float64).ravel(), np.asarray(y_score, np.float64).ravel()
    if len(y) != len(score):
        raise ValueError(f"There are {len(y)} labels but {len(score)} predictions: pass one prediction for each label.")
    if len(y) == 0:
        raise ValueError("There are no rows: pass at least one label and its prediction.")
    if not np.isin(y, (0, 1)).all():
        raise ValueError(f"Labels must be 0 or 1: found {y[~np.isin(y, (0, 1))][0]:g}.")
    if not np.isfinite(score).all():
        raise ValueError(f"{np.count_nonzero(~np.isfinite(score))} of {len(score)} predictions are not finite numbers.")
    return y.astype(bool), score


def _labels_and_probabilities(y_true, y_prob) -> tuple[np.ndarray, np.ndarray]:
    y, prob = _labels_and_scores(y_true, y_prob)
    if prob.min() < 0 or prob.max() > 1:
        raise ValueError(f"Probabilities lie between 0 and 1: found {prob.min():g} to {prob.max():g}.")
    return y, prob


def _scores_by_label(y_true, y_score) -> tuple[np.ndarray, np.ndarray]:
    """The scores of the positives and those of the negatives; a ValueError unless there are some of each."""
    y, score = _labels_and_scores(y_true, y_score)
    if y.all() or not y.any():
        raise ValueError(f"All {len(y)} labels are {int(y[0])}: comparing positives with negatives needs both.")
    return score[y], score[~y]


def _placements(scores: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each score the share of the others below it, ties half."""
    others = np.sort(others)
    below, up_to = np.searchsorted(others, scores, side="left"), np.searchsorted(others, scores, side="right")
    return (below + up_to) / (2 * len(others))


def _delong(of_positives: np.ndarray, of_negatives: np.ndarray) -> tuple[float, float]:
    """Mean and variance of an AUC, or of a difference of two, from the placements of the positives and negatives."""
    if len(of_positives) < 2 or len(of_negatives) < 2:
        raise ValueError("An interval needs at least two rows of each label.")
    variance = of_positives.var(ddof=1) / len(of_positives) + of_negatives.var(ddof=1) / len(of_negatives)
    return float(of_positives.mean()), float(variance)


def _normal_interval(value: float, variance: float, level: float) -> tuple[float, float]:
    half_width = NormalDist().inv_cdf((1 + level) / 2) * variance**0.5
    return value - half_width, value + half_width


def _counts_above(y_true, y_score) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True and false positives at each distinct score, taken as threshold, from the highest to the lowest."""
    _scores_by_label(y_true, y_score)
    y, score = _labels_and_scores(y_true, y_score)
    order = np.argsort(-score, kind="stable")
    y, score = y[order], score[order]
    last = np.append(np.flatnonzero(np.diff(score)), len(score) - 1)  # the last row of each run of equal scores
    true_positives = np.cumsum(y)[last]
    return true_positives, 1 + last - true_positives, score[last]
