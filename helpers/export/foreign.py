"""Models that no Keras file holds: what each takes and answers, and how it is asked.

`onnx_file.OnnxFile(path)` and `litert_file.LiteRTFile(path)` stand where a Keras model does: `detection.signature_of`
finds their signature, `artifacts.export_model` writes them.
There is nothing to hold such a file against: it is its own reference.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from helpers.export.errors import ArtifactError
from helpers.export.graphs import Asked, Tensor

ITSELF = "it is the file that was given, run as it is: there is no Keras model to hold it against"
OPENED = "ask whoever made it for one whose first dimension is open"


class ForeignModel:
    """A model that is not Keras's. `answer(*arrays)` runs it, an array for each of `inputs`.

    tables: how many rows the tables have in which it looks something up.
    """

    format: str  # the key in `formats.FILES` of the only one that holds it
    kind: str
    layers = ()
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    tables: frozenset[int]
    parameters: int
    maker = ""
    texts: Iterable[str] = ()  # outputs that are not asked for
    features: tuple[str, ...] = ()  # the names of the numbers in a row, where the file tells them
    label = ""  # the same of what is predicted
    answer: Callable[..., np.ndarray | tuple[np.ndarray, ...]]
    shifted: frozenset[str] = frozenset()  # what is made by adding last, as shares are, and not by taking a mean away
    first_steps: Asked

    def __init__(self, path: Path):
        self.name, self.file = path.stem, path.name
        self.content = self._read(path)
        self.digest = hashlib.sha256(self.content).hexdigest()

    def _read(self, path: Path) -> bytes:
        return path.read_bytes()

    @property
    def output_names(self) -> list[str]:
        return [each.name for each in self.outputs]

    def __str__(self) -> str:
        maker = f" made by {self.maker}" if self.maker else ""
        texts = f"; {', '.join(self.texts)}, which is text or a class's number, is left out" if self.texts else ""
        return f"{self.file}: {self.kind} file{maker}, {self.parameters:,} parameters{texts}"


def is_foreign(model) -> bool:
    return isinstance(model, ForeignModel)


def rows_first(path: Path, name: str, shape) -> tuple[int | None, ...]:
    """The shape of an input, the first of it open: a file made for one row at a time is asked so."""
    if not len(shape):
        raise ArtifactError(f"the input {name} of {path.name} is a single number, not one for each row: {OPENED}")
    rows, *rest = open_shape(shape)
    if rows not in (None, 1):
        raise ArtifactError(f"{path.name} takes exactly {rows} rows at a time ({name}): {OPENED}")
    return (None, *rest)


def open_shape(shape) -> tuple[int | None, ...]:
    """A shape with None for what is open, which runtimes write as a name, as -1 or as None."""
    return tuple(int(size) if not isinstance(size, str | type(None)) and size >= 0 else None for size in shape)
