"""Figure of notebook 05: which port of an instance leads to what."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from helpers.figures.style import BLUE, GREEN, INK, MUTED, ORANGE, boxed_text, new_figure, style


def what_listens_where() -> Figure:
    """From the laptop through the security group to the instance: which port leads to what (a drawing)."""
    doors = [  # (port, colour, what listens, on which address, where the way ends)
        ("5000", GREEN, "prediction service", "0.0.0.0:5000", 3.9),
        ("22", BLUE, "SSH", "0.0.0.0:22", 2.3),
        ("no rule", MUTED, "JupyterLab", "127.0.0.1:8888", 0.7),
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
        boxed_text(axes, 1.5, 2.3, "ssh -L 8888:\n127.0.0.1:8888", BLUE)
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
