"""Figures: what they show is in the arrays, and a title says what it shows."""

import re
from io import BytesIO

import matplotlib.pyplot as plt
import notebook_tools as tools
import numpy as np
import pytest
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.figure import Figure

from helpers.figures import batch, pictures, replacing, route, scaling, serving, speed, style, watching
from helpers.figures import training as figures


@pytest.fixture(scope="module")
def rows():
    """Labels of 600 rows, good probabilities for them, and worse ones."""
    random = np.random.default_rng(0)
    y = random.random(600) < 0.3
    good, worse = (1 / (1 + np.exp(1 - 2 * y - random.normal(size=600) * spread)) for spread in (1, 3))
    return y.astype("float32"), good, worse


@pytest.fixture
def history():
    """Eight epochs; the validation loss is lowest in the third."""
    return {
        "loss": [0.9, 0.6, 0.5, 0.45, 0.4, 0.38, 0.36, 0.35],
        "auc": [0.5, 0.7, 0.75, 0.78, 0.8, 0.81, 0.82, 0.83],
        "val_loss": [0.8, 0.6, 0.55, 0.56, 0.58, 0.6, 0.61, 0.62],
        "val_auc": [0.6, 0.7, 0.74, 0.74, 0.73, 0.73, 0.72, 0.72],
    }


def words(figure: Figure) -> str:
    """Everything that is written in a figure."""
    figure.canvas.draw()
    found = [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]
    return "\n".join(filter(None, found))


def all_figures(rows, history) -> dict[str, Figure]:
    y, good, worse = rows
    scores = {"network": good, "logistic regression": worse}
    return {
        "correlations": figures.correlations(["a", "b"], np.array([0.1, -0.3]), "label"),
        "learning_curves": figures.learning_curves(history),
        "epoch_times": speed.epoch_times({"fit": 0.5, "compiled": 0.04}),
        "epoch_times with a limit": speed.epoch_times({"fit": 0.5, "compiled": 0.04, "least": 0.01}, limit="least"),
        "metric_and_auc": figures.metric_and_auc({"the article's metric": (0.81, 0.81), "exact AUC": (0.81, 0.5)}),
        "roc": figures.roc(y, scores),
        "precision_recall": figures.precision_recall(y, scores),
        "calibration": figures.calibration(y, good),
        "predictions": figures.predictions(y, good),
        "threshold_choice": figures.threshold_choice(y, good, 0.5),
        "sizes": scaling.sizes({"with TensorFlow": 2_000_000_000, "with ONNX Runtime": 100_000_000}, 250_000_000),
        "cold_and_warm": scaling.cold_and_warm([0.3, 0.2, 0.4], [0.001, 0.002, 0.0009]),
        "costs": scaling.costs([1e4, 1e9], {"a machine": [(20, 30), (200, 300)], "a function": [(0.01, 0.02)] * 2}),
    }


def test_every_figure_has_a_title_labelled_axes_and_text_that_can_be_read(rows, history):
    for name, figure in all_figures(rows, history).items():
        titles = [axes.get_title(loc="left") for axes in figure.axes] + [figure.get_suptitle()]
        assert any(len(title.split()) >= 4 for title in titles), name
        assert any(axes.get_xlabel() for axes in figure.axes) or name == "threshold_choice", name
        figure.canvas.draw()
        sizes = [t.get_fontsize() for t in figure.findobj(lambda a: hasattr(a, "get_fontsize")) if t.get_text()]
        assert min(sizes) >= 11, name
        assert figure.dpi == 100 and figure.get_figwidth() <= 10, name


def test_figures_leave_nothing_open_and_the_readers_settings_alone(rows, history):
    before = dict(plt.rcParams)
    all_figures(rows, history)
    assert plt.get_fignums() == []
    assert dict(plt.rcParams) == before


def test_the_colours_can_be_told_apart_without_seeing_colour():
    """Lightness (CIE L*) of what stands beside each other: blue lines, orange lines, the grey of references."""

    def lightness(color):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
        return 116 * float(np.dot([0.2126, 0.7152, 0.0722], linear)) ** (1 / 3) - 16

    assert abs(lightness(style.BLUE) - lightness(style.ORANGE)) > 15
    assert lightness(style.MUTED) < 50 < lightness(style.FAINT)


