"""What a model answers: for each of its outputs a kind, and how the numbers of a row are written in JSON.

The arrays of a model come in, (k, ...) float32 with a row for each row asked; what goes out for each row is plain JSON.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from helpers.data.decimals import shortest

PROBABILITY, CLASSES, NUMBER, ARRAY = "probability", "classes", "number", "array"
KINDS = (PROBABILITY, CLASSES, NUMBER, ARRAY)
MOST_LABELS = 10  # of a picture, the best first
NOT_FINITE = "the model answered with numbers that are not finite"
ROUNDING = 1e-6  # by which a softmax may exceed 1, and what is left of 1 by the trees of a forest be below 0


@dataclass(frozen=True)
class Output:
    """One output of a model.

    kind: "probability" (one number between 0 and 1), "classes" (a probability for each name in `classes`), "number",
        or "array" (of `shape`, of one row, None where it is open).
    activation: what is still to be done to a model's numbers before they are probabilities of classes: "" for
        nothing, "softmax" or "sigmoid" for a model that was trained `from_logits`.
    """

    name: str = "prediction"
    kind: str = PROBABILITY
    classes: tuple[str, ...] = ()
    shape: tuple[int | None, ...] = ()
    activation: str = ""

    def __post_init__(self):
        object.__setattr__(self, "classes", tuple(self.classes))
        object.__setattr__(self, "shape", tuple(self.shape))
        if self.kind not in KINDS or self.activation not in ("", "softmax", "sigmoid"):
            raise ValueError(f"the output {self.name!r} is of the kind {self.kind!r} {self.activation!r}")
        if (self.kind == CLASSES) != bool(self.classes) or not all(isinstance(name, str) for name in self.classes):
            raise ValueError(f"the output {self.name!r} has the classes {self.classes!r}")
        if len(set(self.classes)) < len(self.classes):
            raise ValueError(f"the output {self.name!r} has two classes of one name")

    @property
    def in_words(self) -> str:
        """What is answered: "one of 3 classes", or "a number"."""
        if self.kind == CLASSES:
            return f"one of {len(self.classes)} classes"
        return f"an {self.kind}" if self.kind == ARRAY else f"a {self.kind}"

    def to_dict(self) -> dict:
        """Plain JSON types; what is as usual is left out."""
        more = {"classes": list(self.classes), "shape": list(self.shape), "activation": self.activation}
        return {"name": self.name, "kind": self.kind} | {key: value for key, value in more.items() if value}

    def problem(self, answers: np.ndarray, rows: int) -> str:
        """Why the answers to `rows` rows are none of this output, or ""."""
        if not answers.ndim or len(answers) != rows:
            found = f"an array of {' x '.join(map(str, answers.shape))}" if answers.ndim else "one number"
            return f"the output {self.name!r} answered {rows} rows with {found}, and needs an answer for each row"
        width = int(np.prod(answers.shape[1:]))
        if self.kind in (PROBABILITY, NUMBER) and width != 1:
            return f"the output {self.name!r} has {width} numbers instead of one"
        if self.kind == CLASSES and width not in {len(self.classes), *((1,) if len(self.classes) == 2 else ())}:
            return f"the output {self.name!r} has {width} numbers for {len(self.classes)} classes"
        if not np.isfinite(answers).all():
            return NOT_FINITE
        if self.kind in (PROBABILITY, CLASSES) and not self.activation and not are_shares(answers):
            return f"the output {self.name!r} does not answer in probabilities between 0 and 1"
        return ""

    def alone(self, answers: np.ndarray) -> list[dict]:
        """For each row what the answer to it alone says: `{"prediction": "setosa", "probability": 0.98, ...}`."""
        if self.kind == CLASSES:
            return [self._named(shares) for shares in self.probabilities(answers)]
        if self.kind == ARRAY:
            return [{"prediction": each} for each in _nested(answers)]
        key = "value" if self.kind == NUMBER else "probability"
        return [{"prediction": str(number), key: _shortest(number)} for number in answers.reshape(-1)]

    def listed(self, answers: np.ndarray) -> list:
        """For each row what stands for it in a list: a number, an array, or the best class and its probability."""
        if self.kind == CLASSES:
            shares = self.probabilities(answers)
            return [self._ranked(row, 1)[0] for row in shares]
        if self.kind == ARRAY:
            return _nested(answers)
        return _nested(answers.reshape(-1))

    def ranked(self, answers: np.ndarray) -> list[dict]:
        """The best classes of one row, best first: `[{"label": "beagle", "probability": 0.99}, ...]`."""
        return self._ranked(self.probabilities(answers)[0], MOST_LABELS)

    def probabilities(self, answers: np.ndarray) -> np.ndarray:
        """(k, number of classes); one number of two classes is the probability of the second."""
        answers = answers.reshape(len(answers), -1)
        if self.activation == "softmax":
            powers = np.exp(answers - answers.max(axis=1, keepdims=True))
            return powers / powers.sum(axis=1, keepdims=True)
        if self.activation == "sigmoid":
            powers = np.exp(-np.abs(answers))  # of numbers that are not positive, so that nothing overflows
            answers = np.where(answers >= 0, 1, powers) / (1 + powers)
        if len(self.classes) == 2 and answers.shape[1] == 1:
            return np.hstack([1 - answers, answers])
        return np.maximum(answers, 0) if answers.min(initial=0) < 0 else answers

    def _named(self, shares: np.ndarray) -> dict:
        numbers = _nested(shares)
        best = int(np.argmax(shares))
        every = dict(zip(self.classes, numbers, strict=True))
        return {"prediction": self.classes[best], "probability": numbers[best], "probabilities": every}

    def _ranked(self, shares: np.ndarray, most: int) -> list[dict]:
        best = np.argsort(-shares, kind="stable")[:most]
        return [{"label": self.classes[i], "probability": _shortest(shares[i])} for i in best]


ONE_PROBABILITY = (Output(),)  # what a classifier of yes and no answers


def distinct(names) -> tuple[str, ...]:
    """Names of classes, of which none is there twice: in ImageNet, a crane is a bird and "crane (2)" a machine."""
    found: list[str] = []
    for name in names:
        times = 2
        another = name
        while another in found:
            another, times = f"{name} ({times})", times + 1
        found.append(another)
    return tuple(found)


def as_arrays(answers) -> tuple[np.ndarray, ...]:
    """What a predictor returns, an array for one output, a tuple of them for several, as a tuple."""
    return answers if isinstance(answers, tuple) else (np.asarray(answers),)


def answers_of(arrays: list[np.ndarray]) -> np.ndarray | tuple[np.ndarray, ...]:
    """The answers of a model's outputs: an array, or a tuple of several.

    They are float32, or float64 where the model answers with that, or with whole numbers that float32 may not hold.
    """
    found = tuple(flat(np.asarray(array, np.result_type(array.dtype, np.float32))) for array in map(np.asarray, arrays))
    return found[0] if len(found) == 1 else found


def flat(answers: np.ndarray) -> np.ndarray:
    """(k, 1) as (k,); answers of more than one number per row as they are."""
    return answers[:, 0] if answers.ndim == 2 and answers.shape[1] == 1 else answers


def are_shares(answers: np.ndarray) -> bool:
    return bool(((answers >= -ROUNDING) & (answers <= 1 + ROUNDING)).all())


def _shortest(number: np.floating) -> float:
    """A float32 as the float whose decimals are the fewest that give it back."""
    return float(str(number))


def _nested(answers: np.ndarray) -> list:
    return shortest(answers).tolist()
