"""What the README tells of a run: its section on speed, written from `bench.json`, and the picture of the page.

Both come from committed files in `notebooks/images/`, made by one command each (CONTRIBUTING.md names them), so that
text, tables and pictures speak of the same run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from io import BytesIO
from pathlib import Path

from helpers import PROJECT
from helpers.tools.bench_peers import FASTAPI, FASTIFY

IMAGES = PROJECT / "notebooks" / "images"
START, END = "<!-- from notebooks/images/bench.json -->\n", "<!-- end of it -->\n"
CHROMIUM = "no Chromium or Chrome found: install one (`sudo apt install chromium`, `brew install --cask chromium`)"

SECTION = """\
`model.predict`, as the article called it, takes {model_predict:.0f} ms for one row. The service runs the same model on
ONNX Runtime in {onnx:.3f} ms and checks a request by look-ups, so that a prediction costs about as much as an echo.
Medians of one run of `python3 tutorial.py bench` on {cores} cores, single requests over 8 connections:

| | requests per second | beside it | ratio |
|---|---:|---:|---:|
{rows}

{busy}`serve` has its first answer {start:.1f} s after you typed it, in {worker:.0f} MB a worker, without TensorFlow. At
64 connections its p99 is {p99:.1f} ms, {tail:.1f} times its p50. The application is the plain Flask one of the
notebooks, where cheroot runs it; `serve` runs it on uvicorn. Before it lies a short lane that answers plain requests
(by address, JSON or form) with the same functions and to the same byte, and leaves all others to Flask, where a
prediction reaches {routed:.2f} of the echo. (Compare within a row: its two are loaded in turn, round by round, as a
machine that is shared is faster in one minute than in the next. The ratio is the median of the rounds' ratios, not that
of the two medians beside it. It swings by a fifth between runs; yours will differ. Peers serve the same file with as
many processes.)

![Requests per second of each service](notebooks/images/bench.png)

Training, too: {epochs} epochs of the network, compiling and exact AUC included, take {compiled:.1f} s where `model.fit`
with Keras's AUC takes {fit:.0f} s, {faster:.1f} times as fast. [Notebook 11](notebooks/11_train-faster.ipynb)
shows every line of it.
{batches}"""
BATCHES = """
`score` from Parquet to Parquet, without Python's imports and with an engine's start, unless it says warm: then a
session is timed that has scored some rows before. Polars and DuckDB run the same ONNX file.

