"""Every matplotlib figure of the notebooks: functions of plain arrays that return a Figure, in one shared style.

A figure's title states what it shows; lines and bars are labelled where they are, not in a legend. The colours are
Okabe and Ito's (https://jfly.uni-koeln.de/color/), which colour-blind eyes tell apart, the blue darkened so that grey
print tells it from the orange.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, PercentFormatter

from helpers import evaluation

INK = "#222222"  # text, axes
MUTED = "#767676"  # references, what is not the point; still 4.5:1 on white
FAINT = "#d9d9d9"  # grid, backgrounds
BLUE = "#00568a"
ORANGE = "#d55e00"
GREEN = "#009e73"
PINK = "#cc79a7"

STYLE = {
    "figure.figsize": (8.0, 4.2),
    "figure.dpi": 100,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "figure.constrained_layout.use": True,
    "font.size": 12,
    "text.color": INK,
    "axes.titlesize": 13,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.labelsize": 12,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.7,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 11,
    "ytick.labelsize": 11,
    "lines.linewidth": 2.0,
}


@contextmanager
def style() -> Iterator[None]:
    """The shared look, for the figures drawn inside the `with` block only; the reader's own settings stay."""
    with plt.rc_context(STYLE):
        yield


def new_figure(rows: int = 1, columns: int = 1, size: tuple[float, float] | None = None, **options):
    """A Figure in the shared style and its Axes, as `plt.subplots` returns them; `size` in inches (100 pixels each).

    The figure is closed for pyplot: a notebook shows it once, as the value of the cell, and nothing stays open.
    Call it, and draw, inside `with style():`.
    """
    figure, axes = plt.subplots(rows, columns, figsize=size, **options)
    plt.close(figure)
    return figure, axes


def png(figure: Figure) -> bytes:
    """The figure as a PNG file, for a widget that shows pictures."""
    file = BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def label_line(axes: Axes, x: float, y: float, text: str, color: str = INK, **options) -> None:
    """Write `text` beside a line, at data position (x, y), instead of in a legend."""
    options = {"xytext": (6, 0), "va": "center", "fontweight": "bold", **options}
    axes.annotate(text, (x, y), textcoords="offset points", color=color, annotation_clip=False, **options)


def percent(share: float) -> str:
    """A share as text: 0.16 is "16 %"."""
    return f"{100 * share:.0f} %"


def spread_apart(values: list[float], ratio: float) -> list[float]:
    """Positions for labels on a log axis: each value, moved up until it is `ratio` times the one below it."""
    positions: dict[int, float] = {}
    lowest = 0.0
    for index in sorted(range(len(values)), key=values.__getitem__):
        positions[index] = lowest = max(values[index], lowest * ratio)
    return [positions[index] for index in range(len(values))]


def label_bars(axes: Axes, bars, texts: list[str]) -> None:
    """Write each bar's value at its end (horizontal or vertical bars), instead of leaving it to the axis."""
    axes.bar_label(bars, labels=texts, padding=4, color=INK, fontsize=11)


