"""Models that no Keras file holds, an ONNX or a LiteRT file: what each takes and answers, and how it is asked.

`OnnxFile(path)` and `LiteRTFile(path)` stand where a Keras model does: `detection.signature_of` finds their signature,
`artifacts.export_model` writes them. There is nothing to hold such a file against: it is its own reference.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from helpers.data.images import PIXELS
from helpers.export.errors import ArtifactError, first_line
from helpers.export.predictors import LiteRTFunction, onnx_function, onnx_session

ITSELF = "it is the file that was given, run as it is: there is no Keras model to hold it against"
DEFAULT = "serving_default"  # the function of several that is asked
OPENED = "ask whoever made it for one whose first dimension is open"
# Operations that hand each number on as it is, those that do so at another place, and those that scale it.
HANDS_ON = ("Identity", "Cast", "Squeeze", "Reshape", "Flatten", "DEQUANTIZE", "QUANTIZE", "RESHAPE", "SQUEEZE", "CAST")
MOVES = ("Transpose", "StridedSlice", "Slice", "ReverseV2", "TRANSPOSE", "STRIDED_SLICE", "REVERSE_V2")
ASKS_SHAPE = ("Shape", "Size", "SHAPE")
SCALES = (
    dict.fromkeys(("Mul", "MUL"), np.multiply)
    | dict.fromkeys(("Div", "RealDiv", "DIV"), np.divide)
    | dict.fromkeys(("Sub", "SUB"), np.subtract)
    | dict.fromkeys(("Add", "AddV2", "ADD"), np.add)
)
COMPUTES = SCALES | dict.fromkeys(("Sqrt", "SQRT"), np.sqrt) | dict.fromkeys(("Maximum", "Max", "MAXIMUM"), np.maximum)
CLASSIFIES = ("TreeEnsembleClassifier", "TreeEnsemble", "LinearClassifier", "SVMClassifier", "Normalizer")
FLATTENS, ANY = ("Flatten", "Reshape", "RESHAPE"), -1
# Operations that give a picture another size, and which of what they read is that size
RESIZES = {"Resize": 3, "RESIZE_BILINEAR": 1, "ResizeBilinear": 1, "ResizeBicubic": 1, "ResizeNearestNeighbor": 1}
LOOKS_UP = ("Gather", "GatherV2", "ResourceGather", "GATHER")
CAPTURED = re.compile(r"(.+/)+[xy]:0")  # TensorFlow's name of what a function found outside of it
SHARES = {
    "LogSoftmax": "log_softmax",
    "LOG_SOFTMAX": "log_softmax",
    "Softmax": "softmax",
    "SOFTMAX": "softmax",
    "Sigmoid": "sigmoid",
    "LOGISTIC": "sigmoid",
}


@dataclass(frozen=True)
class Tensor:
    """An input or an output of a model: shape with None where it is open, the first for the rows.

    activation: of an output, what makes it, a value of `SHARES` or "linear"; None where that is unknown. words: of an
    input, how many words the look-up knows that takes it. scaled: what the graph makes of the pixels 0 and 1 before it
    weighs them, None where that is unknown. line: the same of the numbers 0 and 1 at each place. is_resized: whether
    the graph gives a picture its own size first. flat: how many numbers stand side by side once it is reshaped, `ANY`
    for all of a row, None where it is not reshaped first. pixels: how those of a picture are scaled where no step
    tells it, "" if unknown. classes: of an output, what its shares are of, where the file says so.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    activation: str | None = None
    words: int | None = None
    scaled: tuple[float, float] | None = None
    line: tuple[np.ndarray, np.ndarray] | None = field(default=None, compare=False)
    is_resized: bool = False
    flat: int | None = None
    pixels: str = ""
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Operation:
    """One operation of a graph, with the names of what it reads and writes."""

    kind: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]


