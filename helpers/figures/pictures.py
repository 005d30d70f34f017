"""Figures of notebook 06: pictures of each class, which are mixed up, and what other files do to the answers."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.ticker import PercentFormatter

from helpers.figures.style import BLUE, MUTED, ORANGE, headline, label_bars, new_figure, percent, style


def gallery(pictures: np.ndarray, labels: np.ndarray, classes: Sequence[str], each: int = 4) -> Figure:
    """The first pictures of each class. pictures: (k, height, width) grey from 0 to 255; labels: (k,) class numbers."""
    with style():
        figure, all_axes = new_figure(each, len(classes), size=(10.0, 0.98 * each + 0.75))
        for column, name in enumerate(classes):
            for row, index in enumerate(np.flatnonzero(labels == column)[:each]):
                _show(all_axes[row, column], pictures[index])
            all_axes[0, column].set_title(name, loc="center", fontsize=11, fontweight="normal", pad=4)
        headline(figure, f"{len(classes)} classes of clothes, some hard to tell apart")
        figure.get_layout_engine().set(hspace=0, h_pad=0.02)
        for axes in all_axes.flat:
            axes.axis("off")
    return figure


def mistakes(pictures: np.ndarray, probabilities: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> Figure:
    """Which classes are taken for which, and the pictures that were wrong with the most confidence.

    probabilities: (k, number of classes); the others as in `gallery`.
    """
    said, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    counts = np.zeros((len(classes), len(classes)), int)
    np.add.at(counts, (labels, said), 1)
    wrong = np.flatnonzero(said != labels)
    worst = wrong[np.argsort(-sure[wrong])][:8]
    with style():
        figure, all_axes = new_figure(1, 2, size=(10.0, 5.2), width_ratios=[1.5, 1])
        table, right = all_axes
        _confusion(table, counts, classes)
        right.axis("off")
        right.set_title("The surest mistakes", loc="left", fontsize=12)
        for place, index in enumerate(worst):
            corner = (0.52 * (place % 2), 0.78 - 0.25 * (place // 2), 0.18, 0.2)
            _show(right.inset_axes(corner), pictures[index])
            words = f"{classes[labels[index]]},\nsaid {classes[said[index]]}\n{percent(sure[index])} sure"
            right.text(corner[0] + 0.2, corner[1] + 0.1, words, fontsize=11, va="center")
        found = f"{len(wrong)} of {len(labels):,} are wrong"
        if len(wrong):
            mixed = counts * ~np.eye(len(classes), dtype=bool)
            true, taken = np.unravel_index(mixed.argmax(), mixed.shape)
            found += f", most often a {classes[true]} taken for a {classes[taken]}"
        headline(figure, found)
    return figure


def _confusion(axes: Axes, counts: np.ndarray, classes: Sequence[str]) -> None:
    """True classes in rows, answers in columns; the shade is the share of the row."""
    shares = counts / counts.sum(axis=1, keepdims=True)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            color = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, count, ha="center", va="center", fontsize=11, color=color)
    places = range(len(classes))
    axes.set_xticks(places, classes, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(places, classes)
    axes.set(xlabel="what the model said", ylabel="what it is")
    axes.grid(visible=False)
    axes.tick_params(length=0)


def otherwise_saved(results: Mapping[str, tuple[np.ndarray, float, float]]) -> Figure:
    """What becomes of the answers when the same pictures come otherwise, one row for each way.

    results: by the words for the way, one picture (height, width) as it arrives, the share of right answers, and the
    mean probability that the model gave its answer.
    """
    names = list(results)
    shown, right, sure = zip(*results.values(), strict=True)
    rows = np.arange(len(names))
    misled = int(np.argmax(np.subtract(sure, right)))
    with style():
        figure, axes = new_figure(size=(9.4, 0.72 * len(names) + 1.2))
        bars = axes.barh(rows - 0.19, right, color=BLUE, height=0.34)
        label_bars(axes, bars, [f"{percent(share)} right" for share in right])
        bars = axes.barh(rows + 0.19, sure, color=ORANGE, height=0.34)
        label_bars(axes, bars, [f"{percent(share)} sure" for share in sure])
        for row, picture in enumerate(shown):
            image = OffsetImage(picture, zoom=42 / max(picture.shape), cmap="gray", origin="upper")
            image.image.set_clim(0, picture.max())  # 255, or 65,535 in a file of 16 bits
            frame = {"edgecolor": MUTED, "linewidth": 0.8}
            box = AnnotationBbox(
                image, (0, row), (-32, 0), boxcoords="offset points", pad=0, bboxprops=frame, annotation_clip=False
            )
            axes.add_artist(box)
        axes.set_yticks(rows, names)
        axes.tick_params(axis="y", pad=62, length=0)
        axes.set(xlim=(0, 1.12), xlabel="share of right answers, and mean probability of the answer given")
        axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        axes.set_xticks(np.linspace(0, 1, 6))
        axes.set_title(
            f"{names[misled].capitalize()}: {percent(right[misled])} right, and {percent(sure[misled])} sure", x=0
        )
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
    return figure


def _show(axes: Axes, picture: np.ndarray) -> None:
    axes.imshow(picture, cmap="gray", vmin=0, vmax=255)
    axes.axis("off")