def correlations(names: list[str], values: np.ndarray, label: str, most: int = 12) -> Figure:
    """Bars of the correlation of each feature with the label, the `most` strongest of them.

    `names` of the features, `values` (d,) between -1 and 1.
    """
    strongest = np.argsort(-np.abs(values))[:most][::-1]
    with style():
        figure, axes = new_figure(size=(8.0, 1.5 + 0.32 * len(strongest)))
        bars = axes.barh(
            [names[i] for i in strongest],
            values[strongest],
            color=[BLUE if values[i] >= 0 else ORANGE for i in strongest],
        )
        label_bars(axes, bars, [f"{values[i]:+.2f}" for i in strongest])
        axes.axvline(0, color=MUTED, linewidth=1)
        axes.margins(x=0.15)
        axes.grid(axis="y", visible=False)
        which = "The features" if len(strongest) == len(names) else f"The {len(strongest)} of {len(names)} features"
        axes.set_title(f"{names[strongest[-1]]} says most about {label}" if len(names) > 1 else "One feature only")
        axes.set_xlabel(
            f"correlation with {label} ({which[0].lower() + which[1:]} that say most)"
            if len(strongest) < len(names)
            else f"correlation with {label}"
        )
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
    """A ring around the best epoch of a curve, with its number."""
    epoch = int(best(values)) + 1
    axes.plot(epoch, values[epoch - 1], "o", markersize=9, markerfacecolor="white", markeredgecolor=INK, zorder=4)
    below = best is np.argmin
    axes.annotate(
        f"best: {epoch}",
        (epoch, values[epoch - 1]),
        xytext=(0, -9 if below else 9),
        textcoords="offset points",
        ha="center",
        va="top" if below else "bottom",
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
    return f"Validation loss is lowest at epoch {best}; after it only the training rows improve"


def epoch_times(seconds: dict[str, float]) -> Figure:
    """Bars of the seconds that an epoch takes in different ways, {"name of the way": seconds}, as measured."""
    names = list(seconds)[::-1]
    slowest, fastest = max(seconds.values()), min(seconds.values())
    with style():
        figure, axes = new_figure(size=(8.6, 1.4 + 0.5 * len(names)))
        colors = [BLUE if seconds[name] == fastest else FAINT for name in names]
        bars = axes.barh(names, [1000 * seconds[name] for name in names], color=colors, edgecolor=MUTED)
        label_bars(axes, bars, [f"{1000 * seconds[name]:.0f} ms" for name in names])
        axes.grid(axis="y", visible=False)
        axes.margins(x=0.12)
        axes.set_xlabel("one epoch of training (milliseconds)")
        axes.set_title(f"The same epoch can be {_times_as_fast(slowest / fastest)}")
    return figure


def _times_as_fast(ratio: float) -> str:
    return f"{ratio:.0f} times as fast" if ratio >= 3 else f"{ratio:.1f} times as fast"


def streaming_auc(training: list[float], test: list[float]) -> Figure:
    """AUC by epoch over the batches that were trained on, against the exact AUC of rows never seen.

    training, test: one AUC for each epoch.
    """
    x = np.arange(1, len(test) + 1)
    with style():
        figure, axes = new_figure(size=(8.6, 4.2))
        axes.plot(x, training, color=ORANGE)
        axes.plot(x, test, color=BLUE)
        axes.set(xlabel="epoch", ylabel="ROC AUC", xlim=(0, len(test) + 0.5))
        fit_scale(axes, [training, test])
        ends = [
            (training[-1], f"training batches {training[-1]:.3f}", ORANGE),
            (test[-1], f"test {test[-1]:.3f}", BLUE),
        ]
        label_ends(axes, x[-1], ends)
        gap = training[-1] - test[-1]
        axes.set_title(
            f"The AUC of the training batches ends {gap:.3f} above that of the test rows"
            if gap > 0.0005
            else "Here the training batches do not flatter"
        )
    return figure


def roc(y_true, scores: dict[str, np.ndarray]) -> Figure:
    """ROC curves of several models on the same rows, and beside them each AUC with its 95 % interval.

    y_true (n,) of 0 and 1; scores {"name": (n,)}, the model in question first.
    """
    with style():
        figure, (curves, areas) = new_figure(1, 2, size=(9.6, 4.4), width_ratios=(1.15, 1))
        curves.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle="dashed")
        curves.annotate("guessing", (0.72, 0.66), rotation=37, color=MUTED)
        aucs = {}
        for row, (name, score, color) in enumerate(_colored(scores)):
            false_positive_rate, true_positive_rate, _ = evaluation.roc_curve(y_true, score)
            curves.plot(false_positive_rate, true_positive_rate, color=color)
            low, high = evaluation.roc_auc_interval(y_true, score)
            aucs[name] = area = evaluation.roc_auc(y_true, score)
            areas.plot([low, high], [-row, -row], color=color, linewidth=4, solid_capstyle="butt")
            areas.plot(area, -row, "o", color=color, markersize=10)
            text = f"{name}: {area:.3f} ({low:.3f} to {high:.3f})"
            areas.annotate(text, (area, -row), xytext=(0, 12), textcoords="offset points", ha="center", color=color)
        curves.set(
            xlabel="false positive rate", ylabel="true positive rate", xlim=(0, 1), ylim=(0, 1.01), aspect="equal"
        )
        curves.set_title(_who_ranks_better(aucs))
        areas.set(yticks=[], ylim=(-len(scores) + 0.4, 0.6), xlabel="ROC AUC with 95 % interval")
        areas.spines["left"].set_visible(False)
        areas.margins(x=0.45)
    return figure


def _who_ranks_better(aucs: dict[str, float]) -> str:
    (first, area), *others = aucs.items()
    if not others:
        return f"AUC {area:.3f}"
    other, other_area = others[0]
    if area - other_area > 0.0005:
        return f"The {first} ranks better than the {other}, by {area - other_area:.3f}"
    return f"The {first} ranks no better than the {other}"