class Graph:
    """Operations, and the first dimension of each constant: enough to tell what a graph makes of its ends.

    value(name): what a constant holds; None where that is not told.
    """

    def __init__(
        self,
        operations: Iterable[Operation],
        constants: dict[str, int | None],
        value: Callable[[str], np.ndarray | None],
    ):
        self.operations, self.constants, self._value = list(operations), constants, value
        self.made_by = {name: each for each in self.operations for name in each.writes}

    def activation(self, output: str) -> str | None:
        made = self.made_by.get(self._first(output, HANDS_ON))
        if made and made.kind in CLASSIFIES:
            return None  # shares or scores, as its answers tell
        return SHARES.get(made.kind, "linear") if made else "linear"

    def words(self, source: str) -> int | None:
        """How many rows the table has that an input is looked up in."""
        sizes = [self._rows(each.reads[0]) for each in self._readers(source) if each.kind in LOOKS_UP]
        return next(filter(None, sizes), None)

    def tables(self) -> frozenset[int]:
        """How many rows the tables have in which anything is looked up."""
        sizes = [self._rows(each.reads[0]) for each in self.operations if each.kind in LOOKS_UP]
        return frozenset(filter(None, sizes))

    def told_of(self, source: str, is_plain: bool = True) -> dict:
        """What a `Tensor` says of an input. is_plain: whether its numbers stand for themselves."""
        line, scaled = (self._scaled(source, past) if is_plain else None for past in (HANDS_ON, HANDS_ON + MOVES))
        scaled = scaled and tuple(float(np.mean(numbers)) for numbers in scaled)
        told = {"is_resized": self._is_resized(source), "flat": self._flat(source)}
        return {"words": self.words(source), "line": line, "scaled": scaled, **told}

    def _scaled(self, source: str, past: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray] | None:
        """What becomes of the numbers 0 and 1 in the whole input `source` before it is weighed; None if unknown.

        past: the kinds of operations that are passed; those that move numbers leave their mean.
        """
        low, high = np.zeros(()), np.ones(())
        for taken, reader in self._chain(source):
            if reader.kind in SCALES:
                sides = [None if name == taken else self._constant(name) for name in reader.reads]
                if sum(side is None for side in sides) > 1:
                    return None
                low, high = (
                    SCALES[reader.kind](*(number if side is None else side for side in sides)) for number in (low, high)
                )
            elif reader.kind not in past:
                break
            elif reader.kind in MOVES:
                low, high = low.mean(), high.mean()
        return low, high

    def _is_resized(self, source: str) -> bool:
        """Whether a picture is given a size that is always the same before anything but its scaling is done with it."""
        past = (*HANDS_ON, *MOVES, *SCALES)
        first = next((each for _, each in self._chain(source) if each.kind not in past), None)
        size = first.reads[RESIZES[first.kind] :][:1] if first and first.kind in RESIZES else ()
        return bool(size) and self._constant(size[0]) is not None

    def _flat(self, source: str) -> int | None:
        """What `Tensor.flat` says."""
        past = ("Identity", "Cast", "CAST", "DEQUANTIZE", "QUANTIZE", *SCALES)
        first = next((each for _, each in self._chain(source) if each.kind not in past), None)
        if first is None or first.kind not in FLATTENS:
            return None
        if first.kind == "Flatten":
            return ANY
        size = first.reads[1] if len(first.reads) > 1 else ""
        if (made := self.made_by.get(size)) and made.kind in ("Pack", "PACK", "Concat"):  # the number of rows, and this
            size = made.reads[-1]
        known = self._constant(size)
        return None if known is None else int(np.ravel(known)[-1])

    def _chain(self, source: str) -> Iterator[tuple[str, Operation]]:
        """What an operation takes, and the operation, as long as only one takes it, and what that makes of it."""
        while True:
            readers = [each for each in self.operations if source in each.reads and each.kind not in ASKS_SHAPE]
            if len(readers) != 1:
                return
            yield source, readers[0]
            source = readers[0].writes[0]

    def _rows(self, name: str) -> int | None:
        """The first dimension of a constant, which may be handed on before it is used; None for what is computed."""
        return self.constants.get(self._first(name, ("Identity",)))

    def _constant(self, name: str) -> np.ndarray | None:
        """What a constant holds, or what is computed from constants; None for all else."""
        name = self._first(name, HANDS_ON)
        if name in self.constants:
            value = self._value(name)
            return None if value is None else np.asarray(value, np.float64)
        made = self.made_by.get(name)
        parts = list(map(self._constant, made.reads)) if made and made.kind in COMPUTES else [None]
        return None if any(part is None for part in parts) else COMPUTES[made.kind](*parts)

    def _first(self, name: str, kinds: Iterable[str]) -> str:
        """What operations of these kinds have handed on as `name`."""
        made = self.made_by.get(name)
        while made is not None and made.kind in kinds:
            name = made.reads[0]
            made = self.made_by.get(name)
        return name

    def _readers(self, source: str) -> list[Operation]:
        found = []
        for each in [each for each in self.operations if source in each.reads]:
            found += self._readers(each.writes[0]) if each.kind in HANDS_ON else [each]
        return found


