"""The model card, `card.json`: what a model takes, how good it was on which data, what each of its files must be."""

from __future__ import annotations

import hashlib
import json
import platform
from importlib import metadata
from pathlib import Path

import numpy as np

from helpers.data.signature import Signature
from helpers.export.errors import PredictorError

PACKAGES = ("keras", "tensorflow", "numpy", "h5py", "onnx", "tf2onnx", "onnxruntime", "ai-edge-litert")


def read_card(directory: str | Path) -> dict:
    """The model card of the export in `directory`, a dict; `PredictorError` where there is none or it is damaged.

    "signature" holds the features in order and the label, "metrics" what was measured on which data, "formats" and
    "not_exported" what was written, and what was not and why, "parity" the largest difference from Keras, on which
    inputs, and the limit, "files" bytes and SHA-256 of every file, "versions" of everything that took part, "created"
    the time in UTC.
    """
    path = Path(directory) / "card.json"
    where = f"{path.parent.name}/card.json"
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        Signature.from_dict(card["signature"])
        {name: (entry["bytes"], entry["sha256"]) for name, entry in card["files"].items()}
    except OSError as error:
        raise PredictorError(f"there is no model in {path.parent.name}/ ({where}: {error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PredictorError(f"{where} is damaged ({error}): export the model again") from error
    return card


def write_card(folder: Path, card: dict) -> None:
    """Write `card` to the folder; `TypeError` where it holds what JSON cannot."""
    text = json.dumps(card, indent=2, default=_plain)
    (folder / "card.json").write_text(text + "\n", encoding="utf-8")


def _plain(value):
    """NumPy numbers and arrays as JSON."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"metrics hold a {type(value).__name__}, which a model card cannot: use numbers and text")


def files_of(folder: Path) -> dict[str, dict]:
    """Bytes and SHA-256 of every file of an export, by its path in the folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != "card.json":
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
