"""The proof that every format answers like Keras: on which inputs, how far it may differ, and what each format costs.

`export_model` holds each file that it wrote against the model before it counts; `parity(directory)` measures an export.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from helpers import PROJECT
from helpers.data.inputs import Batch, InputSignature, signature_from
from helpers.data.outputs import as_arrays
from helpers.data.signature import Signature
from helpers.export import pmml_evaluator
from helpers.export.card import read_card
from helpers.export.errors import ArtifactError, first_line
from helpers.export.formats import FILES
from helpers.export.legacy import load_keras
from helpers.export.predictors import BACKEND_OF, load_predictor
from helpers.export.run_keras import compiled
from helpers.quiet import keras_alone

TENSORFLOW = ("keras", "h5", "saved_model")  # formats that need TensorFlow to run

TOLERANCE = 1e-6  # the largest difference from Keras that a format may show; see `limit_of`
MOST = 1e-4  # a limit above this would let a wrong file pass: of how far answers lie apart, where that is more than 1
SAMPLE = 10_000  # rows compared where not every input can be listed
SAMPLE_WORK = 1_000_000_000  # weights times rows at most: each weight takes part in a row at least once
SAMPLE_NUMBERS = 4_000_000  # numbers in them at most: a row of a large picture holds 150,000
SAMPLE_SECONDS = 10  # that it takes to ask for them all, where the function to ask is there
FEWEST = 32  # rows all the same
ALONE = 32  # one row in so many is also asked by itself


def parity(directory: str | Path):
    """Every exported format held against Keras, as a pandas DataFrame with one row per format.

    Columns: format; bytes (of the file or folder); largest_difference (from `model.keras`, over every input where all
    features are 0/1 and at most 16, otherwise over 10,000 random ones); load_s (seconds to the first answer: importing
    the runtime, reading the file, one row; NumPy is there before); latency_ms (median of single rows); memory_mb (of
    the process).

    Each runtime is measured in a process that imports nothing else. The three formats that TensorFlow runs share one
    process: its import counts for each, its memory is that of TensorFlow plus what the format added. Of a format that
    cannot be evaluated here, PMML where there is no Java, only the bytes are told, the other figures are NaN.
    Raises `ArtifactError` where there is no export, or no Keras file to compare with.
    """
    import pandas as pd

    directory = Path(directory)
    card = read_card(directory)
    written = [name for name in FILES if name in card["formats"]]
    reference = next((name for name in TENSORFLOW if name in written), None)
    if reference is None:
        raise ArtifactError(f"{directory.name}/ holds no format of Keras to compare with: export 'keras' as well")
    others = [name for name in written if name not in TENSORFLOW and not not_evaluated(name)]
    groups = [[name for name in written if name in TENSORFLOW], *([name] for name in others)]
    with tempfile.TemporaryDirectory() as answers:
        measured = {}
        for group in groups:
            measured |= _measure_in_process(directory, group, Path(answers))
        expected = np.load(Path(answers) / f"{reference}.npy")
        rows = []
        for name in written:
            size = sum(e["bytes"] for path, e in card["files"].items() if path.split("/")[0] == FILES[name])
            row = {"format": name, "bytes": size}
            if name in measured:
                found = np.load(Path(answers) / f"{name}.npy")
                row |= {"largest_difference": float(np.abs(found - expected).max()), **measured[name]}
            rows.append(row)
    return pd.DataFrame(rows)


def inputs_of(
    signature: Signature | InputSignature, parameters: int = 0, answer: Callable | None = None
) -> tuple[np.ndarray | Batch, str]:
    """The rows on which formats are compared, (k, m) float32 or a `Batch`, and what to call them.

    parameters: how many weights the model has; a large one is asked fewer rows, and so is a slow one, where `answer`,
    the function of such rows, is given.
    """
    every = signature.every_input()
    if every is not None:
        return every, f"all {len(every):,} inputs"
    rows = sample_size(signature, parameters)
    if answer and isinstance(signature, InputSignature):  # a row of features is answered at once
        rows = min(rows, _asked_in_time(answer, signature))
    return signature.sample(rows), f"a sample of {rows:,} inputs"


def rows_of(signature: Signature, parameters: int = 0) -> list[dict]:
    """The rows of `inputs_of` as a caller sends them, names and values, which PMML takes."""
    every = signature.every_input()
    if every is not None:
        features = signature.features
        return [
            {each.name: each.values[int(at)] if each.values else at for each, at in zip(features, row, strict=True)}
            for row in every.tolist()
        ]
    return signature.sample_rows(sample_size(signature, parameters))


def sample_size(signature: Signature | InputSignature, parameters: int) -> int:
    """How many random rows are compared: fewer where a row or the model is large."""
    size = signature.size if isinstance(signature, InputSignature) else signature.width
    return min(SAMPLE, max(FEWEST, min(SAMPLE_NUMBERS // size, SAMPLE_WORK // max(parameters, 1))))


def _asked_in_time(answer: Callable, signature: InputSignature) -> int:
    """About how many rows are answered in `SAMPLE_SECONDS`, by the fastest of a few calls.

    Attention to many steps is slow. In steps of two, so that it is mostly as many each time.
    """
    rows, took = signature.sample(FEWEST), []
    for _ in range(3):
        start = time.perf_counter()
        try:
            blockwise(answer, rows)
        except Exception:  # which `answers.answered` tells
            return FEWEST
        took.append(time.perf_counter() - start)
    return FEWEST * 2 ** max(0, int(math.log2(SAMPLE_SECONDS / min(took))))


def not_evaluated(name: str) -> str:
    """Why a format cannot be held against Keras on this machine, or ""."""
    return pmml_evaluator.lacking() if name == "pmml" else ""


def limit_of(
    answer: Callable, signature, inputs: np.ndarray | Batch, expected: np.ndarray, exact: bool = False
) -> float:
    """The largest difference from Keras that counts as the same model.

    `TOLERANCE`, times the largest answer where that is above 1. Each runtime adds up in an order of its own, and a
    model can amplify the rounding: where features are real-valued, twice what Keras's own answers change when every
    input changes in its last bit is allowed too (a network on 300 features, with logits up to 65, changed by 3e-6), or
    when rows are asked one by one, which adds up in another order in every layer (a ResNet50: 8e-6). Twice, as the
    largest change of some rows is smaller than that of all, and two runtimes round apart. exact: not so for a model
    that computes in half precision, where that would be a thousand times as much.
    """
    allowed = TOLERANCE * max(1.0, float(np.abs(expected).max()))
    if signature.all_binary or exact:
        return allowed
    moved = blockwise(answer, _moved(inputs))
    some = max(FEWEST, len(inputs) // ALONE)
    alone = blockwise(answer, inputs[:some], size=1)
    return max(allowed, *(2 * float(np.abs(each - expected[: len(each)]).max()) for each in (moved, alone)))


def _moved(inputs: np.ndarray | Batch) -> np.ndarray | Batch:
    """The inputs with every real number changed in its last bit."""
    if isinstance(inputs, Batch):
        return Batch(map(_moved, inputs.arrays))
    return np.nextafter(inputs, np.float32(np.inf)) if inputs.dtype == np.float32 else inputs


def proves_nothing(limit: float, expected: np.ndarray) -> str:
    """Why agreement with Keras within `limit` says nothing about a file of this model, or ""."""
    if limit > MOST * max(1.0, float(np.ptp(expected, axis=0).min())):
        return (
            f"its own answers change by up to {limit:.1e} where inputs change in their last bit or are asked one by "
            "one, so a wrong file could not be told from a right one"
        )
    if len(expected) > 1 and not np.ptp(expected, axis=0).any():
        return "it gives the same answer to every input that was tried"
    if len(expected) > 1 and np.isin(expected, (0, 1)).all():
        return "every answer that was tried is exactly 0 or 1: give it inputs like those that it was trained on"
    return ""


def compare(folder: Path, name: str, inputs: np.ndarray, expected: np.ndarray, limit: float) -> float:
    """The largest difference of a format that was written from the model; `ArtifactError` where it is another one."""
    try:
        if name == "pmml":
            card = read_card(folder)
            rows = rows_of(Signature.from_dict(card["signature"]), card["model"]["parameters"])
            found = pmml_evaluator.evaluate(folder / FILES[name], rows)
        else:
            found = blockwise(_loaded(folder, name), inputs)
    except Exception as error:
        reason = first_line(error).removeprefix(f"{folder.name}/")  # which is there only while it is written
        raise ArtifactError(f"it cannot be read back ({reason})") from error
    difference = float(np.abs(found - expected).max())
    if not difference <= limit:
        raise ArtifactError(f"its answers differ from Keras by up to {difference:.1e}")
    return difference


def _loaded(folder: Path, name: str) -> Callable:
    """The function (k, n) -> answers that the file of one format holds; of PMML it takes rows of names and values."""
    if name in BACKEND_OF:
        return load_predictor(folder, BACKEND_OF[name])
    if name == "pmml":
        return pmml_evaluator.load(folder / FILES[name])
    if name == "h5":
        answer = compiled(load_keras(folder / FILES[name], compile=False))
    else:
        import keras
        import tensorflow as tf

        loaded = tf.saved_model.load(str(folder / FILES[name]))
        [function] = loaded.serve.concrete_functions
        graph = function.graph.as_graph_def()
        nodes = (node for part in (graph.node, *(each.node_def for each in graph.library.function)) for node in part)
        if any("PyFunc" in node.op for node in nodes):
            raise ArtifactError("it calls Python, which is in this process and not in the file")
        takes = function.structured_input_signature[0]  # several inputs may stand in one list, or by name

        def answer(*arrays):  # holds `loaded`, which would be collected while its function is still in use
            given = tf.nest.pack_sequence_as(takes, [tf.constant(array) for array in arrays])
            answers = tuple(part.numpy() for part in keras.tree.flatten(loaded.serve(*given)))
            return answers if len(answers) > 1 else answers[0]

    return on_rows(answer, read_card(folder).get("input_shape"))


def on_rows(answer: Callable, shape=None) -> Callable:
    """A function of an array for each input as one of a `Batch`, or of a matrix of rows that are taken as `shape`."""

    def run(rows):
        if isinstance(rows, Batch):
            return answer(*rows.arrays)
        return answer(rows if shape is None else rows.reshape(-1, *shape))

    return run


def blockwise(answer: Callable, inputs: Sequence | Batch, size: int = 2048) -> np.ndarray:
    """Answers to all inputs (a matrix, a `Batch`, a list of rows), (k,) or (k, m), asked for in blocks.

    Several outputs stand side by side.
    """
    if isinstance(inputs, Batch):
        size = max(1, min(size, SAMPLE_NUMBERS * len(inputs) // (8 * sum(array.size for array in inputs.arrays))))
    blocks = []
    for start in range(0, len(inputs), size):
        answers = as_arrays(answer(inputs[start : start + size]))
        blocks.append(np.hstack([part.reshape(len(part), -1) for part in answers]))
    answers = np.concatenate(blocks)
    return answers[:, 0] if answers.shape[1] == 1 else answers


def _measure_in_process(directory: Path, names: list[str], answers: Path) -> dict[str, dict]:
    """`_measure` in an interpreter of its own."""
    code = "import sys; from helpers.export.parity import _measure; _measure(*sys.argv[1:])"
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(directory.resolve()), ",".join(names), str(answers)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ArtifactError(f"measuring {', '.join(names)} failed: {last}")
    return json.loads((answers / f"{names[0]}.json").read_text(encoding="utf-8"))


def _measure(directory: str, names: str, answers: str) -> None:
    """Load each format, time it, and leave its answers to every input as `<format>.npy` in the folder `answers`."""
    import psutil

    process, measured = psutil.Process(), {}
    formats = names.split(",")
    card = read_card(directory)
    signature, parameters = signature_from(card["signature"]), card["model"]["parameters"]
    inputs = rows_of(signature, parameters) if formats == ["pmml"] else inputs_of(signature, parameters)[0]
    row = inputs[:1]
    started = time.perf_counter()
    if formats[0] in TENSORFLOW:
        with keras_alone():
            import keras  # noqa: F401
    imported = time.perf_counter() - started
    runtime = before = process.memory_info().rss
    for name in formats:
        started = time.perf_counter()
        answer = _loaded(Path(directory), name)
        answer(row)
        load = imported + time.perf_counter() - started
        after = process.memory_info().rss
        times = []
        for _ in range(500):
            at = time.perf_counter()
            answer(row)
            times.append(time.perf_counter() - at)
        measured[name] = {
            "load_s": load,
            "latency_ms": statistics.median(times) * 1e3,
            "memory_mb": (runtime + after - before) / 2**20,
        }
        np.save(Path(answers) / f"{name}.npy", blockwise(answer, inputs))
        before = process.memory_info().rss
    (Path(answers) / f"{formats[0]}.json").write_text(json.dumps(measured), encoding="utf-8")
