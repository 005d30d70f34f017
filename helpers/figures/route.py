"""Figure of notebook 00: the map of the route."""

from matplotlib.figure import Figure

from helpers.figures.style import BLUE, GREEN, MUTED, ORANGE, new_figure, style


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