@dataclass(frozen=True)
class Ends:
    """What a model takes and answers, how it is asked, and the sizes of its look-ups, for `detection`."""

    name: str
    inputs: list[Tensor]
    outputs: list[Tensor]
    answer: Callable[..., np.ndarray | tuple[np.ndarray, ...]]
    tables: frozenset[int] = frozenset()
    layers = ()

    @property
    def output_names(self) -> list[str]:
        return [each.name for each in self.outputs]


class ForeignModel:
    """A model that is not Keras's. `answer(*arrays)` runs it, an array for each of `inputs`.

    tables: how many rows the tables have in which it looks something up.
    """

    format: str  # the key in `formats.FILES` of the only one that holds it
    kind: str
    layers = ()
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    tables: frozenset[int]
    parameters: int
    maker = ""
    texts: Iterable[str] = ()  # outputs that are not asked for
    features: tuple[str, ...] = ()  # the names of the numbers in a row, where the file tells them
    label = ""  # the same of what is predicted
    answer: Callable[..., np.ndarray | tuple[np.ndarray, ...]]

    def __init__(self, path: Path):
        self.name, self.file = path.stem, path.name
        self.content = self._read(path)
        self.digest = hashlib.sha256(self.content).hexdigest()

    def _read(self, path: Path) -> bytes:
        return path.read_bytes()

    @property
    def output_names(self) -> list[str]:
        return [each.name for each in self.outputs]

    def __str__(self) -> str:
        maker = f" made by {self.maker}" if self.maker else ""
        texts = f"; {', '.join(self.texts)}, which is text or a class's number, is left out" if self.texts else ""
        return f"{self.file}: {self.kind} file{maker}, {self.parameters:,} parameters{texts}"


def is_foreign(model) -> bool:
    return isinstance(model, ForeignModel)


