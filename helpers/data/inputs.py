"""Models that take something else than a row of features: arrays, pictures, texts, or several of these by name.

An `InputSignature` stands where a `Signature` does: it makes samples and examples, and its reader turns what a request
holds into a `Batch`, one array for each input of the model. Each kind of input knows how one value of it is read.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from urllib.parse import parse_qsl

import numpy as np

from helpers.data import images
from helpers.data.fields import only_once
from helpers.data.input_kinds import KINDS, Array, BadValue, Image, Text, Texts, is_one_value
from helpers.data.outputs import ONE_PROBABILITY, Output
from helpers.data.parameters import Pairs, Rows
from helpers.data.refusals import MOST_COUNTED, InvalidRequest, Named
from helpers.data.signature import Signature, outputs_from, outputs_to_dict, plain

MOST_NUMBERS = 2**25  # of the rows of a request, 134 MB: a picture's file can be far smaller than what it becomes


class Batch:
    """The rows of a request: an array for each input of the model, rows first. Sliced and indexed by rows."""

    def __init__(self, arrays):
        self.arrays = tuple(arrays)

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, rows) -> Batch:
        return Batch(array[rows] for array in self.arrays)


def name_empty(signature, rows, first: int | None) -> Iterator[tuple[str, str]]:
    """The inputs of rows that hold a text without words, or padding alone, and what is to be said of them.

    first: the number of the first row in its list; None for a row that was sent alone.
    """
    for which, array in zip(signature.inputs, getattr(rows, "arrays", ()), strict=True):
        for i, value in enumerate(array):
            if which.is_nothing(value):
                where = which.name if first is None else f"[{first + i}].{which.name}"
                yield where, "is empty, and the model has no answer to that"


@dataclass(frozen=True)
class InputSignature:
    """What a model takes, each of `inputs` one of `KINDS`, in the model's order, and what it answers."""

    inputs: tuple[Array | Image | Text | Texts, ...]
    label: str = "label"
    outputs: tuple[Output, ...] = ONE_PROBABILITY

    features = ()  # it takes no features
    positive = display_name = values_from = ""
    all_binary = False

    def __post_init__(self):
        if not self.inputs or len(set(self.names)) < len(self.inputs):
            raise ValueError(f"the inputs {self.names!r}")

    @classmethod
    def from_dict(cls, data: Mapping) -> InputSignature:
        """The inverse of `to_dict`; ValueError, KeyError or TypeError for what is no signature."""
        inputs = tuple(KINDS[each["kind"]](**each) for each in data["inputs"])
        return cls(inputs, data["label"], outputs_from(data))

    def to_dict(self) -> dict:
        """Plain JSON types: `{"inputs": [{"name", "kind", "shape", ...}, ...], "label": "label"}`."""
        inputs = [{k: plain(v) for k, v in asdict(each).items() if v is not None} for each in self.inputs]
        return {"inputs": inputs, "label": self.label, **outputs_to_dict(self.outputs)}

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(each.name for each in self.inputs)

    @property
    def outcome(self) -> str:
        return self.label

    @property
    def n(self) -> int:
        """The number of inputs."""
        return len(self.inputs)

    @property
    def columns(self) -> tuple[str, ...]:
        return self.names

    @property
    def size(self) -> int:
        """How many numbers a row holds."""
        return sum(each.size for each in self.inputs)

    @property
    def takes_pictures(self) -> bool:
        return any(each.kind == "image" for each in self.inputs)

    def every_input(self) -> None:
        """There are too many to list them."""

    def sample(self, k: int, seed: int = 0) -> Batch:
        """`k` random legal rows."""
        random = np.random.default_rng(seed)
        return Batch(each.sample(k, random) for each in self.inputs)

    def example(self) -> dict:
        """One legal row as a request holds it; None for an array that is too long to show."""
        return {name_in_requests(self, each): each.example() for each in self.inputs}

    def parse(self, params) -> Batch:
        return self.reader().read(params).matrix

    def reader(self, strict: bool = False, unseen: str = "refuse") -> InputReader:
        """The reader of requests; nothing is known of ranges, so that it has no rules to choose."""
        return self._reader

    @cached_property
    def _reader(self) -> InputReader:
        return InputReader(self)


def name_in_requests(signature: InputSignature, which) -> str:
    """How a request names an input: `image`, `text` where it is the only one, which layers' names do not tell."""
    return which.kind if signature.n == 1 and which.kind != "array" else which.name


def signature_from(data: Mapping) -> Signature | InputSignature:
    """The signature in a model card, of features or of other inputs."""
    return InputSignature.from_dict(data) if "inputs" in data else Signature.from_dict(data)


