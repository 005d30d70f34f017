"""What a service answers with: rows as they were read go through the model, and come out as a body of JSON.

One place for the Flask views and for the lane before them, so that both give the same bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np

from helpers.data.parameters import Rows

CHUNK_ROWS = 512  # rows computed and written at a time: between two chunks of a long list other requests get their turn


class ModelFailure(RuntimeError):
    """The model did not answer a legal request with finite numbers."""


def answer(slot, model: Callable, rows: Rows, is_list: bool) -> bytes:
    """The body of the answer to `rows` from `model`, of one row or of a list; raises `ModelFailure`.

    What there is to note about the rows goes along, and what was wrong with rows that were left out: their place in
    the list holds null.
    """
    body = _predictions(model, rows) if is_list else _prediction(model, rows.matrix)
    if rows.notes:
        body += f',"notes":{_json(rows.notes)}'
    if rows.refused:
        body += f',"errors":{_json(rows.refused)}'
    slot.ready = True
    return f'{{{body},"success":true}}\n'.encode()


def _prediction(model: Callable, row: np.ndarray) -> str:
    probability = _run(model, row)[0]
    if not math.isfinite(probability):
        raise ModelFailure(f"the model answered {probability}")
    text = str(probability)  # a float32 in full: the shortest decimals that give it back
    return f'"prediction":"{text}","probability":{text}'


def _predictions(model: Callable, rows: Rows) -> str:
    matrix, bad = rows.matrix, set(rows.bad)
    if bad:
        matrix = matrix[[i for i in range(len(matrix)) if i not in bad]]
    texts: list[str] = []
    for start in range(0, len(matrix), CHUNK_ROWS):
        texts += _texts(_run(model, matrix[start : start + CHUNK_ROWS]))
    if bad:
        answered = iter(texts)
        texts = ["null" if i in bad else next(answered) for i in range(len(rows.matrix))]
    return f'"predictions":[{",".join(texts)}]'


def _run(model: Callable, rows: np.ndarray) -> np.ndarray:
    try:
        answers = model(rows)
    except Exception as error:
        raise ModelFailure(f"the model failed on {len(rows)} row(s)") from error
    if len(answers) != len(rows):
        raise ModelFailure(f"the model answered {len(rows)} row(s) with {len(answers)} value(s)")
    return answers


def _texts(answers: np.ndarray) -> list[str]:
    if not np.isfinite(answers).all():
        raise ModelFailure("the model answered with numbers that are not finite")
    return list(map(str, answers))


def _json(content: dict) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))
