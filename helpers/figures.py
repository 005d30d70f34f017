"""Every matplotlib figure of the notebooks: functions of plain arrays that return a Figure, in one shared style.

A figure's title states what it shows; lines and bars are labelled where they are, not in a legend. The colours are
Okabe and Ito's (https://jfly.uni-koeln.de/color/), told apart by colour-blind eyes and, by lightness, in grey print.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK = "#222222"  # text, axes
MUTED = "#767676"  # references, what is not the point; still 4.5:1 on white
FAINT = "#d9d9d9"  # grid, backgrounds
BLUE = "#0072b2"
ORANGE = "#d55e00"
SKY = "#56b4e9"
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

    The figure is not registered with pyplot: a notebook shows it once, as the value of the cell, and nothing has to be
    closed. Call it, and draw, inside `with style():`.
    """
    figure = Figure(figsize=size)
    return figure, figure.subplots(rows, columns, **options)


def label_line(axes: Axes, x: float, y: float, text: str, color: str = INK, **options) -> None:
    """Write `text` beside a line, at data position (x, y), instead of in a legend."""
    options = {"xytext": (6, 0), "va": "center", "fontweight": "bold", **options}
    axes.annotate(text, (x, y), textcoords="offset points", color=color, annotation_clip=False, **options)


def label_bars(axes: Axes, bars, texts: list[str]) -> None:
    """Write each bar's value at its end (horizontal or vertical bars), instead of leaving it to the axis."""
    axes.bar_label(bars, labels=texts, padding=4, color=INK, fontsize=11)
