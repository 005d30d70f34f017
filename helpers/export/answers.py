"""What a Keras model answers, found from its last layers, or from its answers where those do not tell."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from helpers.data.inputs import InputSignature
from helpers.data.outputs import ARRAY, CLASSES, NUMBER, PROBABILITY, Output, are_shares, as_arrays
from helpers.data.signature import Signature
from helpers.export.errors import ArtifactError, first_line
from helpers.export.graphs import Tensor
from helpers.export.layers import HANDS_ON
from helpers.export.run_keras import compiled

ROWS = 64  # that are asked where the last layer does not tell what the answers are
OF_ANY = frozenset(  # that the end of a network is called, whatever it predicts
    "activation add average avg batch bidirectional branch class classes classification classifier concatenate conv "
    "dense distributed fc final flatten global gru head identity label labels lambda last layer linear logit logits "
    "lstm main max model multiply my net normalization out output outputs pool pooling pred prediction predictions "
    "preds prob proba probabilities probability probs regression regressor reshape result rnn score scores "
    "sequential sigmoid softmax target tensor time top variable".split()
)
WIDTH_UNTOLD = "name the columns that a row holds, --features A,B, or give a table of such rows, --like TABLE"


def outputs_of(
    model,
    signature: Signature | InputSignature,
    classes: tuple[str, ...] = (),
    before: tuple[Output, ...] = (),
) -> tuple[Output, ...]:
    """What a Keras model answers, by its last layers. signature: what it takes; its outputs are not looked at.

    classes: their names. before: outputs that give their names, and those of their classes, to these where nobody does,
    and they fit.
    """
    names = _names_as_before(model, _distinct(_output_names(model), len(model.outputs)), before)
    known = {output.name: output for output in before}
    # Keras tells one dimension too many of what it makes of counted words
    answers = _asked(model, signature) if any(each.dtype == "string" for each in model.inputs) else None
    outputs = []
    for i, (name, tensor) in enumerate(zip(names, model.outputs, strict=True)):
        activation, shape = _activation(tensor), tuple(tensor.shape[1:])
        is_whole = str(tensor.dtype).startswith(("int", "uint", "bool"))  # the number of a class, and no share
        if activation is None and is_whole:
            activation = "linear"
        if activation is None:  # a layer of one's own: its answers tell
            answers = _asked(model, signature) if answers is None else answers
            activation = _seen(answers[i])
        if answers is not None and answers[i].ndim <= len(shape):
            shape = answers[i].shape[1:]
        named = classes or _classes_of(known.get(name), shape, activation)
        told = getattr(tensor, "classes", ())
        if tuple(shape[-1:]) == (len(told),) and (activation == "softmax" or not isinstance(tensor, Tensor)):
            named = named or told
        outputs.append(_output(name, shape, activation, () if is_whole else named))
    if classes and not any(output.kind == CLASSES for output in outputs):
        found = " and ".join(str(tuple(tensor.shape[1:])) for tensor in model.outputs)
        raise ArtifactError(
            f"{len(classes)} classes are named, and the model's answers have the shape {found}: name as many, two for "
            "a yes or no, or leave --classes out"
        )
    return tuple(outputs)


def _classes_of(before: Output | None, shape, activation: str) -> tuple[str, ...]:
    """The names of another output's classes where one of this shape and activation tells as many apart."""
    if before is None or len(shape) > 1 or None in shape:
        return ()
    count, size = len(before.classes), int(np.prod(shape))
    is_share_of_two = (count, size) == (2, 1) and "sigmoid" in (activation, before.activation)
    return before.classes if count == size or is_share_of_two else ()


def _output(name: str, shape, activation: str, classes: tuple[str, ...]) -> Output:
    size = None if None in shape else int(np.prod(shape))
    if len(shape) <= 1 and classes and (len(classes) == size or (len(classes), size) == (2, 1)):
        to_do = "" if activation in ("softmax", "sigmoid") else "sigmoid" if size == 1 else "softmax"
        return Output(name, CLASSES, classes, activation=to_do)
    if len(shape) == 1 and size and size > 1 and activation in ("softmax", "log_softmax"):
        if classes:
            raise ArtifactError(f"{len(classes)} classes are named, and the model tells {size} apart: name as many")
        to_do = "softmax" if activation == "log_softmax" else ""  # which makes shares of their logarithms, too
        return Output(name, CLASSES, tuple(map(str, range(size))), activation=to_do)
    if len(shape) <= 1 and size == 1:
        return Output(name, PROBABILITY if activation == "sigmoid" else NUMBER)
    return Output(name, ARRAY, shape=shape)


def _output_names(model) -> list[str]:
    """What the outputs are called: by the keys under which the model answers, or by the layers that make them."""
    given = getattr(model, "output", None) if hasattr(model, "output_names") else None
    if isinstance(given, dict) and all(hasattr(each, "shape") for each in given.values()):
        keys = {id(tensor): str(key) for key, tensor in given.items()}
        return [keys.get(id(tensor), "") for tensor in model.outputs]
    return [str(name) for name in getattr(model, "output_names", [])]


