"""One callable over Keras, ONNX Runtime, LiteRT and NumPy: rows in, predictions out.

`load_predictor(directory, backend)` reads what `artifacts.export_model` wrote, holds it against its model card and
answers a row before it returns: what is wrong with an artifact is a `PredictorError` at load, not at the first request.
Data comes in as the (k, m) float32 matrix that the signature makes and goes out as a (k,) float32 vector. A model that
takes something else takes a `Batch`; one with several outputs returns a tuple, an array for each.
Only the package of the chosen backend is imported, so that a service on ONNX Runtime starts without TensorFlow.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from helpers.data.inputs import Batch, InputSignature, signature_from
from helpers.data.outputs import as_arrays, flat
from helpers.export.card import read_artifact, read_card
from helpers.export.errors import NeedsMoreError, PredictorError, first_line
from helpers.export.folder import identity
from helpers.export.kept import version_of
from helpers.export.own_code import import_layers
from helpers.export.run_keras import compiled
from helpers.export.run_litert import LiteRTFunction
from helpers.export.run_numpy import WEIGHTS, step_of
from helpers.export.run_onnx import FewRows, onnx_function, onnx_session
from helpers.quiet import keras_alone

FLOAT32 = np.dtype(np.float32)


class Predictor:
    """A loaded model: `predictor(rows)` takes (k, m) float32 and returns (k,) float32, float64 where the model does.

    Safe to call from any number of threads at once; `threads` says how. Other attributes: `signature`, `backend`,
    `card` (the model card as a dict), `version` (of the export, signature included: `kept.version_of`). A model that
    answers with m > 1 numbers per row returns (k, m), one with several outputs a tuple. Made by `load_predictor`.
    """

    backend: str
    file: str  # the artifact that the backend reads
    package: str  # what pip installs for it
    threads: str

    def __init__(self, artifact: Path, content: bytes, card: dict):
        self.card = card
        self.signature = signature_from(card["signature"])
        self.version = version_of(card)
        if isinstance(self.signature, InputSignature):
            self._row_shape = None  # it takes no matrix
            self._run = self._load_arrays(artifact, content)
        else:
            self._row_shape = (self.signature.width,)
            # The shape of a row as the model takes it, where that is not (m,): an image, say.
            self._model_shape = tuple(card.get("input_shape") or self._row_shape)
            self._run = self._load_rows(artifact, content)

    def __call__(self, rows: np.ndarray | Batch) -> np.ndarray | tuple[np.ndarray, ...]:
        """Predictions for `rows`, (k, m) float32 with `signature.columns`; ValueError for any other matrix."""
        if self._row_shape is None:
            return self._run(rows)
        if rows.dtype != FLOAT32 or rows.shape[1:] != self._row_shape:
            raise ValueError(f"expected a (k, {self.signature.width}) float32 matrix, got {rows.shape} {rows.dtype}")
        return self._run(rows)

    def close(self) -> None:
        """Let go of the model: calls under way finish, later ones raise `PredictorError`."""
        self._run = _closed

    def __enter__(self) -> Predictor:
        return self

    def __exit__(self, *exc) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.version}: {self.signature.n} features -> {self.signature.label}>"

    def _load_rows(self, artifact: Path, content: bytes) -> Callable[[np.ndarray], np.ndarray | tuple[np.ndarray, ...]]:
        """The function that answers a (k, m) matrix with every output, whatever shape the model takes its rows in."""
        shape = self._model_shape
        if len(self.signature.outputs) > 1:
            run = self._load_arrays(artifact, content)
            return lambda rows: run(Batch([rows.reshape(-1, *shape)]))
        run = self._load(artifact, content)
        return run if shape == self._row_shape else lambda rows: run(rows.reshape(-1, *shape))

    def _load(self, artifact: Path, content: bytes) -> Callable[[np.ndarray], np.ndarray]:
        """The function that answers a matrix of the right shape; ValueError where the model takes other features."""
        raise NotImplementedError

    def _load_arrays(self, artifact: Path, content: bytes) -> Callable[[Batch], np.ndarray | tuple[np.ndarray, ...]]:
        """The function that answers a `Batch`, an array for each input; ValueError where the backend has none."""
        inputs, outputs = self.signature.inputs, self.signature.outputs
        if len(inputs) != 1 or len(outputs) != 1 or inputs[0].dtype != "float32" or None in inputs[0].shape:
            raise ValueError(f"{self.backend} serves one float32 input of a fixed shape and one output")
        self._model_shape = tuple(inputs[0].shape)
        run = self._load(artifact, content)
        return lambda batch: run(batch.arrays[0])

    def _check_shape(self, shape) -> None:
        """Hold the model's input shape, rows first, against the card."""
        found, known = tuple(shape[1:]), self._model_shape  # an open size is a name, -1 or None
        told = [
            own if isinstance(size, str | None) or size < 0 else int(size)
            for size, own in zip(found, known, strict=False)
        ]
        if len(found) != len(known) or tuple(told) != known:
            raise ValueError(f"the model takes rows of shape {found}, its card says {self._model_shape}")

    def _check_names(self, names: str) -> None:
        """Hold the feature names that the artifact carries, a JSON list, against the card."""
        if tuple(json.loads(names)) != self.signature.columns:
            raise ValueError("the model and its card list other features, or in another order")


