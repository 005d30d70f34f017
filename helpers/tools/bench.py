"""The measurements behind `tutorial.py bench`: each figure beside its baseline, taken in the same run.

Every service runs in a process of its own, and the load comes from another: from wrk where it is installed, else from
`load_test`. Services that are compared are loaded in turn, round by round, so that what else the machine does meets
both. Prints a table, and writes `build/bench.json` and `build/bench.png`, or what the README tells of them.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlencode

import psutil

from helpers import PROJECT
from helpers.data.signature import Signature
from helpers.export.card import read_card
from helpers.serving.serve_command import CannotServe, ensure_exported, free_port
from helpers.tools import readme
from helpers.tools.option_values import cores

BACKENDS = ("keras", "onnx", "litert", "numpy")
BATCH_ROUNDS = 3  # some minutes each
UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}  # wrk's, in milliseconds


@dataclass(frozen=True)
class Figure:
    """One line of the table: a value, and the same of a baseline.

    `ratio` says how many times better the value is: value / baseline, for times and memory baseline / value.
    """

    what: str
    value: float
    unit: str
    baseline: str = ""
    baseline_value: float | None = None
    ratio: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Sample:
    """One load of one URL: good answers per second, latencies in milliseconds, answers that failed."""

    per_second: float
    p50: float
    p99: float
    failed: int


@dataclass(frozen=True)
class Call:
    """What is asked again and again: a GET of `url`, or a POST of `body` to it."""

    url: str
    body: bytes | None = None
    kind: str = "application/json"


def main(
    model: Path,
    seconds: float,
    rounds: int,
    epochs: int,
    output: Path,
    peers: bool = False,
    publish: bool = False,
    batch_rows: int = 0,
) -> int:
    """Measure, print and write every figure; 1 where requests failed, 2 where the model cannot be served.

    peers: hold the service against FastAPI and Fastify, too (`bench_peers`). publish: write what the README shows from
    this run, instead of files in `output`. batch_rows: how many rows are scored in batches, too (`bench_batches`).
    """
    try:
        ensure_exported(model, *BACKENDS)
    except CannotServe as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2

    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.system()}
    if hasattr(os, "getloadavg"):
        machine["load"] = round(os.getloadavg()[0], 1)  # of the minute before, by other programs
    figures = []
    print(f"{'':44}{'':>14}  {'beside':<28}{'':>12}{'ratio':>9}")
    for figure in measure(model.resolve(), seconds, rounds, epochs, peers, batch_rows):
        figures.append(figure)
        print(line(figure), flush=True)
    output = readme.IMAGES if publish else output
    output.mkdir(parents=True, exist_ok=True)
    client = "wrk" if shutil.which("wrk") else "helpers.tools.load_test"
    content = {"machine": machine, "client": client, "figures": [asdict(figure) for figure in figures]}
    (output / "bench.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    draw(figures).savefig(output / "bench.png")
    print(f"\nload by {client}; written to {output / 'bench.json'} and bench.png")
    if publish:
        readme.write_speed_section()
        print("and from them the README's section on speed")
    return 1 if any(figure.what.startswith("failed") and figure.value for figure in figures) else 0


def measure(
    model: Path, seconds: float, rounds: int, epochs: int, peers: bool = False, batch_rows: int = 0
) -> Iterator[Figure]:
    """Every figure in turn, as soon as it is measured."""
    signature = Signature.from_dict(read_card(model)["signature"])
    yield from _services(model, signature, seconds, rounds, peers)
    yield from _backends(model, signature.example(), rounds)

    seen = _in_an_interpreter(_TRAINING, str(epochs))
    ours, theirs = seen["compiled"], seen["fit"]
    yield Figure(
        f"training, {epochs} epochs, compiling included", ours, "s", "fit with keras.metrics.AUC", theirs, theirs / ours
    )
    if batch_rows:
        from helpers.tools import bench_batches

        for what, ours, beside, theirs in bench_batches.measure(model, batch_rows, min(rounds, BATCH_ROUNDS)):
            yield Figure(what, ours, "rows/s", beside, theirs, ours / theirs)


def _services(model: Path, signature: Signature, seconds: float, rounds: int, peers: bool) -> Iterator[Figure]:
    """Each service under load, beside another one."""
    example = signature.example()
    ask, say = f"/predict?{urlencode(example)}", "/predict?msg=Hello"
    row, form = json.dumps(example).encode(), urlencode(example).encode()
    ten = json.dumps([example] * 10).encode()
    failed = 0

    def compare(a: Call, b: Call) -> tuple[Sample, Sample, float]:
        nonlocal failed
        first, second, ratio = side_by_side(a, b, seconds, rounds)
        failed += first.failed + second.failed
        return first, second, ratio

    with service("echo", model) as echo, service("predict", model) as predict:
        said = Call(echo + say)
        yield _rates("predict, notebook server", "echo, same server", *compare(Call(predict + ask), said))
        with service("predict-view", model) as view:
            yield _rates("predict, through Flask's routing", "echo, same server", *compare(Call(view + ask), said))
        yield rows_per_second(predict, example, seconds)

    workers = cores()
    with (
        production(model) as (predict, _),
        service("echo-workers", model, str(free_port("127.0.0.1", 0)), str(workers)) as echo,
    ):
        address = Call(predict + ask)
        yield _rates("predict, tutorial.py serve", "echo, same server", *compare(address, Call(echo + say)))
        for what, call in (
            ("JSON", Call(f"{predict}/predict", row)),
            ("form", Call(f"{predict}/predict", form, "application/x-www-form-urlencoded")),
            ("list of ten", Call(f"{predict}/predict", ten)),
        ):
            yield _rates(f"predict by {what}, tutorial.py serve", "by address", *compare(call, address))
        many = load(address, 64, seconds)
        failed += many.failed
        allowed = 5 * many.p50
        yield Figure("its p99 at 64 connections", many.p99, "ms", "5 times its p50", allowed, allowed / many.p99)
        with service("article", model) as article:
            yield _rates("predict, tutorial.py serve", "article's way", *compare(address, Call(article + ask)))
        if peers:
            yield from _peers(model, signature.names, workers, compare, predict, ask, row)
    yield Figure("failed requests of all", failed, "", "expected", 0)


def _backends(model: Path, example: dict, rounds: int) -> Iterator[Figure]:
    """Each backend alone, and the service from its start to its first answer."""
    ask = f"/predict?{urlencode(example)}"
    seen = {backend: in_process(model, backend, rounds) for backend in BACKENDS}
    keras = seen["keras"]
    for backend in BACKENDS:
        ms, base = seen[backend]["ms"], keras["predict_ms"]
        yield Figure(f"one row, {backend}", ms, "ms", "model.predict", base, base / ms)
    for backend in BACKENDS[1:]:  # Keras's own is what they stand beside
        mb, base = seen[backend]["mb"], keras["mb"]
        yield Figure(f"memory of a process, {backend}", mb, "MB", "a Keras process", base, base / mb)

    starts = []
    for _ in range(rounds):
        started = time.perf_counter()
        with production(model) as (url, process):
            get(Call(url + ask))
            starts.append((time.perf_counter() - started, worker_memory(process)))
    cold, memory = min(starts)[0], max(mb for _, mb in starts)
    base = keras["seconds"]
    yield Figure("from typing serve to its first answer", cold, "s", "loading Keras alone", base, base / cold)
    yield Figure("memory of its largest worker", memory, "MB", "a Keras process", keras["mb"], keras["mb"] / memory)


def _peers(model, names, workers, compare, predict: str, ask: str, row: bytes) -> Iterator[Figure]:
    """The service beside each peer, by address and by JSON: requests per second, and p99."""
    from helpers.tools.bench_peers import FASTAPI, FASTIFY, PeerMissing, peer

    for kind in (FASTAPI, FASTIFY):
        try:
            with peer(kind, model, names, free_port("127.0.0.1", 0), workers) as other:
                wait_for(other)
                for how, rest, body in (("address", ask, None), ("JSON", "/predict", row)):
                    ours, theirs, ratio = compare(Call(predict + rest, body), Call(other + rest, body))
                    yield _rates(f"predict by {how}, tutorial.py serve", kind, ours, theirs, ratio)
                    yield Figure(f"its p99, by {how}", ours.p99, "ms", kind, theirs.p99, theirs.p99 / ours.p99)
        except PeerMissing as error:
            print(f"bench: {error}", file=sys.stderr, flush=True)


def _rates(what: str, baseline: str, ours: Sample, theirs: Sample, ratio: float) -> Figure:
    return Figure(what, ours.per_second, "req/s", baseline, theirs.per_second, ratio)


def line(figure: Figure) -> str:
    value = f"{number(figure.value)} {figure.unit}"
    beside = "" if figure.baseline_value is None else number(figure.baseline_value)
    ratio = "" if figure.ratio is None else f"{number(figure.ratio)} x"
    return f"{figure.what:<44}{value:>14}  {figure.baseline:<28}{beside:>12}{ratio:>9}"


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def draw(figures: list[Figure]):
    from helpers.figures.serving import throughput_by_service

    by_name = {}
    for figure in figures:
        if figure.unit == "req/s":
            by_name.setdefault(figure.what, figure.value)
            how, _, place = figure.what.partition(", ")
            if figure.baseline == "echo, same server":
                server = place if "through" not in place else "notebook server"
                by_name.setdefault(f"echo, {server}", figure.baseline_value)
            elif how.startswith("predict by ") and figure.baseline != "by address":  # a peer
                by_name[f"{figure.baseline} {how.removeprefix('predict ')}"] = figure.baseline_value
            elif figure.baseline != "by address":
                by_name[figure.baseline] = figure.baseline_value
    return throughput_by_service(dict(sorted(by_name.items(), key=lambda item: item[1])))


# ---- the services ----


@contextmanager
def service(kind: str, model: Path, *rest: str) -> Iterator[str]:
    """The address of a service of `bench_services`, running for the time of the block."""
    command = [sys.executable, "-m", "helpers.tools.bench_services", kind, str(model), *rest]
    process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        url = process.stdout.readline().strip()
        if not url:
            raise RuntimeError(f"the service {kind!r} did not start")
        wait_for(url)
        yield url
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


@contextmanager
def production(model: Path) -> Iterator[tuple[str, subprocess.Popen]]:
    """`tutorial.py serve` with its default workers."""
    port = free_port("127.0.0.1", 0)
    set_up = (PROJECT / ".venv" / "installed.sha256").exists()  # else the launcher would install everything first
    launcher = [str(PROJECT / "tutorial.py")] if set_up else ["-m", "helpers"]
    command = [sys.executable, *launcher, "serve", "--port", str(port), "--model", str(model)]
    process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL)
    try:
        wait_for(f"http://127.0.0.1:{port}")
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.terminate()
        process.wait()


def wait_for(url: str, seconds: float = 60) -> None:
    """Return as soon as `url` answers anything but that it is starting."""
    end = time.monotonic() + seconds
    while True:
        try:
            get(Call(f"{url}/health/live"))
            return
        except OSError as error:
            if isinstance(error, urllib.error.HTTPError) and error.code != 503:
                return
            if time.monotonic() > end:
                raise
            time.sleep(0.01)


def get(call: Call) -> bytes:
    headers = {"Content-Type": call.kind} if call.body else {}
    with urllib.request.urlopen(urllib.request.Request(call.url, call.body, headers), timeout=10) as answer:
        return answer.read()


def worker_memory(process: subprocess.Popen) -> float:
    """Resident memory in MB of the largest process that `process` has started, or of itself where it starts none."""
    main = psutil.Process(process.pid)
    return max(member.memory_info().rss for member in (main.children(recursive=True) or [main])) / 1e6


# ---- the load ----


def side_by_side(a: Call, b: Call, seconds: float, rounds: int) -> tuple[Sample, Sample, float]:
    """Medians of two calls at 8 connections, loaded in turn, and the median of the rounds' ratios a / b."""
    for call in (a, b):
        get(call)
        load(call, 8, min(seconds, 1.0))  # a warm-up
    pairs = [(load(a, 8, seconds), load(b, 8, seconds)) for _ in range(rounds)]
    return (
        median([first for first, _ in pairs]),
        median([second for _, second in pairs]),
        statistics.median(first.per_second / second.per_second for first, second in pairs),
    )


