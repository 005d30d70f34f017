"""Any model's file behind a URL, of Keras, a SavedModel, ONNX or LiteRT: what it takes and answers is found.

    from helpers.export.own_model import export_file
    card = export_file("my_model.keras", "models/my_model", classes=["setosa", "versicolor", "virginica"])
    predictor = load_predictor("models/my_model")

What `python3 tutorial.py export` and `serve FILE` do, by `artifacts.export_model`. The file is only read.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

from helpers import wording
from helpers.data.fields import usual_in_words
from helpers.data.inputs import InputSignature, signature_from
from helpers.data.outputs import ARRAY, CLASSES, ONE_PROBABILITY, distinct
from helpers.data.signature import Signature
from helpers.export import registry
from helpers.export.answers import predicted
from helpers.export.artifacts import export_model
from helpers.export.card import read_card
from helpers.export.detection import Wishes, signature_of
from helpers.export.errors import ArtifactError, PredictorError, Remark
from helpers.export.folder import check_replaceable, is_export
from helpers.export.foreign import is_foreign
from helpers.export.open_width import with_width
from helpers.export.opening import described, opened
from helpers.export.own_code import import_layers
from helpers.export.predictors import BACKENDS, best_backend
from helpers.export.versions import other_question

FORMATS = ("keras", "onnx")  # Keras's is what the other is held against
INSTEAD = {"onnx": "tflite"}  # where the model does not go into ONNX

# MB that a worker takes with a small model; a large file comes on top twice, as it is and as it is laid out to compute
COSTS = {
    "onnx": ("ONNX Runtime", 85, ""),
    "litert": ("LiteRT", 70, ""),
    "numpy": ("NumPy", 50, ""),
    "keras": ("Keras itself", 700, " and some 5 s to start"),
}

_SCOPE = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*")  # the names that `tf.name_scope` takes


def export_file(
    path: str | Path,
    directory: str | Path | None = None,
    *,
    features: Iterable[str] = (),
    like: str | Path = "",
    classes: Iterable[str] = (),
    label: str = "",
    pixels: str = "",
    takes: str = "",
    imports: str = "",
    weights: str | Path = "",
    metrics: Mapping | None = None,
    replace: bool = False,
    beside: bool = False,
) -> dict:
    """Export the model at `path` to `directory` (None: `models/` and its name), and return the card.

    path: a Keras file, the folder of a SavedModel, the file of `model.to_json()`, an ONNX or a LiteRT file. features:
    names of the columns of a row. like: the path of a table with those columns, or, where none are named, with these
    and the label's only. Neither: x1..xn. classes: names of what a softmax (or a sigmoid) tells apart. label: what is
    predicted. pixels: how a picture's pixels are scaled, a key of `images.PIXELS`. takes: "row", "array" or "image"
    where that is found wrongly. imports: a module with layers of your own, `my_layers`. weights: the file with those
    of a model in JSON, where they do not lie beside it. metrics: what you measured, for the card, with the data it was
    measured on under "data". beside: keep it as a version beside the model that the folder holds. What is not said
    here (label, features, classes, pixels) is as in that model, where it fits. replace: also where that is another
    one, of which nothing is taken over.

    Raises `ArtifactError` for a file that cannot be read, and for a model that could not be served, with the reason.
    """
    path = Path(path)
    directory = registry.for_table(str(path)) if directory is None else Path(directory)
    check_owner(directory, path, replace or beside)
    classes = _distinct(tuple(classes))
    wishes = Wishes(tuple(features), str(like), classes, label, pixels, takes)
    custom = import_layers(imports, path.parent) if imports else {}
    there = _card_of(directory) if beside or not replace else None
    before = signature_from(there["signature"]) if there else None
    brought = with_width(opened(path, Path(weights) if weights else None, custom), wishes, before)
    signature = signature_of(brought.ends, wishes, _label(brought.ends) or path.stem, before)
    if not (replace or beside):
        _check_callers(directory, there, signature, brought.digest)
    foreign = is_foreign(brought.model)
    if not foreign:
        _rename_inputs(brought.model, signature)
        _rename_layers(brought.model)
    source = {"file": path.name, "sha256": brought.digest, "wishes": _said_so_far(wishes, there)}
    if imports:
        source["imports"] = imports
    return export_model(
        brought.model,
        directory,
        signature,
        metrics,
        formats=(brought.model.format,) if foreign else FORMATS,
        source=source,
        beside=beside,
        instead={} if foreign else INSTEAD,
    )


def _label(ends) -> str:
    """What a model says that it predicts, or ""."""
    if not getattr(ends, "inputs", None) or not ends.outputs:
        return ""  # which is told with the reason
    named = getattr(ends, "label", "") or predicted(ends)
    return "" if named in [each.name for each in ends.inputs] else named


def _said_so_far(wishes: Wishes, there: dict | None) -> dict:
    """The wishes for the card: what is left open is as it was said of the model with the card `there`, if any."""
    before = there.get("source", {}).get("wishes", {}) if there else {}
    anew = ("features", "like") if wishes.features or wishes.like else ()  # of which one would overrule the other
    return {name: wish or (wish if name in anew else before.get(name, wish)) for name, wish in asdict(wishes).items()}


def _rename_inputs(model, signature: Signature | InputSignature) -> None:
    """Give the inputs of a Keras model the names of its signature, by which LiteRT's files are asked."""
    if isinstance(signature, InputSignature):
        for tensor, name in zip(model.inputs, signature.names, strict=True):
            tensor.name = name


