"""Reading Keras files, old and new: `load_keras` returns the model, `describe_keras_file` says what a file holds.

A file comes in: `.keras` or `.h5` of Keras 3, or either of Keras 2, the layout of 2018 included, or weights alone with
their architecture beside them. It is told by its content, not by its name. What today's Keras no longer reads, or reads
otherwise, is repaired in a temporary copy; the file is never written to, and every repair is logged and listed in
`KerasFile.repairs`.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
import textwrap
import warnings
from dataclasses import dataclass
from pathlib import Path

from helpers.export.adapted import ADAPTED, give_back, held_in
from helpers.export.compiling import compile_arguments, named_only
from helpers.export.errors import ArtifactError, NeedsMoreError, last_line
from helpers.export.keras2 import repair
from helpers.export.keras_contents import WEIGHTS, Contents, contents_of, read_architecture
from helpers.export.keras_reasons import reason_of
from helpers.export.keras_rebuilt import built_anew, copy_for_keras, finish, restore_optimizer
from helpers.export.keras_settings import foreign_settings
from helpers.export.keras_tree import (
    holds_code,
    label_of,
    lambdas_of,
    layers_of,
    outputs_of,
    own_functions,
    take_functions,
)
from helpers.export.lambda_code import refuse_foreign_code
from helpers.quiet import keras_alone

log = logging.getLogger(__name__)

SCREEN = 100  # characters of a line that a notebook shows beside JupyterLab's file browser on a screen 1280 wide


@dataclass(frozen=True)
class KerasFile:
    """What a Keras file holds, and what `load_keras` repairs to read it."""

    name: str
    container: str  # "HDF5" or "zip"
    keras_version: str
    model: str  # "Sequential" or "Functional", or the name of a class of the reader's own
    layers: tuple[str, ...]  # "dense_1 (Dense)", ...
    compiled: bool
    code: tuple[str, ...]  # what holds Python code that would run: "lambda_1 (Lambda)", ...
    repairs: tuple[str, ...]  # a sentence for each thing that today's Keras would not read, or would read wrongly

    def __str__(self) -> str:
        state = "compiled" if self.compiled else "not compiled"
        head = f"{self.name}: {self.container} file of Keras {self.keras_version}, {self.model} model of "
        lines = [f"{head}{len(self.layers)} layers, {state}"]
        told = [*self.repairs, *(f"holds Python code: {where}" for where in self.code)]
        wrap = {"width": SCREEN, "initial_indent": "  - ", "subsequent_indent": "    ", "break_long_words": False}
        return "\n".join([*lines, *(textwrap.fill(sentence, break_on_hyphens=False, **wrap) for sentence in told)])


def describe_keras_file(
    path: str | Path, custom_objects: dict | None = None, architecture=None, compile: bool = True
) -> KerasFile:
    """What is in the Keras file at `path`, and what reading it with `load_keras` repairs; nothing in it is run.

    custom_objects, architecture, compile: as for `load_keras`, the architecture as a file. Raises
    `ArtifactError` for what is not a Keras model file or is damaged.
    """
    path = Path(path)
    with _one_sentence(path):
        _import_keras()
        return _Reading(contents_of(path), custom_objects or {}, architecture).describe(with_training=compile)


def load_keras(
    path: str | Path,
    custom_objects: dict | None = None,
    compile: bool = True,
    allow_code: bool = False,
    architecture=None,
):
    """The model in the Keras file at `path`, compiled if it was saved so: it predicts, evaluates and trains.

    custom_objects: your own functions and classes by name, `{"auc": auc}`; the function of a Lambda layer by the name
    of the layer, `{"lambda_1": double}`. Without it a metric that the file knows by name only is replaced (`auc`) or
    left out, and the log says so. compile=False leaves optimizer, loss and metrics. allow_code: Lambda layers hold
    Python code that runs as soon as the file is read, so files with them are refused unless you say that you trust the
    file. architecture: for a file of weights alone, what `model.to_json()` gave when they were saved, as a file
    ("model.json"), or a model that you built; that model is returned with the weights in it. Repairs are logged as
    warnings by the logger `helpers.export.legacy`.

    Raises `ArtifactError` for what is not a Keras model file, is damaged, holds code, or needs classes not given.
    """
    path = Path(path)
    with _one_sentence(path):
        _import_keras()
        contents = contents_of(path)
        if hasattr(architecture, "load_weights"):
            return _load_weights(contents, architecture)
        reading = _Reading(contents, custom_objects or {}, architecture)
        found = reading.describe(with_training=compile)
        if found.code and not allow_code:
            raise reading.refused_code(found)
        for sentence in found.repairs:
            log.warning("%s (Keras %s): %s", found.name, found.keras_version, sentence)
        return reading.load(compile, allow_code)


@contextlib.contextmanager
def _one_sentence(path: Path):
    """A file made to break its reader ends in one sentence as well."""
    try:
        yield
    except RecursionError as error:
        raise ArtifactError(f"{path.name} is refused: its description is nested too deeply for any model") from error
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ArtifactError(f"{path.name} is damaged: its description is not that of a model ({error!r})") from error


@contextlib.contextmanager
def hushed():
    """Keeps the remarks of Keras and the converters out of a notebook; errors are raised all the same."""
    loggers = [logging.getLogger(name) for name in ("absl", "tensorflow", "tf2onnx")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class _Reading:
    """A Keras file on its way to a model: its contents, and what is repaired in them.

    custom: functions and classes by name. architecture: for weights alone, the file of their model.
    """

    def __init__(self, contents: Contents, custom: dict, architecture=None):
        self.contents, self.custom = contents, custom
        if architecture is not None:
            contents.version, contents.tree, contents.training = *read_architecture(Path(architecture)), None
        elif contents.tree is None:
            name = contents.path.name
            raise NeedsMoreError(
                f"{name} holds weights without a model",
                f"give the model, too, load_keras({name!r}, architecture='model.json') with the file of its "
                "model.to_json(), or architecture=model as you built it",
                "put what its model.to_json() wrote into model.json beside it, or load them into the model that they "
                "came from, and export what model.save(...) of that writes",
            )
        _refuse_older(contents)
        self.changes: list[str] = []
        take_functions(contents.tree, custom, self.changes)
        if any(layer["class_name"] in ADAPTED for layer in layers_of(contents.tree)):
            with held_in(contents.path, WEIGHTS) as held:
                give_back(contents.tree, held, contents.path.name, self.changes, contents.is_modern)

    # ---- saying what was found ----

    def describe(self, with_training: bool = True) -> KerasFile:
        contents = self.contents
        layers = layers_of(contents.tree)
        repairs = self.changes + ([] if contents.is_modern else self._repaired(with_training)[1])
        if with_training and contents.training:
            repairs += self._compile_repairs()
        return KerasFile(
            name=contents.path.name,
            container=contents.container,
            keras_version=contents.version,
            model=contents.tree["class_name"],
            layers=tuple(label_of(layer) for layer in layers),
            compiled=bool(contents.training),
            code=tuple(label_of(layer) for layer in layers if holds_code(layer)),
            repairs=tuple(repairs),
        )

    def refused_code(self, found: KerasFile) -> NeedsMoreError:
        """Why a file with code in it is not read before its reader says so."""
        layers = [layer for layer in layers_of(self.contents.tree) if holds_code(layer)]
        only_lambdas = all(layer["class_name"] == "Lambda" or len(lambdas_of(layer)) == 1 for layer in layers)
        trusted = "if you trust whoever made it, load it with allow_code=True"
        return NeedsMoreError(
            f"{found.name} holds Python code that would run on this computer ({', '.join(found.code)})",
            trusted,
            own_functions(layers)
            if only_lambdas
            else f"{trusted} in Python, by helpers.export.legacy.load_keras, and "
            "give that to helpers.export.artifacts.export_model",
        )

    def _compile_repairs(self) -> list[str]:
        notes: list[str] = []
        self._compile_arguments(notes)
        is_hdf5 = self.contents.container == "HDF5"
        return notes + (named_only(self.contents.training, self.custom) if is_hdf5 else [])

    def _compile_arguments(self, notes: list[str]) -> dict | None:
        # One list of metrics is for every output in Keras 2, and holds one for each output in Keras 3.
        outputs = [] if self.contents.is_modern else outputs_of(self.contents.tree)
        return compile_arguments(self.contents.training, self.custom, notes, outputs)

    def _repaired(self, with_training: bool = True) -> tuple[dict, list[str]]:
        """The model's tree as today's Keras reads it, and what was changed."""
        notes: list[str] = []
        contents = self.contents
        tree = repair(contents.tree, self.custom, notes, archive=contents.container == "zip")
        if contents.backend == "theano":
            notes.append("the kernels of convolutions are turned round: Theano applied them from their other end")
        if with_training and contents.training:
            notes.append("the optimizer starts afresh: its state is laid out differently today")
        return tree, list(dict.fromkeys(notes))

    # ---- the model ----

    def load(self, compile: bool, allow_code: bool):
        import keras

        contents, notes = self.contents, []
        arguments = self._compile_arguments(notes) if compile and contents.training else None
        # Keras 3.15 compiles a model from .h5 with an optimizer that knows none of its weights: it cannot be trained.
        native = bool(arguments) and contents.is_modern and contents.container == "zip" and not notes
        refuse_foreign_code(contents.path, contents.tree)
        tree = contents.tree if contents.is_modern else self._repaired()[0]
        with tempfile.TemporaryDirectory() as folder:
            copy = copy_for_keras(contents, tree, Path(folder), keep_training=native)
            try:
                with hushed():
                    model = None if contents.is_modern else built_anew(tree, copy, self.custom, allow_code)
                    if model is None:
                        options = {"custom_objects": self.custom, "safe_mode": not allow_code}
                        model = keras.models.load_model(copy, compile=native, **options)
            except Exception as error:
                raise reason_of(error, contents, self.custom) from error
        finish(model, contents)
        if arguments and not native:
            model.compile(**arguments)
            if contents.is_modern:
                restore_optimizer(model, contents)
        return model


def _load_weights(contents: Contents, model):
    """A model that was given, with the weights of a file."""
    _refuse_older(contents)
    with tempfile.TemporaryDirectory() as folder:
        copy = copy_for_keras(contents, None, Path(folder), keep_training=False)
        try:
            with hushed():
                model.load_weights(copy)
        except Exception as error:
            reason = last_line(error)
            raise ArtifactError(f"the weights of {contents.path.name} do not fit the model given: {reason}") from error
    finish(model, contents)
    return model


def _refuse_older(contents: Contents) -> None:
    if contents.version.startswith(("0.", "1.")):
        raise ArtifactError(
            f"{contents.path.name} was written by Keras {contents.version}: only Keras 2 and 3 can be read; "
            "load it in Keras 2.2, which reads it, and bring what model.save(...) writes there"
        )


def _import_keras() -> None:
    """Import Keras and our stand-ins for what it has no more, without TensorFlow's announcements."""
    for setting in foreign_settings():
        raise ArtifactError(f"Keras cannot be used as this project needs it ({setting.found}): {setting.remedy}")
    with keras_alone():
        import helpers.export.keras2_functions
        import helpers.export.keras2_stand_ins
        import helpers.export.saved_model  # noqa: F401
