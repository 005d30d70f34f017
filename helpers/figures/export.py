"""Figures of notebook 03: what each file format differs by, and what it costs."""

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from helpers.figures.style import BLUE, ORANGE, headline, label_bars, new_figure, percent, style


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

    `costs` is a table with the columns format, memory_mb, load_s and latency_ms, as `parity` returns it; a format that
    was not measured is left out.
    """
    costs = costs.dropna()
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
        headline(figure, f"Without TensorFlow a process needs as little as {percent(least / most)} of the memory")
    return figure