def precision_recall(y_true, scores: dict[str, np.ndarray]) -> Figure:
    """Precision against recall for several models on the same rows; arguments as in `roc`."""
    share = float(np.mean(y_true))
    with style():
        figure, axes = new_figure(size=(8.6, 4.2))
        axes.axhline(share, color=MUTED, linewidth=1, linestyle="dashed")
        axes.annotate(
            f"guessing: {percent(share)}",
            (0.02, share),
            xytext=(0, -4),
            textcoords="offset points",
            va="top",
            color=MUTED,
        )
        ends = []
        for name, score, color in _colored(scores):
            precision, recall, _ = evaluation.precision_recall_curve(y_true, score)
            axes.plot(recall, precision, color=color, drawstyle="steps-pre")  # as average precision sums it
            ends.append((float(precision[np.searchsorted(recall, 0.5)]), name, color))
        axes.set(
            xlabel="recall: share of all positives that are found", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02)
        )
        axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        for (precision, name, color), above in zip(sorted(ends, reverse=True), (True, False, False), strict=False):
            shift = (8, 8) if above else (-8, -8)
            anchor = {"ha": "left", "va": "bottom"} if above else {"ha": "right", "va": "top"}
            label_line(axes, 0.5, precision, name, color, xytext=shift, **anchor)
        at_half, *_ = ends[0]
        axes.set_title(f"To find half of the positives, {percent(at_half)} of those called are right")
    return figure


def calibration(y_true, y_prob, bins: int = 10) -> Figure:
    """Predicted against observed shares of positives, in groups of about equal size, with 95 % intervals (Wilson)."""
    groups = evaluation.calibration_bins(y_true, y_prob, bins)
    z2, n, p = 1.96**2, groups.count, groups.observed
    center = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (p * (1 - p) / n + z2 / (4 * n**2))) / (1 + z2 / n)
    within = int(np.sum((center - half <= groups.predicted) & (groups.predicted <= center + half)))
    with style():
        figure, axes = new_figure(size=(8.6, 4.4))
        top = min(1.0, 1.08 * max(groups.predicted.max(), (center + half).max()))
        axes.plot([0, top], [0, top], color=MUTED, linewidth=1, linestyle="dashed")
        axes.annotate(
            "as promised", (0.62 * top, 0.62 * top), xytext=(12, -12), textcoords="offset points", va="top", color=MUTED
        )
        axes.vlines(groups.predicted, center - half, center + half, color=BLUE, linewidth=2)
        axes.plot(groups.predicted, p, "o", color=BLUE, markersize=7)
        axes.set(xlim=(0, top), ylim=(0, top), xlabel="predicted probability", ylabel="observed share of positives")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        drift = float(np.mean(y_true) - np.mean(y_prob))
        what = (
            "about right on the whole"
            if abs(drift) < 0.02
            else "too low on the whole"
            if drift > 0
            else "too high on the whole"
        )
        axes.set_title(f"Probabilities are {what}: {within} of {len(n)} groups keep their promise")
    return figure


def predictions(y_true, y_prob, bins: int = 40) -> Figure:
    """Histograms of the predicted probabilities: those of the positives above those of the negatives."""
    y_true, y_prob = np.ravel(y_true).astype(bool), np.ravel(y_prob)
    edges = np.linspace(0, 1, bins + 1)
    with style():
        figure, panels = new_figure(2, 1, size=(8.6, 4.6), sharex=True)
        for axes, rows, text, color in ((panels[0], y_true, "label 1", ORANGE), (panels[1], ~y_true, "label 0", BLUE)):
            axes.hist(y_prob[rows], edges, weights=np.full(rows.sum(), 1 / rows.sum()), color=color)
            axes.annotate(
                f"{text}: {rows.sum():,} rows",
                (0.98, 0.85),
                xycoords="axes fraction",
                ha="right",
                va="top",
                color=color,
                fontweight="bold",
            )
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=" %"))
            axes.set_ylabel("share of rows")
        panels[1].set(xlabel="predicted probability", xlim=(0, 1))
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
            f"At {percent(threshold)}: finds {percent(point[1])} of label 1, calls {percent(point[0] + 0)} of label 0"
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
        table.set_xticklabels(["called 1", "called 0"])
        table.set_yticklabels(["label 1", "label 0"])
        table.tick_params(length=0)
        table.grid(visible=False)
        for spine in table.spines.values():
            spine.set_visible(False)
    return figure


