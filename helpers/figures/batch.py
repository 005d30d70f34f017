"""Figures of notebook 08: how many rows a second each way to ask answers, and how scores are spread."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from helpers.figures.style import (
    BLUE,
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

BINS = 40
NEAR = 0.01  # shares of rows by which two groups of scores may differ without a word


def rows_per_second(by_way: Mapping[str, float], rows: int) -> Figure:
    """Rows per second of each way, slowest first, as bars on a log scale, and how long each takes for `rows`."""
    names, values = list(by_way), list(by_way.values())
    with style():
        figure, axes = new_figure(size=(9.0, 0.75 * len(names) + 1.4))
        bars = axes.barh(names, values, color=[ORANGE, *[BLUE] * (len(names) - 1)], height=0.6)
        label_bars(axes, bars, [f"{value:,.0f}: {_time(rows / value)} for {rows / 1e6:.0f} M rows" for value in values])
        axes.set(xscale="log", xlim=(min(values) / 2, max(values) * 60), xlabel="rows per second (log scale)")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        times = values[-1] / values[0]
        axes.set_title(f"A batch answers about {float(f'{times:.1g}'):,.0f} rows while a request answers one")
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
    return figure


def scores(training: np.ndarray, batches: Mapping[str, np.ndarray]) -> Figure:
    """The spread of the scores of each of `batches`, by name, over that of the training data; each (k,), 0 to 1."""
    edges = np.linspace(0, 1, BINS + 1)
    expected = np.histogram(training, edges)[0] / len(training)
    with style():
        figure, each = new_figure(1, len(batches), size=(10.0, 3.9), sharey=True, squeeze=False)
        for axes, (name, found), color in zip(each[0], batches.items(), (BLUE, ORANGE), strict=False):
            share = np.histogram(found, edges)[0] / len(found)
            apart = float(np.abs(share - expected).sum() / 2)
            axes.stairs(100 * expected, edges, color=MUTED, linewidth=1.6)
            axes.stairs(100 * share, edges, color=color, fill=True, alpha=0.35)
            axes.set(xlabel="score", xlim=(0, 1))
            same = apart < NEAR or np.isclose(apart, 0)
            said = "spread as in training" if same else f"{percent(apart)} lie elsewhere"
            axes.set_title(f"{shortened(name, 24)}: {said}")
        first, peak = each[0][0], expected.argmax()
        top = first.dataLim.ymax  # above its outline and its bars; the other axes may reach higher
        first.set_ylim(0, max(first.get_ylim()[1], 1.12 * top))
        left = peak < BINS / 2
        above = {"xytext": (4 if left else -4, 3), "va": "bottom", "ha": "left" if left else "right"}
        at = edges[peak] if left else edges[peak + 1]
        label_line(first, at, top, "training data", MUTED if len(batches) > 1 else INK, **above)
        each[0][0].set_ylabel("% of the rows")
    return figure


def _time(seconds: float) -> str:
    """A time in the unit that it is said in: "1.4 hours", "26 s"."""
    for unit, size in (("hours", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:,.0f} s" if seconds >= 1 else f"{seconds:.1f} s"
