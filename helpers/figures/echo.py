"""Figure of notebook 01: who can call a service."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from helpers.figures.style import BLUE, GREEN, INK, MUTED, boxed_text, new_figure, style


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