def predicted(model) -> str:
    """What a model with one output predicts, where a name that somebody chose for that tells it, else ""."""
    names = _output_names(model) or [each.name for each in getattr(model, "layers", ())[-1:]]  # of a Sequential
    if len(names) != 1 or _is_counted(names[0], model.outputs[0]) or not re.fullmatch(r"[^/:]+", names[0]):
        return ""
    words = re.findall(r"[^\W\d_]{2,}", names[0].lower())
    return names[0] if set(words) - OF_ANY else ""


def _names_as_before(model, names: list[str], before: tuple[Output, ...]) -> list[str]:
    """Names of outputs; those that only count are called as those of `before`, in order, that no other one is."""
    known = [output.name for output in before]
    if len(names) < 2 or len(known) != len(names) or set(known) == set(names):
        return names
    chosen = {n for n, tensor in zip(names, model.outputs, strict=True) if not _is_counted(n, tensor)}
    if not chosen <= set(known):
        return names
    left = iter([name for name in known if name not in chosen])
    return [name if name in chosen else next(left) for name in names]


def _is_counted(name: str, tensor) -> bool:
    """Whether nobody chose the name of an output: it is that of the class of its layer, or "output", and a number."""
    history = getattr(tensor, "_keras_history", None)
    kind = type(history.operation).__name__ if history else ""
    kind = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<!^)(?=[A-Z][a-z])", "_", kind).lower()  # as Keras counts them
    return bool(re.fullmatch(rf"(output|{kind or 'output'})(_?\d+)?|(Identity|StatefulPartitionedCall)\S*", name))


def _distinct(names: list[str], count: int) -> list[str]:
    if count == 1:
        return ["prediction"]
    if len(names) == count and len(set(names)) == count:
        return names
    return [f"output_{i + 1}" for i in range(count)]


def _activation(tensor) -> str | None:
    """What the layer that makes a tensor applies: a value of `graphs.SHARES`, or "linear" for all else; None: unknown.

    Layers that hand on what they get are looked through.
    """
    if isinstance(tensor, Tensor):
        return tensor.activation
    import keras

    history = getattr(tensor, "_keras_history", None)
    if history is None:
        return None
    layer = history.operation
    if isinstance(layer, keras.Model):
        outputs = getattr(layer, "outputs", None)
        return _activation(outputs[history.tensor_index]) if outputs else None
    name = type(layer).__name__
    if name in ("Softmax", "Sigmoid"):
        return name.lower()
    if name in ("TimeDistributed", "Bidirectional"):
        return "linear"
    function = getattr(layer, "activation", None)
    if function is not None and getattr(function, "__name__", "linear") != "linear":
        known = {"hard_sigmoid": "sigmoid"} | {name: name for name in ("softmax", "log_softmax", "sigmoid")}
        return known.get(function.__name__, "linear")
    if name in HANDS_ON or (name == "Activation" and function is not None):
        inputs = layer._inbound_nodes[history.node_index].input_tensors
        return _activation(inputs[0]) if len(inputs) == 1 else "linear"
    if name == "InputLayer" or type(layer).__module__.startswith("keras."):
        return "linear"
    return None


def answered(model, answer: Callable, rows, signature):
    """`answer(rows)`, for rows made up by the signature; `ArtifactError` where the model has no answer to them."""
    try:
        return answer(rows)
    except Exception as error:
        reason = f"the model does not answer {len(rows)} rows of what it takes: {first_line(error)}"
        raise ArtifactError(f"{reason}; {_advice(model, signature)}") from error


def _advice(model, signature) -> str:
    """What to do about a model that does not answer rows of its own inputs."""
    if [tuple(each.shape[1:]) for each in model.inputs] == [(None,)] and model.inputs[0].dtype == "float32":
        return WIDTH_UNTOLD
    if any(len(each.shape) > 1 and each.shape[-1] is None and each.dtype != "string" for each in model.inputs):
        return "export it anew with the last size of its shape, which the file leaves open"
    if isinstance(signature, Signature):
        return "where it takes certain numbers only, a table of such rows tells them: --like TABLE"
    if any(isinstance(each, Tensor) and each.dtype == "string" for each in model.inputs):
        other = "let it take others, too (scikit-learn's handle_unknown='ignore')"
        return f"where it takes certain texts only, bring its Keras file, which tells them, or {other}"
    return "export it so that it takes any number of rows, each of one size"


def _asked(model, signature) -> tuple[np.ndarray, ...]:
    from helpers.export.parity import on_rows

    shape = None if isinstance(signature, InputSignature) else tuple(model.inputs[0].shape[1:])

    def answer(rows):
        return on_rows(compiled(model), shape)(rows)  # compiled here, as that fails where a layer does

    return as_arrays(answered(model, answer, signature.sample(ROWS), signature))


def _seen(answers: np.ndarray) -> str:
    answers = answers[np.isfinite(answers.reshape(len(answers), -1)).all(axis=1)]
    if answers.ndim > 2 or not are_shares(answers):
        return "linear"
    if answers.ndim == 1:
        return "sigmoid"
    return "softmax" if np.allclose(answers.sum(axis=1), 1, atol=1e-3) else "linear"
