"""Writing a model in every format, with its model card, and proving that every format answers alike.

A Keras model comes in; a folder goes out: `model.keras`, `model.h5`, `saved_model/`, `model.onnx`, `model.tflite`,
`model.npz` and `card.json`, which says what the model takes, how good it was on which data, and what each file must be.
`predictors.load_predictor` reads it again, `parity` measures it, `load_keras` (of `legacy`) reads Keras files.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import numpy as np

from helpers import PROJECT
from helpers.formats import WRITERS
from helpers.legacy import ArtifactError, KerasFile, describe_keras_file, load_keras
from helpers.predictors import PredictorError, compiled, load_card, load_predictor
from helpers.signature import Feature, Signature

__all__ = [
    "FORMATS",
    "TOLERANCE",
    "ArtifactError",
    "KerasFile",
    "describe_keras_file",
    "export_model",
    "load_keras",
    "parity",
    "read_card",
]

FILES = {
    "keras": "model.keras",
    "h5": "model.h5",
    "saved_model": "saved_model",
    "onnx": "model.onnx",
    "tflite": "model.tflite",
    "npz": "model.npz",
}
FORMATS = tuple(FILES)
BACKENDS = {"keras": "keras", "onnx": "onnx", "tflite": "litert", "npz": "numpy"}
TENSORFLOW = ("keras", "h5", "saved_model")  # formats that need TensorFlow to run
PACKAGES = ("keras", "tensorflow", "numpy", "h5py", "onnx", "tf2onnx", "onnxruntime", "ai-edge-litert")

TOLERANCE = 1e-6  # the largest difference from Keras that a format may show; see `_limit`
SAMPLE = 10_000  # rows compared where not every input can be listed


# ---- export ----


def export_model(
    model,
    directory: str | Path,
    signature: Signature | None = None,
    metrics: Mapping | None = None,
    label: str = "label",
    formats: Iterable[str] = FORMATS,
) -> dict:
    """Write `model` to `directory` in each of `formats`, with its model card, and return the card.

    model: a Keras model with one input and one output. signature: what its features are; None takes them for 0/1
    features named g1..gn. metrics: what was measured, with the data it was measured on under "data".

    Each file is read back and compared with the model before it counts. A format that cannot hold the model is left
    out, with a warning and the reason under "not_exported" in the card. It may differ by `TOLERANCE`; models of
    real-valued features by what the model makes of a change in their last bit, where that is more ("limit" in the
    card). The folder is replaced as a whole at the end: where anything fails before, the previous export is
    untouched. Raises `ArtifactError` where nothing can be
    exported, and where `directory` holds files that are no export, which are not overwritten.
    """
    directory, formats = Path(directory), tuple(formats)
    unknown = [name for name in formats if name not in WRITERS]
    if unknown or not formats:
        raise ArtifactError(f"there is no format {', '.join(unknown)!r}: choose from {', '.join(FORMATS)}")
    signature, shape = _signature(model, signature, label)
    inputs, described = _inputs(signature)
    _check_folder(directory)
    answer = compiled(model)  # calls the model once, which Keras wants before it exports a freshly loaded one
    expected = _blockwise(lambda rows: answer(rows.reshape(-1, *shape)), inputs)
    limit = _limit(lambda rows: answer(rows.reshape(-1, *shape)), signature, inputs, expected)
    if not np.isfinite(expected).all():
        raise ArtifactError("the model answers some legal inputs with numbers that are not finite: train it again")

    scratch = directory.parent / f".{directory.name}.new-{uuid.uuid4().hex[:8]}"
    try:
        scratch.mkdir(parents=True)
        refused = _write_all(model, scratch, signature, formats)
        card = {
            "model": {"class": type(model).__name__, "layers": len(model.layers), "parameters": model.count_params()},
            "signature": signature.to_dict(),
            "metrics": {"data": "not stated", **(metrics or {})} if metrics else {},
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": _versions(),
        }
        if shape != (signature.n,):
            card["input_shape"] = list(shape)
        _write_card(scratch, card | {"files": _files(scratch)})
        differences = {}
        for name in [name for name in formats if name not in refused]:
            problem, differences[name] = _compare(scratch, name, inputs, expected, limit)
            if problem:
                refused[name] = problem
                del differences[name]
                _remove(scratch / FILES[name])
        if not differences:
            raise ArtifactError("; ".join(f"{FILES[name]}: {reason}" for name, reason in refused.items()))
        for name, reason in refused.items():
            warnings.warn(f"{FILES[name]} is left out: {reason}", stacklevel=2)
        card["formats"] = list(differences)
        card["not_exported"] = {name: {"file": FILES[name], "reason": reason} for name, reason in refused.items()}
        card["parity"] = {
            "inputs": described,
            "limit": limit,
            "largest_difference": max(differences.values()),
            "by_format": differences,
        }
        card["files"] = _files(scratch)
        _write_card(scratch, card)
        _replace(scratch, directory)
    except OSError as error:
        reason = f"the model cannot be written to {directory.name}/ ({error.strerror or error})"
        raise ArtifactError(f"{reason}: make the folder writable, or name another") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return read_card(directory)


def read_card(directory: str | Path) -> dict:
    """The model card of the export in `directory`, a dict; `ArtifactError` where there is none or it is damaged.

    "signature" holds the features in order and the label, "metrics" what was measured on which data, "formats" and
    "not_exported" what was written, and what was not and why, "parity" the largest difference from Keras, on which
    inputs, and the limit, "files" bytes and SHA-256 of every file, "versions" of everything that took part, "created"
    the time in UTC.
    """
    try:
        return load_card(directory)
    except PredictorError as error:
        raise ArtifactError(str(error)) from error


def _signature(model, signature: Signature | None, label: str) -> tuple[Signature, tuple[int, ...]]:
    """The signature of a model, and the shape of one row as the model takes it: (n,) but for images and the like."""
    inputs, outputs = getattr(model, "inputs", None), getattr(model, "outputs", None)
    if not inputs or not outputs:
        raise ArtifactError("the model has not been built: give it a keras.Input, or call it on a row first")
    if len(inputs) != 1 or len(outputs) != 1:
        raise ArtifactError(f"the model has {len(inputs)} inputs and {len(outputs)} outputs: only one each is exported")
    shape = tuple(inputs[0].shape[1:])
    if not shape or None in shape:
        raise ArtifactError(f"the model takes rows of shape {shape}: only a fixed number of features can be exported")
    n = int(np.prod(shape))
    if signature is None:
        signature = Signature(tuple(Feature(f"g{i + 1}") for i in range(n)), label)
    if signature.n != n:
        raise ArtifactError(f"the signature lists {signature.n} features, the model takes {n}")
    return signature, shape


def _inputs(signature: Signature) -> tuple[np.ndarray, str]:
    """The rows on which formats are compared, (k, n) float32, and what to call them."""
    every = signature.every_input()
    if every is not None:
        return every, f"all {len(every):,} inputs"
    return signature.sample(SAMPLE), f"a sample of {SAMPLE:,} inputs"


def _write_all(model, folder: Path, signature: Signature, formats: tuple[str, ...]) -> dict[str, str]:
    """Write each format; return those that cannot hold the model, with the reason."""
    refused = {}
    for name in formats:
        try:
            WRITERS[name](model, folder / FILES[name], signature)
        except OSError:
            raise  # a full disk is not the format's fault
        except Exception as error:
            refused[name] = _reason(error)
            _remove(folder / FILES[name])
    return refused


def _limit(answer: Callable, signature: Signature, inputs: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference from Keras that counts as the same model.

    `TOLERANCE`, times the largest answer where that is above 1. Each runtime adds up in an order of its own, and a
    model can amplify the rounding: where features are real-valued, twice what Keras's own answers change when every
    input changes in its last bit is allowed too. (A network on 300 features, with logits up to 65, changed by 3e-6.)
    """
    allowed = TOLERANCE * max(1.0, float(np.abs(expected).max()))
    if signature.all_binary:
        return allowed
    moved = _blockwise(answer, np.nextafter(inputs, np.float32(np.inf)))
    return max(allowed, 2 * float(np.abs(moved - expected).max()))


