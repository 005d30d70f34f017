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

    The figure is closed for pyplot: a notebook shows it once, as the value of the cell, and nothing stays open.
    Call it, and draw, inside `with style():`.
    """
    figure, axes = plt.subplots(rows, columns, figsize=size, **options)
    plt.close(figure)
    return figure, axes


def label_line(axes: Axes, x: float, y: float, text: str, color: str = INK, **options) -> None:
    """Write `text` beside a line, at data position (x, y), instead of in a legend."""
    options = {"xytext": (6, 0), "va": "center", "fontweight": "bold", **options}
    axes.annotate(text, (x, y), textcoords="offset points", color=color, annotation_clip=False, **options)


def label_bars(axes: Axes, bars, texts: list[str]) -> None:
    """Write each bar's value at its end (horizontal or vertical bars), instead of leaving it to the axis."""
    axes.bar_label(bars, labels=texts, padding=4, color=INK, fontsize=11)


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
        ("05", GREEN, (5.25, 0.5), "center", "Run on EC2", "the same URL,\nfor everybody"),
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
