"""What a service answers with: rows as they were read go through the model, and come out as a body of JSON.

One place for the Flask views and for the lane before them, so that both give the same bytes.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable

import msgspec
import numpy as np

from helpers.data.inputs import name_empty, name_in_requests
from helpers.data.outputs import ARRAY, CLASSES, NOT_FINITE, ONE_PROBABILITY, as_arrays
from helpers.data.parameters import Rows
from helpers.data.refusals import InvalidRequest, Named

CHUNK_ROWS = 512  # rows computed and written at a time: between two chunks of a long list other requests get their turn
# What ONNX Runtime, LiteRT, NumPy and TensorFlow say of a look-up beyond its list, and the number where they tell it.
_NOT_KNOWN = re.compile(r"out of (?:data )?bounds(?:, idx=(-?\d+))?|\] = (-?\d+) is not in \[0, ")

_NOT_FINITE = f"{NOT_FINITE}, as it may where those sent are very large, or a logarithm is taken of 0"


class ModelFailure(RuntimeError):
    """The model did not answer a legal request with finite numbers."""


class NoAnswer(ModelFailure):
    """What the model says of a row is no answer: it is not finite, for one. Of other rows it may have one."""


def answer(slot, model: Callable, rows: Rows, is_list: bool) -> bytes:
    """The body of the answer to `rows` from `model`, of one row or of a list; raises `ModelFailure`.

    Where it has none to what holds nothing, no word or padding alone, `InvalidRequest` says so.
    What there is to note about the rows goes along, and what was wrong with rows that were left out, as they were read
    or as the model had no answer to them: their place in the list holds null.
    """
    try:
        body = _body(slot, model, rows, is_list)
    except ModelFailure:
        (empty := Named()).add_all(name_empty(model.signature, rows.matrix, 0 if is_list else None))
        empty.refuse()
        raise
    if rows.notes:
        body += f',"notes":{_json(rows.notes)}'
    if refused := rows.refused:
        body += f',"errors":{_json(refused)}'
    slot.ready = True
    # half of a surrogate pair, which only a caller's name can hold, becomes the escape that JSON has for it
    return f'{{{body},"success":true}}\n'.encode(errors="backslashreplace")


def _body(slot, model: Callable, rows: Rows, is_list: bool) -> str:
    if model.signature.outputs is not ONE_PROBABILITY:
        return _listed(model, rows) if is_list else _alone(model, rows.matrix)
    watch = slot.watch
    if watch is not None and watch.model is not model:  # it was replaced since the request was read
        watch = None
    return _predictions(model, rows, watch) if is_list else _prediction(model, rows.matrix, watch)


def _prediction(model: Callable, row: np.ndarray, watch: Callable | None) -> str:
    answers = _run(model, row)
    probability = answers[0]
    if not math.isfinite(probability):
        raise NoAnswer(_NOT_FINITE)
    if watch is not None:
        watch(row, answers)
    text = str(probability)  # a float32 in full: the shortest decimals that give it back
    return f'"prediction":"{text}","probability":{text}'


def _predictions(model: Callable, rows: Rows, watch) -> str:
    def texts_of(chunk) -> list[str]:
        answers = _run(model, chunk)
        texts = _texts(answers)
        if watch is not None:
            watch(chunk, answers)
        return texts

    return f'"predictions":[{",".join(_of_each(model, rows, texts_of, "null"))}]'


def _alone(model: Callable, row) -> str:
    """The answer to one row of a model that answers something else than one probability."""
    signature = model.signature
    outputs, answers = signature.outputs, _outputs(model, row)
    if len(outputs) > 1:
        content = {"outputs": {o.name: o.alone(found)[0] for o, found in zip(outputs, answers, strict=True)}}
    elif outputs[0].kind == CLASSES and signature.takes_pictures:
        content = {"predictions": outputs[0].ranked(answers[0])}
    else:
        content = outputs[0].alone(answers[0])[0]
    return _json_of(outputs, content)[1:-1]


def _listed(model: Callable, rows: Rows) -> str:
    """The answers to a list of rows, in its order; null for the bad ones."""
    outputs = model.signature.outputs

    def answers_of(chunk) -> list:
        answers = _outputs(model, chunk)
        if len(outputs) == 1:
            return outputs[0].listed(answers[0])
        parts = [output.alone(part) for output, part in zip(outputs, answers, strict=True)]
        names = [output.name for output in outputs]
        return [dict(zip(names, row, strict=True)) for row in zip(*parts, strict=True)]

    return f'"predictions":{_json_of(outputs, _of_each(model, rows, answers_of, None))}'


def _of_each(model: Callable, rows: Rows, answers_of: Callable, nothing) -> list:
    """What `answers_of` makes of the rows, in the order of the list; `nothing` for the bad ones.

    Where the others are to be answered all the same, those without an answer are found by halves, and named.
    """
    matrix, bad = rows.matrix, set(rows.bad)
    good = [i for i in range(len(matrix)) if i not in bad] if bad else range(len(matrix))
    if bad:
        matrix = matrix[good]

    def of_part(start: int, end: int) -> list:
        try:
            return answers_of(matrix[start:end])
        except (NoAnswer, InvalidRequest) as error:
            if rows.problems is None:
                raise
            if end - start == 1:
                i = good[start]
                if not rows.problems.add_all(name_empty(model.signature, matrix[start:end], i)):
                    rows.problems.add(f"[{i}]", str(error))
                return [nothing]
        half = (start + end) // 2
        return of_part(start, half) + of_part(half, end)

    found: list = []
    for start in range(0, len(good), CHUNK_ROWS):
        found += of_part(start, min(start + CHUNK_ROWS, len(good)))
    if bad:
        answered = iter(found)
        found = [nothing if i in bad else next(answered) for i in range(len(rows.matrix))]
    return found


def _outputs(model: Callable, rows) -> tuple[np.ndarray, ...]:
    """An array for each output, as the signature says it."""
    answers = as_arrays(_call(model, rows))
    for output, found in zip(model.signature.outputs, answers, strict=True):
        if problem := output.problem(found, len(rows)):
            raise NoAnswer(_NOT_FINITE if problem == NOT_FINITE else problem)
    return answers


def _call(model: Callable, rows):
    try:
        return model(rows)
    except Exception as error:
        sizes = _open_sizes(model, rows)
        if found := _NOT_KNOWN.search(str(error)):
            number = found[1] or found[2] or "a number"
            raise InvalidRequest(
                f"the model has no entry for {number} in a list in which it looks numbers up: send one that it knows"
                + (", or fewer at once" if sizes else "")
            ) from error
        if sizes:
            raise InvalidRequest(
                f"the model has no answer to {sizes}: it takes certain sizes only, so send another one"
            ) from error
        raise ModelFailure(f"the model failed on {len(rows)} row(s)") from error


def _open_sizes(model: Callable, rows) -> str:
    """The shapes of inputs whose size is open, for a model that failed on these rows and answers others; or ""."""
    signature = model.signature
    open_ones = [
        f"{name_in_requests(signature, which)} of shape ({', '.join(map(str, array.shape[1:]))})"
        for which, array in zip(signature.inputs, getattr(rows, "arrays", ()), strict=True)
        if None in which.shape
    ]
    try:
        return " and ".join(open_ones) if open_ones and model(signature.sample(1)) is not None else ""
    except Exception:  # it is the model that is broken
        return ""


def _run(model: Callable, rows: np.ndarray) -> np.ndarray:
    answers = _call(model, rows)
    if len(answers) != len(rows):
        raise ModelFailure(f"the model answered {len(rows)} row(s) with {len(answers)} value(s)")
    return answers


def _texts(answers: np.ndarray) -> list[str]:
    texts = list(map(str, answers))
    if "n" in "".join(texts):  # nan or inf: no other number has the letter, and NumPy's own look takes as long as all
        raise NoAnswer(_NOT_FINITE)
    return texts


def _json(content) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def _json_of(outputs, content) -> str:
    """The answers of a model in JSON; those with arrays are written ten times as fast, 1e-05 as 0.00001."""
    if any(output.kind == ARRAY for output in outputs):
        return msgspec.json.encode(content).decode()
    return _json(content)
