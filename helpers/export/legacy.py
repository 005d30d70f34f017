"""Reading Keras files, old and new: `load_keras` returns the model, `describe_keras_file` says what a file holds.

A file comes in: `.keras` or `.h5` of Keras 3, or either of Keras 2, the layout of 2018 included, or weights alone with
their architecture beside them. It is told by its content, not by its name. What today's Keras no longer reads, or reads
otherwise, is repaired in a temporary copy; the file is never written to, and every repair is logged and listed in
`KerasFile.repairs`.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
import tempfile
import textwrap
import warnings
import zipfile
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from helpers.export import registry
from helpers.export.adapted import ADAPTED, give_back, held_in
from helpers.export.compiling import compile_arguments, named_only
from helpers.export.errors import ArtifactError, NeedsMoreError, NoConversionError, last_line, needs_rebuilding
from helpers.export.file_kinds import (
    FROM_TREES,
    LOOK,
    archive_size,
    container_of,
    describe_archive,
    refuse_bomb,
    weights_size,
)
from helpers.export.keras2 import repair
from helpers.export.keras2_layers import CONVERSIONS, RENAMED, REWRITE
from helpers.export.keras2_weights import GROUPS, convert_cudnn, reorder, reorder_archive, turn_kernels
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

WEIGHTS = "model.weights.h5"  # in a `.keras` archive
LARGEST_ARCHITECTURE = 2**26  # bytes of model.to_json(); a vocabulary may be in it
NO_ARCHITECTURE = (
    "in JSON that is what model.to_json() wrote, and this is not; give such a file with its weights, or one that holds "
    "both (.keras, .h5, .onnx, .tflite)"
)
FROM_JAVASCRIPT = (
    "save it as Keras's or as a SavedModel where it was made (one made of layers is also converted, by "
    "tensorflowjs_converter --input_format=tfjs_layers_model --output_format=keras)"
)
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
    with _one_sentence(Path(path)):
        return _Contents(Path(path), custom_objects or {}, architecture).describe(with_training=compile)


def is_weights_alone(path: Path) -> bool:
    """Whether an HDF5 file holds the weights of a model without the model."""
    import h5py

    if not path.is_file():  # it would wait for a pipe
        return False
    try:
        with h5py.File(path, "r") as file:
            return "model_config" not in file.attrs and _is_weights(file)
    except OSError:
        return False


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
        contents = _Contents(path, custom_objects or {}, architecture)
        if contents.built:
            return contents.load_weights()
        found = contents.describe(with_training=compile)
        if found.code and not allow_code:
            raise contents.refused_code(found)
        for sentence in found.repairs:
            log.warning("%s (Keras %s): %s", found.name, found.keras_version, sentence)
        return contents.load(compile, allow_code)


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


class _Contents:
    """A Keras file taken apart into its JSON trees; the weights stay where they are."""

    def __init__(self, path: Path, custom_objects: dict, architecture=None):
        _import_keras()
        self.path = path
        self.custom = custom_objects
        self.built = architecture if hasattr(architecture, "load_weights") else None
        self.container = container_of(path)
        self.backend = ""  # on which it was trained, where an HDF5 file tells
        self.version, self.tree, self.training = self._read()
        if architecture is not None and not self.built:
            self.version, self.tree, self.training = *read_architecture(Path(architecture)), None
        elif self.tree is None and not self.built:
            raise NeedsMoreError(
                f"{path.name} holds weights without a model",
                f"give the model, too, load_keras({path.name!r}, architecture='model.json') with the file of its "
                "model.to_json(), or architecture=model as you built it",
                "put what its model.to_json() wrote into model.json beside it, or load them into the model that they "
                "came from, and export what model.save(...) of that writes",
            )
        self.modern = self.version.partition(".")[0].isdigit() and int(self.version.partition(".")[0]) >= 3
        if self.version.startswith(("0.", "1.")):
            raise ArtifactError(
                f"{path.name} was written by Keras {self.version}: only Keras 2 and 3 can be read; "
                "load it in Keras 2.2, which reads it, and bring what model.save(...) writes there"
            )
        self.changes: list[str] = []
        if self.tree is not None:
            take_functions(self.tree, self.custom, self.changes)
            self._give_back()

    # ---- reading ----

    def _read(self) -> tuple[str, dict | None, dict | None]:
        """Keras's version, the model's tree (None: weights alone), and how it was compiled (None: it was not)."""
        try:
            return self._read_hdf5() if self.container == "HDF5" else self._read_zip()
        except (OSError, EOFError, zipfile.BadZipFile, json.JSONDecodeError, UnicodeDecodeError, KeyError) as error:
            raise ArtifactError(f"{self.path.name} is damaged or cut short ({error}): get it again") from error

    def _read_hdf5(self) -> tuple[str, dict | None, dict | None]:
        import h5py

        with h5py.File(self.path, "r") as file:
            refuse_bomb(self.path, weights_size(file))
            attributes = {k: v.decode() if isinstance(v, bytes) else v for k, v in file.attrs.items()}
            backend = file.get("model_weights", file).attrs.get("backend", "")
            self.backend = backend.decode() if isinstance(backend, bytes) else backend
            if "model_config" not in attributes and not _is_weights(file):
                raise ArtifactError(f"{self.path.name} is not a Keras file: it is an HDF5 file without a model in it")
            if "model_config" in attributes and "model_weights" not in file:
                raise ArtifactError(f"{self.path.name} is damaged: it holds a model without its weights")
            file.visititems(lambda _, item: item[()] if isinstance(item, h5py.Dataset) else None)
        model, training = (json.loads(attributes.get(key, "null")) for key in ("model_config", "training_config"))
        return str(attributes.get("keras_version", "1" if model else "2")), model, training

    def _read_zip(self) -> tuple[str, dict | None, dict | None]:
        import h5py

        with zipfile.ZipFile(self.path) as archive:
            names = archive.namelist()
            if not {"config.json", "metadata.json", WEIGHTS} <= set(names):
                raise ArtifactError(f"{self.path.name} is not a Keras file: it is {describe_archive(names)}")
            refuse_bomb(self.path, archive_size(archive))
            broken = archive.testzip()
            if broken:
                raise zipfile.BadZipFile(f"{broken} does not match its checksum")
            with h5py.File(io.BytesIO(archive.read(WEIGHTS))) as file:  # h5py goes to and fro, which is slow in a zip
                refuse_bomb(self.path, weights_size(file))
            model = json.loads(archive.read("config.json"))
            version = json.loads(archive.read("metadata.json"))["keras_version"]
        return str(version), model, model.get("compile_config")

    def _give_back(self) -> None:
        """Put into the tree what layers found in data; `ArtifactError` where the file does not hold it."""
        if self.built or not any(layer["class_name"] in ADAPTED for layer in layers_of(self.tree)):
            return
        with held_in(self.path, WEIGHTS) as held:
            give_back(self.tree, held, self.path.name, self.changes, self.modern)

    # ---- saying what was found ----

    def describe(self, with_training: bool = True) -> KerasFile:
        layers = layers_of(self.tree)
        repairs = self.changes + ([] if self.modern else self._repaired(with_training)[1])
        if with_training and self.training:
            repairs += self._compile_repairs()
        return KerasFile(
            name=self.path.name,
            container=self.container,
            keras_version=self.version,
            model=self.tree["class_name"],
            layers=tuple(label_of(layer) for layer in layers),
            compiled=bool(self.training),
            code=tuple(label_of(layer) for layer in layers if holds_code(layer)),
            repairs=tuple(repairs),
        )

    def refused_code(self, found: KerasFile) -> NeedsMoreError:
        """Why a file with code in it is not read before its reader says so."""
        layers = [layer for layer in layers_of(self.tree) if holds_code(layer)]
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
        return notes + (named_only(self.training, self.custom) if self.container == "HDF5" else [])

    def _compile_arguments(self, notes: list[str]) -> dict | None:
        # One list of metrics is for every output in Keras 2, and holds one for each output in Keras 3.
        outputs = [] if self.modern else outputs_of(self.tree)
        return compile_arguments(self.training, self.custom, notes, outputs)

    def _repaired(self, with_training: bool = True) -> tuple[dict, list[str]]:
        """The model's tree as today's Keras reads it, and what was changed."""
        notes: list[str] = []
        tree = repair(self.tree, self.custom, notes, archive=self.container == "zip")
        if self.backend == "theano":
            notes.append("the kernels of convolutions are turned round: Theano applied them from their other end")
        if with_training and self.training:
            notes.append("the optimizer starts afresh: its state is laid out differently today")
        return tree, list(dict.fromkeys(notes))

    # ---- the model ----

    def load(self, compile: bool, allow_code: bool):
        import keras

        notes: list[str] = []
        arguments = self._compile_arguments(notes) if compile and self.training else None
        # Keras 3.15 compiles a model from .h5 with an optimizer that knows none of its weights: it cannot be trained.
        native = bool(arguments) and self.modern and self.container == "zip" and not notes
        refuse_foreign_code(self.path, self.tree)
        with tempfile.TemporaryDirectory() as folder:
            copy = self._copy(Path(folder), keep_training=native)
            try:
                with hushed():
                    model = None if self.modern else self._built(copy, allow_code)
                    if model is None:
                        options = {"custom_objects": self.custom, "safe_mode": not allow_code}
                        model = keras.models.load_model(copy, compile=native, **options)
            except Exception as error:
                raise self._explain(error) from error
        self._finish(model)
        if arguments and not native:
            model.compile(**arguments)
            if self.modern:
                self._restore_optimizer(model)
        return model

    def _built(self, copy: Path, allow_code: bool):
        """Keras 2's model in `copy`, its weights in the order of today; None: there is more in `copy` to be read."""
        import h5py
        import keras

        tree, _ = self._repaired()
        bare = deepcopy({key: value for key, value in tree.items() if key != "compile_config"})  # Keras empties it
        with keras.saving.custom_object_scope(self.custom):
            model = keras.saving.deserialize_keras_object(bare, safe_mode=not allow_code)
        if copy.suffix == ".h5":
            with h5py.File(copy, "r+", libver="latest") as file:
                reorder(file["model_weights"], model, tree)
            model.load_weights(copy)
            return model
        weights = copy.with_name(WEIGHTS)
        with zipfile.ZipFile(copy) as archive:
            names = archive.namelist()
            archive.extract(WEIGHTS, copy.parent)
        with h5py.File(weights, "r+") as file:
            reorder_archive(file, model, tree)
        if model.built and not any(name.startswith("assets/") for name in names):
            model.load_weights(weights)
            return model
        with zipfile.ZipFile(copy) as archive, zipfile.ZipFile(copy.with_suffix(".ordered"), "w") as target:
            for name in names:
                target.writestr(name, weights.read_bytes() if name == WEIGHTS else archive.read(name))
        copy.with_suffix(".ordered").replace(copy)
        return None

    def load_weights(self):
        """The model that was given, with the weights of the file."""
        with tempfile.TemporaryDirectory() as folder:
            copy = self._copy(Path(folder), keep_training=False)
            try:
                with hushed():
                    self.built.load_weights(copy)
            except Exception as error:
                reason = last_line(error)
                raise ArtifactError(f"the weights of {self.path.name} do not fit the model given: {reason}") from error
        self._finish(self.built)
        return self.built

    def _finish(self, model) -> None:
        _finalize(model)
        if self.backend == "theano":
            turn_kernels(model)

    def _restore_optimizer(self, model) -> None:
        """Give the optimizer the state that it was saved with, so that training goes on where it was."""
        import h5py

        if self.container == "zip":
            with zipfile.ZipFile(self.path) as archive, h5py.File(io.BytesIO(archive.read(WEIGHTS))) as file:
                saved = file.get("optimizer/vars", {})
                state = [saved[name][()] for name in sorted(saved, key=int)]
        else:
            with h5py.File(self.path) as file:
                saved = file.get("optimizer_weights")
                state = [saved[name][()] for name in saved.attrs["weight_names"]] if saved else []
        optimizer = model.optimizer
        optimizer.build(model.trainable_variables)
        if [value.shape for value in state] == [tuple(variable.shape) for variable in optimizer.variables]:
            for variable, value in zip(optimizer.variables, state, strict=True):
                variable.assign(value)

    def _copy(self, folder: Path, keep_training: bool) -> Path:
        """The file with the repaired tree, under the ending that Keras goes by."""
        import h5py

        tree = self.tree if self.modern or self.tree is None else self._repaired()[0]
        if self.container == "zip":
            copy = folder / "model.keras"
            with zipfile.ZipFile(self.path) as source, zipfile.ZipFile(copy, "w") as target:
                for name in source.namelist():
                    target.writestr(name, json.dumps(tree) if name == "config.json" else source.read(name))
            return copy
        with h5py.File(self.path, "r") as source:
            if _is_new_layout(source):
                return self._copy_new_weights(folder, tree)
            copy = folder / "model.h5"
            with h5py.File(copy, "w", libver="latest") as target:
                source.copy(source.get("model_weights", source), target, "model_weights")
                if keep_training and "optimizer_weights" in source:
                    source.copy("optimizer_weights", target)
                convert_cudnn(target["model_weights"])
                target.attrs["keras_version"] = self.version
                target.attrs["model_config"] = json.dumps(tree)
                if keep_training and self.training:
                    target.attrs["training_config"] = json.dumps(self.training)
        return copy

    def _copy_new_weights(self, folder: Path, tree: dict | None) -> Path:
        """The weights that Keras 3 saved: as they are for a model that is built, else with the tree as an archive."""
        if self.built:
            copy = folder / WEIGHTS
            copy.write_bytes(self.path.read_bytes())
            return copy
        copy = folder / "model.keras"
        with zipfile.ZipFile(copy, "w") as target:
            target.writestr("config.json", json.dumps(tree))
            target.writestr("metadata.json", json.dumps({"keras_version": self.version}))
            target.write(self.path, WEIGHTS)
        return copy

    def _explain(self, error: Exception) -> ArtifactError:
        """Why Keras could not build the model, in one sentence."""
        import keras

        around = [layer for layer in layers_of(self.tree) if layer["class_name"] == "TFSMLayer"]
        if around:  # which Keras reads from wherever the folder lies
            folder = around[0]["config"].get("filepath", "that it reads")
            return ArtifactError(
                f"{self.path.name} only names a SavedModel ({label_of(around[0])}), which is not in the file: serve "
                f"that folder itself, {folder}"
            )
        known = {*vars(keras.layers), *vars(keras.models), *self.custom, *keras.saving.get_custom_objects()}
        known |= {*CONVERSIONS, *RENAMED, "Functional"}
        foreign = sorted({layer["class_name"] for layer in (self.tree, *layers_of(self.tree))} - known)
        if foreign:
            needed = ", ".join(f'"{name}": {name.rpartition(">")[2]}' for name in foreign)
            without = f"{self.path.name} uses classes that Keras {keras.__version__} does not have"
            return NeedsMoreError(without, f"pass custom_objects={{{needed}}}", _own_module(foreign, "class"))
        own = re.search(r"Could not locate (function|class) '([^']+)'", str(error))
        own = own or re.search(r"Could not interpret .* identifier: .*'(class)_name': '([^']+)'", str(error))
        if own:  # an initializer, say
            kind, name = own.groups()
            return NeedsMoreError(
                f"{self.path.name} uses a {kind} '{name}' of its maker's",
                f"pass custom_objects={{'{name}': {name}}}",
                _own_module([name], kind),
            )
        said = f"{self.path.name} (Keras {self.version}) cannot be built by Keras {keras.__version__}: "
        refused = [each for each in _chain(error) if isinstance(each, NoConversionError)]
        if refused:
            return needs_rebuilding(f"{said}{refused[-1]}", REWRITE)  # Keras raises its own around it, of the same type
        lost = re.search(r"Layer '[^']+' expected \d+ variables, but received \d+", str(error))
        if lost and self.version == keras.__version__:  # as of a model that lies in two others
            said += f"{lost[0]}, as Keras saved no more: where the model is in memory, save it by "
            return ArtifactError(f"{said}model.export('folder'), and bring that folder")
        said += last_line(error)
        if re.search(r"__init__\(\) got an unexpected keyword argument '(trainable|name|dtype)'", said):
            said += ": let it take **kwargs, too, and hand them to super().__init__(**kwargs)"
        return ArtifactError(said)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those that it was raised from or while they were handled: Keras wraps what a layer raises."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _finalize(model) -> None:
    """Have each Normalization divide by the spread that was read.

    Keras 3.15 does so for the layers of a model itself; those of a model inside of an `.h5` go on as if nothing had
    been read, and answer wrongly without a word.
    """
    import keras

    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()


