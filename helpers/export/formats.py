"""One writer for each file format that a Keras model can be exported to.

A Keras model comes in with the signature of its features; each `write_*(model, path, signature)` writes one file (or
folder) and raises whatever the road to that format raises for a model that it cannot hold. The same model gives
the same bytes in all of them but a SavedModel, which carries ids of its own.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import gc
import io
import json
import os
import re
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from helpers.data.inputs import InputSignature
from helpers.data.signature import Signature
from helpers.export import keras_tree
from helpers.export.errors import ArtifactError
from helpers.export.legacy import hushed
from helpers.export.onnx_ops import HANDLERS
from helpers.export.pmml import write_pmml
from helpers.export.run_keras import flat_call
from helpers.export.steps import layers_of, spread_of, steps_of
from helpers.quiet import quiet

FILES = {
    "keras": "model.keras",
    "h5": "model.h5",
    "saved_model": "saved_model",
    "onnx": "model.onnx",
    "tflite": "model.tflite",
    "npz": "model.npz",
    "pmml": "model.pmml",
}
ON_REQUEST = ("pmml",)  # it takes Java to prove that it answers like Keras, and no package index brings that
FORMATS = tuple(name for name in FILES if name not in ON_REQUEST)  # what an export writes where nothing else is said

ONNX_OPSET = 17  # read by ONNX Runtime 1.12 and newer
LARGE = 2**25  # bytes of weights, of which no more copies are kept than are needed


def write_keras(model, path: Path, signature: Signature) -> None:
    """Keras's own file of today, `.keras`: architecture, weights, and how it was compiled."""
    _refuse_code(model)
    model.save(path)
    _leave_time_out(path)


def _leave_time_out(path: Path) -> None:
    """Write a `.keras` file again without the time at which it was saved, which nothing reads."""
    aside = path.with_name(f".{path.name}")
    with zipfile.ZipFile(path) as saved, zipfile.ZipFile(aside, "w") as timeless:
        for member in saved.infolist():
            content = saved.open(member)
            if member.filename == "metadata.json":
                told = {key: value for key, value in json.load(content).items() if key != "date_saved"}
                content = io.BytesIO(json.dumps(told).encode())
            entry = zipfile.ZipInfo(member.filename)  # of 1980
            with content, timeless.open(entry, "w", force_zip64=member.file_size >= zipfile.ZIP64_LIMIT) as target:
                shutil.copyfileobj(content, target)
    os.replace(aside, path)


def write_h5(model, path: Path, signature: Signature) -> None:
    """The HDF5 file of the Keras of 2018, which Keras still writes."""
    _refuse_code(model)
    compiled = getattr(getattr(model, "_compile_config", None), "config", {})
    before = dict(compiled)
    with hushed(), quiet():
        model.save(path)
    compiled.clear()  # Keras has taken the optimizer out of it, and what is saved next would have none
    compiled.update(before)


def _refuse_code(model) -> None:
    """`ArtifactError` for a model whose file would hold Python code, which `load_keras` would not read again.

    Not so for a SavedModel, whose graph is code, and whose owner named it for the export.
    """
    if getattr(model, "kind", "") == "SavedModel":
        return
    try:
        tree = json.loads(model.to_json())
    except (NotImplementedError, TypeError, ValueError):  # what a layer of one's own makes of its description
        return
    found = [keras_tree.label_of(layer) for layer in keras_tree.layers_of(tree) if keras_tree.holds_code(layer)]
    if found:
        raise ArtifactError(
            f"it would hold Python code ({', '.join(found)}), which runs wherever it is loaded; write that step as a "
            "layer, a class of your own, and build the model with it, to have this file, too"
        )


def write_saved_model(model, path: Path, signature: Signature) -> None:
    """TensorFlow's SavedModel, a folder: what TensorFlow Serving, Java and C++ read."""
    with hushed(), quiet():
        model.export(path, format="tf_saved_model", verbose=False)


def write_tflite(model, path: Path, signature: Signature) -> None:
    """LiteRT (once TensorFlow Lite): what phones and small devices read."""
    if any(each.dtype == "string" for each in model.inputs):
        raise ValueError("texts are taken apart by a look-up that LiteRT does not hold")
    try:
        with hushed(), quiet(), _dividing(model):
            model.export(path, format="litert", verbose=False)
    except Exception as error:
        if lacking := sorted(set(re.findall(r"'tf\.(\w+)' op is neither", str(error)))):
            raise ValueError(f"LiteRT has no operation {' and no '.join(lacking)}") from error
        raise


