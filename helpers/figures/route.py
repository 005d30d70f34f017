"""Figure of notebook 00: the map of the route."""

from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from helpers.figures.style import BLUE, GREEN, MUTED, ORANGE, PINK, new_figure, style


class Station(NamedTuple):
    """A notebook on the map. place: where it stands; None puts it on the lower line, after those before it.

    side: where its words stand, seen from it. has: what the reader holds at its end.
    """

    number: str
    color: str
    does: str
    has: str
    place: tuple[float, float] | None = None
    side: str = "center"


STATIONS = (
    Station("00", MUTED, "Start here", "an environment\nthat is ready", (0.0, 0.5), "right"),
    Station("01", BLUE, "Echo with Flask", "a service that repeats\nwhat it is told", (1.7, 1.0)),
    Station("02", ORANGE, "Train a classifier", "a network and\nits AUC", (0.95, 0.0)),
    Station("03", ORANGE, "Export the model", "the same model\nin every format", (2.45, 0.0)),
    Station("04", GREEN, "Serve predictions", "the model behind\na URL", (3.4, 0.5), "left"),
    Station("05", GREEN, "Run on EC2", "the same service,\non a public machine", (5.25, 0.5)),
    Station("06", PINK, "Your own model", "pictures, and\nany Keras file"),
    Station("07", PINK, "Scale out", "the application\non AWS Lambda"),
    Station("08", PINK, "Score a file", "a million rows,\nby one function"),
    Station("09", PINK, "Watch it", "drift, an alert,\nand what to do"),
    Station("10", PINK, "Replace it", "a new version,\nand a way back"),
    Station("11", PINK, "Train faster", "an epoch in one\ncompiled call"),
)
ROADS = (  # (name, where it stands, colour, corners); where two meet, one goes on
    ("the service", (0.17, 1.0), BLUE, ((0.0, 0.5), (0.3, 1.0), (3.1, 1.0), (3.4, 0.5))),
    ("the model", (0.17, 0.0), ORANGE, ((0.0, 0.5), (0.3, 0.0), (3.1, 0.0), (3.4, 0.5))),
    ("", None, GREEN, ((3.4, 0.5), (5.25, 0.5))),
)
LOWER, FIRST, STEP = -0.95, 0.0, 1.05  # the lower line: its height, its first station, from one to the next
ASIDE = {"right": -24, "center": 0, "left": 2}  # points between a station and its words


def route_map() -> Figure:
    """The map of notebook 00: which notebook leads to which, and what the reader holds at the end of each."""
    upper = [station for station in STATIONS if station.place]
    lower = [station for station in STATIONS if not station.place]
    further = [station._replace(place=(FIRST + STEP * i, LOWER)) for i, station in enumerate(lower)]
    with style():
        figure, axes = new_figure(size=(9.6, 5.6))
        for name, at, color, corners in ROADS:
            axes.plot(*zip(*corners, strict=True), color=color, linewidth=5, solid_joinstyle="round", zorder=1)
            if at:
                axes.text(*at, name, color=color, ha="right", va="center", fontweight="bold")
        axes.plot([further[0].place[0], further[-1].place[0]], [LOWER, LOWER], color=PINK, linewidth=5, zorder=1)
        axes.text(-1.05, LOWER + 0.42, "further, in any order", color=MUTED, fontweight="bold")
        for station in upper + further:
            _draw(axes, station)
        axes.set(xlim=(-1.1, 5.9), ylim=(-1.35, 1.32), title="Two roads, a service and a model, meet in notebook 04")
        axes.axis("off")
    return figure


def _draw(axes: Axes, station: Station) -> None:
    number, color, does, has, place, side = station
    axes.scatter(*place, s=900, color="white", edgecolor=color, linewidth=4, zorder=2)
    axes.text(*place, number, ha="center", va="center", fontweight="bold", zorder=3)
    words = {"ha": side, "textcoords": "offset points", "zorder": 3}
    above, below = (3, -2) if side == "right" else (23, -23)
    axes.annotate(does, place, xytext=(ASIDE[side], above), va="bottom", fontweight="bold", **words)
    axes.annotate(has, place, xytext=(ASIDE[side], below), va="top", fontsize=11, **words)
