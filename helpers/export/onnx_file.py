"""An ONNX file: its inputs and outputs, and the changes that let it answer arrays of numbers."""

from __future__ import annotations

import functools
import json
import re
from contextlib import suppress
from pathlib import Path

import numpy as np

from helpers.export.errors import ArtifactError
from helpers.export.foreign import ForeignModel, open_shape, rows_first
from helpers.export.graphs import CLASSIFIES, Asked, Graph, Operation, Tensor, row_by_row
from helpers.export.run_onnx import onnx_function, onnx_session

CAPTURED = re.compile(r"(.+/)+[xy]:0")  # TensorFlow's name of what a function found outside of it
LOOKED_UP = ("cats_", "keys_strings", "keys_int64s")  # what an encoder knows


class OnnxFile(ForeignModel):
    """An ONNX file, run by ONNX Runtime. Weights that lie beside it, in files of their own, are taken in."""

    format, kind = "onnx", "ONNX"

    def __init__(self, path: Path):
        super().__init__(path)
        try:
            session = onnx_session(self.content)
        except Exception as error:
            raise ArtifactError(f"{path.name} cannot be run by ONNX Runtime: {_reason_of(error)}") from error
        made = self._model.graph
        self.maker = " ".join([self._model.producer_name, *self._model.producer_version.split()[:1]])
        self.parameters = _parameters(made)
        graph = _graph_of(made)
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
                rows_first(path, each.name, _told_shape(path, self._model, each)),
                _dtype_of(path, each),
                **{**graph.told_of(each.name), **self._told_of_columns.get(each.name, {})},
                pixels=self._pixels(each),
            )
            for each in session.get_inputs()
        )
        self.outputs = tuple(
            Tensor(
                each.name,
                (None, *open_shape(each.shape)[1:]),
                _dtype_of(path, each),
                None if each.name in self._classes else graph.activation(each.name),
                classes=self._classes.get(each.name, ()),
            )
            for each in session.get_outputs()
        )
        self.tables, self.answer = graph.tables(), onnx_function(session)
        self.first_steps = _first_steps(self._model, graph)
        if self._model.producer_name == "skl2onnx":  # of a MinMaxScaler; others add less a mean, too
            self.shifted = frozenset(each.output[0] for each in made.node if each.op_type == "Add")

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
        self._told_of_columns = _in_columns(self._model.graph)
        self._classes = _named_classes(self._model.graph)
        texts = _in_numbers(self._model.graph, is_classifier=bool(self._classes))
        if self._model.graph.output and all(map(_is_text, self._model.graph.output)):
            names = ", ".join(each.name for each in self._model.graph.output)
            raise ArtifactError(f"{path.name} answers with texts only ({names}): convert it anew with its numbers, too")
        self.texts = texts or ()
        if not outside and texts is None and not self._told_of_columns:
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


def _parameters(graph) -> int:
    """How many numbers a graph learned, in operations as those of scikit-learn, too, but no sizes and places."""
    from onnx import TensorProto

    held = sum(int(np.prod(each.dims)) for each in graph.initializer if each.data_type != TensorProto.INT64)
    return held + sum(len(each.floats) for node in graph.node for each in node.attribute)


def _graph_of(graph) -> Graph:
    constants: dict[str, int | None] = {each.name: each.dims[0] if each.dims else None for each in graph.initializer}
    constants |= {each.output[0]: None for each in graph.node if each.op_type == "Constant"}
    return Graph(map(_operation, graph.node), constants, functools.partial(_value_in, graph))


def _operation(node) -> Operation:
    """A node of an ONNX graph, with what it looks up where it is one of scikit-learn's encoders."""
    from onnx import helper

    told = {each.name: helper.get_attribute_value(each) for each in node.attribute if each.name.startswith(LOOKED_UP)}
    values = tuple(each.decode() if isinstance(each, bytes) else each for each in next(iter(told.values()), ()))
    is_open = node.op_type != "OneHotEncoder" or any(each.name == "zeros" and each.i for each in node.attribute)
    known = {("known" if is_open else "values"): values} if values else {}
    return Operation(node.op_type, tuple(node.input), tuple(node.output), **known)


