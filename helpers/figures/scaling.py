"""Figures of notebook 07: what fits into a function, how it starts, and what each way to serve costs."""

import statistics
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from helpers.figures.style import (
    BLUE,
    GREEN,
    MUTED,
    ORANGE,
    PINK,
    label_line,
    new_figure,
    percent,
    spread_apart,
    style,
)


def sizes(bytes_by_name: Mapping[str, int], limit: int) -> Figure:
    """What each way to pack a service takes unpacked, as bars beside the `limit`; those over it in another colour."""
    names, values = list(bytes_by_name), [size / 1e6 for size in bytes_by_name.values()]
    most = limit / 1e6
    with style():
        figure, axes = new_figure(size=(8.0, 0.6 * len(names) + 1.4))
        bars = axes.barh(names, values, color=[ORANGE if value > most else BLUE for value in values], height=0.6)
        axes.axvline(most, color=MUTED, linestyle="--", linewidth=1.5, zorder=0)
        for bar, value in zip(bars, values, strict=True):  # a short one's label would stand on the line of the limit
            end = max(value, most), bar.get_y() + bar.get_height() / 2
            axes.annotate(f"{value:,.0f} MB", end, (6, 0), textcoords="offset points", va="center", fontsize=11)
        axes.text(most, 0.5, f"  Lambda takes {most:.0f} MB", color=MUTED, va="center")
        axes.set(xlim=(0, 1.18 * max(values)), xlabel="unpacked (MB)")
        fits = f"takes {percent(min(values) / most)} of what Lambda does" if min(values) <= most else "does not fit"
        smallest = names[values.index(min(values))]
        axes.set_title(f"{smallest[0].upper()}{smallest[1:]} the service {fits}")
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
    return figure


def cold_and_warm(cold: Sequence[float], warm: Sequence[float]) -> Figure:
    """Each start's first answer and each answer after it, in seconds, as points on a log scale of milliseconds."""
    rows = {"first answer,\nwith the start": (cold, ORANGE), "each answer\nafter it": (warm, BLUE)}
    medians = [statistics.median(values) * 1000 for values, _ in rows.values()]
    with style():
        figure, axes = new_figure(size=(8.0, 2.7))
        for place, ((values, color), median) in enumerate(zip(rows.values(), medians, strict=True)):
            spread = [place + 0.3 * ((7 * i) % 11 - 5) / 10 for i in range(len(values))]  # beside one another
            axes.plot([value * 1000 for value in values], spread, "o", color=color, alpha=0.5, markersize=5)
            text = f"median {median:,.0f} ms" if median >= 10 else f"median {median:.2g} ms"
            axes.text(median, place - 0.27, text, ha=("right", "left")[place], va="bottom", fontweight="bold")
        axes.set(xscale="log", xlabel="time to the answer (ms, log scale)", ylim=(1.4, -0.65))
        axes.set_yticks(range(len(rows)), list(rows))
        axes.xaxis.set_major_formatter(FuncFormatter(_plain))
        times = float(f"{medians[0] / medians[1]:.1g}")
        axes.set_title(f"A start takes some {times:,.0f} times as long as an answer")
        axes.grid(axis="y", visible=False)
    return figure


def costs(loads: Sequence[float], dollars: Mapping[str, Sequence[tuple[float, float]]]) -> Figure:
    """Dollars per million predictions over predictions a month, a band from the cheapest to the dearest region."""
    colors = (BLUE, ORANGE, GREEN, PINK)
    with style():
        figure, axes = new_figure(size=(9.0, 4.6))
        ends = []
        for (name, ranges), color in zip(dollars.items(), colors, strict=False):
            low, high = ([each[end] / load * 1e6 for load, each in zip(loads, ranges, strict=True)] for end in (0, 1))
            axes.fill_between(loads, low, high, color=color, alpha=0.35, linewidth=0)
            axes.plot(loads, low, color=color)
            ends.append((low[-1], name, color))
        places = spread_apart([end for end, _, _ in ends], 1.9)
        for place, (_, name, color) in zip(places, ends, strict=True):
            label_line(axes, loads[-1], place, name, color)
        axes.set(xscale="log", yscale="log", xlim=(loads[0], loads[-1]), xlabel="predictions a month (log scale)")
        axes.set_ylabel("US dollars per million\n(log scale)")
        axes.xaxis.set_major_formatter(FuncFormatter(_short))
        axes.yaxis.set_major_formatter(FuncFormatter(_plain))
        axes.set_title("Pay by the call while calls are few, by the hour once they are many")
    return figure


def _plain(value: float, _) -> str:
    return f"{value:,g}"


def _short(value: float, _) -> str:
    """1000000 as "1 M"."""
    return f"{value / 1e6:,g} M" if value >= 1e6 else f"{value / 1e3:g} k"
