"""The README's numbers and pictures are those of the committed runs."""

import json
import re

import notebook_tools as tools
import pytest
from PIL import Image

from helpers import PROJECT
from helpers.tools import readme

README = (PROJECT / "README.md").read_text(encoding="utf-8")
BENCH = json.loads((readme.IMAGES / "bench.json").read_text())


def test_what_it_says_of_speed_is_what_bench_measured():
    assert readme.START + readme.speed_section(BENCH) + readme.END in README, (
        "the README tells other numbers than notebooks/images/bench.json: run `python3 tutorial.py bench --publish`"
    )


def test_no_figure_of_speed_stands_outside_of_that_section():
    before, _, rest = README.partition(readme.START)
    elsewhere = before + rest.partition(readme.END)[2]
    assert re.findall(r"\d[\d.,]* (?:ms|requests)\b|\d[\d.]* times", elsewhere) == []


def test_a_worker_on_keras_takes_about_what_is_said():
    assert "Keras, which takes 0.6 to 0.9 GB a worker" in README
    figure = next(f for f in BENCH["figures"] if f["baseline"] == "a Keras process")
    assert 600 < figure["baseline_value"] < 900  # MB


def test_a_changed_number_is_found(tmp_path):
    """The section follows bench.json: another measurement gives another text."""
    changed = json.loads(json.dumps(BENCH))
    changed["figures"][0]["value"] *= 2
    (tmp_path / "bench.json").write_text(json.dumps(changed))
    (tmp_path / "README.md").write_text(README)
    readme.write_speed_section(tmp_path / "bench.json", tmp_path / "README.md")
    written = (tmp_path / "README.md").read_text()
    assert written != README
    readme.write_speed_section(readme.IMAGES / "bench.json", tmp_path / "README.md")
    assert (tmp_path / "README.md").read_text() == README


@pytest.mark.parametrize(("load", "said"), [(0.3, False), (6.0, True)], ids=["quiet", "busy"])
def test_it_says_when_the_machine_was_busy(load, said):
    measured = {**BENCH, "machine": {**BENCH["machine"], "load": load, "cores": 2}}
    assert ("busy with other programs, a load of 6" in readme.speed_section(measured)) == said


def test_what_was_measured_of_batches_is_a_table_of_its_own_that_says_what_is_warm():
    names = ("what", "value", "unit", "baseline", "baseline_value", "ratio", "note")
    figure = dict(zip(names, ("batches, Apache Spark warm", 2.4e6, "rows/s", "one process", 3e6, 0.8, ""), strict=True))
    section = readme.speed_section({**BENCH, "figures": [*BENCH["figures"], figure]})
    without = readme.speed_section({**BENCH, "figures": [f for f in BENCH["figures"] if "batches" not in f["what"]]})
    assert section.startswith(without) and section.endswith(
        "| Apache Spark warm | 2,400,000 | one process: 3,000,000 | 0.80 |\n"
    )
    assert "then a\nsession is timed that has scored" in section and "warm" not in without


def test_a_readme_without_the_marks_is_said(tmp_path):
    (tmp_path / "README.md").write_text("# No marks\n")
    with pytest.raises(ValueError, match="has lost the marks"):
        readme.write_speed_section(readme.IMAGES / "bench.json", tmp_path / "README.md")


def test_the_picture_of_the_page_shows_the_probability_that_the_notebooks_show():
    shown = Image.open(readme.IMAGES / "service.png").text["Probability"]
    for path in tools.NOTEBOOKS[3:5]:
        assert re.search(rf"\b{shown}", tools.all_text(path)), f"{path.name} does not show {shown}: renew all notebooks"


@pytest.mark.browser
def test_the_picture_is_taken_of_the_page_that_answers(exported, tmp_path, free_port):
    from helpers.export.predictors import load_predictor

    if readme.find_chromium() is None:
        pytest.skip(readme.CHROMIUM)
    readme.take_picture_of_the_page(exported, tmp_path / "service.png", free_port)
    picture = Image.open(tmp_path / "service.png")
    predictor = load_predictor(exported)
    assert picture.size == (780, 580)
    probability = predictor(predictor.signature.parse(predictor.signature.example()))[0]
    assert picture.text["Probability"] == f"{probability:.4f}"