class InputReader:
    """Reads requests for an `InputSignature`: a mapping of inputs' names to values as one row, a list as rows.

    Where there is one input, a row of a list may be its value alone.
    """

    takes_files = True
    all_numbers = False  # as those of a `parameters.Reader` may be

    def __init__(self, signature: InputSignature):
        self.signature, self.inputs = signature, signature.inputs
        self.fields = self.inputs
        self.takes_cells = all(map(is_one_value, self.inputs))  # of a CSV, as a `parameters.Reader` does
        called = [(name, each) for each in self.inputs for name in (each.name, name_in_requests(signature, each))]
        self._named, self._folded = dict(called), only_once((_folded(name), each) for name, each in called)

    def field(self, name):
        """The input that a request calls `name`, in any case where no other one is called alike; or None."""
        return self._named.get(name) or self._folded.get(_folded(name))

    def passes(self, name: str) -> bool:
        """Whether a column that is none of the inputs may stand beside them."""
        return False

    def reads_body(self, media_type: str, body: bytes) -> bool:
        """Whether a body is the file of a picture itself."""
        alone = len(self.inputs) == 1 and self.signature.takes_pictures
        return alone and (
            media_type.startswith("image/") or media_type == "application/octet-stream" or images.is_picture(body)
        )

    def read_body(self, body: bytes) -> Rows:
        """The row of a body that is a picture's file."""
        return self.read({name_in_requests(self.signature, self.inputs[0]): body})

    def read_query(self, query: bytes) -> Rows:
        """The row of a query string or of a form's body. Bytes that are no UTF-8 are told from a text that is."""
        text = query.decode("utf-8", "surrogateescape")
        pairs = parse_qsl(text, keep_blank_values=True, errors="surrogateescape")
        return self.read(Pairs([(name.encode(errors="replace").decode(), value) for name, value in pairs]))

    def read(self, params, keep_going: bool = False) -> Rows:
        """See `parameters.Reader.read`. Raises `InvalidRequest` naming every bad input."""
        problems, notes, allowance = Named(), Named(), images.Allowance()
        if isinstance(params, Mapping):
            row = self._row(params, "", problems, notes, allowance)
            problems.refuse()
            return Rows(_stacked([row]), notes.named())
        if not isinstance(params, list | tuple):
            raise InvalidRequest("send an object of names and values, or a list of such objects")
        if not params:
            raise InvalidRequest("the list is empty: send at least one object")
        if (most := max(1, MOST_NUMBERS // self.signature.size)) < len(params):
            raise InvalidRequest(
                f"{len(params):,} rows of {self.signature.size:,} numbers each are more than are answered at once: "
                f"send at most {most:,}"
            )
        rows, bad, first = [], [], None
        for i, each in enumerate(params):
            if problems.count >= MOST_COUNTED and not keep_going:
                problems.are_more = True
                break
            before = problems.count
            row = self._row_of_list(each, i, problems, notes, allowance)
            if problems.count == before:
                first = first or row
                if [a.shape for a in row] != [a.shape for a in first]:
                    problems.add(f"[{i}]", "has another shape than the rows before it: send it in a request of its own")
            if problems.count > before:
                bad.append(i)
                row = None
            rows.append(row)
        if not keep_going:
            problems.refuse()
        stand_in = first or self._stand_in()
        read = _stacked([stand_in if row is None else row for row in rows])
        return Rows(read, notes.named(), problems if keep_going else None, tuple(bad))

    def _stand_in(self) -> list[np.ndarray]:
        return [array[0] for array in self.signature.sample(1).arrays]

    def _row_of_list(
        self, value, i: int, problems: Named, notes: Named, allowance: images.Allowance
    ) -> list[np.ndarray]:
        is_value = not isinstance(value, Mapping) or set(value) == {"b64"}
        if is_value and len(self.inputs) == 1:
            found = _value(self.inputs[0], value, f"[{i}]", problems, notes, allowance)
            return [] if found is None else [found]
        if not isinstance(value, Mapping):
            problems.add(f"[{i}]", f"must be an object of names and values: of {self._names()}")
            return []
        return self._row(value, f"[{i}].", problems, notes, allowance)

    def _row(
        self, params: Mapping, where: str, problems: Named, notes: Named, allowance: images.Allowance
    ) -> list[np.ndarray]:
        found: dict = {}
        items = params.items(multi=True) if hasattr(params, "getlist") else params.items()
        for name, value in items:
            which = self.field(name)
            if which is None:
                problems.add(f"{where}{name}", f"unknown: the model takes {self._names()}")
            elif which in found:
                problems.add(f"{where}{name}", "repeated")
            else:
                found[which] = _value(which, value, f"{where}{name}", problems, notes, allowance)
        for which in self.inputs:
            if which not in found:
                problems.add(
                    f"{where}{name_in_requests(self.signature, which)}", _missing(which, is_json=type(params) is dict)
                )
        return [found.get(which) for which in self.inputs]

    def _names(self) -> str:
        return ", ".join(name_in_requests(self.signature, each) for each in self.inputs)


def _value(which, value, where: str, problems: Named, notes: Named, allowance: images.Allowance) -> np.ndarray | None:
    """What a request holds for an input; None where that is a problem, which is named as what stands at `where`."""
    try:
        found = which.read(value, allowance)
    except BadValue as error:
        problems.add(where, error.what)
        return None
    if note := which.note(found):
        notes.add(where, note)
    return found


def _missing(which, is_json: bool) -> str:
    if which.kind == "image":
        return "missing: POST the file of a picture, as in curl -F image=@file.jpg"
    return "missing" if is_json or is_one_value(which) else "missing: send it by POST"


def _stacked(rows: list[list[np.ndarray]]) -> Batch:
    return Batch(np.stack(arrays) for arrays in zip(*rows, strict=True))


def _folded(name) -> str:
    return unicodedata.normalize("NFC", str(name)).casefold()