| | rows per second | beside it | ratio |
|---|---:|---:|---:|
{rows}
"""
OF_BATCHES = "batches, "  # how the names of their figures begin
ROWS = {  # (what, baseline) in bench.json -> its words in the README; those of the peers are there after --peers only
    ("predict, tutorial.py serve", "article's way"): ("`/predict`, `tutorial.py serve`", "the article's way"),
    ("predict, tutorial.py serve", "echo, same server"): ("`/predict`, `tutorial.py serve`", "the echo, same server"),
    ("predict by JSON, tutorial.py serve", "by address"): ("JSON body, `tutorial.py serve`", "by address"),
    ("predict by address, tutorial.py serve", FASTAPI): ("by address, `tutorial.py serve`", FASTAPI),
    ("predict by JSON, tutorial.py serve", FASTAPI): ("JSON body, `tutorial.py serve`", FASTAPI),
    ("predict by address, tutorial.py serve", FASTIFY): ("by address, `tutorial.py serve`", FASTIFY),
    ("predict by JSON, tutorial.py serve", FASTIFY): ("JSON body, `tutorial.py serve`", FASTIFY),
    ("predict, notebook server", "echo, same server"): ("`/predict`, server in the notebook", "the echo, same server"),
    ("rows in lists of 1,000", "one by one"): ("rows, in lists of 1,000", "one row per request"),
}


def speed_section(bench: dict) -> str:
    """The section in Markdown; bench: the content of `bench.json`."""
    by_pair = {(figure["what"], figure["baseline"]): figure for figure in bench["figures"]}
    by_what = {figure["what"]: figure for figure in bench["figures"]}
    rows = []
    for pair, (what, beside) in ROWS.items():
        if pair not in by_pair:
            continue
        figure = by_pair[pair]
        ratio = f"{figure['ratio']:,.0f}" if figure["ratio"] >= 10 else f"{figure['ratio']:.2f}"
        rows.append(f"| {what} | {figure['value']:,.0f} | {beside}: {figure['baseline_value']:,.0f} | {ratio} |")
    tail = by_what["its p99 at 64 connections"]
    training = next(figure for figure in bench["figures"] if figure["what"].startswith("training, "))
    load, cores = bench["machine"].get("load", 0), bench["machine"]["cores"]
    busy = f"(The machine was busy with other programs, a load of {load:g}: a quiet one is faster.)\n\n"
    batches = [figure for figure in bench["figures"] if figure["what"].startswith(OF_BATCHES)]
    return SECTION.format(
        batches=_batches(batches) if batches else "",
        busy=busy if load > cores / 2 else "",
        cores=cores,
        rows="\n".join(rows),
        model_predict=by_what["one row, onnx"]["baseline_value"],
        onnx=by_what["one row, onnx"]["value"],
        start=by_what["from typing serve to its first answer"]["value"],
        worker=by_what["memory of its largest worker"]["value"],
        p99=tail["value"],
        tail=tail["value"] / (tail["baseline_value"] / 5),
        routed=by_what["predict, through Flask's routing"]["ratio"],
        epochs=re.search(r"\d+", training["what"])[0],
        compiled=training["value"],
        fit=training["baseline_value"],
        faster=training["ratio"],
    )


def _batches(figures: list[dict]) -> str:
    """The table of `bench --batches`."""
    rows = [
        f"| {figure['what'].removeprefix(OF_BATCHES)} | {figure['value']:,.0f} "
        f"| {figure['baseline']}: {figure['baseline_value']:,.0f} | {figure['ratio']:.2f} |"
        for figure in figures
    ]
    return BATCHES.format(rows="\n".join(rows))


def write_speed_section(bench: Path = IMAGES / "bench.json", readme: Path = PROJECT / "README.md") -> None:
    """Put what `bench` measured between the two marks in the README."""
    text = readme.read_text(encoding="utf-8")
    before, _, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{readme.name} has lost the marks {START.strip()} and {END.strip()}: put them back")
    section = speed_section(json.loads(bench.read_text(encoding="utf-8")))
    readme.write_text(before + START + section + END + after, encoding="utf-8", newline="\n")


def find_chromium() -> str | None:
    """Path of a Chromium or Chrome on this machine."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
    places = [
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
        "/Applications/Chromium.app/Contents/MacOS/Chromium",
    ]
    return next((found for found in [*map(shutil.which, names), *filter(os.path.exists, places)] if found), None)


def take_picture_of_the_page(model: Path, path: Path = IMAGES / "service.png", port: int = 5000) -> None:
    """The page of the service for the model in the folder `model`, as a PNG; its text "Probability" is what it shows.

    The picture is taken when the page has been answered a second time, as the first request of a browser also pays
    for its connection. Raises `OSError` where there is no browser, or where `port` is taken.
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo
    from playwright.sync_api import expect, sync_playwright

    from helpers.export.predictors import load_predictor
    from helpers.serving.notebook_server import ServerHandle
    from helpers.serving.services import create_predict_app

    if not (chromium := find_chromium()):
        raise OSError(CHROMIUM)
    try:
        server = ServerHandle(create_predict_app(load_predictor(model)), "127.0.0.1", port)
    except OSError:
        raise OSError(
            f"port {port}, which the picture shows, is taken: end what serves there, then try again"
        ) from None
    with server, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 780, "height": 580}, color_scheme="light")
        page.goto(server.url)
        probability = page.locator("#probability")
        for _ in range(2):  # a feature on and off again
            expect(page.locator("#status")).to_contain_text("answered in")
            before = probability.inner_text()
            page.get_by_role("switch").nth(1).press("Space")
            expect(probability).not_to_have_text(before)
        page.evaluate("() => document.activeElement.blur()")
        expect(page.locator("#status")).to_contain_text("answered in")
        shown, picture = probability.inner_text(), page.screenshot()
        browser.close()
    words = PngInfo()
    words.add_text("Probability", shown)
    Image.open(BytesIO(picture)).save(path, pnginfo=words, optimize=True)
