"""The look that all figures share, and the small parts that they are put together from.

A figure's title states what it shows; lines and bars are labelled where they are, not in a legend. The colours are
Okabe and Ito's (https://jfly.uni-koeln.de/color/), which colour-blind eyes tell apart, the blue darkened so that grey
print tells it from the orange.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

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


def headline(figure: Figure, text: str) -> None:
    """The title of a figure with several parts, where a single one has its own."""
    figure.suptitle(text, x=0.01, ha="left", fontsize=13, fontweight="bold")


def title_of(figure: Figure) -> str:
    """What the title of a figure says, for those who cannot see it."""
    titles = [figure.get_suptitle(), *(axes.get_title(loc) for axes in figure.axes for loc in ("left", "center"))]
    return next(filter(None, titles), "").replace("\n", " ")


def label_line(axes: Axes, x: float, y: float, text: str, color: str = INK, **options) -> None:
    """Write `text` beside a line, at data position (x, y), instead of in a legend."""
    options = {"xytext": (6, 0), "va": "center", "fontweight": "bold", **options}
    axes.annotate(text, (x, y), textcoords="offset points", color=color, annotation_clip=False, **options)


def shortened(name: str, most: int = 36) -> str:
    """A name out of somebody's table as a figure shows it: a long one without its middle, a $ as no formula's."""
    if len(name) > most:
        end = most // 3
        name = f"{name[: most - end - 1].rstrip()}…{name[-end:].lstrip()}"
    return name.replace("$", r"\$")


def percent(share: float) -> str:
    """A share as text: 0.16 is "16 %"; what is neither none nor all is not rounded to it, 0.003 is "0.3 %"."""
    digits = next((digits for digits in range(3) if 0 < float(f"{100 * share:.{digits}f}") < 100), 0)
    return f"{100 * share:.{digits}f} %"


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


def boxed_text(axes: Axes, x: float, y: float, text: str, color: str) -> None:
    """Text in a rounded box of a drawing, centred at (x, y)."""
    box = {"boxstyle": "round,pad=0.5", "facecolor": "white", "edgecolor": color, "linewidth": 1.6}
    axes.text(x, y, text, ha="center", va="center", color=color, bbox=box)