def _compare(
    folder: Path, name: str, inputs: np.ndarray, expected: np.ndarray, limit: float
) -> tuple[str | None, float]:
    """What is wrong with a format that was written, or None; and its largest difference from the model."""
    try:
        found = _blockwise(_loaded(folder, name), inputs)
    except Exception as error:
        return f"it cannot be read back ({_reason(error)})", np.inf
    difference = float(np.abs(found - expected).max())
    return (None if difference <= limit else f"its answers differ from Keras by up to {difference:.1e}"), difference


def _loaded(folder: Path, name: str) -> Callable[[np.ndarray], np.ndarray]:
    """The function (k, n) -> answers that the file of one format holds."""
    if name in BACKENDS:
        return load_predictor(folder, BACKENDS[name])
    shape = load_card(folder).get("input_shape")
    if name == "h5":
        answer = compiled(load_keras(folder / FILES[name], compile=False))
    else:
        import tensorflow as tf

        loaded = tf.saved_model.load(str(folder / FILES[name]))
        answer = lambda rows: loaded.serve(tf.constant(rows)).numpy()  # noqa: E731
        answer.model = loaded  # which would be collected while its function is still in use
    return answer if shape is None else lambda rows: answer(rows.reshape(-1, *shape))


def _blockwise(answer: Callable, inputs: np.ndarray, size: int = 2048) -> np.ndarray:
    """Answers to all inputs, (k,) or (k, m), asked for in blocks."""
    answers = np.concatenate([answer(inputs[i : i + size]) for i in range(0, len(inputs), size)])
    return answers[:, 0] if answers.ndim == 2 and answers.shape[1] == 1 else answers


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__