def median(samples: list[Sample]) -> Sample:
    middle = (statistics.median(getattr(s, name) for s in samples) for name in ("per_second", "p50", "p99"))
    return Sample(*middle, failed=sum(sample.failed for sample in samples))


def load(call: Call, connections: int, seconds: float) -> Sample:
    """Load a service from outside of this process and of the server's, until there is at least one good answer."""
    sample = _load(call, connections, seconds)
    if not sample.per_second and not sample.failed:  # a slow service and a short load
        return load(call, connections, 2 * seconds)
    return sample


def _load(call: Call, connections: int, seconds: float) -> Sample:
    if not shutil.which("wrk") or seconds < 1:  # wrk counts in whole seconds
        from helpers.tools.load_test import measure as load_test

        headers = {"Content-Type": call.kind} if call.body else None
        seen = load_test(call.url, connections, seconds, processes=min(2, connections), body=call.body, headers=headers)
        return Sample(seen.per_second, seen.percentile(50), seen.percentile(99), seen.failed)
    with _script(call) as script:
        command = ["wrk", "-t1", f"-c{connections}", f"-d{round(seconds)}s", "--timeout", "10s", "--latency", *script]
        return _wrk([*command, call.url])


@contextmanager
def _script(call: Call) -> Iterator[list[str]]:
    """wrk's options for a call: a POST needs a script in Lua."""
    if call.body is None:
        yield []
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "post.lua"
        header = f'wrk.method = "POST"\nwrk.headers["Content-Type"] = "{call.kind}"\nwrk.body = [==['
        path.write_bytes(header.encode() + call.body + b"]==]\n")
        yield ["--script", str(path)]


