"""Figures of notebook 11: how long an epoch takes in different ways, and how near the fastest comes to its limit."""

from matplotlib.figure import Figure

from helpers.figures.style import BLUE, FAINT, GREEN, MUTED, headline, label_bars, new_figure, percent, style


def epoch_times(seconds: dict[str, float], limit: str = "") -> Figure:
    """Bars of the seconds that an epoch takes in different ways, {"name of the way": seconds}, as measured.

    limit: the name among them that is no way to train but the time which none of them can beat.
    """
    names = list(seconds)[::-1]
    ways = {name: taken for name, taken in seconds.items() if name != limit}
    slowest, fastest = max(ways.values()), min(ways.values())
    with style():
        figure, axes = new_figure(size=(8.6, 1.4 + 0.5 * len(names)))
        colors = [GREEN if name == limit else BLUE if seconds[name] == fastest else FAINT for name in names]
        bars = axes.barh(names, [1000 * seconds[name] for name in names], color=colors, edgecolor=MUTED)
        label_bars(axes, bars, [_milliseconds(seconds[name]) for name in names])
        axes.grid(axis="y", visible=False)
        axes.margins(x=0.12)
        axes.set_xlabel("one epoch of training (milliseconds)")
        title = f"The same epoch can be {_times_as_fast(slowest / fastest)}"
        if limit and seconds[limit] < fastest:  # on a machine that others use, too, it may come out larger
            title += f", and {percent(seconds[limit] / fastest)} of what is left are matrix products"
        headline(figure, title)
    return figure


def _times_as_fast(ratio: float) -> str:
    return f"{ratio:.0f} times as fast" if ratio >= 3 else f"{ratio:.1f} times as fast"


def _milliseconds(seconds: float) -> str:
    """ "282 ms", "7.1 ms", "0.39 ms": whole ones where there are ten or more, else two digits."""
    return f"{1000 * seconds:.0f} ms" if seconds >= 0.01 else f"{1000 * seconds:.2g} ms"
