"""Writing a model in every format, with its model card, and proving that every format answers alike.

A Keras model comes in; a folder goes out: `model.keras`, `model.h5`, `saved_model/`, `model.onnx`, `model.tflite`,
`model.npz`, where it is asked for `model.pmml`, and `card.json`, which says what the model takes, how good it was on
which data, and what each file must be.
`predictors.load_predictor` reads it again, `parity` measures it, `load_keras` (of `legacy`) reads Keras files.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from helpers.data.columns import Column
from helpers.data.distribution import Distribution
from helpers.data.inputs import InputSignature
from helpers.data.outputs import ONE_PROBABILITY, as_arrays
from helpers.data.signature import Feature, Signature
from helpers.export.answerable import answerable
from helpers.export.answers import answered, outputs_of
from helpers.export.card import files_of, read_card, versions, write_card
from helpers.export.errors import ArtifactError, Remark, first_line, last_line
from helpers.export.folder import card_of, check_replaceable, replacing
from helpers.export.foreign import ITSELF, is_foreign
from helpers.export.formats import FILES, FORMATS, WRITERS
from helpers.export.kept import is_same_model
from helpers.export.parity import (
    blockwise,
    compare,
    inputs_of,
    limit_of,
    not_evaluated,
    on_rows,
    proves_nothing,
    sample_size,
)
from helpers.export.run_keras import compiled

FEW = 8  # rows that are asked before anything is written
ROUNDED = 0.02  # of the largest answer: by half precision, or whole numbers in a file
SUMMED = 1e-3  # of it, by sums of float32 in another order; a mean over the rows of a call shows in more
FEWEST_WITH_MASK = 2  # inputs of whole numbers, of which one may be a mask

# ---- export ----


def export_model(
    model,
    directory: str | Path,
    signature: Signature | InputSignature | None = None,
    metrics: Mapping | None = None,
    label: str = "label",
    formats: Iterable[str] = FORMATS,
    columns: Iterable[Column] = (),
    source: Mapping | None = None,
    beside: bool = False,
    trained_on: np.ndarray | None = None,
    instead: Mapping[str, str] | None = None,
) -> dict:
    """Write `model` to `directory` in each of `formats`, with its model card, and return the card.

    model: a Keras model. signature: what its features or other inputs and its outputs are; None takes them for 0/1
    features named g1..gn. Outputs that it does not tell are found. metrics: what was measured, with the data it was
    measured on under "data". columns: what became of each column of the table (`Table.columns`). source: the file that
    the model came from, for the card. beside: leave the model that `directory` holds in its place, and keep this one as
    a version beside it, which `versions.promote` puts there. trained_on: the rows that the model was trained on, (k, m)
    as it takes them, whose distribution the card then keeps for `serving.drift`; None: that of the export which is
    replaced, where this is the same model. instead: formats that are written where another one cannot hold the model,
    `{"onnx": "tflite"}`.

    Each file is read back and compared with the model before it counts. A format that cannot hold the model is left
    out, with a warning and the reason under "not_exported" in the card. It may differ by `TOLERANCE`; models of
    real-valued features by what the model makes of a change in their last bit, where that is more ("limit" in the
    card). Where that proves nothing, a warning and "proved" in the card say so. The folder is replaced as a whole at
    the end: where anything fails before, the previous export is untouched, and otherwise it is kept (`versions`).
    Raises `ArtifactError` where nothing can be exported, and where `directory` holds anything that is no export of this
    project, which is not overwritten.
    """
    directory, formats = Path(directory), tuple(formats)
    unknown = [name for name in formats if name not in WRITERS]
    if unknown or not formats:
        raise ArtifactError(f"there is no format {', '.join(unknown)!r}: choose from {', '.join(WRITERS)}")
    signature, shape = _signature(model, signature, label)
    if signature.outputs == ONE_PROBABILITY:
        signature = replace(signature, outputs=outputs_of(model, signature))
    check_replaceable(directory)
    # calls the model once, which Keras wants before it exports a freshly loaded one
    answer = on_rows(_compiled(model), shape)
    signature = answerable(answer, signature, sample_size(signature, _parameters(model)))
    inputs, described = inputs_of(signature, _parameters(model), answer)
    _check_answers(model, answer, signature)
    expected = answered(model, functools.partial(blockwise, answer), inputs, signature)
    if not np.isfinite(expected).all():
        raise ArtifactError(_not_finite(signature))
    limit = limit_of(answer, signature, inputs, expected, exact=_in_half_precision(model))
    nothing = proves_nothing(limit, expected)
    if nothing and not is_foreign(model):
        warnings.warn(f"that the files answer like the model is not proved: {nothing}", Remark, stacklevel=2)

    with replacing(directory, beside) as scratch:
        card = {
            "model": _described(model),
            "signature": signature.to_dict(),
            "metrics": {"data": "not stated", **metrics} if metrics else {},
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": versions(),
        }
        told = {
            "distribution": _distribution(answer, signature, trained_on, card, directory),
            "source": dict(source or {}),
            "columns": [asdict(column) for column in columns],
            "input_shape": list(shape) if shape and shape != (signature.width,) else None,
        }
        card |= {part: content for part, content in told.items() if content}
        against = (inputs, expected, limit)
        differences, unproved, refused = _write_all(model, scratch, signature, card, formats, instead or {}, against)
        if not differences and not unproved:
            raise ArtifactError("; ".join(f"{FILES[name]}: {reason}" for name, reason in refused.items()))
        for name, reason in refused.items():
            warnings.warn(f"{FILES[name]} is left out: {reason}", stacklevel=2)
        for name, reason in unproved.items():
            if not is_foreign(model):
                said = f"that {FILES[name]} answers like the model is not proved: {reason}"
                warnings.warn(said, Remark, stacklevel=2)
        card["formats"] = [name for name in dict.fromkeys((*formats, *FILES)) if name in {*differences, *unproved}]
        card["not_exported"] = {name: {"file": FILES[name], "reason": reason} for name, reason in refused.items()}
        card["parity"] = {
            "inputs": described,
            "limit": limit,
            "proved": bool(differences) and not nothing,
            "largest_difference": max(differences.values(), default=None),
            "by_format": differences,
        }
        if unproved:
            card["parity"]["not_evaluated"] = unproved
        card["files"] = files_of(scratch)
        write_card(scratch, card)
        written = read_card(scratch)
    return written


def _digest(model) -> str | None:
    """The SHA-256 of a model's layers and weights, by which it is known again whatever formats it is exported in.

    None where a layer of one's own does not say how it is configured.
    """
    try:
        described = json.loads(model.to_json())
        described.pop("compile_config", None)  # how it is trained on is nothing that answers
        digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    except (NotImplementedError, TypeError, ValueError):
        return None
    for weight in model.get_weights():
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()


def _distribution(answer, signature, trained_on: np.ndarray | None, card: dict, directory: Path) -> dict | None:
    """How the rows that the model was trained on, and its scores of them, are distributed; None where nobody tells."""
    if trained_on is not None and signature.outputs == ONE_PROBABILITY:
        return Distribution.of(signature, trained_on, answer(trained_on).ravel()).to_dict()
    before = card_of(directory)
    return before.get("distribution") if before and is_same_model(before, card) else None


def _compiled(model):
    """`compiled(model)`; `ArtifactError` for a model that Keras has built and cannot compute."""
    try:
        return compiled(model)
    except Exception as error:  # whatever one of its layers raises
        raise ArtifactError(
            f"Keras itself cannot compute the model ({last_line(error)}): mend that layer first"
        ) from error


def _check_answers(model, answer, signature) -> None:
    """`ArtifactError` where the model's answers are none of its signature's outputs: it could not be served."""
    answers = as_arrays(answered(model, answer, signature.sample(FEW), signature))
    if len(answers) != len(signature.outputs):
        raise ArtifactError(
            f"the model has {len(answers)} outputs, its signature {len(signature.outputs)}: give the signature as many"
        )
    if not all(np.isfinite(found).all() for found in answers):
        raise ArtifactError(_not_finite(signature))
    for output, found in zip(signature.outputs, answers, strict=True):
        problem = output.problem(found, FEW)
        if problem:
            raise ArtifactError(f"{problem}: build the model so, or say what it answers in the signature's outputs")
    rows = signature.sample(FEW)
    alone = "answers a row otherwise where others stand beside it: build it so that each row counts by itself"
    if any(each.dtype == "string" for each in model.inputs):
        alone += ", as TextVectorization does with output_sequence_length"
    again = "answers the same rows otherwise when it is asked again: take what draws random numbers out of it"
    for at, what in ((slice(FEW), again), *((slice(i, i + 1), alone) for i in range(FEW))):
        pairs = zip(answers, as_arrays(answer(rows[at])), strict=True)
        if not all(_are_alike(each[at], other, _rounding(model)) for each, other in pairs):
            raise ArtifactError(f"the model {what}")


def _are_alike(answers: np.ndarray, others: np.ndarray, rounding: float) -> bool:
    """Whether answers differ by rounding at most, a share of the largest."""
    answers, others = answers.astype(float), others.astype(float)
    return bool(np.abs(answers - others).max() <= rounding * max(np.abs(answers).max(), np.finfo(np.float32).tiny))


def _rounding(model) -> float:
    """The share of its largest answer by which a model may differ from itself."""
    is_unknown = is_foreign(model) or getattr(model, "kind", "") == "SavedModel"
    if is_unknown or _in_half_precision(model):
        return ROUNDED
    return ROUNDED if any(getattr(each, "quantization_mode", None) for each in model._flatten_layers()) else SUMMED


def _not_finite(signature) -> str:
    said = "the model answers some legal inputs with numbers that are not finite: train it again"
    if isinstance(signature, Signature) and any(feature.is_unbounded for feature in signature.features):
        return f"{said}; or, where it takes certain numbers only, a table of such rows tells them: --like TABLE"
    unknown = [each.name for each in signature.inputs if each.kind == "array" and each.is_whole]
    if len(unknown) < FEWEST_WITH_MASK:
        return said
    return f"{said}; or, if one of {', '.join(unknown)} says which steps count, call it attention_mask where it is made"


def _in_half_precision(model) -> bool:
    return any(layer.compute_dtype in ("float16", "bfloat16") for layer in model.layers)


def _signature(model, signature, label: str) -> tuple[Signature | InputSignature, tuple[int, ...] | None]:
    """The signature of a model, and where it takes features the shape of one row of the model: (n,) as a rule."""
    inputs, outputs = getattr(model, "inputs", None), getattr(model, "outputs", None)
    if not inputs or not outputs:
        raise ArtifactError("the model has not been built: give it a keras.Input, or call it on a row first")
    if isinstance(signature, InputSignature):
        if len(inputs) != signature.n:
            raise ArtifactError(f"the model has {len(inputs)} inputs, its signature {signature.n}")
        return signature, None
    if len(inputs) != 1:
        raise ArtifactError(f"the model has {len(inputs)} inputs: give it an InputSignature that names them")
    shape = tuple(inputs[0].shape[1:])
    if not shape or None in shape:
        raise ArtifactError(f"the model takes rows of shape {shape}: only a fixed number of features can be exported")
    n = int(np.prod(shape))
    if signature is None:
        signature = Signature(tuple(Feature(f"g{i + 1}") for i in range(n)), label)
    if signature.width != n:
        raise ArtifactError(f"the signature makes rows of {signature.width} numbers, the model takes {n}")
    return signature, shape


def _unusual_numbers(model, error: Exception) -> str:
    """Why a converter fails at numbers that it does not know, of which each speaks in its own way; "" for others."""
    if isinstance(error, ArtifactError) or is_foreign(model):
        return ""
    layers = list(model._flatten_layers())
    kinds = [str(getattr(each, "quantization_mode", None) or getattr(each, "compute_dtype", "")) for each in layers]
    found = [kind for kind in kinds if kind in ("bfloat16", "float8")]
    return f"it computes in {found[0]}, which Keras alone does here" if found else ""


def _write_all(
    model,
    folder: Path,
    signature: Signature | InputSignature,
    card: dict,
    formats: tuple[str, ...],
    instead: Mapping[str, str],
    against: tuple,
) -> tuple[dict[str, float], dict[str, str], dict[str, str]]:
    """Write each format and hold it against the model: how far they differ, what was not proved, what is left out.

    The reasons of the latter two are told. instead: what is written in the place of one that cannot hold the model.
    against: what `compare` takes: the inputs, the model's answers, and the limit.
    """
    differences, unproved, refused = {}, {}, {}
    waiting = list(formats)
    for name in waiting:  # which grows by what is written instead
        try:
            _write(model, folder / FILES[name], name, signature)
            write_card(folder, card | {"files": files_of(folder)})
            if is_foreign(model):
                compare(folder, name, *against)
                unproved[name] = ITSELF
            elif reason := not_evaluated(name):
                unproved[name] = reason
            else:
                differences[name] = compare(folder, name, *against)
        except ArtifactError as error:
            refused[name] = str(error)
            _remove(folder / FILES[name])
            if instead.get(name, name) not in waiting:
                waiting.append(instead[name])
    return differences, unproved, refused


def _write(model, path: Path, name: str, signature: Signature | InputSignature) -> None:
    """Write one format; `ArtifactError` where it cannot hold the model."""
    try:
        if is_foreign(model):
            path.write_bytes(model.content)
        else:
            WRITERS[name](model, path, signature)
    except OSError:
        raise  # a full disk is not the format's fault
    except Exception as error:
        if (full := os.strerror(errno.ENOSPC)) in str(error):  # as TensorFlow tells of it, by an error of its own
            raise OSError(errno.ENOSPC, full) from error
        raise ArtifactError(_unusual_numbers(model, error) or first_line(error)) from error


def _parameters(model) -> int:
    return model.parameters if hasattr(model, "parameters") else model.count_params()


def _described(model) -> dict:
    """What the model is, for the card."""
    return {
        "class": getattr(model, "kind", type(model).__name__),
        "layers": len(model.layers),
        "parameters": _parameters(model),
        "weights": getattr(model, "digest", None) or _digest(model),
    }


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
