"""The calls of layers in a graph ("inbound nodes") as Keras 2 wrote them, rewritten as Keras 3 reads them.

Keras 2 wrote a tensor as `[layer, call, output]` and the other arguments of a call beside the first tensor. Keras 3
reads that, too, but passes a tensor among the other arguments on as a plain list, counts the calls of models inside of
models otherwise, takes the states of a recurrent layer by name only, and overrules `training=True`.
"""

from __future__ import annotations

from helpers.export.errors import ArtifactError, needs_rebuilding
from helpers.export.keras2_layers import WITH_STATES, around, masked_with_states
from helpers.export.keras_tree import label_of, name_today

MODELS = ("Functional", "Sequential")
RECURRENT = (*WITH_STATES, "TimeMajor")
ELLIPSIS = "..."  # in a slice: Keras's own reader stumbles over the Ellipsis that it decoded
CONSTANT = "_CONSTANT_VALUE"  # stands where a layer's name would: the first argument is no tensor


def rewrite_calls(config: dict, notes: list[str], archive: bool, is_masked: bool) -> None:
    """Rewrite the graph of a Functional model, given its config; `notes` gains a sentence for each kind of change.

    archive: as for `keras2.repair`. is_masked: some steps of its sequences do not count.
    """
    graph = _Graph(config["layers"], config["output_layers"])
    for ends in ("input_layers", "output_layers"):
        if len(config[ends]) == 1 and isinstance(config[ends][0], list):
            config[ends] = config[ends][0]  # one tensor, not a list of one tensor
    config["input_layers"] = graph.inputs(config["input_layers"])
    config["output_layers"] = graph.outputs(config["output_layers"])
    config["layers"] = [_rewrite_layer(layer, graph, notes, archive, is_masked) for layer in config["layers"]]


def _rewrite_layer(layer: dict, graph: _Graph, notes: list[str], archive: bool, is_masked: bool) -> dict:
    calls = [graph.call(node) for node in layer["inbound_nodes"]]
    if layer["class_name"] in RECURRENT:
        calls = [_states_by_name(layer, *call, notes) for call in calls]
        if is_masked and layer["class_name"] in WITH_STATES and any("initial_state" in call[1] for call in calls):
            layer = masked_with_states(layer, notes)
    modes = {call[1].pop("training", None) for call in calls}
    layer = layer | {"name": name_today(layer["name"])}
    layer |= {"inbound_nodes": [{"args": args, "kwargs": kwargs} for args, kwargs in calls]}
    if modes <= {None}:
        return layer
    if len(modes) > 1:
        raise needs_rebuilding(
            f"{label_of(layer)} is called several times, not always with the same 'training'",
            "build the model anew with a layer for each",
        )
    fixed = bool(modes.pop())
    called = f"{label_of(layer)} is called with training={fixed}, which Keras 3 overrules"
    if not archive:
        notes.append(f"{called}: it is kept")
        return around("FixedMode", layer, fixed=fixed)
    if fixed:
        raise ArtifactError(f"{called}, in a .keras archive for good: save it as .h5 with the Keras that wrote it")
    notes.append(f"{called} while it trains: set its 'trainable' to False before you train on")
    return layer


def _states_by_name(layer: dict, args: list, kwargs: dict, notes: list[str]) -> tuple[list, dict]:
    """A call with the initial states beside the sequence, with the states as an argument of their own."""
    if not args or not isinstance(args[0], list):
        return args, kwargs
    sequence, *states = args[0]
    if layer["config"].get("num_constants"):
        raise needs_rebuilding(
            f"{label_of(layer)} takes constants beside its states, which Keras 3 does not",
            "build the model anew without",
        )
    notes.append("the states that a recurrent layer starts with are its argument 'initial_state' today")
    return [sequence], kwargs | {"initial_state": states}


class _Graph:
    """The layers of a graph by name, and from where Keras 2 counted their calls."""

    def __init__(self, layers: list[dict], outputs):
        self.layers = {layer["name"]: layer for layer in layers}
        last = dict.fromkeys(self.layers, 0)
        for name, call, _ in self._tensors([[layer["inbound_nodes"] for layer in layers], outputs]):
            last[name] = max(last[name], call)
        # A model that was built before it was called counts that as its first call; the last call has been used.
        self.first = {
            name: max(last[name] - len(layer["inbound_nodes"]) + 1, 0) if layer["class_name"] in MODELS else 0
            for name, layer in self.layers.items()
        }

    def _is_tensor(self, value) -> bool:
        return (
            isinstance(value, list)
            and len(value) in (3, 4)
            and isinstance(value[0], str)
            and value[0] in self.layers
            and isinstance(value[1], int)
            and isinstance(value[2], int)
        )

    def _tensors(self, value) -> list[list]:
        """Every tensor in a part of the tree, as [layer, call, output]."""
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
        found = [value[:3]] if self._is_tensor(value) else []
        return found + [tensor for part in inner for tensor in self._tensors(part)]

    def call(self, node) -> tuple[list, dict]:
        """The arguments of one call of a layer, by position and by name."""
        kwargs: dict = {}
        return [self._first_argument(node, kwargs)], kwargs

    def _first_argument(self, node, kwargs: dict):
        if isinstance(node, dict):
            return {key: self._first_argument(part, kwargs) for key, part in node.items()}
        if not node:
            return node  # no tensors
        if self._is_tensor(node) or node[0] == CONSTANT:
            for key, value in node[3].items() if len(node) == 4 else ():
                if value is not None and key != "name":
                    kwargs[key] = self._argument(value)
            return self._argument(node[2] if node[0] == CONSTANT else node[:3])
        parts = [self._first_argument(part, kwargs) for part in node]
        return parts[0] if len(parts) == 1 else parts

    def _argument(self, value):
        if self._is_tensor(value):
            name, call, output = value
            history = [name_today(name), call - self.first[name], output]
            return {
                "class_name": "__keras_tensor__",  # its shape and dtype are those of the layer's output
                "config": {"shape": [], "dtype": "float32", "keras_history": history},
            }
        if isinstance(value, list):
            return [self._argument(part) for part in value]
        if isinstance(value, dict):
            if set(value) == {"start", "stop", "step"}:
                parts = {key: self._argument(part) for key, part in value.items()}
                return {"class_name": "__slice__", "config": parts}
            if value.get("class_name") == "__ellipsis__":
                return ELLIPSIS
            return {key: self._argument(part) for key, part in value.items()}
        return value

    def inputs(self, value):
        """Where the model's inputs come in."""
        return self._ends(value, lambda name: 0)

    def outputs(self, value):
        """Where the model's outputs come from; a Functional model inside of it has a call of its own before."""
        return self._ends(value, lambda name: (self.layers[name]["class_name"] == "Functional") - self.first[name])

    def _ends(self, value, shift):
        if self._is_tensor(value):
            name, call, output = value
            return [name_today(name), call + shift(name), output]
        if isinstance(value, dict):
            return {key: self._ends(part, shift) for key, part in value.items()}
        return [self._ends(part, shift) for part in value]