def _colored(scores: dict[str, np.ndarray]):
    """(name, score, colour) of each model: the first in blue, what it is held against in orange, then green."""
    return [(name, score, color) for (name, score), color in zip(scores.items(), (BLUE, ORANGE, GREEN), strict=False)]


def who_can_call() -> Figure:
    """Who reaches a service that listens on 127.0.0.1, and who one that listens on 0.0.0.0 (a drawing)."""
    with style():
        figure, panels = new_figure(1, 2, size=(9.0, 3.3))
        for axes, address, open_to_all in zip(panels, ("127.0.0.1", "0.0.0.0"), (False, True), strict=True):
            axes.set_title(f"{address}: {'whoever reaches it' if open_to_all else 'this machine only'}")
            axes.set(xlim=(0, 10), ylim=(0, 6))
            axes.axis("off")
            axes.add_patch(plt.Rectangle((0.2, 0.2), 5.9, 5.6, facecolor="#f4f4f4", edgecolor=MUTED))
            axes.text(0.5, 5.2, "your machine", color=MUTED, va="center")
            callers = {"browser, curl": (3.1, 3.6), "another machine": (8.0, 1.2)}
            color = GREEN if open_to_all else MUTED
            boxed_text(axes, 3.1, 1.2, f"service\n{address}:5000", BLUE)
            boxed_text(axes, *callers["browser, curl"], "browser, curl", INK)
            boxed_text(axes, *callers["another machine"], "another\nmachine", INK if open_to_all else MUTED)
            arrow = {"arrowstyle": "-|>", "linewidth": 2}
            axes.annotate("", (3.1, 1.95), (3.1, 3.15), arrowprops={**arrow, "color": GREEN})
            dashes = {} if open_to_all else {"linestyle": "dashed"}
            axes.annotate("", (4.75, 1.2), (6.85, 1.2), arrowprops={**arrow, "color": color, **dashes})
            axes.text(6.3, 2.2, "answered" if open_to_all else "refused", color=color, fontweight="bold")
    return figure


def what_listens_where() -> Figure:
    """From the laptop through the security group to the instance: which port leads to what (a drawing)."""
    doors = [  # (port, colour, what listens, on which address, where the way ends)
        ("5000", GREEN, "prediction service", "0.0.0.0:5000", 3.9),
        ("22", BLUE, "SSH", "0.0.0.0:22", 2.3),
        ("8888", MUTED, "JupyterLab", "127.0.0.1:8888", 0.7),
    ]
    with style():
        figure, axes = new_figure(size=(9.6, 4.2))
        axes.set(
            xlim=(0, 12),
            ylim=(-0.2, 5.6),
            title="The doors open to your address only, and Jupyter is reached through SSH",
        )
        axes.axis("off")
        axes.add_patch(plt.Rectangle((7.2, -0.1), 4.7, 5.0, facecolor="#f4f4f4", edgecolor=MUTED))
        axes.add_patch(plt.Rectangle((4.5, -0.1), 1.3, 5.0, facecolor="#fff3e6", edgecolor=ORANGE))
        for x, text, color in (
            (1.5, "your laptop", INK),
            (5.15, "security group", ORANGE),
            (9.55, "EC2 instance", MUTED),
        ):
            axes.text(x, 5.05, text, ha="center", color=color, fontweight="bold")
        boxed_text(axes, 1.5, 3.9, "browser, curl", GREEN)
        boxed_text(axes, 1.5, 2.3, "ssh -L 8888:\nlocalhost:8888", BLUE)
        for port, color, name, address, y in doors:
            axes.text(5.15, y, port, ha="center", va="center", color=color, fontweight="bold")
            boxed_text(axes, 9.55, y, f"{name}\n{address}", color)
        way = {"arrowstyle": "-|>", "linewidth": 2}
        for y, color in ((3.9, GREEN), (2.3, BLUE)):
            axes.annotate("", (4.75, y), (2.6, y), arrowprops={**way, "arrowstyle": "-", "color": color})
            axes.annotate("", (8.3, y), (5.5, y), arrowprops={**way, "color": color})
        axes.annotate("", (9.55, 1.25), (9.55, 1.75), arrowprops={**way, "color": BLUE})
        axes.text(1.5, 0.7, "anybody else", ha="center", va="center", color=MUTED)
        axes.annotate("", (4.4, 0.7), (2.7, 0.7), arrowprops={**way, "color": MUTED, "linestyle": "dashed"})
        axes.text(3.5, 0.95, "no answer", ha="center", color=MUTED)
    return figure


