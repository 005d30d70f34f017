"""Figures of notebook 02: learning curves, what a metric notices, ROC, precision, calibration, a threshold."""

from collections.abc import Sequence
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from helpers.figures.style import (
    BLUE,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    label_bars,
    label_line,
    new_figure,
    percent,
    shortened,
    style,
)
from helpers.model import evaluation


def correlations(names: Sequence[str], values: np.ndarray, outcome: str, most: int = 12) -> Figure:
    """Bars of the correlation of each feature with the label, the `most` strongest of them.

    `names` of the features, `values` (d,) between -1 and 1, `outcome`: what the label is called.
    """
    names, outcome = [shortened(name) for name in names], shortened(outcome)
    strongest = np.argsort(-np.abs(values))[:most][::-1]
    with style():
        figure, axes = new_figure(size=(8.0, 1.5 + 0.32 * len(strongest)))
        bars = axes.barh(
            range(len(strongest)),  # not the names: two long ones may look alike
            values[strongest],
            tick_label=[names[i] for i in strongest],
            color=[BLUE if values[i] >= 0 else ORANGE for i in strongest],
        )
        label_bars(axes, bars, [f"{values[i]:+.2f}" for i in strongest])
        axes.axvline(0, color=MUTED, linewidth=1)
        axes.margins(x=0.15)
        axes.grid(axis="y", visible=False)
        which = "The features" if len(strongest) == len(names) else f"The {len(strongest)} of {len(names)} features"
        title = f"{names[strongest[-1]]} says most about {outcome}" if len(names) > 1 else "One feature only"
        shown = f" ({which[0].lower() + which[1:]} that say most)" if len(strongest) < len(names) else ""
        axes.set_title(fill(title, 45))
        axes.set_xlabel(fill(f"correlation with {outcome}{shown}", 60))
    return figure


def learning_curves(history: dict[str, list[float]], epochs: int | None = None) -> Figure:
    """Loss and AUC by epoch, for training and validation, with the best validation AUC marked.

    `history`: lists "loss", "auc" and, where rows were held out, "val_loss", "val_auc", as in a Keras History.
    `epochs`: how many are planned, to keep the axis still while a training is under way. The scale fits the epochs from
    the second on, as the first is far off and would flatten the rest.
    """
    done = len(history["loss"])
    x = np.arange(1, done + 1)
    with style():
        figure, panels = new_figure(1, 2, size=(9.6, 4.0))
        for axes, name, title in zip(panels, ("loss", "auc"), ("Loss", "AUC"), strict=True):
            ends = []
            for key, text, color in ((name, "training", ORANGE), (f"val_{name}", "validation", BLUE)):
                if key in history:
                    axes.plot(x, history[key], color=color, marker="." if done == 1 else "")
                    ends.append((history[key][-1], text, color))
            axes.set(xlabel="epoch", xlim=(0, max(epochs or 0, done) + 0.5), title=title)
            axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))  # there is no epoch 2.5
            fit_scale(axes, [history[key] for key in (name, f"val_{name}") if key in history])
            label_ends(axes, done, ends)
        panels[0].set_ylabel("loss (cross-entropy)")
        panels[1].set_ylabel("ROC AUC")
        figure.suptitle(_what_learning_shows(history, epochs), x=0.01, ha="left", fontsize=14, fontweight="bold")
        if "val_auc" in history and done > 1:
            mark_best(panels[0], history["val_loss"], np.argmin)
            mark_best(panels[1], history["val_auc"], np.argmax)
    return figure


