"""`bench` on a small scale: every figure is measured and stands beside its baseline. How fast is not tested here."""

import json
import math
import shutil

import pytest

from helpers import PROJECT
from helpers.batch import engines
from helpers.serving.notebook_server import serve
from helpers.serving.services import create_echo_app
from helpers.tools import bench, bench_batches, bench_peers

pytestmark = pytest.mark.slow  # each starts processes, or a model of its own


@pytest.fixture(scope="module")
def report(exported, tmp_path_factory):
    output = tmp_path_factory.mktemp("bench")
    assert bench.main(exported, seconds=0.1, rounds=1, epochs=1, output=output) == 0
    return output


def test_every_figure_stands_beside_its_baseline(report):
    content = json.loads((report / "bench.json").read_text())
    figures = {(figure["what"], figure["baseline"]): figure for figure in content["figures"]}
    assert content["machine"]["cores"] and content["client"] in ("wrk", "helpers.tools.load_test")
    for figure in figures.values():
        assert figure["baseline"] and figure["baseline_value"] is not None
        assert math.isfinite(figure["value"]) and figure["value"] >= 0
        if figure["ratio"] is not None:
            numbers = figure["value"], figure["baseline_value"]
            faster = figure["unit"] in ("req/s", "rows/s")
            ratio = numbers[0] / numbers[1] if faster else numbers[1] / numbers[0]
            assert figure["ratio"] == pytest.approx(ratio, rel=1e-6)
    assert figures["failed requests of all", "expected"]["value"] == 0


def test_services_backends_start_and_memory_are_all_there(report):
    names = [(f["what"], f["baseline"]) for f in json.loads((report / "bench.json").read_text())["figures"]]
    for place in ("notebook server", "tutorial.py serve"):
        assert (f"predict, {place}", "echo, same server") in names
    assert ("predict, tutorial.py serve", "article's way") in names
    for how in ("JSON", "form", "list of ten"):
        assert (f"predict by {how}, tutorial.py serve", "by address") in names
    for backend in ("keras", "onnx", "litert", "numpy"):
        assert (f"one row, {backend}", "model.predict") in names
        assert ((f"memory of a process, {backend}", "a Keras process") in names) == (backend != "keras")
    whats = [what for what, _ in names]
    assert {"rows in lists of 1,000", "its p99 at 64 connections", "memory of its largest worker"} <= set(whats)
    assert any("first answer" in what for what in whats)
    assert any(what.startswith("training, 1 epoch") and "fit" in baseline for what, baseline in names)


def test_the_figure_is_a_picture(report):
    assert (report / "bench.png").read_bytes().startswith(b"\x89PNG")


def test_wrk_and_our_own_client_see_the_same_service(monkeypatch):
    with serve(create_echo_app(), port=0) as server:
        good, bad = bench.Call(f"{server.url}/predict?msg=Hello"), bench.Call(f"{server.url}/no")
        seen = {}
        if shutil.which("wrk"):
            seen["wrk"] = bench.load(good, 4, 1.0), bench.load(bad, 4, 1.0)
        monkeypatch.setenv("PATH", "")  # a machine without wrk
        seen["own"] = bench.load(good, 4, 0.3), bench.load(bad, 4, 0.3)
    for good, bad in seen.values():
        assert good.failed == 0 and good.per_second > 10 and 0 < good.p50 <= good.p99
        assert bad.failed > 0


def test_a_line_of_the_table_reads_well():
    figure = bench.Figure("predict", 3733.4, "req/s", "echo", 2974.0, 1.2553)
    assert bench.line(figure).split() == ["predict", "3,733", "req/s", "echo", "2,974", "1.26", "x"]


def test_a_post_is_loaded_with_its_body():
    with serve(create_echo_app(), port=0) as server:
        good = bench.Call(f"{server.url}/predict", b'{"msg": "Hello"}')
        bad = bench.Call(f"{server.url}/predict", b"{")
        form = bench.Call(f"{server.url}/predict", b"msg=Hello", "application/x-www-form-urlencoded")
        for seconds in (0.2, 1.0):  # with our own client, and with wrk where it is installed
            assert bench.load(good, 2, seconds).failed == 0
            assert bench.load(bad, 2, seconds).failed > 0
        assert bench.load(form, 2, 0.2).failed == 0


def test_a_peer_that_cannot_run_here_is_left_out_with_the_reason(monkeypatch, exported):
    monkeypatch.setenv("PATH", "")  # a machine without Node
    with pytest.raises(bench_peers.PeerMissing, match="install Node"):
        with bench_peers.peer(bench_peers.FASTIFY, exported, ("g1",), 1, 1):
            pass


def test_the_figure_names_each_service_as_what_it_is():
    figures = [
        bench.Figure("predict, tutorial.py serve", 9.0, "req/s", "echo, same server", 7.0, 1.3),
        bench.Figure("predict by JSON, tutorial.py serve", 8.0, "req/s", "by address", 9.0, 0.9),
        bench.Figure("predict, tutorial.py serve", 9.5, "req/s", "article's way", 1.0, 9.5),
        bench.Figure("predict by JSON, tutorial.py serve", 8.5, "req/s", "Fastify, Node", 8.4, 1.0),
    ]
    axes = bench.draw(figures).axes[0]
    shown = [label.get_text() for label in axes.get_yticklabels()]
    assert dict(zip(shown, [bar.get_width() for bar in axes.patches], strict=True)) == {
        "article's way": 1.0,
        "echo, tutorial.py serve": 7.0,
        "predict by JSON, tutorial.py serve": 8.0,
        "Fastify, Node by JSON": 8.4,
        "predict, tutorial.py serve": 9.0,
    }


@pytest.mark.slow
def test_batches_are_measured_and_an_engine_that_is_missing_is_said(exported, monkeypatch, capfd):
    monkeypatch.setattr(engines, "HOMES", PROJECT / "build" / "nowhere")
    monkeypatch.setattr(bench_batches, "PEERS", {})  # what they bring is not for a test to install
    compared = {
        what: (ours, beside, theirs) for what, ours, beside, theirs in bench_batches.measure(exported, 50_000, 1)
    }
    assert list(compared) == ["batches, mixed table of 7 columns"]
    ours, beside, theirs = compared["batches, mixed table of 7 columns"]
    assert beside == "one process, plain numbers" and ours > 0 and theirs > 0
    said = capfd.readouterr().err
    for engine in engines.PACKAGES:
        assert f"bench: {engines.NAMES[engine]} is not installed: `python3 tutorial.py setup --engine {engine}`" in said
