"""Walking the tree of a model's layers, as a Keras file holds it: which layers there are, and which hold code."""

from __future__ import annotations

import inspect
import json
import keyword
import re

FUNCTION_KEYS = ("function_type", "module", "output_shape_type", "output_shape_module", "mask")  # of a Lambda's code


def layers_of(tree: dict) -> list[dict]:
    """Every layer of a model's tree, those of models inside it and of layers around others included."""
    found = []
    for layer in inner_layers(tree):
        found.append(layer)
        found.extend(layers_of(layer))
        for wrapped in wrapped_layers(layer).values():
            found += [wrapped, *layers_of(wrapped)]
    return found


def inner_layers(tree: dict) -> list[dict]:
    """The layers of a model itself; none for another layer."""
    config = tree.get("config")
    return config if isinstance(config, list) else config.get("layers", []) if isinstance(config, dict) else []


def wrapped_layers(layer: dict) -> dict[str, dict]:
    """The layers that a layer is around, by the argument that has them."""
    config = layer["config"] if isinstance(layer.get("config"), dict) else {}
    return {key: config[key] for key in ("layer", "backward_layer") if config.get(key)}


def outputs_of(tree: dict) -> list[str]:
    """The names of the layers that a Functional model's outputs come from, or of the outputs where those have names."""
    ends = tree["config"].get("output_layers") if isinstance(tree["config"], dict) else None
    if isinstance(ends, dict):
        return list(ends)
    return [end[0] for end in ends if isinstance(end, list)] if ends else []


def name_of(layer: dict) -> str | None:
    config = layer.get("config")
    return (config.get("name") if isinstance(config, dict) else None) or layer.get("name")


def name_today(name: str) -> str:
    """The name of a layer as Keras 3 takes it, which keeps '/' for itself: "conv1/bn" becomes "conv1_bn"."""
    return name.replace("/", "_")


def label_of(layer: dict) -> str:
    return f"{name_of(layer) or 'a layer'} ({layer['class_name']})"


def holds_code(layer: dict) -> bool:
    """A Lambda layer with its function in the file, a lambda anywhere among a layer's arguments, a TensorFlow graph."""
    if layer["class_name"] == "SavedModelLayer":
        return True
    if layer["class_name"] == "Lambda":
        return not isinstance(layer["config"].get("function"), str)
    return bool(lambdas_of(layer)) or '"__lambda__"' in json.dumps(layer.get("config"))


def lambdas_of(layer: dict) -> list[str]:
    """The arguments of a layer, none of a Lambda, that are lambdas; Keras writes the code alone of an activation."""
    config = layer.get("config") if layer["class_name"] != "Lambda" else None
    return [key for key, value in config.items() if _is_lambda(value)] if isinstance(config, dict) else []


def _is_lambda(value) -> bool:
    if not isinstance(value, dict):
        return False
    code = value.get("value")
    is_code_alone = list(value) == ["value"] and isinstance(code, list) and len(code) == 3 and isinstance(code[0], str)
    return is_code_alone or value.get("class_name") == "__lambda__"


def function_name(layer: dict) -> str:
    """The name of a layer as Python lets a function be called: "lambda_1", and "lambda_" for a layer "lambda"."""
    name = re.sub(r"\W", "_", name_of(layer) or "")
    return f"{name}_" if keyword.iskeyword(name) else f"_{name}" if name[:1].isdigit() else name


def own_functions(layers: list[dict]) -> str:
    """What a command takes the functions of Lambda layers from, and those that are lambdas of other layers."""
    names = " and ".join(dict.fromkeys(map(function_name, layers)))
    one = "the function" if len(layers) == 1 else "the functions"
    where = "in a module, my_layers.py, here or beside the file, and add --import my_layers"
    return f"write {one} yourself, as {names} {where}"


def take_functions(tree: dict, custom: dict, notes: list[str]) -> None:
    """Give each layer whose name is in `custom` that function in place of the code in the file.

    A Lambda layer, and another one with one argument that is a lambda.
    """
    for layer in layers_of(tree):
        name = next((name for name in (name_of(layer), function_name(layer)) if name in custom), None)
        arguments = lambdas_of(layer)
        if not name:
            for argument in arguments:
                code = layer["config"][argument].get("value")
                if code:  # which Keras writes so, and does not read again
                    layer["config"][argument] = {"class_name": "__lambda__", "config": {"value": code}}
        elif layer["class_name"] == "Lambda" or len(arguments) == 1:
            if arguments:
                given = {"module": "builtins", "class_name": "function", "config": name, "registered_name": "function"}
                layer["config"] = layer["config"] | {arguments[0]: given}
            else:
                config = {key: value for key, value in layer["config"].items() if key not in FUNCTION_KEYS}
                layer["config"] = config | {"function": name, "output_shape": None}
            notes.append(f"{label_of(layer)} takes your function in place of the code in the file")


def arguments_of(kind: type) -> set[str]:
    """What the constructor of a class takes, and of the classes that it hands its other arguments on to."""
    names = set()
    for part in kind.__mro__:
        if "__init__" in vars(part):
            parameters = inspect.signature(part.__init__).parameters
            names |= set(parameters)
            if not any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
                break
    return names - {"args", "kwargs", "self"}
