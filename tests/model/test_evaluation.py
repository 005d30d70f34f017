"""Numbers about predictions agree with scikit-learn, with worked examples, and refuse what makes no sense."""

import numpy as np
import pytest
from sklearn import metrics

from helpers.model import evaluation


def predictions(kind: str, seed: int = 0, n: int = 2_000) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities: all distinct, heavily tied, of a rare label, or as Keras gives them."""
    random = np.random.default_rng(seed)
    y = random.random(n) < (0.01 if kind == "rare" else 0.3)
    y[:2] = 0, 1
    prob = 1 / (1 + np.exp(-(random.normal(size=n) + y)))
    if kind == "tied":
        prob = np.round(prob, 1)
    if kind == "keras":
        return y.astype("float32")[:, None], prob.astype("float32")[:, None]
    return y.astype(int), prob


KINDS = pytest.mark.parametrize("kind", ["distinct", "tied", "rare", "keras"])


@KINDS
@pytest.mark.parametrize("seed", range(3))
def test_the_scores_equal_those_of_scikit_learn(kind, seed):
    y, prob = predictions(kind, seed)
    # In float64 on both sides: scikit-learn computes float32 input in float32.
    exact = (y.ravel(), prob.ravel().astype("float64"))
    assert evaluation.roc_auc(y, prob) == pytest.approx(metrics.roc_auc_score(*exact), abs=1e-12)
    assert evaluation.average_precision(y, prob) == pytest.approx(metrics.average_precision_score(*exact), abs=1e-12)
    assert evaluation.brier_score(y, prob) == pytest.approx(metrics.brier_score_loss(*exact), abs=1e-12)
    assert evaluation.log_loss(y, prob) == pytest.approx(metrics.log_loss(*exact), abs=1e-12)


@KINDS
def test_the_curves_equal_those_of_scikit_learn(kind):
    y, prob = predictions(kind)
    ours, theirs = evaluation.roc_curve(y, prob), metrics.roc_curve(y.ravel(), prob.ravel(), drop_intermediate=False)
    for mine, reference in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, reference, atol=1e-12)
    precision, recall, thresholds = metrics.precision_recall_curve(y.ravel(), prob.ravel())
    ours = evaluation.precision_recall_curve(y, prob)
    # scikit-learn goes the other way and adds a last point (recall 0, precision 1) that no threshold belongs to.
    for mine, reference in zip(ours, (precision[:-1], recall[:-1], thresholds), strict=True):
        np.testing.assert_allclose(mine[::-1], reference, atol=1e-12)


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_the_confusion_counts_equal_those_of_scikit_learn(threshold):
    y, prob = predictions("tied")
    counts = evaluation.confusion_counts(y, prob, threshold)
    tn, fp, fn, tp = metrics.confusion_matrix(y, prob >= threshold, labels=[0, 1]).ravel()
    assert counts._asdict() == {
        "true_positives": tp,
        "false_positives": fp,
        "false_negatives": fn,
        "true_negatives": tn,
    }
    assert all(type(count) is int for count in counts)


def test_ties_count_half():
    assert evaluation.roc_auc([0, 1], [0.5, 0.5]) == 0.5
    assert evaluation.roc_auc([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.8]) == 3.5 / 4


def test_the_interval_is_delongs_from_every_pair_of_rows():
    """The definition of 1988, every positive against every negative, on data small enough for it."""
    y, prob = predictions("tied", n=150)
    positives, negatives = prob[y == 1], prob[y == 0]
    wins = (positives[:, None] > negatives) + 0.5 * (positives[:, None] == negatives)
    m, n = wins.shape
    variance = sum((wins.mean(axis=1) - wins.mean()) ** 2) / (m - 1) / m
    variance += sum((wins.mean(axis=0) - wins.mean()) ** 2) / (n - 1) / n
    half_width = 1.959963984540054 * variance**0.5
    assert evaluation.roc_auc_interval(y, prob) == pytest.approx(
        (wins.mean() - half_width, wins.mean() + half_width), abs=1e-12
    )


def test_a_95_percent_interval_covers_the_true_auc_in_about_95_of_100_samples():
    true_auc = 0.7602499389065233  # of two normal distributions one apart: Phi(1 / sqrt(2))
    random = np.random.default_rng(1)
    y = np.arange(400) < 100
    covered = 0
    for _ in range(1000):
        low, high = evaluation.roc_auc_interval(y, random.normal(size=400) + y)
        covered += low < true_auc < high
    assert 925 <= covered <= 970


def test_a_wider_level_gives_a_wider_interval_that_stays_within_0_and_1():
    y, prob = [0, 0, 0, 1, 1, 0, 1, 1], [0.1, 0.2, 0.3, 0.35, 0.6, 0.5, 0.7, 0.9]
    low, high = evaluation.roc_auc_interval(y, prob, level=0.5)
    wider_low, wider_high = evaluation.roc_auc_interval(y, prob, level=0.99)
    assert wider_low < low < evaluation.roc_auc(y, prob) < high < wider_high == 1.0


def test_the_difference_of_two_models_is_surer_than_their_intervals_suggest():
    y, prob = predictions("distinct")
    other = prob + np.random.default_rng(2).normal(scale=0.02, size=len(prob))
    difference, low, high = evaluation.roc_auc_difference(y, prob, other)
    assert difference == pytest.approx(evaluation.roc_auc(y, prob) - evaluation.roc_auc(y, other), abs=1e-12)
    assert low < difference < high
    alone = np.diff(evaluation.roc_auc_interval(y, prob))[0]
    assert high - low < alone / 4
    assert evaluation.roc_auc_difference(y, prob, prob) == (0, 0, 0)
    reverse = evaluation.roc_auc_difference(y, other, prob)
    assert reverse == pytest.approx((-difference, -high, -low), abs=1e-12)


def test_calibration_bins_hold_every_row_once_and_the_right_means():
    y, prob = predictions("distinct")
    bins = evaluation.calibration_bins(y, prob, bins=10)
    assert list(bins.count) == [200] * 10
    ordered = np.argsort(prob)[:200]
    assert bins.predicted[0] == pytest.approx(prob[ordered].mean())
    assert bins.observed[0] == pytest.approx(y[ordered].mean())
    assert np.all(np.diff(bins.predicted) > 0)
    assert np.average(bins.observed, weights=bins.count) == pytest.approx(y.mean())


def test_tied_probabilities_share_a_calibration_bin():
    bins = evaluation.calibration_bins([0, 1, 0, 0, 1, 1], [0.2, 0.2, 0.2, 0.2, 0.9, 0.9], bins=10)
    assert list(bins.count) == [4, 2]
    assert list(bins.predicted) == pytest.approx([0.2, 0.9])
    assert list(bins.observed) == [0.25, 1.0]


def test_probabilities_of_0_and_1_have_a_finite_log_loss_as_in_scikit_learn():
    y, prob = [0, 1, 1], np.array([0.0, 1.0, 0.0])
    assert evaluation.log_loss(y, prob) == pytest.approx(metrics.log_loss(y, prob), abs=1e-12)


@pytest.mark.parametrize(
    ("numbers", "says"),
    [
        ((0.066, 0.053, 0.08), "higher by 0.066 (95 % interval 0.053 to 0.080), more than chance"),
        ((-0.012, -0.02, -0.005), "lower by 0.012 (95 % interval 0.005 to 0.020), more than chance"),
        ((0.003, -0.002, 0.008), "not told apart: higher by 0.003, but the 95 % interval -0.002 to 0.008 holds 0"),
        ((-0.001, -0.004, 0.002), "not told apart: lower by 0.001, but the 95 % interval -0.004 to 0.002 holds 0"),
    ],
)
def test_what_is_said_of_a_difference_is_chosen_by_its_interval(numbers, says):
    assert evaluation.in_words(*numbers) == says


@pytest.mark.parametrize(
    ("measure", "y", "values", "message"),
    [
        (evaluation.roc_auc, [0, 1], [0.1], "2 labels but 1 predictions"),
        (evaluation.roc_auc, [1, 1], [0.1, 0.2], "All 2 labels are 1"),
        (evaluation.roc_auc, [0, 2], [0.1, 0.2], "Labels must be 0 or 1: found 2"),
        (evaluation.roc_auc, [0, 1], [0.1, np.nan], "1 of 2 predictions are not finite"),
        (evaluation.roc_auc, [], [], "no rows"),
        (evaluation.roc_curve, [0, 0], [0.1, 0.2], "All 2 labels are 0"),
        (evaluation.roc_auc_interval, [0, 1, 1], [0.1, 0.2, 0.3], "at least two rows of each label"),
        (evaluation.brier_score, [0, 1], [0.1, 1.2], "between 0 and 1: found 0.1 to 1.2"),
        (evaluation.log_loss, [0, 1], [-0.1, 0.2], "between 0 and 1"),
        (evaluation.calibration_bins, [0, 1], [0.1, 7], "between 0 and 1"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_a_sentence(measure, y, values, message):
    with pytest.raises(ValueError, match=message):
        measure(y, values)
