"""The graph of a model that no Keras file holds: what its ends take and answer, as far as its operations tell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

DEFAULT = "serving_default"  # the function of several that is asked
# Operations that hand each number on as it is, those that do so at another place, and those that scale it.
HANDS_ON = ("Identity", "Cast", "Squeeze", "Reshape", "Flatten", "DEQUANTIZE", "QUANTIZE", "RESHAPE", "SQUEEZE", "CAST")
MOVES = ("Transpose", "StridedSlice", "Slice", "ReverseV2", "TRANSPOSE", "STRIDED_SLICE", "REVERSE_V2")
ASKS_SHAPE = ("Shape", "Size", "SHAPE")
SCALES = tuple("Add AddV2 ADD Div RealDiv DIV Mul MUL Scaler Sub SUB".split())
# What parts numbers, or puts them together, before they are scaled
PARTS = tuple(
    "ArrayFeatureExtractor Concat ConcatV2 CONCATENATION ExpandDims EXPAND_DIMS FeatureVectorizer Gather GatherV2 "
    "GATHER Imputer Pack PACK SLICE Split SplitV SPLIT SPLIT_V Unpack UNPACK Unsqueeze".split()
)
CLASSIFIES = ("TreeEnsembleClassifier", "TreeEnsemble", "LinearClassifier", "SVMClassifier", "Normalizer")
FLATTENS, ANY = ("Flatten", "Reshape", "RESHAPE"), -1
# Operations that give a picture another size, and which of what they read is that size
RESIZES = {"Resize": 3, "RESIZE_BILINEAR": 1, "ResizeBilinear": 1, "ResizeBicubic": 1, "ResizeNearestNeighbor": 1}
WEIGHS = ("CONV_2D", "FULLY_CONNECTED")  # what it reads by the outputs first
LOOKS_UP = ("Gather", "GatherV2", "ResourceGather", "GATHER")
PICKS = ("Gather", "ArrayFeatureExtractor")  # columns, where it is no list that they take from
SHARES = {
    "LogSoftmax": "log_softmax",
    "LOG_SOFTMAX": "log_softmax",
    "Softmax": "softmax",
    "SOFTMAX": "softmax",
    "Sigmoid": "sigmoid",
    "LOGISTIC": "sigmoid",
}


@dataclass(frozen=True)
class Tensor:
    """An input or an output of a model: shape with None where it is open, the first for the rows.

    activation: of an output, what makes it, a value of `SHARES` or "linear"; None where that is unknown. words: of an
    input, how many words the look-up knows that takes it. values: the only ones that it knows; known: those that it
    tells apart from all others. is_resized: whether the graph gives a picture its own size first. flat: how many
    numbers stand side by side once it is reshaped, `ANY` for all of a row, None where it is not reshaped first. pixels:
    how those of a picture are scaled where no step tells it, "" if unknown. ends: of an input, between which numbers
    lie that a file of whole ones tells apart. classes: of an output, what its shares are of, where the file says so.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    activation: str | None = None
    words: int | None = None
    values: tuple | None = None
    known: tuple | None = None
    is_resized: bool = False
    flat: int | None = None
    pixels: str = ""
    ends: tuple[float, float] | None = None
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Operation:
    """One operation of a graph, with the names of what it reads and writes.

    values: what it looks up, texts or whole numbers, where it knows no others; known: where it takes those for unknown.
    """

    kind: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    values: tuple | None = None
    known: tuple | None = None


