"""Figure of notebook 09: how far requests lie from the training, and when somebody is called."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from helpers.data.distribution import LARGE, SOME
from helpers.figures.style import (
    BLUE,
    FAINT,
    INK,
    MUTED,
    ORANGE,
    headline,
    label_line,
    new_figure,
    shortened,
    spread_apart,
    style,
)

LEAST = 1e-3  # below it there is nothing to see
NAMED = 3  # features whose lines are named; the others are drawn in grey


def drift(
    minutes: Sequence[float], scores: Sequence[float], features: Mapping[str, Sequence[float]], called: float | None
) -> Figure:
    """The population stability index of the scores and of each feature over time, on a log scale.

    minutes: when each was read. called: the minute of the alert, or None.
    """
    with style():
        figure, (left, right) = new_figure(1, 2, size=(11.0, 4.2), sharey=True)
        left.plot(minutes, scores, color=ORANGE, marker="o", markersize=4)
        ends = {name: values[-1] for name, values in features.items()}
        furthest = sorted(ends, key=ends.__getitem__, reverse=True)[:NAMED]
        for name, values in features.items():
            named = name in furthest
            right.plot(minutes, values, color=BLUE if named else FAINT, zorder=3 if named else 2)
        for name, y in zip(furthest, spread_apart([max(ends[name], LEAST) for name in furthest], 1.6), strict=True):
            label_line(right, minutes[-1], y, shortened(name), BLUE)
        for axes, title in ((left, "the scores"), (right, "each feature")):
            for threshold, words in ((SOME, "some"), (LARGE, "large")):
                axes.axhline(threshold, color=MUTED, linestyle="--", linewidth=1.2)
                axes.annotate(words, (minutes[0], threshold), (5, 2), textcoords="offset points", color=MUTED)
            axes.set(xlabel="minutes", yscale="log", xlim=(minutes[0], minutes[-1]), ylim=(LEAST, None))
            axes.set_title(title, fontsize=12)
        left.set_ylabel("population stability index")
        if called is not None:
            left.axvline(called, color=INK, linewidth=1.2)
            label_line(left, called, left.get_ylim()[0] * 1.5, "alert", INK, xytext=(-38, 0))
        past = next((minute for minute, index in zip(minutes, scores, strict=True) if index > LARGE), None)
        said = (
            f"the scores left the training's after {past:.0f} minutes"
            if past is not None
            else "the scores moved some way from the training's"
            if max(scores) > SOME
            else "the scores stay near the training's"
        )
        end = "" if called is None else f"; somebody is called {called - past:.0f} minutes later"
        headline(figure, said[0].upper() + said[1:] + end)
    return figure