def mark_best(axes: Axes, values: list[float], best) -> None:
    """A ring around the best epoch of a curve, and its number at the edge of the axes, where no curve runs."""
    epoch = int(best(values)) + 1
    below = best is np.argmin
    edge = axes.get_ylim()[0 if below else 1]
    axes.plot([epoch, epoch], [edge, values[epoch - 1]], color=MUTED, linewidth=1, linestyle="dotted", zorder=1)
    axes.plot(epoch, values[epoch - 1], "o", markersize=9, markerfacecolor="white", markeredgecolor=INK, zorder=4)
    left = epoch > 0.7 * axes.get_xlim()[1]
    axes.annotate(
        f"best: {epoch}",
        (epoch, edge),
        xytext=(-5 if left else 5, 4 if below else -4),
        textcoords="offset points",
        ha="right" if left else "left",
        va="bottom" if below else "top",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        zorder=5,
    )


def fit_scale(axes: Axes, curves: list[list[float]]) -> None:
    """Scale the y axis to what the curves do from their second value on, with room for labels."""
    values = np.concatenate([curve[1:] or curve for curve in curves])
    margin = 0.15 * (np.ptp(values) or 0.01)
    axes.set_ylim(values.min() - margin, values.max() + margin)


def label_ends(axes: Axes, x: float, ends: list[tuple[float, str, str]]) -> None:
    """Names of lines at their right ends, (y, text, colour) each, moved apart where they would overlap."""
    low, high = axes.get_ylim()
    apart, previous = 0.075 * (high - low), -np.inf
    for y, text, color in sorted(ends):
        previous = max(y, previous + apart)
        label_line(axes, x, previous, text, color)


