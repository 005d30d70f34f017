"""The JSON tree by which a Keras file describes its model: its layers, what they are called, and which hold code."""

from __future__ import annotations

import inspect
import json


def layers_of(tree: dict) -> list[dict]:
    """Every layer of a model's tree, those of models inside it included."""
    config = tree.get("config")
    inner = config if isinstance(config, list) else config.get("layers", []) if isinstance(config, dict) else []
    found = []
    for layer in inner:
        found.append(layer)
        found.extend(layers_of(layer))
        wrapped = isinstance(layer.get("config"), dict) and layer["config"].get("layer")
        if wrapped:
            found += [wrapped, *layers_of(wrapped)]
    return found


def label_of(layer: dict) -> str:
    config = layer.get("config")
    name = (config.get("name") if isinstance(config, dict) else None) or layer.get("name") or "a layer"
    return f"{name} ({layer['class_name']})"


def holds_code(layer: dict) -> bool:
    """A Lambda layer, or a lambda anywhere among a layer's arguments."""
    return layer["class_name"] == "Lambda" or '"__lambda__"' in json.dumps(layer.get("config"))


def arguments_of(kind: type) -> set[str]:
    """What the constructor of a class and of the classes it is made from take."""
    return {name for c in kind.__mro__ for name in inspect.signature(c.__init__).parameters} - {
        "args",
        "kwargs",
        "self",
    }
