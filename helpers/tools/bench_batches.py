"""The measurements behind `bench --batches`: rows per second from Parquet to Parquet, each way beside its peers.

`tutorial.py score` is typed for each way; peers are scripts in `peers/` with environments of their own, which read the
same file and run the same ONNX file. All take turns, round by round, so that what else the machine does meets each.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from helpers import PROJECT
from helpers.batch import engines
from helpers.batch.paths import CannotScore
from helpers.data.signature import Signature
from helpers.export.card import read_card
from helpers.tools.bench_peers import SOURCES, PeerMissing, environment

MIXED_ROWS = 2_000  # of the made-up table that a model of seven mixed columns is trained on
ROW_BY_ROW = 50  # Beam row by row is that much slower, and gets so many times fewer rows
PEERS = {"polars": ["polars"], "duckdb": ["duckdb"], "beam": ["apache-beam>=2.60", "onnx"]}
GROUP = 2**20  # rows of a row group, as Arrow writes them

Way = Callable[[Path], float]  # the output's name in, rows per second out


def measure(model: Path, rows: int, rounds: int) -> Iterator[tuple[str, float, str, float]]:
    """(what, rows per second, beside it, its rows per second) of each comparison; what is not there is said."""
    signature = Signature.from_dict(read_card(model)["signature"])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        many = _write(pd.DataFrame(signature.sample_rows(20_000, seed=1)), rows, folder / "many.parquet")
        few = _write(pd.DataFrame(signature.sample_rows(100, seed=1)), rows // ROW_BY_ROW, folder / "few.parquet")
        mixed = _mixed(folder)
        people = _write(mixed.drop(columns="label"), rows // 4, folder / "people.parquet")
        ways: dict[str, Way] = {
            "one process": _score(many, model),
            "mixed table of 7 columns": _score(people, folder / "mixed"),
        }
        plain = all(f.width == 1 and not f.values and (f.center, f.scale) == (0.0, 1.0) for f in signature.features)
        if plain:
            ways |= _peers(many, few, rows, model, signature.names)
        else:
            print("bench: the peers know no categories and no missing values: they are left out", file=sys.stderr)
        for engine in engines.PACKAGES:
            try:
                engines.python_of(engine)
            except CannotScore as error:
                print(f"bench: {error}", file=sys.stderr, flush=True)
                continue
            ways[engine] = _score(many, model, engine)
            ways[f"{engine}, warm"] = _warm(engine, few, many, rows, model)
        seen = _in_turns(ways, rounds, folder)
    yield from _compared(seen)


def _compared(seen: dict[str, float]) -> Iterator[tuple[str, float, str, float]]:
    one = seen["one process"]
    for peer in ("polars", "duckdb"):
        if f"{peer}, peer" in seen:
            yield "batches, one process", one, f"{peer}, ONNX Runtime", seen[f"{peer}, peer"]
    yield "batches, mixed table of 7 columns", seen["mixed table of 7 columns"], "one process, plain numbers", one
    for engine in engines.PACKAGES:
        if engine in seen:
            name = engines.NAMES[engine]
            yield f"batches, {name}", seen[engine], "one process", one
            yield f"batches, {name} warm", seen[f"{engine}, warm"], "one process", one
    if {"beam", "beam, peer"} <= seen.keys():
        yield f"batches, {engines.NAMES['beam']}", seen["beam"], "row by row", seen["beam, peer"]


def _in_turns(ways: dict[str, Way], rounds: int, folder: Path) -> dict[str, float]:
    """The median of each way, which take turns."""
    seen: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for i, (name, way) in enumerate(ways.items()):
            seen[name].append(way(folder / f"out-{number}-{i}.parquet"))
            for path in folder.glob("out-*"):
                path.unlink()
    return {name: statistics.median(values) for name, values in seen.items()}


def _score(source: Path, model: Path, engine: str = "") -> Way:
    """`tutorial.py score`, which says itself how fast it was: without imports, with an engine's start."""

    command = [sys.executable, "-m", "helpers", "score", str(source), "--model", str(model)]
    command += ["--engine", engine] if engine else []

    def way(target: Path) -> float:
        typed = [*command[:5], str(target), *command[5:]]
        done = subprocess.run(typed, cwd=PROJECT, capture_output=True, text=True, check=True)
        return float(re.search(r"([\d,]+) rows/s", done.stdout)[1].replace(",", ""))

    return way


