"""Reading Keras files, old and new: `load_keras` returns the model, `describe_keras_file` says what a file holds.

A file comes in: `.keras` or `.h5` of Keras 3, or either of Keras 2, the layout of 2018 included. It is told by its
content, not by its name. What today's Keras no longer reads is repaired in a temporary copy of the file's JSON, the
weights are never touched, and every repair is logged and listed in `KerasFile.repairs`.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import tempfile
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path

from helpers.export.compiling import compile_arguments, named_only
from helpers.export.errors import ArtifactError
from helpers.export.keras2 import repair
from helpers.export.keras_tree import holds_code, label_of, layers_of
from helpers.quiet import quiet

log = logging.getLogger(__name__)


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
        lines += [f"  - {sentence}" for sentence in self.repairs]
        lines += [f"  - holds Python code: {where}" for where in self.code]
        return "\n".join(lines)


def describe_keras_file(path: str | Path, custom_objects: dict | None = None) -> KerasFile:
    """What is in the Keras file at `path`, and what reading it with `load_keras` repairs; nothing in it is run.

    custom_objects: as for `load_keras`. Raises `ArtifactError` for what is not a Keras model file or is damaged.
    """
    return _Contents(Path(path), custom_objects or {}).describe()


def load_keras(
    path: str | Path,
    custom_objects: dict | None = None,
    compile: bool = True,
    allow_code: bool = False,
):
    """The model in the Keras file at `path`, compiled if it was saved so: it predicts, evaluates and trains.

    custom_objects: your own functions and classes by name, `{"auc": auc}`. Without it a metric that the file knows by
    name only is replaced (`auc`) or left out, and the log says so. compile=False leaves optimizer, loss and metrics.
    allow_code: Lambda layers hold Python code that runs as soon as the file is read, so files with them are refused
    unless you say that you trust the file. Repairs are logged as warnings by the logger `helpers.export.legacy`.

    Raises `ArtifactError` for what is not a Keras model file, is damaged, holds code, or needs classes not given.
    """
    contents = _Contents(Path(path), custom_objects or {})
    found = contents.describe(with_training=compile)
    if found.code and not allow_code:
        raise ArtifactError(
            f"{found.name} holds Python code that would run on this computer ({', '.join(found.code)}): "
            "if you trust whoever made it, load it with allow_code=True"
        )
    for sentence in found.repairs:
        log.warning("%s (Keras %s): %s", found.name, found.keras_version, sentence)
    return contents.load(compile, allow_code)


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

    def __init__(self, path: Path, custom_objects: dict):
        with quiet():
            import keras  # noqa: F401  (TensorFlow announces itself when it is first imported)
        self.path = path
        self.custom = custom_objects
        self.container, metadata, self.training = self._read()
        self.version = str(metadata["version"])
        self.tree = metadata["model"]
        self.modern = self.version.partition(".")[0].isdigit() and int(self.version.partition(".")[0]) >= 3
        if self.version.startswith(("0.", "1.")):
            raise ArtifactError(f"{path.name} was written by Keras {self.version}: only Keras 2 and 3 can be read")

    # ---- reading ----

    def _read(self) -> tuple[str, dict, dict | None]:
        name = self.path.name
        if self.path.is_dir():
            raise ArtifactError(f"{name} is a folder, not a Keras file (a SavedModel is read by tf.saved_model.load)")
        if not self.path.exists():
            raise ArtifactError(f"there is no file {name} in {self.path.parent.name or 'this folder'}/")
        with self.path.open("rb") as file:
            start = file.read(8)
        try:
            if start == b"\x89HDF\r\n\x1a\n":
                return "HDF5", *self._read_hdf5()
            if start[:4] == b"PK\x03\x04":
                return "zip", *self._read_zip()
        except (OSError, EOFError, zipfile.BadZipFile, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ArtifactError(f"{name} is damaged or cut short ({error}): get it again") from error
        what = "is empty" if not start else "is neither an HDF5 file nor a zip archive"
        raise ArtifactError(f"{name} is not a Keras file: it {what}")

    def _read_hdf5(self) -> tuple[dict, dict | None]:
        import h5py

        with h5py.File(self.path, "r") as file:
            attributes = {k: v.decode() if isinstance(v, bytes) else v for k, v in file.attrs.items()}
            if "model_config" not in attributes:
                if "layer_names" in attributes or "layers" in file:
                    raise ArtifactError(
                        f"{self.path.name} holds weights without a model: build the model, then call its load_weights"
                    )
                raise ArtifactError(f"{self.path.name} is not a Keras file: it is an HDF5 file without a model in it")
            if "model_weights" not in file:
                raise ArtifactError(f"{self.path.name} is damaged: it holds a model without its weights")
            file["model_weights"].visititems(lambda _, item: item[()] if isinstance(item, h5py.Dataset) else None)
        training = attributes.get("training_config")
        model = json.loads(attributes["model_config"])
        return {"version": attributes.get("keras_version", "1"), "model": model}, json.loads(training or "null")

    def _read_zip(self) -> tuple[dict, dict | None]:
        with zipfile.ZipFile(self.path) as archive:
            if not {"config.json", "metadata.json", "model.weights.h5"} <= set(archive.namelist()):
                raise ArtifactError(f"{self.path.name} is not a Keras file: it is a zip archive without a model in it")
            broken = archive.testzip()
            if broken:
                raise zipfile.BadZipFile(f"{broken} does not match its checksum")
            model = json.loads(archive.read("config.json"))
            version = json.loads(archive.read("metadata.json"))["keras_version"]
        return {"version": version, "model": model}, model.get("compile_config")

    # ---- saying what was found ----

    def describe(self, with_training: bool = True) -> KerasFile:
        layers = layers_of(self.tree)
        repairs = [] if self.modern else self._repaired()[1]
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

    def _compile_repairs(self) -> list[str]:
        notes: list[str] = []
        compile_arguments(self.training, self.custom, notes)
        return notes + (named_only(self.training, self.custom) if self.container == "HDF5" else [])

    def _repaired(self) -> tuple[dict, list[str]]:
        """The model's tree as today's Keras reads it, and what was changed."""
        notes: list[str] = []
        tree = repair(json.loads(json.dumps(self.tree)), notes)
        if self.training:
            notes.append("the optimizer starts afresh: its state is laid out differently today")
        return tree, list(dict.fromkeys(notes))

    # ---- the model ----

    def load(self, compile: bool, allow_code: bool):
        import keras

        notes: list[str] = []
        arguments = compile_arguments(self.training, self.custom, notes) if compile and self.training else None
        # Keras 3.15 compiles a model from .h5 with an optimizer that knows none of its weights: it cannot be trained.
        native = bool(arguments) and self.modern and self.container == "zip" and not notes
        with tempfile.TemporaryDirectory() as folder:
            copy = self._copy(Path(folder), keep_training=native)
            try:
                with hushed():
                    model = keras.models.load_model(
                        copy, custom_objects=self.custom, compile=native, safe_mode=not allow_code
                    )
            except Exception as error:
                raise ArtifactError(self._explain(error)) from error
        if arguments and not native:
            model.compile(**arguments)
            if self.modern:
                self._restore_optimizer(model)
        return model

    def _restore_optimizer(self, model) -> None:
        """Give the optimizer the state that it was saved with, so that training goes on where it was."""
        import h5py

        if self.container == "zip":
            with zipfile.ZipFile(self.path) as archive, h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as file:
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
        tree = self.tree if self.modern else self._repaired()[0]
        if self.container == "zip":
            copy = folder / "model.keras"
            with zipfile.ZipFile(self.path) as source, zipfile.ZipFile(copy, "w") as target:
                for name in source.namelist():
                    target.writestr(name, json.dumps(tree) if name == "config.json" else source.read(name))
            return copy
        import h5py

        copy = folder / "model.h5"
        with h5py.File(self.path, "r") as source, h5py.File(copy, "w", libver="latest") as target:
            for group in ("model_weights", "optimizer_weights"):
                if group in source and (keep_training or group == "model_weights"):
                    source.copy(group, target)
            target.attrs["keras_version"] = self.version
            target.attrs["model_config"] = json.dumps(tree)
            if keep_training and self.training:
                target.attrs["training_config"] = json.dumps(self.training)
        return copy

    def _explain(self, error: Exception) -> str:
        """Why Keras could not build the model, in one sentence."""
        import keras

        known = {**vars(keras.layers), **vars(keras.models), **self.custom, **keras.saving.get_custom_objects()}
        foreign = sorted({layer["class_name"] for layer in layers_of(self.tree)} - set(known))
        if foreign:
            needed = ", ".join(f'"{name}": {name}' for name in foreign)
            without = f"{self.path.name} uses layers that Keras {keras.__version__} does not have"
            return f"{without}: pass custom_objects={{{needed}}}"
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        return f"{self.path.name} (Keras {self.version}) cannot be built by Keras {keras.__version__}: {reason}"