def _own_module(names: list[str], kind: str) -> str:
    """What a command takes classes or functions of the reader's from."""
    named = [f"{name.rpartition('>')[2]}, registered as {name}," if ">" in name else name for name in names]
    there = f"the {kind} {named[0]}" if len(names) == 1 else f"the {kind}es {', '.join(named)}"
    return f"put {there} into a module, my_layers.py, here or beside the file, and add --import my_layers"


def _import_keras() -> None:
    """Import Keras and our stand-ins for what it has no more, without TensorFlow's announcements."""
    for setting in foreign_settings():
        raise ArtifactError(f"Keras cannot be used as this project needs it ({setting.found}): {setting.remedy}")
    with keras_alone():
        import helpers.export.keras2_stand_ins
        import helpers.export.saved_model  # noqa: F401


def _is_new_layout(file) -> bool:
    """Is this what `save_weights` of Keras 3 writes, a group for each layer in a group `layers`?"""
    return "layer_names" not in file.attrs and "model_weights" not in file and any(name in file for name in GROUPS)


def _is_weights(file) -> bool:
    return "layer_names" in file.attrs or "model_weights" in file or _is_new_layout(file)


def read_architecture(path: Path) -> tuple[str, dict]:
    """Keras's version and the model's tree, from the file of `model.to_json()`; `ArtifactError` for any other file."""
    try:
        if path.stat().st_size > LARGEST_ARCHITECTURE:
            raise ValueError("too large for the description of a model")
        content = path.read_bytes()
        if b"learner" in content[:LOOK]:  # in text, or in binary
            raise ArtifactError(f"{path.name} is a model of XGBoost: {FROM_TREES}")
        tree = json.loads(content.decode("utf-8"))
        if "modelTopology" in tree:
            raise ArtifactError(f"{path.name} is a model of TensorFlow.js: {FROM_JAVASCRIPT}")
        version = str(tree.pop("keras_version", "3" if "module" in tree else "2"))
        return version, {**tree, "config": tree["config"], "class_name": tree["class_name"]}
    except OSError as error:
        raise ArtifactError(f"the architecture {path.name} cannot be read ({error.strerror or error})") from error
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ArtifactError(_no_architecture(path)) from error


def _no_architecture(path: Path) -> str:
    """What a file in JSON is that describes no model, and what to do."""
    from helpers.data import json_tables  # here, as nothing else in this module needs pandas

    with contextlib.suppress(OSError, ValueError, RecursionError):
        if next(json_tables.tables_in(path.read_text("utf-8")[:LARGEST_ARCHITECTURE]), None) is not None:
            return registry.train_on(path)
    return f"{path.name} is no model: {NO_ARCHITECTURE}"
