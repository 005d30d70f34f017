"""Operations of TensorFlow that tf2onnx does not convert, as operations of ONNX.

`HANDLERS` is what `tf2onnx.convert` takes as its `custom_op_handlers`: for each operation a function that puts nodes of
ONNX into the graph in place of a node of TensorFlow.
"""

from __future__ import annotations

import numpy as np

NO_BITS = "the bits of numbers are taken apart, which this version of ONNX does not do"


def _erfc(graph, node, name: str, args) -> None:
    """1 - erf(x), of which the activation gelu is made."""
    erf = graph.make_node("Erf", node.input).output[0]
    _put(graph, node, "Sub", [_constant(graph, node, name, 1), erf])


def _expm1(graph, node, name: str, args) -> None:
    """exp(x) - 1, of which the activation celu is made."""
    exp = graph.make_node("Exp", node.input).output[0]
    _put(graph, node, "Sub", [exp, _constant(graph, node, name, 1)])


def _log1p(graph, node, name: str, args) -> None:
    """log(1 + x)."""
    more = graph.make_node("Add", [node.input[0], _constant(graph, node, name, 1)]).output[0]
    _put(graph, node, "Log", [more])


def _bucketize(graph, node, name: str, args) -> None:
    """How many of the boundaries a number has reached, as the layer Discretization counts."""
    boundaries = _constant(graph, node, name, node.get_attr_value("boundaries"))
    axis = graph.make_const(f"{name}_axis", np.array([-1])).output[0]
    each = graph.make_node("Unsqueeze", [node.input[0], axis]).output[0]
    reached = graph.make_node("GreaterOrEqual", [each, boundaries]).output[0]
    counted = graph.make_node("Cast", [reached], attr={"to": graph.get_dtype(node.output[0])}).output[0]
    _put(graph, node, "ReduceSum", [counted, axis], {"keepdims": 0})


def _bitcast(graph, node, name: str, args) -> None:
    """A whole number of a number's sign, that of -0.0 as well: `keras.ops.signbit` asks no more of its bits."""
    _check_followed_by(graph, node, "BitwiseAnd", "Identity")
    reciprocal = graph.make_node("Reciprocal", node.input).output[0]
    large = graph.make_node("Add", [node.input[0], reciprocal]).output[0]  # neither nought nor infinity hides a sign
    sign = graph.make_node("Sign", [large]).output[0]
    _put(graph, node, "Cast", [sign], {"to": graph.get_dtype(node.output[0])})


def _sign_bit(graph, node, name: str, args) -> None:
    """The first bit of a whole number that is compared with 0, which the number itself can be."""
    _check_followed_by(graph, node, "Less")
    if node.inputs[1].get_tensor_value() != np.iinfo(np.int32).min:
        raise ValueError(NO_BITS)
    _put(graph, node, "Identity", node.input[:1])


def _check_followed_by(graph, node, *kinds: str) -> None:
    if any(each.type not in kinds for each in graph.find_output_consumers(node.output[0])):
        raise ValueError(NO_BITS)


def _constant(graph, node, name: str, value) -> str:
    """A constant of the type of the node's input."""
    from tf2onnx import utils

    kind = utils.map_onnx_to_numpy_type(graph.get_dtype(node.input[0]))
    return graph.make_const(f"{name}_constant", np.asarray(value, kind)).output[0]


def _put(graph, node, operation: str, inputs: list[str], attributes: dict | None = None) -> None:
    """Put a node in the place of another one."""
    kinds = {"shapes": node.output_shapes, "dtypes": node.output_dtypes}  # asked of the graph that holds the node
    graph.remove_node(node.name)
    graph.make_node(operation, inputs, attr=attributes, name=node.name, outputs=node.output, **kinds)


HANDLERS = {
    "Erfc": (_erfc, []),
    "Expm1": (_expm1, []),
    "Log1p": (_log1p, []),
    "Bucketize": (_bucketize, []),
    "Bitcast": (_bitcast, []),
    "BitwiseAnd": (_sign_bit, []),
}