def _wrk(command: list[str]) -> Sample:
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    ms = {p: float(v) * UNITS[u] for p, v, u in re.findall(r"(50|99)%\s+([\d.]+)(us|ms|s|m)\b", text)}
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    failed = sum(map(int, errors.groups())) if errors else 0
    failed += int(refused[1]) if refused else 0
    return Sample(float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]), ms["50"], ms["99"], failed)


def rows_per_second(url: str, example: dict, seconds: float) -> Figure:
    """Lists of 1,000 rows in one POST beside single requests, one client, one connection for each."""
    from helpers.tools.load_test import measure as load_test

    lists = load_test(f"{url}/predict", 1, seconds, body=json.dumps([example] * 1000).encode())
    single = load_test(f"{url}/predict?{urlencode(example)}", 1, seconds)
    rows = lists.per_second * 1000
    return Figure("rows in lists of 1,000", rows, "rows/s", "one by one", single.per_second, rows / single.per_second)


def in_process(model: Path, backend: str, rounds: int) -> dict:
    """`ms` for one row, `mb` of memory and `seconds` to load of a backend, in an interpreter of its own.

    The time is the least of the rounds. Of Keras also `predict_ms`, for one row by `model.predict`.
    """
    return _in_an_interpreter(_ONE_BACKEND, str(model), backend, str(rounds))


