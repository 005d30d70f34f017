"""PMML 4.4, the file that Java's rule engines and score servers read: a network as text, with its table's own columns.

A Keras model and its signature come in, `model.pmml` goes out: a NeuralNetwork whose inputs are the features as the
table spells them (`sex` is `male`, `age` may be missing), encoded in the file as `Signature.encode` does it, and whose
output is `probability`, `value`, or for several classes `prediction` and `probability(CLASS)`. A row that the endpoint
would refuse, for a category that training never saw or a value that may not be missing, has no answer.
The specification: https://dmg.org/pmml/v4-4-1/NeuralNetwork.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import numpy as np

from helpers.data.signature import CATEGORY, REAL, Feature, Signature
from helpers.export.steps import steps_of

NAMESPACE = "http://www.dmg.org/PMML-4_4"
ACTIVATIONS = {  # Keras's names, as steps have them, and PMML's
    "relu": "rectifier",
    "sigmoid": "logistic",
    "tanh": "tanh",
    "exponential": "exponential",
    "softsign": "Elliott",
}
NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0 has no such characters
NUMBER = {"optype": "continuous", "dataType": "double"}
TEXT = {"optype": "categorical", "dataType": "string"}


@dataclass(frozen=True)
class Layer:
    """One NeuralLayer: `activation` of rows @ kernel + bias; kernel (n, m) and bias (m,) float64."""

    kernel: np.ndarray
    bias: np.ndarray
    activation: str = "identity"
    softmax: bool = False

    @property
    def is_linear(self) -> bool:
        return self.activation == "identity" and not self.softmax


def write_pmml(model, path: Path, signature: Signature) -> None:
    """Write `model` as PMML; ValueError that names a layer, an activation, an input or an output that PMML lacks."""
    steps = steps_of(model)
    if not isinstance(signature, Signature):
        raise ValueError("PMML takes a row of named features, and the model an array")
    layers = _layers(steps, signature.width)
    for text in _texts(signature):
        if NO_XML.search(text):
            raise ValueError(f"{text!r} holds a character that XML cannot")
    root = Element("PMML", xmlns=NAMESPACE, version="4.4")
    SubElement(SubElement(root, "Header"), "Application", name="keras-flask-tutorial")
    classes = _classes(layers[-1], signature)
    outcome = _free(signature.label, signature.names)
    _dictionary(root, signature, outcome, classes)
    function = "classification" if classes else "regression"
    network = SubElement(root, "NeuralNetwork", functionName=function, activationFunction="identity")
    _mining_schema(network, signature, outcome)
    _output(network, signature, outcome, classes, probability=layers[-1].activation == "logistic")
    _inputs(network, signature)
    for at, layer in enumerate(layers, 1):
        _neurons(network, layer, at)
    _neural_outputs(network, len(layers), outcome, classes)
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


# ---- the network as layers ----


def _layers(steps: list[tuple[dict, dict]], width: int) -> list[Layer]:
    """The steps as layers, the activations worked into the layer before them where it has none yet."""
    layers: list[Layer] = []
    for step, weights in steps:
        do, n = step["do"], len(layers[-1].bias) if layers else width
        given = {name: np.asarray(array, np.float64) for name, array in weights.items()}
        if do == "dense":
            layers.append(Layer(given["kernel"], given["bias"]))
        elif do == "standardize":
            layers.append(_each(n, 1 / np.ravel(given["spread"]), -np.ravel(given["mean"] / given["spread"])))
        elif do == "affine":
            layers.append(_each(n, np.ravel(given["scale"]), np.ravel(given["offset"])))
        elif do == "leaky_relu":
            layers += _difference(n, (1, 0), (-1, 0), step.get("slope", 0.2))
        elif do == "relu6":
            layers += _difference(n, (1, 0), (1, -6), 1)
        elif do in ACTIVATIONS or do == "softmax":
            if not (layers and layers[-1].is_linear):
                layers.append(_each(n))
            layers[-1] = replace(layers[-1], activation=ACTIVATIONS.get(do, "identity"), softmax=do == "softmax")
        else:
            raise ValueError(f"PMML has no activation {do}")
    return layers or [_each(width)]


def _each(n: int, scale=1.0, offset=0.0) -> Layer:
    """A layer that takes each of its n inputs by itself, times `scale` plus `offset`."""
    return Layer(np.diag(np.broadcast_to(scale, n)), np.broadcast_to(offset, n))


def _difference(n: int, first: tuple[float, float], second: tuple[float, float], factor: float) -> list[Layer]:
    """Activations with a second bend as two layers: relu(a x + b) - factor relu(c x + d), of the pairs given."""
    one = np.eye(n)
    kernel = np.hstack([first[0] * one, second[0] * one])
    bias = np.repeat([float(first[1]), float(second[1])], n)
    return [Layer(kernel, bias, "rectifier"), Layer(np.vstack([one, -factor * one]), np.zeros(n))]


def _classes(last: Layer, signature: Signature) -> tuple[str, ...]:
    """The classes that a softmax tells apart, by their names, else numbers from 0; () where one number is answered."""
    n = len(last.bias)
    if n == 1 and not last.softmax:
        return ()
    if not last.softmax:
        raise ValueError(f"PMML answers a number or classes, and {n} numbers without softmax are neither")
    named = signature.outputs[0].classes
    return named if len(named) == n else tuple(map(str, range(n)))


# ---- the document ----


def _dictionary(root: Element, signature: Signature, outcome: str, classes: tuple[str, ...]) -> None:
    dictionary = SubElement(root, "DataDictionary", numberOfFields=str(signature.n + 1))
    for feature in signature.features:
        texts = (*feature.values, *feature.pooled)
        legal = texts or (() if feature.kind == REAL else ("0", "1"))
        _field(dictionary, feature.name, TEXT if texts else NUMBER, legal)
    _field(dictionary, outcome, TEXT if classes else NUMBER, classes)


def _field(dictionary: Element, name: str, kind: dict[str, str], legal: tuple[str, ...]) -> None:
    field = SubElement(dictionary, "DataField", name=name, **kind)
    for value in legal:
        SubElement(field, "Value", value=value)


def _mining_schema(network: Element, signature: Signature, outcome: str) -> None:
    schema = SubElement(network, "MiningSchema")
    for feature in signature.features:
        missing = {} if feature.missing else {"missingValueTreatment": "returnInvalid"}
        SubElement(schema, "MiningField", name=feature.name, invalidValueTreatment="returnInvalid", **missing)
    SubElement(schema, "MiningField", name=outcome, usageType="target")


def _output(network: Element, signature: Signature, outcome: str, classes: tuple[str, ...], probability: bool) -> None:
    output, taken = SubElement(network, "Output"), (*signature.names, outcome)
    if not classes:
        name = _free("probability" if probability else "value", taken)
        shown = {"displayName": signature.outcome, "feature": "predictedValue"}
        SubElement(output, "OutputField", name=name, **shown, **NUMBER)
        return
    SubElement(output, "OutputField", name=_free("prediction", taken), feature="predictedValue", **TEXT)
    for value in classes:
        name = _free(f"probability({value})", taken)
        SubElement(output, "OutputField", name=name, feature="probability", value=value, **NUMBER)


def _inputs(network: Element, signature: Signature) -> None:
    """One NeuralInput for each column of the matrix that `Signature.encode` makes, from the table's columns."""
    inputs = SubElement(network, "NeuralInputs", numberOfInputs=str(signature.width))
    encoded = [expression for feature in signature.features for expression in _encoded(feature)]
    for i, (column, expression) in enumerate(zip(signature.columns, encoded, strict=True)):
        neuron = SubElement(inputs, "NeuralInput", id=f"0,{i}")
        SubElement(neuron, "DerivedField", displayName=column, **NUMBER).append(expression)