def _what_learning_shows(history: dict[str, list[float]], epochs: int | None) -> str:
    done = len(history["loss"])
    if epochs and done < epochs:
        return f"Epoch {done} of {epochs}"
    if "val_loss" not in history:
        return f"{done} epochs"
    best = int(np.argmin(history["val_loss"])) + 1
    if best > 0.8 * done:
        return "Training and validation improve together to the end"
    said = f"Validation loss is lowest at epoch {best}"
    goes_on = np.mean(history["loss"][-max(1, done // 10) :]) < 0.99 * history["loss"][best - 1]
    return f"{said}; after it only the training rows improve" if goes_on else said


def metric_and_auc(areas: dict[str, tuple[float, float]]) -> Figure:
    """What two measures say of true labels and of the same labels shuffled: {"measure": (true, shuffled)}.

    The measure in question first, the exact AUC after it.
    """
    names = list(areas)[::-1]
    with style():
        figure, axes = new_figure(size=(8.6, 3.2))
        for offset, place, color, text in ((0.2, 0, BLUE, "true labels"), (-0.2, 1, ORANGE, "shuffled labels")):
            values = [areas[name][place] for name in names]
            bars = axes.barh(np.arange(len(names)) + offset, values, height=0.36, color=color)
            label_bars(axes, bars, [f"{value:.3f}  {text}" for value in values])
        for text in axes.texts:
            text.set(bbox={"facecolor": "white", "edgecolor": "none", "pad": 1}, zorder=4)
        axes.axvline(0.5, color=MUTED, linewidth=1, linestyle="dashed")
        axes.annotate("guessing", (0.5, len(names) - 0.5), xytext=(4, 0), textcoords="offset points", color=MUTED)
        axes.set(
            yticks=range(len(names)),
            yticklabels=names,
            xlim=(0, 1.3),
            xticks=np.linspace(0, 1, 6),
            xlabel="ROC AUC as each tells it",
        )
        axes.set_ylim(-0.5, len(names) - 0.3)
        axes.grid(axis="y", visible=False)
        first, (_, shuffled) = next(iter(areas.items()))
        says = "does not notice" if shuffled > 0.55 else "notices"
        axes.set_title(f"{first[0].upper() + first[1:]} {says} that the labels were shuffled")
    return figure


def roc(y_true, scores: dict[str, np.ndarray]) -> Figure:
    """ROC curves of several models on the same rows, and beside them each AUC with its 95 % interval.

    y_true (n,) of 0 and 1; scores {"name": (n,)}, the model in question first.
    """
    with style():
        figure, (curves, areas) = new_figure(1, 2, size=(9.6, 4.4), width_ratios=(1.15, 1))
        curves.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle="dashed")
        curves.annotate("guessing", (0.72, 0.66), rotation=37, color=MUTED)
        for row, (name, score, color) in enumerate(_colored(scores)):
            false_positive_rate, true_positive_rate, _ = evaluation.roc_curve(y_true, score)
            curves.plot(false_positive_rate, true_positive_rate, color=color)
            low, high = evaluation.roc_auc_interval(y_true, score)
            area = evaluation.roc_auc(y_true, score)
            areas.plot([low, high], [-row, -row], color=color, linewidth=4, solid_capstyle="butt")
            areas.plot(area, -row, "o", color=color, markersize=10)
            text = f"{name}: {area:.3f} ({low:.3f} to {high:.3f})"
            areas.annotate(text, (area, -row), xytext=(0, 12), textcoords="offset points", ha="center", color=color)
        curves.set(
            xlabel="false positive rate", ylabel="true positive rate", xlim=(0, 1), ylim=(0, 1.01), aspect="equal"
        )
        curves.set_title(_who_ranks_better(y_true, scores))
        areas.set(yticks=[], ylim=(-len(scores) + 0.4, 0.6), xlabel="ROC AUC with 95 % interval")
        areas.spines["left"].set_visible(False)
        areas.margins(x=0.45)
        left, right = areas.get_xlim()
        areas.set_xticks([at for at in MaxNLocator(5).tick_values(left, right) if left <= at <= min(1, right)])
    return figure


def _who_ranks_better(y_true, scores: dict[str, np.ndarray]) -> str:
    """Which of the first two ranks better; neither does where chance would do for the difference, as in `in_words`."""
    (first, score), *others = scores.items()
    if not others:
        return f"AUC {evaluation.roc_auc(y_true, score):.3f}"
    other, other_score = others[0]
    difference, low, high = evaluation.roc_auc_difference(y_true, score, other_score)
    if low <= 0 <= high:
        return f"These rows do not tell whether the {first} ranks better"
    return f"The {first} ranks {'better' if low > 0 else 'worse'} than the {other}, by {abs(difference):.3f}"


def precision_recall(y_true, scores: dict[str, np.ndarray]) -> Figure:
    """Precision against recall for several models on the same rows; arguments as in `roc`."""
    share = float(np.mean(y_true))
    with style():
        figure, axes = new_figure(size=(8.6, 4.2))
        axes.axhline(share, color=MUTED, linewidth=1, linestyle="dashed")
        is_low = share < 0.1  # below it there are the words of the axis
        axes.annotate(
            f"guessing: {percent(share)}",
            (0.02, share),
            xytext=(0, 4 if is_low else -4),
            textcoords="offset points",
            va="bottom" if is_low else "top",
            color=MUTED,
        )
        ends, curves = [], []
        for name, score, color in _colored(scores):
            precision, recall, _ = evaluation.precision_recall_curve(y_true, score)
            precision, recall = np.r_[precision[0], precision], np.r_[0.0, recall]  # one without a mistake is seen, too
            axes.plot(recall, precision, color=color, drawstyle="steps-pre")  # as average precision sums it
            ends.append((float(precision[np.searchsorted(recall, 0.5)]), name, color))
            curves.append((recall, precision))
        axes.set(
            xlabel="recall: share of all positives that are found", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02)
        )
        axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        _name_beside(axes, curves, sorted(ends, reverse=True))
        at_half, *_ = ends[0]
        axes.set_title(f"Where half of the positives are found, {percent(at_half)} of the alarms are right")
    return figure


def _name_beside(axes, curves: list[tuple[np.ndarray, np.ndarray]], ends: list[tuple[float, str, str]]) -> None:
    """Name the first three curves of precision by recall beside all of them: the best one above, the others below.

    curves: recall and precision of each, (k,). ends: (precision at half of the recall, name, color), the best first.
    """

    def between(left: float, right: float) -> np.ndarray:  # all precisions there, of which a name keeps clear
        places = [(precision, np.searchsorted(recall, (left, right))) for recall, precision in curves]
        return np.concatenate([precision[first : last + 1] for precision, (first, last) in places])

    for (_, name, color), is_best in zip(ends, (True, False, False), strict=False):
        lines = {at: between(at, at + 0.27) for at in np.linspace(0.5, 0.74, 9)} if is_best else {}
        free = next((at for at, line in lines.items() if line.max() < 0.9), None)  # else it stands on the title
        if free is not None:
            label_line(axes, free, lines[free].max(), name, color, xytext=(8, 8), ha="left", va="bottom")
        else:
            low = between(*((0.5, 0.77) if is_best else (0.23, 0.5))).min()
            shift, side = (8, "left") if is_best else (-8, "right")
            label_line(axes, 0.5, low, name, color, xytext=(shift, -8), ha=side, va="top")


def calibration(y_true, y_prob, bins: int = 10, positives: str = "positives") -> Figure:
    """Predicted against observed shares of positives, in groups of about equal size, with 95 % intervals (Wilson).

    `positives`: what the rows of y_true 1 are called.
    """
    groups = evaluation.calibration_bins(y_true, y_prob, bins)
    z2, n, p = 1.96**2, groups.count, groups.observed
    center = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (p * (1 - p) / n + z2 / (4 * n**2))) / (1 + z2 / n)
    within = int(np.sum((center - half <= groups.predicted) & (groups.predicted <= center + half)))
    with style():
        figure, axes = new_figure(size=(8.6, 4.4))
        top = min(1.0, 1.08 * max(groups.predicted.max(), (center + half).max()))
        axes.plot([0, top], [0, top], color=MUTED, linewidth=1, linestyle="dashed")
        at, side = _beside_the_diagonal(groups.predicted / top, (center - half) / top, (center + half) / top)
        where = {"ha": "left", "va": "top"} if side > 0 else {"ha": "right", "va": "bottom"}
        shift = (8 * side, -8 * side)
        axes.annotate(
            "as promised", (at * top, at * top), xytext=shift, textcoords="offset points", color=MUTED, **where
        )
        axes.vlines(groups.predicted, center - half, center + half, color=BLUE, linewidth=2, clip_on=False)
        axes.plot(groups.predicted, p, "o", color=BLUE, markersize=7, clip_on=False)
        axes.set(xlim=(0, top), ylim=(0, top), xlabel="predicted probability", ylabel=f"observed share of {positives}")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        drift = float(np.mean(y_true) - np.mean(y_prob))
        what = "About right" if abs(drift) < 0.02 else "Too low" if drift > 0 else "Too high"
        axes.set_title(f"{what} on the whole: {within} of {len(n)} groups keep their promise")
    return figure