def test_learning_curves_name_their_lines_and_mark_the_best_epoch(history):
    text = words(figures.learning_curves(history))
    assert "training" in text and "validation" in text and "best: 3" in text
    assert "Validation loss is lowest at epoch 3; after it only the training rows improve" in text
    still = history | {"loss": [0.9, 0.6, *[0.5] * 6]}
    assert "Validation loss is lowest at epoch 3" in words(figures.learning_curves(still)).splitlines()
    figure = figures.learning_curves({name: values[:3] for name, values in history.items()})
    assert all(float(at).is_integer() for axes in figure.axes for at in axes.get_xticks())


def test_the_best_epoch_is_named_where_no_curve_runs(history):
    """At the edge of the axes: at the bottom of the loss, where training ends, and at the top of the AUC."""
    for curves in (history, history | {"val_loss": sorted(history["val_loss"], reverse=True)}):
        figure = figures.learning_curves(curves)
        figure.canvas.draw()
        for axes in figure.axes:
            (label,) = (text for text in axes.texts if text.get_text().startswith("best"))
            box = label.get_window_extent()
            for line in axes.lines[:2]:
                points = axes.transData.transform(line.get_xydata())
                x = np.linspace(box.x0, box.x1, 50)
                y = np.interp(x, *points.T)
                assert not np.any((box.y0 < y) & (y < box.y1) & (x <= points[-1][0])), label.get_text()


@pytest.mark.parametrize("shape", [(1.2, 3), (8, 1), (1, 60)], ids=["flat", "high", "low"])
def test_the_training_data_is_named_above_its_outline(shape):
    training = np.random.default_rng(0).beta(*shape, 2000)
    first = batch.scores(training, {"Last month": training, "Without age": np.sqrt(training)}).axes[0]
    (label,) = first.texts
    first.figure.canvas.draw()
    box, outline = label.get_window_extent(), first.transData.transform((0, first.dataLim.ymax))
    assert outline[1] < box.y0 and box.y1 < first.bbox.y1, "on the bars, or on the title"
    assert first.bbox.x0 - 1 <= box.x0 and box.x1 <= first.bbox.x1 + 1


def test_names_that_are_whole_questions_and_dollars_leave_the_figures_as_they_are(rows):
    questions = [f"How satisfied were you with {what}, from one to five?" for what in ("us", "the service", "$^$")]
    minutes = [0, 5, 10]
    y, good, _ = rows
    for figure in (
        figures.correlations(questions, np.array([0.3, 0.2, -0.1]), questions[0]),
        figures.predictions(y, good, questions[2]),
        batch.scores(good, {"Last month": good, f"Without {questions[2]}": good**2}),
        watching.drift(minutes, [0.01, 0.1, 0.3], {name: [0.01, 0.1, 0.3] for name in questions}, None),
    ):
        style.png(figure)  # lays it out
        written = words(figure)
        assert "How sat" in written and "five?" in written and max(map(len, written.splitlines())) < 100
        whole, axes = figure.bbox, figure.axes[-1]
        assert axes.bbox.width > 0.25 * whole.width
        for text in (axes.title, axes.xaxis.label, *axes.get_yticklabels(), *axes.texts):
            box = text.get_window_extent()
            assert whole.x0 <= box.x0 and box.x1 <= whole.x1, text.get_text()


def test_the_figures_call_what_is_predicted_by_its_name(rows):
    y, good, _ = rows
    assert "positive (leaving us)" in words(figures.predictions(y, good, "leaving us"))
    assert "says most about leaving us" in words(figures.correlations(["a", "b"], np.array([0.1, -0.3]), "leaving us"))
    told = words(figures.threshold_choice(y, good, 0.5))
    assert "of the positives found" in told and "label" not in told


def test_learning_curves_follow_a_training_under_way(history):
    first = {name: values[:1] for name, values in history.items()}
    assert "Epoch 1 of 8" in words(figures.learning_curves(first, epochs=8))
    figure = figures.learning_curves({name: values[:5] for name, values in history.items()}, epochs=8)
    assert figure.axes[0].get_xlim()[1] == 8.5


def test_learning_curves_work_without_validation(history):
    text = words(figures.learning_curves({"loss": history["loss"], "auc": history["auc"]}))
    assert "training" in text and "validation" not in text


def test_learning_that_goes_well_is_not_called_overfitting(history):
    history["val_loss"] = sorted(history["val_loss"], reverse=True)
    assert "improve together" in words(figures.learning_curves(history))


