"""The model card, `card.json`: what a model takes, how good it was on which data, what each of its files must be."""

from __future__ import annotations

import hashlib
import json
import math
import platform
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import numpy as np

from helpers.data.inputs import signature_from
from helpers.export.errors import PredictorError
from helpers.export.folder import CARD, read_bytes

CARD_BYTES = 64 * 1024 * 1024  # of a card.json at most
PACKAGES = ("keras", "tensorflow", "numpy", "h5py", "onnx", "tf2onnx", "onnxruntime", "ai-edge-litert", "pypmml")


def read_card(directory: str | Path) -> dict:
    """The model card of the export in `directory`, a dict; `PredictorError` where there is none or it is damaged.

    "signature" holds the features (or other inputs) in order, the label and the outputs, "metrics" what was measured
    on which data, "distribution" how the training's rows and scores were distributed, "formats" and "not_exported" what
    was written, and what was not and why, "parity" the largest difference from Keras, on which inputs, the limit, and
    under "not_evaluated" what was not held against it and why, "files" bytes and SHA-256 of every file, "versions" of
    everything that took part, "created" the time in UTC.
    """
    path = Path(directory) / CARD
    where = f"{path.parent.name}/{CARD}"
    try:
        card = json.loads(read_bytes(path.parent, path.name, CARD_BYTES))
        _check(card)
    except OSError as error:
        raise PredictorError(f"there is no model in {path.parent.name}/ ({where}: {error.strerror})") from error
    except (ValueError, OverflowError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PredictorError(f"{where} is damaged ({str(error)[:200]}): export the model again") from error
    return card


def _check(card: dict) -> None:
    """ValueError, KeyError or TypeError where a card holds what no export has written."""
    signature = signature_from(card["signature"])
    for text in (signature.label, signature.positive, *signature.names):
        if not isinstance(text, str):
            raise ValueError(f"the name {text!r}")
    for feature in signature.features:
        default = feature.default
        if not (isinstance(default, str) or (isinstance(default, int | float) and math.isfinite(default))):
            raise ValueError(f"the typical value {default!r} of {feature.name!r}")
    for name, entry in card["files"].items():
        length, digest = entry["bytes"], entry["sha256"]
        if not (isinstance(length, int) and length >= 0 and isinstance(digest, str)):
            raise ValueError(f"the file {name!r} of {length!r} bytes")
    shape = card.get("input_shape") or []
    if not all(isinstance(size, int) and size > 0 for size in shape):
        raise ValueError(f"the input shape {shape!r}")


def measured(card: dict) -> dict:
    """What was measured of a model, on which data; without what no export has written, as a hand may have."""
    metrics = card.get("metrics")
    if not isinstance(metrics, dict):
        return {}
    interval = metrics.get("test_auc_interval")
    fits = {
        "test_auc": _is_number(metrics.get("test_auc")),
        "test_auc_interval": isinstance(interval, list) and len(interval) == 2 and all(map(_is_number, interval)),
        "rows": isinstance(metrics.get("rows"), int),
        "test_rows": isinstance(metrics.get("test_rows"), int),
    }
    return {name: value for name, value in metrics.items() if fits.get(name, True)}


def _is_number(value) -> bool:
    return isinstance(value, int | float) and abs(value) < 1e300  # an int may be larger than any float


def read_artifact(directory: Path, file: str, card: dict) -> bytes:
    """The content of a file of an export that is as its card says; `PredictorError` where it is not."""
    where = f"{directory.name}/{file}"
    expected = card["files"].get(file)
    if expected is None:
        refused = {entry["file"]: entry["reason"] for entry in card.get("not_exported", {}).values()}
        because = f" because {refused[file]}" if file in refused else ""
        raise PredictorError(f"{where} was not exported{because}: export the model with this format, or choose another")
    try:
        content = read_bytes(directory, file, expected["bytes"] + 1)
    except ValueError as error:
        raise PredictorError(
            f"{where} {error} instead of {expected['bytes']:,}: it was damaged or exchanged; export the model again"
        ) from error
    except OSError as error:
        raise PredictorError(f"{where} is missing ({error.strerror}): export the model again") from error
    if len(content) != expected["bytes"]:
        problem = f"has {len(content):,} bytes instead of {expected['bytes']:,}"
    elif hashlib.sha256(content).hexdigest() != expected["sha256"]:
        problem = "is not the file that its card describes (SHA-256 differs)"
    else:
        return content
    raise PredictorError(f"{where} {problem}: it was damaged or exchanged; export the model again")


def not_run(card: dict, runs: Iterable[str], otherwise: str) -> str:
    """Why a place that runs only some formats does not run an export, and what to do, as the sentence that follows the
    model's name; "" where it does. otherwise: what can be done in any case."""
    runs, there = [*runs], card["formats"]
    if {*runs} & {*there}:
        return ""
    refused = card.get("not_exported", {}).get("onnx")
    why = f", as {refused['reason']}" if refused else ""
    todo = f"export it to {' or '.join(runs)} first, or " if "keras" in there and not refused else ""
    return f"holds {', '.join(there)} alone{why}, and only {', '.join(runs)} run there: {todo}{otherwise}"


def image_for(formats: Iterable[str]) -> str:
    """The BACKEND that the service's image is built with for a model of these formats, which ONNX does not hold."""
    return "litert" if "tflite" in formats else "keras"


def write_card(folder: Path, card: dict) -> None:
    """Write `card` to the folder; `TypeError` where it holds what JSON cannot."""
    text = json.dumps(card, indent=2, default=_plain)
    (folder / CARD).write_text(text + "\n", encoding="utf-8")


def _plain(value):
    """NumPy numbers and arrays as JSON."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"metrics hold a {type(value).__name__}, which a model card cannot: use numbers and text")


def files_of(folder: Path) -> dict[str, dict]:
    """Bytes and SHA-256 of every file of an export, by its path in the folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != CARD:
            content = path.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            found[path.relative_to(folder).as_posix()] = {"bytes": len(content), "sha256": digest}
    return found


def versions() -> dict[str, str]:
    """The versions of Python and of every package that takes part in an export."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