def boxed_text(axes: Axes, x: float, y: float, text: str, color: str) -> None:
    """Text in a rounded box of a drawing, centred at (x, y)."""
    box = {"boxstyle": "round,pad=0.5", "facecolor": "white", "edgecolor": color, "linewidth": 1.6}
    axes.text(x, y, text, ha="center", va="center", color=color, bbox=box)


def route_map() -> Figure:
    """The map of notebook 00: which notebook leads to which, and what the reader holds at the end of each."""
    roads = [  # (name, colour, corners); where they meet, one goes on
        ("the service", BLUE, [(0.0, 0.5), (0.3, 1.0), (3.1, 1.0), (3.4, 0.5)]),
        ("the model", ORANGE, [(0.0, 0.5), (0.3, 0.0), (3.1, 0.0), (3.4, 0.5)]),
        ("both", GREEN, [(3.4, 0.5), (5.25, 0.5)]),
    ]
    stations = [  # (number, colour, place, where its words stand, what it does, what one has at its end)
        ("00", MUTED, (0.0, 0.5), "right", "Start here", "an environment\nthat is ready"),
        ("01", BLUE, (1.7, 1.0), "center", "Echo with Flask", "a service that repeats\nwhat it is told"),
        ("02", ORANGE, (0.95, 0.0), "center", "Train a classifier", "a network and\nits AUC"),
        ("03", ORANGE, (2.45, 0.0), "center", "Export the model", "the same model\nin every format"),
        ("04", GREEN, (3.4, 0.5), "left", "Serve predictions", "the model behind\na URL"),
        ("05", GREEN, (5.25, 0.5), "center", "Run on EC2", "the same service,\non a public machine"),
    ]
    aside = {"right": -24, "center": 0, "left": 2}  # points
    with style():
        figure, axes = new_figure(size=(9.6, 3.9))
        for _, color, corners in roads:
            axes.plot(*zip(*corners, strict=True), color=color, linewidth=5, solid_joinstyle="round", zorder=1)
        for number, color, place, side, does, has in stations:
            axes.scatter(*place, s=900, color="white", edgecolor=color, linewidth=4, zorder=2)
            axes.text(*place, number, ha="center", va="center", fontweight="bold", zorder=3)
            words = {"ha": side, "textcoords": "offset points", "zorder": 3}
            above, below = (3, -2) if side == "right" else (23, -23)
            axes.annotate(does, place, xytext=(aside[side], above), va="bottom", fontweight="bold", **words)
            axes.annotate(has, place, xytext=(aside[side], below), va="top", fontsize=11, **words)
        for name, color, corners in roads[:2]:
            axes.text(0.17, corners[1][1], name, color=color, ha="right", va="center", fontweight="bold")
        axes.set(xlim=(-1.1, 5.9), ylim=(-0.38, 1.32), title="Two roads, a service and a model, meet in notebook 04")
        axes.axis("off")
    return figure


def latency_by_backend(milliseconds: dict[str, float]) -> Figure:
    """One row's latency for each way to compute it, as bars on a log scale; `milliseconds` by name, slowest first."""
    names, values = list(milliseconds), list(milliseconds.values())
    with style():
        figure, axes = new_figure(size=(8.0, 0.55 * len(names) + 1.3))
        colors = [ORANGE if value == max(values) else BLUE for value in values]
        bars = axes.barh(names, values, color=colors, height=0.65)
        times = [f"{value:.0f} ms" if value >= 10 else f"{value:.2g} ms" for value in values]
        label_bars(axes, bars, times)
        axes.set(xscale="log", xlim=(min(values) / 3, max(values) * 6), xlabel="time for one row (ms, log scale)")
        ratio = max(values) / min(values)
        rounded = float(f"{ratio:.2g}")
        axes.set_title(f"{names[values.index(max(values))]} takes some {rounded:,.0f} times as long as the fastest")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
    return figure


