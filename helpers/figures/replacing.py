"""Figure of notebook 10: which version answered while a model was replaced, and taken back."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from helpers.figures.style import BLUE, INK, ORANGE, label_line, new_figure, percent, style

BIN = 0.25  # seconds


def requests_by_version(
    seconds: Sequence[float], versions: Sequence[str], statuses: Sequence[int], names: Mapping[str, str], marks: Mapping
) -> Figure:
    """The share of the answers that came from each version over time, and what was done when.

    One entry for each request: when it was sent, which version answered with which status. names: {version: what it
    is called}, in the order in which they are stacked. marks: {what was done: seconds}.
    """
    seconds, versions = np.asarray(seconds), np.asarray(versions)
    edges = np.arange(0, seconds.max() + BIN, BIN)
    counts = np.array([np.histogram(seconds[versions == version], edges)[0] for version in names])
    shares = counts / np.maximum(counts.sum(axis=0), 1)
    lost = sum(status != 200 for status in statuses)
    with style():
        figure, axes = new_figure(size=(9.0, 3.9))
        below = np.zeros(len(edges) - 1)
        for (name, share), color in zip(zip(names.values(), shares, strict=True), (BLUE, ORANGE), strict=True):
            axes.stairs(below + share, edges, baseline=below, fill=True, color=color, label=name)
            below = below + share
        for place, (what, at) in enumerate(marks.items()):
            axes.axvline(at, color=INK, linestyle="--", linewidth=1.2)
            label_line(axes, at, (1.04, 1.12)[place % 2], what, fontsize=11, fontweight="normal", xytext=(-2, 0))
        for name, share in zip(names.values(), shares, strict=True):
            begin, end = _longest(share > 0.5)
            where = (edges[begin] + edges[end]) / 2
            axes.text(where, 0.4, name.replace(" version", "\nversion"), color="white", ha="center", fontweight="bold")
        axes.set(xlim=(0, edges[-1]), ylim=(0, 1), xlabel="time (s)", ylabel="share of the answers")
        axes.yaxis.set_major_formatter(lambda value, _: percent(value))
        said = "none was lost" if not lost else f"{lost:,} were lost"
        axes.set_title(f"Of {len(seconds):,} requests to a model that was replaced twice {said}", pad=42)
        axes.grid(visible=False)
    return figure


def _longest(there: np.ndarray) -> tuple[int, int]:
    """Where the longest run of True begins and ends."""
    changes = np.flatnonzero(np.diff(np.concatenate([[False], there, [False]]).astype(int)))
    runs = list(zip(changes[::2], changes[1::2], strict=True))
    return max(runs, key=lambda run: run[1] - run[0], default=(0, len(there)))
