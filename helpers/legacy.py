"""Reading Keras files, old and new: `load_keras` returns the model, `describe_keras_file` says what a file holds.

A file comes in: `.keras` or `.h5` of Keras 3, or either of Keras 2, the layout of 2018 included. It is told by its
content, not by its name. What today's Keras no longer reads is repaired in a temporary copy of the file's JSON, the
weights are never touched, and every repair is logged and listed in `KerasFile.repairs`.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import logging
import tempfile
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path

from helpers.quiet import quiet

log = logging.getLogger(__name__)

# Arguments of Keras 2 layers that say how to compute, not what: the answers are the same without them.
HOW_NOT_WHAT = {"implementation", "input_length", "time_major", "fused"}
# Metrics that Keras works out from the model's output: names that are no functions of the reader's.
PLAIN_METRICS = {"accuracy", "acc", "crossentropy", "ce"}


class ArtifactError(RuntimeError):
    """A model that cannot be exported, or a file that cannot be read: what is wrong, where, and what to do."""


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
    unless you say that you trust the file. Repairs are logged as warnings by the logger `helpers.legacy`.

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
        layers = _layers(self.tree)
        repairs = [] if self.modern else self._repaired()[1]
        if with_training and self.training:
            repairs += self._compile_repairs()
        return KerasFile(
            name=self.path.name,
            container=self.container,
            keras_version=self.version,
            model=self.tree["class_name"],
            layers=tuple(_label(layer) for layer in layers),
            compiled=bool(self.training),
            code=tuple(_label(layer) for layer in layers if _holds_code(layer)),
            repairs=tuple(repairs),
        )

    def _compile_repairs(self) -> list[str]:
        notes: list[str] = []
        _compile_arguments(self.training, self.custom, notes)
        return notes + (_named_only(self.training, self.custom) if self.container == "HDF5" else [])

    def _repaired(self) -> tuple[dict, list[str]]:
        """The model's tree as today's Keras reads it, and what was changed."""
        notes: list[str] = []
        tree = _repair(json.loads(json.dumps(self.tree)), notes)
        if self.training:
            notes.append("the optimizer starts afresh: its state is laid out differently today")
        return tree, list(dict.fromkeys(notes))

    # ---- the model ----

    def load(self, compile: bool, allow_code: bool):
        import keras

        notes: list[str] = []
        arguments = _compile_arguments(self.training, self.custom, notes) if compile and self.training else None
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
        foreign = sorted({layer["class_name"] for layer in _layers(self.tree)} - set(known))
        if foreign:
            needed = ", ".join(f'"{name}": {name}' for name in foreign)
            without = f"{self.path.name} uses layers that Keras {keras.__version__} does not have"
            return f"{without}: pass custom_objects={{{needed}}}"
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        return f"{self.path.name} (Keras {self.version}) cannot be built by Keras {keras.__version__}: {reason}"


# ---- the tree of a model ----


def _layers(tree: dict) -> list[dict]:
    """Every layer of a model's tree, those of models inside it included."""
    config = tree.get("config")
    inner = config if isinstance(config, list) else config.get("layers", []) if isinstance(config, dict) else []
    found = []
    for layer in inner:
        found.append(layer)
        found.extend(_layers(layer))
        wrapped = isinstance(layer.get("config"), dict) and layer["config"].get("layer")
        if wrapped:
            found += [wrapped, *_layers(wrapped)]
    return found


def _label(layer: dict) -> str:
    config = layer.get("config")
    name = (config.get("name") if isinstance(config, dict) else None) or layer.get("name") or "a layer"
    return f"{name} ({layer['class_name']})"


def _holds_code(layer: dict) -> bool:
    """A Lambda layer, or a lambda anywhere among a layer's arguments."""
    return layer["class_name"] == "Lambda" or '"__lambda__"' in json.dumps(layer.get("config"))


def _repair(item, notes: list[str]):
    """A tree of Keras 2 rewritten as Keras 3 reads it; `notes` gains a sentence for each kind of change."""
    if isinstance(item, list):
        return [_repair(part, notes) for part in item]
    if not isinstance(item, dict):
        return item
    if item.get("class_name") == "Policy":  # a dtype policy of mixed precision
        return item["config"]["name"]
    if "class_name" in item and isinstance(item.get("config"), dict | list):
        _repair_object(item, notes)
    return {key: _repair(value, notes) for key, value in item.items()}


