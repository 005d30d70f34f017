"""One callable over Keras, ONNX Runtime, LiteRT and NumPy: rows in, predictions out.

`load_predictor(directory, backend)` reads what `artifacts.export_model` wrote, holds it against its model card and answers
one row before it returns: whatever is wrong with an artifact is a `PredictorError` at load, never at the first request.
Data comes in as a (k, n) float32 matrix in the order of the signature and goes out as a (k,) float32 vector.
Only the package of the chosen backend is imported, so that a service on ONNX Runtime starts without TensorFlow.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np

from helpers.signature import Signature

FLOAT32 = np.dtype(np.float32)
LITERT_BLOCK = 4096  # rows per call of the LiteRT interpreter, which keeps the memory of the largest call it has seen


class PredictorError(RuntimeError):
    """An artifact that cannot be served: the message says what is wrong, where, and what to do."""


class Predictor:
    """A loaded model: `predictor(rows)` takes (k, n) float32 and returns (k,) float32.

    A model that answers with m > 1 numbers per row returns (k, m). Safe to call from any number of threads at once;
    `threads` says how. Attributes: `signature`, `backend`, `card` (the model card), `version` (the first 12 hexadecimal
    digits of the artifact's SHA-256), `threads`.
    """

    backend: str
    threads: str
    file: str
    package: str

    def __init__(self, artifact: Path, content: bytes, card: dict):
        self.card = card
        self.signature = Signature.from_dict(card["signature"])
        self.version = hashlib.sha256(content).hexdigest()[:12]
        self._width = (self.signature.n,)
        self._load(artifact, content)

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Predictions for `rows`, (k, n) float32 in the order of `signature.names`; ValueError for another shape or type."""
        if rows.dtype != FLOAT32 or rows.shape[1:] != self._width:
            raise ValueError(f"expected a (k, {self.signature.n}) float32 matrix, got {rows.shape} {rows.dtype}")
        return self._run(rows)

    def close(self) -> None:
        """Let go of the model; calls that are under way finish, later ones fail."""
        self._run = _closed

    def __enter__(self) -> Predictor:
        return self

    def __exit__(self, *exc) -> None:
        self.close()

    def _load(self, artifact: Path, content: bytes) -> None:
        """Set `self._run`, which takes a checked matrix, and raise ValueError when the model takes other features."""
        raise NotImplementedError

    def _check_width(self, shape) -> None:
        """`shape`: the model's input shape, rows first."""
        if tuple(shape[1:]) != self._model_shape:
            raise ValueError(
                f"the model takes inputs of shape {tuple(shape[1:])}, its card lists {self.signature.n} features"
            )

    @property
    def _model_shape(self) -> tuple[int, ...]:
        """The shape of one row as the model takes it: (n,) unless the card says otherwise (an image, say)."""
        return tuple(self.card.get("input_shape") or self._width)


class KerasPredictor(Predictor):
    """Keras on TensorFlow, `model(rows)` compiled once for every number of rows."""

    backend, file, package = "keras", "model.keras", "tensorflow"
    threads = "one compiled function shared by all threads; TensorFlow spreads large batches over its own pool"

    def _load(self, artifact, content):
        from helpers.legacy import load_keras

        model = load_keras(artifact, compile=False)
        import tensorflow as tf

        self._check_width(model.input_shape)
        shape = (-1, *self._model_shape)

        @tf.function(input_signature=[tf.TensorSpec((None, self.signature.n), tf.float32)])
        def answer(rows):
            return model(tf.reshape(rows, shape), training=False)

        compiled = answer.get_concrete_function()
        self._run = lambda rows: _one_per_row(compiled(tf.constant(rows)).numpy())


class OnnxPredictor(Predictor):
    """ONNX Runtime on the calling thread."""

    backend, file, package = "onnx", "model.onnx", "onnxruntime"
    threads = "one session shared by all threads; each call is computed on the thread that makes it"

    def _load(self, artifact, content):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        inputs = session.get_inputs()
        if len(inputs) != 1:
            raise ValueError(f"the model takes {len(inputs)} inputs instead of 1")
        self._check_width(inputs[0].shape)
        name, outputs, run_options = inputs[0].name, [session.get_outputs()[0].name], onnxruntime.RunOptions()
        # InferenceSession.run checks names again at every call, a third of the time of one row.
        run = getattr(session, "_sess", session).run
        self._run = lambda rows: _one_per_row(run(outputs, {name: rows}, run_options)[0])


class LiteRTPredictor(Predictor):
    """LiteRT (once TensorFlow Lite), an interpreter for each call that is under way."""

    backend, file, package = "litert", "model.tflite", "ai-edge-litert"
    threads = "an interpreter is not thread-safe: each call takes one from a pool, which grows to the calls at once"

    def _load(self, artifact, content):
        from ai_edge_litert.interpreter import Interpreter

        pool: deque = deque()

        def new():
            interpreter = Interpreter(model_content=content, num_threads=1)
            interpreter.allocate_tensors()
            return interpreter

        first = new()
        source, target = first.get_input_details()[0], first.get_output_details()[0]
        self._check_width(source["shape_signature"])
        pool.append(first)

        def run(rows):
            try:
                interpreter = pool.pop()  # pop and append of a deque are atomic
            except IndexError:
                interpreter = new()
            if interpreter.get_input_details()[0]["shape"][0] != len(rows):
                interpreter.resize_tensor_input(source["index"], rows.shape)
                interpreter.allocate_tensors()
            interpreter.set_tensor(source["index"], rows)
            interpreter.invoke()
            answer = interpreter.get_tensor(target["index"])
            pool.append(interpreter)
            return _one_per_row(answer)

        self._run = run


class NumpyPredictor(Predictor):
    """The layers written out in NumPy: what a network is, without a framework."""

    backend, file, package = "numpy", "model.npz", "numpy"
    threads = "nothing is shared but the weights, which are only read; NumPy's own threads serve large batches"

    def _load(self, artifact, content):
        with np.load(io.BytesIO(content), allow_pickle=False) as data:
            layers = json.loads(str(data["layers"]))
            steps = [_numpy_step(layer, data) for layer in layers]
            width = int(data["features"])
        self._check_width((None, width))

        def run(rows):
            for step in steps:
                rows = step(rows)
            return _one_per_row(rows)

        self._run = run


BACKENDS: dict[str, type[Predictor]] = {
    c.backend: c for c in (KerasPredictor, OnnxPredictor, LiteRTPredictor, NumpyPredictor)
}


def load_predictor(directory: str | Path, backend: str = "onnx") -> Predictor:
    """The model that `export_model` wrote to `directory`, run by `backend`: "keras", "onnx", "litert" or "numpy"."""
    if backend not in BACKENDS:
        raise PredictorError(f"there is no backend {backend!r}: choose one of {', '.join(BACKENDS)}")
    kind = BACKENDS[backend]
    card = load_card(directory)
    artifact = Path(directory) / kind.file
    try:
        content = artifact.read_bytes()
    except OSError as error:
        raise PredictorError(f"{artifact}: cannot be read ({error.strerror})") from error
    predictor = kind(artifact, content, card)
    predictor(predictor.signature.sample(1))
    return predictor


def load_card(directory: str | Path) -> dict:
    """The model card of an exported model as a dict."""
    return json.loads((Path(directory) / "card.json").read_text(encoding="utf-8"))


def _sigmoid(z):
    # exp of a negative number only, so that nothing overflows
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1 / (1 + e), e / (1 + e))


ACTIVATIONS: dict[str, Callable] = {
    "linear": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
}


def _numpy_step(layer: dict, data) -> Callable:
    """One layer of `model.npz` as a function of its input matrix."""
    if layer["type"] == "Dense":
        kernel, bias, activation = data[layer["kernel"]], data[layer["bias"]], ACTIVATIONS[layer["activation"]]
        return lambda x: activation(x @ kernel + bias)
    mean, scale = data[layer["mean"]], data[layer["scale"]]
    return lambda x: (x - mean) / scale


def _one_per_row(answers: np.ndarray) -> np.ndarray:
    """(k, 1) as (k,); anything else as it is."""
    return answers[:, 0] if answers.ndim == 2 and answers.shape[1] == 1 else answers


def _closed(rows):
    raise PredictorError("this predictor is closed: load it again")