def test_only_the_strongest_correlations_are_drawn_strongest_first():
    values = np.linspace(-0.5, 0.4, 300)
    figure = figures.correlations([f"f{i}" for i in range(300)], values, "churned")
    text = words(figure)
    assert len(figure.axes[0].patches) == 12
    assert "f0 says most about churned" in text and "12 of 300 features" in text and "-0.50" in text


def test_the_words_in_a_calibration_lie_on_no_group(rows):
    """Groups may lie anywhere: low, as of rare positives, or high, as of a model that is sure."""
    y, good, _ = rows
    for probability in (good, good * 0.1, np.sqrt(good)):
        figure = figures.calibration(y, probability, positives="right answers")
        figure.canvas.draw()
        (axes,), (label,) = figure.axes, figure.axes[0].texts
        box = label.get_window_extent()
        bars = [axes.transData.transform(bar) for bar in axes.collections[0].get_segments()]
        assert not [x for (x, low), (_, high) in bars if box.x0 < x < box.x1 and low < box.y1 and high > box.y0]
        assert axes.get_ylabel() == "observed share of right answers"


def test_a_curve_at_the_top_is_named_below_it_and_no_auc_above_1_is_marked(rows):
    y, good, _ = rows
    scores = {"network": y, "logistic regression": good + y}  # both without a mistake
    axes = figures.precision_recall(y, scores).axes[0]
    axes.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in axes.texts if text.get_text() in scores]
    assert len(boxes) == 2 and not boxes[0].overlaps(boxes[1])
    assert all(box.y1 <= axes.transData.transform((0, 1))[1] for box in boxes)
    assert max(figures.roc(y, scores).axes[1].get_xticks()) <= 1


def test_guessing_at_rare_positives_is_named_within_the_axes_and_not_called_none():
    y = np.repeat([0.0, 1.0], [997, 3])
    axes = figures.precision_recall(y, {"network": np.linspace(0, 1, 1000)}).axes[0]
    axes.figure.canvas.draw()
    (label,) = (text for text in axes.texts if text.get_text() == "guessing: 0.3 %")
    assert label.get_window_extent().y0 > axes.bbox.y0
    assert [style.percent(share) for share in (0, 0.16, 0.997, 1)] == ["0 %", "16 %", "99.7 %", "100 %"]


def test_curves_that_cross_are_named_beside_all_of_them(rows):
    y, good, worse = rows
    for share in (0.02, 0.2, 0.5, 1):
        scores = {"network": good, "logistic regression": good + share * worse}
        axes = figures.precision_recall(y, scores).axes[0]
        style.png(axes.figure)  # lays it out
        curves = [axes.transData.transform(line.get_xydata()) for line in axes.lines[1:]]
        for box in (text.get_window_extent() for text in axes.texts if text.get_text() in scores):
            for curve in curves:
                within = curve[(box.x0 <= curve[:, 0]) & (curve[:, 0] <= box.x1), 1]
                assert not np.any((box.y0 < within) & (within < box.y1))


def test_the_shares_on_an_axis_are_written_as_they_are(rows):
    y, good, _ = rows
    for probability in (good, good * 0.5, np.sqrt(good), good**3):
        figure = figures.predictions(y, probability)
        figure.canvas.draw()
        for axes in figure.axes:
            written = [float(label.get_text().removesuffix(" %")) for label in axes.get_yticklabels()]
            assert written == pytest.approx((100 * axes.get_yticks()).tolist())