def load_by_clients(clients, per_second, percentiles: dict[str, list[float]]) -> Figure:
    """Throughput (left) and latency percentiles in ms (right) over the number of clients at once.

    `percentiles` holds a line for each name ("p50": [...]), its values in the order of `clients`.
    """
    colors = [BLUE, GREEN, ORANGE, PINK]
    with style():
        figure, (left, right) = new_figure(1, 2, size=(10.0, 3.9))
        left.plot(clients, per_second, "o-", color=BLUE)
        left.set(
            ylim=(0, 1.15 * max(per_second)),
            ylabel="requests per second",
            title=f"{clients[0]} client: {per_second[0]:,.0f} requests/s, {clients[-1]} clients: {per_second[-1]:,.0f}",
        )
        for values, color in zip(percentiles.values(), colors, strict=False):
            right.plot(clients, values, "o-", color=color)
        spread = spread_apart([values[-1] for values in percentiles.values()], ratio=1.35)
        for name, at, color in zip(percentiles, spread, colors, strict=False):
            label_line(right, clients[-1], at, name, color)
        slower = max(values[-1] / values[0] for values in percentiles.values())
        right.set(ylabel="latency (ms, log scale)", yscale="log")
        right.set_title(f"{clients[-1]} at once wait up to {slower:,.0f} times as long")
        right.yaxis.set_major_formatter("{x:g}")
        for axes in (left, right):
            axes.set(xscale="log", xlabel="clients at once")
            axes.set_xticks(clients, [str(count) for count in clients])
            axes.minorticks_off()
    return figure


def format_differences(differences: dict[str, float], limit: float = 1e-6) -> Figure:
    """The largest difference of each file format from Keras, as bars below the `limit` that is allowed."""
    names, values = list(differences), list(differences.values())
    with style():
        figure, axes = new_figure(size=(8.0, 0.5 * len(names) + 1.3))
        bars = axes.barh(names, values, color=BLUE, height=0.6)
        label_bars(axes, bars, [f"{value:.1e}" if value else "none at all" for value in values])
        axes.axvline(limit, color=ORANGE, linestyle="--", linewidth=1.5)
        axes.set(xlim=(0, 1.15 * max(limit, *values)), xlabel="largest difference from Keras")
        axes.xaxis.set_major_formatter("{x:.0e}")
        shares = limit / max(*values, 1e-12)
        within = f"at most {percent(1 / shares)} of what is allowed" if shares >= 1 else "more than is allowed"
        axes.set_title(f"The formats differ from Keras by {within}")
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
    return figure


def format_costs(costs) -> Figure:
    """Memory, time to load and time for a row of each file format, side by side.

    `costs` is a table with the columns format, memory_mb, load_s and latency_ms, as `artifacts.parity` returns it.
    """
    panels = {
        "memory_mb": ("memory (MB)", "{:.0f}"),
        "load_s": ("time to load (s, log scale)", "{:.2g}"),
        "latency_ms": ("time for a row (ms, log scale)", "{:.2g}"),
    }
    with style():
        figure, all_axes = new_figure(1, 3, size=(11.0, 0.42 * len(costs) + 1.5), sharey=True)
        for axes, (column, (title, number)) in zip(all_axes, panels.items(), strict=True):
            values = list(costs[column])
            bars = axes.barh(costs["format"], values, color=BLUE, height=0.6)
            label_bars(axes, bars, [number.format(value) for value in values])
            if "log" in title:
                axes.set(xscale="log", xlim=(min(values) / 3, max(values) * 8))
                axes.xaxis.set_major_locator(LogLocator(numticks=4))
                axes.xaxis.set_major_formatter("{x:g}")
            else:
                axes.set_xlim(0, 1.25 * max(values))
            axes.set_xlabel(title)
            axes.grid(axis="y", visible=False)
        figure.get_layout_engine().set(wspace=0.08)
        all_axes[0].invert_yaxis()
        least, most = costs["memory_mb"].min(), costs["memory_mb"].max()
        figure.suptitle(
            f"Without TensorFlow a process needs as little as {percent(least / most)} of the memory",
            **{"x": 0.01, "ha": "left", "fontsize": 13, "fontweight": "bold"},
        )
    return figure


def throughput_by_service(per_second: dict[str, float]) -> Figure:
    """Requests per second of each service as bars on a log scale; `per_second` by name, slowest first."""
    names, values = list(per_second), list(per_second.values())
    with style():
        figure, axes = new_figure(size=(8.5, 0.55 * len(names) + 1.3))
        colors = [ORANGE if "article" in name else BLUE if "predict" in name else MUTED for name in names]
        bars = axes.barh(names, values, color=colors, height=0.65)
        label_bars(axes, bars, [f"{value:,.0f}" for value in values])
        axes.set(xscale="log", xlim=(min(values) / 2, max(values) * 3), xlabel="requests per second (log scale)")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.set_title(f"From {values[0]:,.0f} to {values[-1]:,.0f} requests per second")
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
    return figure