def _beside_the_diagonal(x: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[float, int]:
    """The place on the diagonal, and its side (1: below, -1: above), where words are furthest from upright bars.

    All in shares of the axes. The words take some 0.15 by 0.06 of them.
    """

    def room(at: float, side: int) -> float:
        middle_x, middle_y = at + 0.09 * side, at - 0.06 * side
        beside = np.abs(x - middle_x) / 0.15
        above_or_below = np.maximum(low - middle_y, middle_y - high) / 0.06
        return float(np.maximum(beside, above_or_below).min())

    return max(((at, side) for at in np.linspace(0.25, 0.75, 11) for side in (1, -1)), key=lambda place: room(*place))


def predictions(y_true, y_prob, outcome: str = "label 1", bins: int = 40) -> Figure:
    """Histograms of the predicted probabilities: those of the positives, called `outcome`, above the negatives'."""
    y_true, y_prob, outcome = np.ravel(y_true).astype(bool), np.ravel(y_prob), shortened(outcome)
    edges = np.linspace(0, 1, bins + 1)
    with style():
        figure, panels = new_figure(2, 1, size=(8.6, 4.6), sharex=True)
        for axes, rows, text, color in (
            (panels[0], y_true, f"positive ({outcome})", ORANGE),
            (panels[1], ~y_true, "negative", BLUE),
        ):
            axes.hist(y_prob[rows], edges, weights=np.full(rows.sum(), 1 / rows.sum()), color=color)
            axes.annotate(
                f"{text}: {rows.sum():,} rows",
                (0.98, 0.97),
                xycoords="axes fraction",
                ha="right",
                va="top",
                color=color,
                fontweight="bold",
            )
            axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))  # 2.5 % would be written 2 %
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
            axes.set_ylabel("share of rows")
            axes.set_ylim(top=1.3 * axes.get_ylim()[1])  # room for the words above the highest bar
        panels[1].set(xlabel=f"predicted probability of {outcome}", xlim=(0, 1))
        above = float(np.mean(y_prob[y_true] >= 0.5))
        panels[0].set_title(f"{percent(above)} of the positives get a probability of 50 % or more")
    return figure