def _first_steps(model, graph: Graph) -> Asked:
    """What a graph makes of numbers before it weighs them, as `graphs.Asked`."""
    import onnx

    held, given = model.graph.initializer, {each.name: each for each in model.graph.input if not _is_text(each)}
    operations, scaled = graph.first_steps(given.keys() - {each.name for each in held})
    wanted = {name for each in operations for name in each.reads}
    made = {name for each in operations for name in each.writes} | wanted
    nodes = [each for each in model.graph.node if made.issuperset(each.output)]
    taken = [name for name in given if name in wanted]
    ends = [[given[name] for name in taken], [onnx.ValueInfoProto(name=name) for name in scaled]]
    part = onnx.helper.make_graph(nodes, "first", *ends, [each for each in held if each.name in wanted])
    part = onnx.helper.make_model(part, opset_imports=model.opset_import, ir_version=model.ir_version)
    session = functools.cache(lambda: onnx_session(part.SerializeToString()))
    return row_by_row(scaled, lambda rows: session().run(scaled, {name: rows[name] for name in taken}))


def _value_in(graph, name: str) -> np.ndarray | None:
    """What a constant of an ONNX graph holds, where it is one of numbers."""
    from onnx import helper, numpy_helper

    for each in graph.initializer:
        if each.name == name:
            return numpy_helper.to_array(each)
    made = next(each for each in graph.node if name in each.output)
    value = helper.get_attribute_value(made.attribute[0])
    value = numpy_helper.to_array(value) if hasattr(value, "dims") else np.asarray(value)
    return value if value.dtype.kind in "iuf" else None


def _in_columns(graph) -> dict[str, dict]:
    """Let a graph take each column of a matrix by itself, where some hold no other values than those of their own.

    Returns what is told of those columns, by their names.
    """
    from onnx import helper

    told, read = {}, _graph_of(graph)
    for i, source in reversed(list(enumerate(graph.input))):
        kind, columns = source.type.tensor_type, read.columns(source.name)
        columns += [{}] * (kind.shape.dim[-1].dim_value - len(columns) if kind.shape.dim else 0)
        are_alike = all(each == columns[0] for each in columns)
        if len(kind.shape.dim) != 2 or are_alike or not any(each.get("values") for each in columns):
            continue
        names = [f"{source.name}_{at + 1}" for at in range(len(columns))]
        told |= dict(zip(names, columns, strict=True))
        graph.node.insert(0, helper.make_node("Concat", names, [source.name], axis=1))
        del graph.input[i]
        for name in reversed(names):
            graph.input.insert(i, helper.make_tensor_value_info(name, kind.elem_type, [None, 1]))
    return told


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


def _reason_of(error: Exception) -> str:
    """What ONNX Runtime says of a file that it does not run, without places in its own code, and what to do."""
    import onnx

    whole = (str(error).strip().splitlines() or [type(error).__name__])[0]
    said = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", whole)
    said = re.sub(r"/\S+\.(cc|h):\d+ .*?(\)|\(\)>) (?=[A-Z])", "", said)[:200].rstrip(" .")
    return f"{said}; convert it anew, with operations of ONNX only, of version {onnx.defs.onnx_opset_version()} at most"


def _dtype_of(path: Path, tensor) -> str:
    kinds = {"float": "float32", "double": "float64"}
    kind = tensor.type.removeprefix("tensor(").removesuffix(")")
    if "(" in kind or not tensor.type.startswith("tensor("):
        raise ArtifactError(
            f"{tensor.name} of {path.name} is a {tensor.type}, and an array is served: convert it anew without it"
        )
    return kinds.get(kind, kind)
