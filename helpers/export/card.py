"""The model card, `card.json`: what a model takes, how good it was on which data, what each of its files must be."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import platform
import stat
from importlib import metadata
from pathlib import Path

import numpy as np

from helpers.data.signature import BINARY, REAL, Signature
from helpers.export.errors import PredictorError

CARD_BYTES = 64 * 1024 * 1024  # of a card.json at most
FEATURES = 200_000  # an image of 256 x 256 in three colours
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
        size = size_of(path)
        if size > CARD_BYTES:
            raise ValueError(f"{size:,} bytes")
        card = json.loads(path.read_text(encoding="utf-8"))
        _check(card)
    except OSError as error:
        raise PredictorError(f"there is no model in {path.parent.name}/ ({where}: {error.strerror})") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PredictorError(f"{where} is damaged ({str(error)[:200]}): export the model again") from error
    return card


def size_of(path: Path) -> int:
    """The bytes of a file; OSError where it is missing, or a device or a pipe, whose content may never end."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a file")
    return found.st_size


def _check(card: dict) -> None:
    """ValueError, KeyError or TypeError where a card holds what no export has written."""
    features = card["signature"]["features"]
    if len(features) > FEATURES:
        raise ValueError(f"{len(features):,} features")
    for feature in Signature.from_dict(card["signature"]).features:
        numbers = feature.low, feature.high, feature.default
        if not (isinstance(feature.name, str) and feature.kind in (BINARY, REAL)):
            raise ValueError(f"feature {feature.name!r} of kind {feature.kind!r}")
        if not all(isinstance(number, int | float) and math.isfinite(number) for number in numbers):
            raise ValueError(f"feature {feature.name!r} with the numbers {numbers}")
        if feature.low > feature.high:
            raise ValueError(f"feature {feature.name!r} from {feature.low} to {feature.high}")
    if not isinstance(card["signature"]["label"], str):
        raise ValueError(f"the label {card['signature']['label']!r}")
    for name, entry in card["files"].items():
        length, digest = entry["bytes"], entry["sha256"]
        if not (isinstance(length, int) and length >= 0 and isinstance(digest, str)):
            raise ValueError(f"the file {name!r} of {length!r} bytes")
    shape = card.get("input_shape") or []
    if not all(isinstance(size, int) and size > 0 for size in shape):
        raise ValueError(f"the input shape {shape!r}")


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