def _rename_layers(model) -> None:
    """Give layers names that TensorFlow takes for a scope, where they have others: JAX and PyTorch train those, too."""
    for i, layer in enumerate(model._flatten_layers()):
        if not _SCOPE.fullmatch(layer.name):
            layer.name = f"layer_{i}_" + re.sub(r"[^A-Za-z0-9_.-]", "_", layer.name)


def _distinct(classes: tuple[str, ...]) -> tuple[str, ...]:
    """Names of classes; where two are the same, a warning says what they are called."""
    own = distinct(classes)
    changed = [f"{new!r}" for old, new in zip(classes, own, strict=True) if old != new]
    if changed:
        said = f"several classes have one name: the later ones are called {', '.join(changed)}"
        warnings.warn(said, Remark, stacklevel=3)
    return own


def check_owner(directory: Path, path: Path, replace: bool) -> None:
    """`ArtifactError` where the folder holds anything but an export of a file of this name."""
    check_replaceable(directory)
    card = None if replace else _card_of(directory)
    if card and card.get("source", {}).get("file") != path.name:
        raise ArtifactError(
            f"{registry.shown(directory)} holds another model (of {card['signature']['label']}): name this one "
            "otherwise with --to, or say --replace"
        )


def _check_callers(directory: Path, card: dict | None, signature: Signature | InputSignature, digest: str) -> None:
    """`ArtifactError` where a file has changed so that the callers of the model made of it before are not answered.

    card: that of the model before, if any. The same file may be described anew, as with the names of its features.
    """
    if card and card.get("source", {}).get("sha256") != digest:
        if reason := other_question(card["signature"], signature.to_dict()):
            raise ArtifactError(
                f"{registry.shown(directory)} holds the model that this file was before, and now {reason}: say "
                "--replace, or name this one otherwise with --to"
            )


def _card_of(directory: Path) -> dict | None:
    """The card of the export in a folder; None where there is none, or a damaged one, which is replaced."""
    try:
        return read_card(directory) if is_export(directory) else None
    except PredictorError:
        return None


def found_in(path: Path, weights: Path | None = None, imports: str = "") -> str:
    """What the file is, and what was repaired to read it, in lines."""
    return described(path, weights, import_layers(imports, path.parent) if imports else None)


def told(card: dict, signature: Signature | InputSignature) -> list[str]:
    """What was found and proved, as lines to print."""
    only = signature.outcome if len(signature.outputs) == 1 else ""
    answers = "; ".join(_output_in_words(output, only or output.name) for output in signature.outputs)
    if signature.outputs == ONE_PROBABILITY:
        answers = f"the probability of {signature.outcome}"
    scaling_was_said = bool(card.get("source", {}).get("wishes", {}).get("pixels"))
    lines = [f"takes: {takes_in_words(signature, scaling_was_said)}", f"answers: {answers}"]
    reasons = [f"{entry['file']}: {entry['reason']}" for entry in card["not_exported"].values()]
    lines += [f"left out: {reason}" for reason in reasons]
    if "keras" in card["not_exported"]:
        lines.append("served all the same: model.keras is for Keras alone, to train on, for which yours is still there")
    return [*lines, f"parity: {_parity_in_words(card)}", f"runs on: {_cost_in_words(card)}"]