class Graph:
    """Operations, and the first dimension of each constant: enough to tell what a graph makes of its ends.

    value(name): what a constant holds; None where that is not told.
    """

    def __init__(
        self,
        operations: Iterable[Operation],
        constants: dict[str, int | None],
        value: Callable[[str], np.ndarray | None],
    ):
        self.operations, self.constants, self._value = list(operations), constants, value
        self.made_by = {name: each for each in self.operations for name in each.writes}

    def activation(self, output: str) -> str | None:
        made = self.made_by.get(self._first(output, HANDS_ON))
        if made and made.kind in CLASSIFIES:
            return None  # shares or scores, as its answers tell
        return SHARES.get(made.kind, "linear") if made else "linear"

    def words(self, source: str) -> int | None:
        """How many rows the table has that an input is looked up in."""
        sizes = [self._rows(each.reads[0]) for each in self._readers(source) if each.kind in LOOKS_UP]
        return next(filter(None, sizes), None)

    def _looked_up(self, source: str) -> dict[str, tuple | None]:
        """`values` and `known` of an input, as `lookups` tells them of a Keras model, of all columns alike."""
        readers = self._readers(source, (*HANDS_ON, *PICKS))
        found = {each.values for each in readers}
        values, known = (found.pop() if len(found) == 1 else None), None
        if all(each.known for each in readers):
            known = tuple(dict.fromkeys(value for each in readers for value in each.known)) or None
        return {"values": values, "known": known}

    def columns(self, source: str) -> list[dict[str, tuple | None]]:
        """`values` and `known` of each column of a matrix, up to the last one that is looked up by itself."""
        found = {}
        for at, each in self._picked(source):
            if each.values or each.known:
                found |= dict.fromkeys(at or (), {"values": each.values, "known": each.known})
        return [found.get(column, {}) for column in range(max(found, default=-1) + 1)]

    def _picked(self, source: str, at: list[int] | None = None) -> Iterator[tuple[list[int] | None, Operation]]:
        """Which columns of an input operations read as `source`, and the operations. at: those in it; None: all."""
        for each in self._readers(source):
            picks = self._constant(each.reads[1]) if each.kind in PICKS and each.reads[0] == source else None
            if picks is None:
                yield at, each
            else:
                picked = np.ravel(picks).tolist()
                yield from self._picked(each.writes[0], picked if at is None else [at[i] for i in picked])

    def tables(self) -> frozenset[int]:
        """How many rows the tables have in which anything is looked up."""
        sizes = [self._rows(each.reads[0]) for each in self.operations if each.kind in LOOKS_UP]
        return frozenset(filter(None, sizes))

    def told_of(self, source: str) -> dict:
        """What a `Tensor` says of an input."""
        told = {"words": self.words(source), "is_resized": self._is_resized(source), "flat": self._flat(source)}
        return {**told, **self._looked_up(source)}

    def first_steps(self, inputs: Iterable[str]) -> tuple[list[Operation], list[str]]:
        """The operations that inputs pass before any of them weighs a number, and the names of what those scale."""
        found, scaled, changing = [], [], set(inputs)
        known = {"", "-1", *changing, *self.constants}  # what an operation may read and does not is called the former
        past = {*HANDS_ON, *MOVES, *PARTS, *SCALES, *RESIZES}
        for each in self.operations:
            is_changed = not changing.isdisjoint(each.reads) and each.kind not in ASKS_SHAPE
            is_looked_up = each.kind in LOOKS_UP and each.reads[0] not in changing
            is_known = bool(each.reads) and known.issuperset(each.reads)
            if not is_known or (is_changed and (each.kind not in past or is_looked_up)):
                continue
            found.append(each)
            known.update(each.writes)
            changing.update(each.writes if is_changed else ())
            scaled += each.writes[:1] if is_changed and each.kind in SCALES else ()
        return found, scaled

    def gain(self, source: str) -> float | None:
        """How far the first weights spread numbers of a spread of 1, the median of their outputs; None if unknown."""
        past = {*HANDS_ON, *MOVES, *SCALES, *RESIZES, "PAD"}
        first = next((each for _, each in self._chain(source) if each.kind not in past), None)
        weights = self._constant(first.reads[1]) if first and first.kind in WEIGHS else None
        return None if weights is None else float(np.median(np.linalg.norm(weights.reshape(len(weights), -1), axis=1)))

    def _is_resized(self, source: str) -> bool:
        """Whether a picture is given a size that is always the same before anything but its scaling is done with it."""
        past = (*HANDS_ON, *MOVES, *SCALES)
        first = next((each for _, each in self._chain(source) if each.kind not in past), None)
        size = first.reads[RESIZES[first.kind] :][:1] if first and first.kind in RESIZES else ()
        return bool(size) and self._constant(size[0]) is not None

    def _flat(self, source: str) -> int | None:
        """What `Tensor.flat` says."""
        past = ("Identity", "Cast", "CAST", "DEQUANTIZE", "QUANTIZE", *SCALES)
        first = next((each for _, each in self._chain(source) if each.kind not in past), None)
        if first is None or first.kind not in FLATTENS:
            return None
        if first.kind == "Flatten":
            return ANY
        size = first.reads[1] if len(first.reads) > 1 else ""
        if (made := self.made_by.get(size)) and made.kind in ("Pack", "PACK", "Concat"):  # the number of rows, and this
            size = made.reads[-1]
        known = self._constant(size)
        return None if known is None else int(np.ravel(known)[-1])

    def _chain(self, source: str) -> Iterator[tuple[str, Operation]]:
        """What an operation takes, and the operation, as long as only one takes it, and what that makes of it."""
        while True:
            readers = [each for each in self.operations if source in each.reads and each.kind not in ASKS_SHAPE]
            if len(readers) != 1:
                return
            yield source, readers[0]
            source = readers[0].writes[0]

    def _rows(self, name: str) -> int | None:
        """The first dimension of a constant, which may be handed on before it is used; None for what is computed."""
        return self.constants.get(self._first(name, ("Identity",)))

    def _constant(self, name: str) -> np.ndarray | None:
        """What a constant holds; None for all else."""
        name = self._first(name, HANDS_ON)
        return self._value(name) if name in self.constants else None

    def _first(self, name: str, kinds: Iterable[str]) -> str:
        """What operations of these kinds have handed on as `name`."""
        made = self.made_by.get(name)
        while made is not None and made.kind in kinds:
            name = made.reads[0]
            made = self.made_by.get(name)
        return name

    def _readers(self, source: str, past: tuple[str, ...] = HANDS_ON) -> list[Operation]:
        found = []
        for each in [each for each in self.operations if source in each.reads]:
            is_passed = each.kind in past and each.reads[0] == source
            found += self._readers(each.writes[0], past) if is_passed else [each]
        return found


# Asks a model for its first steps: rows of each input by their names go in, rows of what is scaled of them come out.
Asked = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]


def row_by_row(scaled: list[str], run: Callable[[dict[str, np.ndarray]], list[np.ndarray]]) -> Asked:
    """Asks for the first steps of a graph by a function of one row, which returns what holds the names `scaled`."""

    def asked(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if not scaled:
            return {}
        rows = len(next(iter(given.values())))
        try:
            found = [run({name: values[i : i + 1] for name, values in given.items()}) for i in range(rows)]
            found = [np.concatenate(parts).astype(np.float32) for parts in zip(*found, strict=True)]
        except Exception:  # as where open sizes do not fit each other: what is found here spares options
            return {}
        return {name: each for name, each in zip(scaled, found, strict=True) if len(each) == rows}

    return asked


@dataclass(frozen=True)
class Ends:
    """What a model takes and answers, how it is asked, and the sizes of its look-ups, for `detection`."""

    name: str
    inputs: list[Tensor]
    outputs: list[Tensor]
    answer: Callable[..., np.ndarray | tuple[np.ndarray, ...]]
    tables: frozenset[int] = frozenset()
    first_steps: Asked | None = None
    layers = ()

    @property
    def output_names(self) -> list[str]:
        return [each.name for each in self.outputs]