def _warm(engine: str, few: Path, many: Path, rows: int, model: Path) -> Way:
    """An engine that has scored `few` before, in the session that is timed: without its start, and with its workers."""
    command = [engines.python_of(engine), "-m", "helpers.tools.bench_warm", engine, few, many, model.resolve()]

    def way(target: Path) -> float:
        done = subprocess.run([*map(str, command), target], cwd=PROJECT, capture_output=True, text=True, check=True)
        return rows / float(done.stdout.split()[-1])

    return way


def _peers(source: Path, few: Path, rows: int, model: Path, names: tuple[str, ...]) -> dict[str, Way]:
    """Those of `PEERS` that can be had, installed into `build/peers/batches` where need be; Beam gets `few`."""
    runtime, ways = f"onnxruntime=={importlib.metadata.version('onnxruntime')}", {}
    for peer, packages in PEERS.items():
        folder = PROJECT / "build" / "peers" / "batches" / peer
        try:
            python = environment(peer, folder, [*packages, "pyarrow", "numpy", runtime])
        except PeerMissing as error:
            print(f"bench: {error}", file=sys.stderr, flush=True)
            continue
        its_source, its_rows = (few, rows // ROW_BY_ROW) if peer == "beam" else (source, rows)
        ways[f"{peer}, peer"] = _peer(python, peer, its_source, its_rows, model, names)
    return ways


def _peer(python: str, peer: str, source: Path, rows: int, model: Path, names: tuple[str, ...]) -> Way:
    def way(target: Path) -> float:
        script, onnx = SOURCES / f"batch_{peer}.py", model.resolve() / "model.onnx"
        words = [str(onnx), str(source), str(target), json.dumps(names)]
        done = subprocess.run([python, str(script), *words], capture_output=True, text=True, check=True)
        return rows / float(done.stdout.split()[-1])

    return way


def _write(frame: pd.DataFrame, rows: int, path: Path) -> Path:
    """A Parquet file of `rows` rows drawn from a table, with an id."""
    table, random = pa.Table.from_pandas(frame, preserve_index=False), np.random.default_rng(0)
    writer = None
    for start in range(0, rows, GROUP):
        count = min(GROUP, rows - start)
        group = table.take(pa.array(random.integers(0, len(frame), count)))
        group = group.add_column(0, "id", pa.array(np.arange(start, start + count)))
        writer = writer or pq.ParquetWriter(path, group.schema)
        writer.write_table(group)
    writer.close()
    return path


def _mixed(folder: Path) -> pd.DataFrame:
    """A made-up table of seven columns of every kind, and in `folder/mixed` a model that was trained on it."""
    from helpers.export.pipeline import train_and_export

    random = np.random.default_rng(2)
    gender, berth = random.choice(["female", "male"], MIXED_ROWS), random.choice(["1st", "2nd", "3rd"], MIXED_ROWS)
    logit = 2.5 * (gender == "female") + 1.5 * (berth == "1st") - 2 + random.normal(0, 0.5, MIXED_ROWS)
    age = np.where(random.random(MIXED_ROWS) < 0.2, np.nan, random.normal(30, 14, MIXED_ROWS).round(1))
    frame = pd.DataFrame(
        {
            "gender": gender,
            "class": berth,
            "age": age,
            "port": random.choice(["Belfast", "Cherbourg", "Queenstown", "Southampton"], MIXED_ROWS),
            "fare": random.gamma(2, 15, MIXED_ROWS).round(2),
            "siblings": random.integers(0, 5, MIXED_ROWS),
            "smoker": random.choice(["yes", "no"], MIXED_ROWS),
            "label": (random.random(MIXED_ROWS) < 1 / (1 + np.exp(-logit))).astype(int),
        }
    )
    frame.to_csv(folder / "mixed.csv", index=False)
    train_and_export(folder / "mixed", folder / "mixed.csv", "label", epochs=2, formats=("keras", "onnx"))
    return frame