class OnnxFile(ForeignModel):
    """An ONNX file, run by ONNX Runtime. Weights that lie beside it, in files of their own, are taken in."""

    format, kind = "onnx", "ONNX"

    def __init__(self, path: Path):
        super().__init__(path)
        try:
            session = onnx_session(self.content)
        except Exception as error:
            raise ArtifactError(f"{path.name} cannot be run by ONNX Runtime: {_onnx_reason(error)}") from error
        made = self._model.graph
        self.maker = " ".join([self._model.producer_name, *self._model.producer_version.split()[:1]])
        self.parameters = sum(int(np.prod(tensor.dims)) for tensor in made.initializer)
        constants: dict[str, int | None] = {each.name: each.dims[0] if each.dims else None for each in made.initializer}
        constants |= {each.output[0]: None for each in made.node if each.op_type == "Constant"}
        operations, scalers = _onnx_operations(made)
        constants |= dict.fromkeys(scalers)
        graph = Graph(operations, constants, functools.partial(_onnx_value, made, scalers))
        if not (session.get_inputs() and session.get_outputs()):
            raise ArtifactError(f"{path.name} has no input or no output: convert it anew, with both")
        if lost := [each.name for each in session.get_inputs() if CAPTURED.fullmatch(each.name)]:
            raise ArtifactError(
                f"{path.name} has none of the numbers that its own layers learned, and asks for them ({lost[0]}), as "
                "Keras exports a Normalization: bring the Keras file, of which an ONNX file is made that holds them"
            )
        self.inputs = tuple(
            Tensor(
                each.name,
                _rows_first(path, each.name, _told_shape(path, self._model, each)),
                _onnx_dtype(path, each),
                **graph.told_of(each.name),
                pixels=self._pixels(each),
            )
            for each in session.get_inputs()
        )
        self.outputs = tuple(
            Tensor(
                each.name,
                (None, *_open(each.shape)[1:]),
                _onnx_dtype(path, each),
                None if each.name in self._classes else graph.activation(each.name),
                classes=self._classes.get(each.name, ()),
            )
            for each in session.get_outputs()
        )
        self.tables, self.answer = graph.tables(), onnx_function(session)

    def _pixels(self, source) -> str:
        is_rgb = len(source.shape) == 4 and source.shape[1] == 3
        return "torch" if is_rgb and self._model.producer_name == "pytorch" else ""

    def _read(self, path: Path) -> bytes:
        import onnx

        content = path.read_bytes()
        try:
            self._model = onnx.load_model_from_string(content)
        except Exception as error:
            raise ArtifactError(f"{path.name} is damaged or no ONNX file: get it again") from error
        outside = [each for each in self._model.graph.initializer if each.data_location == each.EXTERNAL]
        told = {each.key: each.value for each in self._model.metadata_props}
        if told.keys() >= {"features", "label"}:
            with suppress(ValueError):  # what is no JSON was not left by `formats.write_onnx`
                self.features, self.label = tuple(json.loads(told["features"])), told["label"]
        self._classes = _named_classes(self._model.graph)
        texts = _in_numbers(self._model.graph, is_classifier=bool(self._classes))
        if self._model.graph.output and all(map(_is_text, self._model.graph.output)):
            names = ", ".join(each.name for each in self._model.graph.output)
            raise ArtifactError(f"{path.name} answers with texts only ({names}): convert it anew with its numbers, too")
        self.texts = texts or ()
        if not outside and texts is None:
            return content
        if not outside:
            return self._model.SerializeToString(deterministic=True)
        files = {entry.value for each in outside for entry in each.external_data if entry.key == "location"}
        try:
            onnx.load_external_data_for_model(self._model, str(path.parent))
        except Exception as error:
            beside = ", ".join(sorted(files))
            raise ArtifactError(
                f"{path.name} keeps its weights in {beside}, which must lie beside it, whole"
            ) from error
        return self._model.SerializeToString(deterministic=True)


class LiteRTFile(ForeignModel):
    """A LiteRT file (once TensorFlow Lite), run by LiteRT."""

    format, kind = "tflite", "LiteRT"

    def __init__(self, path: Path):
        super().__init__(path)
        try:
            self.answer = run = LiteRTFunction(self.content)
        except Exception as error:
            raise ArtifactError(
                f"{path.name} cannot be run by LiteRT ({first_line(error)}): get it again, or bring the model that it "
                "was made of"
            ) from error
        several = list(run.first.get_signature_list())
        if len(several) > 1 and run.function != DEFAULT:
            raise ArtifactError(
                f"{path.name} holds several functions ({', '.join(several)}), of which LiteRT runs the first: convert "
                f"it anew with the one to ask, as signature_keys=[{(DEFAULT if DEFAULT in several else several[0])!r}]"
            )
        plain, tensors, operations = _litert_graph(self.content)
        if lent := sorted({each.kind.removeprefix("Flex") for each in operations if each.kind.startswith("Flex")}):
            raise ArtifactError(
                f"{path.name} cannot be run by LiteRT: it holds operations of TensorFlow that LiteRT does not have "
                f"({', '.join(lent[:6])}): bring the model that it was made of"
            )
        written = {name for each in operations for name in each.writes}
        given = {str(each["index"]) for each in run.inputs.values()}
        constants = {
            str(index): int(each["shape"][0]) if len(each["shape"]) else None
            for index, each in tensors.items()
            if str(index) not in written | given
        }
        self.parameters = sum(int(np.prod(tensors[int(name)]["shape"])) for name in constants if name.isdigit())
        graph = Graph(operations, constants, lambda name: plain.get_tensor(int(name)) if name.isdigit() else None)
        self.tables = graph.tables()
        self.inputs = tuple(
            Tensor(
                name,
                _rows_first(path, name, each["shape_signature"]),
                _litert_dtype(each),
                **graph.told_of(str(each["index"]), is_plain=not each["quantization"][0]),
                pixels=_quantized_pixels(each),
            )
            for name, each in run.inputs.items()
        )
        self.outputs = tuple(
            Tensor(
                name,
                (None, *_open(each["shape_signature"])[1:]),
                _litert_dtype(each),
                graph.activation(str(each["index"])),
            )
            for name, each in run.outputs.items()
        )