class KerasPredictor(Predictor):
    """Keras on TensorFlow: the reference."""

    backend, file, package = "keras", "model.keras", "tensorflow"
    threads = "one compiled function shared by all threads, as TensorFlow allows; it may use more inside"

    def _load(self, artifact, content):
        model = self._model(artifact)
        self._check_shape(model.input_shape)
        return compiled(model)

    def _load_arrays(self, artifact, content):
        answer = compiled(self._model(artifact))
        return lambda batch: answer(*batch.arrays)

    def _model(self, artifact):
        with keras_alone():
            import tensorflow  # noqa: F401  (a missing package shows here, not inside Keras)

        from helpers.export.legacy import load_keras

        # the graph of a SavedModel is a program: it was its owner who named it for the export
        return load_keras(artifact, compile=False, allow_code=self.card["model"]["class"] == "SavedModel")


class OnnxPredictor(Predictor):
    """ONNX Runtime: the default, a few microseconds a row."""

    backend, file, package = "onnx", "model.onnx", "onnxruntime"
    threads = "one session shared by all threads, as ONNX Runtime allows; a call computes on its own thread"

    def _load_arrays(self, artifact, content):
        session = onnx_session(content)
        count = len(session.get_inputs()), len(session.get_outputs())
        expected = getattr(self.signature, "n", 1) if self._row_shape is None else 1
        if count != (expected, len(self.signature.outputs)):
            raise ValueError(f"the model has {count[0]} inputs and {count[1]} outputs, its card says otherwise")
        run = onnx_function(session)
        return lambda batch: run(*batch.arrays)

    def _load(self, artifact, content):
        import onnxruntime

        session = onnx_session(content)
        inputs, outputs = session.get_inputs(), session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise ValueError(f"the model has {len(inputs)} inputs and {len(outputs)} outputs instead of one each")
        self._check_shape(inputs[0].shape)
        names = session.get_modelmeta().custom_metadata_map.get("features")
        if names is not None and not self.card.get("source"):  # whoever brought a file may name its features anew
            self._check_names(names)
        if inputs[0].shape[0] == 1 or outputs[0].type != "tensor(float)":
            return onnx_function(session)
        feed, wanted, run_options = inputs[0].name, [outputs[0].name], onnxruntime.RunOptions()
        # InferenceSession.run looks names up and checks its options again at every call: a third of the time of a row.
        run = getattr(session, "_sess", session).run
        if len(outputs[0].shape) != 2 or outputs[0].shape[1] != 1:
            return lambda rows: run(wanted, {feed: rows}, run_options)[0]
        is_usual = len(self._model_shape) == 1 and hasattr(session, "_sess")
        few = FewRows(session, self._model_shape) if is_usual else None

        def answer(rows):
            if few is not None and 0 < len(rows) <= few.most:
                return few(rows)
            return run(wanted, {feed: rows}, run_options)[0].reshape(-1)

        return answer


