"""TensorFlow's SavedModel, a folder, as a Keras model: what Keras 3's `model.export`, Keras 2 and TensorFlow write.

`read_saved_model(folder)` returns a Keras model around its function `serving_default`, which is all that Keras 3 can do
with such a folder. The model can be saved: its `.keras` file carries the folder within. A graph of TensorFlow is a
program, which can read and write files: it is as trustworthy as whoever made it.
"""

from __future__ import annotations

import functools
import hashlib
import re
import shutil
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

import keras

from helpers.export.errors import ArtifactError, Remark, first_line
from helpers.export.graphs import DEFAULT, Asked, Ends, Graph, Operation, Tensor, row_by_row
from helpers.export.run_keras import compiled
from helpers.quiet import quiet

PARSES = ("ParseExample", "ParseExampleV2", "ParseSingleExample")  # as the exports of TensorFlow's estimators


@keras.saving.register_keras_serializable("tutorial")
class SavedModelLayer(keras.layers.Layer):
    """The function of a SavedModel as a layer: takes a tensor for each of `takes`, returns one for each of `answers`.

    takes, answers: [name, shape, dtype] of each, the first size of a shape None for the rows.
    """

    def __init__(self, takes, answers, **kwargs):
        super().__init__(autocast=False, **kwargs)  # the function takes float64 where it says so
        self.takes, self.answers = takes, answers
        self.folder = self.loaded = None

    def load(self, folder: str | Path) -> None:
        import tensorflow as tf

        self.folder = str(folder)
        with quiet():
            self.loaded = tf.saved_model.load(self.folder)

    def call(self, tensors):
        tensors = tensors if isinstance(tensors, list | tuple) else [tensors]
        given = {name: tensor for (name, _, _), tensor in zip(self.takes, tensors, strict=True)}
        found = self.loaded.signatures[_function(self.loaded)](**given)
        return [found[name] for name, _, _ in self.answers]

    def compute_output_spec(self, *args, **kwargs):
        return [keras.KerasTensor(shape, dtype, name=name) for name, shape, dtype in self.answers]

    def get_config(self):
        return {**super().get_config(), "takes": self.takes, "answers": self.answers}

    def save_assets(self, inner_path: str) -> None:
        shutil.copytree(self.folder, inner_path, dirs_exist_ok=True)

    def load_assets(self, inner_path: str) -> None:
        # Keras removes the unpacked archive: what the graph reads later, as a vocabulary, must outlive that
        self._kept = tempfile.TemporaryDirectory()
        shutil.copytree(inner_path, self._kept.name, dirs_exist_ok=True)
        self.load(self._kept.name)


def read_saved_model(folder: Path) -> tuple[keras.Model, Ends]:
    """The SavedModel in a folder as a Keras model, and what is known of its ends; `ArtifactError`."""
    layer = SavedModelLayer([], [], name="saved_model")
    try:
        layer.load(folder)
        function = layer.loaded.signatures[_function(layer.loaded)]
    except ArtifactError:
        raise
    except Exception as error:
        reason = first_line(error)
        raise ArtifactError(f"{folder.name}/ cannot be read as a SavedModel: {reason}") from error
    specs = function.structured_input_signature[1]
    layer.takes = [_described(folder, name, spec) for name, spec in specs.items()]
    answers = sorted(function.structured_outputs.items())
    texts = [name for name, spec in answers if spec.dtype.name == "string"]
    if len(texts) == len(answers):
        raise ArtifactError(f"{folder.name}/ answers with texts only ({', '.join(texts)}): export its numbers, too")
    if texts:
        warnings.warn(f"{', '.join(texts)}, which is text, is left out of the answers", Remark, stacklevel=2)
    answers = [(name, spec) for name, spec in answers if name not in texts]
    layer.answers = [[name, [None, *_shape(spec)[1:]], spec.dtype.name] for name, spec in answers]
    inputs = [keras.Input(shape[1:], dtype=dtype, name=name) for name, shape, dtype in layer.takes]
    inputs = inputs[0] if len(inputs) == 1 else inputs
    outputs = dict(zip((name for name, _, _ in layer.answers), layer(inputs), strict=True))
    name = re.sub(r"^(?![A-Za-z0-9.])", "m", re.sub(r"[^A-Za-z0-9_.-]", "_", folder.name))  # as TensorFlow takes it
    model = keras.Model(inputs, outputs if len(outputs) > 1 else next(iter(outputs.values())), name=name)
    model.parameters = _parameters(function)
    model.kind, model.digest = "SavedModel", digest_of(folder)
    return model, _ends(function, layer, compiled(model))