def _cost_in_words(card: dict) -> str:
    backend = best_backend(card)
    name, memory, more = COSTS[backend]
    memory += 2 * card["files"].get(BACKENDS[backend].file, {"bytes": 0})["bytes"] // 1_000_000
    return f"{name}, {memory} MB a worker{more}"


def _parity_in_words(card: dict) -> str:
    parity = card["parity"]
    if parity["largest_difference"] is None:
        return f"not measured: {next(iter(parity['not_evaluated'].values()))}"
    reference = "the SavedModel" if card["model"]["class"] == "SavedModel" else "Keras"
    agrees = f"agrees with {reference} to {parity['largest_difference']:.1e} over {parity['inputs']}"
    return agrees if parity["proved"] else f"{agrees}, which proves nothing (see above)"


def takes_in_words(signature: Signature | InputSignature, scaling_was_said: bool = False) -> str:
    if isinstance(signature, Signature):
        names = ", ".join(signature.names[:8]) + (", ..." if signature.n > 8 else "")
        ids = [f"{each.name} {each.low:.0f} to {each.high:.0f}" for each in signature.features if each.whole]
        whole = f", whole numbers: {wording.listed(ids, 4)}" if ids else ""
        usual = {each.usual and usual_in_words(each.usual) for each in signature.features}
        if len(usual) > 1:
            usual = [f"{each.name} {usual_in_words(each.usual)}" for each in signature.features if each.usual]
        usual = f", usually {wording.listed(usual, 8)}" if any(usual) else ""
        return f"a row of {signature.n} feature{'s' * (signature.n > 1)} ({names}){whole}{usual}"
    return "; ".join(_input_in_words(each, scaling_was_said) for each in signature.inputs)


def _input_in_words(which, scaling_was_said: bool) -> str:
    listed = which.values or which.known or ()
    values = ", ".join(map(str, listed[:6])) + (", ..." if len(listed) > 6 else "")
    values += " or any other" if which.known else ""
    if which.kind == "text":
        one = f"one of {len(which.values)} texts" if which.values else "a text"
        return f"{one} ({which.name})" + (f": {values}" if values else "")
    size = " x ".join("any length" if part is None else str(part) for part in which.shape)
    if which.kind == "texts":
        return f"an array ({which.name}) of {size}, of texts" + (f": {values}" if values else "")
    if which.kind == "image":
        sides = zip(which.height_and_width, ("any height", "any width"), strict=True)
        parts = [side or otherwise for side, otherwise in sides]
        parts = [which.channels, *parts] if which.channels_first else [*parts, *which.shape[2:]]
        size = " x ".join(map(str, parts)) + (", channels first" if which.channels_first else "")
        scaled = {"caffe": "as Caffe's models take them", "torch": "as torchvision's models take them"}
        pixels = scaled.get(which.pixels, f"to {which.pixels}")
        otherwise = "no layer tells otherwise: --pixels does" if which.pixels == "0..1" else "--pixels says otherwise"
        hint = "" if scaling_was_said else f" ({otherwise})"
        return f"a picture ({which.name}) of {size}, pixels scaled {pixels}{hint}"
    words = f", whole numbers {which.low} to {which.high}" if which.low is not None else ""
    words = f", usually {usual_in_words(which.usual)}" if which.usual else words
    words = f", of {values}" if values else ", true or false" if which.is_bool else words
    if which.is_one_number:
        return f"true or false ({which.name})" if which.is_bool else f"a number ({which.name}){words}"
    is_square = len(which.shape) == 2 and which.shape[0] == which.shape[1]
    is_open = not (which.is_bool or which.values or which.known or which.low is not None)
    hint = "; where that is a picture, --takes image says so" if is_square and is_open else ""
    return f"an array ({which.name}) of {size}{words}{hint}"


def _output_in_words(output, name: str) -> str:
    more = ""
    if output.kind == CLASSES:
        more = f" ({', '.join(output.classes[:6])}{', ...' if len(output.classes) > 6 else ''})"
    elif output.kind == ARRAY:
        more = " of " + " x ".join("any" if s is None else str(s) for s in output.shape)
        if len(output.shape) == 1 and output.shape[0]:
            more += ", or scores of classes (--classes names them)"
    return f"{name}: {output.in_words}{more}"
