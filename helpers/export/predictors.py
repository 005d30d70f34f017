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
import functools
import io
import json
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np

from helpers.data.inputs import OPEN, Batch, InputSignature, signature_from
from helpers.data.outputs import as_arrays
from helpers.export.card import read_artifact, read_card
from helpers.export.errors import NeedsMoreError, PredictorError, first_line
from helpers.export.folder import identity
from helpers.export.kept import version_of
from helpers.export.own_code import import_layers
from helpers.quiet import keras_alone, quiet

FLOAT32 = np.dtype(np.float32)
# Rows, and numbers in them, per call of a LiteRT interpreter, which keeps the memory of the largest that it has seen.
LITERT_BLOCK, LITERT_NUMBERS = 1024, 1_000_000


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
        few = _FewRows(session, self._model_shape) if is_usual else None

        def answer(rows):
            if few is not None and 0 < len(rows) <= few.most:
                return few(rows)
            return run(wanted, {feed: rows}, run_options)[0].reshape(-1)

        return answer


class _FewRows:
    """A session as a function of few rows, (k, m) float32 to (k,), whose input and output lie where they lay before.

    Nothing is looked up or made anew for them, which is a fifth of the time of one row and a quarter of that of ten. A
    thread that finds all places for as many rows taken makes another one.
    """

    most = 16  # rows; of more the computing itself is what takes time

    def __init__(self, session, row_shape: tuple[int, ...]):
        import onnxruntime

        self._session, self._row_shape, self._options = session, row_shape, onnxruntime.RunOptions()
        # InferenceSession.run_with_iobinding asks at every call for graphics cards
        self._run = session._sess.run_with_iobinding
        self._places = [deque() for _ in range(self.most + 1)]

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        places = self._places[len(rows)]
        try:
            place = places.pop()
        except IndexError:
            place = self._new_place(len(rows))
        source, target, run = place
        source[:] = rows
        run()
        answers = target.copy()
        places.append(place)
        return answers

    def _new_place(self, count: int) -> tuple[np.ndarray, np.ndarray, Callable[[], None]]:
        from onnxruntime import OrtValue

        source, target = np.zeros((count, *self._row_shape), np.float32), np.zeros((count, 1), np.float32)
        binding = self._session.io_binding()
        # on the CPU such a value is the array's own memory
        binding.bind_ortvalue_input(self._session.get_inputs()[0].name, OrtValue.ortvalue_from_numpy(source))
        binding.bind_ortvalue_output(self._session.get_outputs()[0].name, OrtValue.ortvalue_from_numpy(target))
        run = functools.partial(self._run, binding._iobinding, self._options)
        return source, target.reshape(-1), run


