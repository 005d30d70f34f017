"""How a model was compiled: optimizer, loss and metrics from what a Keras file says of them."""

from __future__ import annotations

import inspect

from helpers.export.errors import ArtifactError
from helpers.export.keras_tree import arguments_of

# Metrics that Keras works out from the model's output: names that are no functions of the reader's.
PLAIN_METRICS = {"accuracy", "acc", "crossentropy", "ce"}


def compile_arguments(training: dict, custom: dict, notes: list[str]) -> dict | None:
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
    known = arguments_of(kind)
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
    known = arguments_of(kind)
    return kind(**{key: value for key, value in config.items() if key in known and key != "fn"})


def _metric(saved, custom: dict, notes: list[str]):
    """The metric that was saved, a stand-in, or None where it is not to be had."""
    import keras

    config = saved.get("config") if isinstance(saved, dict) else saved
    if isinstance(config, dict) and saved["class_name"] != "MeanMetricWrapper":
        kind = custom.get(saved["class_name"].rpartition(">")[2]) or getattr(keras.metrics, saved["class_name"], None)
        if inspect.isclass(kind):
            known = arguments_of(kind)
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


def named_only(training: dict, custom: dict) -> list[str]:
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
