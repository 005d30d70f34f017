"""Figures of notebook 04 and of `tutorial.py bench`: latency, load, throughput."""

from matplotlib.figure import Figure

from helpers.figures.style import (
    BLUE,
    GREEN,
    MUTED,
    ORANGE,
    PINK,
    label_bars,
    label_line,
    new_figure,
    spread_apart,
    style,
)


def latency_by_backend(milliseconds: dict[str, float]) -> Figure:
    """One row's latency for each way to compute it, as bars on a log scale; `milliseconds` by name, slowest first."""
    names, values = list(milliseconds), list(milliseconds.values())
    with style():
        figure, axes = new_figure(size=(8.0, 0.55 * len(names) + 1.3))
        colors = [ORANGE if value == max(values) else BLUE for value in values]
        bars = axes.barh(names, values, color=colors, height=0.65)
        times = [f"{value:.0f} ms" if value >= 10 else f"{value:.2g} ms" for value in values]
        label_bars(axes, bars, times)
        axes.set(xscale="log", xlim=(min(values) / 3, max(values) * 6), xlabel="time for one row (ms, log scale)")
        ratio = max(values) / min(values)
        rounded = float(f"{ratio:.2g}")
        axes.set_title(f"{names[values.index(max(values))]} takes some {rounded:,.0f} times as long as the fastest")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
    return figure


def load_by_clients(clients, per_second, percentiles: dict[str, list[float]]) -> Figure:
    """Throughput (left) and latency percentiles in ms (right) over the number of clients at once.

    `percentiles` holds a line for each name ("p50": [...]), its values in the order of `clients`.
    """
    colors = [BLUE, GREEN, ORANGE, PINK]
    with style():
        figure, (left, right) = new_figure(1, 2, size=(10.0, 3.9))
        left.plot(clients, per_second, "o-", color=BLUE)
        left.set(
            ylim=(0, 1.15 * max(per_second)),
            ylabel="requests per second",
            title=f"{clients[0]} client: {per_second[0]:,.0f} requests/s, {clients[-1]} clients: {per_second[-1]:,.0f}",
        )
        for values, color in zip(percentiles.values(), colors, strict=False):
            right.plot(clients, values, "o-", color=color)
        spread = spread_apart([values[-1] for values in percentiles.values()], ratio=1.35)
        for name, at, color in zip(percentiles, spread, colors, strict=False):
            label_line(right, clients[-1], at, name, color, xytext=(9, 0))
        slower = max(values[-1] / values[0] for values in percentiles.values())
        right.set(ylabel="latency (ms, log scale)", yscale="log")
        right.set_ylim(top=1.5 * max(spread))  # the names stay below the title
        right.set_title(f"{clients[-1]} at once wait up to {slower:,.0f} times as long")
        right.yaxis.set_major_formatter("{x:g}")
        for axes in (left, right):
            axes.set(xscale="log", xlabel="clients at once")
            axes.set_xticks(clients, [str(count) for count in clients])
            axes.minorticks_off()
    return figure


def load_by_processes(per_second: dict[int, float], cores: int) -> Figure:
    """Requests per second as bars, by the number of processes, fewest first, on a machine of `cores`."""
    counts, values = list(per_second), list(per_second.values())
    enough = next(count for count, value in per_second.items() if value > 0.9 * max(values))
    with style():
        figure, axes = new_figure(size=(8.0, 3.6))
        bars = axes.bar([str(count) for count in counts], values, color=BLUE, width=0.55)
        label_bars(axes, bars, [f"{value:,.0f}" for value in values])
        axes.set(ylim=(0, 1.2 * max(values)), ylabel="requests per second")
        axes.set_xlabel(f"processes, on {cores} core{'s' if cores > 1 else ''}")
        more = f"{enough} processes do {per_second[enough] / values[0]:.1f} times the work of {counts[0]}"
        axes.set_title(more if enough > counts[0] else "More processes do hardly more here than one")
        axes.grid(axis="x", visible=False)
    return figure


def throughput_by_service(per_second: dict[str, float]) -> Figure:
    """Requests per second of each service as bars on a log scale; `per_second` by name, slowest first."""
    names, values = list(per_second), list(per_second.values())
    with style():
        figure, axes = new_figure(size=(8.5, 0.55 * len(names) + 1.3))
        colors = [ORANGE if "article" in name else BLUE if "predict" in name else MUTED for name in names]
        bars = axes.barh(names, values, color=colors, height=0.65)
        label_bars(axes, bars, [f"{value:,.0f}" for value in values])
        axes.set(xscale="log", xlim=(min(values) / 2, max(values) * 3), xlabel="requests per second (log scale)")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.set_title(f"From {values[0]:,.0f} to {values[-1]:,.0f} requests per second")
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
    return figure