def _repair_object(item: dict, notes: list[str]) -> None:
    kind, config = item["class_name"], item["config"]
    if kind == "Sequential":
        if isinstance(config, list):
            item["config"] = config = {"name": "sequential", "layers": config}
            notes.append("the layers of a Sequential model are a plain list, as before 2019")
        config["layers"] = _input_first(config["layers"], notes)
        return
    shape = config.pop("batch_input_shape", None)
    if kind == "InputLayer" and shape is not None:
        config["batch_shape"] = shape
    if kind in ("Model", "Functional"):
        if kind == "Model":
            item["class_name"] = "Functional"
            notes.append("the class 'Model' of a saved model is called 'Functional' today")
        for ends in ("input_layers", "output_layers"):
            if len(config[ends]) == 1 and isinstance(config[ends][0], list):
                config[ends] = config[ends][0]  # one tensor, not a list of one tensor
    elif kind == "VarianceScaling" and config.get("distribution") == "normal":
        config["distribution"] = "truncated_normal"
        notes.append("the initializer's distribution 'normal' is called 'truncated_normal' today")
    elif kind != "Lambda":
        _repair_arguments(item, notes)


def _input_first(layers: list[dict], notes: list[str]) -> list[dict]:
    """The layers of a Sequential model with the input shape in a layer of its own."""
    first = layers[0]
    shape = first["config"].get("batch_input_shape") if isinstance(first["config"], dict) else None
    if first["class_name"] == "InputLayer" or shape is None:
        return layers
    notes.append("the input shape is an argument of the first layer ('batch_input_shape'), not a layer of its own")
    source = {"class_name": "InputLayer", "config": {"batch_shape": shape, "dtype": "float32", "name": "features"}}
    if "module" in first:
        source |= {"module": "keras.layers", "registered_name": None}
    return [source, *layers]


def _repair_arguments(item: dict, notes: list[str]) -> None:
    """Rename or drop the arguments that Keras 3 does not take; `ArtifactError` where that would change the answers."""
    import keras

    kind, config = item["class_name"], item["config"]
    if kind == "LeakyReLU" and "alpha" in config:
        config["negative_slope"] = config.pop("alpha")
        notes.append("the argument 'alpha' of LeakyReLU is called 'negative_slope' today")
    if isinstance(config.get("axis"), list) and len(config["axis"]) == 1:
        config["axis"] = config["axis"][0]
    layer, initializer = getattr(keras.layers, kind, None), getattr(keras.initializers, kind, None)
    if initializer and "dtype" in config:
        del config["dtype"]  # TensorFlow 1 wrote it; the dtype is the layer's
    if not inspect.isclass(layer):
        return
    for argument in sorted(set(config) - _arguments(layer)):
        value = config.pop(argument)
        if not (value in (None, False) or argument in HOW_NOT_WHAT):
            raise ArtifactError(f"{_label(item)}: Keras {keras.__version__} has no argument '{argument}' ({value!r})")
        notes.append(f"the argument '{argument}' of {kind} is gone")


def _arguments(kind: type) -> set[str]:
    """What the constructor of a class and of the classes it is made from take."""
    return {name for c in kind.__mro__ for name in inspect.signature(c.__init__).parameters} - {
        "args",
        "kwargs",
        "self",
    }


# ---- optimizer, loss, metrics ----


def _compile_arguments(training: dict, custom: dict, notes: list[str]) -> dict | None:
    """What `model.compile` takes, from what was saved; None where optimizer or loss are not to be had."""
    try:
        optimizer = _optimizer(training.get("optimizer_config") or training.get("optimizer"), custom, notes)
        loss = _loss(training.get("loss"), custom)
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        notes.append(f"the model is not compiled, because {reason}; pass your own in custom_objects, or compile it")
        return None
    metrics = [_metric(saved, custom, notes) for saved in _flat(training.get("metrics"))]
    weighted = [_metric(saved, custom, notes) for saved in _flat(training.get("weighted_metrics"))]
    return {
        "optimizer": optimizer,
        "loss": loss,
        "loss_weights": training.get("loss_weights"),
        "metrics": [metric for metric in metrics if metric is not None],
        "weighted_metrics": [metric for metric in weighted if metric is not None],
    }