def _in_an_interpreter(program: str, *arguments: str) -> dict:
    """What the program prints on its last line, as JSON."""
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


_ONE_BACKEND = """
import json, sys, time
started = time.perf_counter()
model, backend, rounds = sys.argv[1:]
from helpers.export.predictors import load_predictor
predictor = load_predictor(model, backend)
rows = predictor.signature.sample(1)
predictor(rows)
seconds = time.perf_counter() - started
from timeit import repeat
import psutil

def ms_of(call, times):
    call()
    return min(repeat(call, number=times, repeat=int(rounds))) / times * 1000

seen = {"seconds": seconds, "ms": ms_of(lambda: predictor(rows), 1000), "mb": psutil.Process().memory_info().rss / 1e6}
if backend == "keras":
    from helpers.export.legacy import load_keras
    keras = load_keras(f"{model}/model.keras", compile=False)
    seen["predict_ms"] = ms_of(lambda: keras.predict(rows, verbose=0), 3)
print(json.dumps(seen))
"""

# The article's network on the sample. The compiled epochs run before and after `fit`, so that neither has the quieter
# machine, nor the cost of being first; their mean counts.
_TRAINING = """
import json, sys, time
from helpers.data import games, tables
from helpers.model import training
import keras
epochs = int(sys.argv[1])
sample = tables.load_table(games.SAMPLE)
x, y = tables.features_and_label(games.split(sample.frame)[0], sample.signature())
options = {"epochs": epochs, "batch_size": 100, "validation_split": 0.2, "verbose": 0}

def fit():
    model = training.build_classifier(x.shape[1])
    model.compile("rmsprop", "binary_crossentropy", metrics=[keras.metrics.AUC()])
    started = time.perf_counter()
    model.fit(x, y, **options)
    return time.perf_counter() - started

def compiled():
    model = training.build_classifier(x.shape[1])
    started = time.perf_counter()
    training.fit(model, x, y, seed=0, **options)
    return time.perf_counter() - started

before, between, after = compiled(), fit(), compiled()
print(json.dumps({"compiled": (before + after) / 2, "fit": between}))
"""