class LiteRTPredictor(Predictor):
    """LiteRT, once TensorFlow Lite."""

    backend, file, package = "litert", "model.tflite", "ai-edge-litert"
    threads = "an interpreter serves one thread at a time: each call takes one from a pool that grows"

    def _load(self, artifact, content):
        run = self._function(content)
        self._check_shape(next(iter(run.inputs.values()))["shape_signature"])
        return run

    def _load_arrays(self, artifact, content):
        run = self._function(content)
        return lambda batch: run(*batch.arrays)

    def _function(self, content):
        inputs = self.signature.names if self._row_shape is None else [None]
        run = LiteRTFunction(content, inputs, [output.name for output in self.signature.outputs])
        if (len(run.inputs), len(run.outputs)) != (len(inputs), len(self.signature.outputs)):
            raise ValueError(
                f"the model has {len(run.inputs)} inputs and {len(run.outputs)} outputs, its card says otherwise"
            )
        return run


class NumpyPredictor(Predictor):
    """The layers written out in NumPy: what a network is when the framework is taken away."""

    backend, file, package = "numpy", "model.npz", "numpy"
    threads = "threads share nothing but the weights, which are only read"

    def _load(self, artifact, content):
        with np.load(io.BytesIO(content), allow_pickle=False) as data:
            steps = [
                step_of(step, {name: data[f"{i}.{name}"] for name in WEIGHTS.get(step["do"], ())})
                for i, step in enumerate(json.loads(str(data["layers"])))
            ]
            self._check_names(str(data["features"]))

        def run(rows):
            for step in steps:
                rows = step(rows)
            return flat(rows)

        return run


BACKENDS: dict[str, type[Predictor]] = {
    kind.backend: kind for kind in (KerasPredictor, OnnxPredictor, LiteRTPredictor, NumpyPredictor)
}
# What runs the file of each format, that first which takes the least memory and time.
BACKEND_OF = {"onnx": "onnx", "tflite": "litert", "npz": "numpy", "keras": "keras"}


def best_backend(card: dict) -> str:
    """The backend that takes the least memory and time among those that the export has a file for."""
    return next((backend for name, backend in BACKEND_OF.items() if name in card["formats"]), "onnx")


def load_predictor(
    directory: str | Path, backend: str | None = None, imports: tuple[str, str | Path] | None = None
) -> Predictor:
    """The model that `export_model` wrote to `directory`, run by `backend`: "keras", "onnx", "litert" or "numpy".

    None is ONNX Runtime where the export holds a file for it, otherwise what it holds one for. imports: the module with
    the model's own layers, and a folder that it may lie in; imported where Keras runs the model.

    Raises `PredictorError` for an unknown backend, a missing package, an artifact that is missing, damaged, or does not
    match its card, and a model that does not answer a row with finite numbers; `ArtifactError` for a module that cannot
    be imported.
    """
    directory = Path(directory)
    if backend is not None and backend not in BACKENDS:
        raise PredictorError(f"there is no backend {backend!r}: choose one of {', '.join(BACKENDS)}")
    while True:
        read = identity(directory)
        card = read_card(directory)
        kind = BACKENDS[backend or best_backend(card)]
        if imports and kind is KerasPredictor:
            import_layers(*imports)
        try:
            predictor = _load(kind, directory, card)
        except PredictorError:
            if identity(directory) == read:
                raise
        else:
            if identity(directory) == read:
                _give_memory_back()
                return predictor
        # an export replaced the model while it was read: what was read may be of both


def _give_memory_back() -> None:
    """Return to the system what reading a file took, several times its size, where the C library would keep it."""
    with contextlib.suppress(OSError, TypeError, AttributeError):  # Windows, macOS, musl
        ctypes.CDLL(None).malloc_trim(0)


def _load(kind: type[Predictor], directory: Path, card: dict) -> Predictor:
    content = read_artifact(directory, kind.file, card)
    try:
        predictor = kind(directory / kind.file, content, card)
        answer = predictor(predictor.signature.sample(1))
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("helpers"):
            raise
        raise PredictorError(f"the backend {kind.backend!r} needs a package: pip install {kind.package}") from error
    except NeedsMoreError as error:
        module = card.get("source", {}).get("imports")
        known = f"; it was exported with --import {module}" if module else ""
        raise PredictorError(f"{directory.name}/{kind.file} cannot be served: {error.for_command()}{known}") from error
    except Exception as error:
        raise PredictorError(f"{directory.name}/{kind.file} cannot be served: {first_line(error)}") from error
    if not all(np.isfinite(each).all() for each in as_arrays(answer)):
        raise PredictorError(
            f"{directory.name}/{kind.file} answers {answer} instead of a number: export the model again"
        )
    return predictor


def _closed(rows):
    raise PredictorError("this predictor was closed: load it again")