def _optimizer(saved, custom: dict, notes: list[str]):
    import keras

    if isinstance(saved, str):
        return keras.optimizers.get(saved)
    name, config = saved["class_name"].rpartition(">")[2], dict(saved["config"])
    kind = custom.get(name) or getattr(keras.optimizers, name, None)
    if kind is None:
        raise ArtifactError(f"its optimizer {name} is not in Keras {keras.__version__}")
    if "lr" in config:
        config["learning_rate"] = config.pop("lr")
        notes.append("the optimizer's 'lr' is called 'learning_rate' today")
    if isinstance(config.get("learning_rate"), dict):
        schedule = config["learning_rate"]
        given = {key: value for key, value in schedule["config"].items() if value is not None}
        config["learning_rate"] = keras.optimizers.schedules.deserialize({**schedule, "config": given})
    decay = config.pop("decay", 0)
    if decay:
        rate = config["learning_rate"]
        config["learning_rate"] = keras.optimizers.schedules.InverseTimeDecay(rate, decay_steps=1, decay_rate=decay)
        notes.append(f"the optimizer's decay {decay:g} became a learning-rate schedule with the same values")
    known = _arguments(kind)
    return kind(**{key: value for key, value in config.items() if key in known and value is not None})


def _loss(saved, custom: dict):
    import keras

    if isinstance(saved, list) and len(saved) == 1:
        saved = saved[0]
    if isinstance(saved, str):
        return custom.get(saved) or keras.losses.get(saved)
    if not isinstance(saved, dict) or "class_name" not in saved:
        raise ArtifactError(f"its loss {saved!r} is not one loss for one output")
    if not isinstance(saved["config"], dict):  # {"class_name": "function", "config": "my_loss"}
        return custom.get(saved["config"]) or keras.losses.get(saved["config"])
    name, config = saved["class_name"].rpartition(">")[2], dict(saved["config"])
    kind = custom.get(name) or getattr(keras.losses, name, None)
    if kind is None:
        function = config.get("fn", name)
        return custom.get(function) or keras.losses.get(function)
    if config.get("reduction") == "auto":
        config["reduction"] = "sum_over_batch_size"
    known = _arguments(kind)
    return kind(**{key: value for key, value in config.items() if key in known and key != "fn"})


def _metric(saved, custom: dict, notes: list[str]):
    """The metric that was saved, a stand-in, or None where it is not to be had."""
    import keras

    config = saved.get("config") if isinstance(saved, dict) else saved
    if isinstance(config, dict) and saved["class_name"] != "MeanMetricWrapper":
        kind = custom.get(saved["class_name"].rpartition(">")[2]) or getattr(keras.metrics, saved["class_name"], None)
        if inspect.isclass(kind):
            known = _arguments(kind)
            return kind(**{key: value for key, value in config.items() if key in known})
        function = saved["class_name"]
    else:
        function = config["fn"] if isinstance(config, dict) else config
    if isinstance(function, dict):
        function = function.get("config")
    if function in PLAIN_METRICS or function in custom:
        return custom.get(function, function)
    try:
        if isinstance(saved, str):
            keras.metrics.get(saved)  # raises ValueError for a name that is not its own
            return saved
        own = getattr(keras.metrics, function, None) or getattr(keras.losses, function, None)
        if inspect.isfunction(own):
            return keras.metrics.MeanMetricWrapper(own, name=config["name"] if isinstance(config, dict) else function)
    except ValueError:
        pass
    advice = f"pass custom_objects={{'{function}': {function}}} to have your own"
    if str(function).lower() == "auc":
        notes.append(f"the metric '{function}' was a function, which no file holds: Keras's AUC stands in; {advice}")
        return keras.metrics.AUC(name=function)
    notes.append(f"the metric '{function}' was a function, which no file holds: it is left out; {advice}")
    return None


def _named_only(training: dict, custom: dict) -> list[str]:
    """A sentence for each metric of an `.h5` that Keras takes for its own because a function had the same name."""
    import keras

    found = []
    for saved in _flat(training.get("metrics")):
        if not isinstance(saved, str) or saved in PLAIN_METRICS or saved in custom:
            continue
        try:
            metric = keras.metrics.get(saved)
        except ValueError:
            continue
        if isinstance(metric, keras.metrics.Metric):
            found.append(
                f"the metric '{saved}' is saved by name only: if it was a function of yours, Keras's "
                f"{type(metric).__name__} silently takes its place; pass custom_objects={{'{saved}': {saved}}}"
            )
    return found


def _flat(metrics) -> list:
    if isinstance(metrics, list):
        return [one for part in metrics for one in _flat(part)]
    return [] if metrics is None else [metrics]