# ---- the folder ----


def _check_folder(directory: Path) -> None:
    """Refuse to replace a folder that holds anything but an export."""
    ours = {*FILES.values(), "card.json"}
    if directory.is_dir():
        foreign = sorted(
            path.name for path in directory.iterdir() if not path.name.startswith(".") and path.name not in ours
        )
        if foreign:
            raise ArtifactError(
                f"{directory.name}/ holds other files ({', '.join(foreign[:3])}): give a folder of its own"
            )
    elif directory.exists():
        raise ArtifactError(f"{directory.name} is a file: give the name of a folder")


def _replace(scratch: Path, directory: Path) -> None:
    """Put `scratch` in the place of `directory`; where that fails, `directory` is what it was."""
    aside = scratch.with_name(scratch.name.replace(".new-", ".old-"))
    if directory.exists():
        os.replace(directory, aside)
    try:
        os.replace(scratch, directory)
    except OSError:
        if aside.exists():
            os.replace(aside, directory)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _write_card(folder: Path, card: dict) -> None:
    text = json.dumps(card, indent=2, default=_plain)
    (folder / "card.json").write_text(text + "\n", encoding="utf-8")


def _plain(value):
    """NumPy numbers and arrays as JSON."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"metrics hold a {type(value).__name__}, which a model card cannot: use numbers and text")


def _files(folder: Path) -> dict[str, dict]:
    """Bytes and SHA-256 of every file of an export, by its path in the folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != "card.json":
            content = path.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            found[path.relative_to(folder).as_posix()] = {"bytes": len(content), "sha256": digest}
    return found


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


# ---- parity ----


def parity(directory: str | Path):
    """Every exported format held against Keras, as a pandas DataFrame with one row per format.

    Columns: format; bytes (of the file or folder); largest_difference (from `model.keras`, over every input where all
    features are 0/1 and at most 16, otherwise over 10,000 random ones); load_s (seconds to the first answer: importing
    the runtime, reading the file, one row; NumPy is there before); latency_ms (median of single rows); memory_mb (of
    the process).

    Each runtime is measured in a process that imports nothing else. The three formats that TensorFlow runs share one
    process: its import counts for each, its memory is that of TensorFlow plus what the format added.
    Raises `ArtifactError` where there is no export, or no Keras file to compare with.
    """
    import pandas as pd

    directory = Path(directory)
    card = read_card(directory)
    written = [name for name in FORMATS if name in card["formats"]]
    reference = next((name for name in TENSORFLOW if name in written), None)
    if reference is None:
        raise ArtifactError(f"{directory.name}/ holds no format of Keras to compare with: export 'keras' as well")
    groups = [[name for name in written if name in TENSORFLOW], *([name] for name in written if name not in TENSORFLOW)]
    with tempfile.TemporaryDirectory() as answers:
        measured = {}
        for group in groups:
            measured |= _measure_in_process(directory, group, Path(answers))
        expected = np.load(Path(answers) / f"{reference}.npy")
        rows = []
        for name in written:
            found = np.load(Path(answers) / f"{name}.npy")
            size = sum(e["bytes"] for path, e in card["files"].items() if path.split("/")[0] == FILES[name])
            rows.append(
                {
                    "format": name,
                    "bytes": size,
                    "largest_difference": float(np.abs(found - expected).max()),
                    **measured[name],
                }
            )
    return pd.DataFrame(rows)


def _measure_in_process(directory: Path, names: list[str], answers: Path) -> dict[str, dict]:
    """`_measure` in an interpreter of its own."""
    code = "import sys; from helpers.artifacts import _measure; _measure(*sys.argv[1:])"
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
    started = time.perf_counter()
    if formats[0] in TENSORFLOW:
        import keras  # noqa: F401
    imported = time.perf_counter() - started
    runtime = before = process.memory_info().rss
    for name in formats:
        started = time.perf_counter()
        answer = _loaded(Path(directory), name)
        signature = Signature.from_dict(load_card(directory)["signature"])
        row = signature.sample(1)
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
        np.save(Path(answers) / f"{name}.npy", _blockwise(answer, _inputs(signature)[0]))
        before = process.memory_info().rss
    (Path(answers) / f"{formats[0]}.json").write_text(json.dumps(measured), encoding="utf-8")