def test_the_titles_say_what_was_found(rows):
    y, good, worse = rows
    assert "ranks better than the logistic regression" in words(
        figures.roc(y, {"network": good, "logistic regression": worse})
    )
    assert "ranks worse than the logistic regression" in words(
        figures.roc(y, {"network": worse, "logistic regression": good})
    )
    near = good + np.random.default_rng(1).normal(0, 0.01, len(good))
    for one, other in ((good, near), (near, good)):  # one of them has the higher AUC, by chance
        assert "do not tell whether the network ranks better" in words(figures.roc(y, {"network": one, "other": other}))
    for last, said in (
        (0.05, "The scores stay near"),
        (0.2, "The scores moved some way"),
        (0.3, "left the training's"),
    ):
        assert said in words(watching.drift([0, 5], [0.01, last], {"age": [0.01, last]}, None))
    assert "Too high on the whole" in words(figures.calibration(y, np.clip(good + 0.2, 0, 1)))
    assert "Too low on the whole" in words(figures.calibration(y, good * 0.3))
    exact = {"exact AUC": (0.81, 0.5)}
    assert "The metric does not notice" in words(figures.metric_and_auc({"the metric": (0.81, 0.8)} | exact))
    assert "The metric notices" in words(figures.metric_and_auc({"the metric": (0.81, 0.51)} | exact))
    assert "12 times as fast" in words(speed.epoch_times({"fit": 0.48, "compiled": 0.04}))
    assert {"512 ms", "2.1 ms", "0.39 ms"} <= set(
        words(speed.epoch_times({"fit": 0.5123, "compiled": 0.0021, "least": 0.00039}, limit="least")).splitlines()
    )
    times = {"fit": 0.48, "compiled": 0.04, "least": 0.01}
    assert "12 times as fast, and 25 % of what is left" in words(speed.epoch_times(times, limit="least"))
    assert "of what is left" not in words(speed.epoch_times(times, limit="fit"))  # disturbed while it was measured


def test_the_threshold_figure_shows_the_counts_and_the_point_on_the_curve():
    y, prob = [1, 1, 1, 0, 0, 0, 0, 0], [0.9, 0.8, 0.2, 0.7, 0.1, 0.1, 0.1, 0.1]
    figure = figures.threshold_choice(y, prob, threshold=0.5)
    curve, point = figure.axes[0].lines
    assert point.get_xydata().tolist() == [[1 / 5, 2 / 3]]
    assert [1 / 5, 2 / 3] in curve.get_xydata().tolist()
    counts = [text.get_text() for text in figure.axes[1].texts if text.get_text().isdigit()]
    assert counts == ["2", "1", "1", "4"]
    for nobody_or_all in (0.0, 1.0):
        words(figures.threshold_choice(y, prob, nobody_or_all))


def test_a_figure_becomes_a_png():
    assert style.png(speed.epoch_times({"a": 1.0, "b": 2.0})).startswith(b"\x89PNG")
    assert plt.imread(BytesIO(style.png(speed.epoch_times({"a": 1.0, "b": 2.0})))).shape[1] == 860


def test_the_map_shows_every_notebook_and_the_lower_line_has_room_for_the_rest(monkeypatch):
    assert [station.number for station in route.STATIONS] == [path.name[:2] for path in tools.NOTEBOOKS]
    there = {station.number for station in route.STATIONS}
    lacking = [number for number in map("{:02}".format, range(12)) if number not in there]
    more = [route.STATIONS[-1]._replace(number=number) for number in lacking]
    monkeypatch.setattr(route, "STATIONS", (*route.STATIONS, *more))
    figure = route.route_map()
    assert {f"{number:02}" for number in range(12)} <= set(words(figure).splitlines())
    whole = figure.bbox
    for text in figure.axes[0].texts:
        box = text.get_window_extent()
        assert whole.contains(box.x0, box.y0) and whole.contains(box.x1, box.y1), text.get_text()


@pytest.fixture
def told_apart():
    """30 pictures of three classes and what a model says: the first of the second class is surely wrong."""
    shown = np.random.default_rng(0).integers(0, 256, (30, 28, 28), np.uint8)
    labels = np.repeat([0, 1, 2], 10)
    probabilities = np.full((30, 3), 0.1)
    probabilities[np.arange(30), labels] = 0.8
    probabilities[10] = 0.02, 0.01, 0.97
    return shown, probabilities, labels, ("boot", "bag", "coat")


def test_mistakes_are_counted_named_and_shown(told_apart):
    text = words(pictures.mistakes(*told_apart))
    assert "1 of 30 are wrong, most often a bag taken for a coat" in text
    assert "bag,\nsaid coat\n97 % sure" in text


def test_a_model_without_mistakes_has_a_figure_too(told_apart):
    shown, probabilities, labels, names = told_apart
    figure = pictures.mistakes(shown, np.eye(3)[labels], labels, names)
    assert "0 of 30 are wrong" in words(figure) and "most often" not in words(figure)


def test_the_way_that_misleads_most_is_the_title(told_apart):
    small, large = np.zeros((28, 28), np.uint8), np.full((56, 56), 65_535, np.uint16)
    figure = pictures.otherwise_saved({"as ever": (small, 0.9, 0.9), "on white": (large, 0.1, 0.8)})
    text = words(figure)
    assert "On white: 10 % right, and 80 % sure" in text and "90 % right" in text
    assert len(figure.axes[0].artists) == 2