def write_onnx(model, path: Path, signature: Signature) -> None:
    """ONNX, with one input `features` (rows, m), one output `prediction`, and the names of its columns in its metadata.

    Several inputs and outputs have the names that the signature gives them. `model.export(format="onnx")` takes the
    constants of a Normalization layer for inputs; so the constants are frozen into the graph first, and tf2onnx is
    given the graph. Loops are kept whole (`lower_control_flow`), as tf2onnx knows those of recurrent layers.
    """
    import onnx
    import tensorflow as tf
    import tf2onnx
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    inputs = signature.names if isinstance(signature, InputSignature) else ["features"]
    outputs = [output.name for output in signature.outputs]
    if any(each.dtype == "string" for each in model.inputs):
        raise ValueError("texts are taken apart by a look-up that ONNX does not hold")
    specs = [tf.TensorSpec((None, *each.shape[1:]), each.dtype) for each in model.inputs]
    answer = tf.function(functools.partial(flat_call, model), input_signature=specs)
    with hushed(), quiet(), _dividing(model):
        with _in_line():
            function = answer.get_concrete_function()
        frozen = convert_variables_to_constants_v2(function, lower_control_flow=False)
        with _sharing_weights():
            converted, _ = tf2onnx.convert.from_graph_def(
                frozen.graph.as_graph_def(),
                input_names=[each.name for each in frozen.inputs],
                output_names=[each.name for each in frozen.outputs],
                opset=ONNX_OPSET,
                custom_op_handlers=HANDLERS,
            )
    if len(converted.graph.input) != len(inputs) or len(converted.graph.output) != len(outputs):
        raise ValueError("an input or an output was lost on the way to ONNX")
    _rename(converted.graph, inputs, outputs)
    onnx.helper.set_model_props(converted, {"features": json.dumps(signature.columns), "label": signature.label})
    onnx.checker.check_model(converted, full_check=True)
    path.write_bytes(converted.SerializeToString(deterministic=True))


@contextlib.contextmanager
def _in_line():
    """Inside the `with` block, what a traced function calls is traced into it, as tf2onnx takes no call of another.

    Keras makes such a call of a convolution in groups, which TensorFlow cannot run by itself on a CPU, and ONNX can.
    """
    import tensorflow as tf

    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


@contextlib.contextmanager
def _sharing_weights():
    """Inside the `with` block, the copies of a graph that tf2onnx makes before each of its passes share its constants.

    No pass changes one in place. Each of some thirty copies held the weights three times, and none went before the
    end: a model of 200 MB took more than 17 GB.
    """
    from onnx import NodeProto
    from tf2onnx import optimizer

    def copied(graph):
        constants = [node for node in graph.get_nodes() if node.is_const()] if hasattr(graph, "get_nodes") else []
        shared = {id(part): part for node in constants for part in node.attr.values()}
        plain = {
            id(op): NodeProto(name=op.name, op_type=op.op_type, output=op.output)
            for op in (node.op for node in constants)
        }
        if sum(part.ByteSize() for part in shared.values()) > LARGE:
            gc.collect()  # the copy before the last one, which holds itself
        return copy.deepcopy(graph, shared | plain)

    before, optimizer.copy = optimizer.copy, SimpleNamespace(deepcopy=copied)
    try:
        yield
    finally:
        optimizer.copy = before


@contextlib.contextmanager
def _dividing(model):
    """Inside the `with` block, Normalization layers divide by their spread when they run, as Keras does.

    A converter turns a division by a constant into a product with its reciprocal, or works it into the weights of the
    next layer, which rounds otherwise: with one feature around 500 the answers moved by 1e-6. So the spread gets a
    zero added that depends on the features, and is no constant any more.
    """
    import keras
    import tensorflow as tf

    def dividing(layer):
        mean, spread = np.asarray(layer.mean), spread_of(layer)
        return lambda rows: (rows - mean) / (spread + tf.minimum(tf.abs(rows), 0.0))

    found = [layer for layer in layers_of(model) if isinstance(layer, keras.layers.Normalization) and not layer.invert]
    for layer in found:
        layer.call = dividing(layer)
    try:
        yield
    finally:
        for layer in found:
            del layer.call  # back to the method of its class


def _rename(graph, inputs, outputs) -> None:
    """Names that say what a tensor is, in place of TensorFlow's, which count up with every export."""
    if any(attribute.HasField("g") for node in graph.node for attribute in node.attribute):
        return  # branches and loops refer to outer names: left as they are
    new = dict(zip((each.name for each in graph.input), inputs, strict=True))
    for i, node in enumerate(graph.node):
        node.name = f"{i}_{node.op_type}"
        new |= {output: f"{node.name}_out{j or ''}" for j, output in enumerate(node.output) if output}
    new |= dict(zip((each.name for each in graph.output), outputs, strict=True))
    constants = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        for j, name in enumerate(node.input):
            if name in constants and name not in new:
                new[name] = f"{node.name}_constant{j}"
    for node in graph.node:
        node.input[:] = [new.get(name, name) for name in node.input]
        node.output[:] = [new.get(name, name) for name in node.output]
    for i in reversed([i for i, tensor in enumerate(graph.initializer) if tensor.name not in new]):
        del graph.initializer[i]  # nothing reads it
    for tensor in graph.initializer:
        tensor.name = new[tensor.name]
    graph.initializer.sort(key=lambda tensor: tensor.name)
    del graph.value_info[:]
    graph.name = "model"
    for value in (*graph.input, *graph.output):
        value.name = new[value.name]
        value.type.tensor_type.shape.dim[0].dim_param = "rows"


def write_npz(model, path: Path, signature: Signature) -> None:
    """The weights, and in `layers` what to do with them, for a predictor written in plain NumPy.

    Knows what `steps` knows: raises ValueError that names any other layer.
    """
    arrays: dict[str, np.ndarray] = {}
    steps = []
    for at, (step, weights) in enumerate(steps_of(model)):
        arrays |= {f"{at}.{name}": np.asarray(array, dtype=np.float32) for name, array in weights.items()}
        steps.append(step)
    np.savez(path, layers=json.dumps(steps), features=json.dumps(signature.columns), **arrays)


WRITERS = {
    "keras": write_keras,
    "h5": write_h5,
    "saved_model": write_saved_model,
    "onnx": write_onnx,
    "tflite": write_tflite,
    "npz": write_npz,
    "pmml": write_pmml,
}
