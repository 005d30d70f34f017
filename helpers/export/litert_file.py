"""A LiteRT file: its inputs and outputs, and what its operations tell of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from helpers.data.decimals import rounded
from helpers.data.images import PIXELS
from helpers.export.errors import ArtifactError, first_line
from helpers.export.foreign import ForeignModel, open_shape, rows_first
from helpers.export.graphs import DEFAULT, Asked, Graph, Operation, Tensor, row_by_row
from helpers.export.run_litert import LiteRTFunction

FAINT = 1 / 16  # is the gain of weights that take bytes: of pixels from 0 to 1 they would make next to nothing
DIGITS = 3  # of how far the numbers of a quantized input spread: 8 bits tell no more apart


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
        plain, operations = _graph_in(self.content)
        tensors = {each["index"]: each for each in plain.get_tensor_details()}
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
        graph = Graph(operations, constants, lambda name: _value_of(plain, tensors.get(int(name))))
        self.tables, self.first_steps = graph.tables(), _first_steps(plain, graph, run.inputs)
        self.inputs = tuple(
            Tensor(
                name,
                rows_first(path, name, each["shape_signature"]),
                _dtype_of(each),
                **graph.told_of(str(each["index"])),
                pixels=_quantized_pixels(each) or _folded_pixels(graph.gain(str(each["index"]))),
                ends=_ends(each),
            )
            for name, each in run.inputs.items()
        )
        self.outputs = tuple(
            Tensor(
                name,
                (None, *open_shape(each["shape_signature"])[1:]),
                _dtype_of(each),
                graph.activation(str(each["index"])),
            )
            for name, each in run.outputs.items()
        )


def _graph_in(content: bytes):
    """An interpreter that keeps what each operation makes, and the operations as they are in the file."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES  # a delegate puts one operation of its own for many
    interpreter = Interpreter(
        model_content=content, experimental_op_resolver_type=plain, experimental_preserve_all_tensors=True
    )
    operations = [
        Operation(each["op_name"], tuple(map(str, each["inputs"])), tuple(map(str, each["outputs"])))
        for each in interpreter._get_ops_details()
    ]
    return interpreter, operations


def _first_steps(interpreter, graph: Graph, inputs: dict[str, dict]) -> Asked:
    """What a file makes of numbers before it weighs them, asked in the whole of it."""
    _, scaled = graph.first_steps(str(each["index"]) for each in inputs.values())

    def run(rows: dict[str, np.ndarray]) -> list[np.ndarray]:
        for name, detail in inputs.items():
            interpreter.resize_tensor_input(detail["index"], rows[name].shape)
        interpreter.allocate_tensors()
        for name, detail in inputs.items():
            interpreter.set_tensor(detail["index"], rows[name])
        interpreter.invoke()
        return [interpreter.get_tensor(int(index)) for index in scaled]

    return row_by_row(scaled, run)


def _value_of(interpreter, detail: dict | None) -> np.ndarray | None:
    """What a constant holds, real numbers where whole ones stand for those; None where there is no such tensor."""
    if detail is None:
        return None
    value, told = interpreter.get_tensor(detail["index"]), detail["quantization_parameters"]
    if not len(told["scales"]):
        return value
    shape = [-1 if i == told["quantized_dimension"] else 1 for i in range(value.ndim)]
    scales, zeros = (told[part].reshape(shape) for part in ("scales", "zero_points"))
    return (value.astype(np.float32) - zeros) * scales


def _dtype_of(detail: dict) -> str:
    is_scaled = detail["quantization"][0] and np.dtype(detail["dtype"]).kind in "iu"
    return "float32" if is_scaled else np.dtype(detail["dtype"]).name


def _ends(detail: dict) -> tuple[float, float] | None:
    """The real numbers that the smallest and the largest whole one of a file stand for; None where they do for none."""
    scale, zero = detail["quantization"]
    if not scale or np.dtype(detail["dtype"]).kind not in "iu":
        return None
    ends = np.iinfo(detail["dtype"])
    low, high = np.array([(end - zero) * scale for end in (ends.min, ends.max)])
    return tuple(rounded(end, high - low, DIGITS).item() for end in (low, high))


def _quantized_pixels(detail: dict) -> str:
    """How pixels are scaled, from how the whole numbers of a file stand for real ones."""
    ends = _ends(detail)
    if ends is None or np.dtype(detail["dtype"]).itemsize > 1:
        return ""
    known = {"0..255": (0, 255), "0..1": (0, 1), "-1..1": (-1, 1)}
    return next((name for name in PIXELS if name in known and np.allclose(ends, known[name], rtol=0.02)), "")


def _folded_pixels(gain: float | None) -> str:
    """The same where the converter has put a scaling by 1/255 into the weights, as it does before a convolution."""
    return "0..255" if gain is not None and gain < FAINT else ""