def threshold_choice(y_true, y_prob, threshold: float = 0.5) -> Figure:
    """What a decision threshold does: the point on the ROC curve, and the four counts."""
    counts = evaluation.confusion_counts(y_true, y_prob, threshold)
    false_positive_rate, true_positive_rate, _ = evaluation.roc_curve(y_true, y_prob)
    positives = counts.true_positives + counts.false_negatives
    negatives = counts.false_positives + counts.true_negatives
    with style():
        figure, (curve, table) = new_figure(1, 2, size=(9.6, 4.2))
        curve.plot(false_positive_rate, true_positive_rate, color=BLUE)
        point = (counts.false_positives / negatives, counts.true_positives / positives)
        curve.plot(*point, "o", color=ORANGE, markersize=13, markeredgecolor="white", clip_on=False, zorder=4)
        curve.set(
            xlabel="false positive rate", ylabel="true positive rate", xlim=(0, 1), ylim=(0, 1.01), aspect="equal"
        )
        curve.set_title(
            f"At {percent(threshold)}: {percent(point[1])} of the positives found, {percent(point[0] + 0)} of the "
            "negatives flagged"
        )
        cells = [[counts.true_positives, counts.false_negatives], [counts.false_positives, counts.true_negatives]]
        names = [["found", "missed"], ["false alarms", "left in peace"]]
        shade = [
            [counts.true_positives / positives, counts.false_negatives / positives],
            [counts.false_positives / negatives, counts.true_negatives / negatives],
        ]
        for row in range(2):
            for column in range(2):
                good = row == column
                table.add_patch(
                    plt.Rectangle(
                        (column, 1 - row),
                        0.96,
                        0.94,
                        color=BLUE if good else ORANGE,
                        alpha=0.12 + 0.35 * shade[row][column],
                    )
                )
                table.text(
                    column + 0.48,
                    1.55 - row,
                    f"{cells[row][column]:,}",
                    ha="center",
                    va="center",
                    fontsize=20,
                    fontweight="bold",
                )
                table.text(column + 0.48, 1.25 - row, names[row][column], ha="center", va="center")
        table.set(xlim=(0, 2), ylim=(0, 2), xticks=(0.48, 1.48), yticks=(1.47, 0.47))
        table.set_xticklabels(["flagged", "not flagged"])
        table.set_yticklabels(["positive", "negative"])
        table.tick_params(length=0)
        table.grid(visible=False)
        for spine in table.spines.values():
            spine.set_visible(False)
    return figure


def _colored(scores: dict[str, np.ndarray]):
    """(name, score, colour) of each model: the first in blue, what it is held against in orange, then green."""
    return [(name, score, color) for (name, score), color in zip(scores.items(), (BLUE, ORANGE, GREEN), strict=False)]
