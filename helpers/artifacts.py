"""Writing a model in every format, with its model card, and proving that every format answers alike.

A Keras model comes in; a folder goes out: `model.keras`, `model.h5`, `saved_model/`, `model.onnx`, `model.tflite`,
`model.npz` and `card.json`. `predictors.load_predictor` reads it again.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import uuid
import warnings
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import numpy as np

from helpers.legacy import load_keras
from helpers.signature import Feature, Signature

__all__ = ["FORMATS", "ArtifactError", "export_model", "load_keras", "read_card"]

FILES = {
    "keras": "model.keras",
    "h5": "model.h5",
    "saved_model": "saved_model",
    "onnx": "model.onnx",
    "tflite": "model.tflite",
    "npz": "model.npz",
}
FORMATS = tuple(FILES)


class ArtifactError(RuntimeError):
    """A model that cannot be exported, or an export that cannot be read."""


def export_model(model, directory, signature=None, metrics=None, label="label", formats=FORMATS) -> dict:
    """Write `model` to `directory` in `formats`, with its card, and return the card."""
    directory = Path(directory)
    if signature is None:
        signature = Signature(tuple(Feature(f"g{i + 1}") for i in range(model.input_shape[-1])), label)
    model(signature.sample(1))
    directory.parent.mkdir(parents=True, exist_ok=True)
    scratch = directory.parent / f".{directory.name}.new-{uuid.uuid4().hex[:8]}"
    scratch.mkdir()
    refused = {}
    try:
        for name in formats:
            try:
                WRITERS[name](model, scratch / FILES[name], signature)
            except Exception as error:
                refused[name] = str(error)
                warnings.warn(f"{FILES[name]} was not written: {error}", stacklevel=2)
        card = {
            "signature": signature.to_dict(),
            "formats": [name for name in formats if name not in refused],
            "metrics": metrics or {},
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": _versions(),
            "not_exported": refused,
            "files": {
                path.relative_to(scratch).as_posix(): {
                    "bytes": path.stat().st_size,
                    "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                }
                for path in sorted(scratch.rglob("*"))
                if path.is_file()
            },
        }
        (scratch / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
        if directory.exists():
            shutil.rmtree(directory)
        os.replace(scratch, directory)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return card


def read_card(directory) -> dict:
    """The model card of the export in `directory`."""
    return json.loads((Path(directory) / "card.json").read_text(encoding="utf-8"))


def _write_saved_model(model, path, signature):
    model.export(path, verbose=False)


def _write_tflite(model, path, signature):
    model.export(path, format="litert", verbose=False)


def _write_onnx(model, path, signature):
    import tensorflow as tf
    import tf2onnx
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    spec = tf.TensorSpec((None, signature.n), tf.float32, name="features")
    answer = tf.function(lambda features: model(features, training=False), input_signature=[spec])
    frozen = convert_variables_to_constants_v2(answer.get_concrete_function())
    proto, _ = tf2onnx.convert.from_graph_def(
        frozen.graph.as_graph_def(), input_names=["features:0"], output_names=[frozen.outputs[0].name], opset=17
    )
    path.write_bytes(proto.SerializeToString())


def _write_npz(model, path, signature):
    layers, arrays = [], {}
    for i, layer in enumerate(model.layers):
        kind = type(layer).__name__
        if kind == "Dense":
            kernel, bias = layer.get_weights()
            arrays |= {f"{i}.kernel": kernel, f"{i}.bias": bias}
            layers.append(
                {"type": "Dense", "kernel": f"{i}.kernel", "bias": f"{i}.bias", "activation": layer.activation.__name__}
            )
        elif kind == "Normalization":
            arrays |= {
                f"{i}.mean": np.asarray(layer.mean),
                f"{i}.scale": np.maximum(np.sqrt(np.asarray(layer.variance)), 1e-7),
            }
            layers.append({"type": kind, "mean": f"{i}.mean", "scale": f"{i}.scale"})
        elif kind not in ("Dropout", "InputLayer"):
            raise ArtifactError(f"NumPy predictor does not know the layer {kind}")
    np.savez(path, layers=json.dumps(layers), features=signature.n, **arrays)


WRITERS = {
    "keras": lambda model, path, signature: model.save(path),
    "h5": lambda model, path, signature: model.save(path),
    "saved_model": _write_saved_model,
    "onnx": _write_onnx,
    "tflite": _write_tflite,
    "npz": _write_npz,
}


def _versions() -> dict:
    packages = ("keras", "tensorflow", "numpy", "onnx", "tf2onnx", "onnxruntime", "ai-edge-litert", "h5py")
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in packages}