def test_a_gallery_has_a_column_for_each_class(told_apart):
    shown, _, labels, names = told_apart
    figure = pictures.gallery(shown, labels, names, each=2)
    assert len(figure.axes) == 6 and all(axes.images for axes in figure.axes)


def test_the_fewest_processes_that_are_enough_are_the_title():
    assert "2 processes do 1.8 times the work of 1" in words(serving.load_by_processes({1: 1000, 2: 1800, 4: 1850}, 2))
    assert "hardly more here than one" in words(serving.load_by_processes({1: 1000, 2: 1020, 4: 1050}, 1))


def test_the_requests_by_version_say_what_was_lost_and_name_what_was_done():
    seconds = np.arange(0, 6, 0.01)
    versions = np.where((seconds >= 2) & (seconds < 4), "b", "a")
    names, marks = {"a": "the old version", "b": "the new version"}, {"promoted": 2.0, "rolled back": 4.0}
    figure = replacing.requests_by_version(seconds, versions, np.full(600, 200), names, marks)
    said = words(figure)
    assert "Of 600 requests to a model that was replaced twice none was lost" in said
    assert {"promoted", "rolled back", "the new\nversion"} <= set(re.split(r"\n(?!version)", said))
    [old, new] = [patch for patch in figure.axes[0].patches if hasattr(patch, "get_data")]
    assert old.get_data().values[[4, 12, 20]].tolist() == [1, 0, 1] and new.get_data().values.tolist() == [1] * 24
    lost = replacing.requests_by_version(seconds, versions, [200] * 597 + [0, 503, 0], names, marks)
    assert "3 were lost" in words(lost)


def test_the_sizes_say_how_much_of_the_limit_the_smallest_takes_and_mark_what_is_over_it():
    figure = scaling.sizes({"with TensorFlow": 2_000_000_000, "with ONNX Runtime": 100_000_000}, 250_000_000)
    text = words(figure)
    assert "With ONNX Runtime the service takes 40 % of what Lambda does" in text
    assert {"2,000 MB", "100 MB", "  Lambda takes 250 MB"} <= set(text.splitlines())
    large, small = figure.axes[0].patches
    assert (large.get_facecolor(), small.get_facecolor()) == (to_rgba(style.ORANGE), to_rgba(style.BLUE))
    assert (large.get_width(), small.get_width()) == (2000, 100)
    line = figure.axes[0].transData.transform((250, 0))[0]
    assert all(text.get_window_extent().x0 >= line for text in figure.axes[0].texts)
    assert "the service does not fit" in words(scaling.sizes({"with TensorFlow": 2_000_000_000}, 250_000_000))


def test_a_start_is_held_against_the_answers_after_it():
    figure = scaling.cold_and_warm([0.3, 0.2, 0.4], [0.001, 0.002, 0.0009])
    text = words(figure)
    assert "A start takes some 300 times as long as an answer" in text
    assert {"median 300 ms", "median 1 ms"} <= set(text.splitlines())
    cold, warm = figure.axes[0].lines
    assert cold.get_xdata().tolist() == pytest.approx([300, 200, 400])
    assert warm.get_xdata().tolist() == pytest.approx([1, 2, 0.9])
    box = figure.bbox
    for label in figure.axes[0].texts:
        extent = label.get_window_extent()
        assert box.x0 <= extent.x0 and extent.x1 <= box.x1, label.get_text()


def test_the_costs_are_bands_per_million_named_at_their_ends():
    loads = [1e4, 1e6, 1e9]
    figure = scaling.costs(loads, {"a machine": [(20, 30), (20, 30), (200, 300)], "a function": [(0.01, 0.02)] * 3})
    text = set(words(figure).splitlines())
    assert {"a machine", "a function"} <= text
    assert {"10 k", "1 M", "1,000 M"} <= {label.get_text() for label in figure.axes[0].get_xticklabels()}
    assert (
        "US dollars per million" in text
        and "Pay by the call while calls are few, by the hour once they are many" in text
    )
    machine, function = figure.axes[0].lines
    assert machine.get_ydata().tolist() == pytest.approx([2000, 20, 0.2])
    assert function.get_ydata().tolist() == pytest.approx([1, 0.01, 0.00001])
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx(3000) and band[:, 1].min() == pytest.approx(0.2)