def _onnx_operations(graph) -> tuple[list[Operation], dict[str, np.ndarray]]:
    """The operations of an ONNX graph, a Scaler of scikit-learn's as a Sub and a Mul, and what those two know."""
    operations, known = [], {}
    for each in graph.node:
        if each.op_type != "Scaler":
            operations.append(Operation(each.op_type, tuple(each.input), tuple(each.output)))
            continue
        told = {part.name: np.array(part.floats) for part in each.attribute}
        less, by, between = (f"{each.output[0]}/{part}" for part in ("offset", "scale", "less"))
        known |= {less: told.get("offset", np.zeros(1)), by: told.get("scale", np.ones(1))}
        operations.append(Operation("Sub", (each.input[0], less), (between,)))
        operations.append(Operation("Mul", (between, by), (each.output[0],)))
    return operations, known


def _onnx_value(graph, known: dict[str, np.ndarray], name: str) -> np.ndarray | None:
    """What a constant of an ONNX graph holds, where it is one of numbers. known: see `_onnx_operations`."""
    from onnx import helper, numpy_helper

    if name in known:
        return known[name]
    for each in graph.initializer:
        if each.name == name:
            return numpy_helper.to_array(each)
    made = next(each for each in graph.node if name in each.output)
    value = helper.get_attribute_value(made.attribute[0])
    value = numpy_helper.to_array(value) if hasattr(value, "dims") else np.asarray(value)
    return value if value.dtype.kind in "iuf" else None


def _named_classes(graph) -> dict[str, tuple[str, ...]]:
    """The names of classes that converters from scikit-learn write beside the shares, by outputs."""
    made_by = {name: node for node in graph.node for name in node.output}
    found = {}
    for output in graph.output:
        node = made_by.get(output.name)
        while node is not None:
            names = [each for each in node.attribute if each.name.startswith("classlabels_")]
            is_label = node.op_type in CLASSIFIES and output.name == node.output[0]
            texts = tuple(name.decode() for each in names for name in each.strings)
            texts = texts or tuple(str(number) for each in names for number in each.ints)
            if texts and not is_label:
                found[output.name] = texts
                break
            node = made_by.get(node.input[0]) if node.op_type in ("Normalizer", "Cast", "Identity") else None
    return found


def _in_numbers(graph, is_classifier: bool = False) -> list[str] | None:
    """Let a graph answer arrays of numbers: shares as an array instead of maps, and without texts beside numbers.

    is_classifier: whether shares of named classes are there, so that the number of the likeliest one tells no more.
    Returns the outputs that are left out, None where nothing was changed.
    """
    import onnx

    changed = False
    outputs = {output.name: output for output in graph.output}
    for node in [node for node in graph.node if node.op_type == "ZipMap" and node.output[0] in outputs]:
        graph.node.remove(node)
        graph.node.append(onnx.helper.make_node("Identity", [node.input[0]], [node.output[0]]))
        count = max(len(each.strings) or len(each.ints) for each in node.attribute)
        kind = onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, [None, count])
        outputs[node.output[0]].type.CopyFrom(kind)
        changed = True
    texts = list(filter(_is_text, graph.output))
    texts += filter(_is_label, graph.output if is_classifier else ())
    if len(texts) < len(graph.output):
        for each in texts:
            graph.output.remove(each)
    return [each.name for each in texts] if changed or texts else None


