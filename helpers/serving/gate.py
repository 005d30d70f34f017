"""The gate before a new version of a model: what it must answer, and that it ranks no worse than the version before it.

A predictor comes in, a list of `Finding`s goes out: each says in a sentence what was checked, and whether it holds.
Golden requests are asked of the service's own application, without a socket, so that names, ranges and texts are read
as a caller's are.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import combinations, islice
from typing import NamedTuple

import numpy as np
import pandas as pd

from helpers.data import games
from helpers.data.inputs import InputSignature
from helpers.data.outputs import ONE_PROBABILITY
from helpers.data.raw_tables import DataError, NoSuchLabel
from helpers.data.signature import BINARY, CATEGORY, REAL, Signature
from helpers.export.versions import other_question
from helpers.model.evaluation import roc_auc, roc_auc_difference
from helpers.serving.golden import CannotGate, Golden
from helpers.serving.services import create_predict_app

DRAFTED, MARGIN = 6, 1.5  # golden requests of a draft, and by how many of the steps between them an answer may move
CANDIDATES, SWAPS = 200, 5_000  # rows and pairs of features among which those that notice a swap are sought
SWAPS_MENDED = 500  # pairs with which a model is asked again: some 5 ms each
_KINDS = {REAL: "number", BINARY: "yes/no", CATEGORY: "category"}  # as `load_table` calls them


class Finding(NamedTuple):
    """Whether something holds of a model, and a sentence that says what."""

    holds: bool
    says: str

    def __str__(self) -> str:
        words = f"{'holds' if self.holds else 'FAILS'}  {self.says}"
        return textwrap.fill(words, 100, subsequent_indent=" " * 7)


# ---- golden requests ----


def ask(predictor: Callable, golden: Iterable[Golden]) -> list[Finding]:
    """Ask a model each golden request, and hold its answer against what is known of it."""
    client = create_predict_app(predictor, warm_up=False).test_client()
    return [_held(client, number, each) for number, each in enumerate(golden, start=1)]


def _held(client, number: int, golden: Golden) -> Finding:
    name = f"golden request {number}" + (f" ({golden.why})" if golden.why else "")
    answer, refused = _answer(client, golden.request)
    if refused:
        return Finding(False, f"{name}: {refused}")
    faults, found = [], []
    if golden.prediction is not None:
        found.append(f"{answer.get('prediction')}")
        faults += [f"not {golden.prediction}"] if answer.get("prediction") != golden.prediction else []
    if (golden.at_least, golden.at_most, golden.more_than) != (None, None, None):
        value = _number(answer)
        if value is None:
            why = (
                "send one row"
                if "predictions" in answer
                else "of arrays and several outputs it tells nothing, leave it out"
            )
            return Finding(False, f"{name}: the answer holds no single number to compare: {why}")
        found.append(f"{value:.4g}")
        if golden.at_least is not None and not value >= golden.at_least:
            faults.append(f"not at least {golden.at_least:g}")
        if golden.at_most is not None and not value <= golden.at_most:
            faults.append(f"not at most {golden.at_most:g}")
        if golden.more_than is not None:
            other, refused = _answer(client, golden.more_than)
            if refused:
                return Finding(False, f"{name}: of the request beside it: {refused}")
            other = _number(other)
            faults += [f"not more than the {other:.4g} of the request beside it"] if not value > other else []
    return Finding(not faults, f"{name}: " + ", ".join([*found, *faults]))


def _answer(client, request: dict) -> tuple[dict, str]:
    """The answer to a request, and "", or why it was refused."""
    got = client.post("/predict", json=request)
    content = got.get_json()
    if got.status_code != 200:
        return {}, f"refused with {got.status_code}: {content['error']}"
    if "predictions" in content and "instances" not in request:  # the classes of a picture, best first
        best = content["predictions"][0]
        content |= {"prediction": best["label"], "probability": best["probability"]}
    return content, ""


def _number(answer: dict) -> float | None:
    return answer.get("probability", answer.get("value"))


def swaps_that_mend(predictor: Callable, golden: Iterable[Golden]) -> list[tuple[str, str]]:
    """The pairs of features with whose values exchanged every golden request holds: they may be swapped in the model.

    Of many features the first `SWAPS_MENDED` pairs are tried. None where it takes something else than features.
    """
    golden, signature = list(golden), predictor.signature
    if isinstance(signature, InputSignature):
        return []
    client, reader = create_predict_app(predictor, warm_up=False).test_client(), signature.reader()

    def exchanged(request: dict | None, pair: tuple[str, str]) -> dict | None:
        if request is None:
            return None
        sent = {field.name: name for name in request if (field := reader.field(name))}
        others = {name: value for name, value in request.items() if name not in [sent.get(each) for each in pair]}
        both = zip(pair, reversed(pair), strict=True)
        return others | {name: request[sent[other]] for name, other in both if other in sent}

    def holds(pair: tuple[str, str]) -> bool:
        asked = (
            replace(each, request=exchanged(each.request, pair), more_than=exchanged(each.more_than, pair))
            for each in golden
        )
        return all(_held(client, number, each).holds for number, each in enumerate(asked, start=1))

    return list(filter(holds, islice(combinations(signature.names, 2), SWAPS_MENDED)))


# ---- the AUC ----


def held_out_rows(
    source, signature: Signature, label: str | None = None, positive: str | None = None
) -> tuple[pd.DataFrame, np.ndarray]:
    """The rows of a table that training set aside to test on: the features, and the label (n,) of 0 and 1.

    source: "sample", "article", or the path or address of a table. What its columns are is told by the signature of
    the model. label: the column with the right answers, where it is not called what the model predicts. positive: the
    value of it that counts as 1, where that is another than the model's own. Raises `DataError` where the table cannot
    be used, `CannotGate` where the model answers something else.
    """
    if isinstance(signature, InputSignature) or signature.outputs is not ONE_PROBABILITY:
        raise CannotGate(
            "an AUC is that of a model which answers a probability for the row of a table: leave out --data"
        )
    kinds = {feature.name: _KINDS[feature.kind] for feature in signature.features}
    try:
        table = games.load_table(
            source,
            label or signature.label,
            positive or signature.positive or "1",
            drop=[signature.group] if signature.group else (),
            treat_as=kinds,
        )
    except NoSuchLabel as error:
        if label:
            raise
        raise DataError(f"{error}; or give the table of this model, which predicts {signature.label!r}") from None
    if gone := [name for name in signature.names if name not in table.frame]:
        why = {column.name: column.used_as for column in table.columns}
        raise DataError(f"{source} holds nothing in the column {gone[0]!r} that the model takes ({why[gone[0]]})")
    _, test = games.split(table.frame, table.label)
    return test[list(signature.names)], test[table.label].to_numpy()


def compare(new: Callable, old: Callable, rows: pd.DataFrame, label: np.ndarray) -> Finding:
    """Whether the ROC AUC of `new` is no worse than that of `old` on the same rows.

    It is worse where the whole 95 % interval of the difference lies below 0 (DeLong's for paired scores). The fewer
    the rows, the wider the interval, and the less is held back. What answers another question is no better or worse,
    nor is what takes other features.
    """
    if reason := other_question(old.signature.to_dict(), new.signature.to_dict()):
        return Finding(False, f"{reason}: callers of {old.version} would be refused, or would misread it")
    (scores, knows), (others, others_know) = _scores(new, rows), _scores(old, rows)
    if len(rows) and not knows.any():
        client, [first] = create_predict_app(new, warm_up=False).test_client(), requests_of(rows[:1], new.signature)
        why = _answer(client, first)[1]
        return Finding(False, f"none of the {len(rows):,} test rows is answered: the first one is {why}")
    both = knows & others_know
    try:
        area, other = (roc_auc(label[both], each[both]) for each in (scores, others))
        difference, low, high = roc_auc_difference(label[both], scores[both], others[both])
    except ValueError as error:
        raise CannotGate(f"the test rows are too few for an AUC ({error}): give a larger table") from error
    of = f"test AUC {area:.3f} on {np.count_nonzero(both):,} rows, where {old.version} has {other:.3f}"
    says = "no worse, as far as these rows tell" if high >= 0 else "worse, and not by chance"
    return Finding(high >= 0, f"{of}: {says} ({difference:+.4f}, 95 % interval {low:+.4f} to {high:+.4f})")


def _scores(predictor: Callable, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The probabilities of rows, (n,), and which of them the model knows every value of, (n,) bool."""
    read = predictor.signature.reader().read(requests_of(rows, predictor.signature), keep_going=True)
    knows = np.ones(len(rows), bool)
    knows[list(read.bad)] = False
    scores = np.full(len(rows), np.nan, np.float32)
    scores[knows] = predictor(read.matrix[knows])
    return scores, knows


def requests_of(rows: pd.DataFrame, signature: Signature) -> list[dict]:
    """Rows of a table as requests, by the names that the signature has."""
    columns = {
        feature.name: [feature.as_requested(value) for value in rows[feature.name].tolist()]
        for feature in signature.features
    }
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


# ---- a first file ----


def draft(predictor: Callable, rows: pd.DataFrame) -> list[Golden]:
    """Golden requests to begin with: up to `DRAFTED` rows, from the lowest answer to the highest in even steps.

    Each may move by `MARGIN` steps, and stays above the one two steps below it. Of rows with like answers the most
    frequent is taken, as a model knows it best. They say what this model answers, not what is right: a person has to
    go through them.
    """
    names = list(predictor.signature.names)
    scores, knows = _scores(predictor, rows)
    known = rows[names].assign(score=scores.astype(float))[knows]
    counts = known.groupby(names, dropna=False)["score"].transform("size")
    distinct = known.assign(count=counts).drop_duplicates(names)
    lowest, highest = distinct["score"].min(), distinct["score"].max()
    step = (highest - lowest) / (DRAFTED - 1)
    if not step > 0:
        raise CannotGate("the model answers every row of the table alike: write the golden requests yourself")
    places = distinct.assign(place=((distinct["score"] - lowest) / step).round())
    chosen = places.sort_values(["count", "score"]).groupby("place").tail(1).sort_values("place")
    requests, answers = requests_of(chosen, predictor.signature), chosen["score"].tolist()
    return [
        replace(_near(request, answer, MARGIN * step), more_than=requests[number - 2] if number >= 2 else None)
        for number, (request, answer) in enumerate(zip(requests, answers, strict=True))
    ]


def draft_for_swaps(predictor: Callable, rows: pd.DataFrame, drafted: list[Golden]) -> tuple[list[Golden], int, int]:
    """More golden requests, which notice features that were swapped in a model: (requests, swaps noticed, swaps).

    Of the rows each time the one that notices most of what `drafted` and those before it let pass, until none notices
    more, or `DRAFTED` are added. A swap exchanges what two features fill of the matrix; of many features the first
    `SWAPS` pairs are tried.
    """
    signature = predictor.signature
    known = pd.DataFrame([each.request for each in drafted])[list(signature.names)]
    scores, knows = _scores(predictor, rows)
    distinct = rows[knows].drop_duplicates().head(CANDIDATES)
    reach = MARGIN * float(np.ptp(scores[knows])) / (DRAFTED - 1)
    matrix = signature.encode(pd.concat([known, distinct]))
    answers = predictor(matrix)
    moved = [np.abs(predictor(_swapped(matrix, *swap)) - answers) > reach for swap in _swaps(signature)]
    by_row = np.reshape(np.array(moved, bool), (-1, len(matrix)))
    noticed, by_row, answers = by_row[:, : len(known)].any(axis=1), by_row[:, len(known) :], answers[len(known) :]
    requests, more = requests_of(distinct, signature), []
    while len(more) < DRAFTED and (news := by_row[~noticed].sum(axis=0)).any():
        best = int(np.argmax(news))
        more.append(_near(requests[best], float(answers[best]), reach))
        noticed |= by_row[:, best]
    return more, int(noticed.sum()), len(noticed)


def _near(request: dict, answer: float, reach: float) -> Golden:
    """A golden request whose answer may move by `reach`."""
    low, high = round(answer - reach, 3), round(answer + reach, 3)
    return Golden(request, at_least=low if low > 0 else None, at_most=high if high < 1 else None)


def _swaps(signature: Signature) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The columns of each two features that fill as many columns of the matrix, or but one, beside that for missing."""
    columns = [
        (np.arange(part.start, part.stop), feature.width - feature.missing if feature.kind != CATEGORY else 0)
        for feature, part in zip(signature.features, signature.slices, strict=True)
    ]
    alike = (
        (one, other) if len(one) == len(other) else (one[:1], other[:1])
        for (one, own), (other, others) in combinations(columns, 2)
        if len(one) == len(other) or own == others == 1
    )
    return islice(alike, SWAPS)


def _swapped(matrix: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """A copy of a matrix in which the columns `one` and `other` are exchanged."""
    swapped = matrix.copy()
    swapped[:, one], swapped[:, other] = matrix[:, other], matrix[:, one]
    return swapped