def _encoded(feature: Feature) -> list[Element]:
    """The expressions of a feature's columns, as `Feature.encode` computes them."""
    told = _apply("if", _apply("isMissing", _reference(feature)), _constant(1), _constant(0))
    is_missing = [told] if feature.missing else []
    if feature.kind == CATEGORY:
        own = [_is(feature, value, missing=0) for value in feature.values]
        pooled = [_is(feature, value, missing=0) for value in feature.pooled]
        return [*own, *([_apply("sum", *pooled)] if pooled else []), *is_missing]
    default = feature.default_number
    number = _is(feature, feature.values[1], default) if feature.values else _reference(feature, default)
    if (feature.center, feature.scale) != (0.0, 1.0):
        number = _apply("/", _apply("-", number, _constant(feature.center)), _constant(feature.scale))
    return [number, *is_missing]


def _is(feature: Feature, value: str, missing: float) -> Element:
    """1 where the feature is the text `value`, else 0; `missing` where it is missing and may be."""
    return Element("NormDiscrete", field=feature.name, value=value, **_where_missing(feature, missing))


def _reference(feature: Feature, missing: float | None = None) -> Element:
    return Element("FieldRef", field=feature.name, **_where_missing(feature, missing))


def _where_missing(feature: Feature, value: float | None) -> dict[str, str]:
    return {"mapMissingTo": _written(value)} if feature.missing and value is not None else {}


def _apply(function: str, *arguments: Element) -> Element:
    expression = Element("Apply", function=function)
    expression.extend(arguments)
    return expression


def _constant(number: float) -> Element:
    constant = Element("Constant", dataType="double")
    constant.text = _written(number)
    return constant


def _neurons(network: Element, layer: Layer, at: int) -> None:
    """One NeuralLayer; a connection of weight 0 is not written, but for one where a neuron has no other."""
    softmax = {"normalizationMethod": "softmax"} if layer.softmax else {}
    number = {"numberOfNeurons": str(len(layer.bias))}
    element = SubElement(network, "NeuralLayer", activationFunction=layer.activation, **softmax, **number)
    for j, bias in enumerate(layer.bias):
        neuron = SubElement(element, "Neuron", id=f"{at},{j}", bias=_written(bias))
        weights = layer.kernel[:, j]
        for i in np.flatnonzero(weights) if weights.any() else [0]:
            SubElement(neuron, "Con", {"from": f"{at - 1},{i}", "weight": _written(weights[i])})


def _neural_outputs(network: Element, last: int, outcome: str, classes: tuple[str, ...]) -> None:
    outputs = SubElement(network, "NeuralOutputs", numberOfOutputs=str(len(classes) or 1))
    for i, value in enumerate(classes or [None]):
        neuron = SubElement(outputs, "NeuralOutput", outputNeuron=f"{last},{i}")
        field = SubElement(neuron, "DerivedField", **(NUMBER if value is None else TEXT))
        if value is None:
            SubElement(field, "FieldRef", field=outcome)
        else:
            SubElement(field, "NormDiscrete", field=outcome, value=value)


def _written(number: float) -> str:
    """The shortest decimals that are exactly this number again."""
    return repr(float(number))


def _texts(signature: Signature) -> list[str]:
    values = [text for feature in signature.features for text in (*feature.values, *feature.pooled)]
    classes = [name for output in signature.outputs for name in output.classes]
    return [signature.label, signature.positive, *signature.names, *values, *classes]


def _free(name: str, taken: tuple[str, ...]) -> str:
    """`name`, with lines behind it where a field of that name is there already."""
    while name in taken:
        name += "_"
    return name