def onnx_session(content: bytes):
    """An ONNX file as a session of ONNX Runtime that computes on the thread which calls it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # a damaged file is told by the exception
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    session._model_bytes = None  # the whole file once more, kept for a change of providers
    return session


def onnx_function(session) -> Callable[..., np.ndarray | tuple[np.ndarray, ...]]:
    """A session as a function of an array for each input. A file made for one row at a time gets each row by itself."""
    feeds = [each.name for each in session.get_inputs()]
    wanted = [each.name for each in session.get_outputs()]

    def run(*arrays):
        return session.run(wanted, dict(zip(feeds, arrays, strict=True)))

    if any(each.shape and each.shape[0] == 1 for each in session.get_inputs()):
        run = _row_by_row(run)
    return lambda *arrays: _answers(run(*arrays))


def _row_by_row(run: Callable) -> Callable:
    """A function of arrays of one row as one of any number of rows."""

    def each(*arrays):
        found = [run(*(array[i : i + 1] for array in arrays)) for i in range(len(arrays[0]))]
        return [np.concatenate(parts) for parts in zip(*found, strict=True)]

    return each


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


class LiteRTFunction:
    """A LiteRT file as a function of an array for each input.

    inputs, outputs: what they are called, in the order in which they are given and wanted; a file that calls them
    otherwise has them in its own order. A file of whole numbers that stand for real ones (quantized) takes and gives
    the real ones. The attributes `inputs` and `outputs` are LiteRT's details of each by name, `function` is what the
    file calls the function that is run.
    """

    def __init__(self, content: bytes, inputs=(), outputs=()):
        self._content = content
        with quiet():  # the first interpreter of a process announces itself
            self.first = self._new()
        self.function, *found = _litert_tensors(self.first)
        self.inputs, self.outputs = (_in_order(*each) for each in zip(found, (inputs, outputs), strict=True))
        row = sum(abs(int(np.prod(detail["shape_signature"]))) for detail in self.inputs.values())
        one = any(detail["shape_signature"][0] == 1 for detail in self.inputs.values())
        self._block = 1 if one else max(1, min(LITERT_BLOCK, LITERT_NUMBERS // max(row, 1)))
        # Two pools, so that no interpreter of a fixed shape is ever resized: for one row, and for blocks that short
        # ones are padded to.
        self._single, self._blocks = deque([(self.first, ())]), deque()

    def _new(self):
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_content=self._content, num_threads=1)
        for detail in interpreter.get_input_details():
            if (detail["shape_signature"][1:] < 0).any():  # which LiteRT has as 1, too small for a convolution
                sizes = [OPEN if size < 0 else size for size in detail["shape_signature"][1:]]
                interpreter.resize_tensor_input(detail["index"], (1, *sizes))
        try:
            interpreter.allocate_tensors()
        except RuntimeError as error:
            if "Select TensorFlow op" not in str(error):
                raise
            raise ValueError(
                "it holds operations of TensorFlow that LiteRT does not have: bring the model that it was made of"
            ) from error
        return interpreter

    def __call__(self, *arrays: np.ndarray) -> np.ndarray | tuple[np.ndarray, ...]:
        rows = len(arrays[0])
        if rows == 1:
            return _answers(self._invoke(self._single, arrays))
        pool, found = (self._blocks if self._block > 1 else self._single), []
        for start in range(0, rows, self._block):
            block = [array[start : start + self._block] for array in arrays]
            short = self._block - len(block[0])
            padded = [np.concatenate([part, np.zeros((short, *part.shape[1:]), part.dtype)]) for part in block]
            found.append([answer[: len(block[0])] for answer in self._invoke(pool, padded)])
        if not found:
            one = self._invoke(self._single, [np.zeros((1, *array.shape[1:]), array.dtype) for array in arrays])
            return _answers([answer[:0] for answer in one])
        return _answers([np.concatenate(parts) for parts in zip(*found, strict=True)])

    def _invoke(self, pool: deque, arrays) -> list[np.ndarray]:
        try:
            interpreter, shapes = pool.pop()  # pop and append of a deque are atomic
        except IndexError:
            interpreter, shapes = self._new(), ()
        wanted = tuple([array.shape for array in arrays])
        if shapes != wanted:
            for detail, shape in zip(self.inputs.values(), wanted, strict=True):
                interpreter.resize_tensor_input(detail["index"], shape)
            interpreter.allocate_tensors()
        for detail, array in zip(self.inputs.values(), arrays, strict=True):
            interpreter.set_tensor(detail["index"], _quantized(array, detail))
        interpreter.invoke()
        found = [_real(interpreter.get_tensor(detail["index"]), detail) for detail in self.outputs.values()]  # copies
        pool.append((interpreter, wanted))
        return found


def _litert_tensors(interpreter) -> tuple[str, dict[str, dict], dict[str, dict]]:
    """The function of a file that LiteRT runs, its first, and LiteRT's details of its inputs and outputs by names.

    "" and the names of the tensors where the file does not name its functions.
    """
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    for function in interpreter.get_signature_list():
        runner = interpreter.get_signature_runner(function)
        named = runner.get_input_details(), runner.get_output_details()
        if {each["name"] for each in named[0].values()} == {each["name"] for each in inputs}:
            ends = (
                {name: next(each for each in details if each["index"] == own["index"]) for name, own in found.items()}
                for details, found in zip((inputs, outputs), named, strict=True)
            )
            return function, *ends
    return "", {each["name"]: each for each in inputs}, {each["name"]: each for each in outputs}


def _in_order(found: dict[str, dict], names) -> dict[str, dict]:
    return {name: found[name] for name in names} if set(names) == set(found) else found


def _quantized(array: np.ndarray, detail: dict) -> np.ndarray:
    scale, zero = detail["quantization"]
    if not scale or array.dtype != FLOAT32 or np.dtype(detail["dtype"]).kind not in "iu":
        return array
    ends = np.iinfo(detail["dtype"])
    return np.clip(np.round(array / scale + zero), ends.min, ends.max).astype(detail["dtype"])


def _real(answer: np.ndarray, detail: dict) -> np.ndarray:
    scale, zero = detail["quantization"]
    return (answer.astype(FLOAT32) - zero) * np.float32(scale) if scale and answer.dtype.kind in "iu" else answer


class NumpyPredictor(Predictor):
    """The layers written out in NumPy: what a network is when the framework is taken away."""

    backend, file, package = "numpy", "model.npz", "numpy"
    threads = "threads share nothing but the weights, which are only read"

    def _load(self, artifact, content):
        with np.load(io.BytesIO(content), allow_pickle=False) as data:
            steps = [
                _numpy_step(step, {name: data[f"{i}.{name}"] for name in NUMPY_WEIGHTS.get(step["do"], ())})
                for i, step in enumerate(json.loads(str(data["layers"])))
            ]
            self._check_names(str(data["features"]))

        def run(rows):
            for step in steps:
                rows = step(rows)
            return _flat(rows)

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


def compiled(model) -> Callable[..., np.ndarray | tuple[np.ndarray, ...]]:
    """A Keras model as a function of an array for each of its inputs, compiled once for every number of rows.

    A model that is not Keras's (`foreign`) says by itself how it is asked.

    `model.predict` sets up a data pipeline at every call, and `model(rows)` runs layer by layer in Python; this runs
    the graph. Answers in half precision come as float32.
    """
    if hasattr(model, "answer"):
        return model.answer
    import tensorflow as tf

    _go_through_every_step(model)
    _make_larger(model)
    specs = [tf.TensorSpec((None, *each.shape[1:]), each.dtype) for each in model.inputs]
    # on most CPUs TensorFlow by itself has no convolutions with the channels first
    first = any(getattr(layer, "data_format", "") == "channels_first" for layer in model._flatten_layers())
    call = functools.partial(flat_call, model)
    graph = tf.function(call, input_signature=specs, jit_compile=first or None).get_concrete_function()
    kinds = [spec.dtype for spec in specs]

    def run(*arrays):
        tensors = [tf.constant(array, kind) for array, kind in zip(arrays, kinds, strict=True)]
        return _answers([answer.numpy() for answer in graph(*tensors)])

    return run


def _go_through_every_step(model) -> None:
    """Let a TimeDistributed layer of Keras 3 take sequences of an open length, in this graph and in those of exports.

    It goes through as many steps there as there are rows: it fails where a sequence is shorter, and cuts a longer one.
    """
    import keras

    def call(layer, as_ever, inputs, training=None, mask=None):
        if inputs.shape[1] is not None:
            return as_ever(inputs, training=training, mask=mask)
        rows, steps, *size = keras.ops.shape(inputs)
        given = {"training": training} if layer.layer._call_has_training_arg else {}
        if mask is not None and layer.layer._call_has_mask_arg:
            given["mask"] = keras.ops.reshape(mask, (-1, *keras.ops.shape(mask)[2:]))
        each = layer.layer.call(keras.ops.reshape(inputs, (-1, *size)), **given)
        return keras.ops.reshape(each, (rows, steps, *keras.ops.shape(each)[1:]))

    for layer in model._flatten_layers():
        if type(layer).call is keras.layers.TimeDistributed.call and "call" not in vars(layer):
            layer.call = functools.partial(call, layer, layer.call)


def _make_larger(model) -> None:
    """Let an UpSampling2D of Keras 3 that interpolates take pictures of any size, here and in exports.

    It compares their size with 0, which a graph has no answer to before it is run.
    """
    import keras
    import tensorflow as tf

    def resized(as_ever, x, height, width, data_format, interpolation="nearest"):
        if interpolation == "nearest" or data_format == "channels_first" or None not in x.shape[1:3]:
            return as_ever(x, height, width, data_format, interpolation)
        return tf.image.resize(x, tf.shape(x)[1:3] * [height, width], interpolation)

    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.UpSampling2D) and "_resize_images" not in vars(layer):
            layer._resize_images = functools.partial(resized, layer._resize_images)


def flat_call(model, *tensors) -> list:
    """The outputs of a Keras model in the order of `model.outputs`, given a tensor for each of `model.inputs`."""
    import keras

    given = model.input if len(tensors) > 1 else None
    if isinstance(given, dict):  # its keys need not be the names of the tensors, and it may hold lists of them
        named = dict(zip((each.name for each in model.inputs), tensors, strict=True))
        given = keras.tree.map_structure(lambda each: named[each.name], given)
    else:
        given = tensors[0] if len(tensors) == 1 else list(tensors)
    return keras.tree.flatten(model(given, training=False))


NUMPY_WEIGHTS = {"dense": ("kernel", "bias"), "standardize": ("mean", "spread"), "affine": ("scale", "offset")}


def _numpy_step(step: dict, weights: dict) -> Callable[[np.ndarray], np.ndarray]:
    """One step of `model.npz` as a function of its input matrix."""
    do = step["do"]
    if do == "dense":
        kernel, bias = weights["kernel"], weights["bias"]
        return lambda x: x @ kernel + bias
    if do == "standardize":
        mean, spread = weights["mean"], weights["spread"]
        return lambda x: (x - mean) / spread
    if do == "affine":
        scale, offset = weights["scale"], weights["offset"]
        return lambda x: x * scale + offset
    if do == "leaky_relu":
        slope = step.get("slope", 0.2)
        return lambda x: np.where(x > 0, x, slope * x)
    if do not in ACTIVATIONS:
        raise ValueError(f"NumPy does not know the step {do!r}")
    return ACTIVATIONS[do]


def _sigmoid(x):
    e = np.exp(-np.abs(x))  # of a number that is not positive, so that nothing overflows
    return np.where(x >= 0, 1, e) / (1 + e)


def _elu(x):
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def _softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "elu": _elu,
    # constants of Klambauer et al., Self-Normalizing Neural Networks, 2017
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0))),
    "softplus": lambda x: np.logaddexp(x, 0),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "silu": lambda x: x * _sigmoid(x),
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "exponential": np.exp,
    "softmax": _softmax,
}


def _answers(arrays: list[np.ndarray]) -> np.ndarray | tuple[np.ndarray, ...]:
    """The answers of a model's outputs: an array, or a tuple of several.

    They are float32, or float64 where the model answers with that, or with whole numbers that float32 may not hold.
    """
    found = tuple(_flat(np.asarray(array, np.result_type(array.dtype, FLOAT32))) for array in map(np.asarray, arrays))
    return found[0] if len(found) == 1 else found


def _flat(answers: np.ndarray) -> np.ndarray:
    """(k, 1) as (k,); answers of more than one number per row as they are."""
    return answers[:, 0] if answers.ndim == 2 and answers.shape[1] == 1 else answers


def _closed(rows):
    raise PredictorError("this predictor was closed: load it again")