def digest_of(folder: Path) -> str:
    """The SHA-256 of all files in a folder, with their names."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _parameters(function) -> int:
    """How many numbers the variables of a function hold, those of an open shape as long as they are."""
    import tensorflow as tf

    return sum(int(tf.size(each)) for each in function.variables if each is not None)


def _function(loaded) -> str:
    names = list(loaded.signatures)
    if DEFAULT in names:
        return DEFAULT
    if len(names) == 1:
        return names[0]
    found = f"has {', '.join(names)}" if names else "has none"
    raise ArtifactError(
        f"a SavedModel is asked by its function {DEFAULT}, this one {found}: export it with "
        f"signatures={{{DEFAULT!r}: ...}}, the one to ask"
    )


def _described(folder: Path, name: str, spec) -> list:
    shape = _shape(spec)
    if not shape or shape[0] is not None:
        rows = f"exactly {shape[0]} row(s) at a time" if shape else "a single number"
        raise ArtifactError(f"the input {name} of {folder.name}/ takes {rows}: export it anew with an open first size")
    return [name, list(shape), spec.dtype.name]


def _shape(spec) -> list[int | None]:
    if spec.shape.rank is None:
        raise ArtifactError(f"the SavedModel does not say the shape of {spec.name}: export the model anew with it")
    return spec.shape.as_list()


def _ends(function, layer, answer) -> Ends:
    """What the graph makes of its inputs and outputs, as far as TensorFlow puts it into one without variables."""
    from tensorflow import make_ndarray
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    inputs = [Tensor(name, tuple(shape), dtype) for name, shape, dtype in layer.takes]
    outputs = [Tensor(name, tuple(shape), dtype) for name, shape, dtype in layer.answers]
    ends = Ends(Path(layer.folder).name, inputs, outputs, answer)
    try:
        with quiet():
            frozen = convert_variables_to_constants_v2(function, lower_control_flow=False)
    except Exception:  # what is found here spares options, and is not needed
        return ends
    operations = frozen.graph.get_operations()
    if any(op.type in PARSES for op in operations):
        raise ArtifactError(
            f"{Path(layer.folder).name}/ takes examples as TensorFlow writes them to files (tf.train.Example), which "
            "no request holds: export it with a function that takes the features themselves"
        )
    made = {op.outputs[0].name: op for op in operations if op.type == "Const"}
    constants = {name: (op.outputs[0].shape.as_list() or [None])[0] for name, op in made.items()}
    graph = Graph(
        (Operation(op.type, tuple(t.name for t in op.inputs), tuple(t.name for t in op.outputs)) for op in operations),
        constants,
        lambda name: make_ndarray(made[name].get_attr("value")),
    )
    places = {tensor.name.partition(":")[0]: tensor.name for tensor in frozen.inputs}
    for i, each in enumerate(inputs):
        place = places.get(each.name)
        if place:
            inputs[i] = replace(each, **graph.told_of(place))
    if len(outputs) == len(frozen.outputs):  # both by their names
        made_last = zip(outputs, frozen.outputs, strict=True)
        outputs = [replace(each, activation=graph.activation(last.name)) for each, last in made_last]
    first = _first_steps(frozen, graph, {each.name: places[each.name] for each in inputs if each.name in places})
    return replace(ends, inputs=inputs, outputs=outputs, tables=graph.tables(), first_steps=first)


def _first_steps(frozen, graph: Graph, places: dict[str, str]) -> Asked:
    """What a graph makes of numbers before it weighs them. places: the names of tensors, by those of inputs."""
    import tensorflow as tf

    _, scaled = graph.first_steps(places.values())
    taken = list(map(frozen.graph.get_tensor_by_name, places.values()))
    part = functools.cache(lambda: frozen.prune(taken, list(map(frozen.graph.get_tensor_by_name, scaled))))
    return row_by_row(scaled, lambda rows: part()(*(tf.constant(rows[name]) for name in places)))