def _is_text(output) -> bool:
    import onnx

    return output.type.tensor_type.elem_type == onnx.TensorProto.STRING


def _is_label(output) -> bool:
    """Whether an output holds the number of a class for each row, as converters from scikit-learn call it."""
    import onnx

    kind = output.type.tensor_type
    return kind.elem_type == onnx.TensorProto.INT64 and len(kind.shape.dim) < 2 and "label" in output.name


def _told_shape(path: Path, model, tensor) -> list:
    """The shape of an input, which ONNX Runtime has as that of a number where the file does not tell it."""
    given = next((each for each in model.graph.input if each.name == tensor.name), None)
    if given is not None and not given.type.tensor_type.HasField("shape"):
        raise ArtifactError(f"{path.name} does not tell the shape of {tensor.name}: convert it anew with the shapes")
    return tensor.shape


def _onnx_reason(error: Exception) -> str:
    """What ONNX Runtime says of a file that it does not run, without places in its own code, and what to do."""
    import onnx

    whole = (str(error).strip().splitlines() or [type(error).__name__])[0]
    said = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", whole)
    said = re.sub(r"/\S+\.(cc|h):\d+ .*?(\)|\(\)>) (?=[A-Z])", "", said)[:200].rstrip(" .")
    return f"{said}; convert it anew, with operations of ONNX only, of version {onnx.defs.onnx_opset_version()} at most"


def _litert_graph(content: bytes):
    """An interpreter, LiteRT's details of all tensors by their numbers, and the operations as they are in the file."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES  # a delegate puts one operation of its own for many
    interpreter = Interpreter(model_content=content, experimental_op_resolver_type=plain)
    operations = [
        Operation(each["op_name"], tuple(map(str, each["inputs"])), tuple(map(str, each["outputs"])))
        for each in interpreter._get_ops_details()
    ]
    return interpreter, {each["index"]: each for each in interpreter.get_tensor_details()}, operations


def _litert_dtype(detail: dict) -> str:
    is_scaled = detail["quantization"][0] and np.dtype(detail["dtype"]).kind in "iu"
    return "float32" if is_scaled else np.dtype(detail["dtype"]).name


def _quantized_pixels(detail: dict) -> str:
    """How pixels are scaled, from how the whole numbers of a file stand for real ones."""
    scale, zero = detail["quantization"]
    if not scale or np.dtype(detail["dtype"]).itemsize > 1:
        return ""
    ends = np.iinfo(detail["dtype"])
    low, high = ((end - zero) * scale for end in (ends.min, ends.max))
    known = {"0..255": (0, 255), "0..1": (0, 1), "-1..1": (-1, 1)}
    return next((name for name in PIXELS if name in known and np.allclose((low, high), known[name], rtol=0.02)), "")


def _rows_first(path: Path, name: str, shape) -> tuple[int | None, ...]:
    """The shape of an input, the first of it open: a file made for one row at a time is asked so."""
    if not len(shape):
        raise ArtifactError(f"the input {name} of {path.name} is a single number, not one for each row: {OPENED}")
    rows, *rest = _open(shape)
    if rows not in (None, 1):
        raise ArtifactError(f"{path.name} takes exactly {rows} rows at a time ({name}): {OPENED}")
    return (None, *rest)


def _open(shape) -> tuple[int | None, ...]:
    """A shape with None for what is open, which runtimes write as a name, as -1 or as None."""
    return tuple(int(size) if not isinstance(size, str | type(None)) and size >= 0 else None for size in shape)


def _onnx_dtype(path: Path, tensor) -> str:
    kinds = {"float": "float32", "double": "float64"}
    kind = tensor.type.removeprefix("tensor(").removesuffix(")")
    if "(" in kind or not tensor.type.startswith("tensor("):
        raise ArtifactError(
            f"{tensor.name} of {path.name} is a {tensor.type}, and an array is served: convert it anew without it"
        )
    return kinds.get(kind, kind)
